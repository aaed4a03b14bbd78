//! How fast a model runs here: prompt and token speed, and what part of the machine that uses.

use std::time::Instant;

use puna_engine::{EngineError, Past};
use puna_model::{Expert, LayerAttention, LayerWeights};
use puna_tensor::{KvLayout, Weight};

use crate::{Error, Llama};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// Tokens of the prompt that is read; 0 leaves this part out.
    pub n_prefill: usize,
    /// Tokens that are made of each sequence, one after the other; 0 leaves this part out.
    pub n_decode: usize,
    /// Tokens known before the measurement begins, in each sequence.
    pub depth: usize,
    /// Sequences that decode together; a step makes one token of each. A prompt is always read alone.
    pub n_sequences: usize,
    /// Measurements.
    pub repeat: usize,
}

/// One of the things that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Reading a prompt.
    Prefill,
    /// Making tokens.
    Decode,
}

impl Part {
    /// Both.
    pub const ALL: [Part; 2] = [Part::Prefill, Part::Decode];

    /// `prefill` or `decode`.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Prefill => "prefill",
            Part::Decode => "decode",
        }
    }
}

/// One part's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// Tokens in one measurement, of all sequences together.
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

/// Measures. One unmeasured run of each part comes first and brings the weights into the page cache.
/// `on_progress(n_done, n_total)` counts runs.
pub fn bench(
    llama: &Llama,
    options: &BenchOptions,
    mut on_progress: impl FnMut(usize, usize),
) -> Result<Bench, Error> {
    let repeat = options.repeat;
    if repeat == 0 {
        return Err(Error::Request("a measurement of 0 repeats measures nothing".into()));
    }
    let mut bencher = Bencher::new(llama, options)?;
    let n_runs = Part::ALL.into_iter().filter(|&part| bencher.n_tokens(part) > 0).count() * (repeat + 1);
    let mut n_done = 0;
    let mut measure = |part: Part| -> Result<Option<Speed>, Error> {
        if bencher.n_tokens(part) == 0 {
            return Ok(None);
        }
        let mut tokens_per_s = Vec::new();
        for run in 0..=repeat {
            let speed = bencher.measure(part)?;
            if run > 0 {
                tokens_per_s.extend(speed.tokens_per_s);
            }
            n_done += 1;
            on_progress(n_done, n_runs);
        }
        Ok(Some(bencher.speed(part, tokens_per_s)))
    };
    Ok(Bench { prefill: measure(Part::Prefill)?, decode: measure(Part::Decode)? })
}

/// Sequences filled to the depth, on which a part can be measured as often as wanted. Tokens are random, the
/// same in every run of the program.
pub struct Bencher {
    llama: Llama,
    options: BenchOptions,
    /// One past per sequence, each with keys and values of its own: shared ones would stay in the processor's
    /// cache.
    pasts: Vec<Past>,
    tokens: RandomTokens,
}

impl Bencher {
    /// Repacks the weights and fills the sequences. `options.repeat` is the caller's affair.
    pub fn new(llama: &Llama, options: &BenchOptions) -> Result<Bencher, Error> {
        let BenchOptions { n_prefill, n_decode, depth, n_sequences, .. } = *options;
        if n_sequences == 0 {
            return Err(Error::Request("a measurement of 0 sequences measures nothing".into()));
        }
        let engine = llama.engine();
        let (n_longest, max_seq_len) = (depth.saturating_add(n_prefill.max(n_decode)), engine.max_seq_len());
        if n_longest > max_seq_len {
            let model_max = Some(llama.config().max_seq_len).filter(|&max| max > max_seq_len);
            let what = "the measurement";
            let n_tokens = n_longest;
            return Err(EngineError::TooLong { what, n_tokens, max_seq_len, model_max }.into());
        }
        // Refused before hours are spent on it.
        let of_part = |n: usize, n_sequences: usize| {
            engine.check_memory(std::iter::repeat_n(depth + n, n_sequences), "the measurement")
        };
        if n_decode > 0 {
            of_part(n_decode, n_sequences)?;
        }
        of_part(n_prefill, 1)?;
        llama.repack();
        let mut tokens = RandomTokens { state: 1, vocab_size: llama.config().vocab_size as u64 };
        let mut pasts: Vec<Past> = (0..n_sequences).map(|_| engine.empty_past()).collect();
        // A prompt is read into the first sequence alone.
        let n_filled = if n_decode > 0 { n_sequences } else { 1 };
        for past in &mut pasts[..n_filled] {
            // By steps, so that a depth that cannot be reached is no list of tokens either.
            for n in chunk_lens(depth, engine.step_tokens()) {
                engine.extend(past, &tokens.take(n))?;
            }
        }
        Ok(Bencher { llama: llama.clone(), options: *options, pasts, tokens })
    }

