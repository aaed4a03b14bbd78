//! What can go wrong for a user of the library, in words fit to be printed.

use std::path::{Path, PathBuf};

use puna_engine::EngineError;
use puna_engine::sampling::SamplingError;
use puna_formats::{FormatError, quote, visible_path};
use puna_image::ImageError;
use puna_model::ModelError;
use puna_text::TokenizerError;
use puna_text::template::TemplateError;

/// A failure: the first line says what could not be done, further lines the facts and what to try.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file of a checkpoint is not what it should be.
    #[error("cannot use `{}`\n  {fact}", visible_path(path))]
    File {
        /// The file.
        path: PathBuf,
        /// What was found.
        fact: String,
    },
    /// The checkpoint is not a model that can be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The engine refused, or the model could not compute.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A tokenizer file is broken or of a kind that is not supported.
    #[error("cannot use the tokenizer `{}`\n  {source}", visible_path(path))]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TokenizerError,
    },
    /// The model came without a tokenizer, and text was asked for.
    #[error(
        "`{}` has no tokenizer\n  {looked_for}\n  without one only token ids can be used",
        visible_path(path)
    )]
    NoTokenizer {
        /// The model.
        path: PathBuf,
        /// Where a tokenizer would have been found.
        looked_for: &'static str,
    },
    /// A chat was asked for, but the model has no chat format.
    #[error("`{}` has no chat template\n  it is a base model: it continues text", visible_path(path))]
    NoChatTemplate {
        /// The model.
        path: PathBuf,
    },
    /// A picture was shown to a model that sees none.
    #[error("`{}` cannot see pictures\n  {}", visible_path(path), match may_have_projector {
        true => "a GGUF file of Llama 4 sees with its vision projector (mmproj), which is a file of its own",
        false => "it has no vision encoder; Llama 3.2 11B and 90B Vision, Llama 4 and its guards have",
    })]
    NoVision {
        /// The model.
        path: PathBuf,
        /// Whether its encoder may be in a file of its own ([`Options::mmproj`](crate::Options::mmproj)).
        may_have_projector: bool,
    },
    /// A model was asked to judge a conversation, and nothing says that it is a Llama Guard.
    #[error(
        "`{}` does not look like a Llama Guard\n  neither its name nor its chat template says that it judges; \
         another model's answer is not a verdict",
        visible_path(path)
    )]
    NotAGuard {
        /// The model.
        path: PathBuf,
    },
    /// The bytes of a picture could not be read.
    #[error(transparent)]
    Picture(#[from] ImageError),
    /// A picture in a message could not be looked at.
    #[error("cannot use the picture {} of message {message}\n  {source}", match file {
        Some(file) => quote(file),
        None => "in the data URL".into(),
    })]
    MessagePicture {
        /// Which message, counted from 1.
        message: usize,
        /// The file, as the message names it; `None` if the message holds the picture itself.
        file: Option<String>,
        /// What is wrong.
        source: Box<Error>,
    },
    /// The chat template refused the conversation or failed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The prompt cannot be written with this model's tokens.
    #[error("cannot encode the prompt\n  {0}")]
    Prompt(TokenizerError),
    /// The answer cannot be held to the form that was asked for.
    #[error("the answer cannot be held to {what}\n  {fact}")]
    Form {
        /// The form, in words.
        what: &'static str,
        /// What is wrong with it, or not supported, and where.
        fact: String,
    },
    /// The model computed something that is not a number.
    #[error("`{}` computes nonsense\n  {fact}", visible_path(path))]
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
    /// A request that makes sense, but that this model, or this library, cannot do.
    #[error("{0}")]
    Unsupported(String),
}

