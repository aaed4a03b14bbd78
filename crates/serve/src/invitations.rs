//! Links that let one browser in, once: for whoever starts a server for himself.
//!
//! A link has a code, and the page gets the server's key for it. What opens a browser tells others on the machine its
//! arguments; a code that was used is worth nothing to them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::loading::hex;

/// How long a link may be used.
const TIME: Duration = Duration::from_secs(600);

/// Lets browsers in, from any thread.
#[derive(Clone)]
pub struct Invitations(Arc<Inner>);

struct Inner {
    key: String,
    codes: Mutex<Vec<([u8; 32], Instant)>>,
}

impl Invitations {
    /// A key of its own, and no links yet. Fails if the system has nothing that cannot be guessed.
    pub fn new() -> std::io::Result<Invitations> {
        Ok(Invitations(Arc::new(Inner { key: secret()?, codes: Mutex::default() })))
    }

    /// The key that the server has to take.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// What a link ends with, after the server's address. It may be used once, within ten minutes.
    pub fn invite(&self) -> std::io::Result<String> {
        let code = secret()?;
        let mut codes = self.0.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|(_, since)| since.elapsed() < TIME);
        codes.push((Sha256::digest(code.as_bytes()).into(), Instant::now()));
        Ok(format!("/#code={code}"))
    }

    /// The key, for a code that is good; it is no longer.
    pub(crate) fn take(&self, code: &str) -> Option<String> {
        let hash: [u8; 32] = Sha256::digest(code.as_bytes()).into();
        let mut codes = self.0.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|(_, since)| since.elapsed() < TIME);
        let at = codes.iter().position(|(known, _)| *known == hash)?;
        codes.remove(at);
        Some(self.0.key.clone())
    }
}

/// Its secrets are nobody's business.
impl fmt::Debug for Invitations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invitations")
    }
}

/// 32 hexadecimal digits that cannot be guessed.
fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once() {
        let invitations = Invitations::new().unwrap();
        let codes = [0, 1].map(|_| invitations.invite().unwrap().split_once('=').unwrap().1.to_owned());
        assert_ne!(codes[0], codes[1]);
        assert_eq!(invitations.take("no code"), None);
        for code in &codes {
            assert_eq!(invitations.take(code).as_deref(), Some(invitations.key()));
            assert_eq!(invitations.take(code), None);
        }
        assert!(!format!("{invitations:?}").contains(invitations.key()));
    }
}
