//! How well a model predicts given text.

use std::convert::Infallible;
use std::f64::consts::LN_2;
use std::ops::ControlFlow;

use crate::{Error, Llama};

/// The likelihood of a text, or of given ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The negative log-likelihood, in nats, of each token after the first (or, in windows, of those that
    /// count).
    pub nlls: Vec<f64>,
    /// Tokens, the first included.
    pub n_tokens: usize,
    /// Bytes of the text, where a text was scored.
    pub n_bytes: Option<usize>,
    /// Windows in which it was computed; 1 for a text as a whole.
    pub n_windows: usize,
}

impl Score {
    /// The sum of the negative log-likelihoods.
    pub fn nll_sum(&self) -> f64 {
        self.nlls.iter().sum()
    }

    /// Their mean.
    pub fn nll_mean(&self) -> f64 {
        self.nll_sum() / self.nlls.len() as f64
    }

    /// e to the mean: how many tokens the model hesitates between.
    pub fn perplexity(&self) -> f64 {
        self.nll_mean().exp()
    }

    /// How far the perplexity may be off because the text is only so long, one standard deviation: as
    /// llama.cpp computes it, from the variance of the negative log-likelihoods. `None` of fewer than two.
    pub fn perplexity_error(&self) -> Option<f64> {
        let n = self.nlls.len() as f64;
        let mean = self.nll_mean();
        let variance = self.nlls.iter().map(|nll| (nll - mean).powi(2)).sum::<f64>() / n;
        (self.nlls.len() > 1).then(|| (variance / (n - 1.0)).sqrt() * self.perplexity())
    }

    /// Bits the model needs for a byte of text; comparable between tokenizers. A first token that is no BOS
    /// is not predicted, and so not counted.
    pub fn bits_per_byte(&self) -> Option<f64> {
        self.n_bytes.map(|n_bytes| self.nll_sum() / LN_2 / n_bytes as f64)
    }
}

impl Llama {
    /// Scores a text, after BOS where the model wants one.
    pub fn score_text(&self, text: &str) -> Result<Score, Error> {
        let ids = self.encode(text)?;
        self.score_ids(&ids).map(|score| Score { n_bytes: Some(text.len()), ..score })
    }

    /// Scores ids exactly as they are.
    pub fn score_ids(&self, ids: &[u32]) -> Result<Score, Error> {
        match self.score_with(ids, |_, _| ControlFlow::<Infallible>::Continue(()))? {
            ControlFlow::Continue(score) => Ok(score),
            ControlFlow::Break(never) => match never {},
        }
    }

    /// Scores ids, showing the logits `[n, vocab_size]` of the tokens from position `first` on as they are
    /// computed: `on_logits(first, rows)`. `Break` ends the computation.
    pub fn score_with<B>(
        &self,
        ids: &[u32],
        on_logits: impl FnMut(usize, &[f32]) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Score>, Error> {
        let nlls = self.engine().score(ids, on_logits)?;
        if let ControlFlow::Continue(nlls) = &nlls
            && let Some(position) = nlls.iter().position(|nll| !nll.is_finite())
        {
            return Err(self.damaged(format!("the loss of token {} is {}", position + 1, nlls[position])));
        }
        Ok(nlls.map_continue(|nlls| Score { nlls, n_tokens: ids.len(), n_bytes: None, n_windows: 1 }))
    }
}