/// The kinds of failure that a caller may want to tell apart: what the program exits with, what status a
/// server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request makes no sense or contradicts itself: a parameter out of range, an id outside the
    /// vocabulary, a conversation that the chat format refuses, a damaged picture. The same request will
    /// always fail.
    Request,
    /// The prompt, or what was asked for, is longer than the context.
    TooLong,
    /// The model cannot do this: it has no chat format, no tokenizer, no vision encoder, no infilling; or the
    /// content is of a kind that is not supported.
    Unsupported,
    /// There is no room for this now, in memory or on disk. Later, or with less at once, it may work.
    NoRoom,
    /// A file could not be read, written or used.
    File,
    /// The caller wanted no more.
    Stopped,
    /// The model computed nonsense, or something is wrong on our side.
    Internal,
}

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Format(error) => kind_of_format(error),
            Error::Model(error) => kind_of_model(error),
            Error::Engine(error) => kind_of_engine(error),
            Error::File { .. } | Error::Tokenizer { .. } => ErrorKind::File,
            Error::NoTokenizer { .. }
            | Error::NoChatTemplate { .. }
            | Error::NoVision { .. }
            | Error::NotAGuard { .. } => ErrorKind::Unsupported,
            Error::MessagePicture { source, .. } => source.kind(),
            Error::Picture(ImageError::UnknownFormat { .. } | ImageError::Unsupported { .. }) => {
                ErrorKind::Unsupported
            }
            Error::Picture(_) => ErrorKind::Request,
            Error::Template(TemplateError::Refused(_)) => ErrorKind::Request,
            Error::Template(TemplateError::Part { .. }) => ErrorKind::Unsupported,
            // The checkpoint's template is at fault, or the conversation is more than it can take.
            Error::Template(TemplateError::Syntax(_) | TemplateError::NoDefault(_)) => ErrorKind::File,
            Error::Template(TemplateError::Failed(_) | TemplateError::Limit(_)) => ErrorKind::Request,
            Error::Prompt(_) => ErrorKind::Unsupported,
            Error::Damaged { .. } => ErrorKind::Internal,
            Error::Stopped => ErrorKind::Stopped,
            Error::Request(_) | Error::Form { .. } => ErrorKind::Request,
            Error::Unsupported(_) => ErrorKind::Unsupported,
        }
    }

    /// Names the file that a tokenizer error is about.
    pub(crate) fn in_tokenizer(path: &Path) -> impl FnOnce(TokenizerError) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Tokenizer { path, source }
    }
}

fn kind_of_format(error: &FormatError) -> ErrorKind {
    match error.kind {
        puna_formats::ErrorKind::NoRoom => ErrorKind::NoRoom,
        _ => ErrorKind::File,
    }
}

fn kind_of_model(error: &ModelError) -> ErrorKind {
    match error {
        ModelError::Format(error) => kind_of_format(error),
        ModelError::Config { .. } | ModelError::Tensor { .. } => ErrorKind::File,
        ModelError::PoolFull(_) => ErrorKind::NoRoom,
        ModelError::Stopped => ErrorKind::Stopped,
        ModelError::Input(_) => ErrorKind::Request,
    }
}

fn kind_of_engine(error: &EngineError) -> ErrorKind {
    match error {
        EngineError::Model(error) => kind_of_model(error),
        EngineError::NoMemory { .. } | EngineError::OutOfRoom { .. } | EngineError::Busy { .. } => {
            ErrorKind::NoRoom
        }
        EngineError::Deadline => ErrorKind::Stopped,
        EngineError::Pass(_) => ErrorKind::Internal,
        EngineError::Sampling(SamplingError::Logit { .. }) => ErrorKind::Internal,
        EngineError::ContextTooLong { .. } | EngineError::TooLong { .. } | EngineError::NoRoom { .. } => {
            ErrorKind::TooLong
        }
        EngineError::Sampling(_)
        | EngineError::Empty(_)
        | EngineError::OutsideVocabulary { .. }
        | EngineError::Images(_)
        | EngineError::Option(_) => ErrorKind::Request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_below() {
        let too_long =
            EngineError::TooLong { what: "the prompt", n_tokens: 9, max_seq_len: 8, model_max: None };
        assert_eq!(Error::from(too_long).kind(), ErrorKind::TooLong);
        let (kind, path) = (puna_formats::ErrorKind::NoRoom, PathBuf::from("kv"));
        let full = FormatError { kind, doing: "write", path, fact: "the disk is full".into(), hint: None };
        let full = EngineError::from(ModelError::from(full));
        assert_eq!(Error::from(full).kind(), ErrorKind::NoRoom);
        let logit = SamplingError::Logit { token: 0, logit: f32::NAN };
        assert_eq!(Error::from(EngineError::from(logit)).kind(), ErrorKind::Internal);
        assert_eq!(Error::from(ImageError::Empty).kind(), ErrorKind::Request);
        let part = TemplateError::Part { message: 2, what: "has a part of type `video`".into() };
        assert_eq!(Error::from(part).kind(), ErrorKind::Unsupported);
        let source = Box::new(Error::from(ImageError::UnknownFormat { looks_like: Some("a PDF") }));
        let picture = Error::MessagePicture { message: 3, file: Some("a\nb.pdf".into()), source };
        assert_eq!(picture.kind(), ErrorKind::Unsupported);
        assert!(picture.to_string().starts_with("cannot use the picture `a\\nb.pdf` of message 3\n  "));
    }

    /// A path cannot begin a line of a message.
    #[test]
    fn paths_are_on_one_line() {
        let path = PathBuf::from("a\nerror: \u{1b}[2J");
        for error in [
            Error::File { path: path.clone(), fact: String::new() },
            Error::NoChatTemplate { path: path.clone() },
            Error::NotAGuard { path: path.clone() },
            Error::Damaged { path, fact: String::new() },
        ] {
            let text = error.to_string();
            assert!(text.contains("`a\\nerror: \\u{1b}[2J`"), "{text}");
        }
    }
}
