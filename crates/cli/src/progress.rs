//! A line on the terminal that says how far something is. Nothing at all where standard error is no terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Work that is finished sooner than this shows nothing.
const PATIENCE: Duration = Duration::from_millis(300);

/// Between two updates.
const INTERVAL: Duration = Duration::from_millis(100);

/// One line of progress, gone when it is dropped.
pub struct Progress {
    label: &'static str,
    shows: bool,
    next: Instant,
    is_drawn: bool,
}

impl Progress {
    /// Progress of `label`, for example `reading the prompt`.
    pub fn new(label: &'static str) -> Progress {
        let shows = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Progress { label, shows, next: Instant::now() + PATIENCE, is_drawn: false }
    }

    /// Shows that `n_done` of `n_total` are done.
    pub fn show(&mut self, n_done: usize, n_total: usize) {
        if !self.shows || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + INTERVAL;
        self.is_drawn = true;
        let percent = 100 * n_done / n_total.max(1);
        let _ = write!(io::stderr(), "\r\x1b[K{} {n_done}/{n_total} ({percent} %)", self.label);
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
