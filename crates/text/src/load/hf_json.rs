//! Hugging Face's `tokenizer.json`: a model of any kind, and the parts around it (`hf_parts.rs`).
//!
//! The two that nearly all Llama models have take a short way: byte-level BPE works on the bytes of the text, and
//! SentencePiece's BPE, written as a normaliser or as `Metaspace`, cuts at spaces. Whatever else a file says is put
//! together as it says it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::byte_level::bytes_of_token;
use crate::decode::{Decoder, Decoding};
use crate::error::TokenizerError;
use crate::load::added::{AddedToken, with_ids};
use crate::load::gguf::listed_merges;
use crate::load::hf_parts::{FORM, around_the_text, decoders, kind, members, normalizers, pre_tokenizers};
use crate::load::tiktoken::TokenizerHints;
use crate::merge::{Affixes, Alphabet, Merger, WholeWord};
use crate::normalize::{Normalizer, Place, normalized};
use crate::piece::{SPACE_MARK, byte_of_piece, bytes_of_piece};
use crate::pipeline::{Model, Pipeline};
use crate::pre_tokenize::{Behavior, Delimiter, PreTokenizer};
use crate::sentencepiece::{Prefix, SentencePiece, no_token_crosses_a_space};
use crate::special::SpecialToken;
use crate::tokenizer::{Encoder, Frame, NamedIds, Tokenizer, steers_by_name};
use crate::trie::Trie;
use crate::unigram::{UNKNOWN_PENALTY, Unigram};
use crate::vocab::{Token, TokenKind, Vocab, order_by_id};
use crate::word_models::{WordLevel, WordPiece};

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn from_hf_json(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
        from_hf_json(bytes, &TokenizerHints::default())
    }
}

/// Reads a `tokenizer.json`, beside which other files name more tokens.
pub(crate) fn from_hf_json(bytes: &[u8], hints: &TokenizerHints) -> Result<Tokenizer, TokenizerError> {
    let file: File =
        serde_json::from_slice(bytes).map_err(|error| TokenizerError::malformed(FORM, error.to_string()))?;
    let tokens = Tokens::of(&file, hints)?;
    let parts = Parts {
        normalizers: normalizers(&file.normalizer)?,
        cuts: pre_tokenizers(&file.pre_tokenizer)?,
        decoders: decoders(&file.decoder)?,
    };
    let (before, after) = around_the_text(&file.post_processor, |name| tokens.id_of(name))?;
    let named = |names: [&str; 2]| names.iter().find_map(|name| tokens.id_of(name));
    let ids = NamedIds {
        bos: before.first().copied().or_else(|| named(["<|begin_of_text|>", "<s>"])),
        eos: after.last().copied().or_else(|| named(["<|end_of_text|>", "</s>"])),
        unknown: tokens.unknown,
        add_bos: !before.is_empty(),
        add_eos: !after.is_empty(),
        prints_unknown: false,
    };
    let special = special_tokens(&tokens, &parts.normalizers);
    let built = match file.model.kind()? {
        ModelKind::Bpe => bpe(&file, &tokens, parts)?,
        kind => general(&file, &tokens, parts, kind)?,
    };
    let tokenizer = Tokenizer::assemble(FORM, &built.tokens, special, built.encoder, ids)?;
    tokenizer.with_frame(FORM, Frame { before, after, is_of_file: true })
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
    #[serde(default)]
    decoder: Value,
    model: ModelFields,
}

