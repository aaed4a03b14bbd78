//! Finding the conformance folder and what is in it.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The conformance folder: `PUNA_CONFORMANCE`, or beside the repository. `None` (after saying so) where it is not;
/// on a build server its absence is a failure.
pub fn fixture_dir() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance");
    let dir = std::env::var_os("PUNA_CONFORMANCE").map_or(PathBuf::from(beside), PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    let absent = format!("no conformance folder at {}", dir.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{absent}");
    println!("skipped: {absent}");
    None
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

/// A JSON file of the suite.
pub fn read_manifest(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
