//! Standard output, where a closed pipe is an ordinary end and never a panic.

use std::io::{self, Write};

use serde_json::Value;

use crate::failure::Failure;

/// Writes and flushes text.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes a JSON value on a line of its own.
pub fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}
