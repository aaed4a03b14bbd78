//! Ctrl-C: the first one asks, the second one insists; in a chat, where a conversation would be lost, each
//! one only asks.
//!
//! What it means, and whether it was pressed, is in a `static`, since the signal is for the process.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

/// What Ctrl-C does.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Meaning {
    /// Ends the program at once: a command does not look at [`Interrupt`].
    Ends,
    /// Asks; pressed again before that is cleared, ends the program.
    Asks,
    /// Asks, however often.
    OnlyAsks,
}

static MEANING: AtomicU8 = AtomicU8::new(Meaning::Ends as u8);
static IS_PRESSED: AtomicBool = AtomicBool::new(false);
/// Whether being told to end (SIGTERM) is as if Ctrl-C were pressed.
static TERM_ASKS: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C was pressed.
#[derive(Clone)]
pub struct Interrupt;

impl Interrupt {
    /// Catches Ctrl-C from now on. Pressed again before [`Interrupt::clear`], it ends the program.
    pub fn catch() -> Interrupt {
        MEANING.store(Meaning::Asks as u8, SeqCst);
        Interrupt
    }

    /// From now on being told to end is the same.
    pub fn catch_term(&self) {
        TERM_ASKS.store(true, SeqCst);
    }

    /// From now on it never ends the program.
    pub fn only_asks(&self) {
        MEANING.store(Meaning::OnlyAsks as u8, SeqCst);
    }

    /// Whether it was pressed.
    pub fn is_pressed(&self) -> bool {
        IS_PRESSED.load(SeqCst)
    }

    /// Forgets that it was pressed.
    pub fn clear(&self) {
        IS_PRESSED.store(false, SeqCst);
    }
}

/// The program is told to end: whether it does so at once.
#[cfg_attr(not(unix), allow(dead_code))]
pub fn term() -> bool {
    if TERM_ASKS.load(SeqCst) { press() } else { true }
}

/// Ctrl-C is pressed: whether the program ends.
#[cfg_attr(not(unix), allow(dead_code))]
pub fn press() -> bool {
    let was_pressed = IS_PRESSED.swap(true, SeqCst);
    match MEANING.load(SeqCst) {
        meaning if meaning == Meaning::Ends as u8 => true,
        meaning if meaning == Meaning::Asks as u8 => was_pressed,
        _ => false,
    }
}
