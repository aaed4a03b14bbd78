//! The response in frames, each with a name and a number.
//!
//! `response.created` and `.in_progress`; each item of the output as it begins, goes on and ends; then one of
//! `response.completed`, `.incomplete` and `.failed`, which has the whole response. An item ends before the next
//! begins, so a call's arguments come before any later item, as models write them.

use serde_json::{Map, Value, json};

use crate::parts::{Part, Parts};
use crate::responses::Shape;
use crate::responses::response::{self, Progress};
use crate::{Encode, Event, Frames, Identity, Problem, Usage};

/// Says what happens in the words of OpenAI's Responses API.
#[derive(Debug)]
pub struct Encoder {
    identity: Identity,
    shape: Shape,
    parts: Parts,
    /// The number of the next frame.
    number: u64,
    /// How many tokens of the open text were told.
    tokens_told: usize,
}

impl Encoder {
    /// For the response to a request.
    pub fn new(identity: Identity, shape: Shape) -> Encoder {
        Encoder { identity, shape, parts: Parts::default(), number: 0, tokens_told: 0 }
    }

    fn send(&mut self, name: &str, rest: Value, out: &mut Frames) {
        let mut frame = Map::new();
        frame.insert("type".to_owned(), name.into());
        frame.insert("sequence_number".to_owned(), self.number.into());
        if let Value::Object(rest) = rest {
            frame.extend(rest);
        }
        self.number += 1;
        out.named(name, &Value::Object(frame));
    }

    /// A frame with the response as far as it is.
    fn send_response(&mut self, name: &str, progress: Progress, out: &mut Frames) {
        let response = response::response(&self.identity, &self.shape, &self.parts, progress);
        self.send(name, json!({"response": response}), out);
    }

    /// A frame about an item of the output.
    fn send_of_item(&mut self, name: &str, index: usize, rest: Value, out: &mut Frames) {
        let item_id = response::item_id(&self.identity, &self.parts, index);
        let mut frame = json!({"item_id": item_id, "output_index": index});
        if let (Some(frame), Value::Object(rest)) = (frame.as_object_mut(), rest) {
            frame.extend(rest);
        }
        self.send(name, frame, out);
    }

    fn item(&self, index: usize, status: &str) -> Value {
        response::item(&self.identity, &self.shape, &self.parts, index, status)
    }

    fn is_call(&self, index: usize) -> bool {
        matches!(self.parts.list().get(index), Some(Part::Call(_)))
    }

    fn open(&mut self, index: usize, out: &mut Frames) {
        self.tokens_told = 0;
        let mut item = self.item(index, "in_progress");
        if self.is_call(index) {
            return self.send(
                "response.output_item.added",
                json!({"output_index": index, "item": item}),
                out,
            );
        }
        item["content"] = json!([]);
        self.send("response.output_item.added", json!({"output_index": index, "item": item}), out);
        let part = response::content_part(&Parts::default(), 0);
        let rest = json!({"content_index": 0, "part": part});
        self.send_of_item("response.content_part.added", index, rest, out);
    }

    /// More text of the last item, and its tokens that were not told.
    fn more(&mut self, text: &str, out: &mut Frames) {
        let index = self.parts.list().len().saturating_sub(1);
        let Some(Part::Text { tokens, .. }) = self.parts.list().get(index) else { return };
        let logprobs = response::logprobs(&tokens[self.tokens_told..]);
        if text.is_empty() && logprobs.is_empty() {
            return;
        }
        self.tokens_told = tokens.len();
        let rest = json!({"content_index": 0, "delta": text, "logprobs": logprobs});
        self.send_of_item("response.output_text.delta", index, rest, out);
    }

    fn close(&mut self, index: usize, out: &mut Frames) {
        let item = self.item(index, response::last_status(&self.parts, index));
        if self.is_call(index) {
            let rest = json!({"name": item["name"], "arguments": item["arguments"]});
            self.send_of_item("response.function_call_arguments.done", index, rest, out);
        } else {
            let part = &item["content"][0];
            let rest = json!({"content_index": 0, "text": part["text"], "logprobs": part["logprobs"]});
            self.send_of_item("response.output_text.done", index, rest, out);
            let rest = json!({"content_index": 0, "part": part});
            self.send_of_item("response.content_part.done", index, rest, out);
        }
        self.send("response.output_item.done", json!({"output_index": index, "item": item}), out);
    }
}

impl Encode for Encoder {
    fn begin(&mut self, out: &mut Frames) {
        self.send_response("response.created", Progress::Begun, out);
        self.send_response("response.in_progress", Progress::Begun, out);
    }

    fn event(&mut self, event: &Event, out: &mut Frames) {
        if event.choice() != 0 {
            return;
        }
        let n_before = response::n_items(&self.parts);
        self.parts.push(event);
        let n = response::n_items(&self.parts);
        if n > n_before {
            if n_before > 0 {
                self.close(n_before - 1, out);
            }
            self.open(n_before, out);
        }
        match event {
            Event::Text { text, .. } => self.more(text, out),
            Event::Arguments { index, text, .. } if !text.is_empty() => {
                if let Some(place) = self.parts.place_of_call(*index) {
                    let rest = json!({"delta": text});
                    self.send_of_item("response.function_call_arguments.delta", place, rest, out);
                }
            }
            Event::End { .. } => self.close(n - 1, out),
            Event::Arguments { .. } | Event::Call { .. } => {}
        }
    }

    fn end(&mut self, usage: &Usage, out: &mut Frames) {
        let name = match response::reason_incomplete(&self.parts) {
            Some(_) => "response.incomplete",
            None => "response.completed",
        };
        self.send_response(name, Progress::Over(usage), out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut Frames) {
        if self.number == 0 {
            self.begin(out);
        }
        self.send_response("response.failed", Progress::Failed(problem), out);
    }
}
