//! What can go wrong for a user of the library, in words fit to be printed.

use std::path::{Path, PathBuf};

use puna_engine::EngineError;
use puna_formats::FormatError;
use puna_model::ModelError;
use puna_text::TokenizerError;
use puna_text::template::TemplateError;

/// A failure: the first line says what could not be done, further lines the facts and what to try.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The checkpoint is no model we can run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The engine refused, or the model could not compute.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A tokenizer file is broken or of a kind we do not support.
    #[error("cannot use the tokenizer `{}`\n  {source}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TokenizerError,
    },
    /// The model came without a tokenizer, and text was asked for.
    #[error(
        "`{}` has no tokenizer\n  {looked_for}\n  without one only token ids can be used: `puna score --ids`, `puna bench`",
        path.display()
    )]
    NoTokenizer {
        /// The model.
        path: PathBuf,
        /// Where a tokenizer would have been found.
        looked_for: &'static str,
    },
    /// A chat was asked for, but the model has no chat format.
    #[error(
        "`{}` has no chat template\n  it is a base model: it continues text; use --raw (or leave chat options away)",
        path.display()
    )]
    NoChatTemplate {
        /// The model.
        path: PathBuf,
    },
    /// The chat template refused the conversation or failed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The prompt cannot be written with this model's tokens.
    #[error("cannot encode the prompt\n  {0}")]
    Prompt(TokenizerError),
    /// The model computed what is no number.
    #[error("`{}` computes nonsense\n  {fact}", path.display())]
    Damaged {
        /// The model.
        path: PathBuf,
        /// The weight that holds no numbers, or what came out.
        fact: String,
    },
    /// The caller wanted no more.
    #[error("stopped")]
    Stopped,
    /// A request that makes no sense.
    #[error("{0}")]
    Request(String),
}

impl Error {
    /// Names the file that a tokenizer error is about.
    pub(crate) fn in_tokenizer(path: &Path) -> impl FnOnce(TokenizerError) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Tokenizer { path, source }
    }
}
