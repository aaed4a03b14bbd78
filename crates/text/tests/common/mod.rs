//! Where the fixtures are, and how to read them.

use std::path::{Path, PathBuf};

use puna_text::Tokenizer;
use serde_json::Value;

/// The folder of conformance fixtures. Absent, it is a failure in CI and a notice elsewhere.
pub fn fixtures() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance");
    let folder = std::env::var_os("PUNA_CONFORMANCE").map_or_else(|| PathBuf::from(default), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!in_ci, "no conformance fixtures at {}", folder.display());
    println!("skipped: no conformance fixtures at {}", folder.display());
    None
}

/// A JSON file.
pub fn read_json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A list of ids.
pub fn ids(value: &Value) -> Vec<u32> {
    let items = value.as_array().unwrap_or_else(|| panic!("not a list of ids: {value}"));
    items.iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// The tokenizer file `tokenizer/NAME.tokenizer.model`.
#[allow(dead_code)] // not every test binary needs it
pub fn real_tokenizer(fixtures: &Path, name: &str) -> Tokenizer {
    let path = fixtures.join(format!("tokenizer/{name}.tokenizer.model"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Tokenizer::from_file_bytes(&bytes, &Default::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}
