//! The tokenizer: text to ids, ids to text, and what the rest of the program asks about the vocabulary.
//!
//! A `Tokenizer` is a handle: cloning it copies pointers, and it can be shared between threads. What a
//! caller may change after loading (whether BOS is added, which ids stop an answer) is kept in the
//! handle itself and so differs from clone to clone.

use std::borrow::Cow;
use std::sync::Arc;

use crate::byte_level::bytes_of_token;
use crate::error::TokenizerError;
use crate::merge::Scratch;
use crate::normalize::Place;
use crate::piece::{SPACE_MARK, byte_of_piece, bytes_of_piece};
use crate::pipeline::{Model, Pipeline};
use crate::sentencepiece::{Prefix, SentencePiece};
use crate::special::{Fragment, SpecialToken, SpecialTokens, Stage};
// A circle: the stream needs the tokenizer, and `Tokenizer::stream` is there for whoever has one at hand.
use crate::stream::StreamDecoder;
use crate::vocab::{NO_TOKEN, Token, TokenKind, Vocab};

/// How text is encoded. The default adds nothing and sees no special tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Put BOS in front, if the text does not already begin with it.
    pub add_bos: bool,
    /// Put EOS at the end.
    pub add_eos: bool,
    /// Turn the names of special tokens in the text into those tokens. Never for what a user wrote.
    pub parse_special: bool,
}

/// The order of the parts in an infilling prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InfillOrder {
    /// Prefix, suffix, then the middle is generated. The usual one.
    #[default]
    PrefixFirst,
    /// Suffix, then the middle is generated on from the prefix.
    SuffixFirst,
}

/// A tokenizer: an encoder with its vocabulary and special tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    vocab: Arc<Vocab>,
    special: Arc<SpecialTokens>,
    encoder: Arc<Encoder>,
    ids: NamedIds,
    frame: Arc<Frame>,
    stop_ids: Vec<u32>,
    prefix: Prefix,
}

/// The tokens that a file puts around a text. Empty sides mean BOS and EOS.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    pub before: Vec<u32>,
    pub after: Vec<u32>,
    /// Whether the file is of a form that always says it.
    pub is_of_file: bool,
}

/// The two kinds of encoder: Llama 1 and 2's, and all that are made of parts.
#[derive(Debug)]
pub(crate) enum Encoder {
    SentencePiece(SentencePiece),
    Pipeline(Box<Pipeline>),
}

/// The ids a file names for a purpose, and what it says about adding them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NamedIds {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub add_bos: bool,
    pub add_eos: bool,
    /// Whether the unknown token is shown in a decoded text, as SentencePiece does.
    pub prints_unknown: bool,
}

/// Tokens with one of these names end an answer (spec: tokenizers, 2.7).
const STOP_NAMES: [&str; 9] = [
    "</s>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|eom|>",
    "▁<EOT>",
    "<step>",
    "<|im_end|>",
];

/// Whether a token of this name steers the model, whatever kind a file gives it: text must never become
/// such a token by itself.
pub(crate) fn steers_by_name(name: &str) -> bool {
    let between = |open: &str, close: &str| name.starts_with(open) && name.ends_with(close);
    // DeepSeek's bars are wide.
    let bar_form = between("<|", "|>") || between("<｜", "｜>");
    bar_form || STOP_NAMES.contains(&name) || matches!(name, "<s>" | "<unk>" | "▁<PRE>" | "▁<SUF>" | "▁<MID>")
}

