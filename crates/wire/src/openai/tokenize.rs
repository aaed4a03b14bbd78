//! `/tokenize`, `/detokenize`, `/tokenizer_info` and `/apply-template`, of llama.cpp and vLLM.

use serde_json::{Value, json};

use super::{chat, messages, settings, texts, tools};
use crate::fields::missing;
use crate::{Ask, Chat, Fields, Problem};

/// A request for the tokens of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizeAsk {
    /// The model, as the client names it.
    pub model: Option<String>,
    /// What becomes tokens.
    pub source: Source,
    /// Whether the tokens begin as the tokenizer begins a text.
    pub add_special: bool,
    /// Whether names of special tokens within a text are these tokens.
    pub parse_special: bool,
    /// Whether each token is told with its text.
    pub with_pieces: bool,
}

/// What becomes tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A text.
    Text(String),
    /// A conversation, with the tools offered in it.
    Chat(Chat, Vec<Value>),
}

/// Reads `/tokenize`. llama.cpp names the text `content` and begins it as it is; vLLM names it `prompt`, and begins it
/// as the tokenizer does.
///
/// # Errors
/// A field that is not as it must be.
pub fn read(body: &Value) -> Result<TokenizeAsk, Problem> {
    let fields = Fields::of_body(body)?;
    let (source, is_begun) = match (fields.str("content")?, fields.str("prompt")?) {
        (Some(text), None) => (Source::Text(text.to_owned()), false),
        (None, Some(text)) => (Source::Text(text.to_owned()), true),
        (Some(_), Some(_)) => {
            return Err(Problem::field("prompt", "`content` and `prompt` are two names for the same"));
        }
        (None, None) if fields.get("messages").is_some() => {
            (Source::Chat(messages::chat(&fields)?, tools::read(&fields)?.0.offered), false)
        }
        (None, None) => return Err(missing("prompt")),
    };
    let add_special = fields.bool("add_special", is_begun)?;
    Ok(TokenizeAsk {
        model: settings::text(&fields, "model")?,
        source,
        add_special: fields.bool("add_special_tokens", add_special)?,
        parse_special: fields.bool("parse_special", true)?,
        with_pieces: fields.bool("with_pieces", false)? || fields.bool("return_token_strs", false)?,
    })
}

/// The answer to `/tokenize`. `pieces` are what the tokens say, where that was asked for.
pub fn body(ids: &[u32], pieces: Option<&[Vec<u8>]>, max_seq_len: usize) -> Value {
    let mut body = json!({"tokens": ids, "count": ids.len(), "max_model_len": max_seq_len});
    if let Some(pieces) = pieces {
        let told: Vec<Value> = pieces.iter().map(|bytes| piece(bytes)).collect();
        let both = ids.iter().zip(&told).map(|(id, piece)| json!({"id": id, "piece": piece}));
        body["tokens"] = both.collect();
        body["token_strs"] = pieces.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    }
    body
}

/// A text; a list of bytes where it is not whole characters.
fn piece(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!(bytes),
    }
}

/// Reads `/detokenize`: token ids.
///
/// # Errors
/// A field that is not as it must be.
pub fn read_detokenize(body: &Value) -> Result<Vec<u32>, Problem> {
    let fields = Fields::of_body(body)?;
    fields.required("tokens")?;
    texts::ids(fields.list("tokens")?, "tokens")
}

/// The answer to `/detokenize`: llama.cpp reads `content`, vLLM's clients read `prompt`.
pub fn detokenize_body(text: &str) -> Value {
    json!({"content": text, "prompt": text})
}

/// What `/tokenizer_info` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizerInfo {
    /// The name that transformers gives such a tokenizer.
    pub tokenizer_class: String,
    /// What begins a text.
    pub bos_token: Option<String>,
    /// What ends it.
    pub eos_token: Option<String>,
    /// The text of the chat template.
    pub chat_template: Option<String>,
    /// The most tokens of a prompt and its answer together.
    pub max_seq_len: usize,
}

/// The answer to `/tokenizer_info`.
pub fn info_body(info: &TokenizerInfo) -> Value {
    json!({
        "tokenizer_class": info.tokenizer_class,
        "bos_token": info.bos_token,
        "eos_token": info.eos_token,
        "chat_template": info.chat_template,
        "model_max_length": info.max_seq_len,
    })
}

/// Reads `/apply-template`: the same as a request for an answer.
///
/// # Errors
/// A field that is not as it must be, or that cannot be heeded.
pub fn read_template(body: &Value) -> Result<Ask, Problem> {
    chat::read(body).map(|(ask, _)| ask)
}

/// The answer to `/apply-template`.
pub fn template_body(prompt: &str) -> Value {
    json!({ "prompt": prompt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_with_their_defaults() {
        for (body, text, add_special, with_pieces) in [
            (json!({"content": "a"}), "a", false, false),
            (json!({"content": "a", "add_special": true, "with_pieces": true}), "a", true, true),
            (json!({"prompt": "b"}), "b", true, false),
            (json!({"prompt": "b", "add_special_tokens": false}), "b", false, false),
            (json!({"prompt": "", "return_token_strs": true}), "", true, true),
        ] {
            let ask = read(&body).unwrap();
            let want = (Source::Text(text.into()), add_special, with_pieces);
            assert_eq!((ask.source, ask.add_special, ask.with_pieces), want, "{body}");
        }
        let ask = read(&json!({"messages": [{"role": "user", "content": "a"}]})).unwrap();
        assert!(matches!(ask.source, Source::Chat(chat, _) if chat.messages.len() == 1));
        for (body, param) in [
            (json!({}), "prompt"),
            (json!({"content": "a", "prompt": "a"}), "prompt"),
            (json!({"content": 1}), "content"),
            (json!({"prompt": "a", "add_special_tokens": 1}), "add_special_tokens"),
            (json!({"messages": []}), "messages"),
        ] {
            assert_eq!(read(&body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn tokens_are_told_with_their_pieces() {
        assert_eq!(body(&[5, 6], None, 9), json!({"tokens": [5, 6], "count": 2, "max_model_len": 9}));
        let found = body(&[5, 6], Some(&[b"a".to_vec(), vec![0xe2]]), 9);
        assert_eq!(found["tokens"], json!([{"id": 5, "piece": "a"}, {"id": 6, "piece": [0xe2]}]));
        assert_eq!(found["token_strs"], json!(["a", "\u{fffd}"]));
    }

    #[test]
    fn ids_become_texts() {
        assert_eq!(read_detokenize(&json!({"tokens": [1, 2]})), Ok(vec![1, 2]));
        assert_eq!(read_detokenize(&json!({"tokens": []})), Ok(vec![]));
        assert_eq!(read_detokenize(&json!({})).unwrap_err().param.as_deref(), Some("tokens"));
        assert_eq!(
            read_detokenize(&json!({"tokens": ["a"]})).unwrap_err().param.as_deref(),
            Some("tokens[0]")
        );
    }
}
