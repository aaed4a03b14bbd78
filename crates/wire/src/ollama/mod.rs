//! Ollama's API: `/api/generate`, `/api/chat`, embeddings, and what is told and asked about models.
//!
//! Answers are lines of JSON, on which every line has `model`, `created_at` and `done`; the last one has `done: true`,
//! times in nanoseconds, and no text. Fields and their meanings are those of Ollama's `docs/api.md` and
//! `api/types.go`. What its documents name and we cannot do is refused by name; options about the machine (threads,
//! layers on a GPU, memory maps) are hints and pass.

pub mod chat;
pub mod duration;
pub mod embed;
pub mod generate;
mod images;
mod lines;
pub mod manage;
pub mod modelfile;
pub mod models;
pub mod name;
pub mod options;
mod tools;

use std::time::Duration;

use crate::{Ask, Fields, Format, Problem};

pub use lines::timestamp;
pub use options::Options;

/// Says how long ago 1970 began. Each line of a stream tells when it was made.
pub type Clock = Box<dyn FnMut() -> Duration + Send>;

/// What a question says about the answer's form, and what only this API has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Whether the answer comes line by line.
    pub stream: bool,
    /// Whether nothing is asked of the model but to be there, or to go.
    pub only: Option<Only>,
    /// The ids that an earlier `/api/generate` gave back: they stand before the prompt.
    pub context: Vec<u32>,
    /// The template that the client wants; see [`Shape::check_template`].
    pub template: Option<String>,
    /// Whether the client allows, with so many words, that the oldest messages are left out where all are too long.
    pub truncate: bool,
}

/// What is done instead of answering, where there is nothing to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// The model is loaded.
    Load,
    /// It is unloaded.
    Unload,
}

impl Only {
    /// What `done_reason` says.
    fn done_reason(self) -> &'static str {
        match self {
            Only::Load => "load",
            Only::Unload => "unload",
        }
    }
}

impl Shape {
    /// Refuses a template that is not the model's own, as `/api/show` gave it back: prompts are made by the model's
    /// chat template, and a template in Go's language cannot replace it.
    pub fn check_template(&self, own: &str) -> Result<(), Problem> {
        match &self.template {
            Some(template) if template != own => Err(Problem::unsupported(
                "template",
                "`template` is not the model's own, which is not supported: leave it out, or send a prompt that is \
                 ready with `raw: true`",
            )),
            _ => Ok(()),
        }
    }
}

/// What `/api/generate` and `/api/chat` have in common. The input and the tools are not read yet.
fn read_common(fields: &Fields) -> Result<(Ask, Shape), Problem> {
    let model = read_model(fields)?;
    check_thinking(fields)?;
    let options = match fields.object("options")? {
        Some(fields) => Options::read(&fields)?,
        None => Options::default(),
    };
    let (own, top) = (fields.bool("logprobs", false)?, fields.count("top_logprobs", 0..=20)?);
    let ask = Ask {
        model,
        n: 1,
        sampling: options.sampling,
        max_tokens: options.max_tokens,
        stop: options.stop,
        context: options.context,
        logprobs: own.then_some(top.unwrap_or(0)),
        format: read_format(fields)?,
        keep_alive: duration::read(fields, "keep_alive")?,
        ..Ask::default()
    };
    let shape = Shape {
        stream: fields.bool("stream", true)?,
        truncate: fields.bool("truncate", false)?,
        ..Shape::default()
    };
    Ok((ask, shape))
}

/// What is done where there is nothing to answer.
fn load_or_unload(ask: &Ask) -> Only {
    if ask.keep_alive == Some(0.0) { Only::Unload } else { Only::Load }
}

/// The model's name: `model`, or `name` from older clients.
fn read_model(fields: &Fields) -> Result<Option<String>, Problem> {
    let non_empty = |name: &str| Ok(fields.str(name)?.filter(|text| !text.is_empty()));
    let (model, name) = (non_empty("model")?, non_empty("name")?);
    Ok(model.or(name).map(str::to_owned))
}

/// Thoughts may be wanted or not: Llamas have none, and an answer without any is whole.
fn check_thinking(fields: &Fields) -> Result<(), Problem> {
    match fields.get("think") {
        None | Some(serde_json::Value::Bool(_) | serde_json::Value::String(_)) => Ok(()),
        Some(other) => Err(crate::fields::wrong("think", other, "true, false or a level")),
    }
}

fn read_format(fields: &Fields) -> Result<Format, Problem> {
    match fields.get("format") {
        None => Ok(Format::Text),
        Some(value) if value == "" => Ok(Format::Text),
        Some(value) if value == "json" => Ok(Format::Object),
        Some(value) if value.is_object() => Ok(Format::Schema(value.clone())),
        Some(value) => Err(crate::fields::wrong("format", value, "\"json\" or an object, a JSON schema")),
    }
}
