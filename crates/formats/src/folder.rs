//! Looking into a folder.

use std::path::{Path, PathBuf};

use crate::error::{FormatError, Problem};

/// The most entries of a folder we look at. A model folder has a few hundred.
const MAX_ENTRIES: usize = 10_000;

/// The files of a folder (links followed, folders left out), ordered by name.
pub(crate) fn list_files(dir: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let fail = |error: std::io::Error| FormatError::io(dir, &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_ENTRIES {
            let fact = format!("has more than {MAX_ENTRIES} files");
            let hint = "give the model's own folder or file";
            return Err(Problem::not_a_model(fact).hint(hint).in_file(dir));
        }
    }
    files.sort();
    Ok(files)
}
