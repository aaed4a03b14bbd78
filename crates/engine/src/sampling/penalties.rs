//! Logit bias and the penalties for what was said before.

use super::{SamplingError, SamplingParams};

/// Logits after bias and penalties. None is NaN, and at least one is finite.
pub(super) struct Adjusted<'a> {
    /// By token; negative infinity for those that are forbidden.
    pub logits: &'a [f32],
    /// The largest.
    pub largest: f32,
}

impl Adjusted<'_> {
    /// The first token with the largest logit.
    pub(super) fn first_of_largest(&self) -> u32 {
        self.logits.iter().position(|&logit| logit == self.largest).expect("one of them is the largest")
            as u32
    }
}

/// Applies bias and penalties; remembers what it has counted.
#[derive(Default)]
pub(super) struct Penalties {
    /// The history whose tokens are counted.
    counted: Vec<u32>,
    /// How often each token of the vocabulary is in it.
    counts: Vec<u32>,
    /// The tokens that are.
    distinct: Vec<u32>,
    /// A copy of the logits to change.
    changed: Vec<f32>,
}

impl Penalties {
    /// The logits that temperature and truncations work on. Fails if they allow no token.
    pub(super) fn apply<'a>(
        &'a mut self,
        params: &SamplingParams,
        logits: &'a [f32],
        history: &[u32],
    ) -> Result<Adjusted<'a>, SamplingError> {
        let logits = if params.has_penalties() || !params.logit_bias.is_empty() {
            self.changed.clear();
            self.changed.extend_from_slice(logits);
            self.add_bias(params)?;
            if params.has_penalties() {
                let n = params.penalty_window.map_or(history.len(), |n| n.min(history.len()));
                self.count(&history[history.len() - n..]);
                self.penalise(params);
            }
            &self.changed
        } else {
            logits
        };
        let largest = largest(logits)?;
        if largest == f32::NEG_INFINITY {
            return Err(SamplingError::NothingAllowed { vocab_size: logits.len() });
        }
        Ok(Adjusted { logits, largest })
    }

    fn add_bias(&mut self, params: &SamplingParams) -> Result<(), SamplingError> {
        let vocab_size = self.changed.len();
        for &(token, bias) in &params.logit_bias {
            let Some(logit) = self.changed.get_mut(token as usize) else {
                return Err(SamplingError::BiasOutsideVocabulary { token, vocab_size });
            };
            *logit += bias;
        }
        Ok(())
    }

    /// Brings the counts up to date. A history usually is the last one and a few more tokens.
    fn count(&mut self, history: &[u32]) {
        let vocab_size = self.changed.len();
        if self.counts.len() != vocab_size || !history.starts_with(&self.counted) {
            self.counted.clear();
            self.distinct.clear();
            self.counts.clear();
            self.counts.resize(vocab_size, 0);
        }
        for &id in &history[self.counted.len()..] {
            // A token outside the vocabulary has no logit to change.
            if let Some(count) = self.counts.get_mut(id as usize) {
                if *count == 0 {
                    self.distinct.push(id);
                }
                *count += 1;
            }
        }
        self.counted.extend_from_slice(&history[self.counted.len()..]);
    }

    /// Changes the logits of all counted tokens, in f64 and rounded once.
    fn penalise(&mut self, params: &SamplingParams) {
        for &id in &self.distinct {
            let (logit, count) = (&mut self.changed[id as usize], self.counts[id as usize] as f64);
            let x = *logit as f64;
            let x = if x < 0.0 { x * params.repeat_penalty } else { x / params.repeat_penalty };
            *logit = (x - params.frequency_penalty * count - params.presence_penalty) as f32;
        }
    }
}

/// The largest of the logits, none of which may be NaN or positive infinity.
fn largest(logits: &[f32]) -> Result<f32, SamplingError> {
    // Eight independent maxima, which the compiler keeps in vectors. A NaN is never larger, so it is noted
    // apart.
    let mut max = [f32::NEG_INFINITY; 8];
    let mut nan = [false; 8];
    let (eights, rest) = logits.as_chunks::<8>();
    for eight in eights {
        for i in 0..8 {
            max[i] = if eight[i] > max[i] { eight[i] } else { max[i] };
            nan[i] |= eight[i].is_nan();
        }
    }
    let largest = max.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    if largest == f32::INFINITY || nan.contains(&true) || rest.iter().any(|logit| logit.is_nan()) {
        let damaged = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
        let token = logits.iter().position(damaged).expect("one of them is");
        return Err(SamplingError::Logit { token: token as u32, logit: logits[token] });
    }
    Ok(largest)
}
