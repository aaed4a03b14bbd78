//! What a client asks for, whichever API it speaks.

use puna_text::template::Message;
use serde_json::{Map, Value};

/// A question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// The model, as the client names it; the server's own if `None`.
    pub model: Option<String>,
    /// What is answered or continued.
    pub input: Input,
    /// How many answers, each of its own.
    pub n: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens of each answer: a ceiling, which what the context leaves may lower.
    pub max_tokens: Option<usize>,
    /// The same where neither the request nor the model says.
    pub default_max_tokens: Option<usize>,
    /// Strings that end an answer and are not part of it.
    pub stop: Vec<String>,
    /// Whether the ids that end an answer do not end it.
    pub ignore_eos: bool,
    /// Whether log-probabilities of the answer's tokens are wanted, and of how many of the most probable ones beside
    /// each.
    pub logprobs: Option<usize>,
    /// What form the answer has.
    pub format: Format,
    /// Tools that may be called.
    pub tools: Tools,
    /// Who asks, where one key has several users: what one sends is never told from another's times.
    pub tenant: Option<String>,
    /// How long the model stays loaded afterwards: seconds; negative is for ever.
    pub keep_alive: Option<f64>,
    /// The context that is asked for.
    pub context: Option<usize>,
}

/// What is answered or continued.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A conversation.
    Chat(Chat),
    /// Texts that are continued, each by `n` answers.
    Texts {
        /// The texts.
        texts: Vec<TextInput>,
        /// Whether each answer begins with its text, and its log-probabilities with the text's.
        echo: bool,
    },
    /// What stands between two texts.
    Infill {
        /// Before the gap.
        prefix: String,
        /// After it.
        suffix: String,
    },
}

impl Default for Input {
    fn default() -> Input {
        Input::Texts { texts: Vec::new(), echo: false }
    }
}

/// A text to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextInput {
    /// As text.
    Text(String),
    /// As token ids.
    Ids(Vec<u32>),
}

/// A conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chat {
    /// Its messages. Images are parts of them, each with a data URL or what else its API has.
    pub messages: Vec<Message>,
    /// Whether the last message, the assistant's, is continued instead of answered.
    pub continue_last: bool,
    /// Further variables for the chat template.
    pub template: Map<String, Value>,
}

/// How tokens are chosen; what is `None`, as the model's makers recommend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Divides the logits.
    pub temperature: Option<f64>,
    /// Probability mass that is kept.
    pub top_p: Option<f64>,
    /// How many tokens are kept; 0 keeps all.
    pub top_k: Option<usize>,
    /// The least share of the most probable token's probability.
    pub min_p: Option<f64>,
    /// Probability mass of the least surprising tokens that is kept.
    pub typical_p: Option<f64>,
    /// Divides logits of tokens that were there.
    pub repeat_penalty: Option<f64>,
    /// Subtracted from logits of tokens that were there.
    pub presence_penalty: Option<f64>,
    /// The same for each time.
    pub frequency_penalty: Option<f64>,
    /// How many of the last tokens count as having been there; all if `None`.
    pub repeat_last_n: Option<usize>,
    /// Where random numbers begin.
    pub seed: Option<u64>,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
}

/// What form an answer has.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    Object,
    /// JSON of a schema.
    Schema(Value),
    /// A text that an expression matches as a whole.
    Regex(String),
    /// A text of a grammar, Lark's or GBNF.
    Grammar(String),
    /// One of these texts.
    Choice(Vec<String>),
}

/// Tools that may be called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tools {
    /// In OpenAI's form: `{"type": "function", "function": {"name", "description", "parameters"}}`.
    pub offered: Vec<Value>,
    /// Which must or may be called.
    pub choice: ToolChoice,
    /// Whether one answer calls one tool at most.
    pub one_only: bool,
}

/// Which tools must or may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// None.
    Nothing,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}