#[derive(Deserialize)]
struct ModelFields {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: VocabField,
    merges: Option<Vec<Merge>>,
    unk_token: Option<String>,
    unk_id: Option<u32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    max_input_chars_per_word: Option<usize>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// Tokens with their ids, or in order of id with their scores.
enum VocabField {
    Ids(HashMap<String, u32>),
    Scores(Vec<(String, f64)>),
}

impl<'de> Deserialize<'de> for VocabField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VocabField, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = VocabField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary as {\"token\": id} or [[\"token\", score]]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<VocabField, A::Error> {
                let mut ids = HashMap::new();
                while let Some((text, id)) = items.next_entry()? {
                    ids.insert(text, id);
                }
                Ok(VocabField::Ids(ids))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<VocabField, A::Error> {
                let mut scores = Vec::new();
                while let Some(item) = items.next_element()? {
                    scores.push(item);
                }
                Ok(VocabField::Scores(scores))
            }
        }
        deserializer.deserialize_any(Either)
    }
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelKind {
    Bpe,
    Unigram,
    WordPiece,
    WordLevel,
}

impl ModelFields {
    /// Early files do not name the kind; their fields tell.
    fn kind(&self) -> Result<ModelKind, TokenizerError> {
        Ok(match (self.kind.as_deref(), &self.vocab) {
            (Some("BPE"), _) => ModelKind::Bpe,
            (Some("Unigram"), VocabField::Scores(_)) | (None, VocabField::Scores(_)) => ModelKind::Unigram,
            (Some("WordPiece"), _) => ModelKind::WordPiece,
            (Some("WordLevel"), _) => ModelKind::WordLevel,
            (None, _) if self.merges.is_some() => ModelKind::Bpe,
            (None, _) if self.max_input_chars_per_word.is_some() => ModelKind::WordPiece,
            (None, _) => ModelKind::WordLevel,
            (Some("Unigram"), _) => {
                return Err(TokenizerError::malformed(FORM, "the Unigram model has tokens without scores"));
            }
            (Some(other), _) => {
                let hint = "supported are BPE, Unigram, WordPiece and WordLevel";
                return Err(TokenizerError::unsupported(FORM, "model.type", other, hint));
            }
        })
    }
}

/// All tokens of a file and of those beside it.
struct Tokens<'f> {
    /// The model's, with their scores where it has any.
    model: Vec<(&'f str, u32, f64)>,
    ids: HashMap<&'f str, u32>,
    added: Vec<(u32, AddedToken)>,
    unknown: Option<u32>,
}

