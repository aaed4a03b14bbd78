//! Messages made of blocks, as messages in OpenAI's form.
//!
//! One of the user's messages may become several, since results of tools are messages of their own here. Blocks of
//! text stay parts of the user's message. In a system prompt they are paragraphs, in a tool's result lines; the
//! assistant's follow each other directly, since it is one text that was cut up.

use puna_text::template::Message;
use serde_json::{Value, json};

use crate::fields::{missing, wrong};
use crate::{Fields, Problem};

/// What `system` and `messages` say.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// In OpenAI's form, never none.
    pub messages: Vec<Message>,
    /// Which tools came and went on the way.
    pub changes: Vec<Change>,
}

/// A change of the tools that a message says.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// This one, defined there and then, is offered.
    Add(Value),
    /// The one of this name is not offered any more.
    Remove(String),
    /// The one of this name is offered again.
    Restore(String),
}

/// Reads `system` and `messages`.
pub(super) fn read(fields: &Fields) -> Result<Conversation, Problem> {
    let mut conversation = Conversation::default();
    if let Some(system) = fields.get("system") {
        let text = conversation.system_text("system", system)?;
        if !text.is_empty() {
            conversation.messages.push(Message::new("system", text));
        }
    }
    fields.required("messages")?;
    let list = fields.list("messages")?;
    if list.is_empty() {
        return Err(Problem::field("messages", "`messages` is empty; there must be at least one"));
    }
    let is_of_user = |message: &Value| message["role"] == "user";
    for (n, message) in list.iter().enumerate() {
        let own = Fields::within(message, &format!("messages[{n}]"))?;
        let is_last_turn = !list[n + 1..].iter().any(is_of_user);
        conversation.push(&own, is_last_turn)?;
    }
    Ok(conversation)
}

impl Conversation {
    fn push(&mut self, message: &Fields, is_last_turn: bool) -> Result<(), Problem> {
        let path = message.path("content");
        let content = message.get("content");
        match message.required_str("role")? {
            "user" => self.push_user(&path, content.ok_or_else(|| missing(&path))?),
            "assistant" => self.push_assistant(&path, content.unwrap_or(&Value::Null)),
            "system" => {
                let text = self.system_text(&path, content.unwrap_or(&Value::Null))?;
                // Such a message is for the turn it stands in alone.
                let is_over = message.str("clear_at")? == Some("next_user_message") && !is_last_turn;
                if !text.is_empty() && !is_over {
                    self.messages.push(Message::new("system", text));
                }
                Ok(())
            }
            other => {
                Err(wrong(&message.path("role"), &other.into(), "\"user\", \"assistant\" or \"system\""))
            }
        }
    }

    fn push_user(&mut self, path: &str, content: &Value) -> Result<(), Problem> {
        let (n_before, mut parts) = (self.messages.len(), Vec::new());
        for block in blocks(path, content)? {
            match block {
                Block::Other("tool_result", fields) => {
                    self.push_parts(&mut parts)?;
                    self.messages.push(tool_result(&fields)?);
                }
                block => parts.push(part(&block)?),
            }
        }
        if self.messages.len() == n_before && parts.is_empty() {
            parts.push(text_part(""));
        }
        self.push_parts(&mut parts)
    }

    fn push_parts(&mut self, parts: &mut Vec<Value>) -> Result<(), Problem> {
        if !parts.is_empty() {
            let content = match std::mem::take(parts) {
                one if one.len() == 1 && one[0]["type"] == "text" => one[0]["text"].clone(),
                several => Value::Array(several),
            };
            self.messages.push(message(json!({"role": "user", "content": content}))?);
        }
        Ok(())
    }

    fn push_assistant(&mut self, path: &str, content: &Value) -> Result<(), Problem> {
        let (mut text, mut calls) = (String::new(), Vec::new());
        for block in blocks(path, content)? {
            match block {
                Block::Text(more) => text += more,
                Block::Other("tool_use", fields) => calls.push(tool_use(&fields)?),
                // Thoughts are another model's: this one neither wrote nor reads any.
                Block::Other("thinking" | "redacted_thinking", _) => {}
                Block::Other(kind, fields) => return Err(unknown(kind, &fields)),
            }
        }
        let own = match calls.is_empty() {
            true => json!({"role": "assistant", "content": text}),
            false if text.is_empty() => json!({"role": "assistant", "content": null, "tool_calls": calls}),
            false => json!({"role": "assistant", "content": text, "tool_calls": calls}),
        };
        self.messages.push(message(own)?);
        Ok(())
    }

