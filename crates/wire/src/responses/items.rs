//! Items of an input, as messages in OpenAI's chat form.
//!
//! Calls join the assistant's message before them: it is one turn there. What a model thought is left out, since a
//! Llama neither writes nor reads it.

use puna_text::template::Message;
use serde_json::{Value, json};

use crate::fields::{missing, wrong};
use crate::responses::tools::Namespaces;
use crate::{Fields, Problem};

/// An item and where it stands.
pub(super) struct Item {
    /// For messages.
    pub path: String,
    /// An object with a type.
    pub value: Value,
}

/// The messages that items say.
pub(super) fn messages(items: &[Item], namespaces: &Namespaces) -> Result<Vec<Message>, Problem> {
    let mut told: Vec<Value> = Vec::new();
    for item in items {
        let fields = Fields::within(&item.value, &item.path)?;
        match fields.required_str("type")? {
            "message" => told.push(message(&fields)?),
            "function_call" => push_call(function_call(&fields, namespaces)?, &mut told),
            "custom_tool_call" => push_call(custom_call(&fields)?, &mut told),
            "function_call_output" | "custom_tool_call_output" => told.push(output(&fields)?),
            "reasoning" => {}
            other => {
                let path = fields.path("type");
                let message = format!("`{path}` is \"{other}\", which is not supported here");
                return Err(Problem::unsupported(&path, message));
            }
        }
    }
    let read = |message| {
        let wrong = |error| Problem::field("input", format!("`input`: {error}"));
        serde_json::from_value(message).map_err(wrong)
    };
    told.into_iter().map(read).collect()
}

fn message(fields: &Fields) -> Result<Value, Problem> {
    let role = match fields.required_str("role")? {
        // Llama knows one role for what stands above the user.
        "developer" => "system",
        role @ ("user" | "assistant" | "system") => role,
        other => {
            let want = "\"user\", \"assistant\", \"system\" or \"developer\"";
            return Err(wrong(&fields.path("role"), &other.into(), want));
        }
    };
    let content = content(&fields.path("content"), fields.get("content"))?;
    Ok(json!({"role": role, "content": content}))
}

/// A text, or a list of parts where it has more than one.
fn content(path: &str, value: Option<&Value>) -> Result<Value, Problem> {
    match value {
        None => Ok("".into()),
        Some(Value::String(text)) => Ok(text.as_str().into()),
        Some(Value::Array(list)) => {
            let read = |(n, value): (usize, &Value)| part(&Fields::within(value, &format!("{path}[{n}]"))?);
            let parts = list.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
            match parts.as_slice() {
                [] => Ok("".into()),
                [one] if one["type"] == "text" => Ok(one["text"].clone()),
                _ => Ok(Value::Array(parts)),
            }
        }
        Some(other) => Err(wrong(path, other, "a string or a list of parts")),
    }
}

fn part(fields: &Fields) -> Result<Value, Problem> {
    let text = |name| fields.required_str(name).map(|text| json!({"type": "text", "text": text}));
    match fields.required_str("type")? {
        "input_text" | "output_text" | "text" => text("text"),
        "refusal" => text("refusal"),
        "input_image" => image(fields),
        other => {
            let path = fields.path("type");
            let message =
                format!("`{path}` is \"{other}\", which is not supported: content is text and pictures");
            Err(Problem::unsupported(&path, message))
        }
    }
}

/// A picture: its bytes stand in the request, none are fetched.
fn image(fields: &Fields) -> Result<Value, Problem> {
    fields.refuse("file_id", |_| false, "no files are kept; send pictures as data URLs")?;
    let is_data = |url: &Value| url.as_str().is_none_or(|url| url.starts_with("data:"));
    fields.refuse("image_url", is_data, "pictures are not fetched; send them as data URLs")?;
    let url = fields.required_str("image_url")?;
    Ok(json!({"type": "image_url", "image_url": {"url": url}}))
}

fn function_call(fields: &Fields, namespaces: &Namespaces) -> Result<Value, Problem> {
    let own = fields.required_str("name")?;
    let name = namespaces.offered(fields.str("namespace")?, own);
    let arguments = fields.str("arguments")?.unwrap_or_default();
    call(fields, name, if arguments.is_empty() { "{}".into() } else { arguments.into() })
}

/// A call whose argument is a text.
fn custom_call(fields: &Fields) -> Result<Value, Problem> {
    let arguments = json!({"input": fields.required_str("input")?});
    call(fields, fields.required_str("name")?, arguments)
}

fn call(fields: &Fields, name: &str, arguments: Value) -> Result<Value, Problem> {
    let id = fields.required_str("call_id")?;
    Ok(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
}

fn push_call(call: Value, told: &mut Vec<Value>) {
    let last = told.last_mut().filter(|last| last["role"] == "assistant");
    match last {
        Some(last) => match last["tool_calls"].as_array_mut() {
            Some(calls) => calls.push(call),
            None => last["tool_calls"] = json!([call]),
        },
        None => told.push(json!({"role": "assistant", "content": null, "tool_calls": [call]})),
    }
}

fn output(fields: &Fields) -> Result<Value, Problem> {
    let output = fields.get("output").ok_or_else(|| missing(&fields.path("output")))?;
    let content = content(&fields.path("output"), Some(output))?;
    let mut message = json!({"role": "tool", "content": content});
    if let Some(id) = fields.str("call_id")? {
        message["tool_call_id"] = id.into();
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(items: Value) -> Value {
        let item = |value: &Value| Item { path: "input".to_owned(), value: value.clone() };
        let items: Vec<_> = items.as_array().unwrap().iter().map(item).collect();
        serde_json::to_value(messages(&items, &Namespaces::default()).unwrap()).unwrap()
    }

    #[test]
    fn a_turn_with_calls_is_one_message() {
        let call =
            |id| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{\"a\": 1}"});
        let output = |id, output| json!({"type": "function_call_output", "call_id": id, "output": output});
        let said = |role, kind, text| json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]});
        let told = told(json!([
            said("developer", "input_text", "d"),
            {"type": "message", "role": "user", "content": "hi"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            said("assistant", "output_text", "I look"), call("1"), call("2"),
            output("1", json!("one")), output("2", json!([{"type": "input_text", "text": "two"}])),
            call("3"), output("3", json!("three")),
            {"type": "custom_tool_call", "call_id": "4", "name": "g", "input": "x"},
        ]));
        let function = |id, name: &str, arguments: Value| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let f = |id| function(id, "f", json!("{\"a\": 1}"));
        let want = json!([
            {"role": "system", "content": "d"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "I look", "tool_calls": [f("1"), f("2")]},
            {"role": "tool", "content": "one", "tool_call_id": "1"},
            {"role": "tool", "content": "two", "tool_call_id": "2"},
            {"role": "assistant", "content": null, "tool_calls": [f("3")]},
            {"role": "tool", "content": "three", "tool_call_id": "3"},
            {"role": "assistant", "content": null, "tool_calls": [function("4", "g", json!({"input": "x"}))]},
        ]);
        assert_eq!(told, want);
    }

    #[test]
    fn pictures_stand_in_the_request() {
        let told = told(json!([{"type": "message", "role": "user", "content": [
            {"type": "input_image", "detail": "auto", "file_id": null, "image_url": "data:image/png;base64,AA=="},
            {"type": "refusal", "refusal": "no"},
        ]}]));
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
        assert_eq!(told[0]["content"], json!([image, {"type": "text", "text": "no"}]));
    }
}
