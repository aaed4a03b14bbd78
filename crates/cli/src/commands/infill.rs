//! `puna infill`: what stands between two pieces of text.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use puna::text::InfillOrder;
use puna::{FinishReason, GenerateOptions};

use super::run::{Answerer, SamplingArgs};
use crate::args::RunArgs;
use crate::failure::Failure;
use crate::input;
use crate::interrupt::Interrupt;
use crate::output::print_json;
use crate::report;

/// Tokens of an infilling unless -n says otherwise.
const MAX_TOKENS: usize = 256;

/// Fill in what stands between two pieces of text, with a Code Llama that learnt it.
///
/// These are the 7B and 13B models and their Instruct variants, whose tokenizers have the infilling tokens. What stands in
/// between is streamed to standard output, with every space and newline as it belongs there.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna infill -m CodeLlama-7b/ --prefix before.py --suffix after.py
  head -20 main.py | puna infill -m codellama-7b.gguf --prefix - --suffix rest.py -n 64")]
pub struct Infill {
    #[command(flatten)]
    model: RunArgs,
    /// A file with the text before; `-` is standard input
    #[arg(long, value_name = "FILE")]
    prefix: PathBuf,
    /// A file with the text after; `-` is standard input
    #[arg(long, value_name = "FILE")]
    suffix: PathBuf,
    /// Which part the model reads first: psm reads the prefix, spm the suffix
    #[arg(long, value_name = "ORDER", default_value = "psm")]
    order: Order,
    /// The most tokens
    #[arg(short = 'n', long, value_name = "TOKENS", default_value_t = MAX_TOKENS)]
    max_tokens: usize,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Print one JSON object instead of streaming: text, ids, prompt_ids, finish_reason, counts, timings
    #[arg(long)]
    json: bool,
    /// Say on standard error how it went: times, tokens per second, memory, instruction set, seed
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    #[value(name = "psm")]
    Prefix,
    #[value(name = "spm")]
    Suffix,
}

impl Infill {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        self.sampling.check()?;
        if self.stop.iter().any(String::is_empty) {
            return Err(Failure::Usage("--stop with an empty text would end every answer at once".into()));
        }
        if self.prefix.as_os_str() == "-" && self.suffix.as_os_str() == "-" {
            let fact = "standard input can be the prefix or the suffix, not both";
            return Err(Failure::Usage(format!("{fact}\n  give the other one as a file")));
        }
        let (prefix, suffix) = (input::read_text(&self.prefix)?, input::read_text(&self.suffix)?);
        let interrupt = Interrupt::catch()?;
        let llama = self.model.load()?;
        let order = match self.order {
            Order::Prefix => InfillOrder::PrefixFirst,
            Order::Suffix => InfillOrder::SuffixFirst,
        };
        let prompt_ids = llama.encode_infill(&prefix, &suffix, order)?;
        let options = GenerateOptions {
            sampling: self.sampling.over(llama.raw_sampling()),
            max_tokens: Some(self.max_tokens),
            stop: self.stop.clone(),
            stands_alone: false,
            cancel: Some(interrupt.flag()),
        };
        let answerer =
            Answerer { llama: &llama, is_chat: false, options, verbose: self.verbose, interrupt: &interrupt };
        let generation = answerer
            .stream(!self.json, |options, on_event| Ok(llama.generate(&prompt_ids, options, on_event)?))?;
        if self.json {
            print_json(&report::json(&llama, &prompt_ids, &generation))?;
        }
        match generation.finish {
            FinishReason::Cancelled => Err(Failure::Interrupted),
            _ => Ok(()),
        }
    }
}
