//! `/v1/completions`: texts are continued, or what stands between two is written.

use serde_json::{Value, json};

use super::limits::MAX_ANSWERS_ALL;
use super::settings::{self, stream_options};
use super::{Counts, finish, logprobs, refused, texts, whole};
use crate::{Ask, Choice, Fields, Identity, Input, Problem, Reply, TextInput};

pub use super::completions_stream::CompletionEncoder;

/// What precedes an answer's id.
pub(super) const PREFIX: &str = "cmpl-";

/// The most tokens of an answer where the request does not say; OpenAI's number.
pub const DEFAULT_MAX_TOKENS: usize = 16;

/// The shape of continued texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompletionShape {
    /// Whether they come as a stream.
    pub stream: bool,
    /// What the stream counts.
    pub counts: Counts,
    /// Whether log-probabilities belong to them.
    pub logprobs: bool,
}

/// Reads a request. Its answers are numbered text by text: answer `i` of text `t` is choice `t * n + i`.
///
/// # Errors
/// A field that is not as it must be, or that cannot be heeded.
pub fn read(body: &Value) -> Result<(Ask, CompletionShape), Problem> {
    let fields = Fields::of_body(body)?;
    refused::in_texts(&fields)?;
    let logprobs = settings::text_logprobs(&fields)?;
    let settings = settings::read(&fields)?;
    let default_max_tokens = Some(DEFAULT_MAX_TOKENS);
    let ask = Ask { input: input(&fields, settings.n)?, default_max_tokens, logprobs, ..settings };
    let options = stream_options(&fields)?;
    let counts = Counts::from(&options);
    Ok((ask, CompletionShape { stream: options.stream, counts, logprobs: logprobs.is_some() }))
}

fn input(fields: &Fields, n: usize) -> Result<Input, Problem> {
    let texts = texts::read(fields, "prompt")?;
    let echo = fields.bool("echo", false)?;
    if texts.len() * n > MAX_ANSWERS_ALL {
        let what =
            format!("`n` is {n} for each of {} prompts; at most {MAX_ANSWERS_ALL} answers", texts.len());
        return Err(Problem::field("n", format!("{what} are made for one request")));
    }
    let Some(suffix) = settings::text(fields, "suffix")? else { return Ok(Input::Texts { texts, echo }) };
    if echo {
        return Err(Problem::unsupported("echo", "`echo` is not supported beside `suffix`"));
    }
    match <[TextInput; 1]>::try_from(texts) {
        Ok([TextInput::Text(prefix)]) => Ok(Input::Infill { prefix, suffix }),
        _ => {
            let what = "`suffix` is supported beside one `prompt` that is a text";
            Err(Problem::unsupported("suffix", what))
        }
    }
}

/// The whole answer.
pub fn body(identity: &Identity, reply: &Reply, shape: CompletionShape) -> Value {
    let choices = reply.choices.iter().enumerate().map(|(i, choice)| one(i, choice, shape));
    whole(identity, ["text_completion", PREFIX], choices.collect(), &reply.usage)
}

fn one(index: usize, choice: &Choice, shape: CompletionShape) -> Value {
    let logprobs = shape.logprobs.then(|| logprobs::of_text(&choice.tokens, &mut 0));
    let mut told = json!({"text": choice.text, "index": index, "logprobs": logprobs});
    finish(&mut told, choice.finish.as_ref(), "stop");
    told
}
