//! The folder of a run: its checkpoints, which of them are kept, and where the rest is.
//!
//! ```text
//! checkpoints/step-00000250.safetensors   the state after so many steps; the last few
//! checkpoints/best.safetensors            the state with the best validation
//! data/                                   tokens, found again by what they were made of
//! events/                                 for TensorBoard
//! metrics.jsonl                           a line for each step, validation and sample
//! report.html                             the run on one page
//! model.safetensors, config.json, …       the finished model, as a Hugging Face folder
//! ```

use std::path::{Path, PathBuf};

use puna_formats::visible_path;

use crate::error::TrainError;

/// A run's folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `root`, made if it is not there.
    pub fn create(root: &Path) -> Result<Folder, TrainError> {
        let folder = Folder { root: root.to_owned() };
        for dir in [folder.checkpoints(), folder.events(), folder.data()] {
            std::fs::create_dir_all(&dir).map_err(|error| {
                TrainError::Setting(format!("cannot make the folder `{}`\n  {error}", visible_path(&dir)))
            })?;
        }
        Ok(folder)
    }

    /// The folder at `root` as it is.
    pub fn at(root: &Path) -> Folder {
        Folder { root: root.to_owned() }
    }

    /// The folder itself, where the finished model is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where tokens are kept.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where event files are.
    pub fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// A line of JSON for each thing that happened.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// The run on one page.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The state after `step` steps.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints().join(format!("step-{step:08}.safetensors"))
    }

    /// The state with the best validation.
    pub fn best(&self) -> PathBuf {
        self.checkpoints().join("best.safetensors")
    }

    /// The steps whose states are there, from the first to the last.
    pub fn steps(&self) -> Vec<u64> {
        let Ok(entries) = std::fs::read_dir(self.checkpoints()) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut steps: Vec<u64> = names
            .filter_map(|name| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok())
            .collect();
        steps.sort_unstable();
        steps
    }

    /// Removes all but the last `keep` states.
    pub fn remove_old(&self, keep: usize) -> Result<(), TrainError> {
        let steps = self.steps();
        for step in &steps[..steps.len().saturating_sub(keep)] {
            let path = self.checkpoint(*step);
            std::fs::remove_file(&path).map_err(|error| {
                TrainError::Setting(format!(
                    "cannot remove the old state `{}`\n  {error}",
                    visible_path(&path)
                ))
            })?;
        }
        Ok(())
    }
}
