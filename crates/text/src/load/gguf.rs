//! Vocabularies out of GGUF headers, of both kinds, and the SentencePiece parts they share with
//! `tokenizer.model`.

use std::collections::{HashMap, HashSet};

use crate::byte_level::bytes_of_token;
use crate::charsmap::CharsMap;
use crate::decode::{Decoding, sentencepiece_chain};
use crate::error::TokenizerError;
use crate::load::added::{AddedToken, with_ids};
use crate::load::gguf_pre;
use crate::merge::{Alphabet, MergeRule, Merger, PairHasher, PairMap, WholeWord};
use crate::normalize::{Normalizer, SentencePieceNormalizer};
use crate::piece::{byte_of_piece, bytes_of_piece};
use crate::pipeline::{Model, Pipeline};
use crate::pre_tokenize::{Behavior, Delimiter, PreTokenizer};
use crate::sentencepiece::{Prefix, SentencePiece, no_token_crosses_a_space, ranks_of_scores};
use crate::special::SpecialToken;
use crate::tokenizer::{Encoder, NamedIds, Tokenizer, steers_by_name};
use crate::trie::Trie;
use crate::unigram::{UNKNOWN_PENALTY, Unigram};
use crate::vocab::{NO_TOKEN, Token, TokenKind, Vocab, order_by_id};

const FORM: &str = "GGUF tokenizer";

/// The `tokenizer.ggml.*` values of a GGUF header, as they stand there. An absent array is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocab {
    /// `tokenizer.ggml.model`: `llama` (SentencePiece's BPE), `t5` (its Unigram) or `gpt2` (byte-level).
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
    /// `tokenizer.ggml.remove_extra_whitespaces`
    pub remove_extra_whitespaces: Option<bool>,
    /// `tokenizer.ggml.precompiled_charsmap`
    pub precompiled_charsmap: Vec<u8>,
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
            "llama" => from_gguf_sentencepiece(vocab, false),
            "t5" => from_gguf_sentencepiece(vocab, true),
            "gpt2" => from_gguf_byte_level(vocab),
            other => Err(TokenizerError::unsupported(
                FORM,
                "tokenizer.ggml.model",
                other,
                "supported are `llama`, `gpt2` and `t5`",
            )),
        }?;
        for id in stop_ids.into_iter().flatten().filter(|id| (*id as usize) < n_tokens) {
            tokenizer.add_stop_id(id);
        }
        Ok(tokenizer)
    }
}

fn from_gguf_sentencepiece(vocab: GgufVocab, is_unigram: bool) -> Result<Tokenizer, TokenizerError> {
    if vocab.scores.is_empty() {
        return Err(TokenizerError::malformed(FORM, "a SentencePiece vocabulary without scores"));
    }
    let types = vocab.token_types.iter().copied().chain(std::iter::repeat(1));
    let pieces =
        vocab.tokens.into_iter().zip(vocab.scores).zip(types).map(|((text, score), code)| {
            Ok(Piece { text, score, kind: kind_of_code(FORM, i64::from(code))? })
        });
    let map = Some(&vocab.precompiled_charsmap).filter(|map| is_unigram && !map.is_empty());
    let map = map.map(|map| CharsMap::parse(map)).transpose().map_err(|what| {
        TokenizerError::malformed(FORM, format!("tokenizer.ggml.precompiled_charsmap has {what}"))
    })?;
    let parts = SentencePieceParts {
        form: FORM,
        pieces: pieces.collect::<Result<_, TokenizerError>>()?,
        bos: vocab.bos_id.or(Some(1)),
        eos: vocab.eos_id.or(Some(2)),
        unknown: vocab.unk_id.or(Some(0)),
        add_bos: vocab.add_bos.unwrap_or(true),
        add_eos: vocab.add_eos.unwrap_or(false),
        add_space_prefix: vocab.add_space_prefix.unwrap_or(true),
        is_unigram,
        map,
        // What llama.cpp heeds for Unigram alone.
        removes_extra_spaces: is_unigram && vocab.remove_extra_whitespaces.unwrap_or(false),
        marks_spaces: true,
        space_is_suffix: false,
        isolates_user_defined: is_unigram,
        added: Vec::new(),
        n_rows: None,
    };
    parts.into_tokenizer()
}

