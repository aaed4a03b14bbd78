//! What a template may use: levels of nesting, steps, and bytes for all values alive at once.

use std::cell::Cell;
use std::rc::Rc;

use crate::error::Error;

/// Bounds on a template and on one rendering of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a template's text.
    pub template_bytes: usize,
    /// Statements executed, expressions evaluated, and work within one of them in proportion.
    pub steps: u64,
    /// Bytes of all values that a rendering has made and not yet let go, its output among them.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { template_bytes: 1 << 20, steps: 20_000_000, bytes: 256 << 20 }
    }
}

/// Levels of brackets, operators and blocks within each other in a template's text.
pub(crate) const MAX_NESTING: usize = 100;

/// Levels of lists and dictionaries within each other.
pub(crate) const MAX_VALUE_DEPTH: usize = 200;

/// Bytes that are read or written in one step.
const BYTES_PER_STEP: usize = 64;

/// What a rendering has left.
#[derive(Debug)]
pub(crate) struct Meter {
    steps: Cell<u64>,
    bytes: Cell<usize>,
    /// Bytes written for which no step was taken yet.
    bytes_uncounted: Cell<usize>,
    limits: Limits,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Rc<Meter> {
        Rc::new(Meter {
            steps: Cell::new(limits.steps),
            bytes: Cell::new(limits.bytes),
            bytes_uncounted: Cell::new(0),
            limits,
        })
    }

    /// Takes `n` steps.
    pub(crate) fn step(&self, n: usize) -> Result<(), Error> {
        let left = self.steps.get().checked_sub(n as u64);
        self.steps.set(left.ok_or_else(|| self.too_long())?);
        Ok(())
    }

    fn too_long(&self) -> Error {
        Error::Limit(format!("it takes more than {} steps", self.limits.steps))
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let left = self.bytes.get().checked_sub(bytes).ok_or_else(|| {
            Error::Limit(format!("its values take more than {} MiB", self.limits.bytes >> 20))
        })?;
        self.bytes.set(left);
        self.written(bytes)
    }

    /// Takes the steps for writing so many bytes, one by one no less than at once.
    pub(crate) fn written(&self, bytes: usize) -> Result<(), Error> {
        let written = self.bytes_uncounted.get().saturating_add(bytes);
        self.bytes_uncounted.set(written % BYTES_PER_STEP);
        self.step(written / BYTES_PER_STEP)
    }

    /// Takes the steps for reading so many bytes.
    pub(crate) fn read(&self, bytes: usize) -> Result<(), Error> {
        self.step(bytes / BYTES_PER_STEP)
    }
}

/// Bytes that a value holds, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    meter: Rc<Meter>,
    bytes: usize,
}

impl Charge {
    /// Takes `bytes` before they are allocated.
    pub(crate) fn new(meter: &Rc<Meter>, bytes: usize) -> Result<Charge, Error> {
        meter.take(bytes)?;
        Ok(Charge { meter: meter.clone(), bytes })
    }

    /// Takes `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.meter.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    pub(crate) fn meter(&self) -> &Rc<Meter> {
        &self.meter
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.bytes.set(self.meter.bytes.get() + self.bytes);
    }
}
