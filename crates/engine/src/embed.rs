//! One vector for a text.

use puna_model::{CachedSequence, Sequences};

use crate::{Engine, EngineError};

/// How the hidden states of a text's tokens become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// That of the last token, which alone has seen all others.
    Last,
}

impl Engine {
    /// A vector `[dim]` of length 1 for a text: the hidden states of its tokens after the last norm, pooled
    /// and divided by their Euclidean norm. How near two texts are is the sum of the products of their
    /// vectors' elements.
    pub fn embed(&self, tokens: &[u32], pooling: Pooling) -> Result<Vec<f32>, EngineError> {
        self.check_tokens(tokens, "the text")?;
        let mut cache = self.empty_cache();
        let mut sums = vec![0.0; self.model().config.dim];
        for chunk in tokens.chunks(self.step_tokens()) {
            let mut cached = [CachedSequence { n_tokens: chunk.len(), cache: &mut cache }];
            let last = [chunk.len() - 1];
            let wanted = (pooling == Pooling::Last).then_some(&last[..]);
            let mut graph = self.graph();
            let hidden =
                self.model().hidden(&mut graph, chunk, Sequences::Cached(&mut cached), wanted, None)?;
            if pooling == Pooling::Last {
                sums.fill(0.0);
            }
            for row in hidden.values().chunks_exact(sums.len()) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        }
        // The mean's number of rows cancels in the norm.
        let norm = sums.iter().map(|x| x * x).sum::<f64>().sqrt();
        Ok(sums.into_iter().map(|x| if norm > 0.0 { (x / norm) as f32 } else { 0.0 }).collect())
    }
}
