//! Frames of a stream: server-sent events, or lines of JSON.

use serde::Serialize;

use crate::{Event, Problem, Usage};

/// Says what happens in the words of an API, frame by frame.
pub trait Encode: Send {
    /// Before anything happened.
    fn begin(&mut self, out: &mut Frames);
    /// So much has been counted until now, and until what [`Encode::event`] says next. A server that knows calls it
    /// before each event, for clients that want to see the counts grow.
    fn counted(&mut self, _so_far: &Usage) {}
    /// Something happened.
    fn event(&mut self, event: &Event, out: &mut Frames);
    /// All answers are over.
    fn end(&mut self, usage: &Usage, out: &mut Frames);
    /// There will be no more.
    fn fail(&mut self, problem: &Problem, out: &mut Frames);
    /// Nothing happened for a while, and the client shall know that we are there. Not before [`Encode::begin`].
    fn keep_alive(&mut self, out: &mut Frames) {
        out.comment("still reading");
    }
}

/// Bytes of frames.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// The bytes since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// `data: JSON`, and an empty line.
    pub fn data(&mut self, value: &impl Serialize) {
        self.data_of(|json| json.value(value));
    }

    /// The same of JSON in parts.
    pub(crate) fn data_of(&mut self, write: impl FnOnce(&mut Json)) {
        self.bytes.extend_from_slice(b"data: ");
        self.json(write);
        self.bytes.extend_from_slice(b"\n\n");
    }

    /// The same with a name.
    pub fn named(&mut self, name: &str, value: &impl Serialize) {
        self.bytes.extend_from_slice(b"event: ");
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'\n');
        self.data(value);
    }

    /// The last frame of OpenAI's streams.
    pub fn done(&mut self) {
        self.bytes.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// A line that clients pass over.
    pub fn comment(&mut self, text: &str) {
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\n\n");
    }

    /// A line of JSON.
    pub fn line(&mut self, value: &impl Serialize) {
        self.json(|json| json.value(value));
        self.bytes.push(b'\n');
    }

    /// JSON on one line. Some clients end lines at more than a line feed: these separators are escaped.
    fn json(&mut self, write: impl FnOnce(&mut Json)) {
        let start = self.bytes.len();
        write(&mut Json(&mut self.bytes));
        if self.bytes[start..].is_ascii() {
            return;
        }
        let written = self.bytes.split_off(start);
        let text = String::from_utf8_lossy(&written); // It is UTF-8: JSON's writer makes no other.
        let mut rest = &*text;
        while let Some(at) = rest.find(['\u{85}', '\u{2028}', '\u{2029}']) {
            self.bytes.extend_from_slice(&rest.as_bytes()[..at]);
            let separator = rest[at..].chars().next().unwrap_or_default();
            self.bytes.extend_from_slice(format!("\\u{:04x}", separator as u32).as_bytes());
            rest = &rest[at + separator.len_utf8()..];
        }
        self.bytes.extend_from_slice(rest.as_bytes());
    }
}

/// JSON while it is written.
pub(crate) struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    /// Bytes that are JSON already, or a part of it.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A value.
    pub fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        let written = serde_json::to_writer(&mut *self.0, value);
        debug_assert!(written.is_ok(), "memory takes all, and our keys are texts");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_frame_is_one_line() {
        let mut frames = Frames::default();
        frames.named("x", &json!({"text": "a\u{2028}b\u{85}c\u{2029}\nd"}));
        let text = String::from_utf8(frames.take()).unwrap();
        assert_eq!(text, "event: x\ndata: {\"text\":\"a\\u2028b\\u0085c\\u2029\\nd\"}\n\n");
        let value: Value =
            serde_json::from_str(text.lines().nth(1).unwrap().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(value, json!({"text": "a\u{2028}b\u{85}c\u{2029}\nd"}));
        assert!(frames.is_empty());
    }
}
