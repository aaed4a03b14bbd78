//! `puna infill`: what stands between two pieces of text.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use puna::{COMPLETION_TOKENS, InfillOrder};

use crate::answer::{AnswerArgs, Answerer, FormArgs, parse_max_tokens};
use crate::args::RunArgs;
use crate::failure::Failure;
use crate::input;
use crate::interrupt::Interrupt;

/// Fill in what stands between two pieces of text, with a Code Llama that learnt it.
///
/// These are the 7B and 13B models and their Instruct variants, whose tokenizers have the infilling tokens.
/// What stands in between is streamed to standard output, with every space and newline as it belongs there.
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
    /// The most tokens; -1 until the model ends or the context is full
    #[arg(short = 'n', long, value_name = "TOKENS", default_value_t = COMPLETION_TOKENS,
        value_parser = parse_max_tokens, allow_negative_numbers = true)]
    max_tokens: usize,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    answer: AnswerArgs,
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
        self.answer.check()?;
        if self.prefix.as_os_str() == "-" && self.suffix.as_os_str() == "-" {
            let fact = "standard input can be the prefix or the suffix, not both";
            return Err(Failure::Usage(format!("{fact}\n  give the other one as a file")));
        }
        let (prefix, suffix) = (input::read_text(&self.prefix)?, input::read_text(&self.suffix)?);
        let interrupt = Interrupt::catch();
        let llama = self.model.load()?;
        let order = match self.order {
            Order::Prefix => InfillOrder::PrefixFirst,
            Order::Suffix => InfillOrder::SuffixFirst,
        };
        let prompt = llama.infill_prompt(&prefix, &suffix, order)?;
        let answerer = Answerer::new(llama, false, &self.answer, Some(self.max_tokens), interrupt)?;
        let answer = answerer.llama.generate(prompt, &answerer.options(0))?;
        answerer.print(answer, self.form.json, "")
    }
}
