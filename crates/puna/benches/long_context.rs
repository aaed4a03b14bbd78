//! What a token costs, in time and memory, after up to ten million others: a small model of Llama 4 Scout's
//! kind.
//!
//! ```text
//! cargo bench -p puna --bench long_context -- --out long.json
//! python3 benches/long_context_plot.py long.json long.svg
//! ```
//!
//! Eight layers of which every fourth sees all positions and the others chunks of 8192, with random weights.
//! Up to each length, the cache is filled synthetically, since computing a prompt of millions of tokens takes
//! days, and tokens are made after it, one by one, the last of them at that length. Prompts are really read
//! too, as far as `--prefill-seconds` allow. Options: `--kv q8_0|f16|f32`, `--kv-dir DIR` (keys and values in
//! a file), `--max-len N`, `--min-len N`, `--tokens N` of each length, `--prefill-seconds N` (600; 0 for
//! none), `--threads N`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use puna_engine::{Engine, EngineOptions};
use puna_formats::Bytes;
use puna_model::rope::RopeScaling;
use puna_model::{Config, Experts, KvCache, LayerAttention, LayerKind, Model, Temperature, Weights};
use puna_tensor::{Activations, Cpu, DType, Isa, KvLayout, Pool, Weight, quant};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const CHUNK: usize = 8192;
const MAX_SEQ_LEN: usize = 10 << 20;

struct Args {
    kv_dtype: DType,
    kv_dir: Option<PathBuf>,
    min_len: usize,
    max_len: usize,
    n_tokens: usize,
    prefill: Duration,
    n_threads: usize,
    out: Option<PathBuf>,
}

fn main() -> Result<(), Failure> {
    let args = args()?;
    let cpu = Cpu::new(Isa::best(), args.n_threads);
    let model = Arc::new(random_model(config()));
    let read_gb_per_s = median((0..5).map(|_| read_gb_per_s(args.n_threads)).collect());
    let options = EngineOptions {
        kv_dtype: args.kv_dtype,
        kv_dir: args.kv_dir.clone(),
        activations: Activations::Int8,
        ..EngineOptions::default()
    };
    let engine = Engine::new(model, Arc::new(cpu), options)?;
    println!("{}, {} threads, read {read_gb_per_s:.1} GB/s", engine.cpu().isa.name(), args.n_threads);

    println!("  length   ms/token (min, max)      KV read     KV held      RSS   (own, mapped)");
    let lens = (10..).map(|i| 1usize << i).take_while(|len| *len < args.max_len).chain([args.max_len]);
    let mut decode = Vec::new();
    for len in lens.filter(|len| *len >= args.min_len) {
        decode.push(measure_decode(&engine, len, args.n_tokens)?);
    }
    let prefill = measure_prefill(&engine, args.max_len, args.prefill)?;
    let result = json!({
        "isa": engine.cpu().isa.name(),
        "threads": args.n_threads,
        "kv": args.kv_dtype.name(),
        "in_file": args.kv_dir.is_some(),
        "read_gb_per_s": read_gb_per_s,
        "weight_bytes": engine.model().weights.layers.iter().flat_map(|w| {
            w.matrices().chain(w.experts().iter().flat_map(|expert| expert.matrices()))
        }).map(Weight::n_bytes).sum::<usize>(),
        "chunk": CHUNK,
        "chunked_layers": engine.model().config.layer_attention().filter(|s| *s != LayerAttention::Full).count(),
        "global_layers": engine.model().config.layer_attention().filter(|s| *s == LayerAttention::Full).count(),
        "position_bytes": position_bytes(&engine),
        "decode": decode,
        "prefill": prefill,
    });
    if let Some(path) = &args.out {
        std::fs::write(path, serde_json::to_string_pretty(&result)? + "\n")?;
    }
    Ok(())
}

fn args() -> Result<Args, Failure> {
    let mut args = Args {
        kv_dtype: DType::Q8_0,
        kv_dir: None,
        min_len: 0,
        max_len: MAX_SEQ_LEN,
        n_tokens: 15,
        prefill: Duration::from_secs(600),
        n_threads: Pool::default_threads(),
        out: None,
    };
    // Cargo adds `--bench`.
    let mut words = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--kv" => {
                let found = KvLayout::DTYPES.into_iter().find(|t| t.name().eq_ignore_ascii_case(&value));
                args.kv_dtype = found.ok_or_else(|| format!("{value} is not a type of keys and values"))?;
            }
            "--kv-dir" => args.kv_dir = Some(value.into()),
            "--min-len" => args.min_len = value.parse()?,
            "--max-len" => args.max_len = value.parse::<usize>()?.clamp(1024, MAX_SEQ_LEN),
            "--tokens" => args.n_tokens = value.parse::<usize>()?.clamp(1, 500),
            "--prefill-seconds" => args.prefill = Duration::from_secs(value.parse()?),
            "--threads" => args.n_threads = value.parse()?,
            "--out" => args.out = Some(value.into()),
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    Ok(args)
}

/// Scout's kinds of layers, heads and scaling, at a size of which ten million positions fit a small machine.
fn config() -> Config {
    let kind = |i: usize| {
        let is_global = i % 4 == 3;
        LayerKind { no_rope: is_global, chunked: !is_global, experts: true }
    };
    let rope_scaling = RopeScaling::Llama3 {
        factor: 16.0,
        low_freq_factor: 1.0,
        high_freq_factor: 1.0,
        original: CHUNK as f64,
    };
    Config {
        dim: 1024,
        n_layers: 8,
        n_heads: 8,
        n_kv_heads: 2,
        head_dim: 128,
        ffn_dim: 2048,
        vocab_size: 32_000,
        max_seq_len: MAX_SEQ_LEN,
        norm_eps: 1e-5,
        rope_theta: 500_000.0,
        rope_scaling,
        tied: true,
        layer_kinds: (0..8).map(kind).collect(),
        attention_chunk: Some(CHUNK),
        qk_norm: true,
        attention_temperature: Some(Temperature { floor: CHUNK as f32, scale: 0.1 }),
        experts: Experts { n: 4, n_used: 1, ffn_dim: 2048, ..Experts::default() },
        ..Config::default()
    }
}

