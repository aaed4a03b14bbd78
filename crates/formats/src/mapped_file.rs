//! Files mapped into memory, read-only: with `lost_pages.rs` and `spill_file.rs` the only `unsafe` of this
//! crate.
//!
//! A mapped file costs no memory of its own: the operating system brings pages in when they are touched and
//! may drop them again. The price is that the bytes belong to the file. If another program makes it shorter,
//! the lost pages are read as zeros, and [`MappedFile::check`] says so from then on; whoever computes with
//! the bytes asks after it has. If another program writes into it, we may see a mixture, which
//! [`MappedFile::check_unchanged`] finds by the file's time. Programs that replace a file by renaming a new
//! one over it (as our own writers do) are harmless: the map keeps the old file alive.
#![allow(unsafe_code)]

use std::fmt;
use std::fs::File;
#[cfg(unix)]
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

#[cfg(unix)]
use memmap2::UncheckedAdvice;
use memmap2::{Mmap, MmapOptions};
use puna_tensor::{Bytes, Owner};

use crate::error::{FormatError, Problem};
use crate::lost_pages::Watch;
use crate::whole_file::{empty, open_regular};

/// A file in memory. Clones share it.
#[derive(Clone)]
pub struct MappedFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// Before the map, so that it is dropped first.
    watch: Watch,
    map: Mmap,
    file: File,
    /// When the file was last written to before it was mapped, where the system says.
    modified: Option<SystemTime>,
}

impl MappedFile {
    /// Maps the whole of a regular, non-empty file.
    pub fn open(path: &Path) -> Result<MappedFile, FormatError> {
        let fail = |error: std::io::Error| FormatError::io(path, &error);
        let file = open_regular(path)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.len() == 0 {
            return Err(empty(path));
        }
        let too_large = || fail(std::io::ErrorKind::FileTooLarge.into());
        let len = usize::try_from(metadata.len()).map_err(|_| too_large())?;
        // SAFETY: the map is private to this process and read-only, and everybody who reads it holds the
        // `Shared` that it is in. What remains is that other programs may write to the file or make it
        // shorter, which no program can rule out: its bytes may change under a reader, and the module comment
        // says who finds out.
        let map = unsafe { MmapOptions::new().len(len).map(&file) }.map_err(fail)?;
        let addresses = map.as_ptr_range();
        let watch = Watch::over(addresses.start as usize..addresses.end as usize);
        let modified = metadata.modified().ok();
        Ok(MappedFile(Arc::new(Shared { path: path.to_owned(), watch, map, file, modified })))
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// All its bytes.
    pub fn bytes(&self) -> Bytes {
        Bytes::of(Mapped(self.0.clone()))
    }

    /// What `parse` makes of the bytes, unless the file became shorter meanwhile.
    pub fn read<T>(&self, parse: impl FnOnce(&Bytes) -> Result<T, FormatError>) -> Result<T, FormatError> {
        let parsed = parse(&self.bytes());
        // What is wrong with it may be that it was cut.
        self.check()?;
        parsed
    }

    /// An error if the file has lost bytes since it was mapped: what was computed with them is worth nothing.
    /// Takes about a microsecond.
    pub fn check(&self) -> Result<(), FormatError> {
        let Shared { path, watch, map, file, .. } = &*self.0;
        let (then, now) = (map.len() as u64, file.metadata().map(|about| about.len()));
        let problem = match now {
            Ok(now) if now < then => {
                let fact = format!("became shorter while it was used: {now} bytes of {then} are left");
                Problem::changed(fact).hint(ANOTHER_FILE)
            }
            _ if watch.has_lost() => Problem::changed("lost bytes while it was used")
                .hint("it was written anew, or its disk or network failed; load it again"),
            _ => return Ok(()),
        };
        Err(problem.in_file(path))
    }

    /// The same, and an error if the file was written to since it was mapped.
    pub fn check_unchanged(&self) -> Result<(), FormatError> {
        self.check()?;
        let Ok(now) = self.0.file.metadata() else { return Ok(()) };
        if now.len() == self.0.map.len() as u64 && now.modified().ok() == self.0.modified {
            return Ok(());
        }
        Err(Problem::changed("was written to while it was used").hint(ANOTHER_FILE).in_file(self.path()))
    }
}

const ANOTHER_FILE: &str = "get the file again; a new one is written beside one that is in use, not over it";

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MappedFile").field(&self.path()).finish()
    }
}

/// The owner of a file's bytes.
struct Mapped(Arc<Shared>);

