//! `tokenizer_config.json`: what Hugging Face keeps beside the tokenizer itself.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::TokenizerError;
use crate::load::added::AddedToken;
use crate::sentencepiece::Prefix;
use crate::tokenizer::Tokenizer;

const FORM: &str = "tokenizer_config.json";

/// The values of `tokenizer_config.json` that change ids or prompts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HfTokenizerConfig {
    /// `tokenizer_class`
    pub class: Option<String>,
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
    /// `add_prefix_space`: whether SentencePiece's space is put in front of a text at all. Concerns
    /// `tokenizer.model`.
    pub add_prefix_space: Option<bool>,
    /// `added_tokens_decoder`, in order of id.
    pub added_tokens: Vec<AddedToken>,
    /// The texts of all tokens that the file gives a purpose: BOS, EOS, others such as `pad_token`, more that are
    /// listed.
    pub special_tokens: Vec<String>,
    /// Every `*_token` with its text, but for BOS and EOS: templates may name them by these variables.
    pub named_tokens: Vec<(String, String)>,
    /// `chat_template`: one, called `default`, or several with their names.
    pub chat_templates: Vec<(String, String)>,
}

/// The JSON as it stands.
#[derive(Deserialize)]
struct Raw {
    tokenizer_class: Option<String>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    #[serde(default)]
    bos_token: Value,
    #[serde(default)]
    eos_token: Value,
    legacy: Option<bool>,
    add_prefix_space: Option<bool>,
    #[serde(default)]
    added_tokens_decoder: Map<String, Value>,
    #[serde(default)]
    chat_template: Value,
    /// Among others, the tokens.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl HfTokenizerConfig {
    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<HfTokenizerConfig, TokenizerError> {
        // By way of a value: of a key that occurs twice the last one counts, as in Python.
        let value = serde_json::from_slice::<Value>(bytes);
        let raw: Raw = value
            .and_then(serde_json::from_value)
            .map_err(|error| TokenizerError::malformed(FORM, error.to_string()))?;
        let mut added_tokens = Vec::with_capacity(raw.added_tokens_decoder.len());
        for (id, token) in &raw.added_tokens_decoder {
            let described = id.parse().ok().zip(described_token(token));
            let (id, token) = described.ok_or_else(|| {
                TokenizerError::malformed(FORM, format!("added_tokens_decoder has `{id}`: {token}"))
            })?;
            added_tokens.push(AddedToken { id: Some(id), ..token });
        }
        added_tokens.sort_by_key(|token| token.id);
        let named_tokens = raw.rest.iter().filter(|(name, _)| name.ends_with("_token"));
        // A dictionary of more tokens names variables too.
        let more = raw.rest.get("extra_special_tokens").and_then(Value::as_object).into_iter().flatten();
        let named_tokens =
            named_tokens.chain(more).filter_map(|(name, token)| Some((name.clone(), content(token)?)));
        let named = content(&raw.bos_token).into_iter().chain(content(&raw.eos_token));
        let special_tokens = named.chain(special_tokens(&raw.rest)).collect();
        Ok(HfTokenizerConfig {
            class: raw.tokenizer_class,
            add_bos: raw.add_bos_token,
            add_eos: raw.add_eos_token,
            bos_token: content(&raw.bos_token),
            eos_token: content(&raw.eos_token),
            legacy: raw.legacy,
            add_prefix_space: raw.add_prefix_space,
            added_tokens,
            special_tokens,
            named_tokens: named_tokens.collect(),
            chat_templates: chat_templates(&raw.chat_template),
        })
    }
}

