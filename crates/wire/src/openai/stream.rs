//! What all streams of OpenAI's API have in common: chunks with the same name, counts, and the end.
//!
//! The last chunk says llama.cpp's `timings`, which are known only after the last answer's end. So a chunk that ends
//! an answer is held back until something follows.

use serde_json::{Value, json};

use super::FINGERPRINT;
use super::settings::StreamOptions;
use super::usage::{timings, usage};
use crate::{Frames, Identity, Problem, Usage};

/// The frame around chunks.
#[derive(Debug)]
pub(super) struct Stream {
    id: String,
    object: &'static str,
    identity: Identity,
    counts: Counts,
    so_far: Usage,
    held: Option<Value>,
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
        let id = format!("{prefix}{}", identity.id);
        Stream { id, object, identity, counts, so_far: Usage::default(), held: None }
    }

    pub(super) fn counted(&mut self, so_far: &Usage) {
        self.so_far.clone_from(so_far);
    }

    /// Sends a chunk of one answer.
    pub(super) fn send(&mut self, choice: Value, out: &mut Frames) {
        self.flush(out);
        out.data(&self.chunk(json!([choice])));
    }

    /// Sends the chunk that ends an answer, as soon as something follows.
    pub(super) fn send_end(&mut self, choice: Value, out: &mut Frames) {
        self.flush(out);
        self.held = Some(self.chunk(json!([choice])));
    }

    /// Ends the stream.
    pub(super) fn end(&mut self, all: &Usage, out: &mut Frames) {
        if self.counts.at_end {
            self.flush(out);
            let mut chunk = self.chunk(json!([]));
            chunk["usage"] = usage(all);
            self.held = Some(chunk);
        }
        if let Some(last) = &mut self.held {
            last["timings"] = timings(all);
        }
        self.flush(out);
        out.done();
    }

    /// Breaks the stream off. `[DONE]` does not follow: nothing is done.
    pub(super) fn fail(&mut self, problem: &Problem, out: &mut Frames) {
        self.flush(out);
        out.data(&problem.openai());
    }

    fn flush(&mut self, out: &mut Frames) {
        if let Some(chunk) = self.held.take() {
            out.data(&chunk);
        }
    }

    fn chunk(&self, choices: Value) -> Value {
        let mut chunk = json!({
            "id": self.id,
            "object": self.object,
            "created": self.identity.created,
            "model": self.identity.model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        });
        if self.counts.in_each {
            chunk["usage"] = usage(&self.so_far);
        } else if self.counts.at_end {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}
