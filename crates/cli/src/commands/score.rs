//! `puna score`: how well a model predicts a text.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use puna::DType;
use puna_formats::safetensors::Writer;
use puna_formats::{TensorInfo, TensorStream};
use serde_json::{Value, json};

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::input;
use crate::interrupt::Interrupt;
use crate::output::{print, print_json};
use crate::progress::Progress;

/// Measure how well the model predicts a text.
///
/// Prints the negative log-likelihood (in nats, of every token after the first), the perplexity, and for text
/// the bits per byte. The text must fit the context as a whole. A text gets BOS in front where the model
/// wants one; ids are used exactly as they are.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna score -m model.gguf --text book.txt
  echo \"Tom had a small boat.\" | puna score --text - --json
  puna score -m model/ --ids ids.json --logits logits.safetensors")]
pub struct Score {
    #[command(flatten)]
    model: RunArgs,
    #[command(flatten)]
    source: Source,
    /// Write the logits too: a safetensors file with `logits` [tokens, vocabulary] f32
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// A file of text; `-` is standard input
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// A file with a JSON array of token ids; `-` is standard input
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
}

impl Score {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        // Before the model is loaded, for errors at once.
        let text = self.source.text.as_deref().map(input::read_text).transpose()?;
        if text.as_deref() == Some("") {
            return Err(Failure::Failed("the text is empty: there is nothing to predict".into()));
        }
        let ids = self.source.ids.as_deref().map(input::read_ids).transpose()?;
        let interrupt = Interrupt::catch();
        let llama = self.model.load()?;
        let ids = match (&text, ids) {
            (Some(text), _) => llama.encode(text)?,
            (None, ids) => ids.unwrap_or_default(),
        };
        let mut logits = match &self.logits {
            Some(path) => Some(LogitsFile::create(path, ids.len(), llama.config().vocab_size)?),
            None => None,
        };
        let mut progress = Progress::new("scoring");
        let on_logits = |first: usize, rows: &[f32]| {
            progress.show(first, ids.len());
            if interrupt.is_pressed() {
                return ControlFlow::Break(Failure::Interrupted);
            }
            match logits.as_mut().map(|file| file.write(rows)) {
                Some(Err(failure)) => ControlFlow::Break(failure),
                _ => ControlFlow::Continue(()),
            }
        };
        let mut score = match llama.score_with(&ids, on_logits)? {
            ControlFlow::Continue(score) => score,
            ControlFlow::Break(failure) => return Err(failure),
        };
        progress.clear();
        // Numbers of a model that changed are none.
        llama.check_files()?;
        score.n_bytes = text.map(|text| text.len());
        logits.map_or(Ok(()), LogitsFile::finish)?;
        if self.json { print_json(&json_of(&score)) } else { print(&table_of(&score)) }
    }
}

fn json_of(score: &puna::Score) -> Value {
    let mut object = json!({
        "tokens": score.n_tokens,
        "predicted": score.nlls.len(),
        "nll_sum": score.nll_sum(),
        "nll_mean": score.nll_mean(), // null where nothing was predicted
        "perplexity": score.perplexity(),
    });
    if let (Some(n_bytes), Some(bits)) = (score.n_bytes, score.bits_per_byte()) {
        object["bytes"] = json!(n_bytes);
        object["bits_per_byte"] = json!(bits);
    }
    object
}

fn table_of(score: &puna::Score) -> String {
    let mut lines = format!("tokens         {}, {} of them predicted\n", score.n_tokens, score.nlls.len());
    if !score.nlls.is_empty() {
        lines += &format!("nll            {:.4} nats, {:.6} per token\n", score.nll_sum(), score.nll_mean());
        lines += &format!("perplexity     {:.6}\n", score.perplexity());
    }
    if let Some(bits) = score.bits_per_byte() {
        lines += &format!("bits per byte  {bits:.6}\n");
    }
    lines
}

/// A file that logits are written to as they come; it appears when it is whole.
struct LogitsFile {
    stream: TensorStream,
}

const LOGITS: &str = "logits";

impl LogitsFile {
    fn create(path: &Path, n_tokens: usize, vocab_size: usize) -> Result<LogitsFile, Failure> {
        let mut writer = Writer::default();
        writer.declare(TensorInfo::new(LOGITS, DType::F32, [n_tokens, vocab_size]));
        Ok(LogitsFile { stream: writer.begin(path)? })
    }

    fn write(&mut self, rows: &[f32]) -> Result<(), Failure> {
        let bytes: Vec<u8> = rows.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        Ok(self.stream.write(LOGITS, &bytes)?)
    }

    fn finish(self) -> Result<(), Failure> {
        Ok(self.stream.finish()?)
    }
}
