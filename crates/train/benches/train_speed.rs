//! How fast a model is trained here, and in how much memory: `cargo bench -p puna-train --bench train_speed -- SHAPE
//! [BATCH [STEPS [THREADS]]]`, SHAPE being `7m`, `15m` or `110m`.
//!
//! Steps are whole: forward, backward, clip, AdamW, in f32, on random tokens. Each prints a line of JSON with its
//! seconds as it ends, the first of which warms up; the last line has the peak of resident memory. A line on standard
//! input is waited for before each step if the variable `PUNA_BENCH_IN_TURN` is set, so that another program can be
//! measured in turn (`benches/peers/torch_train.py`).

use std::io::BufRead;
use std::time::Instant;

use puna_model::Config;
use puna_tensor::{Cpu, Isa, Pool, RopeLayout};
use puna_train::{Documents, Recipe, Rng, Trainer, random_model};

/// A shape's width, layers, heads, feed-forward width and sequence length; all have 32,000 tokens.
const SHAPES: [(&str, [usize; 5]); 3] = [
    ("7m", [128, 6, 4, 384, 256]), // With its two tables of tokens 9.4 million parameters, 1.3 without.
    ("15m", [288, 6, 6, 768, 256]),
    ("110m", [768, 12, 12, 2048, 1024]),
];

fn config([dim, n_layers, n_heads, ffn_dim, max_seq_len]: [usize; 5]) -> Config {
    Config {
        dim,
        n_layers,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: dim / n_heads,
        ffn_dim,
        vocab_size: 32_000,
        max_seq_len,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_layout: RopeLayout::HalfSplit,
        tied: true,
        ..Config::default()
    }
}

/// The most memory that this process has had, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |nth: usize, or: usize| args.get(nth).map_or(or, |n| n.parse().expect("a number"));
    let name = args.first().map_or("15m", String::as_str);
    let (_, shape) = SHAPES.into_iter().find(|(shape, _)| *shape == name).expect("a shape: 7m, 15m or 110m");
    let (batch, n_steps, n_threads) = (number(1, 8), number(2, 6), number(3, Pool::default_threads()));
    let cpu = Cpu::new(
        std::env::var("PUNA_ISA").ok().and_then(|isa| Isa::by_name(&isa)).unwrap_or(Isa::best()),
        n_threads,
    );
    let config = config(shape);
    let len = config.max_seq_len;
    let mut rng = Rng::new(1);
    let docs = (0..batch * 2).map(|_| (0..len).map(|_| (rng.next_u64() % 32_000) as u32).collect());
    let docs = Documents::new(docs, len);
    let n_tokens = batch * len;
    let recipe = Recipe { batch_tokens: n_tokens, pass_tokens: n_tokens, ..Recipe::default() };
    let mut trainer = Trainer::new(random_model(config, 1), recipe);
    let mut lines = std::env::var_os("PUNA_BENCH_IN_TURN").map(|_| std::io::stdin().lock().lines());
    for _ in 0..n_steps {
        if let Some(lines) = &mut lines {
            lines.next();
        }
        let start = Instant::now();
        let report = trainer.step(&cpu, &docs).expect("a step");
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{{\"seconds\": {seconds:.4}, \"tokens_per_s\": {:.1}, \"loss\": {:.5}}}",
            report.n_tokens as f64 / seconds,
            report.loss
        );
    }
    println!("{{\"peak_mib\": {}}}", peak_bytes().unwrap_or(0) >> 20);
}
