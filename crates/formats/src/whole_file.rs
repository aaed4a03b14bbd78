//! Reading a file as a whole, with a limit for what comes and not for what the system says: a device, a pipe,
//! or a file that grows, may have more than it tells, or no end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{FormatError, Problem};
use crate::file_kind::irregular;

/// All bytes of a source that has at most `max_bytes`; [`io::ErrorKind::FileTooLarge`] if it has more, and
/// [`io::ErrorKind::OutOfMemory`] if memory cannot hold them.
pub fn read_at_most(source: impl Read, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Grows by asking for memory, and so fails with an error where there is none.
    source.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() <= max_bytes {
        return Ok(bytes);
    }
    let fact = format!("it has more than {max_bytes} bytes, the most that is read");
    Err(io::Error::new(io::ErrorKind::FileTooLarge, fact))
}

/// All bytes of a regular file that is not empty and has at most `max_bytes`.
pub fn read_file(path: &Path, max_bytes: usize) -> Result<Vec<u8>, FormatError> {
    let file = open_regular(path)?;
    let bytes = read_at_most(file, max_bytes).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => {
            let fact = format!("has more than {max_bytes} bytes, the limit for such a file");
            Problem::malformed(fact).in_file(path)
        }
        _ => FormatError::io(path, &error),
    })?;
    if bytes.is_empty() { Err(empty(path)) } else { Ok(bytes) }
}

/// Opens a regular file, and nothing else.
pub(crate) fn open_regular(path: &Path) -> Result<File, FormatError> {
    let fail = |error: io::Error| FormatError::io(path, &error);
    // Asked before opening: opening a named pipe would wait for a writer.
    let kind = std::fs::metadata(path).map_err(fail)?.file_type();
    match irregular(kind) {
        None => File::open(path).map_err(fail),
        Some(fact) => Err(Problem::not_a_model(fact).in_file(path)),
    }
}

/// An empty file, where none can be.
pub(crate) fn empty(path: &Path) -> FormatError {
    let problem = Problem::malformed("is empty (0 bytes)");
    problem.hint("a download probably failed; fetch the file again").in_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_limit_holds_for_what_comes() {
        assert_eq!(read_at_most(&b"abc"[..], 3).unwrap(), b"abc");
        let error = read_at_most(io::repeat(1), 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("more than 1000 bytes"), "{error}");
    }

    #[test]
    fn files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.json");
        std::fs::write(&path, b"{}").unwrap();
        assert_eq!(read_file(&path, 2).unwrap(), b"{}");
        assert!(read_file(&path, 1).unwrap_err().fact.contains("limit"));
        std::fs::write(&path, b"").unwrap();
        assert!(read_file(&path, 1).unwrap_err().fact.contains("empty"));
        assert!(read_file(dir.path(), 1).unwrap_err().fact.contains("folder"));
        assert_eq!(read_file(&dir.path().join("none"), 1).unwrap_err().kind, ErrorKind::NotFound);
        #[cfg(unix)]
        assert!(read_file(Path::new("/dev/null"), 1).unwrap_err().fact.contains("device"));
    }
}
