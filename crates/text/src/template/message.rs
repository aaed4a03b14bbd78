//! Messages in the form of the OpenAI chat API: what goes into a prompt.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::template::python_json;

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
    /// Whether the message has no field `content`, not even null.
    lacks_content: bool,
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

/// A tool called by an assistant, as the client wrote it: an object with a `function` that has a `name` and
/// `arguments`, or that has these itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall(Value);

impl ToolCall {
    /// A call of the function `name`.
    pub fn new(name: impl Into<String>, arguments: Value) -> ToolCall {
        let function = serde_json::json!({"name": name.into(), "arguments": arguments});
        ToolCall(serde_json::json!({"type": "function", "function": function}))
    }

    /// The call as it was written.
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    /// The call's name in the conversation.
    pub fn id(&self) -> Option<&str> {
        self.0.get("id")?.as_str()
    }

    fn function(&self) -> &Value {
        self.0.get("function").unwrap_or(&self.0)
    }

    fn function_mut(&mut self) -> &mut Value {
        let is_within = self.0.get("function").is_some();
        if is_within { &mut self.0["function"] } else { &mut self.0 }
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        self.function()["name"].as_str().unwrap_or_default()
    }

    /// The arguments: an object. Where they are written as a string of JSON, as in OpenAI's API, what it says.
    pub fn arguments(&self) -> Cow<'_, Value> {
        let written = &self.function()["arguments"];
        match written.as_str().and_then(object_in) {
            Some(object) => Cow::Owned(object),
            None => Cow::Borrowed(written),
        }
    }

    /// The arguments as they were written, where that is a string that says an object.
    pub(crate) fn arguments_text(&self) -> Option<&str> {
        self.function()["arguments"].as_str().filter(|text| object_in(text).is_some())
    }

    /// Whether the arguments are written as an object.
    pub(crate) fn has_object(&self) -> bool {
        self.function()["arguments"].is_object()
    }

    /// The same call with its arguments written as an object, or as a string of JSON.
    pub(crate) fn with_arguments_as(&self, form: ArgumentForm) -> ToolCall {
        let mut call = self.clone();
        let arguments = self.arguments().into_owned();
        if arguments.is_object() {
            call.function_mut()["arguments"] = match form {
                ArgumentForm::Object => arguments,
                ArgumentForm::Text => Value::String(python_json::dumps(&arguments)),
            };
        }
        call
    }
}

/// How the arguments of a tool call are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgumentForm {
    Object,
    Text,
}

/// The object that a text of JSON says.
fn object_in(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(Value::is_object)
}

impl Serialize for ToolCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ToolCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ToolCall, D::Error> {
        let call = ToolCall(Value::deserialize(deserializer)?);
        if !call.0.is_object() || !call.function()["name"].is_string() {
            return Err(D::Error::custom("a tool call is an object whose `function` has a `name`"));
        }
        Ok(call)
    }
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

    /// Whether the message has no content at all, not even null.
    pub(crate) fn lacks_content(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.lacks_content)
    }

    /// The same message, which says the same in other words: with an empty text where it has no content, and
    /// with its calls' arguments in one form.
    pub(crate) fn reworded(&self, has_text: bool, arguments: Option<ArgumentForm>) -> Message {
        let mut message = self.clone();
        if has_text {
            message.content.get_or_insert_with(|| Content::Text(String::new()));
        }
        if let (Some(form), Some(rest)) = (arguments, &mut message.rest) {
            for call in &mut rest.tool_calls {
                *call = call.with_arguments_as(form);
            }
        }
        message
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
            Some(Content::Json(value)) => python_json::dumps(value),
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
        if !self.lacks_content() || self.content.is_some() {
            map.serialize_entry("content", &self.content)?;
        }
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
                // Nulls but for the content's are dropped, as transformers drops them: many templates ask only
                // whether there is such a field.
                key @ "tool_calls" => match map.next_value::<Option<Vec<_>>>()? {
                    Some(calls) if !calls.is_empty() => rest.tool_calls = calls,
                    Some(_) => drop(rest.extra.insert(key.to_owned(), Value::Array(Vec::new()))),
                    None => {}
                },
                "tool_call_id" => rest.tool_call_id = map.next_value()?,
                "name" => rest.name = map.next_value()?,
                key => {
                    let key = key.to_owned();
                    if let Some(value) = map.next_value::<Option<Value>>()? {
                        rest.extra.insert(key, value);
                    }
                }
            }
        }
        let role = name.ok_or_else(|| A::Error::missing_field("role"))?;
        rest.lacks_content = content.is_none();
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
            {"role": "assistant", "content": "done", "tool_calls": null, "reasoning_content": "hm", "refusal": null},
        ]);
        let messages: Vec<Message> = serde_json::from_value(json).unwrap();
        assert_eq!(messages[0].text(), "a");
        assert!(messages[0].has_image());
        let call = &messages[1].tool_calls()[0];
        assert_eq!((call.id(), call.name()), (Some("1"), "f"));
        assert_eq!(call.arguments().to_string(), r#"{"b":1,"a":2}"#);
        assert_eq!(call.arguments_text(), Some(r#"{"b": 1, "a": 2}"#));
        assert_eq!(messages[1].content, None);
        assert_eq!(messages[2].text(), r#"{"ok": [1, 2]}"#);
        assert!(messages[3].tool_calls().is_empty());
        assert!(messages[3].extra().eq([("reasoning_content", &json!("hm"))]));
        let back: Vec<Message> = serde_json::from_str(&serde_json::to_string(&messages).unwrap()).unwrap();
        assert_eq!(back, messages);
        // Calls without a type or a `function`, and with fields of somebody's own.
        let call = json!({"name": "f", "arguments": {"a": 1}, "index": 0});
        let message: Message =
            serde_json::from_value(json!({"role": "assistant", "tool_calls": [call]})).unwrap();
        assert!(message.lacks_content());
        assert_eq!(message.tool_calls()[0].as_json(), &call);
        assert_eq!(message.tool_calls()[0].name(), "f");
        assert_eq!(message.tool_calls()[0].arguments().into_owned(), json!({"a": 1}));
        for call in [json!("f"), json!({"function": "f"}), json!({"function": {}}), json!({"name": 1})] {
            let message = json!({"role": "assistant", "tool_calls": [call]});
            assert!(serde_json::from_value::<Message>(message).is_err());
        }
    }

    #[test]
    fn calls_are_written_in_either_form() {
        let object = ToolCall::new("f", json!({"a": "ü"}));
        let text = object.with_arguments_as(ArgumentForm::Text);
        assert_eq!(text.arguments_text(), Some(r#"{"a": "ü"}"#));
        assert_eq!(text.with_arguments_as(ArgumentForm::Object), object);
        // What is no object is left as it is.
        let odd = ToolCall::new("f", json!("{"));
        assert_eq!(odd.with_arguments_as(ArgumentForm::Object), odd);
    }
}
