//! Messages of a conversation, whichever of their forms clients send.

use std::borrow::Cow;

use puna_text::template::{Message, TemplateError, check_parts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::limits::MAX_ROLE_BYTES;
use super::settings::template_variables;
use crate::fields::{missing, wrong};
use crate::{Chat, Fields, Problem};

/// A conversation: its messages, and how the answer begins.
pub(super) fn chat(fields: &Fields) -> Result<Chat, Problem> {
    const CONTINUE: &str = "continue_final_message";
    const ANSWER: &str = "add_generation_prompt";
    let messages = messages(fields)?;
    let continue_last = fields.bool(CONTINUE, false)?;
    match (continue_last, fields.bool(ANSWER, !continue_last)?) {
        (true, true) => {
            return Err(Problem::field(ANSWER, format!("`{ANSWER}` and `{CONTINUE}` cannot both be true")));
        }
        (false, false) => {
            let why = format!("an answer needs its header; `{CONTINUE}` continues the last message");
            fields.refuse(ANSWER, |_| false, &why)?;
        }
        _ => {}
    }
    if continue_last && messages.last().is_none_or(|last| last.role != "assistant") {
        let what = format!("`{CONTINUE}` is true, but the last message is not the assistant's");
        return Err(Problem::field(CONTINUE, what));
    }
    Ok(Chat { messages, continue_last, template: template_variables(fields)? })
}

fn messages(fields: &Fields) -> Result<Vec<Message>, Problem> {
    fields.required("messages")?;
    let list = fields.list("messages")?;
    if list.is_empty() {
        return Err(Problem::field("messages", "`messages` is empty; a conversation has one at least"));
    }
    let messages =
        list.iter().enumerate().map(|(i, value)| message(value, i)).collect::<Result<Vec<_>, _>>()?;
    check_parts(&messages).map_err(|error| match error {
        TemplateError::Part { message, what } => {
            let path = format!("messages[{}]", message - 1);
            let what = format!("`{path}` {what}");
            Problem::field(&format!("{path}.content"), what)
        }
        other => Problem::field("messages", other.to_string()),
    })?;
    Ok(messages)
}

fn message(value: &Value, i: usize) -> Result<Message, Problem> {
    let path = format!("messages[{i}]");
    let fields = Fields::within(value, &path)?;
    let role = fields.required_str("role")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if role.is_empty() || role.len() > MAX_ROLE_BYTES || !role.chars().all(is_name) {
        let want = format!("a role's name of at most {MAX_ROLE_BYTES} letters");
        return Err(wrong(&fields.path("role"), fields.required("role")?, &want));
    }
    let value = modern(&fields, value)?;
    let mut message = Message::deserialize(&*value)
        .map_err(|error| Problem::field(&path, format!("`{path}` is no message: {error}")))?;
    match &*message.role {
        "developer" => message.role = Cow::Borrowed("system"),
        "function" => message.role = Cow::Borrowed("tool"),
        _ => {}
    }
    Ok(message)
}

/// A message in today's form: a `function_call` of old is a call of a tool, and texts of other names are texts.
fn modern<'v>(fields: &Fields, value: &'v Value) -> Result<Cow<'v, Value>, Problem> {
    let mut value = Cow::Borrowed(value);
    if let Some(call) = fields.get("function_call") {
        if call["name"].as_str().is_none() {
            return Err(missing(&fields.path("function_call.name")));
        }
        if fields.get("tool_calls").is_none() {
            value.to_mut()["tool_calls"] = json!([{"type": "function", "function": call}]);
        }
        if let Some(map) = value.to_mut().as_object_mut() {
            map.shift_remove("function_call");
        }
    }
    let is_renamed = |part: &Value| text_of_other_name(part).is_some();
    if fields.get("content").and_then(Value::as_array).is_some_and(|parts| parts.iter().any(is_renamed)) {
        for part in value.to_mut()["content"].as_array_mut().into_iter().flatten() {
            if let Some(text) = text_of_other_name(part) {
                *part = json!({"type": "text", "text": text});
            }
        }
    }
    Ok(value)
}

