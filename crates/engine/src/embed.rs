//! One vector for a text.

use puna_model::{CachedSequence, Sequences};

use crate::{Engine, EngineError};

/// How the hidden states of a text's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the last token, which alone has seen all others where tokens attend to those before them.
    Last,
    /// That of the first token.
    First,
}

impl Engine {
    /// A vector `[dim]` of length 1 for a text: [`Engine::pooled`], divided by its Euclidean norm. How near two
    /// texts are is the sum of the products of their vectors' elements.
    pub fn embed(&self, tokens: &[u32], pooling: Pooling) -> Result<Vec<f32>, EngineError> {
        let pooled = self.pooled(tokens, pooling, 0)?;
        let norm = pooled.iter().map(|x| x * x).sum::<f64>().sqrt();
        Ok(pooled.into_iter().map(|x| if norm > 0.0 { (x / norm) as f32 } else { 0.0 }).collect())
    }

    /// The hidden states of a text's tokens after the last norm, pooled: `[dim]`. A mean leaves out the first
    /// `n_left_out` of them, an instruction before the text; fails if they are all.
    pub fn pooled(
        &self,
        tokens: &[u32],
        pooling: Pooling,
        n_left_out: usize,
    ) -> Result<Vec<f64>, EngineError> {
        self.check_tokens(tokens, "the text")?;
        if n_left_out >= tokens.len() {
            return Err(EngineError::Empty("the text after the instruction"));
        }
        let (mut cache, mut sums) = (self.empty_cache(), vec![0.0; self.model().config.dim]);
        let row = match pooling {
            Pooling::Mean => None,
            Pooling::Last => Some(tokens.len() - 1),
            Pooling::First => Some(0),
        };
        // Where tokens attend to later ones a text cannot be cut.
        let causal = self.model().config.causal;
        let n_step = if causal { self.step_tokens() } else { tokens.len() };
        for (i, chunk) in tokens.chunks(n_step).enumerate() {
            let own = row.and_then(|row| row.checked_sub(i * n_step)).filter(|row| *row < chunk.len());
            // A pass gives at least one row.
            let wanted = row.map(|_| [own.unwrap_or(0)]);
            let wanted = wanted.as_ref().map(|row| &row[..]);
            let mut cached = [CachedSequence { n_tokens: chunk.len(), cache: &mut cache }];
            let whole = 0..chunk.len();
            let sequences = match causal {
                true => Sequences::Cached(&mut cached),
                false => Sequences::Whole(std::slice::from_ref(&whole)),
            };
            let hidden = self.model().hidden(&mut self.graph(), chunk, sequences, wanted, None)?;
            if row.is_some() && own.is_none() {
                continue;
            }
            let n_left_out = if row.is_some() { 0 } else { n_left_out.saturating_sub(i * n_step) };
            for row in hidden.values().chunks_exact(sums.len()).skip(n_left_out) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        }
        let n = if pooling == Pooling::Mean { (tokens.len() - n_left_out) as f64 } else { 1.0 };
        sums.iter_mut().for_each(|sum| *sum /= n);
        Ok(sums)
    }
}
