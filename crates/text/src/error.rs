//! What can be wrong with a tokenizer file.

/// A tokenizer could not be built from what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The bytes are not what their form says they are.
    #[error("{form} is malformed: {what}")]
    Malformed {
        /// The kind of file, for example `tokenizer.json`.
        form: &'static str,
        /// What was found, and where.
        what: String,
    },
    /// The file is sound but asks for something this crate does not do.
    #[error("{form} asks for {field} = {value}, which is not supported; {hint}")]
    Unsupported {
        /// The kind of file.
        form: &'static str,
        /// The field of the file that asks for it.
        field: String,
        /// Its value.
        value: String,
        /// What is supported instead.
        hint: &'static str,
    },
    /// A prompt names a token that the vocabulary does not have.
    #[error("the vocabulary has no token `{name}`, which {needed_by} needs")]
    MissingToken {
        /// The token's text.
        name: String,
        /// What wanted it.
        needed_by: &'static str,
    },
}

impl TokenizerError {
    /// A malformed file of kind `form`.
    pub(crate) fn malformed(form: &'static str, what: impl Into<String>) -> TokenizerError {
        TokenizerError::Malformed { form, what: what.into() }
    }

    /// A file of kind `form` whose `field` holds a `value` we do not implement.
    pub(crate) fn unsupported(
        form: &'static str,
        field: impl Into<String>,
        value: impl Into<String>,
        hint: &'static str,
    ) -> TokenizerError {
        TokenizerError::Unsupported { form, field: field.into(), value: value.into(), hint }
    }
}
