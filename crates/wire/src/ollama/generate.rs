//! `/api/generate`: a prompt is answered, continued as it stands, or filled in.

use std::time::Duration;

use puna_text::template::Message;
use serde_json::{Value, json};

use super::lines::{self, Lines};
use super::{Clock, Only, Shape, images, load_or_unload, read_common};
use crate::fields::wrong;
use crate::{
    Ask, Chat, Encode, Event, Fields, Finish, Frames, Identity, Input, Problem, Reply, TextInput, Usage,
};

/// The most ids of an earlier conversation: more than any Llama's context.
const MOST_IDS: usize = 1 << 24;

/// Reads a body.
///
/// Without `raw` the prompt is a user's message, and `system` stands before it; with `suffix` it is what comes before
/// a gap. A body with nothing to answer says that the model is to be loaded, or unloaded.
pub fn read(body: &Value) -> Result<(Ask, Shape), Problem> {
    let fields = Fields::of_body(body)?;
    let (mut ask, mut shape) = read_common(&fields)?;
    shape.context = read_ids(&fields)?;
    shape.template = non_empty(&fields, "template")?.map(str::to_owned);
    let prompt = fields.str("prompt")?.unwrap_or_default();
    let images = images::read(&fields)?;
    let system = non_empty(&fields, "system")?;
    let suffix = non_empty(&fields, "suffix")?;
    let is_raw = fields.bool("raw", false)?;
    if prompt.is_empty() && suffix.is_none() && images.is_empty() {
        shape.only = Some(load_or_unload(&ask));
        return Ok((ask, shape));
    }
    ask.input = if is_raw {
        let others = ["template", "system", "context", "suffix", "images"];
        refuse_beside(&fields, &others, "`raw: true`, where the prompt is all that the model reads")?;
        Input::Texts { texts: vec![TextInput::Text(prompt.to_owned())], echo: false }
    } else if let Some(suffix) = suffix {
        let others = ["template", "system", "context", "images"];
        refuse_beside(
            &fields,
            &others,
            "`suffix`, where the prompt and the suffix are all that the model reads",
        )?;
        Input::Infill { prefix: prompt.to_owned(), suffix: suffix.to_owned() }
    } else {
        let user = Message::with_content("user", images::with_text(images, prompt));
        let system = system.map(|text| Message::new("system", text));
        Input::Chat(Chat { messages: system.into_iter().chain([user]).collect(), ..Chat::default() })
    };
    Ok((ask, shape))
}

fn non_empty<'v>(fields: &Fields<'v>, name: &str) -> Result<Option<&'v str>, Problem> {
    Ok(fields.str(name)?.filter(|text| !text.is_empty()))
}

/// Refuses fields that say something, where they cannot be heeded.
fn refuse_beside(fields: &Fields, names: &[&str], beside: &str) -> Result<(), Problem> {
    let says_nothing = |value: &Value| match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match names.iter().find(|name| fields.get(name).is_some_and(|value| !says_nothing(value))) {
        Some(name) => Err(Problem::unsupported(name, format!("`{name}` is not supported beside {beside}"))),
        None => Ok(()),
    }
}

fn read_ids(fields: &Fields) -> Result<Vec<u32>, Problem> {
    let ids = fields.list("context")?;
    if ids.len() > MOST_IDS {
        return Err(Problem::field(
            "context",
            format!("`context` has {} ids; at most {MOST_IDS} are allowed", ids.len()),
        ));
    }
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| wrong("context", value, "a list of ids that an earlier answer gave back"))
    };
    ids.iter().map(id).collect()
}

/// Writes an answer as lines.
pub struct Encoder {
    lines: Lines,
    finish: Option<Finish>,
    context: Option<Box<dyn FnOnce() -> Vec<u32> + Send>>,
}

impl Encoder {
    /// Lines of the model that `identity` names.
    pub fn new(identity: &Identity, clock: Clock) -> Encoder {
        Encoder { lines: Lines::new(identity, clock), finish: None, context: None }
    }

    /// Gives back, on the last line, the ids of the conversation so far: of the prompt and the answer. They are asked
    /// for when the answer is over.
    pub fn with_context(mut self, ids: impl FnOnce() -> Vec<u32> + Send + 'static) -> Encoder {
        self.context = Some(Box::new(ids));
        self
    }
}

impl Encode for Encoder {
    fn begin(&mut self, _out: &mut Frames) {}

    fn event(&mut self, event: &Event, out: &mut Frames) {
        match event {
            Event::Text { text, tokens, .. } if !text.is_empty() || !tokens.is_empty() => {
                let mut line = self.lines.line("response", json!(text), false);
                lines::add_logprobs(&mut line, tokens);
                out.line(&line);
            }
            // This API offers no tools.
            Event::Text { .. } | Event::Call { .. } | Event::Arguments { .. } => {}
            Event::End { finish, .. } => self.finish = Some(finish.clone()),
        }
    }

    fn end(&mut self, usage: &Usage, out: &mut Frames) {
        let mut line = self.lines.line("response", json!(""), true);
        lines::close(&mut line, self.finish.as_ref(), usage);
        if let Some(ids) = self.context.take() {
            line["context"] = json!(ids());
        }
        out.line(&line);
    }

    fn fail(&mut self, problem: &Problem, out: &mut Frames) {
        out.line(&lines::failure(problem));
    }

    /// Comments and empty lines break clients of this API: an empty piece does not.
    fn keep_alive(&mut self, out: &mut Frames) {
        out.line(&self.lines.line("response", json!(""), false));
    }
}

/// A whole answer. `context` are the ids of the conversation so far, where they are known.
pub fn whole(identity: &Identity, now: Duration, reply: &Reply, context: Option<&[u32]>) -> Value {
    let choice = reply.choices.first();
    let text = choice.map_or("", |choice| &choice.text);
    let mut body = lines::line(&identity.model, now, "response", json!(text), true);
    lines::close(&mut body, choice.and_then(|choice| choice.finish.as_ref()), &reply.usage);
    lines::add_logprobs(&mut body, choice.map_or(&[], |choice| &choice.tokens));
    if let Some(ids) = context {
        body["context"] = json!(ids);
    }
    body
}

/// What is said where there was nothing to answer.
pub fn only(identity: &Identity, now: Duration, only: Only) -> Value {
    let mut body = lines::line(&identity.model, now, "response", json!(""), true);
    body["done_reason"] = json!(only.done_reason());
    body
}
