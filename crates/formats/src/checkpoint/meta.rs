//! A checkpoint as Meta publishes it: `params.json` and one `consolidated.NN.pth` per model-parallel shard.
//!
//! Each shard has a slice of every large tensor under the same name. How the slices fit together depends on
//! what a tensor is, so it is the model's business; here the shards stay apart.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::PARAMS;
use crate::error::{FormatError, Problem};
use crate::folder::list_files;
use crate::json::{MAX_CONFIG_BYTES, read_json};
use crate::pth;
use crate::tensor_map::TensorMap;

/// A checkpoint in Meta's own form.
#[derive(Clone, Debug)]
pub struct MetaCheckpoint {
    /// The folder, where `tokenizer.model` is too.
    pub dir: PathBuf,
    /// `params.json`.
    pub params: Value,
    /// The tensors of each shard, in the order of the shards.
    pub shards: Vec<TensorMap>,
    /// The files of the shards.
    pub files: Vec<PathBuf>,
}

/// The number of a shard, from its name `consolidated.NN.pth`.
pub(super) fn shard_number(path: &Path) -> Option<usize> {
    let number = path.file_name()?.to_str()?.strip_prefix("consolidated.")?.strip_suffix(".pth")?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if digits { number.parse().ok() } else { None }
}

/// Opens a folder with `params.json` and all its shards.
pub(super) fn open_folder(dir: &Path) -> Result<MetaCheckpoint, FormatError> {
    let mut numbered: Vec<(usize, PathBuf)> =
        list_files(dir)?.into_iter().filter_map(|path| Some((shard_number(&path)?, path))).collect();
    numbered.sort();
    for (expected, (number, path)) in numbered.iter().enumerate() {
        if *number > expected {
            let missing = dir.join(format!("consolidated.{expected:02}.pth"));
            let problem = Problem::not_found("this shard of the model is missing");
            let hint = "all shards, numbered from 00, must be in the folder";
            return Err(problem.hint(hint).in_file(&missing));
        }
        if *number < expected {
            return Err(
                Problem::malformed(format!("there is a second shard with number {number}")).in_file(path)
            );
        }
    }
    open_shards(dir, numbered.into_iter().map(|(_, path)| path).collect())
}

/// Opens the model a `.pth` file belongs to: all shards if it is one of Meta's, else the file alone.
pub(super) fn open_file(path: &Path) -> Result<MetaCheckpoint, FormatError> {
    let dir = path.parent().unwrap_or(Path::new(""));
    if !dir.join(PARAMS).is_file() {
        let problem = Problem::not_found(format!("has no {PARAMS} beside it"));
        let hint =
            "a PyTorch file does not say what model it is; put Meta's params.json into the same folder";
        return Err(problem.hint(hint).in_file(path));
    }
    match shard_number(path) {
        Some(_) => open_folder(dir),
        None => open_shards(dir, vec![path.to_owned()]),
    }
}

fn open_shards(dir: &Path, files: Vec<PathBuf>) -> Result<MetaCheckpoint, FormatError> {
    let params_path = dir.join(PARAMS);
    let params: Value = read_json(&params_path, MAX_CONFIG_BYTES)?;
    if !params.is_object() {
        return Err(Problem::malformed("is not a JSON object").in_file(&params_path));
    }
    let shards = files.iter().map(|file| pth::open(file)).collect::<Result<_, _>>()?;
    Ok(MetaCheckpoint { dir: dir.to_owned(), params, shards, files })
}
