//! Names that nobody else has, and the time.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    state: RandomState,
    n: AtomicU64,
}

impl Names {
    /// A name of 24 letters and digits that was not given out before.
    pub fn next(&self) -> String {
        let n = self.n.fetch_add(1, Ordering::Relaxed);
        // Nobody can guess one from another.
        format!("{:016x}{:08x}", self.state.hash_one(n), n as u32)
    }
}

/// Seconds since 1970.
pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
