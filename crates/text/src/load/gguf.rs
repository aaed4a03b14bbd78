//! Vocabularies out of GGUF headers, of both kinds, and the SentencePiece parts they share with
//! `tokenizer.model`.

use std::collections::HashMap;

use crate::byte_level::{ByteLevel, bytes_of_token};
use crate::error::TokenizerError;
use crate::merge::{Alphabet, MergeRule, Merger, PairHasher, PairMap, WholeWord};
use crate::sentencepiece::{
    Prefix, SentencePiece, byte_of_piece, bytes_of_piece, no_token_crosses_a_space, ranks_of_scores,
};
use crate::special::SpecialToken;
use crate::split::{GPT2_PATTERN, Splitter};
use crate::tokenizer::{Encoder, NamedIds, Tokenizer, steers_by_name};
use crate::vocab::{Token, TokenKind};

const FORM: &str = "GGUF tokenizer";

/// The `tokenizer.ggml.*` values of a GGUF header, as they stand there. An absent array is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocab {
    /// `tokenizer.ggml.model`: `llama` (SentencePiece) or `gpt2` (byte-level).
    pub model: String,
    /// `tokenizer.ggml.pre`
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.scores`
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`
    pub merges: Vec<String>,
    /// `tokenizer.ggml.bos_token_id`
    pub bos_id: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`
    pub eos_id: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`
    pub eot_id: Option<u32>,
    /// `tokenizer.ggml.eom_token_id`
    pub eom_id: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`
    pub unk_id: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`
    pub pad_id: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`
    pub add_space_prefix: Option<bool>,
}

impl Tokenizer {
    /// Builds the tokenizer that a GGUF header describes.
    pub fn from_gguf(vocab: GgufVocab) -> Result<Tokenizer, TokenizerError> {
        let n_tokens = vocab.tokens.len();
        for (n, what) in [(vocab.scores.len(), "scores"), (vocab.token_types.len(), "token_type")] {
            if n != 0 && n != n_tokens {
                return Err(TokenizerError::malformed(FORM, format!("{n_tokens} tokens, but {n} {what}")));
            }
        }
        let stop_ids = [vocab.eot_id, vocab.eom_id];
        let mut tokenizer = match vocab.model.as_str() {
            "llama" => from_gguf_sentencepiece(vocab),
            "gpt2" => from_gguf_byte_level(vocab),
            other => Err(TokenizerError::unsupported(
                FORM,
                "tokenizer.ggml.model",
                other,
                "supported are `llama` and `gpt2`",
            )),
        }?;
        for id in stop_ids.into_iter().flatten().filter(|id| (*id as usize) < n_tokens) {
            tokenizer.add_stop_id(id);
        }
        Ok(tokenizer)
    }
}

fn from_gguf_sentencepiece(vocab: GgufVocab) -> Result<Tokenizer, TokenizerError> {
    if vocab.scores.is_empty() {
        return Err(TokenizerError::malformed(FORM, "a SentencePiece vocabulary without scores"));
    }
    let types = vocab.token_types.iter().copied().chain(std::iter::repeat(1));
    let pieces =
        vocab.tokens.into_iter().zip(vocab.scores).zip(types).map(|((text, score), code)| {
            Ok(Piece { text, score, kind: kind_of_code(FORM, i64::from(code))? })
        });
    let parts = SentencePieceParts {
        form: FORM,
        pieces: pieces.collect::<Result<_, TokenizerError>>()?,
        bos: vocab.bos_id.or(Some(1)),
        eos: vocab.eos_id.or(Some(2)),
        unknown: vocab.unk_id.or(Some(0)),
        add_bos: vocab.add_bos.unwrap_or(true),
        add_eos: vocab.add_eos.unwrap_or(false),
        add_space_prefix: vocab.add_space_prefix.unwrap_or(true),
    };
    parts.into_tokenizer()
}

fn from_gguf_byte_level(vocab: GgufVocab) -> Result<Tokenizer, TokenizerError> {
    let (splitter, shortcut) = splitter_of_pre(&vocab)?;
    let types = vocab.token_types.iter().copied().chain(std::iter::repeat(1));
    let mut special = Vec::new();
    let mut tokens = Vec::with_capacity(vocab.tokens.len());
    for ((id, text), code) in (0u32..).zip(&vocab.tokens).zip(types) {
        let kind = match kind_of_code(FORM, i64::from(code))? {
            TokenKind::UserDefined | TokenKind::Unknown if steers_by_name(text) => TokenKind::Control,
            TokenKind::Byte => TokenKind::Normal,
            kind => kind,
        };
        let bytes = match kind {
            TokenKind::Normal => bytes_of_token(text).ok_or_else(|| {
                let what = format!("token {id}, `{text}`, is not written in the byte-level alphabet");
                TokenizerError::malformed(FORM, what)
            })?,
            _ => text.clone().into_bytes(),
        };
        if matches!(kind, TokenKind::Control | TokenKind::UserDefined) {
            special.push(SpecialToken::new(id, text.clone()));
        }
        tokens.push(Token { bytes, kind });
    }
    let merges = vocab.merges.iter().map(|merge| {
        let halves = merge.split_once(' ').filter(|(_, right)| !right.contains(' '));
        halves.ok_or_else(|| TokenizerError::malformed(FORM, format!("the merge `{merge}` is not a pair")))
    });
    let merges = merges.collect::<Result<Vec<_>, _>>()?;
    let id_of: HashMap<&str, u32> =
        (0u32..).zip(&vocab.tokens).map(|(id, text)| (text.as_str(), id)).collect();
    let rule = listed_merges(FORM, merges.into_iter(), |text| id_of.get(text).copied())?;
    let whole_word = if shortcut { WholeWord::Always } else { WholeWord::if_merged(tokens.len()) };
    let merger = Merger { alphabet: Alphabet::Bytes, rule, whole_word, unknown: vocab.unk_id };
    let encoder = Encoder::ByteLevel(ByteLevel { splitter, merger, cuts_long_runs: false });
    let ids = NamedIds {
        bos: vocab.bos_id,
        eos: vocab.eos_id,
        unknown: vocab.unk_id,
        add_bos: vocab.add_bos.unwrap_or(vocab.bos_id.is_some()),
        add_eos: vocab.add_eos.unwrap_or(false),
    };
    Tokenizer::assemble(FORM, &tokens, special, encoder, ids)
}

/// The splitter that `tokenizer.ggml.pre` names, and whether whole words that are tokens skip merging.
fn splitter_of_pre(vocab: &GgufVocab) -> Result<(Splitter, bool), TokenizerError> {
    const LLAMA3_SIZE: usize = 128_256;
    let has = |name: &str| vocab.tokens.iter().any(|token| token == name);
    Ok(match vocab.pre.as_deref() {
        Some("llama-bpe" | "llama3" | "llama-v3") => (Splitter::Llama3, true),
        Some("llama4" | "gpt-4o") => (Splitter::Llama4, false),
        Some("gpt-2") => (Splitter::from_pattern(FORM, GPT2_PATTERN)?, false),
        // Early conversions do not say. The header tokens tell the generations apart.
        None | Some("default") if has("<|header_start|>") => (Splitter::Llama4, false),
        None | Some("default") if vocab.tokens.len() == LLAMA3_SIZE || has("<|begin_of_text|>") => {
            (Splitter::Llama3, true)
        }
        other => {
            let hint = "supported are `llama-bpe`, `llama3`, `llama-v3`, `llama4`, `gpt-4o` and `gpt-2`";
            let value = other.unwrap_or("(absent)");
            return Err(TokenizerError::unsupported(FORM, "tokenizer.ggml.pre", value, hint));
        }
    })
}

/// The merge rule for a list of pairs, in order of rank. `id_of` knows tokens as the file writes them.
pub(crate) fn listed_merges<'m>(
    form: &'static str,
    merges: impl ExactSizeIterator<Item = (&'m str, &'m str)>,
    id_of: impl Fn(&str) -> Option<u32>,
) -> Result<MergeRule, TokenizerError> {
    let mut pairs = PairMap::with_capacity_and_hasher(merges.len(), PairHasher::seeded());
    let mut joined = String::new();
    for (rank, (left, right)) in (0u32..).zip(merges) {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let id = |text: &str| {
            let missing = || {
                let what = format!("merge {rank}, `{left} {right}`: no token `{text}`");
                TokenizerError::malformed(form, what)
            };
            id_of(text).ok_or_else(missing)
        };
        pairs.entry((id(left)?, id(right)?)).or_insert((rank, id(&joined)?));
    }
    Ok(MergeRule::Listed(pairs))
}

/// The kind for SentencePiece's number, which GGUF uses too.
pub(crate) fn kind_of_code(form: &'static str, code: i64) -> Result<TokenKind, TokenizerError> {
    Ok(match code {
        // GGUF has 0 for "undefined", which its readers treat as ordinary.
        0 | 1 => TokenKind::Normal,
        2 => TokenKind::Unknown,
        3 => TokenKind::Control,
        4 => TokenKind::UserDefined,
        5 => TokenKind::Unused,
        6 => TokenKind::Byte,
        _ => return Err(TokenizerError::malformed(form, format!("a token of type {code}"))),
    })
}

/// One row of a SentencePiece vocabulary.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: TokenKind,
}

/// What `tokenizer.model` and a GGUF header both say about a SentencePiece vocabulary.
#[derive(Debug)]
pub(crate) struct SentencePieceParts {
    pub form: &'static str,
    pub pieces: Vec<Piece>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub add_bos: bool,
    pub add_eos: bool,
    pub add_space_prefix: bool,
}

impl SentencePieceParts {
    pub fn into_tokenizer(self) -> Result<Tokenizer, TokenizerError> {
        let mut special = Vec::new();
        let mut tokens = Vec::with_capacity(self.pieces.len());
        for (id, piece) in (0u32..).zip(&self.pieces) {
            let kind = match piece.kind {
                TokenKind::UserDefined if steers_by_name(&piece.text) => TokenKind::Control,
                kind => kind,
            };
            let bytes = match kind {
                TokenKind::Byte => {
                    let byte = byte_of_piece(&piece.text).ok_or_else(|| {
                        let what = format!("token {id} is a byte, but is called `{}`", piece.text);
                        TokenizerError::malformed(self.form, what)
                    })?;
                    vec![byte]
                }
                TokenKind::Normal | TokenKind::UserDefined => bytes_of_piece(&piece.text),
                _ => piece.text.clone().into_bytes(),
            };
            if matches!(kind, TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown) {
                special.push(SpecialToken::new(id, piece.text.clone()));
            }
            tokens.push(Token { bytes, kind });
        }
        let scores: Vec<f32> = self.pieces.iter().map(|piece| piece.score).collect();
        let merger = Merger {
            alphabet: Alphabet::Chars,
            rule: MergeRule::JoinedByTable(ranks_of_scores(&scores)),
            whole_word: WholeWord::if_merged(tokens.len()),
            unknown: self.unknown,
        };
        let encoder = Encoder::SentencePiece(SentencePiece {
            merger,
            prefix: if self.add_space_prefix { Prefix::EveryFragment } else { Prefix::Never },
            space_is_prefix_enough: false,
            splits_at_spaces: no_token_crosses_a_space(&tokens),
            legacy_decides: true,
        });
        let ids = NamedIds {
            bos: self.bos,
            eos: self.eos,
            unknown: self.unknown,
            add_bos: self.add_bos && self.bos.is_some(),
            add_eos: self.add_eos,
        };
        Tokenizer::assemble(self.form, &tokens, special, encoder, ids)
    }
}
