//! Messages in the form of the OpenAI chat API: what goes into a prompt.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, `ipython`, or any other name a template knows.
    pub role: String,
    /// What was said. Absent where an assistant only called tools.
    #[serde(default)]
    pub content: Option<Content>,
    /// The tools an assistant called. None and an empty list are the same.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool's message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The name of the tool or the speaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Fields this program does not know; templates may.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Text and images in their order.
    Parts(Vec<Part>),
    /// A tool's result as JSON.
    Json(Value),
}

/// One part of a content list.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// `{"type": "text", "text": …}`
    Text(String),
    /// An image, with the JSON that says which: `{"type": "image", …}` or `{"type": "image_url", …}`.
    Image(Value),
    /// Anything else.
    Other(Value),
}

/// A tool called by an assistant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The call's name in the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Always `function` so far.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// What was called.
    pub function: FunctionCall,
}

/// A function's name and arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// The arguments, an object. Given as a string of JSON, as the API does, it is parsed.
    #[serde(default, deserialize_with = "parse_arguments")]
    pub arguments: Value,
}

fn function() -> String {
    "function".to_owned()
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ToolCall>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn parse_arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok()).filter(Value::is_object);
    Ok(parsed.unwrap_or(value))
}

impl Message {
    /// A message of plain text.
    pub fn new(role: impl Into<String>, text: impl Into<String>) -> Message {
        Message { role: role.into(), content: Some(Content::Text(text.into())), ..Message::default() }
    }

    /// The text of the message, parts joined; images leave none.
    pub fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Json(value)) => crate::template::python_json::dumps(value),
            Some(Content::Parts(parts)) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
        }
    }

    /// Whether the message holds an image.
    pub fn has_image(&self) -> bool {
        let is_image = |part: &Part| matches!(part, Part::Image(_));
        matches!(&self.content, Some(Content::Parts(parts)) if parts.iter().any(is_image))
    }
}

impl Part {
    /// Whether the part is text.
    pub fn is_text(&self) -> bool {
        matches!(self, Part::Text(_))
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Part::Text(text) => serde_json::json!({"type": "text", "text": text}).serialize(serializer),
            Part::Image(value) | Part::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Part, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // A list of something else is JSON, not parts; `Content` tries that next.
        let Some(kind) = value.get("type").and_then(Value::as_str) else {
            return Err(serde::de::Error::custom("a content part without a `type`"));
        };
        Ok(match (kind, value.get("text").and_then(Value::as_str)) {
            ("text", Some(text)) => Part::Text(text.to_owned()),
            ("image" | "image_url" | "input_image", _) => Part::Image(value),
            _ => Part::Other(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_forms_clients_send() {
        let json = json!([
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": {"ok": [1, 2]}},
            {"role": "assistant", "content": "done", "tool_calls": null, "reasoning_content": "hm"},
        ]);
        let messages: Vec<Message> = serde_json::from_value(json).unwrap();
        assert_eq!(messages[0].text(), "a");
        assert!(messages[0].has_image());
        assert_eq!(messages[1].tool_calls[0].function.arguments.to_string(), r#"{"b":1,"a":2}"#);
        assert_eq!(messages[1].content, None);
        assert_eq!(messages[2].text(), r#"{"ok": [1, 2]}"#);
        assert!(messages[3].tool_calls.is_empty());
        assert_eq!(messages[3].extra["reasoning_content"], "hm");
        let back: Vec<Message> = serde_json::from_str(&serde_json::to_string(&messages).unwrap()).unwrap();
        assert_eq!(back, messages);
    }
}
