//! Truncating a distribution over a large vocabulary and drawing from it, mostly looking at the tokens near
//! the top.
//!
//! A token's weight is e^((logit - largest logit) / temperature); its probability is its weight over the sum
//! of all. At first only tokens with a weight of at least e^[`NEAR`] become candidates. The others, far more
//! but together seldom of weight, count as a sum computed with a quick exponential of known error. Whenever
//! the answer could depend on one of them, or on that error, all tokens become candidates and the work begins
//! anew: the outcome is always that of the whole distribution.

use super::SamplingParams;
use super::penalties::Adjusted;
use super::random::Random;

/// The scaled logit from which a token is a candidate at first.
const NEAR: f64 = -14.0;

/// Larger than the relative error of [`quick_exp`], and of sums of it.
const QUICK_ERROR: f64 = 1e-4;

/// A token that may be chosen.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    logit: f32,
    weight: f64,
}

/// The order of top-k and top-p: the most probable first, then the lower id.
fn by_rank(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// The tokens that may be chosen one by one, and the weight of those that are not listed. Kept for its
/// buffer.
#[derive(Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// The others' weight; 0 if they cannot be chosen.
    others: f64,
    /// The logit that the others are below.
    near_logit: f32,
    largest: f32,
    temperature: f64,
}

/// All tokens are needed to decide.
struct NeedsAll;

impl Candidates {
    /// Selects the tokens that may be chosen, looking closely at as few as decide it.
    pub(super) fn select(&mut self, logits: &Adjusted, params: &SamplingParams) {
        self.gather(logits, params.temperature, NEAR);
        if let Err(NeedsAll) = self.truncate(params) {
            self.select_from_all(logits, params);
        }
    }

    /// Selects the tokens that may be chosen, and lists each.
    pub(super) fn select_from_all(&mut self, logits: &Adjusted, params: &SamplingParams) {
        self.gather(logits, params.temperature, f64::NEG_INFINITY);
        let Ok(()) = self.truncate(params) else { unreachable!("there are no others to ask for") };
    }

    /// Draws one of the selected tokens.
    pub(super) fn draw(&mut self, logits: &Adjusted, params: &SamplingParams, random: &mut Random) -> u32 {
        match self.draw_listed(random) {
            Some(id) => id,
            None => {
                // One of the others, each now by its own weight. Rarely needed: they weigh little.
                let near_logit = self.near_logit;
                self.gather(logits, params.temperature, f64::NEG_INFINITY);
                self.list.retain(|c| c.logit < near_logit);
                self.draw_listed(random).expect("all are listed")
            }
        }
    }

    /// Draws a token, or `None` for one of the others.
    fn draw_listed(&self, random: &mut Random) -> Option<u32> {
        let drawn = random.uniform() * (self.weight() + self.others);
        let mut sum = 0.0;
        let found = self.list.iter().find(|c| {
            sum += c.weight;
            drawn < sum
        });
        // Rounding may leave the sum an ulp short of what was drawn.
        let found = found.or(if self.others == 0.0 { self.list.last() } else { None });
        found.map(|c| c.id)
    }

    /// The listed tokens and their probabilities, the most probable first.
    pub(super) fn probabilities(&mut self) -> Vec<(u32, f64)> {
        self.list.sort_unstable_by(by_rank);
        let weight = self.weight();
        self.list.iter().map(|c| (c.id, c.weight / weight)).collect()
    }

    /// The weight of all listed tokens.
    fn weight(&self) -> f64 {
        self.list.iter().map(|c| c.weight).sum()
    }