    /// The text of a system prompt, and the changes of tools beside it.
    fn system_text(&mut self, path: &str, content: &Value) -> Result<String, Problem> {
        let mut texts = Vec::new();
        for block in blocks(path, content)? {
            match block {
                Block::Text(text) => texts.push(text),
                Block::Other("tool_addition", fields) => self.changes.push(addition(&fields)?),
                Block::Other("tool_removal", fields) => {
                    self.changes.push(Change::Remove(reference(&fields)?.to_owned()));
                }
                Block::Other(kind, fields) => return Err(unknown(kind, &fields)),
            }
        }
        Ok(texts.join("\n\n"))
    }
}

/// A message from JSON of OpenAI's form.
fn message(json: Value) -> Result<Message, Problem> {
    serde_json::from_value(json).map_err(|error| Problem::field("messages", format!("`messages`: {error}")))
}

/// A part of a content: text, or an object of a kind.
enum Block<'v> {
    Text(&'v str),
    Other(&'v str, Fields<'v>),
}

/// The blocks of a content. A string is a block of text; null has none.
fn blocks<'v>(path: &str, content: &'v Value) -> Result<Vec<Block<'v>>, Problem> {
    let read = |(n, block): (usize, &'v Value)| {
        let fields = Fields::within(block, &format!("{path}[{n}]"))?;
        match fields.required_str("type")? {
            "text" => Ok(Block::Text(fields.required_str("text")?)),
            kind => Ok(Block::Other(kind, fields)),
        }
    };
    match content {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Block::Text(text)]),
        Value::Array(list) => list.iter().enumerate().map(read).collect(),
        _ => Err(wrong(path, content, "a string or a list of blocks")),
    }
}

fn unknown(kind: &str, fields: &Fields) -> Problem {
    let path = fields.path("type");
    Problem::unsupported(&path, format!("`{path}` is \"{kind}\", which is not supported here"))
}

/// A block of the user's or of a tool's result, as a part in OpenAI's form.
fn part(block: &Block) -> Result<Value, Problem> {
    match block {
        Block::Text(text) => Ok(text_part(text)),
        Block::Other("image", fields) => image(fields),
        Block::Other("document", fields) => document(fields).map(|text| text_part(&text)),
        Block::Other("search_result", fields) => search_result(fields).map(|text| text_part(&text)),
        Block::Other("tool_reference", fields) => Ok(text_part(fields.required_str("tool_name")?)),
        Block::Other(kind, fields) => Err(unknown(kind, fields)),
    }
}

fn text_part(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// A picture: its bytes stand in the request, none are fetched.
fn image(block: &Fields) -> Result<Value, Problem> {
    let source = source(block)?;
    match source.required_str("type")? {
        "base64" => {
            let (media_type, data) = (source.required_str("media_type")?, source.required_str("data")?);
            let url = format!("data:{media_type};base64,{data}");
            Ok(json!({"type": "image_url", "image_url": {"url": url}}))
        }
        kind => Err(not_fetched(&source, kind, "pictures are not fetched; send them as base64")),
    }
}

/// The text of a document, under its title and what the client says about it.
fn document(block: &Fields) -> Result<String, Problem> {
    refuse_citations(block)?;
    let source = source(block)?;
    let content = match source.required_str("type")? {
        "text" => source.required_str("data")?.to_owned(),
        "content" => texts(&source.path("content"), source.required("content")?)?.join("\n"),
        kind => {
            return Err(not_fetched(&source, kind, "documents are plain text; send one as type \"text\""));
        }
    };
    let lines = [block.str("title")?, block.str("context")?, Some(&content)];
    Ok(lines.into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

/// The text of what a search found, under its title and address.
fn search_result(block: &Fields) -> Result<String, Problem> {
    refuse_citations(block)?;
    let mut lines = vec![block.required_str("title")?, block.required_str("source")?];
    lines.extend(texts(&block.path("content"), block.required("content")?)?);
    Ok(lines.join("\n"))
}

fn refuse_citations(block: &Fields) -> Result<(), Problem> {
    let is_off = |value: &Value| value["enabled"] != true;
    block.refuse("citations", is_off, "answers do not say where in a document something stands")
}

fn source<'v>(block: &Fields<'v>) -> Result<Fields<'v>, Problem> {
    block.object("source")?.ok_or_else(|| missing(&block.path("source")))
}

fn not_fetched(source: &Fields, kind: &str, why: &str) -> Problem {
    let path = source.path("type");
    Problem::unsupported(&path, format!("`{path}` is \"{kind}\", which is not supported: {why}"))
}

/// Texts alone.
fn texts<'v>(path: &str, content: &'v Value) -> Result<Vec<&'v str>, Problem> {
    let text = |block| match block {
        Block::Text(text) => Ok(text),
        Block::Other(kind, fields) => Err(unknown(kind, &fields)),
    };
    blocks(path, content)?.into_iter().map(text).collect()
}

