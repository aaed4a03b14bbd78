//! `puna models`: Meta's models, and what of them fits this machine.

use clap::Args;
use puna_store::catalogue::{DATE, KNOWN, Known, Purpose};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{note, print, print_json};
use crate::units;

/// List Meta's models, and what fits this machine.
///
/// For each the best type of weights that fits the free memory beside a context of 8,192 tokens, and the tokens a second to
/// expect of it and of Q4_K_M: what the memory gives, measured now. Those with +eyes see pictures. `puna pull` takes the names.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna models
  puna models --all
  puna models --json | jq -r '.[] | select(.fits == \"Q4_K_M\") | .hub'")]
pub struct Models {
    /// Base models, too, and those that do not fit
    #[arg(long)]
    all: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Types of weights, the best first, and their bits.
const TYPES: [(&str, f64); 3] = [("BF16", 16.0), ("Q8_0", 8.5), ("Q4_K_M", SMALL)];
const SMALL: f64 = 4.85;
/// What a conversation takes, and the program beside weights.
const CONTEXT: u64 = 8192;
const BESIDE: u64 = 300 << 20;

/// How a model is run here: the best type that fits, and the tokens a second of it and of the smallest. Memory is measured
/// by plain reads from small pages, which products from copies in large ones are as fast as, or faster.
struct Fit {
    dtype: &'static str,
    tokens_per_s: [f64; 2],
}

fn fit(known: &Known, memory: u64, speed: f64) -> Option<Fit> {
    let beside = BESIDE + known.kv_bytes * 2 * CONTEXT.min(known.max_seq_len);
    let (dtype, bits) = TYPES.into_iter().find(|(_, bits)| known.bytes(*bits) + beside <= memory)?;
    let tokens_per_s = [bits, SMALL].map(|bits| speed / known.active_bytes(bits) as f64);
    Some(Fit { dtype, tokens_per_s })
}

impl Models {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let speed = puna::read_speed(n_threads);
        let memory = puna::memory_for_models().map_or(u64::MAX, |bytes| bytes as u64);
        if self.json {
            return print_json(
                &KNOWN.iter().map(|known| json_of(known, fit(known, memory, speed))).collect::<Vec<_>>(),
            );
        }
        let titles =
            ["NAME", "FOR", "4 BITS", "16 BITS", "CONTEXT", "LICENCE", "FITS IN", "TOKENS/S", "4 BITS"];
        let mut rows = vec![titles.map(str::to_owned)];
        let mut n_hidden = 0;
        for known in KNOWN {
            let fit = fit(known, memory, speed);
            if !self.all && (fit.is_none() || known.purpose == Purpose::Base) {
                n_hidden += 1;
                continue;
            }
            let hub = known.hub.rsplit('/').next().unwrap_or(known.hub);
            let name = if known.ollama.is_empty() || self.all { hub } else { known.ollama };
            let sees = if known.sees { "+eyes" } else { "" };
            let number = |x: Option<f64>| x.map(units::measured).unwrap_or_default();
            let speeds = fit.as_ref().map(|fit| fit.tokens_per_s);
            rows.push([
                name.to_owned(),
                format!("{}{sees}", known.purpose.word()),
                units::bytes(known.bytes(SMALL)),
                units::bytes(known.bytes(16.0)),
                format!("{}k", known.max_seq_len / 1024),
                known.licence.id().to_owned(),
                fit.as_ref().map_or("no", |fit| fit.dtype).to_owned(),
                number(speeds.map(|[best, _]| best)),
                number(speeds.map(|[_, small]| small)),
            ]);
        }
        print(&table(&rows))?;
        let free = units::bytes(memory);
        note(&format!(
            "as of {DATE}; {free} of memory are free, and are read at {}/s",
            units::bytes(speed as u64)
        ));
        if n_hidden > 0 {
            note(&format!("{n_hidden} more, base models and those that do not fit: --all"));
        }
        Ok(())
    }
}

/// Columns side by side.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn json_of(known: &Known, fit: Option<Fit>) -> Value {
    json!({
        "hub": known.hub,
        "ollama": (!known.ollama.is_empty()).then_some(known.ollama),
        "parameters": known.n_parameters,
        "active_parameters": known.n_active,
        "context": known.max_seq_len,
        "licence": known.licence.id(),
        "purpose": known.purpose.word(),
        "sees": known.sees,
        "bytes_4_bits": known.bytes(SMALL),
        "bytes_16_bits": known.bytes(16.0),
        "fits": fit.as_ref().map(|fit| fit.dtype),
        "tokens_per_s": fit.as_ref().map(|fit| (fit.tokens_per_s[0] * 10.0).round() / 10.0),
        "tokens_per_s_4_bits": fit.as_ref().map(|fit| (fit.tokens_per_s[1] * 10.0).round() / 10.0),
    })
}
