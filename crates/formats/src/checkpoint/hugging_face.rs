//! A Hugging Face checkpoint: `config.json` and the tensors beside it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::CONFIG;
use crate::error::{FormatError, Problem};
use crate::folder::list_files;
use crate::json::{MAX_CONFIG_BYTES, read_json};
use crate::part_name::PartName;
use crate::pth;
use crate::safetensors;
use crate::tensor_map::TensorMap;
use crate::weight_files::WeightFiles;

/// Files that say how weights are quantised: of GPTQ's and AWQ's first tools, and of NVIDIA's.
const QUANTIZATION: [&str; 3] = ["quantize_config.json", "quant_config.json", "hf_quant_config.json"];

/// A Hugging Face checkpoint.
#[derive(Clone, Debug)]
pub struct HfCheckpoint {
    /// The folder, where tokenizer files are too.
    pub dir: PathBuf,
    /// `config.json`.
    pub config: Value,
    /// What a file beside the configuration says of quantisation, and the file's name, if there is one.
    pub beside: Option<(&'static str, Value)>,
    /// The tensors of all files.
    pub tensors: TensorMap,
    /// The files the tensors are in.
    pub files: Vec<PathBuf>,
}

/// Opens a folder with `config.json` and weights.
pub(super) fn open_folder(dir: &Path) -> Result<HfCheckpoint, FormatError> {
    // First the small file, whose errors explain more.
    let config = read_config(dir)?;
    let weights = match list_files(dir)?.iter().any(|file| safetensors::is_safetensors(file)) {
        true => safetensors::open_folder(dir)?,
        false => pth::open_folder(dir)?,
    };
    with_config(dir, config, weights)
}

/// Whether a file is one of such a folder's weights.
pub(super) fn is_weights(path: &Path) -> bool {
    safetensors::is_safetensors(path) || pth::is_pytorch_bin(path)
}

/// Opens the model a `pytorch_model.bin` belongs to, or a part of one; its configuration is beside it.
pub(super) fn open_bin(path: &Path) -> Result<HfCheckpoint, FormatError> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let config = read_config(dir)?;
    let weights = match PartName::parse(path) {
        Some(_) => pth::open_folder(dir)?,
        None => WeightFiles { tensors: pth::open(path)?, files: vec![path.to_owned()] },
    };
    with_config(dir, config, weights)
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
    with_config(dir, config, WeightFiles { tensors, files: vec![path.to_owned()] })
}

fn read_config(dir: &Path) -> Result<Value, FormatError> {
    let path = dir.join(CONFIG);
    let config: Value = read_json(&path, MAX_CONFIG_BYTES)?;
    if config.is_object() {
        return Ok(config);
    }
    Err(Problem::malformed("is not a JSON object").in_file(&path))
}

fn with_config(dir: &Path, config: Value, model: WeightFiles) -> Result<HfCheckpoint, FormatError> {
    let beside = QUANTIZATION.into_iter().find(|name| dir.join(name).exists());
    let beside = beside.map(|name| Ok((name, read_json(&dir.join(name), MAX_CONFIG_BYTES)?))).transpose()?;
    let WeightFiles { tensors, files } = model;
    Ok(HfCheckpoint { dir: dir.to_owned(), config, beside, tensors, files })
}
