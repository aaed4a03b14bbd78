//! Why data cannot be trained on, in words: which file, which line, what was found there.

use std::path::{Path, PathBuf};

use puna_formats::{FormatError, visible_path};

/// Why data could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The settings do not go together; each fault is one line.
    #[error("the data cannot be prepared so\n  {}", .0.join("\n  "))]
    Config(Vec<String>),
    /// A file could not be opened or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file's content is not what it should be.
    #[error("cannot read `{}`{}\n  {fact}", visible_path(path), place(*line))]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, the row or the sample, from 1; 0 where it is the file as a whole.
        line: u64,
        /// What was found, and what to try.
        fact: String,
    },
    /// Nothing is left to train on.
    #[error("no training data is left\n  {0}")]
    Nothing(String),
    /// It was asked to stop. What is done is kept, and is not done again.
    #[error("interrupted while data was prepared; the same command goes on from there")]
    Interrupted,
}

fn place(line: u64) -> String {
    if line == 0 { String::new() } else { format!(", line {line}") }
}

impl DataError {
    /// What is wrong with a line of a file.
    pub(crate) fn at(path: &Path, line: u64, fact: impl Into<String>) -> DataError {
        DataError::Content { path: path.to_owned(), line, fact: fact.into() }
    }

    /// What is wrong with a file as a whole.
    pub(crate) fn in_file(path: &Path, fact: impl ToString) -> DataError {
        DataError::at(path, 0, fact.to_string())
    }
}
