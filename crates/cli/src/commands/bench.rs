//! `puna bench`: how fast a model runs here.

use clap::Args;
use puna::Llama;
use puna::bench::{BenchOptions, Speed, bench};
use serde_json::{Map, Value, json};

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::units::measured;

/// Measure how fast the model runs here.
///
/// Reads a prompt of random tokens (prefill), then makes tokens one after the other (decode), each several times after
/// one run that is not counted. GB/s are the bytes of weights, keys and values that the work has to read; GFLOP/s count
/// two operations for each weight used.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna bench -m model.gguf
  puna bench -m model.gguf -p 512 -n 0 --threads 4
  puna bench -m model.gguf -p 0 -n 64 -d 4096 --kv f16 --json")]
pub struct Bench {
    #[command(flatten)]
    model: RunArgs,
    /// Tokens of the prompt; 0 leaves prefill out [default: 512, or the whole context if that is less]
    #[arg(short = 'p', long, value_name = "TOKENS")]
    prompt_tokens: Option<usize>,
    /// Tokens to make; 0 leaves decode out [default: 64, or less if the context is full]
    #[arg(short = 'n', long, value_name = "TOKENS")]
    gen_tokens: Option<usize>,
    /// Tokens in the context before the measurement begins
    #[arg(short, long, value_name = "TOKENS", default_value_t = 0)]
    depth: usize,
    /// Measurements of each part
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_repeat)]
    repeat: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn parse_repeat(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=10_000).contains(n))
        .ok_or_else(|| "expected a number from 1 to 10000".into())
}

impl Bench {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let llama = self.model.load()?;
        let room = llama.engine().max_seq_len().saturating_sub(self.depth);
        let options = BenchOptions {
            n_prefill: self.prompt_tokens.unwrap_or(room.min(512)),
            n_decode: self.gen_tokens.unwrap_or(room.min(64)),
            depth: self.depth,
            repeat: self.repeat,
        };
        let mut progress = Progress::new("measuring");
        let result = bench(&llama, &options, |n_done, n_total| progress.show(n_done, n_total))?;
        progress.clear();
        let parts = [("prefill", result.prefill), ("decode", result.decode)];
        let parts = parts.into_iter().filter_map(|(name, speed)| Some((name, speed?)));
        if self.json {
            let object: Map<String, Value> =
                parts.map(|(name, speed)| (name.to_owned(), self.json_of(&llama, &speed))).collect();
            return print_json(&Value::Object(object));
        }
        let cpu = llama.engine().cpu();
        let mut text = format!("{}\n", llama.path().display());
        text += &format!(
            "{}, {} threads, {} keys and values, depth {}, {} runs\n",
            cpu.isa.name(),
            cpu.pool.n_threads(),
            llama.engine().kv_dtype().name().to_lowercase(),
            self.depth,
            self.repeat
        );
        text += &parts.map(|(name, speed)| line_of(name, &speed)).collect::<String>();
        print(&text)
    }

    fn json_of(&self, llama: &Llama, speed: &Speed) -> Value {
        let cpu = llama.engine().cpu();
        json!({
            "tokens_per_s": { "median": speed.median(), "min": speed.min(), "max": speed.max() },
            "gb_per_s": speed.gb_per_s(),
            "gflop_per_s": speed.gflop_per_s(),
            "tokens": speed.n_tokens,
            "depth": self.depth,
            "repeat": speed.tokens_per_s.len(),
            "threads": cpu.pool.n_threads(),
            "isa": cpu.isa.name(),
            "kv": llama.engine().kv_dtype().name().to_lowercase(),
        })
    }
}

fn line_of(name: &str, speed: &Speed) -> String {
    format!(
        "{name:<8} {:>5} tokens  {:>8} tokens/s (min {}, max {})  {} GB/s  {} GFLOP/s\n",
        speed.n_tokens,
        measured(speed.median()),
        measured(speed.min()),
        measured(speed.max()),
        measured(speed.gb_per_s()),
        measured(speed.gflop_per_s()),
    )
}
