//! Tokenizers out of files: one module for each form, and the guess which form some bytes are.

pub(crate) mod gguf;
pub(crate) mod hf_config;
mod hf_json;
mod sentencepiece;
pub(crate) mod tiktoken;

use crate::error::TokenizerError;
use crate::load::tiktoken::TiktokenHints;
use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// Reads a tokenizer file of any form, told apart by its content: `tokenizer.json`, SentencePiece,
    /// or Meta's tiktoken form. `hints` matter for the last one only.
    pub fn from_file_bytes(bytes: &[u8], hints: &TiktokenHints) -> Result<Tokenizer, TokenizerError> {
        if bytes.trim_ascii_start().starts_with(b"{") {
            return Tokenizer::from_hf_json(bytes);
        }
        if tiktoken::looks_like_tiktoken(bytes) {
            return Tokenizer::from_tiktoken(bytes, hints);
        }
        Tokenizer::from_sentencepiece(bytes)
    }
}