fn from_gguf_byte_level(vocab: GgufVocab) -> Result<Tokenizer, TokenizerError> {
    let (cuts, shortcut) = cuts_of_pre(&vocab)?;
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
            special.push(SpecialToken::new(id, text.clone(), kind));
        }
        tokens.push(Token { bytes, kind });
    }
    let merges = vocab.merges.iter().map(|merge| {
        let halves = merge.split_once(' ').filter(|(_, right)| !right.contains(' '));
        halves.ok_or_else(|| TokenizerError::malformed(FORM, format!("the merge `{merge}` is not a pair")))
    });
    let merges = merges.collect::<Result<Vec<(&str, &str)>, _>>()?;
    let ranked = merges.into_iter().zip(0u32..).map(|((left, right), rank)| (rank, left, right));
    let id_of: HashMap<&str, u32> =
        (0u32..).zip(&vocab.tokens).map(|(id, text)| (text.as_str(), id)).collect();
    let rule = listed_merges(
        FORM,
        ranked,
        "",
        |text| id_of.get(text).copied(),
        |id| tokens[id as usize].kind == TokenKind::Control,
    )?;
    let whole_word = if shortcut { WholeWord::Always } else { WholeWord::if_merged(tokens.len()) };
    let merger = Merger {
        alphabet: Alphabet::Bytes,
        rule,
        whole_word,
        unknown: vocab.unk_id,
        fuses_unknown: false,
        affixes: None,
    };
    let encoder = Encoder::Pipeline(Box::new(Pipeline::byte_level(cuts, merger)));
    let ids = NamedIds {
        bos: vocab.bos_id,
        eos: vocab.eos_id,
        unknown: vocab.unk_id,
        add_bos: vocab.add_bos.unwrap_or(vocab.bos_id.is_some()),
        add_eos: vocab.add_eos.unwrap_or(false),
        prints_unknown: true,
    };
    Tokenizer::assemble(FORM, &tokens, special, encoder, ids)
}

/// The cuts that `tokenizer.ggml.pre` names, and whether whole words that are tokens skip merging.
fn cuts_of_pre(vocab: &GgufVocab) -> Result<(Vec<PreTokenizer>, bool), TokenizerError> {
    const LLAMA3_SIZE: usize = 128_256;
    let has = |name: &str| vocab.tokens.iter().any(|token| token == name);
    let name = match vocab.pre.as_deref() {
        // Early conversions do not say. The header tokens tell the generations apart.
        None | Some("default") if has("<|header_start|>") => "llama4",
        None | Some("default") if vocab.tokens.len() == LLAMA3_SIZE || has("<|begin_of_text|>") => {
            "llama-bpe"
        }
        Some(name) => name,
        None => "(absent)",
    };
    let (cuts, shortcut) = gguf_pre::cuts_called(name)?.ok_or_else(|| {
        let hint =
            "supported are the names that llama.cpp has for splits by expressions, such as `llama-bpe`";
        TokenizerError::unsupported(FORM, "tokenizer.ggml.pre", name, hint)
    })?;
    Ok((cuts, shortcut))
}

/// The merge rule for pairs with their ranks; of equal pairs the first counts. `id_of` knows tokens as the file writes
/// them, with `prefix` in front of those that continue a word. Pairs that would make a token of a kind that text must
/// not become (`is_control`) are left out.
pub(crate) fn listed_merges<'m>(
    form: &'static str,
    merges: impl Iterator<Item = (u32, &'m str, &'m str)>,
    prefix: &str,
    id_of: impl Fn(&str) -> Option<u32>,
    is_control: impl Fn(u32) -> bool,
) -> Result<MergeRule, TokenizerError> {
    let mut pairs = PairMap::with_capacity_and_hasher(merges.size_hint().0, PairHasher::seeded());
    let mut joined = String::new();
    for (rank, left, right) in merges {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right.strip_prefix(prefix).unwrap_or(right));
        let id = |text: &str| {
            let missing = || {
                let what = format!("merge {rank}, `{left} {right}`: no token `{text}`");
                TokenizerError::malformed(form, what)
            };
            id_of(text).ok_or_else(missing)
        };
        let (pair, made) = ((id(left)?, id(right)?), id(&joined)?);
        if !is_control(made) {
            pairs.entry(pair).or_insert((rank, made));
        }
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
    /// Unigram, or else BPE.
    pub is_unigram: bool,
    pub map: Option<CharsMap>,
    pub removes_extra_spaces: bool,
    pub marks_spaces: bool,
    pub space_is_suffix: bool,
    /// Whether user-defined pieces stand inside a text, as SentencePiece has it, or cut it as added tokens do.
    pub isolates_user_defined: bool,
    /// Tokens that other files add.
    pub added: Vec<AddedToken>,
    /// Rows of the model, if they are known.
    pub n_rows: Option<usize>,
}

