//! What all streams of OpenAI's API have in common: chunks with the same name, counts, and the end.
//!
//! The last chunk says llama.cpp's `timings`, which are known only after the last answer's end. So a chunk that ends
//! an answer is held back until something follows.

use serde::Serialize;
use serde_json::{Value, json};

use super::FINGERPRINT;
use super::settings::StreamOptions;
use super::usage::{timings, usage};
use crate::{Frames, Identity, Problem, Usage};

/// The frame around chunks.
#[derive(Debug)]
pub(super) struct Stream {
    /// What every chunk begins with, up to its choices.
    head: Vec<u8>,
    counts: Counts,
    so_far: Usage,
    held: Option<Held>,
}

/// A chunk that waits for what follows: a choice, or none, and what it counts.
#[derive(Debug)]
struct Held {
    choice: Option<Value>,
    usage: Option<Value>,
}

/// What chunks count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whether one more chunk, without choices, counts all tokens; the others say that they do not.
    pub at_end: bool,
    /// Whether each chunk counts the tokens until then.
    pub in_each: bool,
}

impl From<&StreamOptions> for Counts {
    fn from(options: &StreamOptions) -> Counts {
        Counts { at_end: options.include_usage, in_each: options.continuous_usage }
    }
}

impl Stream {
    pub(super) fn new(prefix: &str, object: &'static str, identity: Identity, counts: Counts) -> Stream {
        let head = json!({
            "id": format!("{prefix}{}", identity.id),
            "object": object,
            "created": identity.created,
            "model": identity.model,
            "system_fingerprint": FINGERPRINT,
            "choices": [],
        });
        let mut head = head.to_string().into_bytes();
        head.truncate(head.len() - "]}".len());
        Stream { head, counts, so_far: Usage::default(), held: None }
    }

    pub(super) fn counted(&mut self, so_far: &Usage) {
        self.so_far.clone_from(so_far);
    }

    /// Sends a chunk of one answer.
    pub(super) fn send(&mut self, choice: &impl Serialize, out: &mut Frames) {
        self.flush(None, out);
        self.put(Some(choice), self.usage(), None, out);
    }

    /// Sends the chunk that ends an answer, as soon as something follows.
    pub(super) fn send_end(&mut self, choice: Value, out: &mut Frames) {
        self.flush(None, out);
        self.held = Some(Held { choice: Some(choice), usage: self.usage() });
    }

    /// Ends the stream.
    pub(super) fn end(&mut self, all: &Usage, out: &mut Frames) {
        if self.counts.at_end {
            self.flush(None, out);
            self.held = Some(Held { choice: None, usage: Some(usage(all)) });
        }
        self.flush(Some(timings(all)), out);
        out.done();
    }

    /// Breaks the stream off. `[DONE]` does not follow: nothing is done.
    pub(super) fn fail(&mut self, problem: &Problem, out: &mut Frames) {
        self.flush(None, out);
        out.data(&problem.openai());
    }

    fn flush(&mut self, timings: Option<Value>, out: &mut Frames) {
        if let Some(Held { choice, usage }) = self.held.take() {
            self.put(choice.as_ref(), usage, timings, out);
        }
    }

    /// What a chunk of an answer counts.
    fn usage(&self) -> Option<Value> {
        match self.counts {
            Counts { in_each: true, .. } => Some(usage(&self.so_far)),
            Counts { at_end: true, .. } => Some(Value::Null),
            _ => None,
        }
    }

    /// Most chunks differ in the choice alone, and a token is a chunk: what they have in common is written once.
    fn put(
        &self,
        choice: Option<&impl Serialize>,
        usage: Option<Value>,
        timings: Option<Value>,
        out: &mut Frames,
    ) {
        out.data_of(|json| {
            json.raw(&self.head);
            choice.into_iter().for_each(|choice| json.value(choice));
            json.raw(b"]");
            for (name, value) in [("usage", usage), ("timings", timings)] {
                if let Some(value) = value {
                    json.raw(b",");
                    json.value(name);
                    json.raw(b":");
                    json.value(&value);
                }
            }
            json.raw(b"}");
        });
    }
}