impl Owner for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0.map
    }

    #[cfg(unix)]
    fn release(&self, range: Range<usize>) {
        // SAFETY: the map is of a file and read-only, so nothing is lost: pages that are touched again are
        // read again. Zeros that took the place of lost ones are zeros again.
        let released =
            unsafe { self.0.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        let _ = released; // Where the system declines, the pages stay.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use std::fs::OpenOptions;
    use std::time::Duration;

    fn file(dir: &Path, name: &str, n_bytes: usize) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, vec![7; n_bytes]).unwrap();
        path
    }

    fn cut(path: &Path, n_bytes: u64) {
        OpenOptions::new().write(true).open(path).unwrap().set_len(n_bytes).unwrap();
    }

    #[test]
    fn maps_files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some");
        std::fs::write(&path, b"some bytes").unwrap();
        let bytes = MappedFile::open(&path).unwrap().bytes();
        assert_eq!(&*bytes, b"some bytes");
        bytes.slice(2..4).unwrap().release();
        assert_eq!(&*bytes, b"some bytes");

        std::fs::write(&path, b"").unwrap();
        let open = |path: &Path| MappedFile::open(path).unwrap_err();
        assert!(open(&path).fact.contains("empty"));
        assert!(open(dir.path()).fact.contains("folder"));
        assert_eq!(open(&dir.path().join("none")).kind, ErrorKind::NotFound);
        #[cfg(unix)]
        assert!(open(Path::new("/dev/zero")).fact.contains("device"));
    }

    /// Several maps, of which one is cut: it alone reads zeros, and says so again and again.
    #[cfg(unix)]
    #[test]
    fn a_file_that_becomes_shorter_reads_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [0, 1, 2].map(|i| file(dir.path(), &format!("m{i}"), 1 << 20));
        let maps = paths.each_ref().map(|path| MappedFile::open(path).unwrap());
        cut(&paths[1], 1 << 16);
        let bytes = maps[1].bytes();
        assert_eq!((bytes[0], bytes[(1 << 16) - 1]), (7, 7));
        assert!(bytes[1 << 16..].iter().all(|byte| *byte == 0));
        bytes.release();
        assert_eq!((bytes[0], bytes[1 << 19]), (7, 0));
        for i in [0, 2] {
            assert!(maps[i].bytes().iter().all(|byte| *byte == 7));
            maps[i].check_unchanged().unwrap();
        }
        let error = maps[1].check().unwrap_err();
        assert_eq!((error.kind, &error.path), (ErrorKind::Changed, &paths[1]));
        assert!(error.fact.contains("65536 bytes of 1048576"), "{error}");
        // Parsing stops with that error, whatever it found.
        let parsed = maps[1].read(|_| Ok::<_, FormatError>(())).unwrap_err();
        assert_eq!(parsed.kind, ErrorKind::Changed);
        // As long as before, but the zeros stay.
        cut(&paths[1], 1 << 20);
        assert!(maps[1].check().unwrap_err().fact.contains("lost bytes"));
    }

    /// Places are given out again, at the same address too, and there may be many.
    #[cfg(unix)]
    #[test]
    fn maps_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "m", 1 << 16);
        for _ in 0..100 {
            let map = MappedFile::open(&path).unwrap();
            cut(&path, 1);
            assert_eq!(map.bytes()[(1 << 16) - 1], 0);
            assert!(map.check().is_err());
            drop(map);
            std::fs::write(&path, vec![7; 1 << 16]).unwrap();
            MappedFile::open(&path).unwrap().check_unchanged().unwrap();
        }
        let maps: Vec<MappedFile> = (0..300).map(|_| MappedFile::open(&path).unwrap()).collect();
        cut(&path, 4096);
        std::thread::scope(|scope| {
            for maps in maps.chunks(100) {
                scope.spawn(move || maps.iter().for_each(|map| assert_eq!(map.bytes()[1 << 15], 0)));
            }
        });
        assert!(maps.iter().all(|map| map.check().is_err()));
    }

    #[test]
    fn a_file_that_is_written_to_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "m", 5000);
        let map = MappedFile::open(&path).unwrap();
        map.check_unchanged().unwrap();
        // Another file under the same name is no matter of ours.
        let other = file(dir.path(), "other", 10);
        std::fs::rename(other, &path).unwrap();
        map.check_unchanged().unwrap();

        let map = MappedFile::open(&path).unwrap();
        std::thread::sleep(Duration::from_millis(20)); // A file's time has steps of some milliseconds.
        std::fs::write(&path, vec![8; 10]).unwrap();
        map.check().unwrap();
        let error = map.check_unchanged().unwrap_err();
        assert!(error.fact.contains("written to"), "{error}");
    }
}