impl Tokenizer {
    /// Puts the parts together; `form` names the file in an error.
    pub(crate) fn assemble(
        form: &'static str,
        tokens: &[Token],
        special: Vec<SpecialToken>,
        encoder: Encoder,
        ids: NamedIds,
    ) -> Result<Tokenizer, TokenizerError> {
        let vocab = Vocab::new(form, tokens)?;
        for (id, what) in [(ids.bos, "BOS"), (ids.eos, "EOS"), (ids.unknown, "the unknown token")] {
            if let Some(id) = id.filter(|id| *id as usize >= vocab.len()) {
                let what = format!("{what} is id {id} in a vocabulary of {} tokens", vocab.len());
                return Err(TokenizerError::malformed(form, what));
            }
        }
        let special = SpecialTokens::new(form, special)?;
        let named_stops = STOP_NAMES.iter().filter_map(|name| Some(special.get(name)?.id));
        let mut stop_ids: Vec<u32> = ids.eos.into_iter().chain(named_stops).collect();
        stop_ids.sort_unstable();
        stop_ids.dedup();
        let prefix = match &encoder {
            Encoder::SentencePiece(encoder) => encoder.prefix,
            Encoder::Pipeline(pipeline) => pipeline.prefix,
        };
        Ok(Tokenizer {
            vocab: Arc::new(vocab),
            special: Arc::new(special),
            encoder: Arc::new(encoder),
            ids,
            frame: Arc::default(),
            stop_ids,
            prefix,
        })
    }

    /// The tokenizer with what its file puts around a text.
    pub(crate) fn with_frame(
        mut self,
        form: &'static str,
        frame: Frame,
    ) -> Result<Tokenizer, TokenizerError> {
        let mut ids = frame.before.iter().chain(&frame.after);
        if let Some(id) = ids.find(|id| **id as usize >= self.vocab.len()) {
            let what = format!("id {id} around a text, in a vocabulary of {} tokens", self.vocab.len());
            return Err(TokenizerError::malformed(form, what));
        }
        self.frame = Arc::new(frame);
        Ok(self)
    }

