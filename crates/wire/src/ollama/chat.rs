//! `/api/chat`: a conversation is answered, perhaps with calls of tools.

use std::time::Duration;

use puna_text::template::Message;
use serde_json::{Value, json};

use super::lines::{self, Lines};
use super::{Clock, Only, Shape, images, load_or_unload, read_common, tools};
use crate::fields::wrong;
use crate::{Ask, Call, Chat, Encode, Event, Fields, Finish, Frames, Identity, Input, Problem, Reply, Usage};

/// Reads a body. A body without messages says that the model is to be loaded, or unloaded.
///
/// Where the last message is the assistant's, it is continued.
pub fn read(body: &Value) -> Result<(Ask, Shape), Problem> {
    let fields = Fields::of_body(body)?;
    let (mut ask, mut shape) = read_common(&fields)?;
    ask.tools = tools::read(&fields)?;
    let messages = fields.list("messages")?;
    if messages.is_empty() {
        shape.only = Some(load_or_unload(&ask));
        return Ok((ask, shape));
    }
    let numbered = messages.iter().enumerate();
    let messages = numbered.map(|(at, message)| read_message(message, &format!("messages[{at}]")));
    let messages: Vec<Message> = messages.collect::<Result<_, _>>()?;
    let continue_last = messages.last().is_some_and(|message| {
        message.role == "assistant" && message.tool_calls().is_empty() && !message.text().is_empty()
    });
    ask.input = Input::Chat(Chat { messages, continue_last, ..Chat::default() });
    Ok((ask, shape))
}

/// A message, in OpenAI's form. Results of tools need no name and no id: they answer the calls in their order.
pub(super) fn read_message(message: &Value, path: &str) -> Result<Message, Problem> {
    let fields = Fields::within(message, path)?;
    let role = match fields.required_str("role")? {
        "developer" => "system",
        role @ ("system" | "user" | "assistant" | "tool") => role,
        _ => return Err(wrong(&fields.path("role"), &message["role"], "system, user, assistant or tool")),
    };
    let images = images::read(&fields)?;
    let content = match fields.get("content") {
        Some(content @ (Value::String(_) | Value::Array(_))) => content.clone(),
        // A tool's result may be any JSON.
        Some(content) if role == "tool" => content.clone(),
        Some(content) => return Err(wrong(&fields.path("content"), content, "a string or a list of parts")),
        None => json!(""),
    };
    let content = match (images.is_empty(), content.as_str()) {
        (true, _) => content,
        (false, Some(text)) => json!(images::with_text(images, text)),
        (false, None) => return Err(wrong(&fields.path("content"), &content, "a string beside `images`")),
    };
    let mut whole = json!({"role": role, "content": content});
    let calls = fields.list("tool_calls")?;
    if !calls.is_empty() {
        let numbered = calls.iter().enumerate();
        let calls = numbered.map(|(at, call)| read_call(call, &fields.path(&format!("tool_calls[{at}]"))));
        whole["tool_calls"] = calls.collect::<Result<_, _>>()?;
    }
    if let Some(id) = fields.str("tool_call_id")? {
        whole["tool_call_id"] = json!(id);
    }
    if let Some(name) = fields.str("tool_name")?.or(fields.str("name")?).filter(|name| !name.is_empty()) {
        whole["name"] = json!(name);
    }
    serde_json::from_value(whole).map_err(|error| Problem::field(path, format!("`{path}`: {error}")))
}

/// A call of an earlier answer: its arguments are an object, or a text that says one.
fn read_call(call: &Value, path: &str) -> Result<Value, Problem> {
    let call = Fields::within(call, path)?;
    let function = Fields::within(call.required("function")?, &call.path("function"))?;
    let name = function.required_str("name")?;
    let arguments = match function.get("arguments") {
        None => json!({}),
        Some(Value::String(text)) if text.is_empty() => json!({}),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(arguments) => arguments.clone(),
    };
    if !arguments.is_object() {
        let found = function.required("arguments")?;
        return Err(wrong(&function.path("arguments"), found, "an object"));
    }
    let mut whole = json!({"type": "function", "function": {"name": name, "arguments": arguments}});
    if let Some(id) = call.str("id")? {
        whole["id"] = json!(id);
    }
    Ok(whole)
}

