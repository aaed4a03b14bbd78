//! Chat prompts: a conversation to one [`Prompt`], by the format the model was trained on.
//!
//! The formats of the Llama generations are built in ([`ChatFormat`]); any other template that a
//! checkpoint brings along runs within bounds ([`JinjaTemplate`]). [`detect`](ChatTemplate::detect)
//! chooses.
//!
//! ```
//! use puna_text::template::{ChatFormat, Message, RenderOptions};
//!
//! let prompt = ChatFormat::Llama3.render(&[Message::new("user", " hi ")], &RenderOptions::answer())?;
//! assert_eq!(prompt.to_text(), "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>\
//!     <|start_header_id|>assistant<|end_header_id|>\n\n");
//! # Ok::<(), puna_text::template::TemplateError>(())
//! ```

mod detect;
mod go;
mod guard;
mod header;
mod jinja;
pub mod llama2;
mod message;
mod meta;
mod parts;
mod prompt;
mod python_json;

use std::time::SystemTime;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use detect::{ChatTemplate, Detected, EndOfTurn, TemplateOrigin, TemplateTexts};
pub use guard::{GuardCategory, GuardVersion};
pub use jinja::{JinjaTemplate, SpecialNames};
pub use message::{Content, Conversation, Message, Part, ToolCall};
pub use meta::{MetaFormat, ToolCallSyntax};
pub use parts::check_parts;
pub use prompt::{Prompt, PromptPiece};

/// Why a prompt could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The format does not allow this conversation; the text is the template's own.
    #[error("the chat template refuses this conversation: {0}")]
    Refused(String),
    /// A message holds something that is not known.
    #[error("message {message} {what}")]
    Part {
        /// Which message, counted from 1.
        message: usize,
        /// What it holds.
        what: String,
    },
    /// The template text cannot be compiled.
    #[error("the chat template cannot be compiled: {0}; try another template, or a prompt without one")]
    Syntax(String),
    /// There are several templates, and it is not said which is meant.
    #[error("the checkpoint has the chat templates {0}, and none that is the default")]
    NoDefault(String),
    /// The template failed while it ran.
    #[error("the chat template failed: {0}")]
    Failed(String),
    /// The template or its output is larger than any sensible one, or runs too long.
    #[error("the chat template exceeds a limit: {0}")]
    Limit(String),
}

impl TemplateError {
    pub(crate) fn no_messages() -> TemplateError {
        TemplateError::Refused("there are no messages".to_owned())
    }
}

/// What a prompt depends on besides the messages.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct RenderOptions {
    /// Whether to end with the header of the assistant's answer.
    #[serde(default)]
    pub add_generation_prompt: bool,
    /// The date to name, for example `26 Jul 2024`; otherwise the format's own, which may be today's.
    #[serde(default)]
    pub date_string: Option<String>,
    /// The tools offered to the model, in OpenAI's form.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub tools: Vec<Value>,
    /// Whether tools stand in the first user message (the default) or in the system message.
    #[serde(default)]
    pub tools_in_user_message: Option<bool>,
    /// Meta's builtin tools to offer: `brave_search`, `wolfram_alpha`, `code_interpreter`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub builtin_tools: Vec<String>,
    /// The time that counts as now; the system's where none is given.
    #[serde(skip)]
    pub now: Option<SystemTime>,
    /// Further variables for a template.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl RenderOptions {
    /// The usual options: the prompt ends where the assistant's answer begins.
    pub fn answer() -> RenderOptions {
        RenderOptions { add_generation_prompt: true, ..RenderOptions::default() }
    }

    fn tools_in_user_message(&self) -> bool {
        self.tools_in_user_message.unwrap_or(true)
    }
}

/// A chat format that this program writes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatFormat {
    /// Llama 2 chat; Code Llama Instruct 7B to 34B.
    Llama2,
    /// Llama 3.0 Instruct.
    Llama3,
    /// Llama 3.1 and 3.3 Instruct.
    Llama31,
    /// Llama 3.2 Instruct, text.
    Llama32,
    /// Llama 3.2 Vision Instruct.
    Llama32Vision,
    /// Llama 4 Instruct.
    Llama4,
}

impl ChatFormat {
    /// The prompt for `messages`, equal to what the checkpoint's own template prints.
    pub fn render(self, messages: &[Message], options: &RenderOptions) -> Result<Prompt, TemplateError> {
        check_parts(messages)?;
        match self {
            ChatFormat::Llama2 => llama2::render(messages, options),
            ChatFormat::Llama3 => header::LLAMA3_0.render(messages, options),
            ChatFormat::Llama31 => header::LLAMA3_1.render(messages, options),
            ChatFormat::Llama32 => header::LLAMA3_2.render(messages, options),
            ChatFormat::Llama32Vision => header::LLAMA3_2_VISION.render(messages, options),
            ChatFormat::Llama4 => header::LLAMA4.render(messages, options),
        }
    }
}

/// Python's `str.strip()`, which takes the four separators below U+0020 for white space too.
fn python_strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}
