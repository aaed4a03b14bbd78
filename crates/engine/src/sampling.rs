//! Choosing the next token from logits: penalties, temperature, truncation, and a draw.
//!
//! The order is fixed: logit bias, repetition penalty, frequency and presence penalties, temperature, top-k,
//! top-p, min-p, typical-p. Each truncation sees the probabilities that the earlier ones left, made to sum to
//! one. This is the order and these are the definitions of Hugging Face transformers' logits processors, and
//! of Meta's reference for top-p. Equal logits are ordered by token id.
//!
//! Arithmetic on probabilities is in f64, and results depend on nothing but the arguments and the seed. A
//! vocabulary of 128 thousand is not sorted: the greedy choice is one pass for the maximum, and otherwise
//! only the tokens near the maximum become candidates, all others just a sum of probabilities, unless a
//! truncation or the draw needs them.

mod candidates;
mod penalties;
mod random;
#[cfg(test)]
mod tests;

use candidates::Candidates;
use penalties::Penalties;
use random::Random;

/// How the next token is chosen. The default draws from the model's own distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits: below 1 sharper, above 1 flatter, 0 always the most probable token. Neutral: 1.
    pub temperature: f64,
    /// Keep the tokens whose logit is at least the k-th largest; 0 keeps all. Neutral: 0.
    pub top_k: usize,
    /// Keep the most probable tokens until their mass reaches this; 1 keeps all. Neutral: 1.
    pub top_p: f64,
    /// Keep the tokens at least this fraction as probable as the most probable one. Neutral: 0.
    pub min_p: f64,
    /// Keep the tokens whose surprise is nearest the expected one until their mass reaches this; 1 keeps all.
    /// Neutral: 1. (Meister et al., "Locally Typical Sampling".)
    pub typical_p: f64,
    /// For every token in the history: divides its logit if positive, else multiplies it. Neutral: 1.
    pub repeat_penalty: f64,
    /// Subtracted from the logit of every token in the history. Neutral: 0.
    pub presence_penalty: f64,
    /// Subtracted from a token's logit once for each time it is in the history. Neutral: 0.
    pub frequency_penalty: f64,
    /// How many of the last tokens the penalties look at; all if `None`.
    pub penalty_window: Option<usize>,
    /// Added to the logits of these tokens before all else; negative infinity forbids a token.
    pub logit_bias: Vec<(u32, f32)>,
    /// Where the random numbers start; if `None`, somewhere else each time.
    pub seed: Option<u64>,
}

impl Default for SamplingParams {
    fn default() -> SamplingParams {
        SamplingParams {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_window: None,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl SamplingParams {
    /// Always the most probable token.
    pub fn greedy() -> SamplingParams {
        SamplingParams { temperature: 0.0, ..SamplingParams::default() }
    }

    /// Fails if a parameter lies outside its range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let finite = |x: f64| x.is_finite();
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let some_share = |x: f64| x > 0.0 && x <= 1.0;
        let checks = [
            ("temperature", self.temperature, not_negative(self.temperature), "0 or more"),
            ("top_p", self.top_p, share(self.top_p), "from 0 to 1"),
            ("min_p", self.min_p, share(self.min_p), "from 0 to 1"),
            ("typical_p", self.typical_p, some_share(self.typical_p), "above 0 and at most 1"),
            ("repeat_penalty", self.repeat_penalty, positive(self.repeat_penalty), "above 0"),
            ("presence_penalty", self.presence_penalty, finite(self.presence_penalty), "a finite number"),
            ("frequency_penalty", self.frequency_penalty, finite(self.frequency_penalty), "a finite number"),
        ];
        for (name, found, ok, allowed) in checks {
            if !ok {
                return Err(SamplingError::OutOfRange { name, found, allowed });
            }
        }
        let mut ids: Vec<u32> = self.logit_bias.iter().map(|&(id, _)| id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SamplingError::BiasTwice { token: twice[0] });
        }
        match self.logit_bias.iter().find(|(_, bias)| bias.is_nan() || *bias == f32::INFINITY) {
            Some(&(token, bias)) => Err(SamplingError::Bias { token, bias }),
            None => Ok(()),
        }
    }

    /// Whether what was said before matters.
    fn has_penalties(&self) -> bool {
        self.repeat_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }
}

/// Why no token can be chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// A parameter outside its range.
    #[error("{name} is {found}; it must be {allowed}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: f64,
        /// Its range, in words.
        allowed: &'static str,
    },
    /// A bias that is NaN or positive infinity.
    #[error("the logit bias of token {token} is {bias}; it must be finite, or -inf to forbid the token")]
    Bias {
        /// The token.
        token: u32,
        /// Its bias.
        bias: f32,
    },
    /// A token with two biases.
    #[error("token {token} has more than one logit bias; name each token once")]
    BiasTwice {
        /// The token.
        token: u32,
    },
    /// A bias for a token the model does not have.
    #[error("the logit bias names token {token}, but the vocabulary has {vocab_size} tokens")]
    BiasOutsideVocabulary {
        /// The token.
        token: u32,
        /// Number of logits.
        vocab_size: usize,
    },
    /// The model computed nonsense.
    #[error("the model computed {logit} as the logit of token {token}; its weights or its input are damaged")]
    Logit {
        /// The token.
        token: u32,
        /// NaN or positive infinity.
        logit: f32,
    },
    /// What the answer may be cannot be said or kept.
    #[error("the answer cannot be kept to its form: {0}")]
    Constraint(String),
    /// There are no logits, or each token is forbidden.
    #[error("no token can be chosen: all {vocab_size} tokens are forbidden")]
    NothingAllowed {
        /// Number of logits.
        vocab_size: usize,
    },
}

/// Chooses tokens for one sequence.
pub struct Sampler {
    params: SamplingParams,
    seed: u64,
    random: Random,
    penalties: Penalties,
    candidates: Candidates,
}

impl Sampler {
    /// Fails if a parameter lies outside its range.
    pub fn new(params: &SamplingParams) -> Result<Sampler, SamplingError> {
        params.validate()?;
        let seed = params.seed.unwrap_or_else(random::seed_from_system);
        Ok(Sampler {
            params: params.clone(),
            seed,
            random: Random::new(seed),
            penalties: Penalties::default(),
            candidates: Candidates::default(),
        })
    }

    /// The seed in use, given or found.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Chooses the next token from `logits: [vocab_size]`, where `history` is all that came before it.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, SamplingError> {
        let logits = self.penalties.apply(&self.params, logits, history)?;
        if self.params.temperature == 0.0 {
            return Ok(logits.first_of_largest());
        }
        self.candidates.select(&logits, &self.params);
        Ok(self.candidates.draw(&logits, &self.params, &mut self.random))
    }

    /// The tokens that [`sample`](Self::sample) could choose with their probabilities, the most probable
    /// first.
    pub fn distribution(
        &mut self,
        logits: &[f32],
        history: &[u32],
    ) -> Result<Vec<(u32, f64)>, SamplingError> {
        let logits = self.penalties.apply(&self.params, logits, history)?;
        if self.params.temperature == 0.0 {
            return Ok(vec![(logits.first_of_largest(), 1.0)]);
        }
        self.candidates.select_from_all(&logits, &self.params);
        Ok(self.candidates.probabilities())
    }
}
