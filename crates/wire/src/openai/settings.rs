//! Settings that conversations and texts have in common: how tokens are chosen, and where answers end.

use serde_json::Value;

use super::format;
use super::limits::*;
use super::refused::is_off;
use crate::fields::wrong;
use crate::ollama::duration;
use crate::{Ask, Fields, Input, Problem, Sampling, Tools};

/// Names for the most tokens of an answer; the first that is there counts.
const CEILINGS: [&str; 3] = ["max_completion_tokens", "max_tokens", "n_predict"];

/// A question with all settings, and with nothing yet to answer.
pub(super) fn read(fields: &Fields) -> Result<Ask, Problem> {
    let n = fields.count("n", 1..=MAX_ANSWERS)?.unwrap_or(1);
    let is_neutral = |value: &Value| value.as_u64().is_some_and(|best| best == 1 || best == n as u64);
    fields.refuse("best_of", is_neutral, "all answers are sent; ask for `n`")?;
    Ok(Ask {
        model: text(fields, "model")?,
        input: Input::default(),
        n,
        sampling: sampling(fields)?,
        max_tokens: ceiling(fields)?,
        default_max_tokens: None,
        stop: stop(fields)?,
        ignore_eos: fields.bool("ignore_eos", false)?,
        logprobs: None,
        format: format::read(fields)?,
        tools: Tools::default(),
        tenant: tenant(fields)?,
        keep_alive: keep_alive(fields)?,
        context: fields.count("num_ctx", 1..=usize::MAX)?,
    })
}

/// A text; `None` where it is empty.
pub(super) fn text(fields: &Fields, name: &str) -> Result<Option<String>, Problem> {
    Ok(fields.str(name)?.filter(|text| !text.is_empty()).map(str::to_owned))
}

/// Who asks: vLLM's salt for its cache, or else the user.
pub(super) fn tenant(fields: &Fields) -> Result<Option<String>, Problem> {
    let salt = text(fields, "cache_salt")?;
    let user = text(fields, "user")?;
    Ok(salt.or(user))
}

/// The most tokens of an answer. -1 is as many as there may be.
fn ceiling(fields: &Fields) -> Result<Option<usize>, Problem> {
    let mut first = None;
    for name in CEILINGS {
        let most = fields.int(name, -1..=i64::MAX)?;
        first = first.or(most.map(|n| usize::try_from(n).unwrap_or(usize::MAX)));
    }
    Ok(first)
}

fn stop(fields: &Fields) -> Result<Vec<String>, Problem> {
    let stop = fields.strings("stop", MAX_STOPS)?;
    match stop.iter().find(|text| text.len() > MAX_STOP_BYTES) {
        Some(text) => Err(Problem::field(
            "stop",
            format!("`stop` has a string of {} bytes; at most {MAX_STOP_BYTES} are allowed", text.len()),
        )),
        None => Ok(stop),
    }
}

fn sampling(fields: &Fields) -> Result<Sampling, Problem> {
    let penalty = |name: &str| fields.number(name, -MAX_PENALTY..=MAX_PENALTY);
    let repeat = |name: &str| fields.number(name, MIN_REPEAT_PENALTY..=MAX_REPEAT_PENALTY);
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0..=MAX_TEMPERATURE)?,
        top_p: fields.number("top_p", 0.0..=1.0)?,
        // vLLM's -1 keeps all, as 0 does.
        top_k: fields.int("top_k", -1..=i64::MAX)?.map(|k| usize::try_from(k).unwrap_or(0)),
        min_p: fields.number("min_p", 0.0..=1.0)?,
        typical_p: typical_p(fields)?,
        repeat_penalty: repeat("repeat_penalty")?.or(repeat("repetition_penalty")?),
        presence_penalty: penalty("presence_penalty")?,
        frequency_penalty: penalty("frequency_penalty")?,
        repeat_last_n: fields.int("repeat_last_n", -1..=i64::MAX)?.and_then(|n| usize::try_from(n).ok()),
        seed: seed(fields)?,
        logit_bias: logit_bias(fields)?,
    })
}

fn typical_p(fields: &Fields) -> Result<Option<f64>, Problem> {
    match fields.number("typical_p", 0.0..=1.0)? {
        Some(0.0) => Err(wrong("typical_p", &Value::from(0), "a number above 0 and at most 1")),
        p => Ok(p),
    }
}

/// Any number of 64 bits. -1 is as if there were none, for llama.cpp and vLLM alike.
fn seed(fields: &Fields) -> Result<Option<u64>, Problem> {
    let Some(value) = fields.get("seed") else { return Ok(None) };
    if let Some(seed) = value.as_u64() {
        return Ok(Some(seed));
    }
    let seed = fields.int("seed", i64::MIN..=i64::MAX).ok().flatten();
    let seed = seed.ok_or_else(|| wrong("seed", value, "a whole number of 64 bits"))?;
    Ok(Some(seed).filter(|seed| *seed != -1).map(i64::cast_unsigned))
}

