//! Where something of a configuration stands.

use std::fmt;

/// Where something of a configuration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This line of its file, from 1.
    Line(usize),
    /// An argument beside the file.
    Argument,
    /// Nowhere: it is not given.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Argument => write!(f, "argument"),
            Place::Nowhere => write!(f, "not given"),
        }
    }
}
