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
    pieces: Vec<PromptPiece>,
    /// Whether each text piece is its own text for SentencePiece, with its own space in front.
    pieces_stand_alone: bool,
}

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptPiece {
    /// The special token of this name.
    Special(String),
    /// Ordinary text, whatever it looks like.
    Text(String),
}

impl Prompt {
    /// A prompt of plain text, for a model without a chat format.
    pub fn raw(text: impl Into<String>) -> Prompt {
        Prompt { pieces: vec![PromptPiece::Text(text.into())], pieces_stand_alone: false }
    }

    /// An empty prompt each of whose text pieces is a text of its own for SentencePiece.
    pub fn of_separate_texts() -> Prompt {
        Prompt { pieces: Vec::new(), pieces_stand_alone: true }
    }

    /// Appends a special token.
    pub fn special(&mut self, name: impl Into<String>) -> &mut Prompt {
        self.pieces.push(PromptPiece::Special(name.into()));
        self
    }

    /// Appends text, joined to text before it.
    pub fn text(&mut self, text: impl AsRef<str>) -> &mut Prompt {
        match self.pieces.last_mut() {
            _ if text.as_ref().is_empty() => {}
            Some(PromptPiece::Text(before)) => before.push_str(text.as_ref()),
            _ => self.pieces.push(PromptPiece::Text(text.as_ref().to_owned())),
        }
        self
    }

    /// Appends text that is encoded apart from text before it.
    pub fn separate_text(&mut self, text: impl Into<String>) -> &mut Prompt {
        self.pieces.push(PromptPiece::Text(text.into()));
        self
    }

    /// The pieces in order.
    pub fn pieces(&self) -> &[PromptPiece] {
        &self.pieces
    }

    /// The prompt as one string, as a template would print it.
    pub fn to_text(&self) -> String {
        let piece = |piece: &PromptPiece| match piece {
            PromptPiece::Special(text) | PromptPiece::Text(text) => text.clone(),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The ids of the prompt. BOS is put in front if the tokenizer wants one and the prompt has none.
    ///
    /// Fails if the prompt uses a special token that the vocabulary does not have.
    pub fn to_ids(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        let bos = tokenizer.bos_id().filter(|_| tokenizer.adds_bos());
        for (n, piece) in self.pieces.iter().enumerate() {
            match piece {
                PromptPiece::Special(name) => ids.push(tokenizer.id_of(name).ok_or_else(|| {
                    TokenizerError::MissingToken { name: name.clone(), needed_by: "the chat format" }
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
