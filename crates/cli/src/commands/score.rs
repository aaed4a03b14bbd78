//! `puna score`: how well a model predicts a text.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use puna::{DType, Llama, Windows};
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
/// the bits per byte. A text gets BOS in front where the model wants one; ids are used exactly as they are.
///
/// A text that is longer than the context is walked in windows. Each goes --stride tokens further than the one
/// before and predicts only these, so that they have at least the rest of the window before them; where the
/// text begins with BOS, each window does. The default is the whole context, and a stride of half of it. With
/// --window, shorter texts are walked so too.
///
/// --protocol llama.cpp computes what llama-perplexity does: windows beside each other, of 512 tokens or as
/// --window says, BOS in the place of each one's first token where the model wants one, and only the second
/// half counts. Numbers of different protocols or windows cannot be compared.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna score -m model.gguf --text book.txt
  echo \"Tom had a small boat.\" | puna score --text - --json
  puna score -m model.gguf --text wiki.test.raw --protocol llama.cpp
  puna score -m model.gguf --text book.txt --window 2048 --stride 512
  puna score -m model/ --ids ids.json --logits logits.safetensors")]
pub struct Score {
    #[command(flatten)]
    model: RunArgs,
    #[command(flatten)]
    source: Source,
    /// Walk the text in windows of so many tokens [default: the context, for texts that are longer]
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
    /// From the beginning of a window to that of the next [default: half a window]
    #[arg(long, value_name = "TOKENS", conflicts_with = "protocol")]
    stride: Option<usize>,
    /// Cut and count as another program does
    #[arg(long, value_name = "NAME")]
    protocol: Option<Protocol>,
    /// Write the logits too: a safetensors file with `logits` [tokens, vocabulary] f32. The text must then fit
    /// the context as a whole
    #[arg(long, value_name = "FILE", conflicts_with_all = ["window", "stride", "protocol"])]
    logits: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A way to cut and count that others use.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    #[value(name = "llama.cpp")]
    LlamaCpp,
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
        let mut text = self.source.text.as_deref().map(input::read_text).transpose()?;
        if let (Some(text), Some(Protocol::LlamaCpp)) = (&mut text, self.protocol)
            && text.ends_with('\n')
        {
            text.pop(); // As llama.cpp reads files.
        }
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
        let progress = Progress::new("scoring");
        let windows = self.windows(ids.len(), llama.engine().max_seq_len());
        let mut score = match windows {
            Some(windows) => score_windows(&llama, &ids, windows, progress, &interrupt)?,
            None => self.score_whole(&llama, &ids, progress, &interrupt)?,
        };
        // Where only a part is predicted, its bytes are not known.
        score.n_bytes = text.map(|text| text.len()).filter(|_| self.protocol.is_none());
        if self.json { print_json(&json_of(&score, windows)) } else { print(&table_of(&score, windows)) }
    }

    /// How the text is cut; not at all if it is `None`.
    fn windows(&self, n_tokens: usize, max_seq_len: usize) -> Option<Windows> {
        /// What llama-perplexity takes where nobody says otherwise.
        const LLAMA_CPP_WINDOW: usize = 512;
        if self.protocol.is_some() {
            let window = self.window.unwrap_or(LLAMA_CPP_WINDOW.min(max_seq_len));
            return Some(Windows::LlamaCpp { window });
        }
        let is_asked_for = self.window.is_some() || self.stride.is_some();
        let is_needed = n_tokens > max_seq_len && self.logits.is_none();
        let window = self.window.unwrap_or(max_seq_len);
        let stride = self.stride.unwrap_or((window / 2).max(1));
        (is_asked_for || is_needed).then_some(Windows::Strided { window, stride })
    }

    fn score_whole(
        &self,
        llama: &Llama,
        ids: &[u32],
        mut progress: Progress,
        interrupt: &Interrupt,
    ) -> Result<puna::Score, Failure> {
        let mut logits = match &self.logits {
            Some(path) => Some(LogitsFile::create(path, ids.len(), llama.config().vocab_size)?),
            None => None,
        };
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
        let score = match llama.score_with(ids, on_logits)? {
            ControlFlow::Continue(score) => score,
            ControlFlow::Break(failure) => return Err(failure),
        };
        // Numbers of a model that changed are none.
        llama.check_files()?;
        logits.map_or(Ok(()), LogitsFile::finish)?;
        Ok(score)
    }
}

fn score_windows(
    llama: &Llama,
    ids: &[u32],
    windows: Windows,
    mut progress: Progress,
    interrupt: &Interrupt,
) -> Result<puna::Score, Failure> {
    let on_progress = |n_done, n_total| {
        progress.show(n_done, n_total);
        if interrupt.is_pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match llama.score_windows(ids, windows, on_progress)? {
        ControlFlow::Continue(score) => Ok(score),
        ControlFlow::Break(()) => Err(Failure::Interrupted),
    }
}

fn json_of(score: &puna::Score, windows: Option<Windows>) -> Value {
    let mut object = json!({
        "protocol": match windows {
            None => "whole",
            Some(Windows::Strided { .. }) => "windows",
            Some(Windows::LlamaCpp { .. }) => "llama.cpp",
        },
        "tokens": score.n_tokens,
        "predicted": score.nlls.len(),
        "nll_sum": score.nll_sum(),
        "nll_mean": score.nll_mean(), // null where nothing was predicted
        "perplexity": score.perplexity(),
        "perplexity_error": score.perplexity_error(),
    });
    if let Some(Windows::Strided { window, .. } | Windows::LlamaCpp { window }) = windows {
        object["windows"] = json!(score.n_windows);
        object["window"] = json!(window);
    }
    if let Some(Windows::Strided { stride, .. }) = windows {
        object["stride"] = json!(stride);
    }
    if let (Some(n_bytes), Some(bits)) = (score.n_bytes, score.bits_per_byte()) {
        object["bytes"] = json!(n_bytes);
        object["bits_per_byte"] = json!(bits);
    }
    object
}

fn table_of(score: &puna::Score, windows: Option<Windows>) -> String {
    let mut lines = format!("tokens         {}, {} of them predicted\n", score.n_tokens, score.nlls.len());
    if !score.nlls.is_empty() {
        lines += &format!("nll            {:.4} nats, {:.6} per token\n", score.nll_sum(), score.nll_mean());
        lines += &format!("perplexity     {:.6}", score.perplexity());
        lines += &score.perplexity_error().map(|error| format!(" ± {error:.6}")).unwrap_or_default();
        lines.push('\n');
    }
    let n = score.n_windows;
    match windows {
        None => {}
        Some(Windows::Strided { window, stride }) => {
            lines += &format!("windows        {n} of {window} tokens, stride {stride}\n");
        }
        Some(Windows::LlamaCpp { window }) => {
            lines += &format!("windows        {n} of {window} tokens, as llama.cpp counts\n");
        }
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
