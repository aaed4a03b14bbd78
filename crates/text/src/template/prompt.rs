//! A rendered prompt: ordinary text and special tokens, kept apart.
//!
//! That they are kept apart is what makes a prompt safe: text that a user wrote is encoded with no eye
//! for special tokens, so `<|eot_id|>` in a message stays eight harmless tokens. Neighbouring stretches
//! of text are one piece, encoded together, as if the whole prompt had been tokenised at once.

use crate::error::TokenizerError;
use crate::tokenizer::Tokenizer;

/// A prompt, as text and as token ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    text: String,
    pieces: Pieces,
    /// Whether each text piece is its own text for SentencePiece, with its own space in front.
    pieces_stand_alone: bool,
}

/// Where the pieces of a prompt's text end, and what each is. Eight bytes a piece: a prompt may have millions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pieces {
    /// Twice the end, in bytes of the text, and one more for a special token.
    ends: Vec<u64>,
}

impl Pieces {
    fn end(&self) -> u64 {
        self.ends.last().map_or(0, |end| end >> 1)
    }

    /// A special token whose name has so many bytes.
    pub(crate) fn special(&mut self, len: usize) {
        self.ends.push((self.end() + len as u64) << 1 | 1);
    }

    /// So many bytes of text, joined to text before them.
    pub(crate) fn text(&mut self, len: usize) {
        match self.ends.last_mut() {
            _ if len == 0 => {}
            Some(end) if *end & 1 == 0 => *end += (len as u64) << 1,
            _ => self.separate_text(len),
        }
    }

    fn separate_text(&mut self, len: usize) {
        self.ends.push((self.end() + len as u64) << 1);
    }
}

/// A piece of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptPiece<'p> {
    /// The special token of this name.
    Special(&'p str),
    /// Ordinary text, whatever it looks like.
    Text(&'p str),
}

impl Prompt {
    /// A prompt of plain text, for a model without a chat format.
    pub fn raw(text: impl Into<String>) -> Prompt {
        let text = text.into();
        let mut pieces = Pieces::default();
        pieces.separate_text(text.len());
        Prompt { text, pieces, pieces_stand_alone: false }
    }

    /// The prompt of a text that is cut into pieces.
    pub(crate) fn of_pieces(text: String, pieces: Pieces) -> Prompt {
        debug_assert_eq!(text.len() as u64, pieces.end());
        Prompt { text, pieces, pieces_stand_alone: false }
    }

    /// An empty prompt each of whose text pieces is a text of its own for SentencePiece.
    pub fn of_separate_texts() -> Prompt {
        Prompt { pieces_stand_alone: true, ..Prompt::default() }
    }

    /// Appends a special token.
    pub fn special(&mut self, name: impl AsRef<str>) -> &mut Prompt {
        self.text.push_str(name.as_ref());
        self.pieces.special(name.as_ref().len());
        self
    }

    /// Appends text, joined to text before it.
    pub fn text(&mut self, text: impl AsRef<str>) -> &mut Prompt {
        self.text.push_str(text.as_ref());
        self.pieces.text(text.as_ref().len());
        self
    }

    /// Appends text that is encoded apart from text before it.
    pub fn separate_text(&mut self, text: impl AsRef<str>) -> &mut Prompt {
        self.text.push_str(text.as_ref());
        self.pieces.separate_text(text.as_ref().len());
        self
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = PromptPiece<'_>> {
        let mut begin = 0;
        self.pieces.ends.iter().map(move |end| {
            let (text, is_special) = (&self.text[begin..(end >> 1) as usize], end & 1 == 1);
            begin += text.len();
            if is_special { PromptPiece::Special(text) } else { PromptPiece::Text(text) }
        })
    }

    /// The prompt as one string, as a template would print it.
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// The same, its own.
    pub fn to_text(&self) -> String {
        self.text.clone()
    }

    /// The ids of the prompt. BOS is put in front if the tokenizer wants one and the prompt has none.
    ///
    /// Fails if the prompt uses a special token that the vocabulary does not have.
    pub fn to_ids(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        let bos = tokenizer.bos_id().filter(|_| tokenizer.adds_bos());
        for (n, piece) in self.pieces().enumerate() {
            match piece {
                PromptPiece::Special(name) => ids.push(tokenizer.id_of(name).ok_or_else(|| {
                    TokenizerError::MissingToken { name: name.to_owned(), needed_by: "the chat format" }
                })?),
                PromptPiece::Text(text) if n == 0 || self.pieces_stand_alone => {
                    tokenizer.encode_alone(text, &mut ids);
                }
                PromptPiece::Text(text) => tokenizer.encode_after_special(text, &mut ids),
            }
        }
        if let Some(bos) = bos.filter(|bos| !ids.contains(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }
}
