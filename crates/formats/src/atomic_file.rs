//! Files that appear whole or not at all.
//!
//! The bytes go to a temporary file in the destination's folder. Only when all is written and on disk is it
//! renamed over the destination, so that a crash, a full disk or an error never leaves a half-written model
//! under the real name, and a reader that has the old file mapped keeps it.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{FormatError, Problem};

/// A file being written. Dropped without [`AtomicFile::commit`], it leaves no trace.
#[derive(Debug)]
pub struct AtomicFile {
    destination: PathBuf,
    temporary: PathBuf,
    /// `None` once committed.
    writer: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Begins a file that will replace `destination`.
    pub fn create(destination: &Path) -> Result<AtomicFile, FormatError> {
        // Makes names unique among threads; the process id does it among processes.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let fail = |problem: Problem| problem.in_output(destination);
        if destination.is_dir() {
            return Err(fail(Problem::not_a_model("is a folder, not a file")));
        }
        let name = destination.file_name().ok_or_else(|| fail(Problem::not_found("has no file name")))?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
        temporary.push(format!(".{}-{serial}.partial", std::process::id()));
        let temporary = destination.with_file_name(temporary);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary);
        let file = file.map_err(|error| fail(Problem::from_io(&error)))?;
        // A megabyte keeps the number of system calls small beside the copying.
        let writer = Some(BufWriter::with_capacity(1 << 20, file));
        Ok(AtomicFile { destination: destination.to_owned(), temporary, writer })
    }

    /// The path the file will have.
    pub fn destination(&self) -> &Path {
        &self.destination
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let writer = self.writer.as_mut().expect("commit consumes the file");
        writer.write_all(bytes).map_err(|error| Problem::from_io(&error).in_output(&self.destination))
    }

    /// Brings all bytes to disk and gives the file its name.
    pub fn commit(mut self) -> Result<(), FormatError> {
        self.finish().map_err(|error| Problem::from_io(&error).in_output(&self.destination))
    }

    fn finish(&mut self) -> std::io::Result<()> {
        let writer = self.writer.as_mut().expect("commit consumes the file");
        writer.flush()?;
        writer.get_ref().sync_all()?;
        std::fs::rename(&self.temporary, &self.destination)?;
        self.writer = None;
        // The rename itself is durable only when the folder is synced. Not every system lets a folder be
        // opened; where it does not, the data is safe and only the name may be lost in a power failure.
        let folder = self.destination.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            // Nothing useful can be done if this fails; the name ends in `.partial` and says what it is.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a whole small file atomically.
pub fn write_file(destination: &Path, bytes: &[u8]) -> Result<(), FormatError> {
    let mut file = AtomicFile::create(destination)?;
    file.write(bytes)?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_only_when_committed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        std::fs::write(&path, b"old").unwrap();

        let mut file = AtomicFile::create(&path).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

        write_file(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn impossible_destinations_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_file(&dir.path().join("no/such/folder.gguf"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write"));
        assert!(write_file(dir.path(), b"x").unwrap_err().fact.contains("folder"));
    }
}
