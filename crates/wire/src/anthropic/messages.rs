//! `/v1/messages` and `/v1/messages/count_tokens`: what is asked, and the whole answer.

use puna_text::template::Message;
use serde_json::{Value, json};

use crate::anthropic::{content, tools};
use crate::fields::wrong;
use crate::parts::{Part, Parts, call_id};
use crate::{Ask, Call, Chat, Fields, Finish, Format, Identity, Input, Problem, Sampling, Usage};

/// The most strings of `stop_sequences`.
const STOPS: usize = 64;

/// What shape the answer has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Whether it comes in frames.
    pub stream: bool,
}

/// Reads a body of `/v1/messages`, or of `/v1/messages/count_tokens`, which has the same fields and needs fewer.
///
/// The last message may be the assistant's: its text is continued. A missing `max_tokens` is no limit.
pub fn read(body: &Value) -> Result<(Ask, Shape), Problem> {
    let fields = Fields::of_body(body)?;
    refuse(&fields)?;
    let conversation = content::read(&fields)?;
    let tools = tools::read(&fields, &conversation.changes)?;
    let (messages, continue_last) = with_prefill(conversation.messages)?;
    let chat = Chat { messages, continue_last, ..Chat::default() };
    let tenant = match fields.object("metadata")? {
        Some(metadata) => metadata.str("user_id")?.map(str::to_owned),
        None => None,
    };
    let ask = Ask {
        model: fields.str("model")?.map(str::to_owned),
        input: Input::Chat(chat),
        n: 1,
        sampling: sampling(&fields)?,
        // 0 asks that the prompt be read and nothing be written.
        max_tokens: fields.count("max_tokens", 0..=usize::MAX)?,
        stop: fields.strings("stop_sequences", STOPS)?,
        format: format(&fields)?,
        tools,
        tenant,
        ..Ask::default()
    };
    Ok((ask, Shape { stream: fields.bool("stream", false)? }))
}

fn refuse(fields: &Fields) -> Result<(), Problem> {
    if fields.get("thread").is_some() {
        // With this code, clients send the whole conversation instead.
        let message = "`thread` is not supported: no conversations are kept; send all messages without it";
        return Err(Problem {
            code: Some("thread_unsupported_request"),
            ..Problem::field("thread", message)
        });
    }
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    fields.refuse(
        "mcp_servers",
        is_empty,
        "this server connects to no others; send their tools as `tools`",
    )?;
    fields.refuse("container", |_| false, "there are no containers")?;
    fields.refuse("compaction", |_| false, "send the conversation as it shall be read")
}

fn sampling(fields: &Fields) -> Result<Sampling, Problem> {
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0..=2.0)?,
        top_p: fields.number("top_p", 0.0..=1.0)?,
        top_k: fields.count("top_k", 0..=usize::MAX)?,
        ..Sampling::default()
    })
}

/// `output_config.format`, which was `output_format` once.
fn format(fields: &Fields) -> Result<Format, Problem> {
    let config = fields.object("output_config")?;
    let now = config.map(|config| config.object("format")).transpose()?.flatten();
    let Some(format) = now.or(fields.object("output_format")?) else { return Ok(Format::Text) };
    match format.required_str("type")? {
        "json_schema" => {}
        other => return Err(wrong(&format.path("type"), &other.into(), "\"json_schema\"")),
    }
    let schema = format.required("schema")?;
    match schema.is_object() {
        true => Ok(Format::Schema(schema.clone())),
        false => Err(wrong(&format.path("schema"), schema, "an object")),
    }
}

/// The messages, and whether the last one is continued.
fn with_prefill(mut messages: Vec<Message>) -> Result<(Vec<Message>, bool), Problem> {
    let Some(last) = messages.last().filter(|last| last.role == "assistant") else {
        return Ok((messages, false));
    };
    if !last.tool_calls().is_empty() {
        let message = "`messages` ends with a `tool_use` that no `tool_result` follows";
        return Err(Problem::field("messages", message));
    }
    let has_text = !last.text().is_empty();
    if !has_text {
        messages.pop();
    }
    if messages.is_empty() {
        return Err(Problem::field("messages", "`messages` has nothing to answer or to continue"));
    }
    Ok((messages, has_text))
}

