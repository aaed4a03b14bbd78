//! Ctrl-C: the first one asks, the second one insists.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// Whether Ctrl-C was pressed.
#[derive(Clone)]
pub struct Interrupt {
    pressed: Arc<AtomicBool>,
}

impl Interrupt {
    /// Catches Ctrl-C from now on. Pressed again before [`Interrupt::clear`], it ends the program.
    pub fn catch() -> Result<Interrupt, Failure> {
        let interrupt = Interrupt { pressed: Arc::new(AtomicBool::new(false)) };
        let pressed = interrupt.pressed.clone();
        let handler = move || {
            if pressed.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(handler)
            .map_err(|error| Failure::Failed(format!("cannot catch Ctrl-C\n  {error}")))?;
        Ok(interrupt)
    }

    /// Whether it was pressed.
    pub fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::SeqCst)
    }

    /// Forgets that it was pressed.
    pub fn clear(&self) {
        self.pressed.store(false, Ordering::SeqCst);
    }
}
