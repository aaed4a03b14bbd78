//! `puna tokenize`: text to token ids.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use puna::EncodeOptions;
use serde_json::json;

use crate::args::ModelArg;
use crate::failure::Failure;
use crate::input;
use crate::model_word::check_is_no_path;
use crate::output::{print, print_json};

/// Show the tokens of a text.
///
/// Prints a table of ids and pieces on a terminal, and a JSON array of ids elsewhere. The model may be a bare
/// tokenizer: tokenizer.json, tokenizer.model, or a folder with one. BOS is put in front where the model
/// wants one.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna tokenize \"Once upon a time\"
  puna tokenize -m tokenizer.model --file book.txt --json > ids.json
  puna tokenize -m Llama-3.1-8B/ --special --no-bos \"<|eot_id|>\"")]
pub struct Tokenize {
    /// The text; `-` is standard input, exactly as it is, but for a byte order mark [default: -]
    #[arg(conflicts_with = "file")]
    text: Option<String>,
    #[command(flatten)]
    model: ModelArg,
    /// Read the text from a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the ids alone, separated by spaces
    #[arg(long, conflicts_with = "json")]
    ids: bool,
    /// Print a JSON array of ids, on a terminal too
    #[arg(long)]
    json: bool,
    /// Turn the names of special tokens in the text into these tokens
    #[arg(long)]
    special: bool,
    /// Do not put BOS in front
    #[arg(long)]
    no_bos: bool,
}

impl Tokenize {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        if let Some(text) = &self.text {
            check_is_no_path(text, "--file takes a file's text")?;
        }
        let tokenizer = self.model.tokenizer()?;
        let text = match (&self.text, &self.file) {
            (Some(text), _) if text != "-" => text.clone(),
            (None, Some(file)) => input::read_text(file)?,
            _ => input::read_text(Path::new("-"))?,
        };
        let add_bos = tokenizer.adds_bos() && !self.no_bos;
        let options = EncodeOptions { add_bos, parse_special: self.special, ..EncodeOptions::default() };
        let ids = tokenizer.encode(&text, options);
        if self.ids {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            return print(&(ids.join(" ") + "\n"));
        }
        if self.json || !std::io::stdout().is_terminal() {
            return print_json(&json!(ids));
        }
        // Debug form, so that spaces, newlines and control characters show.
        let line = |id: &u32| format!("{id:>8}  {:?}\n", tokenizer.piece(*id));
        print(&(ids.iter().map(line).collect::<String>() + &format!("{:>8}  tokens\n", ids.len())))
    }
}
