//! Temporary files beside the files they are to become, which no end of the program leaves behind.
//!
//! A temporary file is removed when it is dropped; by [`remove_unfinished`] when a signal ends the program;
//! and where the program could do neither, by whoever writes the same file next: it is locked while it is
//! written, so that one without a lock has no owner.
//!
//! The list of them is in a `static`, since a signal is for the process and knows none of its values.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::destination::folder_of;

/// A temporary file that will get another name. Dropped before, it leaves no trace.
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: PathBuf,
    is_finished: bool,
}

/// Those of this process; `None` when it is about to end.
static ALL: Mutex<Option<BTreeSet<PathBuf>>> = Mutex::new(Some(BTreeSet::new()));

fn all() -> MutexGuard<'static, Option<BTreeSet<PathBuf>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of all writers of this process. For a program that is about to end, from any
/// of its threads: writers fail from now on, and none can be begun.
pub fn remove_unfinished() {
    let paths = all().take();
    for path in paths.into_iter().flatten() {
        // Nothing useful can be done if this fails; the name ends in `.partial` and says what it is.
        let _ = std::fs::remove_file(path);
    }
}

impl Unfinished {
    /// A new file, locked, beside `destination`; `is_private` if only its owner may read it. What others who
    /// wrote the same file left behind is removed.
    pub fn create(destination: &Path, is_private: bool) -> io::Result<(Unfinished, File)> {
        // Makes names unique among threads; the process id does it among processes.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = destination.file_name().ok_or(ErrorKind::InvalidInput)?;
        remove_orphans(folder_of(destination), name);
        loop {
            let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
            let mut temporary = beginning(name);
            temporary.push(format!("{}-{serial}{END}", std::process::id()));
            let path = destination.with_file_name(temporary);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            if is_private {
                use std::os::unix::fs::OpenOptionsExt;
                options.mode(0o600);
            }
            #[cfg(not(unix))]
            let _ = is_private;
            let mut all = all();
            let Some(paths) = all.as_mut() else {
                return Err(io::Error::other("the program is about to end"));
            };
            let file = match options.open(&path) {
                // Another machine's, or one of a process that had our number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            paths.insert(path.clone());
            drop(all);
            let unfinished = Unfinished { path, is_finished: false };
            // Where files cannot be locked, none is taken for an orphan.
            let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            // Somebody may have taken it for an orphan before it was locked.
            if !is_taken && unfinished.path.symlink_metadata().is_ok() {
                return Ok((unfinished, file));
            }
        }
    }

    /// Gives the file its name.
    pub fn rename(mut self, destination: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, destination)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            // As in `remove_unfinished`.
            let _ = std::fs::remove_file(&self.path);
        }
        if let Some(paths) = all().as_mut() {
            paths.remove(&self.path);
        }
    }
}

/// What the names of temporary files for a file begin and end with; between are two numbers.
fn beginning(name: &OsStr) -> OsString {
    let mut beginning = OsString::from(".");
    beginning.push(name);
    beginning.push(".");
    beginning
}

const END: &str = ".partial";

/// Removes temporary files for this name that nobody writes. Where they cannot be found or removed, they
/// stay.
fn remove_orphans(folder: &Path, name: &OsStr) {
    let beginning = beginning(name);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_of_name = |found: &OsStr| {
            let numbers = found.as_encoded_bytes().strip_prefix(beginning.as_encoded_bytes());
            let numbers = numbers.and_then(|rest| rest.strip_suffix(END.as_bytes()));
            numbers.is_some_and(|numbers| {
                numbers.iter().filter(|byte| **byte == b'-').count() == 1
                    && numbers.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
            })
        };
        if !is_of_name(&entry.file_name()) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let file = OpenOptions::new().write(true).open(entry.path());
        if file.is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (own, file) = Unfinished::create(&path("a.gguf"), false).unwrap();
        let others =
            [".a.gguf.12-0.partial", ".a.gguf.x-0.partial", ".b.gguf.12-0.partial", ".a.gguf.12-0.part"];
        others.iter().for_each(|name| std::fs::write(path(name), b"half").unwrap());
        let (second, _) = Unfinished::create(&path("a.gguf"), false).unwrap();
        let is_there = others.map(|name| path(name).exists());
        assert_eq!(is_there, [false, true, true, true]);
        assert!(own.path.exists() && second.path.exists());
        let left = own.path.clone();
        std::mem::forget(own);
        // Its owner is still there, as long as the file is locked.
        drop(Unfinished::create(&path("a.gguf"), false).unwrap());
        assert!(left.exists());
        drop(file);
        drop(Unfinished::create(&path("a.gguf"), false).unwrap());
        assert!(!left.exists());
    }
}
