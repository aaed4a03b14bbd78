//! The most that one request may ask for.

/// Answers to one conversation, or to one text.
pub const MAX_ANSWERS: usize = 128;
/// Texts of one request that are continued or embedded.
pub const MAX_TEXTS: usize = 2048;
/// Answers of one request, over all its texts.
pub const MAX_ANSWERS_ALL: usize = 2048;
/// Strings that end an answer.
pub const MAX_STOPS: usize = 32;
/// Bytes of a string that ends an answer.
pub const MAX_STOP_BYTES: usize = 4096;
/// Tokens whose logits are biased.
pub const MAX_BIASES: usize = 1024;
/// The largest bias of a logit, either way.
pub const MAX_BIAS: f64 = 100.0;
/// The most probable tokens that are told beside each.
pub const MAX_LOGPROBS: usize = 20;
/// The temperature. OpenAI allows 2; llama.cpp and vLLM know no bound.
pub const MAX_TEMPERATURE: f64 = 100.0;
/// A presence or frequency penalty, either way.
pub const MAX_PENALTY: f64 = 2.0;
/// The least repeat penalty: logits are divided by it.
pub const MIN_REPEAT_PENALTY: f64 = 0.01;
/// The largest repeat penalty.
pub const MAX_REPEAT_PENALTY: f64 = 100.0;
/// Tools that are offered.
pub const MAX_TOOLS: usize = 1024;
/// Bytes of a tool's name.
pub const MAX_TOOL_NAME_BYTES: usize = 256;
/// Bytes of a role's name.
pub const MAX_ROLE_BYTES: usize = 64;
/// Texts that an answer is one of.
pub const MAX_CHOICES: usize = 4096;
/// Documents that are ranked.
pub const MAX_DOCUMENTS: usize = 10_000;
/// Seconds for which a model stays loaded; negative ones are for ever.
pub const MAX_KEEP_ALIVE: f64 = 1e9;
