//! Meta's `tokenizer.model` of Llama 3 and 4: lines of base64 bytes and a rank, which is the id.
//!
//! The file holds ordinary tokens only. The split pattern and the special tokens are written in Meta's
//! code, so they are here too (models/llama3/tokenizer.py and models/llama4/tokenizer.py of
//! llama-models). Which of the two applies follows from the number of tokens, or is the caller's word.

use crate::error::TokenizerError;
use crate::load::added::AddedToken;
use crate::merge::{Alphabet, MergeRule, Merger, WholeWord};
use crate::pipeline::Pipeline;
use crate::pre_tokenize::PreTokenizer;
use crate::special::SpecialToken;
use crate::split::Splitter;
use crate::tokenizer::{Encoder, NamedIds, Tokenizer};
use crate::vocab::{Token, TokenKind, order_by_id};

const FORM: &str = "tiktoken tokenizer.model";

/// A generation of Meta's tiktoken tokenizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TiktokenFamily {
    /// Llama 3, 3.1, 3.2, 3.3
    Llama3,
    /// Llama 4
    Llama4,
}

/// What a caller knows about a tokenizer file that the file does not say. All of it may be left out for
/// the released tokenizers.
#[derive(Debug, Clone, Default)]
pub struct TokenizerHints {
    /// The generation of a tiktoken file. Otherwise 200,000 tokens, or a special token named `<|header_start|>`, mean
    /// Llama 4, and all else Llama 3.
    pub family: Option<TiktokenFamily>,
    /// Rows of the model's embedding: the special tokens of a tiktoken file end there.
    pub vocab_size: Option<usize>,
    /// Tokens that files beside it add. A tiktoken file has them instead of the generation's own.
    pub added_tokens: Vec<AddedToken>,
}

impl Tokenizer {
    /// Reads a tiktoken file.
    pub fn from_tiktoken(bytes: &[u8], hints: &TokenizerHints) -> Result<Tokenizer, TokenizerError> {
        let mut rows = Vec::new();
        for (n, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if !line.is_empty() {
                let (token, rank) = parse_line(line).ok_or_else(|| {
                    TokenizerError::malformed(FORM, format!("line {n} is not `base64 rank`"))
                })?;
                rows.push((rank, Token::new(token, TokenKind::Normal)));
            }
        }
        if rows.is_empty() {
            return Err(TokenizerError::malformed(FORM, "no tokens"));
        }
        let mut tokens = order_by_id(FORM, rows)?;
        let family = hints.family.unwrap_or_else(|| guess_family(tokens.len(), hints));
        let special = append_special_tokens(&mut tokens, family, hints)?;

        let splitter = match family {
            TiktokenFamily::Llama3 => Splitter::Llama3,
            TiktokenFamily::Llama4 => Splitter::Llama4,
        };
        let merger = Merger {
            alphabet: Alphabet::Bytes,
            rule: MergeRule::JoinedById,
            whole_word: WholeWord::Always,
            unknown: None,
            fuses_unknown: false,
            affixes: None,
        };
        let pipeline = Pipeline::byte_level(vec![PreTokenizer::Words(splitter)], merger);
        let encoder = Encoder::Pipeline(Box::new(Pipeline { cuts_long_runs: true, ..pipeline }));
        let id = |name: &str| special.iter().find(|token| token.text == name).map(|token| token.id);
        let bos = id("<|begin_of_text|>");
        let ids = NamedIds {
            bos,
            eos: id("<|end_of_text|>"),
            unknown: None,
            add_bos: bos.is_some(),
            add_eos: false,
            prints_unknown: true,
        };
        Tokenizer::assemble(FORM, &tokens, special, encoder, ids)
    }
}

/// Whether the first line looks like one of a tiktoken file.
pub(crate) fn looks_like_tiktoken(bytes: &[u8]) -> bool {
    let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    parse_line(first_line.trim_ascii()).is_some()
}

fn guess_family(n_tokens: usize, hints: &TokenizerHints) -> TiktokenFamily {
    const LLAMA4_TOKENS: usize = 200_000;
    let named_so = hints.added_tokens.iter().any(|token| token.content == "<|header_start|>");
    if n_tokens == LLAMA4_TOKENS || named_so { TiktokenFamily::Llama4 } else { TiktokenFamily::Llama3 }
}

