//! Text and JSON that come from files or standard input, `-`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use puna_formats::read_at_most;
use serde_json::Value;

use crate::failure::Failure;

/// The most bytes read from a file or from standard input.
const MAX_INPUT_BYTES: usize = 1 << 30;

/// The name of a source in messages.
fn title(path: &Path) -> String {
    if is_stdin(path) { "standard input".into() } else { format!("`{}`", path.display()) }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The bytes of a file (which may be a pipe), or of standard input.
fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |fact: String| Failure::Failed(format!("cannot read {}\n  {fact}", title(path)));
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => fail("there is no such file".into()),
        io::ErrorKind::IsADirectory => fail("is a folder, not a file".into()),
        _ => fail(error.to_string()),
    };
    let source: Box<dyn Read> = if is_stdin(path) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(explain)?)
    };
    read_at_most(source, MAX_INPUT_BYTES).map_err(explain)
}

/// The text of a file, or of standard input.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read_bytes(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Failed(format!("cannot read {} as text\n  byte {at} is not valid UTF-8", title(path)))
    })
}

/// The prompt on standard input. The newline that ends its last line is not part of it.
pub fn read_prompt() -> Result<String, Failure> {
    let mut text = read_text(Path::new("-"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// The JSON in a file, or on standard input.
pub fn read_json(path: &Path) -> Result<Value, Failure> {
    let bytes = read_bytes(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::Failed(format!("cannot read {} as JSON\n  {error}", title(path))))
}

/// Token ids: a JSON array of them.
pub fn read_ids(path: &Path) -> Result<Vec<u32>, Failure> {
    let value = read_json(path)?;
    let fail = |fact: String| Failure::Failed(format!("cannot read {} as token ids\n  {fact}", title(path)));
    let Value::Array(list) = value else {
        return Err(fail("expected a JSON array of whole numbers, like [1, 403, 407]".into()));
    };
    let id = |(i, value): (usize, &Value)| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| {
            fail(format!("element {i} is {value}; expected a whole number from 0 to {}", u32::MAX))
        })
    };
    list.iter().enumerate().map(id).collect()
}
