//! The parts of a `tokenizer.json` besides its model: normalisers, pre-tokenisers, decoders and post-processors.

use serde_json::Value;

use crate::charsmap::CharsMap;
use crate::decode::Decoder;
use crate::error::TokenizerError;
use crate::load::tiktoken::decode_base64;
use crate::normalize::Normalizer;
use crate::pattern::Pattern;
use crate::pre_tokenize::{Behavior, Delimiter, PreTokenizer, is_punctuation};
use crate::sentencepiece::Prefix;
use crate::split::Splitter;

/// The name of the file in messages.
pub(super) const FORM: &str = "tokenizer.json";

/// More parts than any file has; each may walk the whole text.
const MAX_PARTS: usize = 32;

/// The parts of `value` in order, those of a `Sequence` one by one, however deep.
pub(crate) fn members<'v>(value: &'v Value, list: &str) -> Result<Vec<&'v Value>, TokenizerError> {
    fn gather<'v>(value: &'v Value, list: &str, found: &mut Vec<&'v Value>) {
        match value[list].as_array() {
            Some(parts) if kind(value) == "Sequence" => {
                parts.iter().for_each(|part| gather(part, list, found))
            }
            _ if value.is_null() => {}
            _ => found.push(value),
        }
    }
    let mut found = Vec::new();
    gather(value, list, &mut found);
    if found.len() > MAX_PARTS {
        return Err(TokenizerError::unsupported(
            FORM,
            list,
            found.len().to_string(),
            "32 parts are the most",
        ));
    }
    Ok(found)
}

pub(crate) fn kind(part: &Value) -> &str {
    part["type"].as_str().unwrap_or("")
}

