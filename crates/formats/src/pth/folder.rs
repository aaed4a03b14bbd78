//! The PyTorch files of a Hugging Face folder (`pytorch_model.bin`), which may be sharded.

use std::path::Path;

use super::open;
use crate::error::FormatError;
use crate::weight_files::{FileKind, WeightFiles, open_all};

const PYTORCH: FileKind = FileKind {
    name: "pytorch_model.bin",
    single: "pytorch_model.bin",
    index: "pytorch_model.bin.index.json",
    is_one: is_pytorch_bin,
    open,
};

/// Opens the PyTorch files of a Hugging Face folder.
pub(crate) fn open_folder(dir: &Path) -> Result<WeightFiles, FormatError> {
    open_all(dir, &PYTORCH)
}

/// Whether a path has the name of a model's weights, or of a part of them. Other `.bin` files of a folder are
/// the state of a training.
pub(crate) fn is_pytorch_bin(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("pytorch_model") && name.ends_with(".bin"))
}