    /// Lists the tokens whose scaled logit is at least `near` (and that are not forbidden); sums up the
    /// others.
    fn gather(&mut self, logits: &Adjusted, temperature: f64, near: f64) {
        self.list.clear();
        self.others = 0.0;
        (self.largest, self.temperature) = (logits.largest, temperature);
        self.near_logit = (logits.largest as f64 + near * temperature) as f32;
        let (chunks, rest) = logits.logits.as_chunks::<32>();
        let mut first_id = 0;
        for chunk in chunks {
            if near > f64::NEG_INFINITY {
                self.others += self.weight_of_others(chunk);
            }
            if chunk.iter().fold(false, |any, &logit| any | (logit >= self.near_logit)) {
                self.list_near(first_id, chunk);
            }
            first_id += chunk.len() as u32;
        }
        let mut padded = [f32::NEG_INFINITY; 32];
        padded[..rest.len()].copy_from_slice(rest);
        self.others += self.weight_of_others(&padded);
        self.list_near(first_id, rest);
    }

    /// The summed weight of those of 32 logits that are not near.
    fn weight_of_others(&self, logits: &[f32; 32]) -> f64 {
        let per_degree = (1.0 / self.temperature) as f32;
        let mut sums = [0f32; 8];
        for eight in logits.as_chunks::<8>().0 {
            let weights = quick_exp(eight.map(|logit| (logit - self.largest) * per_degree));
            for i in 0..8 {
                sums[i] += select(eight[i] < self.near_logit, weights[i]);
            }
        }
        sums.iter().sum::<f32>() as f64
    }

    /// Lists those of the logits that are near and can be chosen at all.
    fn list_near(&mut self, first_id: u32, logits: &[f32]) {
        for (id, &logit) in (first_id..).zip(logits) {
            if logit >= self.near_logit {
                let weight = self.scaled(logit).exp();
                if weight > 0.0 {
                    self.list.push(Candidate { id, logit, weight });
                }
            }
        }
    }

    /// A logit relative to the largest, at the temperature.
    fn scaled(&self, logit: f32) -> f64 {
        (logit as f64 - self.largest as f64) / self.temperature
    }

    /// Removes what top-k, top-p, min-p and typical-p remove, in this order.
    fn truncate(&mut self, params: &SamplingParams) -> Result<(), NeedsAll> {
        if params.top_k > 0 {
            self.keep_top_k(params.top_k)?;
        }
        if params.top_p < 1.0 {
            self.keep_top_p(params.top_p)?;
        }
        if params.min_p > 0.0 {
            self.keep_min_p(params.min_p)?;
        }
        if params.typical_p < 1.0 {
            self.keep_typical(params.typical_p)?;
        }
        Ok(())
    }

    /// Keeps the tokens whose logit is at least the k-th largest: more than k if some are equal.
    fn keep_top_k(&mut self, k: usize) -> Result<(), NeedsAll> {
        if self.list.len() < k {
            return self.no_others();
        }
        let least = self.list.select_nth_unstable_by(k - 1, by_rank).1.logit;
        self.list.retain(|c| c.logit >= least);
        self.others = 0.0;
        Ok(())
    }

    /// Keeps a token if the mass of those before it in rank is below `p`; always the first.
    fn keep_top_p(&mut self, p: f64) -> Result<(), NeedsAll> {
        let enough = p * (self.weight() + self.others);
        let doubt = p * self.others * QUICK_ERROR;
        let mut before = 0.0;
        // Sorted by and by, for the first few tokens are mostly enough.
        let (mut n_sorted, mut n_more) = (0, 64);
        while n_sorted < self.list.len() {
            let unsorted = &mut self.list[n_sorted..];
            let n_next = n_more.min(unsorted.len());
            if n_next < unsorted.len() {
                unsorted.select_nth_unstable_by(n_next - 1, by_rank);
            }
            unsorted[..n_next].sort_unstable_by(by_rank);
            for i in n_sorted..n_sorted + n_next {
                if doubt > 0.0 && (before - enough).abs() <= doubt {
                    return Err(NeedsAll);
                }
                if i > 0 && before >= enough {
                    self.list.truncate(i);
                    self.others = 0.0;
                    return Ok(());
                }
                before += self.list[i].weight;
            }
            n_sorted += n_next;
            n_more *= 4;
        }
        self.no_others()
    }

