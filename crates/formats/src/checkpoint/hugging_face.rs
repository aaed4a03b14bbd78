//! A Hugging Face checkpoint: `config.json` and the tensors beside it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::CONFIG;
use crate::error::{FormatError, Problem};
use crate::json::{MAX_CONFIG_BYTES, read_json};
use crate::part_name::PartName;
use crate::safetensors::{self, SafetensorsModel};
use crate::tensor_map::TensorMap;

/// A Hugging Face checkpoint.
#[derive(Clone, Debug)]
pub struct HfCheckpoint {
    /// The folder, where tokenizer files are too.
    pub dir: PathBuf,
    /// `config.json`.
    pub config: Value,
    /// The tensors of all files.
    pub tensors: TensorMap,
    /// The files the tensors are in.
    pub files: Vec<PathBuf>,
}

/// Opens a folder with `config.json` and safetensors.
pub(super) fn open_folder(dir: &Path) -> Result<HfCheckpoint, FormatError> {
    // First the small file, whose errors explain more.
    let config = read_config(dir)?;
    with_config(dir, config, safetensors::open_folder(dir)?)
}

/// Opens the model a `.safetensors` file belongs to: the whole set if it is a numbered shard, else the file
/// alone.
pub(super) fn open_file(path: &Path) -> Result<HfCheckpoint, FormatError> {
    let dir = path.parent().unwrap_or(Path::new(""));
    if !dir.join(CONFIG).is_file() {
        let problem = Problem::not_found(format!("has no {CONFIG} beside it"));
        let hint =
            "a .safetensors file does not say what model it is; put its config.json into the same folder";
        return Err(problem.hint(hint).in_file(path));
    }
    if PartName::parse(path).is_some() {
        return open_folder(dir);
    }
    let config = read_config(dir)?;
    let tensors = safetensors::open(path)?.tensors;
    with_config(dir, config, SafetensorsModel { tensors, files: vec![path.to_owned()] })
}

fn read_config(dir: &Path) -> Result<Value, FormatError> {
    let path = dir.join(CONFIG);
    let config: Value = read_json(&path, MAX_CONFIG_BYTES)?;
    if config.is_object() {
        return Ok(config);
    }
    Err(Problem::malformed("is not a JSON object").in_file(&path))
}

fn with_config(dir: &Path, config: Value, model: SafetensorsModel) -> Result<HfCheckpoint, FormatError> {
    let SafetensorsModel { tensors, files } = model;
    Ok(HfCheckpoint { dir: dir.to_owned(), config, tensors, files })
}
