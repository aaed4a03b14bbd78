//! A run as lines: one now and then for steps, one for each validation, sample and note.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use puna_formats::visible_lines;
use puna_model::Model;
use puna_train::run::{Pace, Run, Watcher, bits_per_byte};
use puna_train::{Evaluation, StepReport};

use super::sampler::SampleMaker;
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::units::{clock_time, grouped};

/// Time between two lines about steps.
const INTERVAL: Duration = Duration::from_secs(2);

/// Writes lines on standard error.
pub struct Line {
    sampler: SampleMaker,
    interrupt: Interrupt,
    n_steps: u64,
    last: Option<Instant>,
}

impl Line {
    pub fn new(sampler: SampleMaker, interrupt: Interrupt) -> Line {
        Line { sampler, interrupt, n_steps: 0, last: None }
    }

    /// Says what is trained on what.
    pub fn begin(&mut self, run: &Run) {
        let (trainer, data) = (run.trainer(), run.data());
        self.n_steps = trainer.recipe.n_steps;
        let config = &trainer.model.config;
        say(&format!(
            "{} parameters (dim {}, {} layers, {} heads, ffn_dim {}, vocabulary {}, context {})",
            grouped(config.n_params() as f64),
            config.dim,
            config.n_layers,
            config.n_heads,
            config.ffn_dim,
            config.vocab_size,
            config.max_seq_len
        ));
        say(&format!(
            "{} tokens in {} sequences, {} tokens to validate on; {} steps of {}{}",
            grouped(data.train.n_tokens() as f64),
            grouped(data.train.len() as f64),
            grouped(data.valid.n_tokens() as f64),
            grouped(self.n_steps as f64),
            grouped(trainer.recipe.batch_tokens as f64),
            if trainer.step > 0 { format!("; {} are made", trainer.step) } else { String::new() }
        ));
    }
}

impl Watcher for Line {
    fn step(&mut self, report: &StepReport, pace: &Pace) {
        let is_last = report.step == self.n_steps;
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) && !is_last {
            return;
        }
        self.last = Some(Instant::now());
        say(&step_line(report, pace, self.n_steps));
    }

    fn validated(&mut self, step: u64, found: &Evaluation, is_best: bool) {
        let bits = found.bits_per_byte.map_or(String::new(), |bits| format!("  {bits:.4} bits/byte"));
        let best = if is_best { "  the best so far" } else { "" };
        say(&format!("step {step:>6}  validation loss {:.4}{bits}{best}", found.loss));
    }

    fn samples(&mut self, model: &Arc<Model>, step: u64, prompts: &[String]) -> Result<Vec<String>, String> {
        let texts = self.sampler.make(model, step, prompts)?;
        for (prompt, text) in prompts.iter().zip(&texts) {
            say(&format!("step {step:>6}  sample: {}", (prompt.clone() + text).replace('\n', " ")));
        }
        Ok(texts)
    }

    fn note(&mut self, text: &str) {
        note(text);
    }

    fn wants_stop(&self) -> bool {
        self.interrupt.is_pressed()
    }
}

fn say(text: &str) {
    // If this fails, the run is still worth having.
    let _ = writeln!(io::stderr(), "{}", visible_lines(text));
}

/// A step on a line.
fn step_line(report: &StepReport, pace: &Pace, n_steps: u64) -> String {
    let left = pace.left_s.map_or(String::new(), |left| format!("  {} left", clock_time(left)));
    format!("step {:>6}/{n_steps}  {}  {}{left}", report.step, losses(report), speed(pace))
}

/// What a step found.
pub fn losses(report: &StepReport) -> String {
    let bits = bits_per_byte(report).map_or(String::new(), |bits| format!("  {bits:.3} bits/byte"));
    format!("loss {:.4}{bits}  gradient {:.3}  lr {:.2e}", report.loss, report.grad_norm, report.lr)
}

/// How fast a run is.
pub fn speed(pace: &Pace) -> String {
    let share = pace.share_of_peak.map_or(String::new(), |share| format!("  {:.0} % of peak", 100.0 * share));
    format!("{} tokens/s{share}", grouped(pace.tokens_per_s))
}