/// The whole answer.
pub fn body(identity: &Identity, parts: &Parts, usage: &Usage) -> Value {
    let (stop_reason, stop_sequence) = stop(parts.finish());
    json!({
        "id": format!("msg_{}", identity.id),
        "type": "message",
        "role": "assistant",
        "model": identity.model,
        "content": parts.list().iter().map(block).collect::<Vec<_>>(),
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": usage_body(usage),
    })
}

pub(super) fn block(part: &Part) -> Value {
    match part {
        Part::Text { text, .. } => json!({"type": "text", "text": text}),
        Part::Call(call) => json!({
            "type": "tool_use",
            "id": call_id("toolu_", &call.id),
            "name": call.name,
            "input": input(call),
        }),
    }
}

/// A call's arguments, always an object: where an answer was cut off within them, one that holds the text that is
/// there, under the name that Anthropic's documentation gives it.
fn input(call: &Call) -> Value {
    match call.arguments_value() {
        Value::Object(object) => Value::Object(object),
        _ if call.arguments.is_empty() => json!({}),
        _ => json!({"INVALID_JSON": call.arguments}),
    }
}

/// `stop_reason` and `stop_sequence`.
pub(super) fn stop(finish: Option<&Finish>) -> (Option<&'static str>, Option<&str>) {
    match finish {
        None => (None, None),
        Some(Finish::Stop) => (Some("end_turn"), None),
        Some(Finish::StopString(text)) => (Some("stop_sequence"), Some(text)),
        Some(Finish::Length) => (Some("max_tokens"), None),
        Some(Finish::Calls) => (Some("tool_use"), None),
        Some(Finish::Filtered) => (Some("refusal"), None),
    }
}

/// Tokens, as this API counts them: those of the prompt that were known from before are not among `input_tokens`.
pub(super) fn usage_body(usage: &Usage) -> Value {
    let mut body = json!({
        "input_tokens": usage.prompt.saturating_sub(usage.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    });
    usage.add_own(&mut body);
    body
}

/// The answer of `/v1/messages/count_tokens`.
pub fn input_tokens(n: usize) -> Value {
    json!({"input_tokens": n})
}

/// How this API says that a prompt of `n` tokens is too long: clients look for these words, and shorten the
/// conversation.
pub fn too_long(n: usize, max: usize) -> String {
    format!("prompt is too long: {n} tokens > {max} maximum")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(arguments: &str) -> Part {
        Part::Call(Call { id: "1".to_owned(), name: "f".to_owned(), arguments: arguments.to_owned() })
    }

    #[test]
    fn inputs_are_objects() {
        for (arguments, input) in [
            ("", json!({})),
            ("{\"a\": 1}", json!({"a": 1})),
            ("{\"a\":", json!({"INVALID_JSON": "{\"a\":"})),
            ("[1]", json!({"INVALID_JSON": "[1]"})),
        ] {
            assert_eq!(block(&part(arguments))["input"], input);
        }
    }

    #[test]
    fn known_tokens_are_counted_apart() {
        let usage = Usage { prompt: 12, cached: 10, completion: 3, ..Usage::default() };
        let body = usage_body(&usage);
        assert_eq!((&body["input_tokens"], &body["cache_read_input_tokens"]), (&json!(2), &json!(10)));
        assert_eq!((&body["output_tokens"], body.get("cache_left_at")), (&json!(3), None));
        let left = Usage { left_at: Some(10), ..usage };
        assert_eq!(usage_body(&left)["cache_left_at"], 10);
    }

    #[test]
    fn a_schema_has_two_places() {
        let schema = json!({"type": "object"});
        let wanted = json!({"type": "json_schema", "schema": schema});
        for body in [json!({"output_config": {"format": wanted}}), json!({"output_format": wanted})] {
            assert_eq!(format(&Fields::of_body(&body).unwrap()), Ok(Format::Schema(schema.clone())));
        }
        for body in [json!({"output_config": {"effort": "high"}}), json!({"output_format": null})] {
            assert_eq!(format(&Fields::of_body(&body).unwrap()), Ok(Format::Text));
        }
    }
}
