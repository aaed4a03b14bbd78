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
        TokenizerError::Malformed { form, what: one_line(&what.into()) }
    }

    /// A file of kind `form` whose `field` holds a `value` we do not implement.
    pub(crate) fn unsupported(
        form: &'static str,
        field: impl Into<String>,
        value: impl Into<String>,
        hint: &'static str,
    ) -> TokenizerError {
        TokenizerError::Unsupported { form, field: shown(&field.into()), value: shown(&value.into()), hint }
    }
}

/// A value from a file or a request, fit for a message: one line, cut when it is long.
pub(crate) fn shown(value: &str) -> String {
    const SHOWN_CHARS: usize = 100;
    let cut: String = value.chars().take(SHOWN_CHARS).collect();
    let end = if value.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    one_line(&cut) + end
}

/// Control characters as escapes.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_debug()) } else { line.push(c) }
    }
    line
}
