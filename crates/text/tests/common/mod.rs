//! Where the fixtures are, and how to read them.

use std::path::{Path, PathBuf};

#[allow(unused_imports)] // not every test binary needs it
pub use puna_conformance::read_json;
use puna_text::Tokenizer;
use serde_json::Value;

/// The folder of fixtures, if it has what this crate's tests need.
pub fn fixtures() -> Option<PathBuf> {
    puna_conformance::fixtures().with(&["tokenizer", "chat"]).map(Path::to_owned)
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
