//! Continued texts, chunk by chunk.

use serde::Serialize;
use serde_json::{Value, json};

use super::completions::{CompletionShape, PREFIX};
use super::stream::Stream;
use super::{finish, logprobs};
use crate::{Encode, Event, Frames, Identity, Problem, Usage};

/// Says what happens in chunks of `/v1/completions`. Tools are not called here.
#[derive(Debug)]
pub struct CompletionEncoder {
    stream: Stream,
    has_logprobs: bool,
    /// Where the next token of each answer begins, in characters.
    offsets: Vec<usize>,
}

impl CompletionEncoder {
    /// Of one stream.
    pub fn new(identity: Identity, shape: CompletionShape) -> CompletionEncoder {
        let stream = Stream::new(PREFIX, "text_completion", identity, shape.counts);
        CompletionEncoder { stream, has_logprobs: shape.logprobs, offsets: Vec::new() }
    }

    fn offset(&mut self, choice: usize) -> &mut usize {
        if self.offsets.len() <= choice {
            self.offsets.resize(choice + 1, 0);
        }
        &mut self.offsets[choice]
    }
}

/// A piece of an answer.
#[derive(Serialize)]
struct Told<'a> {
    text: &'a str,
    index: usize,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}

impl Encode for CompletionEncoder {
    fn begin(&mut self, _: &mut Frames) {}

    fn counted(&mut self, so_far: &Usage) {
        self.stream.counted(so_far);
    }

    fn event(&mut self, event: &Event, out: &mut Frames) {
        match event {
            Event::Text { choice, text, tokens } => {
                let is_told = self.has_logprobs && !tokens.is_empty();
                if text.is_empty() && !is_told {
                    return;
                }
                let logprobs = is_told.then(|| logprobs::of_text(tokens, self.offset(*choice)));
                self.stream.send(&Told { text, index: *choice, logprobs, finish_reason: None }, out);
            }
            Event::End { choice, finish: why } => {
                let mut last = json!({"text": "", "index": choice, "logprobs": null});
                finish(&mut last, Some(why), "stop");
                self.stream.send_end(last, out);
            }
            Event::Call { .. } | Event::Arguments { .. } => {}
        }
    }

    fn end(&mut self, usage: &Usage, out: &mut Frames) {
        self.stream.end(usage, out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut Frames) {
        self.stream.fail(problem, out);
    }
}
