//! Settings of training runs, and what is wrong with a run, in the program's words.

use std::path::Path;

use puna_train::settings::{Settings, SettingsError};

use crate::args::model_path;
use crate::failure::Failure;

/// Settings from a YAML file, or those that suit a data file.
pub fn read_settings(path: &Path, overrides: &[String]) -> Result<Settings, Failure> {
    let is_model = |name: &str| model_path(Path::new(name)).is_ok_and(|path| path.exists());
    let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let settings = match is_yaml {
        true => Settings::read(path, overrides, &is_model),
        false => Settings::for_data(path, overrides, &is_model),
    };
    settings.map_err(|error| match error {
        SettingsError::Argument(_) | SettingsError::Faults { .. } => Failure::Usage(error.to_string()),
        SettingsError::File(error) => error.into(),
    })
}

impl From<puna_train::TrainError> for Failure {
    fn from(error: puna_train::TrainError) -> Failure {
        use puna_train::TrainError;
        match error {
            TrainError::Interrupted | TrainError::Data(puna_train::DataError::Interrupted) => {
                Failure::Interrupted
            }
            TrainError::Diverged { .. } => Failure::Failed(format!(
                "{error}\n  settings: schedule.lr, schedule.warmup_steps, training.on_spike=skip"
            )),
            error => Failure::Failed(error.to_string()),
        }
    }
}
