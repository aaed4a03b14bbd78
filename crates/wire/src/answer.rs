//! What happens after a question: events as they come, and all of them together.

use serde_json::Value;

/// What happened to one of the answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It goes on with this text, which may be empty where only tokens are told.
    Text {
        /// Which answer.
        choice: usize,
        /// Whole characters.
        text: String,
        /// The tokens since the last event, where log-probabilities are wanted.
        tokens: Vec<Token>,
    },
    /// It calls a tool. The arguments follow.
    Call {
        /// Which answer.
        choice: usize,
        /// Which of its calls, from 0.
        index: usize,
        /// A name for the call, unique among the server's.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// More of a call's arguments, as JSON.
    Arguments {
        /// Which answer.
        choice: usize,
        /// Which of its calls.
        index: usize,
        /// A part of the text of JSON.
        text: String,
    },
    /// It is over.
    End {
        /// Which answer.
        choice: usize,
        /// Why.
        finish: Finish,
    },
}

impl Event {
    /// Which answer it is of.
    pub fn choice(&self) -> usize {
        match self {
            Event::Text { choice, .. }
            | Event::Call { choice, .. }
            | Event::Arguments { choice, .. }
            | Event::End { choice, .. } => *choice,
        }
    }
}

/// A token and how probable it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// What it says, which may be a part of a character.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability; `None` for the first token of a text, which nothing precedes.
    pub logprob: Option<f32>,
    /// The most probable tokens in its place: id, bytes, logarithm; the likeliest first.
    pub top: Vec<(u32, Vec<u8>, f32)>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// At this string of the client's.
    StopString(String),
    /// It has as many tokens as were asked for, or fills the context.
    Length,
    /// The model waits for tools' results.
    Calls,
    /// A guard objected.
    Filtered,
}

/// Tokens of a question and its answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Of all prompts.
    pub prompt: usize,
    /// Of these, known from before.
    pub cached: usize,
    /// The first token in which the (first) prompt differs from the longest beginning that was remembered; `None` where
    /// nothing was, or where one begins with the other.
    pub left_at: Option<usize>,
    /// Lines of the system prompt that were left out or moved so that prompts begin alike.
    pub stable_heads: usize,
    /// Of all answers, ends included.
    pub completion: usize,
    /// Until the model was there, in nanoseconds.
    pub load_ns: u64,
    /// While the prompts were read, in nanoseconds.
    pub prompt_ns: u64,
    /// While the answers were made, in nanoseconds.
    pub completion_ns: u64,
    /// From the question's arrival to the end, in nanoseconds.
    pub total_ns: u64,
}

impl Usage {
    /// Adds to the counts of an API's answer what no API has a name for. Each field is there only where there is
    /// something to say.
    pub(crate) fn add_own(&self, counts: &mut Value) {
        if let Some(left_at) = self.left_at {
            counts["cache_left_at"] = left_at.into();
        }
        if self.stable_heads > 0 {
            counts["stable_heads"] = self.stable_heads.into();
        }
    }
}

/// What an API's answer calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Unique among the server's answers: letters and digits. Each API puts its own prefix before it.
    pub id: String,
    /// Seconds since 1970 when the question came.
    pub created: u64,
    /// The model's name, as the client may name it.
    pub model: String,
}

/// All answers to a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// In order.
    pub choices: Vec<Choice>,
    /// Tokens and times.
    pub usage: Usage,
}

/// One whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Its text.
    pub text: String,
    /// Its tokens, where log-probabilities were wanted.
    pub tokens: Vec<Token>,
    /// The tools it calls.
    pub calls: Vec<Call>,
    /// Why it ended; `None` while it goes on.
    pub finish: Option<Finish>,
}

/// A tool that an answer calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name among the server's calls.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON.
    pub arguments: String,
}

impl Call {
    /// The arguments as a value; the text itself where it is not JSON.
    pub fn arguments_value(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| Value::String(self.arguments.clone()))
    }
}

impl Reply {
    /// Adds what happened.
    pub fn push(&mut self, event: Event) {
        let n = event.choice() + 1;
        if self.choices.len() < n {
            self.choices.resize_with(n, Choice::default);
        }
        let own = &mut self.choices[n - 1];
        match event {
            Event::Text { text, tokens, .. } => {
                own.text += &text;
                own.tokens.extend(tokens);
            }
            Event::Call { id, name, .. } => own.calls.push(Call { id, name, arguments: String::new() }),
            Event::Arguments { index, text, .. } => {
                if let Some(call) = own.calls.get_mut(index) {
                    call.arguments += &text;
                }
            }
            Event::End { finish, .. } => own.finish = Some(finish),
        }
    }
}
