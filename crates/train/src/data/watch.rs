//! How far preparing is, told now and then, and whether it is to stop.

use std::path::Path;
use std::time::{Duration, Instant};

use super::error::DataError;
use super::report::{Counts, DataProgress};

/// How far it is, told now and then.
pub(crate) struct Watch<'w> {
    progress: &'w mut dyn FnMut(&DataProgress),
    interrupt: &'w dyn Fn() -> bool,
    begin: Instant,
    told: Option<Instant>,
    /// Bytes of all files.
    pub bytes_all: u64,
    /// Bytes of sources that are done.
    bytes_done: u64,
    /// Bytes that were done before.
    bytes_before: u64,
    n_samples: u64,
    n_tokens: u64,
}

/// Time between two tellings.
const BETWEEN: Duration = Duration::from_millis(200);

impl<'w> Watch<'w> {
    pub fn new(progress: &'w mut dyn FnMut(&DataProgress), interrupt: &'w dyn Fn() -> bool) -> Watch<'w> {
        Watch {
            progress,
            interrupt,
            begin: Instant::now(),
            told: None,
            bytes_all: 0,
            bytes_done: 0,
            bytes_before: 0,
            n_samples: 0,
            n_tokens: 0,
        }
    }

    /// Bytes that need not be read.
    pub fn skip(&mut self, n: u64) {
        self.bytes_done += n;
        self.bytes_before += n;
    }

    /// Tells how far the source is; an error where it is to stop.
    pub fn look(&mut self, path: &Path, bytes_read: u64, counts: &Counts) -> Result<(), DataError> {
        if (self.interrupt)() {
            return Err(DataError::Interrupted);
        }
        if self.told.is_some_and(|told| told.elapsed() < BETWEEN) {
            return Ok(());
        }
        self.told = Some(Instant::now());
        let bytes_done = (self.bytes_done + bytes_read).min(self.bytes_all);
        let elapsed = self.begin.elapsed();
        let new = bytes_done.saturating_sub(self.bytes_before);
        let left = (self.bytes_all - bytes_done) as f64;
        let time_left = (new > 0).then(|| elapsed.mul_f64((left / new as f64).min(1e9)));
        (self.progress)(&DataProgress {
            path: path.to_owned(),
            bytes_done,
            bytes_all: self.bytes_all,
            n_samples: self.n_samples + counts.n_kept,
            n_tokens: self.n_tokens + counts.n_tokens,
            elapsed,
            time_left,
        });
        Ok(())
    }

    /// A source is done.
    pub fn done(&mut self, n_bytes: u64, counts: &Counts) {
        self.bytes_done += n_bytes;
        self.n_samples += counts.n_kept;
        self.n_tokens += counts.n_tokens;
    }
}
