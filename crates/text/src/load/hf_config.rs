//! `tokenizer_config.json`: what Hugging Face keeps beside the tokenizer itself.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::TokenizerError;
use crate::sentencepiece::Prefix;
use crate::tokenizer::Tokenizer;

const FORM: &str = "tokenizer_config.json";

/// The values of `tokenizer_config.json` that change ids or prompts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HfTokenizerConfig {
    /// `add_bos_token`
    pub add_bos: Option<bool>,
    /// `add_eos_token`
    pub add_eos: Option<bool>,
    /// The text of `bos_token`.
    pub bos_token: Option<String>,
    /// The text of `eos_token`: for instruct models often the end-of-turn token.
    pub eos_token: Option<String>,
    /// `legacy`: whether SentencePiece's space is put after special tokens too. Concerns
    /// `tokenizer.model`; a `tokenizer.json` says it itself.
    pub legacy: Option<bool>,
    /// `added_tokens_decoder`: ids and names, in order of id.
    pub added_tokens: Vec<(u32, String)>,
    /// `chat_template`: one, called `default`, or several with their names.
    pub chat_templates: Vec<(String, String)>,
    /// Every `*_token` with its text: templates may name them by these variables.
    pub named_tokens: Vec<(String, String)>,
}

/// The JSON as it stands.
#[derive(Deserialize)]
struct Raw {
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    #[serde(default)]
    bos_token: Value,
    #[serde(default)]
    eos_token: Value,
    legacy: Option<bool>,
    #[serde(default)]
    added_tokens_decoder: Map<String, Value>,
    #[serde(default)]
    chat_template: Value,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl HfTokenizerConfig {
    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<HfTokenizerConfig, TokenizerError> {
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|error| TokenizerError::malformed(FORM, error.to_string()))?;
        let mut added_tokens = Vec::with_capacity(raw.added_tokens_decoder.len());
        for (id, token) in &raw.added_tokens_decoder {
            let named = id.parse().ok().zip(content(token));
            let (id, name) = named.ok_or_else(|| {
                TokenizerError::malformed(FORM, format!("added_tokens_decoder has `{id}`: {token}"))
            })?;
            added_tokens.push((id, name));
        }
        added_tokens.sort_unstable();
        let named_tokens = raw.rest.iter().filter(|(name, _)| name.ends_with("_token"));
        let named_tokens = named_tokens.filter_map(|(name, token)| Some((name.clone(), content(token)?)));
        Ok(HfTokenizerConfig {
            add_bos: raw.add_bos_token,
            add_eos: raw.add_eos_token,
            bos_token: content(&raw.bos_token),
            eos_token: content(&raw.eos_token),
            legacy: raw.legacy,
            added_tokens,
            chat_templates: chat_templates(&raw.chat_template),
            named_tokens: named_tokens.collect(),
        })
    }
}

/// A token is written as a string or as an object with a `content`.
fn content(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

/// One template, or several with names: a list of objects, or one object.
fn chat_templates(value: &Value) -> Vec<(String, String)> {
    let of_entry = |entry: &Value| Some((entry["name"].as_str()?.into(), entry["template"].as_str()?.into()));
    match value {
        Value::String(text) => vec![("default".to_owned(), text.clone())],
        Value::Array(entries) => entries.iter().filter_map(of_entry).collect(),
        Value::Object(entries) => {
            entries.iter().filter_map(|(name, text)| Some((name.clone(), text.as_str()?.into()))).collect()
        }
        _ => Vec::new(),
    }
}

impl Tokenizer {
    /// Applies what a `tokenizer_config.json` says differently from the tokenizer file beside it.
    ///
    /// Fails if it names a token that the vocabulary does not have.
    pub fn configure(&mut self, config: &HfTokenizerConfig) -> Result<(), TokenizerError> {
        let find = |name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => self
                .id_of(name)
                .map(Some)
                .ok_or_else(|| TokenizerError::MissingToken { name: name.clone(), needed_by: FORM }),
        };
        let (bos, eos) = (find(&config.bos_token)?, find(&config.eos_token)?);
        let ids = self.named_ids_mut();
        ids.bos = bos.or(ids.bos);
        ids.eos = eos.or(ids.eos);
        ids.add_bos = config.add_bos.unwrap_or(ids.add_bos);
        ids.add_eos = config.add_eos.unwrap_or(ids.add_eos);
        if let Some(eos) = eos {
            self.add_stop_id(eos);
        }
        match config.legacy {
            Some(true) => self.set_prefix(Prefix::EveryFragment),
            Some(false) => self.set_prefix(Prefix::TextStart),
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings() {
        let json = br#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "legacy": null,
            "added_tokens_decoder": {"2": {"content": "</s>"}, "1": {"content": "<s>"}},
            "chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "yes"}]}"#;
        let config = HfTokenizerConfig::parse(json).unwrap();
        assert_eq!(config.bos_token.as_deref(), Some("<s>"));
        assert_eq!(config.eos_token.as_deref(), Some("</s>"));
        assert_eq!(config.added_tokens, [(1, "<s>".to_owned()), (2, "</s>".to_owned())]);
        let named = [("rag", "no"), ("default", "yes")].map(|(name, text)| (name.into(), text.into()));
        assert_eq!(config.chat_templates, named);
        assert_eq!(config.legacy, None);
        let json = br#"{"pad_token": {"content": "<p>"}, "unk_token": null, "chat_template": {"rag": "no"}}"#;
        let config = HfTokenizerConfig::parse(json).unwrap();
        assert_eq!(config.named_tokens, [("pad_token".to_owned(), "<p>".to_owned())]);
        assert_eq!(config.chat_templates, [("rag".to_owned(), "no".to_owned())]);
        assert!(HfTokenizerConfig::parse(br#"{"added_tokens_decoder": {"x": {"content": "a"}}}"#).is_err());
    }
}
