//! Which files a source means, in an order that does not depend on the file system, and how a file is recognised
//! again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use puna_formats::visible_path;
use sha2::{Digest, Sha256};

use super::error::DataError;

/// A file of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataFile {
    pub path: PathBuf,
    pub n_bytes: u64,
}

/// The files of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Sorted by path.
    pub files: Vec<DataFile>,
    /// Files of folders whose names do not say that they hold data.
    pub n_left_out: usize,
}

/// Endings of data that is taken from folders, perhaps with one of [`PACKED`] after it.
const ENDINGS: [&str; 7] = ["txt", "text", "jsonl", "ndjson", "json", "parquet", "pq"];

/// Endings of compressed files.
const PACKED: [&str; 3] = ["gz", "zst", "zstd"];

/// Folders within each other: more is a circle of links.
const MAX_DEPTH: usize = 32;

/// The files that `path` means: itself, the data in a folder, or what matches a pattern.
pub(crate) fn find_files(path: &Path) -> Result<Found, DataError> {
    let mut found = Found::default();
    if path.is_dir() {
        walk(path, MAX_DEPTH, &mut found)?;
    } else if path.exists() {
        found.files.push(data_file(path)?);
    } else {
        let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']));
        let Some(pattern) = pattern else {
            return Err(DataError::in_file(path, "there is no such file or folder"));
        };
        let paths = glob::glob(pattern).map_err(|error| DataError::in_file(path, error))?;
        for path in paths {
            let path = path.map_err(|error| DataError::in_file(error.path(), error.error()))?;
            if path.is_dir() {
                walk(&path, MAX_DEPTH, &mut found)?
            } else {
                found.files.push(data_file(&path)?)
            }
        }
    }
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    found.files.dedup();
    if found.files.is_empty() {
        let fact = match found.n_left_out {
            0 => "no file is there".to_owned(),
            n => format!("none of its {n} files has a name that says data: .{}", ENDINGS.join(", .")),
        };
        return Err(DataError::in_file(path, fact));
    }
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Found) -> Result<(), DataError> {
    let fail = |error: std::io::Error| DataError::in_file(folder, error);
    if depth == 0 {
        return Err(DataError::in_file(folder, "it lies too deep; does a link lead back to its own folder?"));
    }
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, depth - 1, found)?;
        } else if says_data(&path) {
            found.files.push(data_file(&path)?);
        } else {
            found.n_left_out += 1;
        }
    }
    Ok(())
}

/// Whether a file's name says that it holds data.
fn says_data(path: &Path) -> bool {
    plain_ending(path).is_some_and(|ending| ENDINGS.contains(&&*ending))
}

/// The ending of a file's name, in small letters, without that of a compression.
pub(crate) fn plain_ending(path: &Path) -> Option<String> {
    let ending = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
    let last = ending(path)?;
    if PACKED.contains(&&*last) { ending(Path::new(path.file_stem()?)) } else { Some(last) }
}

fn data_file(path: &Path) -> Result<DataFile, DataError> {
    let about = std::fs::metadata(path).map_err(|error| DataError::in_file(path, error))?;
    if !about.is_file() {
        return Err(DataError::in_file(path, "it is neither a file nor a folder"));
    }
    Ok(DataFile { path: path.to_owned(), n_bytes: about.len() })
}

/// Files up to this size are recognised by all their bytes.
const WHOLE_BYTES: u64 = 256 << 20;

/// What is read of larger ones, at their beginning, middle and end.
const SAMPLE_BYTES: u64 = 1 << 20;

/// By what a file is recognised: its bytes and its ending, wherever it lies. Of a file of more than 256 MiB these are its size, the
/// time of its last change, and a megabyte each of its beginning, middle and end.
pub(crate) fn identity(file: &DataFile) -> Result<[u8; 32], DataError> {
    let path = &file.path;
    let fail = |error: std::io::Error| DataError::in_file(path, error);
    let mut opened = File::open(path).map_err(fail)?;
    let mut hash = Sha256::new();
    hash.update(file.n_bytes.to_le_bytes());
    // It says how the bytes are read.
    hash.update(plain_ending(path).unwrap_or_default().as_bytes());
    if file.n_bytes <= WHOLE_BYTES {
        copy_into(&mut hash, opened.take(WHOLE_BYTES)).map_err(fail)?;
    } else {
        let modified = opened.metadata().and_then(|about| about.modified()).map_err(fail)?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        hash.update(since.as_nanos().to_le_bytes());
        for at in [0, file.n_bytes / 2, file.n_bytes - SAMPLE_BYTES] {
            opened.seek(SeekFrom::Start(at)).map_err(fail)?;
            copy_into(&mut hash, (&mut opened).take(SAMPLE_BYTES)).map_err(fail)?;
        }
    }
    Ok(hash.finalize().into())
}

fn copy_into(hash: &mut Sha256, mut from: impl Read) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Where a sample stands, for messages.
pub(crate) fn place(path: &Path, line: u64) -> String {
    format!("{}:{line}", visible_path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_patterns_are_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("deep")).unwrap();
        for name in ["b.jsonl.gz", "a.txt", "deep/c.JSON", "README.md", ".hidden.txt", "d.gz"] {
            std::fs::write(path(name), name).unwrap();
        }
        let names = |path: &Path| -> Vec<String> {
            let files = find_files(path).unwrap().files;
            files
                .iter()
                .map(|file| file.path.strip_prefix(dir.path()).unwrap().display().to_string())
                .collect()
        };
        assert_eq!(names(dir.path()), ["a.txt", "b.jsonl.gz", "deep/c.JSON"]);
        assert_eq!(find_files(dir.path()).unwrap().n_left_out, 2);
        assert_eq!(names(&path("*.md")), ["README.md"]);
        assert_eq!(names(&path("**/*.[Jj]*")), ["b.jsonl.gz", "deep/c.JSON"]);
        assert_eq!(names(&path("README.md")), ["README.md"]);
        let fact = |path: &Path| find_files(path).unwrap_err().to_string();
        assert!(fact(&path("none")).contains("no such file"));
        assert!(fact(&path("*.none")).contains("no file is there"));
        std::fs::create_dir(path("empty")).unwrap();
        std::fs::write(path("empty/x.md"), "x").unwrap();
        assert!(fact(&path("empty")).contains("none of its 1 files"));
    }

    #[test]
    fn a_file_is_recognised_by_its_bytes_and_its_ending() {
        let dir = tempfile::tempdir().unwrap();
        let print = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            identity(&data_file(&path).unwrap()).unwrap()
        };
        assert_eq!(print("a", "one"), print("b", "one"));
        assert_ne!(print("a", "one"), print("b", "two"));
        // The ending says how they are read.
        assert_ne!(print("a.txt", "{}"), print("a.jsonl", "{}"));
    }
}
