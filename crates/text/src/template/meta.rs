//! The prompts that Meta's own code makes for Llama 3 and 4 (`ChatFormat` of llama-models).
//!
//! They differ from the checkpoints' templates: nothing is trimmed, there is no block of dates or tools
//! (the caller writes those into the system text), tool calls have other spellings, and header, blank
//! line and content are encoded apart from each other.

use serde_json::{Value, json};

use crate::template::prompt::Prompt;
use crate::template::python_json::{JsonStyle, dumps_as, number_text};
use crate::template::{Content, Message, Part, TemplateError, ToolCall, check_parts};

/// A generation of Meta's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaFormat {
    /// Llama 3 and its successors up to 3.3.
    Llama3,
    /// Llama 4.
    Llama4,
}

/// How tool calls of the history are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolCallSyntax {
    /// `{"type": "function", "name": …, "parameters": {…}}`
    #[default]
    Json,
    /// `<function=NAME>{…}</function>`
    FunctionTag,
    /// `[name(key="value")]`
    PythonList,
}

impl MetaFormat {
    /// The prompt for `messages`, with a header for the answer.
    pub fn render(self, messages: &[Message], calls: ToolCallSyntax) -> Result<Prompt, TemplateError> {
        check_parts(messages)?;
        let mut prompt = Prompt::default();
        prompt.special("<|begin_of_text|>");
        for message in messages {
            self.message(&mut prompt, message, calls)?;
        }
        self.header(&mut prompt, "assistant");
        Ok(prompt)
    }

    fn header(self, prompt: &mut Prompt, role: &str) {
        let (start, end) = match self {
            MetaFormat::Llama3 => ("<|start_header_id|>", "<|end_header_id|>"),
            MetaFormat::Llama4 => ("<|header_start|>", "<|header_end|>"),
        };
        prompt.special(start).text(role).special(end).separate_text("\n\n");
    }

    fn message(
        self,
        prompt: &mut Prompt,
        message: &Message,
        calls: ToolCallSyntax,
    ) -> Result<(), TemplateError> {
        let is_tool = matches!(&*message.role, "tool" | "ipython");
        self.header(prompt, if is_tool { "ipython" } else { &message.role });
        match &message.content {
            Some(Content::Parts(parts)) => {
                for part in parts {
                    match part {
                        Part::Text(text) => prompt.separate_text(text.as_str()),
                        Part::Image(_) => prompt.special("<|image|>"),
                        Part::Other(_) => &mut *prompt, // Refused before.
                    };
                }
            }
            _ => {
                prompt.separate_text(message.text());
            }
        }
        if calls == ToolCallSyntax::PythonList && !message.tool_calls().is_empty() {
            let calls: Vec<String> = message.tool_calls().iter().map(python_call).collect();
            prompt.separate_text(format!("[{}]", calls.join(", ")));
        } else {
            for call in message.tool_calls() {
                prompt.separate_text(tool_call(call, calls));
            }
        }
        let ends = match self {
            MetaFormat::Llama3 => "<|eot_id|>",
            MetaFormat::Llama4 if is_tool || !message.tool_calls().is_empty() => "<|eom|>",
            MetaFormat::Llama4 => "<|eot|>",
        };
        prompt.special(ends);
        Ok(())
    }
}

fn tool_call(call: &ToolCall, syntax: ToolCallSyntax) -> String {
    const PYTHONS: JsonStyle = JsonStyle { indent: None, ascii: true };
    let arguments = call.arguments();
    let (name, arguments) = (call.name(), &*arguments);
    let argument = |key: &str| arguments[key].as_str().unwrap_or_default();
    match (name, syntax) {
        // The builtin tools have one spelling in all syntaxes; the query is not escaped.
        ("brave_search" | "wolfram_alpha" | "photogen", _) => {
            format!("{name}.call(query=\"{}\")", argument("query"))
        }
        ("code_interpreter", _) => argument("code").to_owned(),
        (_, ToolCallSyntax::Json) => {
            dumps_as(&json!({"type": "function", "name": name, "parameters": arguments}), PYTHONS)
        }
        (_, ToolCallSyntax::FunctionTag) => {
            format!("<function={name}>{}</function>", dumps_as(arguments, PYTHONS))
        }
        (_, ToolCallSyntax::PythonList) => format!("[{}]", python_call(call)),
    }
}

/// `name(key="value", other=1)`
fn python_call(call: &ToolCall) -> String {
    let arguments = call.arguments();
    let arguments = arguments.as_object().into_iter().flatten();
    let arguments: Vec<String> =
        arguments.map(|(key, value)| format!("{key}={}", python_literal(value))).collect();
    format!("{}({})", call.name(), arguments.join(", "))
}

// The depth is bounded by the parser that made the value.
fn python_literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number_text(number),
        Value::String(_) => dumps_as(value, JsonStyle::default()),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(python_literal).collect::<Vec<_>>().join(", "))
        }
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| {
                format!("{}: {}", python_literal(&Value::String(key.clone())), python_literal(value))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_calls_are_valid_python() {
        let call: ToolCall = serde_json::from_value(json!({"function": {"name": "f", "arguments":
            {"a": "x\"y", "b": [1, 2.5, true, null], "c": {"k": false}}}}))
        .unwrap();
        assert_eq!(python_call(&call), r#"f(a="x\"y", b=[1, 2.5, True, None], c={"k": False})"#);
    }
}
