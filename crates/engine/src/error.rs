//! Why a sequence could not be begun or continued.

use puna_model::ModelError;

use crate::sampling::SamplingError;

/// A request that the engine refuses, or that the model cannot compute.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A sampling parameter is out of range, or no token could be chosen.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A context longer than the model's was asked for.
    #[error("a context of {asked} tokens was asked for, but the model's has {max_seq_len}")]
    ContextTooLong {
        /// Positions asked for.
        asked: usize,
        /// Positions the model was made for.
        max_seq_len: usize,
    },
    /// A text does not fit the context.
    #[error("{what} has {n_tokens} tokens, but the context has {max_seq_len}{}", .model_max.map(|max|
        format!("\n  the model allows up to {max}; ask for a longer context")).unwrap_or_default())]
    TooLong {
        /// The text: "the prompt", "the text".
        what: &'static str,
        /// Its length.
        n_tokens: usize,
        /// The context in use.
        max_seq_len: usize,
        /// The model's own context, where it is longer than the one in use.
        model_max: Option<usize>,
    },
    /// A prompt that fills the context to its end.
    #[error(
        "the prompt has {n_tokens} tokens and fills the context of {max_seq_len}; there is no room for an answer"
    )]
    NoRoom {
        /// The prompt's length.
        n_tokens: usize,
        /// The context in use.
        max_seq_len: usize,
    },
    /// Keys and values do not fit the memory that there is for them.
    #[error(
        "{what} needs {} for keys and values of {n_tokens} tokens, but there are {}\n  \
        fewer tokens need less, and so do keys and values of a smaller type; a file can hold more than memory",
        bytes_in_words(*.n_bytes), bytes_in_words(*.max_bytes)
    )]
    NoMemory {
        /// Who has these tokens: "the prompt", "the text".
        what: &'static str,
        /// Tokens of all sequences together.
        n_tokens: usize,
        /// Bytes that their keys and values take.
        n_bytes: usize,
        /// Bytes that keys and values may take.
        max_bytes: usize,
    },
    /// There is nothing to compute.
    #[error("{0} is empty: there is no token to begin with")]
    Empty(&'static str),
    /// An id that the model has no row for.
    #[error("token id {token} at position {position} is outside the model's vocabulary of {vocab_size}")]
    OutsideVocabulary {
        /// The id.
        token: u32,
        /// Where it stands.
        position: usize,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// Images that do not fit the prompt, or the model.
    #[error("{0}")]
    Images(String),
    /// Too many sequences wait already.
    #[error("{waiting} others wait already; ask again later")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// Its time was over before it was done.
    #[error("it took longer than allowed")]
    Deadline,
    /// Alone it has all blocks, and needs more.
    #[error(
        "its keys and values need more than the {n_blocks} blocks that there are; give the cache more memory"
    )]
    OutOfRoom {
        /// Blocks of the pool.
        n_blocks: usize,
    },
    /// A pass failed in which it was with others.
    #[error("{0}")]
    Pass(String),
    /// An option with a value that makes no sense.
    #[error("{0}")]
    Option(String),
}

impl EngineError {
    /// Whether there was no room for keys and values, which there may be when others have ended.
    pub fn is_for_want_of_room(&self) -> bool {
        match self {
            EngineError::Model(ModelError::PoolFull(_)) => true,
            EngineError::Model(ModelError::Format(error)) => error.kind == puna_formats::ErrorKind::NoRoom,
            _ => false,
        }
    }
}

fn bytes_in_words(n_bytes: usize) -> String {
    match n_bytes as f64 {
        n if n < 999.5e6 => format!("{:.1} MB", n / 1e6),
        n => format!("{:.1} GB", n / 1e9),
    }
}
