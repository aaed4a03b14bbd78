//! Read-only memory maps of files: with `spill_file.rs` the one place in this crate with `unsafe`.
//!
//! A mapped file costs no memory of its own: the operating system brings pages in when they are touched and
//! may drop them again. The price is that the bytes belong to the file. If another program *truncates* a
//! mapped file, touching the lost pages raises SIGBUS and ends this process; if it rewrites the file in
//! place, we may see a mixture. Programs that replace a file by renaming a new one over it (as our own
//! writers do) are harmless: the map keeps the old file alive.
#![allow(unsafe_code)]

use std::fs::File;
#[cfg(unix)]
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use puna_tensor::{Bytes, Owner};

use crate::error::{FormatError, Problem};

/// Maps the whole of a regular, non-empty file.
pub fn map_file(path: &Path) -> Result<Bytes, FormatError> {
    // Asked before opening: opening a named pipe would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(|error| FormatError::io(path, &error))?;
    if !metadata.is_file() {
        let fact = if metadata.is_dir() { "is a folder, not a file" } else { "is not a regular file" };
        return Err(Problem::not_a_model(fact).in_file(path));
    }
    if metadata.len() == 0 {
        let problem = Problem::malformed("is empty (0 bytes)");
        return Err(problem.hint("a download probably failed; fetch the file again").in_file(path));
    }
    let file = File::open(path).map_err(|error| FormatError::io(path, &error))?;
    // SAFETY: the map is private to this process and read-only, and its lifetime is tied to the `Mmap` inside
    // the returned `Bytes`. What remains is that the file must not be truncated or rewritten in place by
    // others while it is mapped, which no program can rule out; the module comment says what happens then.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| FormatError::io(path, &error))?;
    Ok(Bytes::of(Mapped(map)))
}

/// A file in memory.
struct Mapped(Mmap);

impl Owner for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(unix)]
    fn release(&self, range: Range<usize>) {
        // SAFETY: the map is of a file and read-only, so nothing is lost: pages that are touched again are
        // read again.
        let released =
            unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        let _ = released; // Where the system declines, the pages stay.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn maps_files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some");
        std::fs::write(&path, b"some bytes").unwrap();
        let bytes = map_file(&path).unwrap();
        assert_eq!(&*bytes, b"some bytes");
        bytes.slice(2..4).unwrap().release();
        assert_eq!(&*bytes, b"some bytes");

        std::fs::write(&path, b"").unwrap();
        assert!(map_file(&path).unwrap_err().fact.contains("empty"));
        assert!(map_file(dir.path()).unwrap_err().fact.contains("folder"));
        assert_eq!(map_file(&dir.path().join("none")).unwrap_err().kind, ErrorKind::NotFound);
    }
}