    /// The ids of `text`. Text without a token becomes byte tokens or the unknown token.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 2);
        self.encode_into(text, options, &mut ids);
        ids
    }

    /// Appends the ids of `text` to `ids`.
    pub fn encode_into(&self, text: &str, options: EncodeOptions, ids: &mut Vec<u32>) {
        let first = ids.len();
        let or = |side: &[u32], one: Option<u32>| {
            if side.is_empty() { one.into_iter().collect() } else { side.to_vec() }
        };
        let before = if options.add_bos { or(&self.frame.before, self.ids.bos) } else { Vec::new() };
        ids.extend_from_slice(&before);
        self.encode_text(text, options.parse_special, self.prefix, ids);
        // BOS exactly once: a rendered template may have brought its own.
        if ids[first + before.len()..].starts_with(&before) {
            ids.drain(first..first + before.len());
        }
        if options.add_eos {
            ids.extend(or(&self.frame.after, self.ids.eos));
        }
    }

    /// Appends the ids of ordinary text that continues something: no BOS, no special tokens, no space
    /// that SentencePiece would put in front. For suffix and middle of an infilling prompt.
    pub fn encode_continuation(&self, text: &str, ids: &mut Vec<u32>) {
        self.encode_text(text, false, Prefix::Never, ids);
    }

    /// Appends the ids of ordinary text that stands as if alone: SentencePiece's space in front whenever
    /// the tokenizer uses one at all. The parts of a chat prompt are encoded so.
    pub(crate) fn encode_alone(&self, text: &str, ids: &mut Vec<u32>) {
        self.encode_text(text, false, self.prefix, ids);
    }

    /// Appends the ids of ordinary text that follows a special token in one text.
    pub(crate) fn encode_after_special(&self, text: &str, ids: &mut Vec<u32>) {
        let prefix = if self.prefix == Prefix::EveryFragment { self.prefix } else { Prefix::Never };
        self.encode_text(text, false, prefix, ids);
    }

    fn encode_text(&self, text: &str, control: bool, prefix: Prefix, ids: &mut Vec<u32>) {
        match &*self.encoder {
            Encoder::SentencePiece(encoder) => self.encode_sentencepiece(encoder, text, control, prefix, ids),
            Encoder::Pipeline(pipeline) => pipeline.for_each_slice(text, |slice| {
                self.encode_slice(pipeline, slice, control, prefix, ids);
            }),
        }
    }

    fn encode_sentencepiece(
        &self,
        encoder: &SentencePiece,
        text: &str,
        control: bool,
        prefix: Prefix,
        ids: &mut Vec<u32>,
    ) {
        let mut scratch = Scratch::default();
        self.for_each_fragment(text, control, |fragment| match fragment {
            Fragment::Special { id, .. } => ids.push(id),
            Fragment::Text { text, at_start } => {
                let prefixed = prefix == Prefix::EveryFragment || prefix == Prefix::TextStart && at_start;
                encoder.encode(&self.vocab, text, prefixed, &mut scratch, ids);
            }
        });
    }

    fn encode_slice(
        &self,
        pipeline: &Pipeline,
        slice: &str,
        control: bool,
        prefix: Prefix,
        ids: &mut Vec<u32>,
    ) {
        let mut scratch = Scratch::default();
        self.special.for_each_fragment(Stage::Raw, slice, control, |fragment| match fragment {
            Fragment::Special { id, .. } => ids.push(id),
            Fragment::Text { text, at_start } => {
                let mut place = Place { at_start, prefix };
                let text = pipeline.normalize(text, &mut place);
                self.special.for_each_fragment(
                    Stage::Normalized,
                    &text,
                    control,
                    |fragment| match fragment {
                        Fragment::Special { id, .. } => ids.push(id),
                        Fragment::Text { text, at_start } => {
                            let place = Place { at_start: place.at_start && at_start, ..place };
                            pipeline.encode(&self.vocab, text, place, &mut scratch, ids);
                        }
                    },
                );
            }
        });
    }

    /// The fragments of a text that no normaliser changes: both kinds of special tokens are found in it as it stands.
    fn for_each_fragment<'t>(&self, text: &'t str, control: bool, mut fragment: impl FnMut(Fragment<'t>)) {
        self.special.for_each_fragment(Stage::Raw, text, control, |outer| match outer {
            Fragment::Text { text, at_start } if self.special.has_any(Stage::Normalized) => {
                self.special.for_each_fragment(Stage::Normalized, text, control, |inner| match inner {
                    Fragment::Text { text, at_start: first } => {
                        fragment(Fragment::Text { text, at_start: at_start && first });
                    }
                    special => fragment(special),
                });
            }
            other => fragment(other),
        });
    }

    /// Splits `text` at the names of special tokens, giving each stretch and whether it is the name of a
    /// control token.
    pub(crate) fn split_at_special<'t>(&self, text: &'t str) -> Vec<(&'t str, bool)> {
        let mut parts = Vec::new();
        self.special.for_each_fragment(Stage::Named, text, true, |fragment| match fragment {
            Fragment::Text { text, .. } => parts.push((text, false)),
            Fragment::Special { id, name } => parts.push((name, self.is_special(id))),
        });
        parts
    }

    /// The text of `ids`, without special tokens. Bytes that are not UTF-8 become U+FFFD. The space that
    /// SentencePiece puts in front of a text is taken off again.
    pub fn decode(&self, ids: &[u32]) -> String {
        match &*self.encoder {
            Encoder::Pipeline(pipeline) => match &pipeline.decoding {
                Some(decoding) => return decoding.text_of(ids),
                None => return self.decode_continuation(ids),
            },
            Encoder::SentencePiece(encoder) => {
                if let Some(decoding) = &encoder.decoding {
                    return decoding.text_of(ids);
                }
            }
        }
        let leaves_no_text = |id: &&u32| match self.vocab.kind(**id) {
            TokenKind::Control | TokenKind::Unused => true,
            TokenKind::Unknown => !self.ids.prints_unknown,
            _ => false,
        };
        let n_silent = ids.iter().take_while(leaves_no_text).count();
        let text = self.decode_continuation(&ids[n_silent..]);
        let first_kind = ids.get(n_silent).map(|id| self.vocab.kind(*id));
        match text.strip_prefix(' ') {
            Some(rest) if self.prefix != Prefix::Never && first_kind == Some(TokenKind::Normal) => {
                rest.to_owned()
            }
            _ => text,
        }
    }

    /// The text of `ids` that continue something, such as an infilled middle: as
    /// [`decode`](Self::decode), but with every space.
    pub fn decode_continuation(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        ids.iter().for_each(|id| bytes.extend_from_slice(self.decode_bytes(*id)));
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// The bytes that `id` adds to a text: none for special and unknown ids. They may be part of a
    /// character.
    pub fn decode_bytes(&self, id: u32) -> &[u8] {
        match self.vocab.kind(id) {
            TokenKind::Control | TokenKind::Unused => &[],
            TokenKind::Unknown if self.ids.prints_unknown => " \u{2047} ".as_bytes(),
            TokenKind::Unknown => &[],
            _ => self.vocab.bytes(id),
        }
    }

    /// The bytes of `id` as stored: as [`decode_bytes`](Self::decode_bytes), but the name of a special
    /// token.
    pub fn piece_bytes(&self, id: u32) -> &[u8] {
        self.vocab.bytes(id)
    }

    /// `id` as something to show to a person: its text, or its name, or U+FFFD for part of a character.
    pub fn piece(&self, id: u32) -> Cow<'_, str> {
        String::from_utf8_lossy(self.vocab.bytes(id))
    }

    /// The literal name of a special token.
    pub(crate) fn name(&self, id: u32) -> Cow<'_, str> {
        self.piece(id)
    }

    /// A decoder for ids that arrive one by one, continuing whatever text came before them.
    pub fn stream(&self) -> StreamDecoder {
        StreamDecoder::new(self.clone())
    }

    /// What kind of tokenizer this is, in words.
    pub fn kind_name(&self) -> &'static str {
        match &*self.encoder {
            Encoder::SentencePiece(_) => "SentencePiece BPE",
            Encoder::Pipeline(pipeline) => match pipeline.model {
                Model::ByteBpe(_) => "byte-level BPE",
                Model::CharBpe { .. } => "BPE",
                Model::Unigram(_) => "Unigram",
                Model::WordPiece(_) => "WordPiece",
                Model::WordLevel(_) => "WordLevel",
            },
        }
    }

    /// Number of ids, unused ones included. A model may have more rows than that.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// The token with this text: the name of a special token, or ordinary text. Spaces may be written as
    /// they are or as the file writes them (`▁`, `Ġ`), bytes as `<0x0A>`.
    pub fn id_of(&self, piece: &str) -> Option<u32> {
        if let Some(token) = self.special.get(piece) {
            return Some(token.id);
        }
        if let Encoder::Pipeline(pipeline) = &*self.encoder
            && let Some(id) = pipeline.decoding.as_ref().and_then(|decoding| decoding.id_of(piece))
        {
            return Some(id);
        }
        let spaced =
            if piece.contains(SPACE_MARK) { bytes_of_piece(piece) } else { piece.as_bytes().to_vec() };
        self.vocab.find(&spaced).or_else(|| match &*self.encoder {
            Encoder::SentencePiece(_) => {
                byte_of_piece(piece).map(|byte| self.vocab.byte_id(byte)).filter(|id| *id != NO_TOKEN)
            }
            Encoder::Pipeline(_) => bytes_of_token(piece).and_then(|bytes| self.vocab.find(&bytes)),
        })
    }

    /// The token for one raw byte.
    pub fn id_of_byte(&self, byte: u8) -> Option<u32> {
        Some(self.vocab.byte_id(byte)).filter(|id| *id != NO_TOKEN)
    }

    /// Whether `id` is a control token: no text of its own, never made from ordinary text.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocab.kind(id) == TokenKind::Control
    }

    /// What `id` is for.
    pub fn kind(&self, id: u32) -> TokenKind {
        self.vocab.kind(id)
    }

    /// Every id with its bytes (the name, for a special token), in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &[u8])> {
        (0..self.vocab.len() as u32).map(|id| (id, self.vocab.bytes(id)))
    }

    /// The names and ids of all special tokens, in order of id.
    pub fn special_tokens(&self) -> Vec<(&str, u32)> {
        let mut names: Vec<(&str, u32)> =
            self.special.iter().map(|token| (token.text.as_str(), token.id)).collect();
        names.sort_unstable_by_key(|(_, id)| *id);
        names
    }

    /// The token that begins a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.ids.bos
    }

    /// The token that ends a text.
    pub fn eos_id(&self) -> Option<u32> {
        self.ids.eos
    }

    /// The token for text that has none.
    pub fn unknown_id(&self) -> Option<u32> {
        self.ids.unknown
    }

    /// Whether the file wants BOS in front of a prompt.
    pub fn adds_bos(&self) -> bool {
        self.ids.add_bos
    }

    /// Whether the file wants EOS after a text.
    pub fn adds_eos(&self) -> bool {
        self.ids.add_eos
    }

    /// The options the file asks for, with special tokens in the text left as text.
    pub fn default_options(&self) -> EncodeOptions {
        EncodeOptions { add_bos: self.ids.add_bos, add_eos: self.ids.add_eos, parse_special: false }
    }

    /// The ids that end an answer: EOS, and the end-of-turn and end-of-message tokens the vocabulary
    /// has, and those added since.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// Adds an id that ends an answer, for example from `generation_config.json`.
    pub fn add_stop_id(&mut self, id: u32) {
        if let Err(at) = self.stop_ids.binary_search(&id) {
            self.stop_ids.insert(at, id);
        }
    }

    /// Changes what a configuration beside the tokenizer file says differently.
    pub(crate) fn named_ids_mut(&mut self) -> &mut NamedIds {
        &mut self.ids
    }

    /// Whether the file itself says what stands around a text.
    pub(crate) fn has_frame(&self) -> bool {
        self.frame.is_of_file
    }

    /// Puts BOS and EOS around a text, whatever the file has there.
    pub(crate) fn clear_frame(&mut self) {
        self.frame = Arc::default();
    }

    /// Changes where SentencePiece's space goes, if the file leaves that open and there is one at all.
    pub(crate) fn set_prefix(&mut self, prefix: Prefix) {
        let legacy_decides = match &*self.encoder {
            Encoder::SentencePiece(encoder) => encoder.legacy_decides,
            Encoder::Pipeline(pipeline) => pipeline.legacy_decides,
        };
        if legacy_decides && self.prefix != Prefix::Never {
            self.prefix = prefix;
        }
    }

    /// The ids that ask a Code Llama model to fill in what stands between `prefix` and `suffix`. Fails
    /// where the vocabulary has no infilling tokens.
    pub fn encode_infill(
        &self,
        prefix: &str,
        suffix: &str,
        order: InfillOrder,
    ) -> Result<Vec<u32>, TokenizerError> {
        let marker = |name: &str| {
            let missing =
                || TokenizerError::MissingToken { name: name.to_owned(), needed_by: "an infilling prompt" };
            self.id_of(name).ok_or_else(missing)
        };
        let (pre, suf, mid) = (marker("▁<PRE>")?, marker("▁<SUF>")?, marker("▁<MID>")?);
        let mut ids: Vec<u32> = self.ids.bos.into_iter().collect();
        ids.push(pre);
        match order {
            InfillOrder::PrefixFirst => {
                self.encode_alone(prefix, &mut ids);
                ids.push(suf);
                self.encode_continuation(suffix, &mut ids);
                ids.push(mid);
            }
            InfillOrder::SuffixFirst => {
                ids.push(suf);
                self.encode_continuation(suffix, &mut ids);
                ids.push(mid);
                self.encode_alone(prefix, &mut ids);
            }
        }
        Ok(ids)
    }
}