    /// Keeps the tokens at least `min_p` as probable as the first, whose weight is 1.
    fn keep_min_p(&mut self, min_p: f64) -> Result<(), NeedsAll> {
        if min_p <= NEAR.exp() {
            self.no_others()?;
        }
        self.list.retain(|c| c.weight >= min_p);
        self.others = 0.0;
        Ok(())
    }

    /// Keeps the tokens whose surprise is nearest to the expected surprise, as many as reach a mass of `p`,
    /// and those as near as the last of them.
    fn keep_typical(&mut self, p: f64) -> Result<(), NeedsAll> {
        self.no_others()?;
        let weight = self.weight();
        let (log_weight, largest, temperature) = (weight.ln(), self.largest as f64, self.temperature);
        let surprise = |c: &Candidate| log_weight - (c.logit as f64 - largest) / temperature;
        let entropy: f64 = self.list.iter().map(|c| c.weight / weight * surprise(c)).sum();
        let distance = |c: &Candidate| (surprise(c) - entropy).abs();
        self.list.sort_unstable_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.id.cmp(&b.id)));
        let mut mass = 0.0;
        let last = self.list.iter().find(|c| {
            mass += c.weight / weight;
            mass >= p
        });
        if let Some(farthest) = last.map(distance) {
            self.list.retain(|c| distance(c) <= farthest);
        }
        Ok(())
    }

    /// Fails if there are tokens that are not listed.
    fn no_others(&self) -> Result<(), NeedsAll> {
        if self.others > 0.0 { Err(NeedsAll) } else { Ok(()) }
    }
}

/// e^x for x <= 0 with a relative error below 2e-5 (most of it from the rounding of x far from 0); 0 below
/// -87.
///
/// 2^(x / ln 2) is a power of two, put into the exponent's bits, times 2^f for a fraction f in -1/2..1/2 by
/// its Taylor polynomial. Eight at once and without branches or calls, so that the compiler uses vectors.
#[inline(always)]
fn quick_exp(x: [f32; 8]) -> [f32; 8] {
    const ROUND: f32 = 12_582_912.0; // 1.5 2^23: adding it rounds to an integer, kept in the lowest bits.
    let exponent = x.map(|x| if x > -87.0 { x } else { -87.0 } * std::f32::consts::LOG2_E);
    let shifted = exponent.map(|exponent| exponent + ROUND);
    const L: f32 = std::f32::consts::LN_2;
    let mut power = [L * L * L * L * L * L / 720.0; 8];
    for coefficient in [L * L * L * L * L / 120.0, L * L * L * L / 24.0, L * L * L / 6.0, L * L / 2.0, L, 1.0]
    {
        for i in 0..8 {
            power[i] = power[i] * (exponent[i] - (shifted[i] - ROUND)) + coefficient;
        }
    }
    std::array::from_fn(|i| {
        let scale = f32::from_bits(shifted[i].to_bits().wrapping_add(127) << 23);
        select(x[i] > -87.0, power[i] * scale)
    })
}

/// `x` or 0, without a branch.
#[inline(always)]
fn select(condition: bool, x: f32) -> f32 {
    f32::from_bits(x.to_bits() & (condition as u32).wrapping_neg())
}

#[cfg(test)]
impl Candidates {
    /// The probabilities of the listed tokens, and that of all others together.
    pub(super) fn shares(&self) -> (Vec<(u32, f64)>, f64) {
        let weight = self.weight() + self.others;
        (self.list.iter().map(|c| (c.id, c.weight / weight)).collect(), self.others / weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_exp_keeps_its_promise() {
        for i in 0..108_750 {
            let x = std::array::from_fn(|lane| -((8 * i + lane) as f32) / 10_000.0);
            for (x, got) in x.into_iter().zip(quick_exp(x)) {
                let want = (x as f64).exp();
                assert!((got as f64 - want).abs() <= 2e-5 * want, "e^{x} = {got}, not {want}");
            }
        }
        assert_eq!(quick_exp([f32::NEG_INFINITY, -1e30, -87.1, f32::NAN, 0.0, 0.0, 0.0, 0.0])[..4], [0.0; 4]);
    }
}
