//! A GGUF checkpoint: one file, or the parts of a split one put together again.
//!
//! Each part of a split checkpoint is a complete GGUF file that says its number (from 0), the number of parts
//! and the number of tensors in all of them; its file name says the same numbers, the part's from 1. Only the
//! first part carries the model's metadata.

use std::path::{Path, PathBuf};

use super::metadata::Metadata;
use super::read::{GgufFile, parse};
use crate::error::{ErrorKind, FormatError, Problem};
use crate::mapped_file::MappedFile;
use crate::part_name::PartName;
use crate::tensor_map::TensorMap;

const SPLIT_NO: &str = "split.no";
const SPLIT_COUNT: &str = "split.count";
const SPLIT_TENSORS_COUNT: &str = "split.tensors.count";

/// A whole GGUF checkpoint.
#[derive(Clone, Debug)]
pub struct GgufCheckpoint {
    /// The key-value table, of the first part if there are several.
    pub metadata: Metadata,
    /// The tensors of all parts.
    pub tensors: TensorMap,
    /// The files, in order.
    pub parts: Vec<PathBuf>,
}

/// Opens a GGUF file. If it is any one part of a split checkpoint, the others are found by their names.
pub fn open(path: &Path) -> Result<GgufCheckpoint, FormatError> {
    let given = open_part(path)?;
    let n_parts = given.metadata.opt_u32(SPLIT_COUNT)?.unwrap_or(1);
    if n_parts <= 1 {
        let GgufFile { metadata, tensors, .. } = given;
        return Ok(GgufCheckpoint { metadata, tensors, parts: vec![path.to_owned()] });
    }
    open_split(path, given, n_parts)
}

fn open_split(path: &Path, given: GgufFile, n_parts: u32) -> Result<GgufCheckpoint, FormatError> {
    let Some(name) = PartName::parse(path) else {
        let number = given.metadata.u32(SPLIT_NO)?.saturating_add(1);
        let fact =
            format!("is part {number} of {n_parts}, but its name does not follow `NAME-00001-of-00003.gguf`");
        let hint = "give all parts their original names, so that the others can be found";
        return Err(Problem::not_found(fact).hint(hint).in_file(path));
    };
    let mut given = Some(given);
    let mut checkpoint: Option<GgufCheckpoint> = None;
    for number in 1..=name.count {
        let part_path = name.sibling(number);
        let part = match given.take_if(|_| number == name.number) {
            Some(part) => part,
            None => open_part(&part_path).map_err(|error| missing_part(error, &part_path))?,
        };
        check_part(&part.metadata, number, name.count)?;
        match &mut checkpoint {
            None => {
                let GgufFile { metadata, tensors, .. } = part;
                checkpoint = Some(GgufCheckpoint { metadata, tensors, parts: vec![part_path] });
            }
            Some(whole) => {
                whole.tensors.extend(part.tensors).map_err(|problem| {
                    problem.about("together with the parts before it").in_file(&part_path)
                })?;
                whole.parts.push(part_path);
            }
        }
    }
    let checkpoint = checkpoint.expect("a part name's count is at least its number, which is at least 1");
    let promised = checkpoint.metadata.opt_u64(SPLIT_TENSORS_COUNT)?;
    let found = checkpoint.tensors.len() as u64;
    if let Some(promised) = promised.filter(|&promised| promised != found) {
        let fact =
            format!("`{SPLIT_TENSORS_COUNT}` is {promised}, but its {n_parts} parts have {found} tensors");
        return Err(Problem::malformed(fact).in_file(checkpoint.metadata.path()));
    }
    Ok(checkpoint)
}

fn open_part(path: &Path) -> Result<GgufFile, FormatError> {
    let file = MappedFile::open(path)?;
    let mut part = file.read(|bytes| parse(bytes, path))?;
    part.tensors.keep(file);
    Ok(part)
}

fn missing_part(error: FormatError, path: &Path) -> FormatError {
    if error.kind != ErrorKind::NotFound {
        return error;
    }
    let problem = Problem::not_found("this part of a split GGUF checkpoint is missing");
    problem.hint("all parts must be in one folder under their original names").in_file(path)
}

/// Checks that what a part says about itself agrees with its name.
fn check_part(metadata: &Metadata, number: usize, count: usize) -> Result<(), FormatError> {
    let said = (u64::from(metadata.u32(SPLIT_NO)?) + 1, u64::from(metadata.u32(SPLIT_COUNT)?));
    if said == (number as u64, count as u64) {
        return Ok(());
    }
    let (said_number, said_count) = said;
    let fact =
        format!("says it is part {said_number} of {said_count}, but its name says part {number} of {count}");
    let hint = "parts of different checkpoints may have been mixed, or a file renamed";
    Err(Problem::malformed(fact).hint(hint).in_file(metadata.path()))
}
