//! Finding the conformance folder and what is in it.

use std::path::{Path, PathBuf};

/// The conformance folder, if it has checkpoints of every form.
pub fn fixture_dir() -> Option<PathBuf> {
    puna_conformance::fixtures().with(&["gguf", "models", "meta"]).map(Path::to_owned)
}

/// All files with an extension, in all folders below `dir`. There is at least one.
pub fn files_below(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no .{extension} files in {}", dir.display());
    found
}

pub use puna_conformance::read_json as read_manifest;
