//! Text and JSON that come from files or standard input, `-`.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use puna::{Conversation, parse_conversation};
use puna_formats::{decode_text, read_at_most, visible_path};
use serde_json::Value;

use crate::failure::Failure;

/// The most bytes read from a file or from standard input.
const MAX_INPUT_BYTES: usize = 1 << 30;

/// The name of a source in messages.
pub fn title(path: &Path) -> String {
    if is_stdin(path) { "standard input".into() } else { format!("`{}`", visible_path(path)) }
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

/// The text of a file, or of standard input: UTF-8, or UTF-16 with a byte order mark, which is not a part of
/// it.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = read_bytes(path)?;
    let text = decode_text(&bytes).map_err(|fact| fail_as(path, "text", &fact))?;
    if let Cow::Owned(text) = text {
        return Ok(text);
    }
    // UTF-8: the text is the end of the bytes, after the byte order mark if there is one.
    let mark = bytes.len() - text.len();
    let text = String::from_utf8(bytes).map_err(|_| fail_as(path, "text", "it is not valid UTF-8"))?;
    Ok(if mark > 0 { text[mark..].to_owned() } else { text })
}

fn fail_as(path: &Path, what: &str, fact: &str) -> Failure {
    Failure::Failed(format!("cannot read {} as {what}\n  {fact}", title(path)))
}

/// The prompt on standard input.
pub fn read_prompt() -> Result<String, Failure> {
    read_prompt_file(Path::new("-"))
}

/// The prompt in a file. The newline that ends its last line is not part of it.
pub fn read_prompt_file(path: &Path) -> Result<String, Failure> {
    let mut text = read_text(path)?;
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
    let text = decode_text(&bytes).map_err(|fact| fail_as(path, "JSON", &fact))?;
    if text.trim().is_empty() {
        return Err(fail_as(path, "JSON", "it holds no text"));
    }
    serde_json::from_str(&text).map_err(|error| fail_as(path, "JSON", &error.to_string()))
}

/// A conversation in JSON.
pub fn read_conversation(path: &Path) -> Result<Conversation, Failure> {
    let bytes = read_bytes(path)?;
    let text = decode_text(&bytes).map_err(|fact| fail_as(path, "JSON", &fact))?;
    if text.trim().is_empty() {
        return Err(fail_as(path, "messages", "it holds no text"));
    }
    parse_conversation(&text).map_err(|fact| fail_as(path, "messages", &fact))
}

/// Refuses to read two things from standard input.
pub fn only_one_is_stdin(options: [(&str, Option<&Path>); 2]) -> Result<(), Failure> {
    if !options.iter().all(|(_, path)| path.is_some_and(is_stdin)) {
        return Ok(());
    }
    let [(first, _), (second, _)] = options;
    let fact = format!("standard input can be {first} or {second}, not both");
    Err(Failure::Usage(format!("{fact}\n  give the other one as a file")))
}

/// Token ids: a JSON array of them.
pub fn read_ids(path: &Path) -> Result<Vec<u32>, Failure> {
    let value = read_json(path)?;
    let fail = |fact: String| fail_as(path, "token ids", &fact);
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
