//! A line on the terminal that says how far something is. Nothing at all where standard error is no terminal.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::units;

/// Work that is finished sooner than this shows nothing.
const PATIENCE: Duration = Duration::from_millis(300);

/// Between two updates.
const INTERVAL: Duration = Duration::from_millis(100);

/// Whether people see what is drawn.
fn shows() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

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
        Progress { label, shows: shows(), next: Instant::now() + PATIENCE, is_drawn: false }
    }

    /// Shows that `n_done` of `n_total` are done.
    pub fn show(&mut self, n_done: usize, n_total: usize) {
        self.say(|| format!("{n_done}/{n_total} ({} %)", 100 * n_done / n_total.max(1)));
    }

    /// Shows how far it is in words, if it is time to.
    pub fn say(&mut self, how_far: impl FnOnce() -> String) {
        if !self.shows || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + INTERVAL;
        self.is_drawn = true;
        let _ = write!(io::stderr(), "\r\x1b[K{} {}", self.label, how_far());
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

/// How far files are that come, from any thread: bytes, speed, and the time that is left.
pub struct Transfer {
    n_bytes: AtomicI64,
    n_total: AtomicU64,
    start: Instant,
    drawing: Mutex<Drawing>,
}

struct Drawing {
    shows: bool,
    is_drawn: bool,
    /// When it was drawn, and the bytes that were there, some times back.
    before: VecDeque<(Instant, i64)>,
}

impl Transfer {
    /// One of which nothing is there.
    pub fn new() -> Transfer {
        let drawing = Drawing { shows: shows(), is_drawn: false, before: VecDeque::new() };
        Transfer {
            n_bytes: AtomicI64::new(0),
            n_total: AtomicU64::new(0),
            start: Instant::now(),
            drawing: Mutex::new(drawing),
        }
    }

    /// How many bytes there will be; 0 where nobody knows.
    pub fn set_total(&self, n_total: u64) {
        self.n_total.store(n_total, Relaxed);
    }

    /// More are there, or fewer.
    pub fn add(&self, n: i64) {
        self.n_bytes.fetch_add(n, Relaxed);
    }

    /// Shows how far it is, not too often.
    pub fn draw(&self) {
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_soon = drawing.before.back().is_some_and(|(last, _)| now - *last < INTERVAL);
        if !drawing.shows || is_soon || now - self.start < PATIENCE {
            return;
        }
        // The speed of the last few seconds.
        const KEPT: usize = 50;
        let n_bytes = self.n_bytes.load(Relaxed);
        drawing.before.push_back((now, n_bytes));
        if drawing.before.len() > KEPT {
            drawing.before.pop_front();
        }
        let (first, n_first) = drawing.before[0];
        let seconds = (now - first).as_secs_f64();
        let speed = if seconds > 0.0 { (n_bytes - n_first).max(0) as f64 / seconds } else { 0.0 };
        let n_total = self.n_total.load(Relaxed);
        let n_bytes = u64::try_from(n_bytes).unwrap_or(0);
        let mut line = units::bytes(n_bytes);
        if n_total >= n_bytes && n_total > 0 {
            line += &format!(" of {} ({} %)", units::bytes(n_total), 100 * n_bytes / n_total);
        }
        if speed > 0.0 {
            line += &format!(", {}/s", units::bytes(speed as u64));
            if n_total > n_bytes {
                let left = ((n_total - n_bytes) as f64 / speed) as u64;
                line += &format!(", {}:{:02} left", left / 60, left % 60);
            }
        }
        drawing.is_drawn = true;
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// Takes the line away.
    pub fn clear(&self) {
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut drawing.is_drawn) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
