//! `/api/embed`, and the older `/api/embeddings`: texts become vectors.

use serde_json::{Value, json};

use super::{Options, duration, read_model};
use crate::fields::wrong;
use crate::{Fields, Identity, Problem, Usage};

/// The most texts of a question.
const MOST_TEXTS: usize = 4096;

/// Texts to embed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embed {
    /// The model, as the client names it; the server's own if `None`.
    pub model: Option<String>,
    /// The texts; none where the model is only to be loaded.
    pub texts: Vec<String>,
    /// Whether a text that is too long is cut, rather than refused.
    pub truncate: bool,
    /// How many numbers of each vector are wanted; all if `None`.
    pub dimensions: Option<usize>,
    /// The context that is asked for.
    pub context: Option<usize>,
    /// How long the model stays loaded: seconds; negative is for ever.
    pub keep_alive: Option<f64>,
}

/// Reads a body of `/api/embed`.
pub fn read(body: &Value) -> Result<Embed, Problem> {
    let fields = Fields::of_body(body)?;
    let texts = match fields.get("input") {
        None => Vec::new(),
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        Some(input) => texts(input).ok_or_else(|| wrong("input", input, "a string or a list of strings"))?,
    };
    if texts.len() > MOST_TEXTS {
        let found = texts.len();
        return Err(Problem::field(
            "input",
            format!("`input` has {found} texts; at most {MOST_TEXTS} are allowed"),
        ));
    }
    let dimensions = fields.count("dimensions", 0..=usize::MAX)?.filter(|n| *n > 0);
    Ok(Embed { texts, truncate: fields.bool("truncate", true)?, dimensions, ..read_rest(&fields)? })
}

fn texts(input: &Value) -> Option<Vec<String>> {
    match input {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Reads a body of `/api/embeddings`.
pub fn read_old(body: &Value) -> Result<Embed, Problem> {
    let fields = Fields::of_body(body)?;
    let prompt = fields.str("prompt")?.filter(|text| !text.is_empty());
    Ok(Embed {
        texts: prompt.into_iter().map(str::to_owned).collect(),
        truncate: true,
        ..read_rest(&fields)?
    })
}

fn read_rest(fields: &Fields) -> Result<Embed, Problem> {
    let options = fields.object("options")?;
    let options = options.map(|fields| Options::read(&fields)).transpose()?.unwrap_or_default();
    let keep_alive = duration::read(fields, "keep_alive")?;
    Ok(Embed { model: read_model(fields)?, context: options.context, keep_alive, ..Embed::default() })
}

/// What `/api/embed` gives back.
pub fn body(identity: &Identity, vectors: &[Vec<f32>], usage: &Usage) -> Value {
    json!({
        "model": identity.model,
        "embeddings": vectors,
        "total_duration": usage.total_ns,
        "load_duration": usage.load_ns,
        "prompt_eval_count": usage.prompt,
    })
}

/// What `/api/embeddings` gives back; an empty vector where there was no prompt.
pub fn old_body(vector: &[f32]) -> Value {
    json!({"embedding": vector})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_their_defaults() {
        let embed =
            read(&json!({"model": "m", "input": ["a", ""], "options": {"num_ctx": 8, "top_k": null}}));
        let embed = embed.unwrap();
        assert_eq!((embed.texts.len(), embed.truncate, embed.context), (2, true, Some(8)));
        let embed = read(&json!({"name": "m", "input": "a", "truncate": false, "dimensions": 2})).unwrap();
        assert_eq!((embed.model.as_deref(), embed.dimensions), (Some("m"), Some(2)));
        assert!(!embed.truncate);
        assert!(read(&json!({"model": "m", "keep_alive": "5m"})).unwrap().texts.is_empty());
        assert_eq!(read_old(&json!({"model": "m", "prompt": "a"})).unwrap().texts, ["a"]);
        for input in [json!(1), json!([1]), json!([["a"]]), json!(vec!["a"; MOST_TEXTS + 1])] {
            assert_eq!(read(&json!({"input": input})).unwrap_err().param.as_deref(), Some("input"));
        }
        assert_eq!(read_old(&json!({"prompt": ["a"]})).unwrap_err().param.as_deref(), Some("prompt"));
    }
}
