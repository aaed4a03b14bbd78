//! Standard output, where a closed pipe is an ordinary end and never a panic; and notes on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::failure::Failure;

/// Writes and flushes text.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes what a model says. A terminal is spared control characters, which could do anything to it; a file
/// or a pipe gets the text as it is.
pub fn print_answer(text: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() { print(&shown_safely(text)) } else { print(text) }
}

/// A text without what could do something to a terminal.
pub fn shown_safely(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_bad) { text.replace(is_bad, "\u{FFFD}").into() } else { text.into() }
}

/// Says something on standard error that is not an error.
pub fn note(text: &str) {
    // If this fails, the answer is still worth having.
    let _ = writeln!(io::stderr(), "note: {text}");
}

/// Writes a JSON value on a line of its own.
pub fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_spared() {
        assert_eq!(shown_safely("a\tb\né"), "a\tb\né");
        assert_eq!(shown_safely("\u{1b}[2Jx\r\u{9b}"), "\u{FFFD}[2Jx\u{FFFD}\u{FFFD}");
    }
}
