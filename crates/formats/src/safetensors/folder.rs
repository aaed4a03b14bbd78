//! The safetensors files of a model folder, which may be sharded.

use std::path::Path;

use super::read::open;
use crate::error::FormatError;
use crate::weight_files::{FileKind, WeightFiles, open_all};

const SAFETENSORS: FileKind = FileKind {
    name: ".safetensors",
    single: "model.safetensors",
    index: "model.safetensors.index.json",
    is_one: is_safetensors,
    open: |path| Ok(open(path)?.tensors),
};

/// Opens the safetensors files of a model folder.
pub fn open_folder(dir: &Path) -> Result<WeightFiles, FormatError> {
    open_all(dir, &SAFETENSORS)
}

/// Whether a path has the extension of safetensors files.
pub(crate) fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}