impl SentencePieceParts {
    pub fn into_tokenizer(self) -> Result<Tokenizer, TokenizerError> {
        let added = self.added_with_ids();
        let described: HashSet<u32> = added.iter().map(|(id, _)| *id).collect();
        let mut rows = Vec::with_capacity(self.pieces.len() + added.len());
        let mut special = Vec::new();
        for (id, piece) in (0u32..).zip(&self.pieces) {
            let kind = match piece.kind {
                TokenKind::UserDefined if steers_by_name(&piece.text) => TokenKind::Control,
                kind => kind,
            };
            if described.contains(&id) && kind != TokenKind::Unknown {
                continue;
            }
            let stands_apart = kind == TokenKind::UserDefined && !self.isolates_user_defined;
            if matches!(kind, TokenKind::Control | TokenKind::Unknown) || stands_apart {
                special.push(SpecialToken::new(id, piece.text.clone(), kind));
            }
            rows.push((id, self.token(id, piece, kind)?));
        }
        for (id, token) in &added {
            if Some(*id) == self.unknown {
                continue;
            }
            let steers = token.special || steers_by_name(&token.content);
            let kind = if steers { TokenKind::Control } else { TokenKind::UserDefined };
            special.push(SpecialToken {
                takes_space_before: token.lstrip,
                takes_space_after: token.rstrip,
                is_single_word: token.single_word,
                ..SpecialToken::new(*id, token.content.clone(), kind)
            });
            rows.push((*id, Token::new(token.content.as_str(), kind)));
        }
        let tokens = order_by_id(self.form, rows)?;
        let ids = NamedIds {
            bos: self.bos,
            eos: self.eos,
            unknown: self.unknown,
            add_bos: self.add_bos && self.bos.is_some(),
            add_eos: self.add_eos,
            prints_unknown: true,
        };
        let form = self.form;
        let encoder = self.into_encoder(&tokens)?;
        Tokenizer::assemble(form, &tokens, special, encoder, ids)
    }

    fn added_with_ids(&self) -> Vec<(u32, AddedToken)> {
        let known: HashMap<&str, u32> =
            (0u32..).zip(&self.pieces).map(|(id, piece)| (piece.text.as_str(), id)).collect();
        let n_known = self.pieces.len() as u32;
        // What is called padding in the file may have been renamed since.
        let is_taken =
            |id: u32| self.pieces.get(id as usize).is_some_and(|piece| piece.kind != TokenKind::Unused);
        with_ids(self.added.iter().cloned(), |text| known.get(text).copied(), is_taken, n_known, self.n_rows)
    }

    fn token(&self, id: u32, piece: &Piece, kind: TokenKind) -> Result<Token, TokenizerError> {
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
        Ok(Token { bytes, kind })
    }

    /// Pieces that stand inside a text although merges or scores might not make them.
    fn user_defined(&self) -> impl Iterator<Item = (&str, u32)> {
        let kinds = (0u32..).zip(&self.pieces).filter(|_| self.isolates_user_defined);
        let kinds =
            kinds.filter(|(_, piece)| piece.kind == TokenKind::UserDefined && !steers_by_name(&piece.text));
        kinds.map(|(id, piece)| (piece.text.as_str(), id))
    }