/// Weights in Q8_0, uniform from -0.035 to 0.035; norms are ones.
fn random_model(config: Config) -> Model {
    let mut tokens = 1u64;
    let mut random = || (next(&mut tokens) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        if rows == 1 {
            return Ok::<_, Infallible>(Weight::owned(id, rows, cols, vec![1.0; cols]));
        }
        let mut bytes = vec![0; DType::Q8_0.bytes_of(cols).expect("whole blocks") * rows];
        let row_bytes = bytes.len() / rows;
        for row in bytes.chunks_exact_mut(row_bytes) {
            let values: Vec<f32> = (0..cols).map(|_| 0.035 * random()).collect();
            quant::encode(DType::Q8_0, &values, row);
        }
        let weight = Weight::stored(id, DType::Q8_0, rows, cols, Bytes::new(bytes));
        Ok(weight.expect("the bytes are the rows"))
    });
    let Ok(weights) = weights;
    Model::new(config, weights)
}

/// A linear congruential generator with Knuth's constants.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state
}

fn random_tokens(n: usize, vocab_size: usize, state: &mut u64) -> Vec<u32> {
    (0..n).map(|_| ((next(state) >> 33) % vocab_size as u64) as u32).collect()
}

/// Bytes of keys and values of one position of one layer.
fn position_bytes(engine: &Engine) -> usize {
    engine.model().kv_layout(engine.kv_dtype()).block_bytes() / KvLayout::BLOCK
}

fn measure_decode(engine: &Engine, len: usize, n_tokens: usize) -> Result<Value, Failure> {
    let config = &engine.model().config;
    let start = Instant::now();
    let mut past = engine.synthetic_past(len - n_tokens - 1)?;
    let filled = start.elapsed();
    let mut ms = Vec::new();
    // The first one is not counted.
    for (i, token) in random_tokens(n_tokens + 1, config.vocab_size, &mut 7).into_iter().enumerate() {
        let start = Instant::now();
        engine.extend(&mut past, &[token])?;
        if i > 0 {
            ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let seen = |attention: LayerAttention| match attention {
        LayerAttention::Chunked(chunk) => (len - 1) % chunk + 1,
        _ => len,
    };
    let read = config.layer_attention().map(seen).sum::<usize>() * position_bytes(engine);
    let layout = engine.model().kv_layout(engine.kv_dtype());
    let predicted = KvCache::bytes_for(layout, config.layer_attention(), len);
    let [rss, own, mapped] = [["VmRSS:"; 2], ["RssAnon:"; 2], ["RssFile:", "RssShmem:"]].map(resident);
    let (min, max) = (ms.iter().copied().fold(f64::MAX, f64::min), ms.iter().copied().fold(0.0, f64::max));
    let ms = median(ms);
    let gb = |bytes: usize| bytes as f64 / 1e9;
    println!(
        "{len:>8} {ms:>10.2} ({min:.2}, {max:.2}) {:>9.3} GB {:>8.3} GB {:>6.2} GB ({:.2}, {:.2})  filled in {:.1} s",
        gb(read),
        gb(past.bytes()),
        gb(rss),
        gb(own),
        gb(mapped),
        filled.as_secs_f64()
    );
    Ok(json!({
        "len": len, "ms": ms, "min_ms": min, "max_ms": max, "kv_read_bytes": read, "kv_bytes": past.bytes(),
        "predicted_kv_bytes": predicted, "rss_bytes": rss, "own_bytes": own, "mapped_bytes": mapped,
    }))
}

/// Reads a prompt, and notes how long it took up to each length.
fn measure_prefill(engine: &Engine, max_len: usize, limit: Duration) -> Result<Vec<Value>, Failure> {
    let vocab_size = engine.model().config.vocab_size;
    let (mut past, mut points, mut state) = (engine.empty_past(), Vec::new(), 3);
    let start = Instant::now();
    let mut next_len = 1024;
    while past.tokens().len() < max_len && start.elapsed() < limit {
        let n = engine.step_tokens().min(max_len - past.tokens().len());
        engine.extend(&mut past, &random_tokens(n, vocab_size, &mut state))?;
        let (len, s) = (past.tokens().len(), start.elapsed().as_secs_f64());
        if len >= next_len || len == max_len || start.elapsed() >= limit {
            println!("prompt of {len}: {s:.1} s, {:.0} tokens/s", len as f64 / s);
            points.push(json!({ "len": len, "s": s }));
            next_len *= 2;
        }
    }
    Ok(points)
}

/// A part of this process's memory that is in memory now, in bytes; the sum of both names.
fn resident(names: [&str; 2]) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let wanted = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let kib = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    status.lines().filter(wanted).map(kib).sum::<usize>() * 1024
}

/// What the threads together read from memory that is larger than any cache.
fn read_gb_per_s(n_threads: usize) -> f64 {
    const WORDS: usize = 64 << 20;
    let memory: Vec<Vec<u64>> = (0..n_threads).map(|i| vec![i as u64 + 1; WORDS / n_threads]).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for words in &memory {
            scope.spawn(|| {
                let mut sums = [0u64; 16];
                for words in words.as_chunks::<16>().0 {
                    sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
                }
                std::hint::black_box(sums);
            });
        }
    });
    (WORDS * 8) as f64 / start.elapsed().as_secs_f64() / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