impl HfTokenizerConfig {
    /// Takes in the files in which tokens were kept before `added_tokens_decoder`: `special_tokens_map.json`, whose
    /// tokens go before those here, and `added_tokens.json`. Where there is an `added_tokens_decoder` they do not count.
    pub fn complete(
        &mut self,
        special_tokens_map: Option<&[u8]>,
        added_tokens: Option<&[u8]>,
    ) -> Result<(), TokenizerError> {
        if !self.added_tokens.is_empty() {
            return Ok(());
        }
        if let Some(bytes) = special_tokens_map {
            let map: Map<String, Value> = parse("special_tokens_map.json", bytes)?;
            self.bos_token = map.get("bos_token").and_then(content).or(self.bos_token.take());
            self.eos_token = map.get("eos_token").and_then(content).or(self.eos_token.take());
            self.special_tokens.extend(special_tokens(&map));
        }
        if let Some(bytes) = added_tokens {
            let ids: Map<String, Value> = parse("added_tokens.json", bytes)?;
            let special: HashSet<&String> = self.special_tokens.iter().collect();
            for (text, id) in ids {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                    TokenizerError::malformed("added_tokens.json", format!("`{text}` has the id {id}"))
                })?;
                let is_special = special.contains(&text);
                self.added_tokens.push(AddedToken::new(Some(id), text, is_special));
            }
            self.added_tokens.sort_by_key(|token| token.id);
        }
        Ok(())
    }
}

impl HfTokenizerConfig {
    /// All tokens that files beside the tokenizer may add to it: those of `added_tokens`, and behind them those that
    /// only have a purpose.
    pub fn tokens(&self) -> Vec<AddedToken> {
        let described: HashSet<&String> = self.added_tokens.iter().map(|token| &token.content).collect();
        let named = self.special_tokens.iter().filter(|text| !described.contains(text));
        let named = named
            .map(|text| AddedToken { is_only_named: true, ..AddedToken::new(None, text.as_str(), true) });
        self.added_tokens.iter().cloned().chain(named).collect()
    }
}

fn parse(form: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|error| TokenizerError::malformed(form, error.to_string()))
}

/// The texts of the tokens that have a purpose: `pad_token` and the like, and `additional_special_tokens`.
fn special_tokens(map: &Map<String, Value>) -> impl Iterator<Item = String> {
    let one = |(key, value): (&String, &Value)| content(value).filter(|_| key.ends_with("_token"));
    let lists = ["additional_special_tokens", "extra_special_tokens"];
    let listed = lists.into_iter().filter_map(|key| map.get(key)?.as_array()).flatten().filter_map(content);
    map.iter().filter_map(one).chain(listed)
}