    /// Tokens in one measurement of a part, of all sequences together; 0 if the part was left out.
    pub fn n_tokens(&self, part: Part) -> usize {
        match part {
            Part::Prefill => self.options.n_prefill,
            Part::Decode => self.options.n_decode * self.options.n_sequences,
        }
    }

    /// Measures a part once. The sequences are as before afterwards.
    pub fn measure(&mut self, part: Part) -> Result<Speed, Error> {
        let n_tokens = self.n_tokens(part);
        if n_tokens == 0 {
            let name = part.name();
            return Err(Error::Request(format!("cannot measure {name}\n  it was left out: it has 0 tokens")));
        }
        let engine = self.llama.engine();
        let tokens = self.tokens.take(n_tokens);
        // What is computed goes into copies, which share the blocks that are full.
        let mut pasts = self.pasts.clone();
        let start = Instant::now();
        match part {
            Part::Prefill => {
                engine.extend(&mut pasts[0], &tokens)?;
            }
            Part::Decode => {
                for tokens in tokens.chunks(pasts.len()) {
                    engine.extend_each(&mut pasts, tokens)?;
                }
            }
        }
        let tokens_per_s = n_tokens as f64 / start.elapsed().as_secs_f64();
        Ok(self.speed(part, vec![tokens_per_s]))
    }

    fn speed(&self, part: Part, tokens_per_s: Vec<f64>) -> Speed {
        let BenchOptions { n_prefill, n_decode, depth, n_sequences, .. } = self.options;
        let (bytes, flops) = match part {
            Part::Prefill => cost(&self.llama, depth, 1, chunk_lens(n_prefill, n_prefill)),
            Part::Decode => cost(&self.llama, depth, n_sequences, chunk_lens(n_decode, 1)),
        };
        Speed { n_tokens: self.n_tokens(part), tokens_per_s, bytes, flops }
    }
}

