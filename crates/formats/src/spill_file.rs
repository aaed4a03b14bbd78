//! Memory that the system may put on disk: a temporary file without a name, mapped in segments and lent out
//! in pieces.
//!
//! The file is gone with the program, however it ends, since no folder names it. A segment's place on disk is
//! taken before the segment is mapped, so that a full disk is an error here and not a SIGBUS at the first
//! write to a page that has none (on file systems that copy on write, such as Btrfs and ZFS, the system
//! promises less). A disk that fails while a page is read still ends the program, as with every map. Pieces
//! that are dropped are lent again; their place on disk is given back when the file is dropped.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

use crate::error::{FormatError, Problem};

/// A temporary file whose mapped pieces serve as memory. Clones lend from the same file.
#[derive(Clone, Debug)]
pub struct SpillFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    piece_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    file_bytes: u64,
    /// Slots that nobody has, the one to lend next at the end.
    free: Vec<Slot>,
}

/// Where a piece lies in memory. Each slot is in one [`SpillPiece`] or among the free ones, and nothing else
/// refers to its bytes: this is what makes writing to it sound.
#[derive(Debug)]
struct Slot {
    segment: Arc<MmapRaw>,
    offset: usize,
    /// Whether it was lent before, so that it may hold other bytes than zeros.
    is_used: bool,
}

/// Some bytes of the file, which the holder alone reads and writes; zeros at first.
#[derive(Debug)]
pub struct SpillPiece {
    /// `None` only while it is dropped.
    slot: Option<Slot>,
    file: Arc<Shared>,
}

/// Bytes by which the file grows: a few hundred maps for tens of gigabytes, little disk for a short text.
const SEGMENT_BYTES: usize = 64 << 20;
/// Segments begin at multiples of this, which is one of every page size in use.
const PAGE_BYTES: usize = 1 << 16;
/// Pieces begin at cache lines.
const LINE_BYTES: usize = 64;

impl SpillFile {
    /// A file in `folder` for pieces of `piece_bytes`. It is empty until one is asked for.
    ///
    /// # Panics
    /// If `piece_bytes` is 0.
    pub fn create(folder: &Path, piece_bytes: usize) -> Result<SpillFile, FormatError> {
        assert!(piece_bytes > 0, "a piece has bytes");
        let file = tempfile::tempfile_in(folder).map_err(|error| failed(folder, &error))?;
        let state = Mutex::new(State { file, file_bytes: 0, free: Vec::new() });
        Ok(SpillFile(Arc::new(Shared { folder: folder.to_owned(), piece_bytes, state })))
    }

    /// Bytes of a piece.
    pub fn piece_bytes(&self) -> usize {
        self.0.piece_bytes
    }

    /// Bytes that it takes on disk.
    pub fn file_bytes(&self) -> u64 {
        self.0.state().file_bytes
    }

    /// A piece of zeros. Fails if the disk has no room for it.
    pub fn piece(&self) -> Result<SpillPiece, FormatError> {
        let mut state = self.0.state();
        if state.free.is_empty() {
            state.grow(self.0.piece_bytes).map_err(|error| failed(&self.0.folder, &error))?;
        }
        let slot = state.free.pop();
        drop(state);
        let mut piece = SpillPiece { slot, file: self.0.clone() };
        if piece.slot().is_used {
            piece.bytes_mut().fill(0);
        }
        Ok(piece)
    }
}

fn failed(folder: &Path, error: &io::Error) -> FormatError {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or choose another folder"
        }
        _ => "keys and values are to be kept there; choose a folder on a disk that can be written",
    };
    Problem::from_io(error).hint(hint).in_output(folder)
}

impl Shared {
    /// The state is whole between any two statements, so that a thread that panicked left nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a segment of free places.
    fn grow(&mut self, piece_bytes: usize) -> io::Result<()> {
        let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
        let stride = piece_bytes.checked_next_multiple_of(LINE_BYTES).ok_or_else(too_large)?;
        let n_pieces = (SEGMENT_BYTES / stride).max(1);
        let segment_bytes = (n_pieces * stride).checked_next_multiple_of(PAGE_BYTES).ok_or_else(too_large)?;
        let end = self.file_bytes.checked_add(segment_bytes as u64).ok_or_else(too_large)?;
        take_room(&self.file, self.file_bytes, segment_bytes as u64).inspect_err(|_| {
            // A part of the room may have been taken. Where it cannot be given back, the next attempt takes
            // it over.
            let _ = self.file.set_len(self.file_bytes);
        })?;
        let segment = MmapOptions::new().offset(self.file_bytes).len(segment_bytes).map_raw(&self.file)?;
        self.file_bytes = end;
        let segment = Arc::new(segment);
        let slot = |i| Slot { segment: segment.clone(), offset: i * stride, is_used: false };
        self.free.extend((0..n_pieces).rev().map(slot));
        Ok(())
    }
}

