//! What can go wrong with a file, in words: which file, what was found in it, and what to try.
//!
//! Parsers know the fact but not always the file, so they return a [`Problem`]; the function that opened the
//! file adds its path and makes it a [`FormatError`]. Names that come from a file are shown through
//! [`quote`](crate::quote), so that a hostile name can neither flood the terminal nor send it control
//! characters; so are paths.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::visible::visible_path;

/// The kinds of failure a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file or folder, or a part that belongs to it, is not there.
    NotFound,
    /// The operating system refused to read or write.
    Io,
    /// The disk, or the share of it that the user may fill, is full, or a file may not be as large.
    NoRoom,
    /// The bytes are there but break the rules of their format.
    Malformed,
    /// The bytes are sound, but we do not support what they say.
    Unsupported,
    /// What was found is something other than a model checkpoint.
    NotAModel,
    /// Another program wrote to the file, or made it shorter, while it was used.
    Changed,
}

/// A file that could not be read or written: its path, what was found, and what to try.
#[derive(Debug)]
pub struct FormatError {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// What was being done to the file, as a verb: "read" or "write".
    pub doing: &'static str,
    /// The file or folder concerned.
    pub path: PathBuf,
    /// What was found.
    pub fact: String,
    /// What to try, when we have an idea.
    pub hint: Option<String>,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} `{}`\n  {}", self.doing, visible_path(&self.path), self.fact)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FormatError {}

impl FormatError {
    /// An error of the operating system while reading `path`.
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> FormatError {
        Problem::from_io(error).in_file(path)
    }
}

/// A failure whose file is not known yet.
#[derive(Debug)]
pub(crate) struct Problem {
    pub kind: ErrorKind,
    pub fact: String,
    pub hint: Option<String>,
}

impl Problem {
    fn new(kind: ErrorKind, fact: impl Into<String>) -> Problem {
        Problem { kind, fact: fact.into(), hint: None }
    }

    pub fn not_found(fact: impl Into<String>) -> Problem {
        Problem::new(ErrorKind::NotFound, fact)
    }

    pub fn malformed(fact: impl Into<String>) -> Problem {
        Problem::new(ErrorKind::Malformed, fact)
    }

    pub fn unsupported(fact: impl Into<String>) -> Problem {
        Problem::new(ErrorKind::Unsupported, fact)
    }

    pub fn not_a_model(fact: impl Into<String>) -> Problem {
        Problem::new(ErrorKind::NotAModel, fact)
    }

    pub fn changed(fact: impl Into<String>) -> Problem {
        Problem::new(ErrorKind::Changed, fact)
    }

    pub fn from_io(error: &std::io::Error) -> Problem {
        match error.kind() {
            std::io::ErrorKind::NotFound => Problem::not_found("there is no such file or folder"),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Problem::new(ErrorKind::NoRoom, error.to_string())
            }
            std::io::ErrorKind::FileTooLarge => Problem::new(ErrorKind::NoRoom, error.to_string())
                .hint("the system lets a file have no more bytes; see `ulimit -f`, or choose another disk"),
            _ => Problem::new(ErrorKind::Io, error.to_string()),
        }
    }

    /// Adds what to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Says which thing inside the file the fact is about.
    pub fn about(mut self, thing: impl fmt::Display) -> Problem {
        self.fact = format!("{thing}: {}", self.fact);
        self
    }

    /// The finished error, for a file that was being read.
    pub fn in_file(self, path: &Path) -> FormatError {
        let Problem { kind, fact, hint } = self;
        FormatError { kind, doing: "read", path: path.to_owned(), fact, hint }
    }

    /// The finished error, for a file that was being written.
    pub fn in_output(self, path: &Path) -> FormatError {
        FormatError { doing: "write", ..self.in_file(path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_path_fact_and_hint() {
        let error = Problem::malformed("is short").about("tensor `a`").hint("download it again");
        let text = error.in_file(Path::new("m.gguf")).to_string();
        assert_eq!(text, "cannot read `m.gguf`\n  tensor `a`: is short\n  download it again");
    }
}
