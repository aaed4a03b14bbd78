//! Why something was not pulled.

use std::fmt;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullErrorKind {
    /// There is nothing of that name, or it may not be seen.
    NotFound,
    /// It is there, and whoever asks has no access.
    NoAccess,
    /// The network is not to be used.
    Offline,
    /// The network or the other side failed, again and again.
    Network,
    /// What came is not what was announced.
    Content,
    /// It is there, and nothing that Puna can use.
    Unusable,
    /// The disk is full, or does not take files.
    Disk,
    /// All models together would be larger than they may be.
    Full,
    /// Another program is pulling it.
    Busy,
}

/// Why something was not pulled: what was being done, what was found, and what to try.
#[derive(Clone, Debug)]
pub struct PullError {
    /// What kind it is.
    pub kind: PullErrorKind,
    /// One line, or several of which the later ones say what to try.
    pub message: String,
}

impl PullError {
    pub(crate) fn new(kind: PullErrorKind, message: impl Into<String>) -> PullError {
        PullError { kind, message: message.into() }
    }

    pub(crate) fn disk(doing: &str, path: &std::path::Path, error: &std::io::Error) -> PullError {
        PullError::new(PullErrorKind::Disk, format!("cannot {doing} `{}`\n  {error}", path.display()))
    }
}

impl fmt::Display for PullError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PullError {}