    /// The short way if the model is one of BPE that normalises nothing, as Llama 1 and 2's is.
    fn into_encoder(self, tokens: &[Token]) -> Result<Encoder, TokenizerError> {
        let is_plain = self.map.is_none()
            && !self.removes_extra_spaces
            && self.marks_spaces
            && !self.space_is_suffix
            && self.user_defined().next().is_none();
        let prefix = if self.add_space_prefix { Prefix::EveryFragment } else { Prefix::Never };
        if is_plain && !self.is_unigram {
            let whole_word = WholeWord::if_merged(tokens.len());
            return Ok(Encoder::SentencePiece(SentencePiece {
                merger: self.merger(tokens.len(), whole_word),
                prefix,
                space_is_prefix_enough: false,
                splits_at_spaces: no_token_crosses_a_space(tokens),
                each_space_splits: false,
                legacy_decides: true,
                decoding: None,
            }));
        }
        let user_defined = self.trie(self.user_defined())?;
        let (model, cuts) = if self.is_unigram {
            (Model::Unigram(self.unigram()?), Vec::new())
        } else {
            let at = Delimiter::Tokens(user_defined.clone());
            let cut = PreTokenizer::Split { at, behavior: Behavior::Isolated, inverted: false };
            (self.char_bpe()?, vec![cut])
        };
        let names = self.pieces.iter().map(|piece| match piece.kind {
            TokenKind::Control | TokenKind::Unused => None,
            TokenKind::Unknown => Some(" \u{2047} ".to_owned()),
            _ => Some(piece.text.clone()),
        });
        let added = tokens.iter().skip(self.pieces.len()).map(|token| {
            Some(String::from_utf8_lossy(&token.bytes).into_owned())
                .filter(|_| token.kind == TokenKind::UserDefined)
        });
        let strips = prefix != Prefix::Never || self.removes_extra_spaces;
        let chain = sentencepiece_chain(strips, self.removes_extra_spaces);
        Ok(Encoder::Pipeline(Box::new(Pipeline {
            decoding: Some(Decoding { names: names.chain(added).collect(), chain }),
            normalizers: vec![Normalizer::SentencePiece(Box::new(SentencePieceNormalizer {
                map: self.map,
                user_defined,
                removes_extra_spaces: self.removes_extra_spaces,
                marks_spaces: self.marks_spaces,
                space_is_suffix: self.space_is_suffix,
            }))],
            cuts,
            model,
            prefix,
            legacy_decides: true,
            cuts_long_runs: false,
        })))
    }

    fn merger(&self, n_tokens: usize, whole_word: WholeWord) -> Merger {
        let mut scores: Vec<f32> = self.pieces.iter().map(|piece| piece.score).collect();
        scores.resize(n_tokens.max(scores.len()), f32::NEG_INFINITY);
        Merger {
            alphabet: Alphabet::Chars,
            rule: MergeRule::JoinedByTable(ranks_of_scores(&scores)),
            whole_word,
            unknown: self.unknown,
            fuses_unknown: true,
            affixes: None,
        }
    }

