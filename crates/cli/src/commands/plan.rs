//! `puna plan`: what a run will take, before it begins.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use puna_formats::visible_path;
use puna_model::{Config, LoadOptions, Model};
use puna_tensor::{Cpu, Isa, Pool};
use puna_train::TrainError;
use puna_train::plan::{Measurement, depths, measure, with_layers};
use puna_train::settings::{Length, ModelSettings, Settings, TokenizerSettings};

use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::run_settings::read_settings;
use crate::units::{bytes, clock_time, grouped};

/// Say what memory and time a run of `puna train` will take.
///
/// Measures the model's shape with a few layers for a moment, and multiplies. Data are not read, and nothing is written to the
/// output folder. Reading data and making a vocabulary come before the run, and are not part of it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna plan stories.yaml
  puna plan stories.txt model.depth=12 training.pass_tokens=2048")]
pub struct Plan {
    /// A YAML file of settings, or the data
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Settings in the place of those in the file
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Measure so many layers in this process, and print what they take
    #[arg(long, hide = true)]
    measure_layers: Option<usize>,
}

impl Plan {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        match self.measure_layers {
            Some(n_layers) => self.measure(n_layers),
            None => say_plan(&self.config, &self.overrides),
        }
    }

    fn measure(&self, n_layers: usize) -> Result<(), Failure> {
        let settings = read_settings(&self.config, &self.overrides)?;
        let (config, _) = shape(&settings)?;
        let max_len = settings.data.max_len.min(config.max_seq_len);
        let n_threads = settings.n_threads.unwrap_or_else(Pool::default_threads);
        let cpu = Cpu::new(Isa::best(), n_threads);
        let scratch = std::env::temp_dir().join(format!("puna-plan-{}.safetensors", std::process::id()));
        let mut recipe = settings.recipe.clone();
        recipe.n_steps = recipe.n_steps.max(3);
        let found = measure(&cpu, with_layers(&config, n_layers), recipe, max_len, &scratch);
        // It may not be there.
        let _ = std::fs::remove_file(&scratch);
        print_json(&found?)
    }
}

/// The shape of the model that settings describe, and the bytes of a checkpoint's weights, which stay mapped.
fn shape(settings: &Settings) -> Result<(Config, usize), Failure> {
    match &settings.model {
        ModelSettings::New(new) => {
            let vocab_size = match &settings.tokenizer {
                TokenizerSettings::Train { vocab_size } => *vocab_size,
                TokenizerSettings::From(path) => {
                    let files = puna::TextFiles::open(&crate::args::model_path(path)?)?;
                    files.tokenizer.map_or(new.config.vocab_size, |tokenizer| tokenizer.vocab_size())
                }
                TokenizerSettings::OfModel => new.config.vocab_size,
            };
            Ok((Config { vocab_size, ..new.config.clone() }, 0))
        }
        ModelSettings::From(path) => {
            let path = crate::args::model_path(path)?;
            let model = Model::load(&path, &LoadOptions::default()).map_err(TrainError::from)?;
            let n_bytes = model.weights.n_bytes();
            Ok((model.config, n_bytes))
        }
    }
}

/// Measures in processes of their own, and says what the whole will take.
pub fn say_plan(config_path: &Path, overrides: &[String]) -> Result<(), Failure> {
    let settings = read_settings(config_path, overrides)?;
    let (config, mapped) = shape(&settings)?;
    let [few, more] = depths(config.n_layers);
    let measured = |n_layers| measured_apart(config_path, overrides, n_layers);
    let (a, b) = (measured(few)?, measured(more)?);
    let whole = Measurement::extrapolate(&a, few, &b, more, config.n_layers);
    let size = |x: f64| bytes(x as u64 + mapped as u64);
    let n_params = config.n_params() as f64;
    let batch = settings.recipe.batch_tokens as f64;
    let mut said = format!(
        "model    {} parameters\nmemory   {} training, {} validating, {} saving\n",
        grouped(n_params),
        size(whole.training_bytes),
        size(whole.validation_bytes),
        size(whole.saving_bytes)
    );
    let peak =
        whole.training_bytes.max(whole.validation_bytes).max(whole.saving_bytes) as u64 + mapped as u64;
    if let Some(free) = puna::memory_for_models().map(|free| free as u64).filter(|free| *free < peak) {
        said += &format!(
            "         that is more than the {} that are free: training.pass_tokens makes passes smaller\n",
            bytes(free)
        );
    }
    said += &format!(
        "time     {:.2} s a step of {} tokens, {} tokens/s",
        whole.step_s,
        grouped(batch),
        grouped(batch / whole.step_s)
    );
    if let Length::Steps(n_steps) = settings.length {
        let n_saved = n_steps as f64 / settings.checkpoints.every as f64;
        let all = whole.step_s * n_steps as f64 + whole.saving_s * n_saved;
        said += &format!(
            "; {} for {} steps, validations and samples besides",
            clock_time(all),
            grouped(n_steps as f64)
        );
    }
    let state = 12.0 * n_params;
    said += &format!(
        "\ndisk     {} for each state, {} are kept, and {} for the model\n",
        bytes(state as u64),
        settings.checkpoints.keep + 1,
        bytes((4.0 * n_params) as u64)
    );
    print(&said)
}

/// What so many layers take, measured by this program in another process.
fn measured_apart(config: &Path, overrides: &[String], n_layers: usize) -> Result<Measurement, Failure> {
    let fail = |fact: String| Failure::Failed(format!("cannot measure `{}`\n  {fact}", visible_path(config)));
    let program = std::env::current_exe().map_err(|error| fail(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["plan", "--measure-layers", &n_layers.to_string(), "--"]).arg(config).args(overrides);
    let output = command.output().map_err(|error| fail(error.to_string()))?;
    match serde_json::from_slice(&output.stdout) {
        Ok(found) if output.status.success() => Ok(found),
        _ => Err(fail(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}
