//! `puna bench`: how fast a model runs here.

use std::io::{self, BufRead};

use clap::Args;
use puna::Llama;
use puna::bench::{BenchOptions, Bencher, Part, Speed, bench};
use puna_formats::{quote, visible_path};
use serde_json::{Map, Value, json};

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::units::measured;

/// Measure how fast the model runs here.
///
/// Reads a prompt of random tokens (prefill), then makes tokens one after the other (decode), each several
/// times after one run that is not counted. GB/s are the bytes of weights, keys and values that the work has
/// to read; GFLOP/s count two operations for each weight used.
///
/// With --paced another program says when: each line `prefill` or `decode` on standard input is one
/// measurement, printed at once as a JSON object on a line, until `quit` or the end of input. A line with
/// `"ready": true` comes first, when the context is filled and each part has run once.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna bench -m model.gguf
  puna bench -m model.gguf -p 512 -n 0 --threads 4
  puna bench -m model.gguf -p 0 -n 64 -d 4096 --kv f16 --json
  puna bench -m model.gguf -p 0 --sequences 8
  printf 'decode\\ndecode\\n' | puna bench -m model.gguf --paced")]
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
    /// Sequences that decode together, each from a context of its own; tokens/s are those of all of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_sequences)]
    sequences: usize,
    /// Measurements of each part
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_repeat)]
    repeat: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Measure when a line on standard input says so, and print each measurement at once
    #[arg(long, conflicts_with_all = ["repeat", "json"])]
    paced: bool,
}

fn parse_repeat(text: &str) -> Result<usize, String> {
    parse_count(text, 10_000)
}

fn parse_sequences(text: &str) -> Result<usize, String> {
    parse_count(text, 1024)
}

fn parse_count(text: &str, max: usize) -> Result<usize, String> {
    let n = text.parse().ok().filter(|n| (1..=max).contains(n));
    n.ok_or_else(|| format!("expected a number from 1 to {max}"))
}

impl Bench {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        if (self.prompt_tokens, self.gen_tokens) == (Some(0), Some(0)) {
            let fact = "-p 0 leaves prefill out, and -n 0 decode; give one of them more";
            return Err(Failure::Usage(format!("there is nothing to measure\n  {fact}")));
        }
        let llama = self.model.load()?;
        let room = llama.engine().max_seq_len().saturating_sub(self.depth);
        let options = BenchOptions {
            n_prefill: self.prompt_tokens.unwrap_or(room.min(512)),
            n_decode: self.gen_tokens.unwrap_or(room.min(64)),
            depth: self.depth,
            n_sequences: self.sequences,
            repeat: self.repeat,
        };
        if options.n_prefill == 0 && options.n_decode == 0 {
            let fact = format!("{} tokens before the measurement fill the context", self.depth);
            return Err(Failure::Usage(format!("there is nothing to measure\n  {fact}; use a smaller -d")));
        }
        if self.paced {
            return self.run_paced(&llama, &options);
        }
        let mut progress = Progress::new("measuring");
        let result = bench(&llama, &options, |n_done, n_total| progress.show(n_done, n_total))?;
        progress.clear();
        let parts = [("prefill", result.prefill), ("decode", result.decode)];
        let parts = parts.into_iter().filter_map(|(name, speed)| Some((name, speed?)));
        if self.json {
            let object: Map<String, Value> =
                parts.map(|(name, speed)| (name.to_owned(), self.json_of(&llama, &speed))).collect();
            print_json(&Value::Object(object))?;
            return Ok(llama.check_files()?);
        }
        let cpu = llama.engine().cpu();
        let sequences = match self.sequences {
            1 => String::new(),
            n => format!("{n} sequences decode together, "),
        };
        let mut text = format!("{}\n", visible_path(llama.path()));
        text += &format!(
            "{}, {} threads, {} keys and values, depth {}, {}{} runs\n",
            cpu.isa.name(),
            cpu.pool.n_threads(),
            llama.engine().kv_dtype().name().to_lowercase(),
            self.depth,
            sequences,
            self.repeat
        );
        text += &parts.map(|(name, speed)| line_of(name, &speed)).collect::<String>();
        print(&text)?;
        Ok(llama.check_files()?)
    }

    /// Measures whenever a line of standard input says so.
    fn run_paced(&self, llama: &Llama, options: &BenchOptions) -> Result<(), Failure> {
        let mut bencher = Bencher::new(llama, options)?;
        let parts: Vec<Part> = Part::ALL.into_iter().filter(|&part| bencher.n_tokens(part) > 0).collect();
        for &part in &parts {
            bencher.measure(part)?; // Uncounted, as everywhere: it brings the weights into the page cache.
        }
        let mut ready = Map::from_iter([("ready".to_owned(), json!(true))]);
        ready.extend(self.settings_of(llama));
        ready.insert("load_s".into(), llama.load_time().as_secs_f64().into());
        ready.insert("parts".into(), parts.iter().map(|part| part.name()).collect());
        print_json(&Value::Object(ready))?;
        for line in io::stdin().lock().lines() {
            let line =
                line.map_err(|error| Failure::Failed(format!("cannot read standard input\n  {error}")))?;
            let line = line.trim();
            if line == "quit" {
                break;
            }
            let Some(part) = parts.iter().copied().find(|part| part.name() == line) else {
                let names: String = parts.iter().map(|part| format!("`{}`, ", part.name())).collect();
                let what = format!("cannot measure {}, which a line of standard input asks for", quote(line));
                return Err(Failure::Failed(format!("{what}\n  here a line is one of {names}`quit`")));
            };
            let speed = bencher.measure(part)?;
            print_json(&json!({
                "part": part.name(),
                "tokens": speed.n_tokens,
                "tokens_per_s": speed.median(),
                "gb_per_s": speed.gb_per_s(),
                "gflop_per_s": speed.gflop_per_s(),
            }))?;
            llama.check_files()?;
        }
        Ok(())
    }

    fn json_of(&self, llama: &Llama, speed: &Speed) -> Value {
        let mut object = self.settings_of(llama);
        let tokens_per_s = json!({ "median": speed.median(), "min": speed.min(), "max": speed.max() });
        object.insert("tokens_per_s".into(), tokens_per_s);
        object.insert("gb_per_s".into(), speed.gb_per_s().into());
        object.insert("gflop_per_s".into(), speed.gflop_per_s().into());
        object.insert("tokens".into(), speed.n_tokens.into());
        object.insert("repeat".into(), speed.tokens_per_s.len().into());
        Value::Object(object)
    }

    /// What all measurements have in common.
    fn settings_of(&self, llama: &Llama) -> Map<String, Value> {
        let cpu = llama.engine().cpu();
        let settings = [
            ("depth", json!(self.depth)),
            ("sequences", json!(self.sequences)),
            ("threads", json!(cpu.pool.n_threads())),
            ("isa", json!(cpu.isa.name())),
            ("kv", json!(llama.engine().kv_dtype().name().to_lowercase())),
        ];
        settings.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
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
