//! Where the tests of all floors find reference inputs and outputs.
//!
//! The full set lies in `PUNA_CONFORMANCE` (default: `../shared/conformance` beside the repository). A clone without it
//! has a compact set of its own in `tests/fixtures`. Tests discover their cases from the manifests; a part that the
//! compact set lacks is skipped with a message. Under `CI=true` the full set must be there, and whole.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A folder of fixtures.
#[derive(Clone, Debug)]
pub struct Fixtures {
    dir: PathBuf,
    /// Whether a missing part is a failure.
    complete: bool,
}

/// The fixtures of this machine.
///
/// # Panics
/// If `PUNA_CONFORMANCE` names no folder, or under `CI=true` where there is no full set.
pub fn fixtures() -> Fixtures {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    if let Some(dir) = std::env::var_os("PUNA_CONFORMANCE").map(PathBuf::from) {
        assert!(dir.is_dir(), "PUNA_CONFORMANCE is `{}`, which is no folder", dir.display());
        return Fixtures { dir, complete: in_ci };
    }
    let full = repository.join("../shared/conformance");
    if full.is_dir() {
        return Fixtures { dir: full, complete: true };
    }
    assert!(!in_ci, "the conformance fixtures are missing at {}", full.display());
    Fixtures { dir: repository.join("tests/fixtures"), complete: false }
}

impl Fixtures {
    /// The path of a fixture.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    /// Whether `relative` is there; if not, the test that asked says that it is skipped.
    ///
    /// # Panics
    /// If it is missing from a set that should be whole.
    pub fn has(&self, relative: &str) -> bool {
        let path = self.path(relative);
        if path.exists() {
            return true;
        }
        assert!(!self.complete, "the fixture {} is missing", path.display());
        println!("SKIPPED: this set of fixtures has no {relative}");
        false
    }

    /// The folder, if all of `needed` is there; if not, the test that asked says that it is skipped.
    ///
    /// # Panics
    /// If something is missing from a set that should be whole.
    pub fn with(&self, needed: &[&str]) -> Option<&Path> {
        needed.iter().all(|part| self.has(part)).then_some(&self.dir)
    }

    /// A JSON fixture, or `None` (after saying so) where the compact set lacks it.
    ///
    /// # Panics
    /// If it cannot be read, or is missing from a set that should be whole.
    pub fn json(&self, relative: &str) -> Option<Value> {
        self.has(relative).then(|| read_json(&self.path(relative)))
    }
}

/// A JSON file.
///
/// # Panics
/// If it cannot be read.
pub fn read_json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
