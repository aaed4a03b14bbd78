//! OpenAI's API, with the fields that llama.cpp and vLLM add to it.
//!
//! Each endpoint has a file: it reads a body, and says the answer as a whole or frame by frame. What several endpoints
//! read in the same way stands apart: [`limits`], settings of the sampling, formats, tools, messages and texts.
//!
//! Hints that change no answer (`service_tier`, `reasoning_effort`, `prediction`, `cache_prompt`, …) are passed over,
//! as are fields that nobody documents.

pub mod batches;
pub mod chat;
mod chat_stream;
pub mod completions;
mod completions_stream;
pub mod embeddings;
pub mod files;
mod format;
pub mod limits;
mod logprobs;
mod messages;
pub mod models;
pub mod moderations;
mod refused;
pub mod rerank;
mod settings;
mod stream;
mod texts;
pub mod tokenize;
mod tools;
mod usage;

use serde_json::{Value, json};

use crate::{Finish, Identity, Usage};

pub use stream::Counts;

/// What answers call the program that made them.
const FINGERPRINT: &str = "puna";

/// A whole answer, of the kind `object`, whose id begins with `prefix`.
fn whole(identity: &Identity, [object, prefix]: [&str; 2], choices: Vec<Value>, usage: &Usage) -> Value {
    json!({
        "id": format!("{prefix}{}", identity.id),
        "object": object,
        "created": identity.created,
        "model": identity.model,
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
        "usage": usage::usage(usage),
        "timings": usage::timings(usage),
    })
}

/// How this API says that a prompt of `n` tokens is too long. The error's code says it as well, but the text of the
/// newest clients' exceptions has the message alone; what is built upon them (LangChain, LiteLLM) looks for these words,
/// and shortens the conversation.
pub fn too_long(n: usize, max: usize) -> String {
    format!("prompt is too long: it has {n} tokens, and this model's maximum context length is {max} tokens")
}

/// Adds to a choice why it ended, as `calls` names the wait for a tool's result.
fn finish(choice: &mut Value, finish: Option<&Finish>, calls: &str) {
    choice["finish_reason"] = match finish {
        None => Value::Null,
        Some(Finish::Stop | Finish::StopString(_)) => "stop".into(),
        Some(Finish::Length) => "length".into(),
        Some(Finish::Calls) => calls.into(),
        Some(Finish::Filtered) => "content_filter".into(),
    };
    if let Some(Finish::StopString(text)) = finish {
        choice["stop_reason"] = text.as_str().into(); // vLLM's
    }
}
