//! Hugging Face's `tokenizer.json`, as far as Llama tokenizers use it: a BPE model, either byte-level
//! behind a split pattern, or SentencePiece's by way of a normaliser or `Metaspace`.
//!
//! Anything else in the file is an error that names the field: a tokenizer that is nearly right gives
//! wrong ids without a sound.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value;

use crate::byte_level::{ByteLevel, bytes_of_token};
use crate::error::TokenizerError;
use crate::load::gguf::listed_merges;
use crate::merge::{Alphabet, Merger, WholeWord};
use crate::sentencepiece::{Prefix, SentencePiece, byte_of_piece, bytes_of_piece, no_token_crosses_a_space};
use crate::special::SpecialToken;
use crate::split::{GPT2_PATTERN, Splitter};
use crate::tokenizer::{Encoder, NamedIds, Tokenizer, steers_by_name};
use crate::vocab::{Token, TokenKind, order_by_id};

const FORM: &str = "tokenizer.json";

impl Tokenizer {
    /// Reads a `tokenizer.json` of a BPE model.
    pub fn from_hf_json(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let file: File = serde_json::from_slice(bytes)
            .map_err(|error| TokenizerError::malformed(FORM, error.to_string()))?;
        file.model.check_supported()?;
        let style = Style::of(&file)?;
        let (tokens, special) = tokens(&file, &style)?;
        let unknown = match &file.model.unk_token {
            Some(name) => Some(file.id_of(name)?),
            None => None,
        };
        let whole_word =
            if file.model.ignore_merges { WholeWord::Always } else { WholeWord::if_merged(tokens.len()) };
        let merges = file.model.merges.iter().map(|merge| (merge.0.as_str(), merge.1.as_str()));
        let rule = listed_merges(FORM, merges, |text| file.model.vocab.get(text).copied())?;
        let alphabet = match style {
            Style::ByteLevel { .. } => Alphabet::Bytes,
            Style::SentencePiece { .. } => Alphabet::Chars,
        };
        let merger = Merger { alphabet, rule, whole_word, unknown };
        let encoder = match style {
            Style::ByteLevel { splitter } => {
                Encoder::ByteLevel(ByteLevel { splitter, merger, cuts_long_runs: false })
            }
            Style::SentencePiece { prefix, space_is_prefix_enough } => {
                Encoder::SentencePiece(SentencePiece {
                    merger,
                    prefix,
                    space_is_prefix_enough,
                    splits_at_spaces: no_token_crosses_a_space(&tokens),
                    legacy_decides: false,
                })
            }
        };
        let ids = named_ids(&file, unknown)?;
        Tokenizer::assemble(FORM, &tokens, special, encoder, ids)
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    unk_token: Option<String>,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// A merge, written as `"left right"` or as `["left", "right"]`.
struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Merge, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge as \"left right\" or [\"left\", \"right\"]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                let halves = text.split_once(' ').filter(|(_, right)| !right.contains(' '));
                let (left, right) = halves.ok_or_else(|| E::custom(format!("`{text}` is not a pair")))?;
                Ok(Merge(left.to_owned(), right.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Merge, A::Error> {
                match (items.next_element()?, items.next_element()?, items.next_element::<String>()?) {
                    (Some(left), Some(right), None) => Ok(Merge(left, right)),
                    _ => Err(A::Error::custom("a merge that is not a pair")),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Model {
    fn check_supported(&self) -> Result<(), TokenizerError> {
        let unsupported = |field: &str, value: String| {
            Err(TokenizerError::unsupported(
                FORM,
                field,
                value,
                "supported is plain BPE, as in all Llama models",
            ))
        };
        match self.kind.as_deref() {
            Some("BPE") | None => {}
            Some(other) => return unsupported("model.type", other.to_owned()),
        }
        if let Some(dropout) = self.dropout.filter(|dropout| *dropout != 0.0) {
            return unsupported("model.dropout", dropout.to_string());
        }
        let affixes = [
            ("model.continuing_subword_prefix", &self.continuing_subword_prefix),
            ("model.end_of_word_suffix", &self.end_of_word_suffix),
        ];
        for (field, affix) in affixes {
            if let Some(affix) = affix.as_ref().filter(|affix| !affix.is_empty()) {
                return unsupported(field, affix.clone());
            }
        }
        Ok(())
    }
}

impl File {
    fn id_of(&self, name: &str) -> Result<u32, TokenizerError> {
        let added = self.added_tokens.iter().find(|token| token.content == name).map(|token| token.id);
        added.or_else(|| self.model.vocab.get(name).copied()).ok_or_else(|| {
            TokenizerError::malformed(FORM, format!("`{name}` is used, but is not in the vocabulary"))
        })
    }
}

/// The two ways in which these files turn text into symbols.
enum Style {
    ByteLevel { splitter: Splitter },
    SentencePiece { prefix: Prefix, space_is_prefix_enough: bool },
}

impl Style {
    fn of(file: &File) -> Result<Style, TokenizerError> {
        let normalizers = members(&file.normalizer, "normalizers");
        let pre_tokenizers = members(&file.pre_tokenizer, "pretokenizers");
        if kinds(&pre_tokenizers).contains(&"ByteLevel") {
            if let Some(normalizer) = normalizers.first() {
                return Err(unsupported_part("normalizer", normalizer));
            }
            return Ok(Style::ByteLevel { splitter: byte_level_splitter(&pre_tokenizers)? });
        }
        Self::sentencepiece(file, &normalizers, &pre_tokenizers)
    }

    fn sentencepiece(file: &File, normalizers: &[&Value], pre: &[&Value]) -> Result<Style, TokenizerError> {
        let (mut prefix, mut escapes, mut space_is_prefix_enough) = (Prefix::Never, false, false);
        for part in normalizers {
            match kind(part) {
                "Prepend" if part["prepend"] == "▁" => prefix = Prefix::EveryFragment,
                "Replace" if part["pattern"]["String"] == " " && part["content"] == "▁" => escapes = true,
                _ => return Err(unsupported_part("normalizer", part)),
            }
        }
        for part in pre {
            // `split` does not matter: it cuts in front of spaces, where nothing merges anyway.
            if kind(part) != "Metaspace" || part["replacement"] != "▁" {
                return Err(unsupported_part("pre_tokenizer", part));
            }
            escapes = true;
            space_is_prefix_enough = true;
            prefix = match (part["prepend_scheme"].as_str(), part["add_prefix_space"].as_bool()) {
                (Some("never"), _) | (None, Some(false)) => Prefix::Never,
                (Some("first"), _) => Prefix::TextStart,
                (Some("always"), _) | (None, _) => Prefix::EveryFragment,
                _ => return Err(unsupported_part("pre_tokenizer", part)),
            };
        }
        if !escapes || !file.model.byte_fallback && file.model.unk_token.is_none() {
            let names = kinds(pre).join(", ");
            let value = if names.is_empty() { "none".to_owned() } else { names };
            let hint = "supported are ByteLevel, and SentencePiece's BPE with `▁` for a space";
            return Err(TokenizerError::unsupported(FORM, "pre_tokenizer", value, hint));
        }
        Ok(Style::SentencePiece { prefix, space_is_prefix_enough })
    }
}

/// The parts of a normaliser or the like: none for null, the listed ones of a `Sequence`, else itself.
fn members<'v>(value: &'v Value, list: &str) -> Vec<&'v Value> {
    if value.is_null() {
        return Vec::new();
    }
    match value[list].as_array() {
        Some(parts) if kind(value) == "Sequence" => parts.iter().collect(),
        _ => vec![value],
    }
}

fn kind(part: &Value) -> &str {
    part["type"].as_str().unwrap_or("")
}

fn kinds<'v>(parts: &[&'v Value]) -> Vec<&'v str> {
    parts.iter().map(|part| kind(part)).collect()
}

fn unsupported_part(field: &str, part: &Value) -> TokenizerError {
    let hint =
        "supported is what Llama tokenizers use: Prepend and Replace with `▁`, Metaspace, Split, ByteLevel";
    TokenizerError::unsupported(FORM, field, name_of(part), hint)
}

/// A part by its type and its plain settings. Its whole content may be a table of thousands of lines.
fn name_of(part: &Value) -> String {
    const SETTINGS: usize = 4;
    const SETTING_BYTES: usize = 24;
    let name = if kind(part).is_empty() { "a part without a type" } else { kind(part) };
    let settings = part.as_object().into_iter().flatten().filter_map(|(key, value)| match value {
        Value::Bool(is_on) => Some(format!("{key} {is_on}")),
        Value::String(text) if key != "type" && text.len() <= SETTING_BYTES => Some(format!("{key} {text}")),
        _ => None,
    });
    match settings.take(SETTINGS).collect::<Vec<_>>().join(", ") {
        settings if settings.is_empty() => name.to_owned(),
        settings => format!("{name} ({settings})"),
    }
}

fn byte_level_splitter(parts: &[&Value]) -> Result<Splitter, TokenizerError> {
    let mut splitter = Splitter::Whole;
    for part in parts {
        let pattern = match kind(part) {
            "Split" => {
                let plain = part["behavior"] == "Isolated" && part["invert"].as_bool() != Some(true);
                let regex = part["pattern"]["Regex"].as_str().filter(|_| plain);
                regex.ok_or_else(|| unsupported_part("pre_tokenizer", part))?
            }
            "ByteLevel" if part["add_prefix_space"] == true => {
                return Err(unsupported_part("pre_tokenizer", part));
            }
            // The default of a missing `use_regex` is true.
            "ByteLevel" if part["use_regex"].as_bool() == Some(false) => continue,
            "ByteLevel" => GPT2_PATTERN,
            _ => return Err(unsupported_part("pre_tokenizer", part)),
        };
        if !matches!(splitter, Splitter::Whole) {
            return Err(unsupported_part("pre_tokenizer (a second split)", part));
        }
        splitter = Splitter::from_pattern(FORM, pattern)?;
    }
    Ok(splitter)
}

/// All tokens in order of id, and those that are looked for as a whole.
fn tokens(file: &File, style: &Style) -> Result<(Vec<Token>, Vec<SpecialToken>), TokenizerError> {
    let mut added = HashMap::with_capacity(file.added_tokens.len());
    let mut special = Vec::with_capacity(file.added_tokens.len());
    let mut rows = Vec::with_capacity(file.model.vocab.len() + file.added_tokens.len());
    for token in &file.added_tokens {
        if token.single_word {
            let field = format!("added_tokens `{}` single_word", token.content);
            return Err(TokenizerError::unsupported(FORM, field, "true", "Llama tokenizers have none"));
        }
        let steers = token.special || steers_by_name(&token.content);
        let is_unknown = Some(&token.content) == file.model.unk_token.as_ref();
        let kind = match (steers, is_unknown) {
            (_, true) => TokenKind::Unknown,
            (true, _) => TokenKind::Control,
            (false, _) => TokenKind::UserDefined,
        };
        if added.insert(token.id, &token.content).is_none() {
            rows.push((token.id, Token::new(token.content.as_str(), kind)));
        }
        special.push(SpecialToken {
            id: token.id,
            text: token.content.clone(),
            takes_space_before: token.lstrip,
            takes_space_after: token.rstrip,
        });
    }
    for (text, &id) in &file.model.vocab {
        match added.get(&id) {
            Some(name) if *name == text => continue,
            Some(name) => {
                let what =
                    format!("id {id} is `{text}` in the vocabulary and `{name}` among the added tokens");
                return Err(TokenizerError::malformed(FORM, what));
            }
            None => rows.push((id, ordinary_token(file, style, text, id)?)),
        }
    }
    Ok((order_by_id(FORM, rows)?, special))
}

fn ordinary_token(file: &File, style: &Style, text: &str, id: u32) -> Result<Token, TokenizerError> {
    match style {
        Style::ByteLevel { .. } => {
            let bytes = bytes_of_token(text).ok_or_else(|| {
                let what = format!("token {id}, `{text}`, is not written in the byte-level alphabet");
                TokenizerError::malformed(FORM, what)
            })?;
            Ok(Token::new(bytes, TokenKind::Normal))
        }
        Style::SentencePiece { .. } => Ok(match byte_of_piece(text).filter(|_| file.model.byte_fallback) {
            Some(byte) => Token::new([byte], TokenKind::Byte),
            None => Token::new(bytes_of_piece(text), TokenKind::Normal),
        }),
    }
}

/// BOS and EOS: what the post-processor puts around a text, or else the usual names.
fn named_ids(file: &File, unknown: Option<u32>) -> Result<NamedIds, TokenizerError> {
    let mut ids = NamedIds { unknown, ..NamedIds::default() };
    for part in members(&file.post_processor, "processors") {
        match kind(part) {
            "ByteLevel" => {}
            "TemplateProcessing" => {
                let (before, after) = around_the_text(file, part)?;
                (ids.bos, ids.add_bos) = (before, before.is_some());
                (ids.eos, ids.add_eos) = (after, after.is_some());
            }
            _ => return Err(unsupported_part("post_processor", part)),
        }
    }
    let named = |names: [&str; 2]| names.iter().find_map(|name| file.id_of(name).ok());
    ids.bos = ids.bos.or_else(|| named(["<|begin_of_text|>", "<s>"]));
    ids.eos = ids.eos.or_else(|| named(["<|end_of_text|>", "</s>"]));
    Ok(ids)
}

/// The special tokens that a `TemplateProcessing` puts in front of and after a single text.
fn around_the_text(file: &File, part: &Value) -> Result<(Option<u32>, Option<u32>), TokenizerError> {
    let (mut before, mut after, mut text_seen) = (None, None, false);
    for item in part["single"].as_array().into_iter().flatten() {
        if item.get("Sequence").is_some() {
            text_seen = true;
            continue;
        }
        let name = item["SpecialToken"]["id"].as_str();
        let id = file.id_of(name.ok_or_else(|| unsupported_part("post_processor", part))?)?;
        let place = if text_seen { &mut after } else { &mut before };
        if place.replace(id).is_some() {
            return Err(unsupported_part("post_processor", part));
        }
    }
    Ok((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Parts are named by type and settings, not with the tables in them.
    #[test]
    fn unsupported_parts_are_named_shortly() {
        let table = "A".repeat(1_000_000);
        for (part, name) in [
            (json!({"type": "Precompiled", "precompiled_charsmap": table}), "Precompiled"),
            (
                json!({"type": "Split", "behavior": "Removed", "invert": false, "pattern": {"Regex": table}}),
                "Split (behavior Removed, invert false)",
            ),
            (json!({"lowercase": true}), "a part without a type (lowercase true)"),
            (json!([1]), "a part without a type"),
        ] {
            assert_eq!(name_of(&part), name);
            assert!(unsupported_part("normalizer", &part).to_string().len() < 400);
        }
        let odd = unsupported_part("normalizer", &json!({"type": "\u{1b}[2J\n".repeat(500)})).to_string();
        assert!(odd.len() < 900 && !odd.contains(char::is_control), "{odd}");
    }
}
