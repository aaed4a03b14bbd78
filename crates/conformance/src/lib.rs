//! Where the tests of all floors find reference inputs and outputs.
//!
//! The full set lies in `PUNA_CONFORMANCE` (default: `../shared/conformance` beside the repository). A clone
//! without it has a compact set of its own in `tests/fixtures`. Tests discover their cases from the
//! manifests, and take sizes from there: another set of the same form may have other ones. A part that a set
//! lacks is skipped, but a part that the set's own `manifest.json` lists is a failure. Under `CI=true` the
//! full set must be there.
//!
//! Whatever a test leaves out, it says through [`skip`].
//!
//! ```
//! let fixtures = puna_conformance::fixtures();
//! if let Some(vectors) = fixtures.json("rope/vectors.json") {
//!     assert!(vectors["entries"].is_object());
//! }
//! ```

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Says that a test leaves something out, and why, in one line: `SKIPPED what: why`.
///
/// The line is printed. Where `PUNA_SKIPPED` names a file, it is appended there too, so that the skips of all
/// tests can be counted and named in one place.
///
/// # Panics
/// If that file cannot be written.
pub fn skip(what: impl Display, why: impl Display) {
    let line = format!("SKIPPED {what}: {why}").replace('\n', " ") + "\n";
    print!("{line}");
    if let Some(path) = std::env::var_os("PUNA_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("PUNA_SKIPPED is `{}`: {error}", Path::new(&path).display()));
    }
}

/// What real clients were seen to send: each recording with its file's name, sorted. They lie in `PUNA_CLIENTS`, relative to
/// the repository (default: `../shared/clients/recorded`). Where there are none it is said through [`skip`], for `test`.
///
/// # Panics
/// Where there are none under `CI=true`, or where `PUNA_CLIENTS` says that there are.
pub fn recordings(test: &str) -> Vec<(String, Value)> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let given = std::env::var_os("PUNA_CLIENTS");
    let folder = repository.join(given.as_deref().unwrap_or("../shared/clients/recorded".as_ref()));
    let Ok(files) = std::fs::read_dir(&folder) else {
        let must_be_there = given.is_some() || std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!must_be_there, "there are no recorded requests at {}", folder.display());
        skip(test, "the requests of real clients are not here");
        return Vec::new();
    };
    let paths =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    let mut found: Vec<(String, Value)> = paths
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), read_json(&path)))
        .collect();
    assert!(!found.is_empty(), "no request is recorded in {}", folder.display());
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Whether this is a build for developing, whose kernels are optimised a little. (The kernels themselves cannot
/// tell: they are built without debug assertions in every profile.)
pub const IS_DEVELOPMENT_BUILD: bool = cfg!(debug_assertions);

/// A folder of fixtures.
#[derive(Clone, Debug)]
pub struct Fixtures {
    dir: PathBuf,
    /// The files that the set's manifest promises.
    promised: Vec<String>,
}

/// The fixtures of this machine.
///
/// # Panics
/// If `PUNA_CONFORMANCE` does not name a folder, or under `CI=true` where there is only the compact set.
pub fn fixtures() -> Fixtures {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if let Some(given) = std::env::var_os("PUNA_CONFORMANCE").map(PathBuf::from) {
        // A relative path means the repository's root, where people type it, not the crate's folder, where
        // tests run.
        let dir = repository.join(&given);
        assert!(dir.is_dir(), "PUNA_CONFORMANCE is `{}`, which is not a folder", given.display());
        return Fixtures::open(dir);
    }
    let full = repository.join("../shared/conformance");
    if full.is_dir() {
        return Fixtures::open(full);
    }
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!in_ci, "the conformance fixtures are missing at {}", full.display());
    Fixtures::open(repository.join("tests/fixtures"))
}

impl Fixtures {
    fn open(dir: PathBuf) -> Fixtures {
        let manifest = dir.join("manifest.json");
        let files = manifest.is_file().then(|| read_json(&manifest)["files"].take());
        let names = files.as_ref().and_then(Value::as_object).into_iter().flat_map(|files| files.keys());
        let promised = names.cloned().collect();
        Fixtures { dir, promised }
    }

    /// The path of a fixture.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    /// Whether `relative` is there; if not, it is skipped.
    ///
    /// # Panics
    /// If it is missing although the set's manifest lists it, or something in it.
    pub fn has(&self, relative: &str) -> bool {
        let path = self.path(relative);
        if path.exists() {
            return true;
        }
        let is_promised = self.promised.iter().any(|file| Path::new(file).starts_with(relative));
        assert!(!is_promised, "the fixture {} is missing, although the manifest lists it", path.display());
        skip(relative, "this set of fixtures does not have it");
        false
    }

    /// The folder, if all of `needed` is there; what is not is skipped.
    ///
    /// # Panics
    /// As [`Fixtures::has`].
    pub fn with(&self, needed: &[&str]) -> Option<&Path> {
        needed.iter().all(|part| self.has(part)).then_some(&self.dir)
    }

    /// A JSON fixture; `None`, and skipped, where the set does not have it.
    ///
    /// # Panics
    /// If it cannot be read; and as [`Fixtures::has`].
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