/// Puts the special tokens after the ordinary ones.
fn append_special_tokens(
    tokens: &mut Vec<Token>,
    family: TiktokenFamily,
    hints: &TokenizerHints,
) -> Result<Vec<SpecialToken>, TokenizerError> {
    let n_ordinary = tokens.len();
    let added = hints.added_tokens.iter().filter_map(|token| Some((token.id?, token.content.clone())));
    let added: Vec<(u32, String)> = added.collect();
    let special: Vec<(u32, String)> = if added.is_empty() {
        let room = hints.vocab_size.map_or(usize::MAX, |size| size.saturating_sub(n_ordinary));
        (n_ordinary as u32..).zip(special_names(family)).take(room).collect()
    } else {
        added
    };
    if let Some((id, name)) = special.iter().find(|(id, _)| (*id as usize) < n_ordinary) {
        let what =
            format!("special token `{name}` has id {id}, but the file has {n_ordinary} ordinary tokens");
        return Err(TokenizerError::malformed(FORM, what));
    }
    let rows = special
        .iter()
        .map(|(id, name)| (id - n_ordinary as u32, Token::new(name.as_str(), TokenKind::Control)));
    tokens.extend(order_by_id(FORM, rows.collect())?);
    Ok(special.into_iter().map(|(id, name)| SpecialToken::new(id, name, TokenKind::Control)).collect())
}

/// The special tokens of a generation, in order of id.
fn special_names(family: TiktokenFamily) -> Vec<String> {
    match family {
        TiktokenFamily::Llama3 => llama3_special_names(),
        TiktokenFamily::Llama4 => llama4_special_names(),
    }
}

/// 256 names; those of Llama 3.1 and later, which gave names to some reserved ones of 3.0.
fn llama3_special_names() -> Vec<String> {
    const N_SPECIAL: usize = 256;
    let named = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<|reserved_special_token_1|>",
        "<|finetune_right_pad_id|>",
        "<|step_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
        "<|image|>",
    ];
    let reserved = (2..).map(|n| format!("<|reserved_special_token_{n}|>"));
    named.into_iter().map(str::to_owned).chain(reserved).take(N_SPECIAL).collect()
}

/// 2048 names, in the groups of Meta's source.
fn llama4_special_names() -> Vec<String> {
    const N_SPECIAL: usize = 2048;
    let numbered = |group: &'static str, numbers: std::ops::Range<usize>| {
        numbers.map(move |n| format!("<|{group}_reserved_special_token_{n}|>"))
    };
    let named = |names: &[&str]| names.iter().map(|name| format!("<|{name}|>")).collect::<Vec<_>>();
    let mut names = named(&[
        "begin_of_text",
        "end_of_text",
        "fim_prefix",
        "fim_middle",
        "fim_suffix",
        "header_start",
        "header_end",
        "eom",
        "eot",
        "step",
    ]);
    names.extend(numbered("text_post_train", 0..6));
    names.extend(named(&["python_start", "python_end", "finetune_right_pad"]));
    names.extend(numbered("text_post_train", 8..69));
    names.extend(named(&["image_start", "image_end"]));
    names.extend(numbered("vision", 0..2));
    names.extend(named(&["tile_x_separator", "tile_y_separator"]));
    names.extend(numbered("vision", 2..6));
    names.extend(named(&["image"]));
    names.extend(numbered("vision", 6..7));
    names.extend(named(&["patch"]));
    names.extend(numbered("vision", 7..1048));
    names.extend(numbered("reasoning", 0..8));
    names.extend(named(&["reasoning_thinking_start", "reasoning_thinking_end"]));
    names.extend((0..).map(|n| format!("<|reserved_special_token_{n}|>")).take(N_SPECIAL - names.len()));
    names
}

fn parse_line(line: &[u8]) -> Option<(Vec<u8>, u32)> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let rank = std::str::from_utf8(&line[space + 1..]).ok()?.parse().ok()?;
    Some((decode_base64(&line[..space])?, rank))
}

/// Standard base64 with padding. An empty string is not a token.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let n_padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - n_padding).filter(|_| n_padding <= 2)?;
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for &digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64() {
        assert_eq!(decode_base64(b"IQ=="), Some(vec![b'!']));
        assert_eq!(decode_base64(b"aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(decode_base64(b"/+8A"), Some(vec![0xFF, 0xEF, 0]));
        for bad in [&b""[..], b"I", b"IQ=", b"====", b"I===", b"I Q=", b"=QIQ"] {
            assert_eq!(decode_base64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn special_names_have_their_published_places() {
        assert_eq!(llama3_special_names().len(), 256);
        assert_eq!(llama3_special_names()[255], "<|reserved_special_token_245|>");
        let names = llama4_special_names();
        assert_eq!(names.len(), 2048);
        for (id, name) in [
            (18, "<|finetune_right_pad|>"),
            (79, "<|text_post_train_reserved_special_token_68|>"),
            (92, "<|patch|>"),
            (1133, "<|vision_reserved_special_token_1047|>"),
            (1143, "<|reasoning_thinking_end|>"),
            (2047, "<|reserved_special_token_903|>"),
        ] {
            assert_eq!(names[id], name);
        }
    }
}