/// Bytes read and operations done when each of `n_sequences` sequences goes on after `depth` tokens by
/// `steps` tokens at a time, and after each step the logits of its last token are wanted. All sequences are
/// in one pass, which reads the weights once; the engine cuts a longer step of one sequence further.
fn cost(llama: &Llama, depth: usize, n_sequences: usize, steps: impl Iterator<Item = usize>) -> (f64, f64) {
    let engine = llama.engine();
    let (config, weights) = (llama.config(), &engine.model().weights);
    let output = weights.output.as_ref().unwrap_or(&weights.tok_embeddings);
    let n_used = config.experts.n_used;
    // What a pass of `n_rows` tokens reads of a layer's experts, at most, and how many weights each token
    // meets.
    let experts = |w: &LayerWeights, n_rows: usize| -> (usize, usize) {
        let chosen = |n: usize| w.experts().iter().take(n).flat_map(Expert::matrices);
        let bytes = chosen(n_used.saturating_mul(n_rows)).map(Weight::n_bytes).sum();
        (bytes, chosen(n_used).map(Weight::len).sum())
    };
    let add = |(bytes, len): (usize, usize), w: &Weight| (bytes + w.n_bytes(), len + w.len());
    let before = |w: &LayerWeights| w.before_attention().fold((0, 0), add);
    let after = |w: &LayerWeights, n_rows| w.after_attention().fold(experts(w, n_rows), add);
    let kv_bytes = engine.model().kv_layout(engine.kv_dtype()).block_bytes() / KvLayout::BLOCK;
    let layers: Vec<LayerAttention> = config.layer_attention().collect();
    // With q·k and with the weighted sum of the values.
    let seen = |position: usize| {
        let of_layer = |attention: &LayerAttention| match *attention {
            LayerAttention::Full => position + 1,
            LayerAttention::Window(n) => (position + 1).min(n),
            LayerAttention::Chunked(chunk) => position % chunk + 1,
            LayerAttention::Images | LayerAttention::Nothing => 0,
        };
        layers.iter().map(of_layer).sum::<usize>()
    };
    let (mut bytes, mut flops) = (0.0, 0.0);
    let mut count = |(n_bytes, len): (usize, usize), n_rows: usize| {
        bytes += n_bytes as f64;
        flops += 2.0 * len as f64 * n_rows as f64;
    };
    let (mut first, mut n_seen, mut kv_read) = (depth, 0, 0);
    for step in steps {
        count((output.n_bytes(), output.len()), n_sequences);
        for n in chunk_lens(step, engine.step_tokens()) {
            let last = first + n;
            for (i, w) in weights.layers.iter().enumerate() {
                count(before(w), n * n_sequences);
                // In the last layer the rest is done for tokens whose logits are wanted alone: the last one
                // of each step.
                if i + 1 < config.n_layers {
                    count(after(w, n * n_sequences), n * n_sequences);
                }
            }
            n_seen += (first..last).map(seen).sum::<usize>();
            kv_read += seen(last - 1);
            first = last;
        }
        if let Some(w) = weights.layers.last() {
            count(after(w, n_sequences), n_sequences);
        }
    }
    let attended = 4.0 * (config.q_dim() * n_sequences) as f64 * n_seen as f64;
    (bytes + (kv_bytes * n_sequences) as f64 * kv_read as f64, flops + attended)
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
    fn sequences_share_the_weights_and_nothing_else() {
        let llama = Llama::builtin().unwrap();
        let options = BenchOptions { n_prefill: 0, n_decode: 2, depth: 5, n_sequences: 1, repeat: 1 };
        let speed = |n_sequences, depth| {
            let options = BenchOptions { n_sequences, depth, ..options };
            Bencher::new(&llama, &options).unwrap().measure(Part::Decode).unwrap()
        };
        let (one, three) = (speed(1, 5), speed(3, 5));
        assert_eq!((one.n_tokens, three.n_tokens), (2, 6));
        assert_eq!(three.flops, 3.0 * one.flops);
        // Two steps at depth 15 have 2 * 10 positions more than at depth 5.
        let kv = (speed(1, 15).bytes - one.bytes) / 20.0;
        assert_eq!(three.bytes - one.bytes, 2.0 * kv * (6.0 + 7.0));
    }

    #[test]
    fn measuring_leaves_the_sequences_as_they_were() {
        let llama = Llama::builtin().unwrap();
        let options = BenchOptions { n_prefill: 4, n_decode: 3, depth: 5, n_sequences: 2, repeat: 1 };
        let mut bencher = Bencher::new(&llama, &options).unwrap();
        for part in [Part::Prefill, Part::Decode, Part::Decode] {
            assert!(bencher.measure(part).unwrap().median() > 0.0);
            assert!(bencher.pasts.iter().all(|past| past.tokens().len() == 5));
        }
        assert_ne!(bencher.pasts[0].tokens(), bencher.pasts[1].tokens());
        let options = BenchOptions { n_decode: 0, ..options };
        let error = Bencher::new(&llama, &options).unwrap().measure(Part::Decode).unwrap_err();
        assert!(error.to_string().contains("cannot measure decode"), "{error}");
        let options = BenchOptions { n_sequences: 0, ..options };
        assert!(Bencher::new(&llama, &options).is_err());
    }

    #[test]
    fn chunks_cover_all() {
        assert_eq!(chunk_lens(10, 4).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(chunk_lens(0, 4).count(), 0);
    }
}