impl<'f> Tokens<'f> {
    fn of(file: &'f File, hints: &TokenizerHints) -> Result<Tokens<'f>, TokenizerError> {
        let model: Vec<(&str, u32, f64)> = match &file.model.vocab {
            VocabField::Ids(ids) => ids.iter().map(|(text, id)| (text.as_str(), *id, 0.0)).collect(),
            VocabField::Scores(scores) => {
                (0u32..).zip(scores).map(|(id, (text, score))| (text.as_str(), id, *score)).collect()
            }
        };
        let ids: HashMap<&str, u32> = model.iter().map(|(text, id, _)| (*text, *id)).collect();
        let taken: HashSet<u32> = model.iter().map(|(_, id, _)| *id).collect();
        let added = file.added_tokens.iter().chain(&hints.added_tokens).cloned();
        let n_known = u32::try_from(model.len()).unwrap_or(u32::MAX);
        let added = with_ids(
            added,
            |text| ids.get(text).copied(),
            |id| taken.contains(&id),
            n_known,
            hints.vocab_size,
        );
        let mut tokens = Tokens { model, ids, added, unknown: None };
        tokens.unknown = match (&file.model.unk_token, file.model.unk_id) {
            // The default of a model that names none is one that need not be there.
            (Some(name), _) => Some(tokens.id_of(name).ok_or_else(|| {
                let what = format!("`{name}` is used, but is not in the vocabulary");
                TokenizerError::malformed(FORM, what)
            })?),
            (None, Some(id)) if taken.contains(&id) => Some(id),
            (None, Some(id)) => {
                return Err(TokenizerError::malformed(
                    FORM,
                    format!("the unknown token is id {id}, which is no token"),
                ));
            }
            (None, None) => None,
        };
        Ok(tokens)
    }

    fn id_of(&self, name: &str) -> Option<u32> {
        let added = self.added.iter().find(|(_, token)| token.content == name).map(|(id, _)| *id);
        added.or_else(|| self.ids.get(name).copied())
    }

    /// What an added token is for.
    fn added_kind(&self, id: u32, token: &AddedToken) -> TokenKind {
        // A character of the model's own is text whatever it is called: without it that text would be lost.
        let is_char = token.content.chars().nth(1).is_none() && self.ids.contains_key(token.content.as_str());
        let steers = (token.special || steers_by_name(&token.content)) && !is_char;
        match (steers, Some(id) == self.unknown) {
            (true, true) => TokenKind::Unknown,
            (true, false) => TokenKind::Control,
            (false, _) => TokenKind::UserDefined,
        }
    }

    /// The rows of the vocabulary: `ordinary` says what the model's tokens hold, `bytes_of` what added ones add to a
    /// text, called as they are looked for.
    fn rows(
        &self,
        normalizers: &[Normalizer],
        ordinary: impl Fn(&str, u32) -> Token,
        bytes_of: impl Fn(&str) -> Vec<u8>,
    ) -> Result<Vec<Token>, TokenizerError> {
        let mut added: HashMap<u32, Token> = HashMap::with_capacity(self.added.len());
        for (id, token) in &self.added {
            let kind = self.added_kind(*id, token);
            let row = match kind {
                // What the model knows too can also come from merging.
                TokenKind::UserDefined if self.ids.contains_key(token.content.as_str()) => {
                    ordinary(&token.content, *id)
                }
                TokenKind::UserDefined => Token::new(bytes_of(&name_of(normalizers, token)), kind),
                _ => Token::new(token.content.as_str(), kind),
            };
            added.insert(*id, row);
        }
        let of_model = self.model.iter().filter(|(_, id, _)| !added.contains_key(id));
        let mut rows: Vec<(u32, Token)> = of_model.map(|(text, id, _)| (*id, ordinary(text, *id))).collect();
        rows.extend(added);
        order_by_id(FORM, rows)
    }

    /// The added tokens that steer the model.
    fn control(&self) -> HashSet<u32> {
        let steers = |(id, token): &&(u32, AddedToken)| self.added_kind(*id, token) == TokenKind::Control;
        self.added.iter().filter(steers).map(|(id, _)| *id).collect()
    }

    /// The model's tokens that text may become: all but those that steer the model.
    fn of_text(&self) -> impl Iterator<Item = (&'f str, u32, f64)> {
        let control = self.control();
        self.model
            .iter()
            .copied()
            .filter(move |(_, id, _)| !control.contains(id))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The tokens as the file writes them, in order of id; those that decoding passes over are `None`.
    fn names(&self, normalizers: &[Normalizer]) -> Vec<Option<String>> {
        let n = self.model.iter().map(|row| row.1).chain(self.added.iter().map(|row| row.0)).max();
        let mut names = vec![None; n.map_or(0, |last| last as usize + 1)];
        for (text, id, _) in &self.model {
            names[*id as usize] = Some((*text).to_owned());
        }
        for (id, token) in &self.added {
            let kind = self.added_kind(*id, token);
            let is_silent = matches!(kind, TokenKind::Control | TokenKind::Unknown);
            names[*id as usize] = (!is_silent).then(|| name_of(normalizers, token));
        }
        names
    }
}

/// The tokens that are looked for as a whole.
fn special_tokens(tokens: &Tokens<'_>, normalizers: &[Normalizer]) -> Vec<SpecialToken> {
    let special = tokens.added.iter().map(|(id, token)| SpecialToken {
        id: *id,
        text: token.content.clone(),
        is_control: tokens.added_kind(*id, token) != TokenKind::UserDefined,
        normalized: token.normalized.then(|| normalized_text(normalizers, &token.content)),
        takes_space_before: token.lstrip,
        takes_space_after: token.rstrip,
        is_single_word: token.single_word,
    });
    special.collect()
}

/// An added token as it is looked for.
fn name_of(normalizers: &[Normalizer], token: &AddedToken) -> String {
    if token.normalized { normalized_text(normalizers, &token.content) } else { token.content.clone() }
}

fn normalized_text(normalizers: &[Normalizer], text: &str) -> String {
    let mut place = Place { at_start: true, prefix: Prefix::EveryFragment };
    normalized(normalizers, text, &mut place).into_owned()
}

/// What surrounds the model.
struct Parts {
    normalizers: Vec<Normalizer>,
    cuts: Vec<PreTokenizer>,
    decoders: Vec<Decoder>,
}

impl Parts {
    /// Which stretches of a text get a space, or anything, in front.
    fn prefix(&self) -> Prefix {
        let prepends = self.normalizers.iter().any(|part| matches!(part, Normalizer::Prepend(_)));
        let of_cut = |cut: &PreTokenizer| match cut {
            PreTokenizer::PrefixSpace => Prefix::EveryFragment,
            PreTokenizer::Metaspace { prefix, .. } => *prefix,
            _ => Prefix::Never,
        };
        let cuts: Vec<Prefix> = self.cuts.iter().map(of_cut).collect();
        if prepends || cuts.contains(&Prefix::EveryFragment) {
            Prefix::EveryFragment
        } else if cuts.contains(&Prefix::TextStart) {
            Prefix::TextStart
        } else {
            Prefix::Never
        }
    }
}

/// An encoder, and what its tokens hold.
struct Built {
    tokens: Vec<Token>,
    encoder: Encoder,
}

fn bpe(file: &File, tokens: &Tokens<'_>, mut parts: Parts) -> Result<Built, TokenizerError> {
    let ends_in_bytes = matches!(parts.cuts.last(), Some(PreTokenizer::ByteAlphabet));
    let n_alphabets = parts.cuts.iter().filter(|cut| matches!(cut, PreTokenizer::ByteAlphabet)).count();
    let has_affixes = affixes(&file.model).is_some();
    if ends_in_bytes && n_alphabets == 1 && !has_affixes && !file.model.byte_fallback {
        parts.cuts.pop();
        return byte_bpe(file, tokens, parts);
    }
    match SentencePieceStyle::of(file, tokens, &parts) {
        Some(style) => sentencepiece(file, tokens, parts, style),
        None => general(file, tokens, parts, ModelKind::Bpe),
    }
}

fn merger(
    file: &File,
    tokens: &Tokens<'_>,
    alphabet: Alphabet,
    n_tokens: usize,
) -> Result<Merger, TokenizerError> {
    // Of a merge that is listed twice the last counts.
    let merges = file.model.merges.as_deref().unwrap_or_default();
    let ranked = (0u32..).zip(merges).map(|(rank, merge)| (rank, merge.0.as_str(), merge.1.as_str()));
    let ranked: Vec<(u32, &str, &str)> = ranked.collect();
    let prefix = file.model.continuing_subword_prefix.as_deref().unwrap_or("");
    let id_of = |text: &str| tokens.ids.get(text).copied();
    let control = tokens.control();
    Ok(Merger {
        alphabet,
        rule: listed_merges(FORM, ranked.into_iter().rev(), prefix, id_of, |id| control.contains(&id))?,
        whole_word: if file.model.ignore_merges { WholeWord::Always } else { WholeWord::if_merged(n_tokens) },
        unknown: tokens.unknown,
        fuses_unknown: file.model.fuse_unk,
        affixes: affixes(&file.model).map(Box::new),
    })
}

fn affixes(model: &ModelFields) -> Option<Affixes> {
    let continuing_prefix = model.continuing_subword_prefix.clone().unwrap_or_default();
    let end_suffix = model.end_of_word_suffix.clone().unwrap_or_default();
    let has_any = !continuing_prefix.is_empty() || !end_suffix.is_empty();
    has_any.then_some(Affixes { continuing_prefix, end_suffix })
}

/// Byte-level BPE. A token that is not written in the byte-level alphabet can be decoded, but no text becomes it.
fn byte_bpe(file: &File, tokens: &Tokens<'_>, parts: Parts) -> Result<Built, TokenizerError> {
    let ordinary = |text: &str, _: u32| match bytes_of_token(text) {
        Some(bytes) => Token::new(bytes, TokenKind::Normal),
        None => Token::new(text, TokenKind::UserDefined),
    };
    let in_bytes = matches!(parts.decoders.as_slice(), [Decoder::ByteLevel]);
    let bytes_of = |name: &str| Decoder::bytes_of(&parts.decoders, name);
    let rows = tokens.rows(&parts.normalizers, ordinary, bytes_of)?;
    let merger = merger(file, tokens, Alphabet::Bytes, rows.len())?;
    let prefix = parts.prefix();
    let decoding =
        (!in_bytes).then(|| Decoding { names: tokens.names(&parts.normalizers), chain: parts.decoders });
    let pipeline = Pipeline {
        normalizers: parts.normalizers,
        prefix,
        decoding,
        ..Pipeline::byte_level(parts.cuts, merger)
    };
    Ok(Built { tokens: rows, encoder: Encoder::Pipeline(Box::new(pipeline)) })
}

/// How a file writes SentencePiece's BPE.
struct SentencePieceStyle {
    prefix: Prefix,
    space_is_prefix_enough: bool,
    each_space_splits: bool,
}

impl SentencePieceStyle {
    /// The style, if the file is plain enough that cutting its text at spaces changes nothing.
    fn of(file: &File, tokens: &Tokens<'_>, parts: &Parts) -> Option<SentencePieceStyle> {
        let plain =
            |prefix| SentencePieceStyle { prefix, space_is_prefix_enough: false, each_space_splits: false };
        let is_mark_of_spaces = |part: &Value| {
            let (pattern, content) = (&part["pattern"], &part["content"]);
            kind(part) == "Replace" && pattern["String"] == " " && content == "▁"
        };
        let normalizers = members(&file.normalizer, "normalizers").ok()?;
        let style = match (normalizers.as_slice(), parts.cuts.as_slice()) {
            ([], [PreTokenizer::Metaspace { mark: SPACE_MARK, prefix }]) => {
                SentencePieceStyle { space_is_prefix_enough: true, ..plain(*prefix) }
            }
            ([], [PreTokenizer::Metaspace { mark: SPACE_MARK, prefix }, cut]) if cuts_at_marks(cut) => {
                SentencePieceStyle { space_is_prefix_enough: true, each_space_splits: true, ..plain(*prefix) }
            }
            ([replace], []) if is_mark_of_spaces(replace) => plain(Prefix::Never),
            ([a, b], []) => {
                let (prepend, replace) = if kind(a) == "Prepend" { (a, b) } else { (b, a) };
                let prepends = kind(prepend) == "Prepend" && prepend["prepend"] == "▁";
                (prepends && is_mark_of_spaces(replace)).then_some(plain(Prefix::EveryFragment))?
            }
            _ => return None,
        };
        // A word of the whole text must not be told from one of its words.
        let cuts_nothing_else = !file.model.ignore_merges || style.each_space_splits;
        let mark_is_a_token = tokens.ids.contains_key("▁");
        let no_spaces = tokens.model.iter().all(|(text, _, _)| !text.contains(' '));
        let found_as_they_are =
            normalizers.is_empty() || !tokens.added.iter().any(|(_, token)| token.normalized);
        // Text that has begun goes on with what the short way looks up.
        let decodes_alike = tokens.model.iter().all(|(text, _, _)| {
            Decoder::bytes_of(&parts.decoders, text) == sentencepiece_token(file, text).bytes
        });
        let is_plain =
            cuts_nothing_else && mark_is_a_token && no_spaces && found_as_they_are && decodes_alike;
        (is_plain && affixes(&file.model).is_none()).then_some(style)
    }
}

/// Whether a cut is the one that `Metaspace` makes.
fn cuts_at_marks(cut: &PreTokenizer) -> bool {
    let PreTokenizer::Split { at: Delimiter::Char(mark), behavior, inverted } = cut else { return false };
    *mark == SPACE_MARK && *behavior == Behavior::MergedWithNext && !inverted
}

/// Whether a decoder is the usual one behind SentencePiece's BPE.
fn is_sentencepiece_chain(decoder: &Value, strips: bool) -> bool {
    let Ok(parts) = members(decoder, "decoders") else { return false };
    let (parts, last) = match parts.split_last() {
        Some((last, parts)) if kind(last) == "Strip" => (parts, Some(last)),
        _ => (parts.as_slice(), None),
    };
    let strips_one = |part: &&Value| part["content"] == " " && part["start"] == 1 && part["stop"] == 0;
    let marks = |part: &Value| part["pattern"]["String"] == "▁" && part["content"] == " ";
    let kinds: Vec<&str> = parts.iter().map(|part| kind(part)).collect();
    kinds == ["Replace", "ByteFallback", "Fuse"] && marks(parts[0]) && last.is_some_and(strips_one) == strips
}

/// A token as SentencePiece's BPE looks it up.
fn sentencepiece_token(file: &File, text: &str) -> Token {
    match byte_of_piece(text).filter(|_| file.model.byte_fallback) {
        Some(byte) => Token::new([byte], TokenKind::Byte),
        None => Token::new(bytes_of_piece(text), TokenKind::Normal),
    }
}

fn sentencepiece(
    file: &File,
    tokens: &Tokens<'_>,
    parts: Parts,
    style: SentencePieceStyle,
) -> Result<Built, TokenizerError> {
    let rows = tokens.rows(&[], |text, _| sentencepiece_token(file, text), bytes_of_piece)?;
    let is_usual = is_sentencepiece_chain(&file.decoder, style.prefix != Prefix::Never);
    let names = (!is_usual).then(|| tokens.names(&parts.normalizers));
    let merger = merger(file, tokens, Alphabet::Chars, rows.len())?;
    let encoder = SentencePiece {
        merger,
        prefix: style.prefix,
        space_is_prefix_enough: style.space_is_prefix_enough,
        splits_at_spaces: style.each_space_splits || no_token_crosses_a_space(&rows),
        each_space_splits: style.each_space_splits,
        legacy_decides: false,
        decoding: names.map(|names| Decoding { names, chain: parts.decoders }),
    };
    Ok(Built { tokens: rows, encoder: Encoder::SentencePiece(encoder) })
}

/// The model as the file says it, on words as the file writes them.
fn general(file: &File, tokens: &Tokens<'_>, parts: Parts, kind: ModelKind) -> Result<Built, TokenizerError> {
    let chain = &parts.decoders;
    let ordinary = |text: &str, _: u32| Token::new(Decoder::bytes_of(chain, text), TokenKind::Normal);
    let bytes_of = |name: &str| Decoder::bytes_of(chain, name);
    let rows = tokens.rows(&parts.normalizers, ordinary, bytes_of)?;
    let model = match kind {
        ModelKind::Bpe => {
            let mut names: Vec<Token> = vec![Token::unused(); rows.len()];
            for (text, id, _) in tokens.of_text() {
                names[id as usize] = Token::new(text, TokenKind::Normal);
            }
            let names = Box::new(Vocab::of_names(FORM, &names, file.model.byte_fallback)?);
            Model::CharBpe { merger: merger(file, tokens, Alphabet::Chars, names.len())?, names }
        }
        ModelKind::Unigram => Model::Unigram(unigram(file, tokens, &parts)?),
        ModelKind::WordPiece => {
            let prefix = file.model.continuing_subword_prefix.as_deref().unwrap_or("##");
            let continuing =
                tokens.of_text().filter_map(|(text, id, _)| Some((text.strip_prefix(prefix)?, id)));
            Model::WordPiece(WordPiece {
                first: trie(tokens.of_text().map(|(text, id, _)| (text, id)))?,
                continuing: trie(continuing)?,
                unknown: tokens.unknown,
                max_word_chars: file.model.max_input_chars_per_word.unwrap_or(100),
            })
        }
        ModelKind::WordLevel => Model::WordLevel(WordLevel {
            words: trie(tokens.of_text().map(|(text, id, _)| (text, id)))?,
            unknown: tokens.unknown,
        }),
    };
    let pipeline = Pipeline {
        prefix: parts.prefix(),
        model,
        decoding: Some(Decoding { names: tokens.names(&parts.normalizers), chain: parts.decoders }),
        normalizers: parts.normalizers,
        cuts: parts.cuts,
        legacy_decides: false,
        cuts_long_runs: false,
    };
    Ok(Built { tokens: rows, encoder: Encoder::Pipeline(Box::new(pipeline)) })
}

fn trie<'k>(keys: impl IntoIterator<Item = (&'k str, u32)>) -> Result<Trie, TokenizerError> {
    Trie::new(keys)
        .ok_or_else(|| TokenizerError::malformed(FORM, "the vocabulary's tokens are too long together"))
}

