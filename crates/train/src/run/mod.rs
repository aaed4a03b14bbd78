//! A run from its first step to its last: steps, validations, samples, states, in one loop that can be stopped and
//! killed at any moment.
//!
//! Everything that later steps depend on is in the state file; what is measured (speed, time) is not. So a run that
//! was killed and resumed makes the same model, bit for bit, as one that was not: the program's tests kill it.

mod folder;
mod log;
mod pace;

use std::sync::Arc;

use puna_formats::visible_path;
use puna_model::Model;
use puna_tensor::Cpu;
use serde_json::{Value, json};

use crate::data::{Cursor, Prepared};
use crate::error::TrainError;
use crate::settings::{Length, Settings};
use crate::trainer::{Evaluation, StepReport, Trainer};
use log::Log;
use pace::Clock;

pub use folder::Folder;
pub use log::{Pace, bits_per_byte, read_metrics};
pub use pace::training_flops;

/// Who sees a run, makes its samples, and may end it.
pub trait Watcher {
    /// A step was made.
    fn step(&mut self, report: &StepReport, pace: &Pace);
    /// The model was validated; whether it is the best so far.
    fn validated(&mut self, step: u64, found: &Evaluation, is_best: bool);
    /// What the model writes after these prompts, one text for each.
    fn samples(&mut self, model: &Arc<Model>, step: u64, prompts: &[String]) -> Result<Vec<String>, String>;
    /// Something worth knowing happened.
    fn note(&mut self, text: &str);
    /// Whether the run should save its state and end.
    fn wants_stop(&self) -> bool;
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps are made.
    Finished,
    /// Validation did not improve for as long as the settings say.
    Early,
    /// Somebody asked; its state is saved.
    Stopped,
}

/// Where data come from, for sequences of a length.
pub type Data<'d> = dyn FnMut(usize) -> Result<Prepared, TrainError> + 'd;

/// What a run has counted so far, beside what its trainer knows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Tokens trained on.
    pub n_tokens: u64,
    /// Steps that were passed over.
    pub n_skipped: u64,
    /// Of these, the last in a row.
    pub n_skipped_in_a_row: u64,
    /// The best validation.
    pub best_loss: Option<f64>,
    /// The step it was at.
    pub best_step: u64,
    /// Validations since.
    pub n_since_best: u64,
    /// Seconds in all sittings.
    pub elapsed_s: f64,
}

/// Steps in a row that are passed over before a run is given up.
const MAX_SKIPPED: u64 = 20;

/// A run that is set up.
pub struct Run<'d> {
    settings: Settings,
    folder: Folder,
    cpu: Arc<Cpu>,
    trainer: Trainer,
    source: Box<Data<'d>>,
    data: Prepared,
    /// How many extensions of the context the data and the model have.
    n_extended: usize,
    counts: Counts,
    /// What states must agree on, in words: data and tokenizer.
    identity: Value,
}

