//! Files that appear whole or not at all.
//!
//! The bytes go to a temporary file in the destination's folder. Only when all is written and on disk is it
//! renamed over the destination, so that a crash, a full disk or an error never leaves a half-written model
//! under the real name, and a reader that has the old file mapped keeps it.
//!
//! A link is followed, and stays. A file that is replaced passes on its permissions, and its owner and group
//! where the system allows; its other names (hard links) and its access lists stay with the old bytes. A
//! named pipe or a device gets the bytes as they come.

use std::fs::{File, Metadata};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::destination::{Destination, find, folder_of, led_to};
use crate::error::{FormatError, Problem};
use crate::unfinished::Unfinished;

/// A file being written. Dropped without [`AtomicFile::commit`], it leaves no trace.
#[derive(Debug)]
pub struct AtomicFile {
    name: PathBuf,
    /// `None` only while it is committed or dropped.
    writer: Option<BufWriter<File>>,
    /// The file that becomes another one; `None` where the bytes go as they come.
    temporary: Option<Temporary>,
}

#[derive(Debug)]
struct Temporary {
    file: Unfinished,
    destination: PathBuf,
}

impl AtomicFile {
    /// Begins a file that will replace `name`, or a stream of bytes into the pipe or device of this name.
    pub fn create(name: &Path) -> Result<AtomicFile, FormatError> {
        let fail = |problem: Problem| problem.in_output(name);
        if name.file_name().is_none() {
            let fact = if name.is_dir() { "is a folder, not a file" } else { "has no file name" };
            return Err(fail(Problem::not_found(fact)));
        }
        let (file, temporary) = match find(name).map_err(fail)? {
            Destination::Stream(file) => (file, None),
            Destination::File { path, existing } => {
                let created = Unfinished::create(&path, existing.is_some());
                let (unfinished, file) =
                    created.map_err(|error| fail(led_to(Problem::from_io(&error), name, &path)))?;
                if let Some(existing) = &existing {
                    take_over(&file, existing);
                }
                (file, Some(Temporary { file: unfinished, destination: path }))
            }
        };
        // A megabyte keeps the number of system calls small beside the copying.
        let writer = Some(BufWriter::with_capacity(1 << 20, file));
        Ok(AtomicFile { name: name.to_owned(), writer, temporary })
    }

    /// The path the file will have.
    pub fn destination(&self) -> &Path {
        &self.name
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let writer = self.writer.as_mut().expect("commit consumes the file");
        writer.write_all(bytes).map_err(|error| Problem::from_io(&error).in_output(&self.name))
    }

    /// Brings all bytes to disk and gives the file its name.
    pub fn commit(mut self) -> Result<(), FormatError> {
        self.finish().map_err(|error| Problem::from_io(&error).in_output(&self.name))
    }

    fn finish(&mut self) -> std::io::Result<()> {
        let writer = self.writer.as_mut().expect("commit consumes the file");
        writer.flush()?;
        let Some(Temporary { file, destination }) = self.temporary.take() else { return Ok(()) };
        writer.get_ref().sync_all()?;
        file.rename(&destination)?;
        // The rename itself is durable only when the folder is synced. Not every system lets a folder be
        // opened; where it does not, the data is safe and only the name may be lost in a power failure.
        if let Ok(folder) = File::open(folder_of(&destination)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // What was not written yet has no use any more.
            let _ = writer.into_parts();
        }
    }
}

/// Gives a new file, which only we may read so far, the owner and the permissions of the one it will replace.
/// Where the system does not allow that, it is more private than the old one and never less.
#[cfg(unix)]
fn take_over(file: &File, existing: &Metadata) {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let (uid, gid) = (existing.uid(), existing.gid());
    let is_group = || file.metadata().is_ok_and(|about| about.gid() == gid);
    if !file.metadata().is_ok_and(|about| about.uid() == uid && about.gid() == gid)
        && fchown(file, Some(uid), Some(gid)).is_err()
    {
        // Few may give a file away, but many have several groups.
        let _ = fchown(file, None, Some(gid));
    }
    let mut mode = existing.mode() & 0o777;
    if !is_group() {
        // Another group has the rights of everybody.
        mode = mode & !0o070 | (mode & 0o007) << 3;
    }
    let _ = file.set_permissions(Permissions::from_mode(mode));
}

#[cfg(not(unix))]
fn take_over(_file: &File, _existing: &Metadata) {}

/// Writes a whole small file atomically.
pub fn write_file(destination: &Path, bytes: &[u8]) -> Result<(), FormatError> {
    let mut file = AtomicFile::create(destination)?;
    file.write(bytes)?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n_files(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_file_appears_only_when_committed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        std::fs::write(&path, b"old").unwrap();

        let mut file = AtomicFile::create(&path).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(n_files(dir.path()), 1);

        write_file(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(n_files(dir.path()), 1);
    }

    #[test]
    fn impossible_destinations_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_file(&dir.path().join("no/such/folder.gguf"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write"));
        assert!(write_file(dir.path(), b"x").unwrap_err().fact.contains("folder"));
        assert!(write_file(Path::new("/"), b"x").unwrap_err().fact.contains("folder"));
        assert!(write_file(Path::new(""), b"x").unwrap_err().fact.contains("no file name"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("far")).unwrap();
        // A link to a link, and to a file that is not there yet.
        symlink("far/second", path("first")).unwrap();
        symlink("../target", path("far/second")).unwrap();
        for content in [b"one", b"two"] {
            write_file(&path("first"), content).unwrap();
            assert_eq!(std::fs::read(path("target")).unwrap(), content);
        }
        assert!(path("first").is_symlink() && path("far/second").is_symlink());
        symlink("a", path("b")).unwrap();
        symlink("b", path("a")).unwrap();
        let error = write_file(&path("a"), b"x").unwrap_err();
        assert!(error.fact.contains("leads back to itself"), "{error}");
        symlink("none/x", path("lost")).unwrap();
        let error = write_file(&path("lost"), b"x").unwrap_err();
        assert!(error.fact.contains("is a link to") && error.fact.contains("none/x"), "{error}");
        assert_eq!(n_files(dir.path()), 6);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_stay() {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some");
        for mode in [0o600, 0o640, 0o755, 0o444] {
            std::fs::write(&path, b"old").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            // Some users may write everywhere.
            let may_write = std::fs::OpenOptions::new().write(true).open(&path).is_ok();
            let written = write_file(&path, b"new");
            assert_eq!(written.is_ok(), may_write);
            let is_now = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(is_now & 0o777, mode);
            assert_eq!(std::fs::read(&path).unwrap(), if may_write { b"new" } else { b"old" });
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_replaced() {
        use std::os::unix::fs::FileTypeExt;
        use std::os::unix::net::UnixListener;
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(write_file(&socket, b"x").unwrap_err().fact.contains("socket"));
        assert!(std::fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
        write_file(Path::new("/dev/null"), b"x").unwrap();
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        if Path::new("/dev/full").exists() {
            let error = write_file(Path::new("/dev/full"), b"x").unwrap_err();
            assert_eq!(error.kind, crate::ErrorKind::NoRoom);
        }
        assert_eq!(n_files(dir.path()), 1);
    }
}