/// OpenAI's `{"id": bias}`, or llama.cpp's `[[id, bias]]`, where `false` forbids a token.
fn logit_bias(fields: &Fields) -> Result<Vec<(u32, f32)>, Problem> {
    const NAME: &str = "logit_bias";
    let Some(value) = fields.get(NAME) else { return Ok(Vec::new()) };
    let pairs: Option<Vec<(Option<u32>, &Value)>> = match value {
        Value::Object(map) => Some(map.iter().map(|(id, bias)| (id.parse().ok(), bias)).collect()),
        Value::Array(pairs) => pairs.iter().map(pair).collect(),
        _ => None,
    };
    let pairs = pairs.ok_or_else(|| wrong(NAME, value, "an object of biases by token id"))?;
    if pairs.len() > MAX_BIASES {
        let n = pairs.len();
        return Err(Problem::field(
            NAME,
            format!("`{NAME}` has {n} tokens; at most {MAX_BIASES} are allowed"),
        ));
    }
    let mut biases: Vec<(u32, f32)> = Vec::with_capacity(pairs.len());
    for (id, bias) in pairs {
        let id = id.ok_or_else(|| Problem::field(NAME, format!("`{NAME}` must name tokens by their ids")))?;
        let path = format!("{NAME}.{id}");
        if biases.iter().any(|(other, _)| *other == id) {
            return Err(Problem::field(&path, format!("`{NAME}` has the token {id} twice")));
        }
        let number = match bias {
            Value::Bool(false) => Some(f32::NEG_INFINITY),
            _ => bias.as_f64().filter(|x| x.abs() <= MAX_BIAS).map(|x| x as f32),
        };
        let want = || wrong(&path, bias, &format!("a number from -{MAX_BIAS} to {MAX_BIAS}"));
        biases.push((id, number.ok_or_else(want)?));
    }
    Ok(biases)
}

fn pair(pair: &Value) -> Option<(Option<u32>, &Value)> {
    match pair.as_array()?.as_slice() {
        [id, bias] => Some((id.as_u64().and_then(|id| u32::try_from(id).ok()), bias)),
        _ => None,
    }
}

/// Seconds as a number, or Go's durations, as Ollama has it.
fn keep_alive(fields: &Fields) -> Result<Option<f64>, Problem> {
    match duration::read(fields, "keep_alive")? {
        Some(seconds) if seconds.abs() > MAX_KEEP_ALIVE => {
            Err(wrong("keep_alive", &seconds.into(), "seconds, or a duration such as \"5m\""))
        }
        seconds => Ok(seconds),
    }
}

/// Whether log-probabilities are wanted in a conversation, and how many beside each.
pub(super) fn chat_logprobs(fields: &Fields) -> Result<Option<usize>, Problem> {
    let top = fields.count("top_logprobs", 0..=MAX_LOGPROBS)?;
    match fields.bool("logprobs", false)? {
        true => Ok(Some(top.unwrap_or(0))),
        false if top.is_some_and(|n| n > 0) => {
            Err(Problem::field("top_logprobs", "`top_logprobs` needs `logprobs` to be true"))
        }
        false => Ok(None),
    }
}

/// The same for texts: a number, which llama.cpp allows to be true or false.
pub(super) fn text_logprobs(fields: &Fields) -> Result<Option<usize>, Problem> {
    match fields.get("logprobs") {
        Some(Value::Bool(_)) => chat_logprobs(fields),
        _ => fields.count("logprobs", 0..=MAX_LOGPROBS),
    }
}

/// Whether the answer is a stream, and what is counted in it.
pub(super) struct StreamOptions {
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) continuous_usage: bool,
}

pub(super) fn stream_options(fields: &Fields) -> Result<StreamOptions, Problem> {
    let options = fields.object("stream_options")?;
    let option = |name: &str| options.as_ref().map_or(Ok(false), |options| options.bool(name, false));
    Ok(StreamOptions {
        stream: fields.bool("stream", false)?,
        include_usage: option("include_usage")?,
        continuous_usage: option("continuous_usage_stats")?,
    })
}

/// An object of variables for the chat template. What the request says elsewhere cannot be said here again.
pub(super) fn template_variables(fields: &Fields) -> Result<serde_json::Map<String, Value>, Problem> {
    const NAME: &str = "chat_template_kwargs";
    const OWN: [&str; 4] = ["messages", "tools", "add_generation_prompt", "continue_final_message"];
    let Some(variables) = fields.object(NAME)? else { return Ok(serde_json::Map::new()) };
    for name in OWN {
        variables.refuse(name, is_off, &format!("`{name}` is a field of its own"))?;
    }
    let known = |name: &str| OWN.contains(&name);
    Ok(variables
        .iter()
        .filter(|(name, _)| !known(name))
        .map(|(name, v)| (name.to_owned(), v.clone()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos_or_seconds() {
        for (text, want) in [
            ("5m", Some(300.0)),
            ("1h30m", Some(5400.0)),
            ("500ms", Some(0.5)),
            ("1.5s", Some(1.5)),
            ("-1", Some(-1.0)),
            ("-1m", Some(-60.0)),
            ("0", Some(0.0)),
            ("", None),
            ("-", None),
            ("5", Some(5.0)),
            ("1h5", None),
            ("5d", None),
            ("m", None),
            ("1..5s", None),
            ("inf", None),
        ] {
            assert_eq!(duration::parse(text), want, "{text}");
        }
    }
}
