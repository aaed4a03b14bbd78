//! Messages in the form of the OpenAI chat API: what goes into a prompt.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// One message of a conversation.
///
/// A conversation may have a million of them: what most have not is in one place apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, `ipython`, or any other name a template knows.
    pub role: Cow<'static, str>,
    /// What was said. Absent where an assistant only called tools.
    pub content: Option<Content>,
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Rest {
    tool_calls: Vec<ToolCall>,
    tool_call_id: Option<String>,
    name: Option<String>,
    extra: Map<String, Value>,
}

/// Names that need no memory of their own.
const ROLES: [&str; 5] = ["user", "assistant", "system", "tool", "ipython"];

fn role(name: Cow<'_, str>) -> Cow<'static, str> {
    match ROLES.iter().find(|known| **known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.into_owned()),
    }
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Text and images in their order.
    Parts(Vec<Part>),
    /// A tool's result as JSON.
    Json(Box<Value>),
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

fn parse_arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok()).filter(Value::is_object);
    Ok(parsed.unwrap_or(value))
}

impl Message {
    /// A message of plain text.
    pub fn new(role: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Message {
        Message::with_content(role, Content::Text(text.into()))
    }

    /// A message of any content.
    pub fn with_content(role: impl Into<Cow<'static, str>>, content: Content) -> Message {
        Message { role: self::role(role.into()), content: Some(content), rest: None }
    }

    /// The tools an assistant called.
    pub fn tool_calls(&self) -> &[ToolCall] {
        self.rest.as_ref().map_or(&[], |rest| &rest.tool_calls)
    }

    /// Which call a tool's message answers.
    pub fn tool_call_id(&self) -> Option<&str> {
        self.rest.as_ref()?.tool_call_id.as_deref()
    }

    /// The name of the tool or the speaker.
    pub fn name(&self) -> Option<&str> {
        self.rest.as_ref()?.name.as_deref()
    }

    /// Fields this program does not know; templates may.
    pub fn extra(&self) -> impl Iterator<Item = (&str, &Value)> {
        let extra = self.rest.as_ref().map(|rest| &rest.extra);
        extra.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
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

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", &self.role)?;
        map.serialize_entry("content", &self.content)?;
        if !self.tool_calls().is_empty() {
            map.serialize_entry("tool_calls", self.tool_calls())?;
        }
        if let Some(id) = self.tool_call_id() {
            map.serialize_entry("tool_call_id", id)?;
        }
        if let Some(name) = self.name() {
            map.serialize_entry("name", name)?;
        }
        self.extra().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Message, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a message: an object with `role` and `content`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
        let (mut name, mut content, mut rest) = (None, None, Rest::default());
        while let Some(key) = map.next_key::<Name>()? {
            match &*key.0 {
                "role" if name.is_some() => return Err(A::Error::duplicate_field("role")),
                "content" if content.is_some() => return Err(A::Error::duplicate_field("content")),
                "role" => name = Some(role(map.next_value::<Name>()?.0)),
                "content" => content = Some(map.next_value::<Option<Content>>()?),
                // None and an empty list are the same.
                "tool_calls" => rest.tool_calls = map.next_value::<Option<_>>()?.unwrap_or_default(),
                "tool_call_id" => rest.tool_call_id = map.next_value()?,
                "name" => rest.name = map.next_value()?,
                key => {
                    let key = key.to_owned();
                    rest.extra.insert(key, map.next_value()?);
                }
            }
        }
        let role = name.ok_or_else(|| A::Error::missing_field("role"))?;
        let rest = (rest != Rest::default()).then(|| Box::new(rest));
        Ok(Message { role, content: content.flatten(), rest })
    }
}

/// A string that is borrowed where it can be.
#[derive(Deserialize)]
struct Name<'n>(#[serde(borrow)] Cow<'n, str>);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text, a list of parts, or JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Content, E> {
        Ok(Content::Text(text))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Json(Box::new(value.into())))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Json(Box::new(value.into())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Json(Box::new(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Json(Box::new(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Value>()? {
            items.push(item);
        }
        // A list of something else is JSON, not parts.
        if items.iter().all(|item| item.get("type").is_some_and(Value::is_string)) {
            return Ok(Content::Parts(items.into_iter().map(Part::of).collect()));
        }
        Ok(Content::Json(Box::new(Value::Array(items))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Content, A::Error> {
        let object = Map::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(Content::Json(Box::new(Value::Object(object))))
    }
}

/// A conversation as clients send it: an array of messages, or an object with one as `messages` and perhaps
/// `tools`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversation {
    /// The messages.
    pub messages: Vec<Message>,
    /// The tools offered to the model; null where there are none.
    pub tools: Value,
}

impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Conversation, D::Error> {
        deserializer.deserialize_any(ConversationVisitor)
    }
}

struct ConversationVisitor;

impl<'de> Visitor<'de> for ConversationVisitor {
    type Value = Conversation;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of messages, or an object with one as `messages`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Conversation, A::Error> {
        Ok(Conversation { messages: MessagesVisitor.visit_seq(list)?.0, tools: Value::Null })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Conversation, A::Error> {
        let (mut messages, mut tools) = (None, Value::Null);
        while let Some(key) = map.next_key::<Name>()? {
            match &*key.0 {
                "messages" => messages = Some(map.next_value::<Messages>()?.0),
                "tools" => tools = map.next_value()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let messages = messages.ok_or_else(|| A::Error::custom("the object has no `messages`"))?;
        Ok(Conversation { messages, tools })
    }
}

/// Messages, whose faults are said with their number, from 1.
struct Messages(Vec<Message>);

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Messages, D::Error> {
        deserializer.deserialize_seq(MessagesVisitor)
    }
}

struct MessagesVisitor;

impl<'de> Visitor<'de> for MessagesVisitor {
    type Value = Messages;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Messages, A::Error> {
        let mut messages = Vec::new();
        loop {
            let number = messages.len() + 1;
            match list.next_element() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return Ok(Messages(messages)),
                Err(error) => return Err(A::Error::custom(format!("message {number}: {error}"))),
            }
        }
    }
}

impl Part {
    /// What a part of a content list is, told by its `type`.
    fn of(value: Value) -> Part {
        match (value["type"].as_str(), value.get("text").and_then(Value::as_str)) {
            (Some("text"), Some(text)) => Part::Text(text.to_owned()),
            (Some("image" | "image_url" | "input_image"), _) => Part::Image(value),
            _ => Part::Other(value),
        }
    }

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
        assert_eq!(messages[1].tool_calls()[0].function.arguments.to_string(), r#"{"b":1,"a":2}"#);
        assert_eq!(messages[1].content, None);
        assert_eq!(messages[2].text(), r#"{"ok": [1, 2]}"#);
        assert!(messages[3].tool_calls().is_empty());
        assert_eq!(messages[3].extra().next().unwrap(), ("reasoning_content", &json!("hm")));
        let back: Vec<Message> = serde_json::from_str(&serde_json::to_string(&messages).unwrap()).unwrap();
        assert_eq!(back, messages);
    }
}
