//! Why a template could not be read or rendered.

/// A template failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no template.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line, from 1.
        line: u32,
        /// What was found.
        what: String,
    },
    /// The template refused its input by `raise_exception`.
    #[error("{0}")]
    Raised(String),
    /// An operation that the values do not allow.
    #[error("line {line}: {what}")]
    Failed {
        /// The line of the statement, from 1.
        line: u32,
        /// What was wrong.
        what: String,
    },
    /// The template needs more than it may have.
    #[error("{0}")]
    Limit(String),
    /// The template nests more deeply than the stack it runs on allows.
    #[error("it nests more than {0} levels deep while it runs")]
    Deep(usize),
}

impl Error {
    /// A failure whose line the statement around it adds.
    pub(crate) fn failed(what: impl Into<String>) -> Error {
        Error::Failed { line: 0, what: what.into() }
    }

    pub(crate) fn at(self, line: u32) -> Error {
        match self {
            Error::Failed { line: 0, what } => Error::Failed { line, what },
            other => other,
        }
    }
}
