//! What a run will take of memory and time, from a moment's measurement of a model with the same shape and fewer layers.
//!
//! All layers are alike: what one more of them adds to peak and time is measured between two small depths, and multiplied.
//! Nothing is assumed of how passes keep or recompute what they need. Each depth is measured in a process of its own
//! ([`measure`]), since an allocator keeps what it once had.

use std::path::Path;
use std::time::Instant;

use puna_model::Config;
use puna_tensor::Cpu;
use serde::{Deserialize, Serialize};

use crate::data::Documents;
use crate::error::TrainError;
use crate::init::random_model;
use crate::random::Rng;
use crate::trainer::{Recipe, Trainer};

/// What some depth takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Peak bytes while steps are made.
    pub training_bytes: f64,
    /// Peak bytes while the model is validated.
    pub validation_bytes: f64,
    /// Peak bytes while a state is saved.
    pub saving_bytes: f64,
    /// Seconds of a step.
    pub step_s: f64,
    /// Seconds of saving.
    pub saving_s: f64,
}

impl Measurement {
    /// What `n_layers` take, if `few` is for `n_few` of them and `more` for `n_more`.
    pub fn extrapolate(
        few: &Measurement,
        n_few: usize,
        more: &Measurement,
        n_more: usize,
        n_layers: usize,
    ) -> Measurement {
        let at = |value: fn(&Measurement) -> f64| {
            let slope = ((value(more) - value(few)) / (n_more as f64 - n_few as f64)).max(0.0);
            value(more) + slope * (n_layers as f64 - n_more as f64)
        };
        Measurement {
            training_bytes: at(|m| m.training_bytes),
            validation_bytes: at(|m| m.validation_bytes),
            saving_bytes: at(|m| m.saving_bytes),
            step_s: at(|m| m.step_s),
            saving_s: at(|m| m.saving_s),
        }
    }
}

/// The depths that are measured for a model of `n_layers` layers; the model itself where it has hardly more.
pub fn depths(n_layers: usize) -> [usize; 2] {
    if n_layers <= 4 { [n_layers.max(2) - 1, n_layers.max(2)] } else { [2, 4] }
}

/// The same shape with `n_layers` layers.
pub fn with_layers(config: &Config, n_layers: usize) -> Config {
    let mut config = config.clone();
    config.layer_kinds.truncate(n_layers);
    config.layer_sizes.truncate(n_layers);
    config.cross_layers.retain(|layer| *layer < n_layers);
    Config { n_layers, ..config }
}

/// Steps that are measured; the first ones make the buffers.
const STEPS: usize = 4;

/// Makes a few steps with random tokens in sequences of `max_len`, validates, and saves a state at `scratch`.
pub fn measure(
    cpu: &Cpu,
    config: Config,
    recipe: Recipe,
    max_len: usize,
    scratch: &Path,
) -> Result<Measurement, TrainError> {
    let mut rng = Rng::new(1);
    let vocab_size = config.vocab_size as u64;
    // Of several lengths, as texts are: buffers of passes that differ a little are kept side by side.
    let (mut docs, mut n_tokens) = (Vec::new(), 0);
    while n_tokens < (STEPS + 1) * (recipe.batch_tokens + max_len) {
        let len = max_len - rng.next_u64() as usize % (max_len / 2);
        n_tokens += len;
        docs.push((0..len).map(|_| (rng.next_u64() % vocab_size) as u32).collect::<Vec<u32>>());
    }
    let docs = Documents::new(docs, max_len);
    let mut trainer = Trainer::new(random_model(config, 1), recipe);
    forget_peak();
    let mut step_s = f64::INFINITY;
    for i in 0..STEPS {
        let start = Instant::now();
        trainer.step(cpu, &docs)?;
        if i > 0 {
            step_s = step_s.min(start.elapsed().as_secs_f64());
        }
    }
    let training_bytes = peak_bytes()?;
    forget_peak();
    trainer.evaluate_some(cpu, &docs, trainer.recipe.pass_tokens as u64)?;
    let validation_bytes = peak_bytes()?;
    forget_peak();
    let start = Instant::now();
    trainer.save_state(scratch, &serde_json::Value::Null)?;
    let saving_s = start.elapsed().as_secs_f64();
    let saving_bytes = peak_bytes()?;
    Ok(Measurement { training_bytes, validation_bytes, saving_bytes, step_s, saving_s })
}

/// The most memory that this process had since it began or since the last prediction of a plan began.
pub fn peak_bytes() -> Result<f64, TrainError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    let fact = "this system does not say how much memory a process had\n  plans are made on Linux";
    kib.map(|kib| kib * 1024.0).ok_or_else(|| TrainError::Setting(fact.into()))
}

/// Where the system lets it, the peak is from now on. Where not, a later peak is at least the earlier one.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_extrapolated_in_a_line() {
        let at = |n: f64| Measurement {
            training_bytes: 100.0 + 7.0 * n,
            validation_bytes: 50.0,
            saving_bytes: 10.0 + n,
            step_s: 1.0 + 0.5 * n,
            saving_s: 0.0,
        };
        assert_eq!(Measurement::extrapolate(&at(2.0), 2, &at(4.0), 4, 32), at(32.0));
        assert_eq!(([1, 2], [1, 2], [3, 4], [2, 4]), (depths(1), depths(2), depths(4), depths(30)));
        // A slope below zero is noise.
        let noise = Measurement { training_bytes: 200.0, ..at(2.0) };
        assert_eq!(Measurement::extrapolate(&noise, 2, &at(4.0), 4, 32).training_bytes, 128.0);
    }
}