/// A part we do not know, or a setting of one.
pub(crate) fn unsupported_part(field: &str, part: &Value) -> TokenizerError {
    let hint = "supported are the parts and settings that `tokenizers` 0.23 has";
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

/// The normalisers of a file.
pub(crate) fn normalizers(value: &Value) -> Result<Vec<Normalizer>, TokenizerError> {
    const FIELD: &str = "normalizer";
    let mut all = Vec::new();
    for part in members(value, "normalizers")? {
        let unsupported = || unsupported_part(FIELD, part);
        let is_on = |key: &str| part[key].as_bool();
        match kind(part) {
            "NFC" => all.push(Normalizer::Nfc),
            "NFD" => all.push(Normalizer::Nfd),
            "NFKC" => all.push(Normalizer::Nfkc),
            "NFKD" => all.push(Normalizer::Nfkd),
            "Lowercase" => all.push(Normalizer::Lowercase),
            "Nmt" => all.push(Normalizer::Nmt),
            "StripAccents" => all.push(Normalizer::StripMarks),
            "ByteLevel" => all.push(Normalizer::ByteAlphabet),
            "Strip" => all.push(Normalizer::Strip {
                left: is_on("strip_left").ok_or_else(unsupported)?,
                right: is_on("strip_right").ok_or_else(unsupported)?,
            }),
            "Prepend" => {
                /// More than anyone puts in front of a text.
                const MAX_BYTES: usize = 1 << 10;
                let prefix = part["prepend"].as_str().filter(|prefix| prefix.len() <= MAX_BYTES);
                all.push(Normalizer::Prepend(prefix.ok_or_else(unsupported)?.to_owned()));
            }
            "Replace" => all.push(Normalizer::Replace {
                pattern: pattern(FIELD, part)?,
                content: part["content"].as_str().ok_or_else(unsupported)?.to_owned(),
            }),
            "Precompiled" => {
                // Files of models without a table have an empty one.
                let table = match part["precompiled_charsmap"].as_str() {
                    None | Some("") => continue,
                    Some(table) => decode_base64(table.as_bytes()).ok_or_else(unsupported)?,
                };
                let map = CharsMap::parse(&table).map_err(|what| {
                    TokenizerError::malformed(FORM, format!("the precompiled_charsmap has {what}"))
                })?;
                all.push(Normalizer::CharsMap(map));
            }
            "BertNormalizer" => {
                let lowercases = is_on("lowercase").ok_or_else(unsupported)?;
                let parts = [
                    (is_on("clean_text").ok_or_else(unsupported)?, Normalizer::CleanText),
                    (is_on("handle_chinese_chars").ok_or_else(unsupported)?, Normalizer::SpaceChinese),
                    (is_on("strip_accents").unwrap_or(lowercases), Normalizer::Nfd),
                    (is_on("strip_accents").unwrap_or(lowercases), Normalizer::StripNonspacingMarks),
                    (lowercases, Normalizer::Lowercase),
                ];
                all.extend(parts.into_iter().filter(|(is_on, _)| *is_on).map(|(_, part)| part));
            }
            _ => return Err(unsupported()),
        }
    }
    Ok(all)
}

/// The pre-tokenisers of a file.
pub(crate) fn pre_tokenizers(value: &Value) -> Result<Vec<PreTokenizer>, TokenizerError> {
    const FIELD: &str = "pre_tokenizer";
    let chars = |is_delimiter: fn(char) -> bool, behavior: Behavior| PreTokenizer::Split {
        at: Delimiter::Chars(is_delimiter),
        behavior,
        inverted: false,
    };
    let mut all = Vec::new();
    for part in members(value, "pretokenizers")? {
        let unsupported = || unsupported_part(FIELD, part);
        match kind(part) {
            "ByteLevel" => {
                if part["add_prefix_space"].as_bool().unwrap_or(true) {
                    all.push(PreTokenizer::PrefixSpace);
                }
                if part["use_regex"].as_bool().unwrap_or(true) {
                    all.push(PreTokenizer::Words(Splitter::Gpt2));
                }
                all.push(PreTokenizer::ByteAlphabet);
            }
            "Split" => all.push(split(part)?),
            "Digits" => {
                let is_individual = part["individual_digits"].as_bool().ok_or_else(unsupported)?;
                let behavior = if is_individual { Behavior::Isolated } else { Behavior::Contiguous };
                all.push(chars(char::is_numeric, behavior));
            }
            "Punctuation" => {
                let behavior = match &part["behavior"] {
                    Value::Null => Behavior::Isolated,
                    named => behavior(named).ok_or_else(unsupported)?,
                };
                all.push(chars(is_punctuation, behavior));
            }
            "Whitespace" => all.push(PreTokenizer::Split {
                at: Delimiter::Pattern(Pattern::of_regex_crate(FORM, r"\w+|[^\w\s]+")?),
                behavior: Behavior::Removed,
                inverted: true,
            }),
            "WhitespaceSplit" => all.push(chars(char::is_whitespace, Behavior::Removed)),
            "BertPreTokenizer" => {
                all.push(chars(char::is_whitespace, Behavior::Removed));
                all.push(chars(is_punctuation, Behavior::Isolated));
            }
            "CharDelimiterSplit" => all.push(PreTokenizer::Split {
                at: Delimiter::Char(one_char(&part["delimiter"]).ok_or_else(unsupported)?),
                behavior: Behavior::Removed,
                inverted: false,
            }),
            "Metaspace" => {
                let (mark, prefix) = metaspace(FIELD, part)?;
                all.push(PreTokenizer::Metaspace { mark, prefix });
                if part["split"].as_bool().unwrap_or(true) {
                    let behavior = Behavior::MergedWithNext;
                    all.push(PreTokenizer::Split { at: Delimiter::Char(mark), behavior, inverted: false });
                }
            }
            "UnicodeScripts" => all.push(PreTokenizer::Scripts),
            "FixedLength" => {
                let length = part["length"].as_u64().unwrap_or(5);
                let length = usize::try_from(length).ok().filter(|length| *length > 0);
                all.push(PreTokenizer::FixedLength(length.ok_or_else(unsupported)?));
            }
            _ => return Err(unsupported()),
        }
    }
    Ok(all)
}

fn split(part: &Value) -> Result<PreTokenizer, TokenizerError> {
    const FIELD: &str = "pre_tokenizer";
    let behavior = behavior(&part["behavior"]).ok_or_else(|| unsupported_part(FIELD, part))?;
    let inverted = part["invert"].as_bool().unwrap_or(false);
    // These match everywhere: no matter whether what is between matches is a word.
    let by_hand = part["pattern"]["Regex"].as_str().and_then(Splitter::for_pattern);
    if let Some(splitter) =
        by_hand.filter(|_| behavior == Behavior::Isolated || behavior == Behavior::Removed && inverted)
    {
        return Ok(PreTokenizer::Words(splitter));
    }
    Ok(PreTokenizer::Split { at: Delimiter::Pattern(pattern(FIELD, part)?), behavior, inverted })
}

fn behavior(value: &Value) -> Option<Behavior> {
    Some(match value.as_str()? {
        "Removed" => Behavior::Removed,
        "Isolated" => Behavior::Isolated,
        "MergedWithPrevious" => Behavior::MergedWithPrevious,
        "MergedWithNext" => Behavior::MergedWithNext,
        "Contiguous" => Behavior::Contiguous,
        _ => return None,
    })
}

/// The `pattern` of a part: a string or a regular expression.
fn pattern(field: &str, part: &Value) -> Result<Pattern, TokenizerError> {
    let pattern = &part["pattern"];
    match (pattern["String"].as_str().or(pattern.as_str()), pattern["Regex"].as_str()) {
        (Some(literal), _) => Ok(Pattern::literal(literal)),
        (None, Some(expression)) => Pattern::expression(FORM, expression),
        (None, None) => Err(unsupported_part(field, part)),
    }
}

fn one_char(value: &Value) -> Option<char> {
    let mut chars = value.as_str()?.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// Mark and prefix of a `Metaspace`, whichever way the file says it.
fn metaspace(field: &str, part: &Value) -> Result<(char, Prefix), TokenizerError> {
    let unsupported = || unsupported_part(field, part);
    let prefix = match (part["prepend_scheme"].as_str(), part["add_prefix_space"].as_bool()) {
        (Some("never"), _) | (None, Some(false)) => Prefix::Never,
        (Some("first"), None | Some(true)) => Prefix::TextStart,
        (Some("always"), None | Some(true)) | (None, _) => Prefix::EveryFragment,
        _ => return Err(unsupported()),
    };
    Ok((one_char(&part["replacement"]).ok_or_else(unsupported)?, prefix))
}

/// The decoders of a file.
pub(crate) fn decoders(value: &Value) -> Result<Vec<Decoder>, TokenizerError> {
    const FIELD: &str = "decoder";
    if value.is_null() {
        return Ok(vec![Decoder::Spaced]);
    }
    members(value, "decoders")?
        .into_iter()
        .map(|part| {
            let unsupported = || unsupported_part(FIELD, part);
            let text = |key: &str| part[key].as_str().map(str::to_owned).ok_or_else(unsupported);
            let number =
                |key: &str| part[key].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(unsupported);
            Ok(match kind(part) {
                "ByteLevel" => Decoder::ByteLevel,
                "ByteFallback" => Decoder::ByteFallback,
                "Fuse" => Decoder::Fuse,
                "Replace" => Decoder::Replace { pattern: pattern(FIELD, part)?, content: text("content")? },
                "Strip" => Decoder::Strip {
                    content: one_char(&part["content"]).ok_or_else(unsupported)?,
                    start: number("start")?,
                    stop: number("stop")?,
                },
                "Metaspace" => {
                    let (mark, prefix) = metaspace(FIELD, part)?;
                    Decoder::Metaspace { mark, drops_first: prefix != Prefix::Never }
                }
                "WordPiece" => Decoder::WordPiece {
                    prefix: text("prefix")?,
                    cleans_up: part["cleanup"].as_bool().ok_or_else(unsupported)?,
                },
                "BPEDecoder" => Decoder::WordEnd(text("suffix")?),
                "CTC" => Decoder::Ctc {
                    pad: text("pad_token")?,
                    delimiter: text("word_delimiter_token")?,
                    cleans_up: part["cleanup"].as_bool().ok_or_else(unsupported)?,
                },
                _ => return Err(unsupported()),
            })
        })
        .collect()
}

/// The ids that the post-processors of a file put in front of a single text and after it.
pub(crate) fn around_the_text(
    value: &Value,
    id_of: impl Fn(&str) -> Option<u32>,
) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    const FIELD: &str = "post_processor";
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for part in members(value, "processors")? {
        let unsupported = || unsupported_part(FIELD, part);
        let (mut first, mut last) = match kind(part) {
            "ByteLevel" => continue,
            "BertProcessing" | "RobertaProcessing" => {
                let id = |key: &str| {
                    let id = part[key][1].as_u64().and_then(|id| u32::try_from(id).ok());
                    id.ok_or_else(unsupported)
                };
                (vec![id("cls")?], vec![id("sep")?])
            }
            "TemplateProcessing" => template(part, &id_of)?,
            _ => return Err(unsupported()),
        };
        first.append(&mut before);
        before = first;
        after.append(&mut last);
    }
    Ok((before, after))
}

/// The ids that a `TemplateProcessing` puts around the first text of `single`.
fn template(
    part: &Value,
    id_of: impl Fn(&str) -> Option<u32>,
) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    /// More than any template has.
    const MAX_IDS: usize = 1 << 10;
    let unsupported = || unsupported_part("post_processor", part);
    let (mut before, mut after, mut text_seen) = (Vec::new(), Vec::new(), false);
    for item in part["single"].as_array().into_iter().flatten() {
        if item.get("Sequence").is_some() {
            if std::mem::replace(&mut text_seen, true) {
                return Err(unsupported());
            }
            continue;
        }
        let name = item["SpecialToken"]["id"].as_str().ok_or_else(unsupported)?;
        let place = if text_seen { &mut after } else { &mut before };
        match part["special_tokens"][name]["ids"].as_array() {
            Some(ids) => {
                for id in ids {
                    place.push(id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(unsupported)?);
                }
            }
            None => place.push(id_of(name).ok_or_else(|| {
                TokenizerError::malformed(FORM, format!("`{name}` is used, but is not in the vocabulary"))
            })?),
        }
        if place.len() > MAX_IDS {
            return Err(unsupported());
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

    #[test]
    fn broken_parts_are_errors() {
        for part in [
            json!({"type": "Metaspace", "replacement": "ab"}),
            json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "add_prefix_space": false}),
            json!({"type": "FixedLength", "length": 0}),
            json!({"type": "Split", "behavior": "Sideways", "pattern": {"String": "a"}}),
            json!({"type": "Split", "behavior": "Removed", "pattern": {}}),
            json!({"type": "Digits"}),
            json!({"type": "Sequence", "pretokenizers": vec![json!({"type": "UnicodeScripts"}); 33]}),
            json!("text"),
        ] {
            assert!(pre_tokenizers(&part).is_err(), "{part}");
        }
        assert!(normalizers(&json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})).is_err());
        assert!(normalizers(&json!({"type": "Precompiled", "precompiled_charsmap": "?"})).is_err());
        assert!(decoders(&json!({"type": "Strip", "content": " ", "start": -1, "stop": 0})).is_err());
        let two = json!({"type": "TemplateProcessing", "single": [{"Sequence": {}}, {"Sequence": {}}]});
        assert!(around_the_text(&two, |_| None).is_err());
    }

    #[test]
    fn processors_stand_around_each_other() {
        let template = |name: &str| {
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": name}}, {"Sequence": {"id": "A"}},
                {"SpecialToken": {"id": name}}], "special_tokens": {"x": {"ids": [1, 2]}}})
        };
        let bert = json!({"type": "BertProcessing", "cls": ["c", 8], "sep": ["s", 9]});
        let both = json!({"type": "Sequence", "processors": [template("x"), bert, {"type": "ByteLevel"}, template("y")]});
        let ids = around_the_text(&both, |name| (name == "y").then_some(7)).unwrap();
        assert_eq!(ids, (vec![7, 8, 1, 2], vec![1, 2, 9, 7]));
    }
}
