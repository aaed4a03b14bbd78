//! What a message may hold: text, and parts of the types `text` and `image`.
//!
//! A part of another type, or without one, is refused: whoever left it out would let the model answer a
//! question about something that it was never shown. What is beside the known fields of a part is allowed.

use serde_json::Value;

use crate::error::shown;
use crate::template::{Content, Message, Part, TemplateError};

/// Refuses messages that hold something that no prompt can say. Messages are counted from 1.
pub fn check_parts(messages: &[Message]) -> Result<(), TemplateError> {
    for (i, message) in messages.iter().enumerate() {
        if let Some(what) = unknown(message) {
            return Err(TemplateError::Part { message: i + 1, what });
        }
    }
    Ok(())
}

/// What in a message is not known.
fn unknown(message: &Message) -> Option<String> {
    match message.content.as_ref()? {
        Content::Text(_) => None,
        Content::Parts(parts) => parts.iter().find_map(|part| match part {
            Part::Text(_) | Part::Image(_) => None,
            Part::Other(value) => Some(describe(value)),
        }),
        // The result of a tool may be any JSON.
        Content::Json(_) if matches!(&*message.role, "tool" | "ipython") => None,
        Content::Json(value) => match &**value {
            Value::Array(parts) => parts.iter().find(|part| !part["type"].is_string()).map(describe),
            _ => Some("has a content that is neither a text nor a list of parts".into()),
        },
    }
}

fn describe(part: &Value) -> String {
    match part.get("type") {
        Some(Value::String(kind)) if kind == "text" => {
            "has a part of type `text` whose `text` is missing or not a text".into()
        }
        Some(Value::String(kind)) => {
            format!("has a part of type `{}`, which is not supported; known are text and image", shown(kind))
        }
        Some(_) => "has a part whose `type` is not a text".into(),
        None if part.is_object() => "has a part without a `type`".into(),
        None => "has a part that is not an object with a `type`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{
        ChatFormat, GuardVersion, JinjaTemplate, MetaFormat, RenderOptions, SpecialNames, ToolCallSyntax,
    };
    use serde_json::json;

    fn messages(role: &str, content: Value) -> Vec<Message> {
        let list = json!([{"role": "user", "content": "hi"}, {"role": role, "content": content}]);
        serde_json::from_value(list).unwrap()
    }

    #[test]
    fn unknown_parts_are_refused_by_type_and_number() {
        let text = json!({"type": "text", "text": "What is it?"});
        for (part, words) in [
            (json!({"type": "video", "video": {"url": "x"}}), "type `video`"),
            (json!({"type": "input_audio", "input_audio": {}}), "type `input_audio`"),
            (json!({"type": "image-url", "url": "x"}), "type `image-url`"),
            (json!({"type": "\u{1b}[2J\n"}), "type `\\u{1b}[2J\\n`"),
            (json!({"type": "text", "text": 5}), "whose `text` is missing"),
            (json!({"type": "text"}), "whose `text` is missing"),
            (json!({"type": 5}), "`type` is not a text"),
            (json!({"video": "x"}), "without a `type`"),
            (json!("text"), "not an object"),
        ] {
            for role in ["user", "assistant", "system", "critic"] {
                let found = check_parts(&messages(role, json!([text, part]))).unwrap_err().to_string();
                assert!(found.starts_with("message 2 has") && found.contains(words), "{found}");
            }
        }
        assert!(check_parts(&messages("user", json!({"a": 1}))).is_err());
        let long = check_parts(&messages("user", json!([{"type": "x".repeat(9999)}]))).unwrap_err();
        assert!(long.to_string().len() < 300);
    }

    #[test]
    fn what_is_known_stays_allowed() {
        let image = json!({"type": "image_url", "image_url": {"url": "x", "detail": "low"}, "more": 1});
        let text = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}});
        for content in [json!("a"), json!(null), json!([]), json!([image, text])] {
            check_parts(&messages("user", content)).unwrap();
        }
        check_parts(&messages("tool", json!({"ok": [1, 2]}))).unwrap();
        check_parts(&messages("ipython", json!([1, {"a": 2}]))).unwrap();
    }

    /// Every way to a prompt.
    #[test]
    fn every_format_refuses() {
        let messages = &messages("user", json!([{"type": "file"}]))[1..];
        let options = RenderOptions::answer();
        let formats = [
            ChatFormat::Llama2,
            ChatFormat::Llama3,
            ChatFormat::Llama31,
            ChatFormat::Llama32,
            ChatFormat::Llama32Vision,
            ChatFormat::Llama4,
        ];
        let mut refusals: Vec<_> = formats.map(|format| format.render(messages, &options).err()).into();
        refusals.extend(GuardVersion::ALL.map(|version| version.render(messages, &[]).err()));
        for format in [MetaFormat::Llama3, MetaFormat::Llama4] {
            refusals.push(format.render(messages, ToolCallSyntax::Json).err());
        }
        let template = JinjaTemplate::new("{% for m in messages %}{{ m.content }}{% endfor %}").unwrap();
        refusals.push(template.render_text(messages, &options, &SpecialNames::default()).err());
        for refusal in refusals {
            assert!(matches!(refusal, Some(TemplateError::Part { message: 1, .. })), "{refusal:?}");
        }
    }
}
