//! How it is known that a file is right.

use std::fmt;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What somebody says of a file's content, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// SHA-256 of its bytes.
    Sha256(String),
    /// SHA-1 of its length and bytes, as Git names a file.
    GitBlob(String),
    /// MD5 of its bytes.
    Md5(String),
    /// Nobody says.
    Unknown,
}

impl Check {
    /// Whether a file with this hash of the same kind is right.
    pub fn is_met_by(&self, found: &str) -> bool {
        match self {
            Check::Sha256(want) | Check::GitBlob(want) | Check::Md5(want) => want.eq_ignore_ascii_case(found),
            Check::Unknown => true,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Sha256(hash) | Check::GitBlob(hash) | Check::Md5(hash) => hash,
            Check::Unknown => "none",
        })
    }
}

/// Takes a file's bytes in their order.
pub(crate) struct Hasher {
    sha256: Sha256,
    other: Option<Other>,
}

enum Other {
    Git(Sha1),
    Md5(Md5),
}

impl Hasher {
    /// For a file of so many bytes; Git's hash needs to know.
    pub fn new(check: &Check, n_bytes: Option<u64>) -> Hasher {
        let other = match check {
            Check::GitBlob(_) => {
                let mut hash = Sha1::new();
                hash.update(format!("blob {}\0", n_bytes.unwrap_or(0)));
                Some(Other::Git(hash))
            }
            Check::Md5(_) => Some(Other::Md5(Md5::new())),
            Check::Sha256(_) | Check::Unknown => None,
        };
        Hasher { sha256: Sha256::new(), other }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        match &mut self.other {
            Some(Other::Git(hash)) => hash.update(bytes),
            Some(Other::Md5(hash)) => hash.update(bytes),
            None => {}
        }
    }

    /// The hash of the check's kind, and SHA-256.
    pub fn finish(self) -> (String, String) {
        let sha256 = hex(&self.sha256.finalize());
        let own = match self.other {
            Some(Other::Git(hash)) => hex(&hash.finalize()),
            Some(Other::Md5(hash)) => hex(&hash.finalize()),
            None => sha256.clone(),
        };
        (own, sha256)
    }
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