/// Makes the file longer, with room on disk for what it then holds.
fn take_room(file: &File, from: u64, n_bytes: u64) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};
        match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), from, n_bytes)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => (),
            result => return Ok(result?),
        }
    }
    write_zeros(file, from, n_bytes)
}

/// What takes room everywhere, if slowly.
fn write_zeros(mut file: &File, from: u64, n_bytes: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(from))?;
    io::copy(&mut io::repeat(0).take(n_bytes), &mut file)?;
    Ok(())
}

impl SpillPiece {
    fn slot(&self) -> &Slot {
        self.slot.as_ref().expect("it is not being dropped")
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        let Slot { segment, offset, .. } = self.slot();
        // SAFETY: `grow` made the slot inside its segment, which stays mapped as long as the slot exists;
        // bytes are initialised, as the file has them. Nobody writes to them meanwhile: they are reachable
        // through this piece alone, which is borrowed, and the file has no name by which another program
        // could.
        unsafe { std::slice::from_raw_parts(segment.as_ptr().add(*offset), self.file.piece_bytes) }
    }

    /// Its bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let Slot { segment, offset, .. } = self.slot();
        // SAFETY: as in `bytes`; slots do not overlap and are never cloned, and this one is borrowed for us
        // alone. The map can be written, and its pages have room on disk.
        unsafe { std::slice::from_raw_parts_mut(segment.as_mut_ptr().add(*offset), self.file.piece_bytes) }
    }
}

impl Drop for SpillPiece {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.file.state().free.push(Slot { is_used: true, ..slot });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn pieces_are_apart_and_lent_again() {
        let dir = tempfile::tempdir().unwrap();
        // 25 million bytes: two pieces of a segment, and a third in the next one.
        let file = SpillFile::create(dir.path(), 25_000_001).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
        assert_eq!(file.file_bytes(), 0);
        let mut pieces: Vec<SpillPiece> = (0..3).map(|_| file.piece().unwrap()).collect();
        for (i, piece) in pieces.iter_mut().enumerate() {
            assert!(piece.bytes().len() == 25_000_001 && piece.bytes().iter().all(|byte| *byte == 0));
            assert_eq!(piece.bytes().as_ptr().align_offset(LINE_BYTES), 0);
            piece.bytes_mut().fill(i as u8 + 1);
        }
        for (i, piece) in pieces.iter().enumerate() {
            assert!(piece.bytes().iter().all(|byte| *byte == i as u8 + 1));
        }
        let file_bytes = file.file_bytes();
        assert!(file_bytes >= 75_000_003);
        let place = pieces[1].bytes().as_ptr();
        pieces.remove(1);
        let again = file.piece().unwrap();
        assert_eq!((again.bytes().as_ptr(), file.file_bytes()), (place, file_bytes));
        assert!(again.bytes().iter().all(|byte| *byte == 0));
        // Pieces outlive the file's other owners.
        drop(file);
        assert_eq!(pieces[1].bytes()[0], 3);
    }

    #[test]
    fn room_is_taken_by_writing_where_there_is_no_other_way() {
        let file = tempfile::tempfile().unwrap();
        write_zeros(&file, 0, 100_000).unwrap();
        write_zeros(&file, 100_000, 5).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_005);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("none");
        let error = SpillFile::create(&none, 64).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.to_string().starts_with(&format!("cannot write `{}`", none.display())), "{error}");
        std::fs::write(&none, b"a file").unwrap();
        assert!(SpillFile::create(&none, 64).is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
            // Some users may write everywhere.
            if File::create(dir.path().join("other")).is_err() {
                let error = SpillFile::create(dir.path(), 64).unwrap_err();
                assert!(error.to_string().contains(&format!("`{}`", dir.path().display())), "{error}");
            }
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
    }

    #[test]
    fn more_than_any_disk_has_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for piece_bytes in [1 << 60, usize::MAX] {
            let file = SpillFile::create(dir.path(), piece_bytes).unwrap();
            let error = file.piece().unwrap_err();
            assert!(error.to_string().starts_with("cannot write"), "{error}");
            assert_eq!(file.file_bytes(), 0);
        }
    }
}