fn tool_use(block: &Fields) -> Result<Value, Problem> {
    let input = block.get("input").cloned().unwrap_or_else(|| json!({}));
    if !input.is_object() {
        return Err(wrong(&block.path("input"), &input, "an object"));
    }
    let function = json!({"name": block.required_str("name")?, "arguments": input});
    Ok(json!({"id": block.required_str("id")?, "type": "function", "function": function}))
}

/// A tool's result. The form that prompts are made of has no place for `is_error`, so it is said in words.
fn tool_result(block: &Fields) -> Result<Message, Problem> {
    let content = block.get("content").unwrap_or(&Value::Null);
    let mut parts = Vec::new();
    if block.bool("is_error", false)? {
        parts.push(text_part("Error:"));
    }
    for block in blocks(&block.path("content"), content)? {
        parts.push(part(&block)?);
    }
    let texts: Option<Vec<_>> = parts.iter().map(|part| part["text"].as_str()).collect();
    let content = texts.map_or_else(|| Value::Array(parts.clone()), |texts| texts.join("\n").into());
    let id = block.required_str("tool_use_id")?;
    message(json!({"role": "tool", "tool_call_id": id, "content": content}))
}

/// A tool that comes on the way: one of `tools`, or one that is defined here.
fn addition(block: &Fields) -> Result<Change, Problem> {
    let tool = block.object("tool")?.ok_or_else(|| missing(&block.path("tool")))?;
    match tool.required_str("type")? {
        "tool_definition" => Ok(Change::Add(tool.required("definition")?.clone())),
        _ => Ok(Change::Restore(reference(block)?.to_owned())),
    }
}

fn reference<'v>(block: &Fields<'v>) -> Result<&'v str, Problem> {
    let tool = block.object("tool")?.ok_or_else(|| missing(&block.path("tool")))?;
    match tool.required_str("type")? {
        "tool_reference" => tool.required_str("name"),
        kind => Err(unknown(kind, &tool)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(body: Value) -> Conversation {
        read(&Fields::of_body(&body).unwrap()).unwrap()
    }

    /// The messages as JSON.
    fn told(body: Value) -> Value {
        serde_json::to_value(conversation(body).messages).unwrap()
    }

    #[test]
    fn results_become_messages_of_their_own() {
        let told = told(
            json!({"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "messages": [
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I "}, {"type": "text", "text": "look"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}, {"type": "tool_use", "id": "t2", "name": "g"}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "no", "is_error": true},
                {"type": "text", "text": "and?", "cache_control": {"type": "ephemeral"}}]}]}),
        );
        let call = |id, name, arguments| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let want = json!([
            {"role": "system", "content": "a\n\nb"},
            {"role": "assistant", "content": "I look", "tool_calls": [call("t1", "f", json!({"x": 1})), call("t2", "g", json!({}))]},
            {"role": "tool", "content": "1\n2", "tool_call_id": "t1"},
            {"role": "tool", "content": "Error:\nno", "tool_call_id": "t2"},
            {"role": "user", "content": "and?"},
        ]);
        assert_eq!(told, want);
    }

    #[test]
    fn pictures_and_documents_become_parts() {
        let picture =
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}});
        let document = |source| json!({"type": "document", "title": "T", "source": source});
        let told = told(json!({"messages": [{"role": "user", "content": [
            picture,
            document(json!({"type": "text", "media_type": "text/plain", "data": "D"})),
            document(json!({"type": "content", "content": [{"type": "text", "text": "E"}]})),
            {"type": "search_result", "title": "S", "source": "u", "content": [{"type": "text", "text": "F"}]},
        ]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [picture]}]}]}));
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
        let text = |text| json!({"type": "text", "text": text});
        assert_eq!(told[0]["content"], json!([image, text("T\nD"), text("T\nE"), text("S\nu\nF")]));
        assert_eq!(told[1], json!({"role": "tool", "content": [image], "tool_call_id": "t"}));
    }

    #[test]
    fn system_messages_may_be_for_one_turn() {
        let once = json!({"role": "system", "content": "now", "clear_at": "next_user_message"});
        let hi = json!({"role": "user", "content": "hi"});
        assert_eq!(told(json!({"messages": [hi, once]})).as_array().unwrap().len(), 2);
        assert_eq!(told(json!({"messages": [hi, once, hi]})), json!([hi, hi]));
        let tool = json!({"name": "f", "input_schema": {}});
        let changes = conversation(json!({"messages": [hi, {"role": "system", "content": [
            {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}},
            {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "g"}},
            {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "g"}},
        ]}]}));
        assert_eq!(changes.messages.len(), 1);
        let g = || "g".to_owned();
        assert_eq!(changes.changes, [Change::Add(tool), Change::Remove(g()), Change::Restore(g())]);
    }
}
