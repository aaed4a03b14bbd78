//! How fast a model runs here: prompt and token speed, and what part of the machine that uses.

use std::time::Instant;

use crate::{Error, Llama};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// Tokens of the prompt that is read; 0 leaves this part out.
    pub n_prefill: usize,
    /// Tokens that are made, one after the other; 0 leaves this part out.
    pub n_decode: usize,
    /// Tokens known before the measurement begins.
    pub depth: usize,
    /// Measurements.
    pub repeat: usize,
}

/// One part's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// Tokens in one measurement.
    pub n_tokens: usize,
    /// Tokens per second of each measurement, in order.
    pub tokens_per_s: Vec<f64>,
    /// Bytes of weights, keys and values that a measurement reads, each as often as its passes need it.
    pub bytes: f64,
    /// Floating-point operations of a measurement: two for each weight and each key and value element used.
    pub flops: f64,
}

impl Speed {
    /// The middle measurement; of an even number, the mean of the two middle ones.
    pub fn median(&self) -> f64 {
        let mut sorted = self.tokens_per_s.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        if n == 0 { 0.0 } else { (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0 }
    }

    /// The slowest measurement.
    pub fn min(&self) -> f64 {
        self.tokens_per_s.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The fastest measurement.
    pub fn max(&self) -> f64 {
        self.tokens_per_s.iter().copied().fold(0.0, f64::max)
    }

    /// Billions of bytes read per second, at the median.
    pub fn gb_per_s(&self) -> f64 {
        self.bytes / self.n_tokens as f64 * self.median() / 1e9
    }

    /// Billions of floating-point operations per second, at the median.
    pub fn gflop_per_s(&self) -> f64 {
        self.flops / self.n_tokens as f64 * self.median() / 1e9
    }
}

/// The result.
#[derive(Clone, Debug, PartialEq)]
pub struct Bench {
    /// Reading a prompt.
    pub prefill: Option<Speed>,
    /// Making tokens.
    pub decode: Option<Speed>,
}

/// Measures. Tokens are random, the same in every run; one unmeasured run comes first and brings the weights into the
/// page cache. `on_progress(n_done, n_total)` counts runs.
pub fn bench(
    llama: &Llama,
    options: &BenchOptions,
    mut on_progress: impl FnMut(usize, usize),
) -> Result<Bench, Error> {
    let BenchOptions { n_prefill, n_decode, depth, repeat } = *options;
    if repeat == 0 {
        return Err(Error::Request("a measurement of 0 repeats measures nothing".into()));
    }
    let engine = llama.engine();
    let (n_longest, max_seq_len) = (depth.saturating_add(n_prefill.max(n_decode)), engine.max_seq_len());
    if n_longest > max_seq_len {
        let what = format!("the measurement needs {n_longest} tokens, but the context has {max_seq_len}");
        return Err(Error::Request(what + "\n  measure fewer tokens, or at a smaller depth"));
    }
    let mut tokens = RandomTokens { state: 1, vocab_size: llama.config().vocab_size as u64 };
    let mut past = engine.empty_past();
    if depth > 0 {
        engine.extend(&mut past, &tokens.take(depth))?;
    }
    let n_runs = usize::from(n_prefill > 0) * (repeat + 1) + usize::from(n_decode > 0) * (repeat + 1);
    let mut n_done = 0;
    let mut measure = |n_tokens: usize, step: usize| -> Result<Vec<f64>, Error> {
        let mut speeds = Vec::new();
        for run in 0..=repeat {
            let mut past = past.clone();
            let tokens = tokens.take(n_tokens);
            let start = Instant::now();
            for tokens in tokens.chunks(step) {
                engine.extend(&mut past, tokens)?;
            }
            let speed = n_tokens as f64 / start.elapsed().as_secs_f64();
            if run > 0 {
                speeds.push(speed);
            }
            n_done += 1;
            on_progress(n_done, n_runs);
        }
        Ok(speeds)
    };
    let mut part = |n_tokens: usize, step: usize| -> Result<Option<Speed>, Error> {
        if n_tokens == 0 {
            return Ok(None);
        }
        let tokens_per_s = measure(n_tokens, step)?;
        let (bytes, flops) = cost(llama, depth, n_tokens, step);
        Ok(Some(Speed { n_tokens, tokens_per_s, bytes, flops }))
    };
    Ok(Bench { prefill: part(n_prefill, n_prefill)?, decode: part(n_decode, 1)? })
}

/// Bytes read and operations done for `n_tokens` tokens after `depth` others, whose logits are wanted after every
/// `step` of them. The engine cuts a step further.
fn cost(llama: &Llama, depth: usize, n_tokens: usize, step: usize) -> (f64, f64) {
    let engine = llama.engine();
    let (config, weights) = (llama.config(), &engine.model().weights);
    let output = weights.output.as_ref().unwrap_or(&weights.tok_embeddings);
    let layers = weights.layers.iter().flat_map(|w| [&w.wq, &w.wk, &w.wv, &w.wo, &w.w1, &w.w3, &w.w2]);
    let (layer_bytes, layer_len) =
        layers.fold((0, 0), |(bytes, len), w| (bytes + w.bytes().len(), len + w.len()));
    let kv_bytes_per_token =
        engine.model().kv_layout(engine.kv_dtype()).block_bytes() * config.n_layers / crate::KvLayout::BLOCK;
    let (mut bytes, mut flops) = (0.0, 0.0);
    let mut first = depth;
    for wanted in chunk_lens(n_tokens, step) {
        bytes += output.bytes().len() as f64;
        flops += 2.0 * output.len() as f64;
        for n in chunk_lens(wanted, engine.step_tokens()) {
            let last = first + n;
            bytes += (layer_bytes + kv_bytes_per_token * last) as f64;
            // Token p attends to p + 1 positions, with q·k and with the weighted sum of the values.
            let positions = (first + 1..=last).sum::<usize>();
            flops +=
                2.0 * (layer_len * n) as f64 + 4.0 * (config.n_layers * config.q_dim() * positions) as f64;
            first = last;
        }
    }
    (bytes, flops)
}

fn chunk_lens(n: usize, chunk: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(chunk).map(move |start| chunk.min(n - start))
}

/// SplitMix64 (Steele, Lea and Flood 2014), of which the high bits choose a token.
struct RandomTokens {
    state: u64,
    vocab_size: u64,
}

impl RandomTokens {
    fn take(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(self.vocab_size)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread() {
        let speed = |tokens_per_s: &[f64]| Speed {
            n_tokens: 1,
            tokens_per_s: tokens_per_s.to_vec(),
            bytes: 2e9,
            flops: 4e9,
        };
        let odd = speed(&[3.0, 1.0, 2.0]);
        assert_eq!((odd.median(), odd.min(), odd.max()), (2.0, 1.0, 3.0));
        assert_eq!((odd.gb_per_s(), odd.gflop_per_s()), (4.0, 8.0));
        assert_eq!(speed(&[4.0, 1.0, 2.0, 9.0]).median(), 3.0);
    }

    #[test]
    fn chunks_cover_all() {
        assert_eq!(chunk_lens(10, 4).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(chunk_lens(0, 4).count(), 0);
    }
}