    fn trie<'k>(&self, keys: impl Iterator<Item = (&'k str, u32)>) -> Result<Trie, TokenizerError> {
        Trie::new(keys)
            .ok_or_else(|| TokenizerError::malformed(self.form, "the pieces are too long together"))
    }

    /// BPE over pieces as the file writes them, its user-defined pieces whole.
    fn char_bpe(&self) -> Result<Model, TokenizerError> {
        let named = |piece: &Piece| match piece.kind {
            TokenKind::Normal | TokenKind::UserDefined => Token::new(piece.text.as_str(), TokenKind::Normal),
            TokenKind::Byte => {
                Token { bytes: byte_of_piece(&piece.text).into_iter().collect(), kind: TokenKind::Byte }
            }
            _ => Token::unused(),
        };
        let names: Vec<Token> = self.pieces.iter().map(named).collect();
        let whole_word = WholeWord::if_merged(names.len());
        self.user_defined().for_each(|(_, id)| whole_word.take_whole(id));
        let names = Box::new(Vocab::new(self.form, &names)?);
        Ok(Model::CharBpe { merger: self.merger(names.len(), whole_word), names })
    }

    fn unigram(&self) -> Result<Unigram, TokenizerError> {
        let of_text = (0u32..)
            .zip(&self.pieces)
            .filter(|(_, piece)| matches!(piece.kind, TokenKind::Normal | TokenKind::UserDefined));
        let normal = self.pieces.iter().filter(|piece| piece.kind == TokenKind::Normal);
        let (lowest, highest) = normal.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), piece| {
            (low.min(piece.score), high.max(piece.score))
        });
        if let Some(piece) = self.pieces.iter().find(|piece| !piece.score.is_finite()) {
            let what = format!("the piece `{}` of a Unigram model has no score", piece.text);
            return Err(TokenizerError::malformed(self.form, what));
        }
        let score = |piece: &Piece| match piece.kind {
            // So high that nothing else is chosen in its place.
            TokenKind::UserDefined => f64::from(piece.text.len() as f32 * highest - 0.1),
            _ => f64::from(piece.score),
        };
        let mut bytes = Box::new([NO_TOKEN; 256]);
        for (id, piece) in (0u32..).zip(&self.pieces).filter(|(_, piece)| piece.kind == TokenKind::Byte) {
            if let Some(byte) = byte_of_piece(&piece.text) {
                bytes[usize::from(byte)] = id;
            }
        }
        let has_bytes = bytes.iter().any(|id| *id != NO_TOKEN);
        Ok(Unigram {
            pieces: self.trie(of_text.map(|(id, piece)| (piece.text.as_str(), id)))?,
            scores: self.pieces.iter().map(score).collect(),
            unknown: self.unknown,
            unknown_score: f64::from(lowest) - UNKNOWN_PENALTY,
            bytes: has_bytes.then_some(bytes),
            rounds: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::EncodeOptions;

    const OPTIONS: EncodeOptions = EncodeOptions { add_bos: false, add_eos: false, parse_special: true };

    fn vocab(model: &str, rows: &[(&str, f32, i32)]) -> GgufVocab {
        GgufVocab {
            model: model.to_owned(),
            tokens: rows.iter().map(|row| row.0.to_owned()).collect(),
            scores: rows.iter().map(|row| row.1).collect(),
            token_types: rows.iter().map(|row| row.2).collect(),
            ..GgufVocab::default()
        }
    }

    /// Unigram, as SentencePiece computes it: user-defined pieces win, spaces collapse, unknown characters are one.
    #[test]
    fn unigram_vocabularies() {
        let rows = [
            ("<unk>", 0.0, 2),
            ("<s>", 0.0, 3),
            ("</s>", 0.0, 3),
            ("▁", -2.0, 1),
            ("▁a", -1.0, 1),
            ("b", -1.5, 1),
            ("ab", -1.2, 1),
            ("bb", -9.0, 4),
        ];
        let given =
            GgufVocab { remove_extra_whitespaces: Some(true), add_bos: Some(false), ..vocab("t5", &rows) };
        let tokenizer = Tokenizer::from_gguf(given.clone()).unwrap();
        for (text, ids) in [
            ("a  b", vec![4, 3, 5]),
            ("abb", vec![4, 7]),
            ("éé b ", vec![3, 0, 3, 5]),
            ("a</s>a", vec![4, 2, 4]),
            ("   ", vec![]),
        ] {
            assert_eq!(tokenizer.encode(text, OPTIONS), ids, "{text:?}");
        }
        assert_eq!(tokenizer.decode(&[4, 7, 5]), "abbb");
        assert_eq!(tokenizer.kind_name(), "Unigram");
        let broken = GgufVocab { precompiled_charsmap: vec![1, 2, 3], ..given };
        assert!(Tokenizer::from_gguf(broken).unwrap_err().to_string().contains("precompiled_charsmap"));
    }

    #[test]
    fn splits_go_by_name() {
        let rows: Vec<(String, f32, i32)> =
            (0..=255u8).map(|byte| (crate::byte_level::token_of_bytes(&[byte]), 0.0, 1)).collect();
        let mut rows: Vec<(&str, f32, i32)> = rows.iter().map(|row| (row.0.as_str(), row.1, row.2)).collect();
        rows.extend([("11", 0.0, 1), ("<|x|>", 0.0, 1), ("<|y|>", 0.0, 3)]);
        let with_pre = |pre: Option<&str>| {
            let pre = pre.map(str::to_owned);
            Tokenizer::from_gguf(GgufVocab { pre, merges: vec!["1 1".into()], ..vocab("gpt2", &rows) })
        };
        assert_eq!(with_pre(Some("gpt-2")).unwrap().encode("11", OPTIONS), [256]);
        assert_eq!(with_pre(Some("smollm")).unwrap().encode("11<|y|>", OPTIONS), [49, 49, 258]);
        for unknown in [None, Some("default"), Some("runes")] {
            let error = with_pre(unknown).unwrap_err().to_string();
            assert!(error.contains(unknown.unwrap_or("absent")), "{error}");
        }
    }
}
