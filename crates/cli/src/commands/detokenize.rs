//! `puna detokenize`: token ids to text.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::args::ModelArg;
use crate::failure::Failure;
use crate::input;
use crate::output::print_answer;

/// Turn token ids into text.
///
/// Prints exactly the text; on a terminal followed by a newline. Special tokens have no text. The model may
/// be a bare tokenizer: tokenizer.json, tokenizer.model, or a folder with one.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna detokenize 403 407 261 378
  puna tokenize --file book.txt | puna detokenize
  puna detokenize -m tokenizer.model --ids ids.json")]
pub struct Detokenize {
    /// The ids [default: those in --ids -]
    #[arg(value_name = "ID", conflicts_with = "file")]
    list: Vec<u32>,
    #[command(flatten)]
    model: ModelArg,
    /// A file with a JSON array of ids; `-` is standard input
    #[arg(long = "ids", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Detokenize {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let tokenizer = self.model.tokenizer()?;
        let ids = match &self.file {
            Some(file) => input::read_ids(file)?,
            None if self.list.is_empty() => input::read_ids(Path::new("-"))?,
            None => self.list.clone(),
        };
        let vocab_size = tokenizer.vocab_size();
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
            return Err(Failure::Failed(format!(
                "token id {id} is outside the vocabulary of {vocab_size} tokens"
            )));
        }
        let mut text = tokenizer.decode(&ids);
        if std::io::stdout().is_terminal() {
            text.push('\n');
        }
        print_answer(&text)
    }
}
