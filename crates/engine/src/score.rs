//! How likely a model finds given tokens.

use std::ops::ControlFlow;

use puna_model::{CachedSequence, Sequences};

use crate::{Engine, EngineError};

/// The most bytes of logits computed at once; a step has at least one row, however long.
const MAX_LOGITS_BYTES: usize = 64 << 20;

impl Engine {
    /// The negative log-likelihood, in nats, of each token after the first, given those before it.
    ///
    /// The tokens are computed in chunks. After each, `on_logits(first, rows)` sees the logits `[n,
    /// vocab_size]` of the tokens from position `first` on (the last token's too, which predict nothing
    /// here); with `Break` it ends the computation.
    pub fn score<B>(
        &self,
        tokens: &[u32],
        mut on_logits: impl FnMut(usize, &[f32]) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Vec<f64>>, EngineError> {
        self.check_tokens(tokens, "the text")?;
        let vocab_size = self.model().config.vocab_size;
        // Tokens that stand for images are never predicted.
        if let Some(position) = tokens.iter().position(|token| *token as usize >= vocab_size) {
            let token = tokens[position];
            return Err(EngineError::OutsideVocabulary { token, position, vocab_size });
        }
        let row_bytes = vocab_size * size_of::<f32>();
        let n_rows = (MAX_LOGITS_BYTES / row_bytes).clamp(1, self.step_tokens());
        let targets: Vec<Option<u32>> = tokens[1..].iter().copied().map(Some).chain([None]).collect();
        let mut cache = self.empty_cache();
        let mut nlls = Vec::with_capacity(tokens.len());
        for (chunk, targets) in tokens.chunks(n_rows).zip(targets.chunks(n_rows)) {
            let first = cache.len();
            let mut cached = [CachedSequence { n_tokens: chunk.len(), cache: &mut cache }];
            let mut graph = self.graph();
            let logits =
                self.model().forward(&mut graph, chunk, Sequences::Cached(&mut cached), None, None)?;
            if let ControlFlow::Break(reason) = on_logits(first, logits.values()) {
                return Ok(ControlFlow::Break(reason));
            }
            let (_, losses) = graph.cross_entropy(logits, targets, 1.0);
            nlls.extend(losses);
        }
        nlls.pop(); // The last token has no successor to predict.
        Ok(ControlFlow::Continue(nlls))
    }
}