/// An entry of `added_tokens_decoder`.
fn described_token(token: &Value) -> Option<AddedToken> {
    match token {
        Value::String(text) => Some(AddedToken::new(None, text.as_str(), false)),
        described => AddedToken::deserialize(described).ok(),
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
        // Of a `tokenizer.json` the post-processor decides, but for the classes that make one of the flags.
        let makes_frame = |class: &String| {
            let class = class.strip_suffix("Fast").unwrap_or(class);
            ["LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"].contains(&class)
        };
        let flags_count = !self.has_frame() || config.class.as_ref().is_none_or(makes_frame);
        let (add_bos, add_eos) =
            (config.add_bos.filter(|_| flags_count), config.add_eos.filter(|_| flags_count));
        if add_bos.is_some() || add_eos.is_some() {
            self.clear_frame();
        }
        let ids = self.named_ids_mut();
        ids.bos = bos.or(ids.bos);
        ids.eos = eos.or(ids.eos);
        ids.add_bos = add_bos.unwrap_or(ids.add_bos);
        ids.add_eos = add_eos.unwrap_or(ids.add_eos);
        if let Some(eos) = eos {
            self.add_stop_id(eos);
        }
        match config.legacy {
            Some(true) => self.set_prefix(Prefix::EveryFragment),
            Some(false) => self.set_prefix(Prefix::TextStart),
            None => {}
        }
        if config.add_prefix_space == Some(false) {
            self.set_prefix(Prefix::Never);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tiktoken::TokenizerHints;

    #[test]
    fn both_spellings() {
        let json = br#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "legacy": null,
            "added_tokens_decoder": {"2": {"content": "</s>"}, "1": {"content": "<s>"}},
            "chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "yes"}]}"#;
        let config = HfTokenizerConfig::parse(json).unwrap();
        assert_eq!(config.bos_token.as_deref(), Some("<s>"));
        assert_eq!(config.eos_token.as_deref(), Some("</s>"));
        let token = |id, text| AddedToken::new(Some(id), text, false);
        assert_eq!(config.added_tokens, [token(1, "<s>"), token(2, "</s>")]);
        assert_eq!(config.special_tokens, ["<s>", "</s>"]);
        let named = [("rag", "no"), ("default", "yes")].map(|(name, text)| (name.into(), text.into()));
        assert_eq!(config.chat_templates, named);
        assert_eq!(config.legacy, None);
        let twice = HfTokenizerConfig::parse(br#"{"bos_token": "<a>", "bos_token": "<b>"}"#).unwrap();
        assert_eq!(twice.bos_token.as_deref(), Some("<b>"));
        let json = br#"{"pad_token": {"content": "<p>"}, "unk_token": null, "chat_template": {"rag": "no"},
            "extra_special_tokens": {"image_token": "<i>"}}"#;
        let config = HfTokenizerConfig::parse(json).unwrap();
        let named =
            [("pad_token", "<p>"), ("image_token", "<i>")].map(|(name, text)| (name.into(), text.into()));
        assert_eq!(config.named_tokens, named);
        assert_eq!(config.chat_templates, [("rag".to_owned(), "no".to_owned())]);
        assert!(HfTokenizerConfig::parse(br#"{"added_tokens_decoder": {"x": {"content": "a"}}}"#).is_err());
    }

    /// Of a `tokenizer.json` the post-processor decides, unless the class is one that reads the flags.
    #[test]
    fn who_says_what_stands_around_a_text() {
        let file = br#"{"model": {"type": "WordLevel", "vocab": {"a": 0, "<s>": 1, "</s>": 2}},
            "post_processor": {"type": "BertProcessing", "cls": ["<s>", 1], "sep": ["</s>", 2]}}"#;
        let ids = |config: &[u8]| {
            let mut tokenizer = Tokenizer::from_hf_json(file).unwrap();
            tokenizer.configure(&HfTokenizerConfig::parse(config).unwrap()).unwrap();
            tokenizer.encode("a", tokenizer.default_options())
        };
        assert_eq!(
            ids(br#"{"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": false}"#),
            [1, 0, 2]
        );
        assert_eq!(ids(br#"{"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": false}"#), [0, 2]);
        assert_eq!(ids(br#"{"add_bos_token": true, "add_eos_token": false, "bos_token": "a"}"#), [0]);
        assert_eq!(ids(br#"{"bos_token": "a"}"#), [1, 0, 2]);
    }

    #[test]
    fn tokens_with_a_purpose_are_added_last() {
        let json =
            br#"{"pad_token": "<p>", "bos_token": "a", "added_tokens_decoder": {"5": {"content": "<x>"}}}"#;
        let config = HfTokenizerConfig::parse(json).unwrap();
        let read = |vocab_size| {
            let hints = TokenizerHints { added_tokens: config.tokens(), vocab_size, ..Default::default() };
            let file = br#"{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}}}"#;
            Tokenizer::from_file_bytes(file, &hints)
                .unwrap()
                .special_tokens()
                .iter()
                .map(|t| t.1)
                .collect::<Vec<_>>()
        };
        assert_eq!(read(None), [5, 6]);
        // A model without a row for it cannot have meant it.
        assert_eq!(read(Some(6)), [5]);
    }

    /// What transformers 5.24 makes of the older files.
    #[test]
    fn older_files_count_without_an_added_tokens_decoder() {
        let map =
            br#"{"bos_token": "<b>", "pad_token": {"content": "<p>"}, "additional_special_tokens": ["<x>"]}"#;
        let added = br#"{"<y>": 9, "<x>": 8, "<p>": 7}"#;
        let mut config = HfTokenizerConfig::parse(br#"{"bos_token": "<s>"}"#).unwrap();
        config.complete(Some(map), Some(added)).unwrap();
        let tokens: Vec<(Option<u32>, &str, bool)> = config
            .added_tokens
            .iter()
            .map(|token| (token.id, token.content.as_str(), token.special))
            .collect();
        assert_eq!(tokens, [(Some(7), "<p>", true), (Some(8), "<x>", true), (Some(9), "<y>", false)]);
        assert_eq!(config.bos_token.as_deref(), Some("<b>"));
        let mut config =
            HfTokenizerConfig::parse(br#"{"added_tokens_decoder": {"1": {"content": "<s>"}}}"#).unwrap();
        config.complete(Some(map), Some(added)).unwrap();
        assert_eq!((config.added_tokens.len(), config.bos_token), (1, None));
        assert!(HfTokenizerConfig::default().complete(None, Some(br#"{"a": "b"}"#)).is_err());
    }
}
