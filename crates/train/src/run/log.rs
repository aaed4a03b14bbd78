//! What a run writes about itself while it runs: `metrics.jsonl` and TensorBoard's events.
//!
//! A line of the first is an object with `step` and what happened: a step (`loss`, `grad_norm`, `lr`, …), a
//! validation (`valid_loss`, …), a sample (`prompt`, `text`), a note. A run that is resumed takes back the lines of
//! steps that it does again.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use puna_formats::{visible_path, write_file};
use serde_json::{Value, json};

use super::folder::Folder;
use crate::error::TrainError;
use crate::tensorboard::EventFile;
use crate::trainer::{Evaluation, StepReport};

/// Both files.
pub struct Log {
    metrics: File,
    events: EventFile,
    /// For messages.
    what: String,
}

/// How fast a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Tokens of training a second, over the last steps.
    pub tokens_per_s: f64,
    /// Which part of the multiplications that this machine can do at most are those of the model; `None` before it is
    /// known.
    pub share_of_peak: Option<f64>,
    /// Seconds of the run so far, in all its sittings.
    pub elapsed_s: f64,
    /// Seconds to its end; `None` before they can be told.
    pub left_s: Option<f64>,
}

impl Log {
    /// Goes on with the log of a run after `step` steps.
    pub fn open(folder: &Folder, step: u64) -> Result<Log, TrainError> {
        let path = folder.metrics();
        keep_until(&path, step)?;
        let what = visible_path(&path).to_string();
        let fail = |error| failed(&what, error);
        let metrics = File::options().create(true).append(true).open(&path).map_err(fail)?;
        let events = EventFile::create(&folder.events(), step + 1)
            .map_err(|error| failed(&visible_path(&folder.events()).to_string(), error))?;
        Ok(Log { metrics, events, what })
    }

    /// A step was made, or passed over.
    pub fn step(&mut self, report: &StepReport, pace: &Pace) -> Result<(), TrainError> {
        let bits_per_byte = bits_per_byte(report);
        self.line(json!({
            "step": report.step,
            "loss": report.loss,
            "bits_per_byte": bits_per_byte,
            "grad_norm": report.grad_norm,
            "lr": report.lr,
            "n_tokens": report.n_tokens,
            "tokens_per_s": round(pace.tokens_per_s),
            "share_of_peak": pace.share_of_peak.map(round),
            "elapsed_s": round(pace.elapsed_s),
            "was_skipped": report.was_skipped,
        }))?;
        let mut scalars = vec![
            ("train/loss", report.loss),
            ("train/grad_norm", report.grad_norm),
            ("train/lr", report.lr),
            ("speed/tokens_per_s", pace.tokens_per_s),
        ];
        scalars.extend(bits_per_byte.map(|bits| ("train/bits_per_byte", bits)));
        scalars.extend(pace.share_of_peak.map(|share| ("speed/share_of_peak", share)));
        self.events.scalars(report.step, &scalars).map_err(|error| self.events_failed(error))
    }

    /// The model was validated.
    pub fn validation(&mut self, step: u64, found: &Evaluation) -> Result<(), TrainError> {
        self.line(json!({
            "step": step,
            "valid_loss": found.loss,
            "valid_bits_per_byte": found.bits_per_byte,
            "n_targets": found.n_targets,
        }))?;
        let mut scalars = vec![("valid/loss", found.loss)];
        scalars.extend(found.bits_per_byte.map(|bits| ("valid/bits_per_byte", bits)));
        self.events.scalars(step, &scalars).map_err(|error| self.events_failed(error))
    }

    /// The model wrote something.
    pub fn sample(&mut self, step: u64, prompt: &str, text: &str) -> Result<(), TrainError> {
        self.line(json!({ "step": step, "prompt": prompt, "text": text }))?;
        let shown = if prompt.is_empty() { text.to_owned() } else { format!("**{prompt}**{text}") };
        self.events.text(step, "sample", &shown).map_err(|error| self.events_failed(error))
    }

    /// Something else that a reader should know.
    pub fn note(&mut self, step: u64, text: &str) -> Result<(), TrainError> {
        self.line(json!({ "step": step, "note": text }))
    }

    fn events_failed(&self, error: std::io::Error) -> TrainError {
        failed(&visible_path(self.events.path()).to_string(), error)
    }

    fn line(&mut self, value: Value) -> Result<(), TrainError> {
        // One write, so that a run that is killed leaves whole lines.
        let line = value.to_string() + "\n";
        self.metrics.write_all(line.as_bytes()).map_err(|error| failed(&self.what, error))
    }
}

/// Bits for each byte of the predicted text.
pub fn bits_per_byte(report: &StepReport) -> Option<f64> {
    let bits = report.loss * report.n_targets as f64 / std::f64::consts::LN_2;
    (report.n_bytes > 0).then(|| bits / report.n_bytes as f64)
}

/// Four digits are enough for what is measured.
fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

fn failed(what: &str, error: std::io::Error) -> TrainError {
    TrainError::Setting(format!("cannot write to `{what}`\n  {error}"))
}

/// Takes away the lines after `step`, and a half one at the end; a run that begins anew has none before.
fn keep_until(path: &Path, step: u64) -> Result<(), TrainError> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(()) };
    // The half line may end within a character.
    let text = String::from_utf8_lossy(&bytes);
    let is_before = |line: &&str| {
        let value = serde_json::from_str::<Value>(line).ok();
        value.and_then(|value| value["step"].as_u64()).is_some_and(|of_line| 0 < step && of_line <= step)
    };
    let kept: String = text.lines().filter(is_before).flat_map(|line| [line, "\n"]).collect();
    if kept.as_bytes() != bytes {
        write_file(path, kept.as_bytes())?;
    }
    Ok(())
}

/// All lines of a log that are whole.
pub fn read_metrics(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
