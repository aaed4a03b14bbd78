//! The answer to a conversation, chunk by chunk.

use serde::Serialize;
use serde_json::{Value, json};

use super::chat::{ChatShape, PREFIX};
use super::stream::Stream;
use super::{finish, logprobs};
use crate::{Encode, Event, Frames, Identity, Problem, Token, Usage};

/// Says what happens in chunks of `/v1/chat/completions`.
///
/// An answer's role comes with its first event and not before: measuring clients take the first chunk for the first
/// token.
#[derive(Debug)]
pub struct ChatEncoder {
    stream: Stream,
    shape: ChatShape,
    /// Which answers have begun.
    begun: Vec<bool>,
}

impl ChatEncoder {
    /// Of one stream.
    pub fn new(identity: Identity, shape: ChatShape) -> ChatEncoder {
        let stream = Stream::new(PREFIX, "chat.completion.chunk", identity, shape.counts);
        ChatEncoder { stream, shape, begun: Vec::new() }
    }

    fn delta<D>(&self, index: usize, delta: D, tokens: &[Token]) -> Told<D> {
        let has_logprobs = self.shape.logprobs && !tokens.is_empty();
        let logprobs = has_logprobs.then(|| logprobs::of_chat(tokens));
        Told { index, delta, logprobs, finish_reason: None }
    }

    fn says_nothing(&self, event: &Event) -> bool {
        let Event::Text { text, tokens, .. } = event else { return false };
        text.is_empty() && (tokens.is_empty() || !self.shape.logprobs)
    }

    fn begin_choice(&mut self, event: &Event, out: &mut Frames) {
        let index = event.choice();
        if self.begun.len() <= index {
            self.begun.resize(index + 1, false);
        }
        if !std::mem::replace(&mut self.begun[index], true) {
            let content = (!matches!(event, Event::Call { .. })).then_some("");
            let choice = self.delta(index, json!({"role": "assistant", "content": content}), &[]);
            self.stream.send(&choice, out);
        }
    }
}

/// A piece of an answer.
#[derive(Serialize)]
struct Told<D> {
    index: usize,
    delta: D,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}

/// A piece of its text.
#[derive(Serialize)]
struct Content<'a> {
    content: &'a str,
}

impl Encode for ChatEncoder {
    fn begin(&mut self, _: &mut Frames) {}

    fn counted(&mut self, so_far: &Usage) {
        self.stream.counted(so_far);
    }

    fn event(&mut self, event: &Event, out: &mut Frames) {
        if self.says_nothing(event) {
            return;
        }
        self.begin_choice(event, out);
        let delta = match event {
            Event::Text { choice, text, tokens } => {
                let told = self.delta(*choice, Content { content: text }, tokens);
                return self.stream.send(&told, out);
            }
            Event::Call { choice, name, .. } if self.shape.functions => {
                self.delta(*choice, json!({"function_call": {"name": name, "arguments": ""}}), &[])
            }
            Event::Call { choice, index, id, name } => {
                let function = json!({"name": name, "arguments": ""});
                let call = json!({"index": index, "id": id, "type": "function", "function": function});
                self.delta(*choice, json!({"tool_calls": [call]}), &[])
            }
            Event::Arguments { choice, text, .. } if self.shape.functions => {
                self.delta(*choice, json!({"function_call": {"arguments": text}}), &[])
            }
            Event::Arguments { choice, index, text } => {
                let call = json!({"index": index, "function": {"arguments": text}});
                self.delta(*choice, json!({"tool_calls": [call]}), &[])
            }
            Event::End { choice, finish: why } => {
                let mut last = json!({"index": choice, "delta": {}, "logprobs": null});
                finish(&mut last, Some(why), self.shape.calls());
                return self.stream.send_end(last, out);
            }
        };
        self.stream.send(&delta, out);
    }

    fn end(&mut self, usage: &Usage, out: &mut Frames) {
        self.stream.end(usage, out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut Frames) {
        self.stream.fail(problem, out);
    }
}
