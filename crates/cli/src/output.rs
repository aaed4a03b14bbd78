//! Standard output, where a closed pipe is an ordinary end and never a panic; and messages on standard error.
//!
//! What is printed holds names, paths and texts of others. A terminal never gets their control characters; a
//! file or a pipe gets the text as it is.

use std::io::{self, BufWriter, IsTerminal, Write};

use puna_formats::visible_lines;
use serde::Serialize;

use crate::failure::Failure;
use crate::shown::{message_lines, without_controls};

/// Writes and flushes text. On a terminal its control characters are shown as escapes, but for newlines and
/// tabs.
pub fn print(text: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() { print_as_it_is(&visible_lines(text)) } else { print_as_it_is(text) }
}

/// Writes and flushes text that is fit for a terminal, or has controls of our own.
pub fn print_as_it_is(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes what a model says, or what it is told. A terminal shows one sign for each control character, which
/// disturbs a text less than escapes.
pub fn print_answer(text: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() { print_as_it_is(&without_controls(text)) } else { print_as_it_is(text) }
}

/// Says something on standard error that is not an error.
pub fn note(text: &str) {
    // If this fails, the answer is still worth having.
    let _ = writeln!(io::stderr(), "note: {}", message_lines(text));
}

/// Writes JSON on a line of its own.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return print(&(serde_json::to_string(value).map_err(io::Error::from)? + "\n"));
    }
    let mut stdout = BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut stdout, value).map_err(io::Error::from)?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}
