//! Anthropic's API: messages, counting their tokens, and the list of models.
//!
//! What a Llama model has no part in is accepted where clients cannot do without (`thinking`, `context_management`,
//! `output_config.effort`, `cache_control`), and refused by name where the answer would be another one (threads,
//! servers of tools, pictures and documents that would have to be fetched). Message batches are not here.

mod content;
pub mod messages;
pub mod models;
mod stream;
mod tools;

pub use stream::Encoder;