fn unigram(file: &File, tokens: &Tokens<'_>, parts: &Parts) -> Result<Unigram, TokenizerError> {
    let lowest = tokens.model.iter().map(|(_, _, score)| *score).fold(f64::INFINITY, f64::min);
    if let Some((text, id, _)) = tokens.model.iter().find(|(_, _, score)| !score.is_finite()) {
        return Err(TokenizerError::malformed(
            FORM,
            format!("token {id}, `{text}`, of the Unigram model has no score"),
        ));
    }
    // A Unigram model behind bytes whose pieces are not bytes was put together from two files.
    let in_bytes = parts.cuts.iter().any(|cut| matches!(cut, PreTokenizer::ByteAlphabet));
    let mut odd = tokens.of_text().filter(|(text, _, _)| bytes_of_token(text).is_none());
    if let Some((text, id, _)) = in_bytes.then(|| odd.next()).flatten() {
        let value = format!("Unigram behind ByteLevel, with the token {id}, `{text}`");
        let hint = "its tokens would have to be written in the byte-level alphabet";
        return Err(TokenizerError::unsupported(FORM, "model.type", value, hint));
    }
    let mut scores = vec![0.0; tokens.model.iter().map(|row| row.1 as usize + 1).max().unwrap_or(0)];
    tokens.model.iter().for_each(|(_, id, score)| scores[*id as usize] = *score);
    let byte = |byte: u8| tokens.ids.get(format!("<0x{byte:02X}>").as_str()).copied();
    let bytes = || Box::new(std::array::from_fn(|n| byte(n as u8).unwrap_or(crate::vocab::NO_TOKEN)));
    Ok(Unigram {
        pieces: trie(tokens.of_text().map(|(text, id, _)| (text, id)))?,
        scores,
        unknown: tokens.unknown,
        unknown_score: lowest - UNKNOWN_PENALTY,
        bytes: file.model.byte_fallback.then(bytes),
        rounds: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::EncodeOptions;
    use serde_json::json;

    fn ids(file: &Value, text: &str) -> Vec<u32> {
        let tokenizer = Tokenizer::from_hf_json(file.to_string().as_bytes()).unwrap();
        tokenizer.encode(text, EncodeOptions { parse_special: true, ..EncodeOptions::default() })
    }

    #[test]
    fn models_without_a_type_are_told_by_their_fields() {
        let file = |model: Value| json!({"model": model});
        let vocab = json!({"a": 0, "b": 1, "ab": 2, "[UNK]": 3});
        assert_eq!(ids(&file(json!({"vocab": vocab, "merges": ["a b"]})), "abb"), [2, 1]);
        let wordpiece = json!({"vocab": vocab, "unk_token": "[UNK]", "continuing_subword_prefix": "",
            "max_input_chars_per_word": 4});
        assert_eq!(ids(&file(wordpiece), "abb"), [2, 1]);
        assert_eq!(ids(&file(json!({"vocab": vocab, "unk_token": "[UNK]"})), "abb"), [3]);
        let unigram = json!({"vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0]], "unk_id": 0});
        assert_eq!(ids(&file(unigram), "abx"), [1, 2, 0]);
    }

    #[test]
    fn broken_models_are_named() {
        let error = |model: Value| {
            let file = json!({"model": model, "pre_tokenizer": {"type": "ByteLevel", "use_regex": false}});
            Tokenizer::from_hf_json(file.to_string().as_bytes()).unwrap_err().to_string()
        };
        for (model, word) in [
            (json!({"type": "Unigram", "vocab": {"a": 0}}), "Unigram"),
            (json!({"type": "Unigram", "vocab": [["▁a", 0.0]]}), "Unigram"),
            (json!({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 1}), "unknown token"),
            (json!({"type": "RNN", "vocab": {}}), "RNN"),
            (json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}), "no token `b`"),
            (json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "b"}), "`b`"),
            (json!({"type": "BPE", "vocab": 7, "merges": []}), "a vocabulary"),
        ] {
            let said = error(model);
            assert!(said.contains(word), "{said}");
        }
    }

    /// A character that a file calls special, as padding for instance, is still text.
    #[test]
    fn no_character_is_lost() {
        let added = json!([{"id": 0, "content": "!", "special": true}]);
        let model = json!({"type": "BPE", "vocab": {"!": 0, "a": 1}, "merges": []});
        let file = json!({"added_tokens": added, "model": model, "decoder": {"type": "ByteLevel"},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}});
        let tokenizer = Tokenizer::from_hf_json(file.to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.encode("a!!", EncodeOptions::default()), [1, 0, 0]);
        assert_eq!(tokenizer.decode(&[1, 0]), "a!");
    }

    /// Sums of scores that tie are decided by their last bits, so scores are read as `tokenizers` reads them: by the same
    /// library, one in eight a little inexactly.
    #[test]
    fn scores_are_read_as_tokenizers_reads_them() {
        let file = r#"{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["aa", -15.275492379532281],
            ["aaa", -5.101380514788434], ["a", -200.0]]}}"#;
        let tokenizer = Tokenizer::from_hf_json(file.as_bytes()).unwrap();
        assert_eq!(tokenizer.encode("aaaaaaaaaaa", EncodeOptions::default()), [1, 2, 2, 2]);
    }

    /// Text cannot become a control token by way of the model.
    #[test]
    fn the_model_makes_no_control_tokens() {
        let added = json!([{"id": 1, "content": "<s>", "special": true}]);
        let file = json!({"added_tokens": added, "model": {"type": "Unigram", "unk_id": 0,
            "vocab": [["<unk>", -9.0], ["<s>", 0.0], ["<", -1.0], ["s", -1.0], [">", -1.0]]}});
        let vocab = json!({"<unk>": 0, "<s>": 1, "<": 2, "s": 3, ">": 4, "<s": 5});
        let merged = json!({"added_tokens": added, "model": {"type": "BPE", "vocab": vocab, "merges": ["< s", "<s >"]}});
        for (file, text) in [(file, [2, 3, 4].as_slice()), (merged, &[5, 4])] {
            assert_eq!(ids(&file, "<s>"), [1]);
            let tokenizer = Tokenizer::from_hf_json(file.to_string().as_bytes()).unwrap();
            assert_eq!(tokenizer.encode("<s>", EncodeOptions::default()), text);
        }
    }
}