/// Writes an answer as lines. Text comes as it is made; a call of a tool waits until its arguments are complete,
/// which this API has as an object.
pub struct Encoder {
    lines: Lines,
    finish: Option<Finish>,
    /// The call whose arguments are not complete yet, and its number.
    call: Option<(usize, Call)>,
}

impl Encoder {
    /// Lines of the model that `identity` names.
    pub fn new(identity: &Identity, clock: Clock) -> Encoder {
        Encoder { lines: Lines::new(identity, clock), finish: None, call: None }
    }

    fn flush_call(&mut self, out: &mut Frames) {
        if let Some(call) = self.call.take().and_then(|(index, call)| call_json(index, &call)) {
            let message = json!({"role": "assistant", "content": "", "tool_calls": [call]});
            out.line(&self.lines.line("message", message, false));
        }
    }
}

impl Encode for Encoder {
    fn begin(&mut self, _out: &mut Frames) {}

    fn event(&mut self, event: &Event, out: &mut Frames) {
        match event {
            Event::Arguments { text, .. } => {
                if let Some((_, call)) = &mut self.call {
                    call.arguments += text;
                }
                return;
            }
            _ => self.flush_call(out),
        }
        match event {
            Event::Text { text, tokens, .. } if !text.is_empty() || !tokens.is_empty() => {
                let mut line = self.lines.line("message", assistant(text), false);
                lines::add_logprobs(&mut line, tokens);
                out.line(&line);
            }
            Event::Call { index, id, name, .. } => {
                let call = Call { id: id.clone(), name: name.clone(), arguments: String::new() };
                self.call = Some((*index, call));
            }
            Event::End { finish, .. } => self.finish = Some(finish.clone()),
            Event::Text { .. } | Event::Arguments { .. } => {}
        }
    }

    fn end(&mut self, usage: &Usage, out: &mut Frames) {
        self.flush_call(out);
        let mut line = self.lines.line("message", assistant(""), true);
        lines::close(&mut line, self.finish.as_ref(), usage);
        out.line(&line);
    }

    fn fail(&mut self, problem: &Problem, out: &mut Frames) {
        out.line(&lines::failure(problem));
    }

    /// Comments and empty lines break clients of this API: an empty piece does not.
    fn keep_alive(&mut self, out: &mut Frames) {
        out.line(&self.lines.line("message", assistant(""), false));
    }
}

fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// A call, if its arguments are whole: where the answer's length ended it before, there is nothing to run.
fn call_json(index: usize, call: &Call) -> Option<Value> {
    let arguments = match call.arguments.as_str() {
        "" => json!({}),
        _ => call.arguments_value(),
    };
    let function = json!({"index": index, "name": call.name, "arguments": arguments});
    arguments.is_object().then(|| json!({"id": call.id, "function": function}))
}

/// A whole answer.
pub fn whole(identity: &Identity, now: Duration, reply: &Reply) -> Value {
    let choice = reply.choices.first();
    let mut message = assistant(choice.map_or("", |choice| &choice.text));
    let calls = choice.map_or(&[][..], |choice| &choice.calls).iter().enumerate();
    let calls: Vec<Value> = calls.filter_map(|(index, call)| call_json(index, call)).collect();
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    let mut body = lines::line(&identity.model, now, "message", message, true);
    lines::close(&mut body, choice.and_then(|choice| choice.finish.as_ref()), &reply.usage);
    lines::add_logprobs(&mut body, choice.map_or(&[], |choice| &choice.tokens));
    body
}

/// What is said where there was nothing to answer.
pub fn only(identity: &Identity, now: Duration, only: Only) -> Value {
    let mut body = lines::line(&identity.model, now, "message", assistant(""), true);
    body["done_reason"] = json!(only.done_reason());
    body
}
