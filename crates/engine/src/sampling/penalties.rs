//! Logit bias and the penalties for what was said before.
//!
//! They touch few tokens of a large vocabulary. The logits of these are computed in f64 and kept in a list; all
//! others stay as the model gave them.

use super::{SamplingError, SamplingParams};

/// Logits after bias and penalties.
pub(super) struct Adjusted<'a> {
    /// By token; negative infinity for those in `changed`.
    pub unchanged: &'a [f32],
    /// Tokens with a bias or a penalty, and their logits.
    pub changed: &'a [(u32, f64)],
    /// The largest logit, which is finite.
    pub largest: f64,
}

impl Adjusted<'_> {
    /// The first token with the largest logit.
    pub(super) fn first_of_largest(&self) -> u32 {
        let unchanged = self.unchanged.iter().position(|&logit| logit as f64 == self.largest);
        let changed = self.changed.iter().filter(|(_, logit)| *logit == self.largest).map(|&(id, _)| id);
        changed.chain(unchanged.map(|id| id as u32)).min().expect("one of the logits is the largest")
    }
}

/// Applies bias and penalties; remembers what it has counted, and its buffers.
#[derive(Default)]
pub(super) struct Penalties {
    /// The history whose tokens are counted.
    counted: Vec<u32>,
    /// How often each token of the vocabulary is in it.
    counts: Vec<u32>,
    /// The tokens that are, in the order of their first occurrence.
    distinct: Vec<u32>,
    unchanged: Vec<f32>,
    changed: Vec<(u32, f64)>,
}

impl Penalties {
    /// The logits that temperature and truncations work on. Fails if they allow no token.
    pub(super) fn apply<'a>(
        &'a mut self,
        params: &SamplingParams,
        logits: &'a [f32],
        history: &[u32],
    ) -> Result<Adjusted<'a>, SamplingError> {
        self.changed.clear();
        if params.has_penalties() {
            self.count(history, logits.len());
            self.penalise(params, logits);
        }
        self.bias_the_rest(params, logits)?;

        let unchanged = if self.changed.is_empty() {
            logits
        } else {
            self.unchanged.clear();
            self.unchanged.extend_from_slice(logits);
            for &(id, _) in &self.changed {
                check(id, logits[id as usize])?;
                self.unchanged[id as usize] = f32::NEG_INFINITY;
            }
            &self.unchanged
        };
        let largest = self.changed.iter().fold(largest(unchanged)? as f64, |max, &(_, logit)| max.max(logit));
        if largest == f64::NEG_INFINITY {
            return Err(SamplingError::NothingAllowed { vocab_size: logits.len() });
        }
        Ok(Adjusted { unchanged, changed: &self.changed, largest })
    }

    /// Brings the counts up to date. A history usually is the last one and a few more tokens.
    fn count(&mut self, history: &[u32], vocab_size: usize) {
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

    /// Changes the logits of all counted tokens.
    fn penalise(&mut self, params: &SamplingParams, logits: &[f32]) {
        self.changed.extend(self.distinct.iter().map(|&id| {
            let bias = params.logit_bias.iter().find(|&&(biased, _)| biased == id).map_or(0.0, |&(_, bias)| bias);
            let mut logit = logits[id as usize] as f64 + bias as f64;
            logit = if logit < 0.0 { logit * params.repeat_penalty } else { logit / params.repeat_penalty };
            logit -= params.frequency_penalty * self.counts[id as usize] as f64 + params.presence_penalty;
            (id, logit)
        }));
    }

    /// Changes the logits of biased tokens that are not penalised too.
    fn bias_the_rest(&mut self, params: &SamplingParams, logits: &[f32]) -> Result<(), SamplingError> {
        for &(token, bias) in &params.logit_bias {
            let Some(&logit) = logits.get(token as usize) else {
                return Err(SamplingError::BiasOutsideVocabulary { token, vocab_size: logits.len() });
            };
            let is_penalised = params.has_penalties() && self.counts[token as usize] > 0;
            if !is_penalised {
                self.changed.push((token, logit as f64 + bias as f64));
            }
        }
        Ok(())
    }
}

/// The largest of the logits, none of which may be NaN or positive infinity.
fn largest(logits: &[f32]) -> Result<f32, SamplingError> {
    // Eight independent maxima, which the compiler keeps in vectors. A NaN is never larger, so it is noted apart.
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
        for (id, &logit) in logits.iter().enumerate() {
            check(id as u32, logit)?;
        }
    }
    Ok(largest)
}

/// Refuses what no logit may be.
fn check(token: u32, logit: f32) -> Result<(), SamplingError> {
    if logit.is_nan() || logit == f32::INFINITY {
        return Err(SamplingError::Logit { token, logit });
    }
    Ok(())
}