impl<'d> Run<'d> {
    /// A run from its beginning. `identity` says in words what a state must agree on to be resumed, beside the data: the
    /// tokenizer.
    pub fn new(
        settings: Settings,
        model: Model,
        token_bytes: Vec<u32>,
        cpu: Arc<Cpu>,
        mut source: Box<Data<'d>>,
        mut identity: Value,
    ) -> Result<Run<'d>, TrainError> {
        let folder = Folder::create(&settings.output)?;
        let data = source(settings.data.max_len)?;
        if data.train.is_empty() {
            return Err(TrainError::Setting(
                "there is no document to learn from\n  look at `data.train`".into(),
            ));
        }
        if data.train.is_preference() {
            return Err(TrainError::Setting(
                "the data are pairs of answers, and this run learns to predict text\n  give it texts or conversations"
                    .into(),
            ));
        }
        let mut recipe = settings.recipe.clone();
        if let Length::Epochs(epochs) = settings.length {
            let steps = data.train.n_batches(recipe.seed, 0, recipe.batch_tokens) as f64 * epochs;
            recipe.n_steps = steps.ceil().max(1.0) as u64;
        }
        let mut trainer = Trainer::new(model, recipe);
        trainer.token_bytes = token_bytes;
        identity["data"] = data.key.clone().into();
        let counts = Counts::default();
        Ok(Run { settings, folder, cpu, trainer, source, data, n_extended: 0, counts, identity })
    }

    /// Takes up the last state that is whole; whether there was one. A damaged one is passed over, and said.
    pub fn resume(&mut self, watcher: &mut dyn Watcher) -> Result<bool, TrainError> {
        let mut last = None;
        for step in self.folder.steps().into_iter().rev() {
            match self.trainer.load_state(&self.folder.checkpoint(step)) {
                Ok(extra) => {
                    if last.is_some() {
                        watcher.note(&format!("the state of step {step} is taken in its place"));
                    }
                    self.take_over(&extra, watcher)?;
                    return Ok(true);
                }
                Err(error) => {
                    watcher.note(&error.to_string());
                    last = Some(error);
                }
            }
        }
        last.map_or(Ok(false), Err)
    }

    fn take_over(&mut self, extra: &Value, watcher: &mut dyn Watcher) -> Result<(), TrainError> {
        let number = |key: &str| extra[key].as_u64().unwrap_or(0);
        self.counts = Counts {
            n_tokens: number("n_tokens"),
            n_skipped: number("n_skipped"),
            n_skipped_in_a_row: number("n_skipped_in_a_row"),
            best_loss: extra["best_loss"].as_u64().map(f64::from_bits),
            best_step: number("best_step"),
            n_since_best: number("n_since_best"),
            elapsed_s: extra["elapsed_s"].as_f64().unwrap_or(0.0),
        };
        let theirs = extra["identity"].as_object();
        for (what, ours) in self.identity.as_object().into_iter().flatten() {
            let theirs = theirs.and_then(|theirs| theirs.get(what));
            if theirs != Some(ours) {
                return Err(TrainError::State {
                    path: visible_path(&self.folder.checkpoint(self.trainer.step)).to_string(),
                    fact: format!(
                        "the run began with another {what}\n  it goes on with what it began with, or begins anew in another folder"
                    ),
                });
            }
        }
        let settings = self.settings_that_matter();
        if extra["settings"] != settings {
            watcher.note(&format!(
                "settings differ from those that the run began with, so it will not be what it would have been\n  then {}\n  now  {settings}",
                extra["settings"]
            ));
        }
        let n_extended = self.extensions_at(self.trainer.step);
        if n_extended > 0 {
            self.extend_to(n_extended)?;
        }
        Ok(())
    }

    /// What each step depends on, in words, to notice that it changed.
    fn settings_that_matter(&self) -> Value {
        let mut recipe = self.trainer.recipe.clone();
        // How a batch is cut into passes changes rounding and no more.
        recipe.pass_tokens = 0;
        let data = &self.settings.data;
        let weights: Vec<f64> = data.train.iter().map(|source| source.weight).collect();
        Value::String(format!(
            "{recipe:?} {:?} {} {:?} {:?} {:?} {weights:?}",
            self.settings.extensions, data.max_len, data.too_long, data.packing, data.order
        ))
    }

    /// The trainer, with the model.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// The folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The threads and the instruction set.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// The beginning of the data, for comparisons.
    pub fn some_tokens(&self) -> Vec<u32> {
        self.data.train.next_batch(0, &mut Cursor::default(), 128).tokens
    }

    /// What is trained on.
    pub fn data(&self) -> &Prepared {
        &self.data
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Trains until the last step, or until somebody asks for an end. The state is saved either way.
    pub fn go(&mut self, watcher: &mut dyn Watcher) -> Result<Ended, TrainError> {
        let mut log = Log::open(&self.folder, self.trainer.step)?;
        let mut clock = Clock::start(&self.cpu, self.counts.elapsed_s);
        let n_steps = self.trainer.recipe.n_steps;
        if self.trainer.step == 0 {
            // A run that was stopped here begins here.
            self.counts = Counts { elapsed_s: self.counts.elapsed_s, ..Counts::default() };
            if self.validate(watcher, &mut log)? {
                self.save_to(&self.folder.best())?;
            }
        }
        while self.trainer.step < n_steps {
            if watcher.wants_stop() {
                self.save()?;
                return Ok(Ended::Stopped);
            }
            self.extend_if_due(watcher, &mut log)?;
            clock.skip();
            let report = self.trainer.step(&self.cpu, &self.data.train)?;
            self.count(&report, watcher, &mut log)?;
            self.counts.elapsed_s = clock.elapsed_s();
            let pace = clock.step(&self.trainer.model.config, &report, n_steps - report.step);
            log.step(&report, &pace)?;
            watcher.step(&report, &pace);
            if let Some(ended) = self.look_around(&report, watcher, &mut log)? {
                return Ok(ended);
            }
        }
        Ok(Ended::Finished)
    }

    /// What happens between steps: validation, samples, states.
    fn look_around(
        &mut self,
        report: &StepReport,
        watcher: &mut dyn Watcher,
        log: &mut Log,
    ) -> Result<Option<Ended>, TrainError> {
        let is_last = report.step == self.trainer.recipe.n_steps;
        let is_due = |every: u64| is_last || report.step.is_multiple_of(every);
        let mut ended = None;
        if is_due(self.settings.validation.every) && !self.data.valid.is_empty() {
            let is_best = self.validate(watcher, log)?;
            if is_best {
                self.save_to(&self.folder.best())?;
            }
            let patience = self.settings.validation.patience;
            if patience.is_some_and(|patience| self.counts.n_since_best >= patience) && !is_last {
                ended = Some(Ended::Early);
            }
        }
        if is_due(self.settings.samples.every) {
            self.sample(watcher, log)?;
        }
        if ended.is_some() || is_due(self.settings.checkpoints.every) {
            self.save()?;
        }
        Ok(ended)
    }

    fn count(
        &mut self,
        report: &StepReport,
        watcher: &mut dyn Watcher,
        log: &mut Log,
    ) -> Result<(), TrainError> {
        self.counts.n_tokens += report.n_tokens as u64;
        if !report.was_skipped {
            self.counts.n_skipped_in_a_row = 0;
            return Ok(());
        }
        self.counts.n_skipped += 1;
        self.counts.n_skipped_in_a_row += 1;
        let text = format!(
            "step {} was passed over: loss {:.4}, gradient norm {:.3} are out of all proportion ({} so far)",
            report.step, report.loss, report.grad_norm, self.counts.n_skipped
        );
        watcher.note(&text);
        log.note(report.step, &text)?;
        match self.counts.n_skipped_in_a_row >= MAX_SKIPPED {
            true => Err(TrainError::ManySpikes { n: MAX_SKIPPED, step: report.step }),
            false => Ok(()),
        }
    }

    /// Whether the model is the best so far.
    fn validate(&mut self, watcher: &mut dyn Watcher, log: &mut Log) -> Result<bool, TrainError> {
        if self.data.valid.is_empty() {
            return Ok(false);
        }
        let limit = self.settings.validation.max_tokens.unwrap_or(u64::MAX);
        let found = self.trainer.evaluate_some(&self.cpu, &self.data.valid, limit)?;
        let is_best = self.counts.best_loss.is_none_or(|best| found.loss < best);
        if is_best {
            (self.counts.best_loss, self.counts.best_step) = (Some(found.loss), self.trainer.step);
            self.counts.n_since_best = 0;
        } else {
            self.counts.n_since_best += 1;
        }
        log.validation(self.trainer.step, &found)?;
        watcher.validated(self.trainer.step, &found, is_best);
        Ok(is_best)
    }

    fn sample(&mut self, watcher: &mut dyn Watcher, log: &mut Log) -> Result<(), TrainError> {
        let step = self.trainer.step;
        let prompts = &self.settings.samples.prompts;
        match watcher.samples(&self.trainer.model, step, prompts) {
            Ok(texts) => {
                let mut pairs = prompts.iter().zip(&texts);
                pairs.try_for_each(|(prompt, text)| log.sample(step, prompt, text))
            }
            // A model may be worth having though it could not be shown.
            Err(fact) => {
                watcher.note(&format!("no sample of step {step} could be made\n  {fact}"));
                Ok(())
            }
        }
    }

    /// Saves the state and removes old ones.
    fn save(&mut self) -> Result<(), TrainError> {
        self.save_to(&self.folder.checkpoint(self.trainer.step))?;
        self.folder.remove_old(self.settings.checkpoints.keep)
    }

    fn save_to(&self, path: &std::path::Path) -> Result<(), TrainError> {
        let Counts { n_tokens, n_skipped, n_skipped_in_a_row, best_loss, best_step, n_since_best, elapsed_s } =
            self.counts;
        // What was computed with tokens that are gone is not kept.
        self.data.train.check_files()?;
        self.data.valid.check_files()?;
        self.trainer.save_state(
            path,
            &json!({
                "n_tokens": n_tokens,
                "n_skipped": n_skipped,
                "n_skipped_in_a_row": n_skipped_in_a_row,
                "best_loss": best_loss.map(f64::to_bits),
                "best_step": best_step,
                "n_since_best": n_since_best,
                "elapsed_s": elapsed_s,
                "identity": self.identity,
                "settings": self.settings_that_matter(),
            }),
        )
    }

    /// Goes back to the state with the best validation; whether it is another one than the present.
    pub fn take_best(&mut self) -> Result<bool, TrainError> {
        if self.counts.best_step == self.trainer.step || !self.folder.best().exists() {
            return Ok(false);
        }
        self.trainer.load_state(&self.folder.best())?;
        Ok(true)
    }

    /// How many extensions step `step` has.
    fn extensions_at(&self, step: u64) -> usize {
        self.settings.extensions.iter().filter(|extension| extension.from_step <= step).count()
    }

    fn extend_if_due(&mut self, watcher: &mut dyn Watcher, log: &mut Log) -> Result<(), TrainError> {
        let step = self.trainer.step + 1;
        let n_extended = self.extensions_at(step);
        if n_extended == self.n_extended {
            return Ok(());
        }
        self.extend_to(n_extended)?;
        // Other sequences, another order; and losses that do not compare with those before.
        self.trainer.cursor = Cursor::default();
        (self.counts.best_loss, self.counts.n_since_best) = (None, 0);
        let text = format!(
            "from step {step} on the context has {} tokens",
            self.settings.extensions[n_extended - 1].max_seq_len
        );
        watcher.note(&text);
        log.note(step, &text)
    }

    /// Gives model and data the context of the first `n_extended` extensions.
    fn extend_to(&mut self, n_extended: usize) -> Result<(), TrainError> {
        let extensions = &self.settings.extensions[..n_extended];
        let max_seq_len = extensions[n_extended - 1].max_seq_len;
        let model = Arc::get_mut(&mut self.trainer.model).ok_or(TrainError::InUse)?;
        model.config.max_seq_len = max_seq_len;
        // What an extension does not name stays as one before it, or the model, has it.
        for extension in extensions {
            model.config.rope_theta = extension.rope_theta.unwrap_or(model.config.rope_theta);
            if let Some(scaling) = &extension.rope_scaling {
                model.config.rope_scaling = scaling.clone();
            }
        }
        model.config.check().map_err(TrainError::Setting)?;
        self.data = (self.source)(max_seq_len)?;
        self.n_extended = n_extended;
        Ok(())
    }
}