/// The text of a part that newer APIs, or an assistant who refused, give another type.
fn text_of_other_name(part: &Value) -> Option<&str> {
    match part.get("type")?.as_str()? {
        "input_text" | "output_text" => part.get("text")?.as_str(),
        "refusal" => part.get("refusal")?.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: Value) -> Result<Chat, Problem> {
        chat(&Fields::of_body(&body).unwrap())
    }

    #[test]
    fn all_forms_become_one() {
        let chat = of(json!({"chat_template_kwargs": {"date_string": "x"}, "messages": [
            {"role": "developer", "content": "d"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"role": "system", "content": "s"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"x\": 1}"}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
            {"role": "tool", "content": {"ok": true}},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ]}))
        .unwrap();
        let said: Vec<(&str, String)> = chat.messages.iter().map(|m| (&*m.role, m.text())).collect();
        let want = [
            ("system", "d"),
            ("user", "ab"),
            ("system", "s"),
            ("assistant", ""),
            ("tool", "1"),
            ("assistant", ""),
            ("tool", "{\"ok\": true}"),
            ("assistant", "no"),
        ];
        assert_eq!(said, want.map(|(role, text)| (role, text.to_owned())));
        assert_eq!(chat.messages[3].tool_calls()[0].arguments().into_owned(), json!({"x": 1}));
        assert_eq!(chat.messages[3].extra().count(), 0);
        assert_eq!(chat.messages[5].tool_calls()[0].name(), "g");
        assert_eq!((chat.continue_last, &chat.template["date_string"]), (false, &json!("x")));
    }

    #[test]
    fn the_last_message_is_continued_where_it_is_the_assistants() {
        let assistant = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        assert!(of(json!({"messages": assistant, "continue_final_message": true})).unwrap().continue_last);
        assert!(!of(json!({"messages": assistant})).unwrap().continue_last);
        let user = json!([{"role": "user", "content": "a"}]);
        for (body, param) in [
            (json!({"messages": user, "continue_final_message": true}), "continue_final_message"),
            (
                json!({"messages": assistant, "continue_final_message": true, "add_generation_prompt": true}),
                "add_generation_prompt",
            ),
            (json!({"messages": user, "add_generation_prompt": false}), "add_generation_prompt"),
        ] {
            assert_eq!(of(body.clone()).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn what_is_no_message_is_named() {
        let user = |content: Value| json!({"role": "user", "content": content});
        for (messages, param) in [
            (json!(null), "messages"),
            (json!([]), "messages"),
            (json!("hi"), "messages"),
            (json!(["hi"]), "messages[0]"),
            (json!([user(json!("a")), {"content": "b"}]), "messages[1].role"),
            (json!([{"role": "", "content": "b"}]), "messages[0].role"),
            (json!([{"role": "user<|eot_id|>", "content": "b"}]), "messages[0].role"),
            (json!([{"role": "r".repeat(MAX_ROLE_BYTES + 1), "content": "b"}]), "messages[0].role"),
            (json!([{"role": 1}]), "messages[0].role"),
            (json!([user(json!([{"type": "input_audio", "input_audio": {}}]))]), "messages[0].content"),
            (json!([user(json!({"a": 1}))]), "messages[0].content"),
            (json!([{"role": "assistant", "tool_calls": "x"}]), "messages[0]"),
            (json!([{"role": "assistant", "tool_calls": [{}]}]), "messages[0]"),
            (json!([{"role": "assistant", "function_call": {}}]), "messages[0].function_call.name"),
        ] {
            let problem = of(json!({ "messages": messages })).unwrap_err();
            assert_eq!(problem.param.as_deref(), Some(param), "{messages}");
        }
        let problem = of(json!({"messages": [user(json!("a"))], "chat_template_kwargs": {"tools": [1]}}));
        assert_eq!(problem.unwrap_err().param.as_deref(), Some("chat_template_kwargs.tools"));
    }
}
