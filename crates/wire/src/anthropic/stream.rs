//! The answer in frames.
//!
//! `message_start`; for each text and each call `content_block_start`, `content_block_delta`s and
//! `content_block_stop`; `message_delta` with why it ended and the tokens; `message_stop`. A block ends before the
//! next begins, so a call's arguments come before any later part, as models write them.

use serde_json::{Value, json};

use crate::anthropic::messages;
use crate::parts::{Part, Parts};
use crate::{Encode, Event, Frames, Identity, Problem, Usage};

/// Says what happens in Anthropic's words.
#[derive(Debug)]
pub struct Encoder {
    identity: Identity,
    prompt: usize,
    parts: Parts,
}

impl Encoder {
    /// For an answer to a prompt of so many tokens, which `message_start` tells. It is not known then how many of
    /// them need not be read again; `message_delta` says so, and clients take the counts from there.
    pub fn new(identity: Identity, prompt: usize) -> Encoder {
        Encoder { identity, prompt, parts: Parts::default() }
    }

    fn start_block(&self, index: usize, out: &mut Frames) {
        let mut block = messages::block(&self.parts.list()[index]);
        match &self.parts.list()[index] {
            Part::Text { .. } => block["text"] = "".into(),
            Part::Call(_) => block["input"] = json!({}),
        }
        send("content_block_start", json!({"index": index, "content_block": block}), out);
    }

    fn stop_block(index: usize, out: &mut Frames) {
        send("content_block_stop", json!({"index": index}), out);
    }

    fn delta(index: usize, delta: Value, out: &mut Frames) {
        send("content_block_delta", json!({"index": index, "delta": delta}), out);
    }
}

/// A frame whose name is its type.
fn send(name: &str, rest: Value, out: &mut Frames) {
    let mut body = json!({"type": name});
    if let (Some(body), Value::Object(rest)) = (body.as_object_mut(), rest) {
        body.extend(rest);
    }
    out.named(name, &body);
}

impl Encode for Encoder {
    fn begin(&mut self, out: &mut Frames) {
        let usage = Usage { prompt: self.prompt, ..Usage::default() };
        let message = messages::body(&self.identity, &Parts::default(), &usage);
        send("message_start", json!({"message": message}), out);
    }

    fn event(&mut self, event: &Event, out: &mut Frames) {
        if event.choice() != 0 {
            return;
        }
        let n_before = self.parts.list().len();
        self.parts.push(event);
        let n = self.parts.list().len();
        if n > n_before {
            if n_before > 0 {
                Encoder::stop_block(n_before - 1, out);
            }
            self.start_block(n_before, out);
        }
        match event {
            Event::Text { text, .. } if !text.is_empty() => {
                Encoder::delta(n - 1, json!({"type": "text_delta", "text": text}), out);
            }
            Event::Arguments { index, text, .. } if !text.is_empty() => {
                if let Some(place) = self.parts.place_of_call(*index) {
                    let delta = json!({"type": "input_json_delta", "partial_json": text});
                    Encoder::delta(place, delta, out);
                }
            }
            Event::End { .. } if n > 0 => Encoder::stop_block(n - 1, out),
            Event::Text { .. } | Event::Arguments { .. } | Event::Call { .. } | Event::End { .. } => {}
        }
    }

    fn end(&mut self, usage: &Usage, out: &mut Frames) {
        let (stop_reason, stop_sequence) = messages::stop(self.parts.finish());
        let delta = json!({"stop_reason": stop_reason, "stop_sequence": stop_sequence});
        send("message_delta", json!({"delta": delta, "usage": messages::usage_body(usage)}), out);
        send("message_stop", json!({}), out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut Frames) {
        out.named("error", &problem.anthropic());
    }

    fn keep_alive(&mut self, out: &mut Frames) {
        send("ping", json!({}), out);
    }
}
