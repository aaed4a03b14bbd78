//! Tokenizers out of files: one module for each form, and the guess which form some bytes are.

pub(crate) mod added;
pub(crate) mod gguf;
mod gguf_pre;
pub(crate) mod hf_config;
mod hf_json;
mod hf_parts;
mod sentencepiece;
pub(crate) mod tiktoken;

use crate::error::TokenizerError;
use crate::load::tiktoken::TokenizerHints;
use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// Reads a tokenizer file of any form, told apart by its content: `tokenizer.json`, SentencePiece,
    /// or Meta's tiktoken form. `hints` say what other files say about it.
    pub fn from_file_bytes(bytes: &[u8], hints: &TokenizerHints) -> Result<Tokenizer, TokenizerError> {
        if bytes.trim_ascii_start().starts_with(b"{") {
            return hf_json::from_hf_json(bytes, hints);
        }
        if tiktoken::looks_like_tiktoken(bytes) {
            return Tokenizer::from_tiktoken(bytes, hints);
        }
        sentencepiece::from_sentencepiece(bytes, hints)
    }
}
