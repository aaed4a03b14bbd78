//! `/v1/chat/completions`: a conversation is answered.

use serde_json::{Value, json};

use super::settings::{self, stream_options};
use super::{Counts, finish, logprobs, messages, refused, tools, whole};
use crate::{Ask, Call, Choice, Fields, Identity, Input, Problem, Reply};

pub use super::chat_stream::ChatEncoder;

/// What precedes an answer's id.
pub(super) const PREFIX: &str = "chatcmpl-";

/// The shape of the answer to a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatShape {
    /// Whether it comes as a stream.
    pub stream: bool,
    /// What the stream counts.
    pub counts: Counts,
    /// Whether log-probabilities belong to it.
    pub logprobs: bool,
    /// Whether calls are told as `function_call`, the form of old.
    pub functions: bool,
}

/// Reads a request.
///
/// # Errors
/// A field that is not as it must be, or that cannot be heeded.
pub fn read(body: &Value) -> Result<(Ask, ChatShape), Problem> {
    let fields = Fields::of_body(body)?;
    refused::in_chat(&fields)?;
    let (tools, functions) = tools::read(&fields)?;
    let logprobs = settings::chat_logprobs(&fields)?;
    let ask =
        Ask { input: Input::Chat(messages::chat(&fields)?), logprobs, tools, ..settings::read(&fields)? };
    let options = stream_options(&fields)?;
    let counts = Counts::from(&options);
    Ok((ask, ChatShape { stream: options.stream, counts, logprobs: logprobs.is_some(), functions }))
}

/// The whole answer.
pub fn body(identity: &Identity, reply: &Reply, shape: ChatShape) -> Value {
    let choices = reply.choices.iter().enumerate().map(|(i, choice)| one(i, choice, shape));
    whole(identity, ["chat.completion", PREFIX], choices.collect(), &reply.usage)
}

fn one(index: usize, choice: &Choice, shape: ChatShape) -> Value {
    let only_calls = choice.text.is_empty() && !choice.calls.is_empty();
    let mut message = json!({
        "role": "assistant",
        "content": (!only_calls).then_some(&choice.text),
        "refusal": null,
    });
    match choice.calls.first() {
        Some(call) if shape.functions => message["function_call"] = function(call),
        Some(_) => message["tool_calls"] = choice.calls.iter().map(tool_call).collect(),
        None => {}
    }
    let logprobs = shape.logprobs.then(|| logprobs::of_chat(&choice.tokens));
    let mut told = json!({"index": index, "message": message, "logprobs": logprobs});
    finish(&mut told, choice.finish.as_ref(), shape.calls());
    told
}

fn tool_call(call: &Call) -> Value {
    json!({"id": call.id, "type": "function", "function": function(call)})
}

fn function(call: &Call) -> Value {
    json!({"name": call.name, "arguments": call.arguments})
}

impl ChatShape {
    /// Why an answer ends that calls.
    pub(super) fn calls(self) -> &'static str {
        if self.functions { "function_call" } else { "tool_calls" }
    }
}
