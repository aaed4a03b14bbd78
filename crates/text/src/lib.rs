//! Strings to token ids and back, and chat templates, for every Llama.
//!
//! Text becomes token ids here and nowhere else; the rest of the program works on ids. The crate knows
//! nothing of tensors or of checkpoint containers: a caller hands it the bytes of a tokenizer file (or
//! the arrays out of a GGUF header) and gets a [`Tokenizer`].
//!
//! ```
//! use puna_text::{EncodeOptions, train_bpe::train_bpe};
//!
//! let tokenizer = train_bpe(["a cat and a hat and a bat"], 270, &["<|begin_of_text|>"])?.to_tokenizer()?;
//! let ids = tokenizer.encode("a bat", EncodeOptions { add_bos: true, ..Default::default() });
//! assert_eq!(Some(ids[0]), tokenizer.bos_id());
//! assert_eq!(tokenizer.decode(&ids), "a bat");
//! # Ok::<(), puna_text::TokenizerError>(())
//! ```

#![forbid(unsafe_code)]

mod byte_level;
mod char_class;
mod charsmap;
mod decode;
mod error;
mod load;
mod merge;
mod normalize;
mod pattern;
mod piece;
mod pipeline;
mod pre_tokenize;
mod scripts;
mod sentencepiece;
mod special;
mod split;
mod stream;
pub mod template;
mod tokenizer;
pub mod train_bpe;
mod trie;
mod unigram;
mod vocab;
mod word_models;

pub use error::TokenizerError;
pub use load::added::AddedToken;
pub use load::gguf::GgufVocab;
pub use load::hf_config::HfTokenizerConfig;
pub use load::tiktoken::{TiktokenFamily, TokenizerHints};
pub use stream::StreamDecoder;
pub use tokenizer::{EncodeOptions, InfillOrder, Tokenizer};
pub use vocab::TokenKind;
