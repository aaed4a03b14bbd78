//! Runs a model: sequences, sampling, steps.
//!
//! Two nouns: a [`Model`](puna_model::Model) is immutable and shared; a [`Sequence`] is mutable and owns its tokens and
//! its keys and values. [`Engine::step`] advances any number of sequences by one forward pass. This floor works on token
//! ids alone: it knows no text, no JSON and no chat roles.

#![forbid(unsafe_code)]

mod engine;
mod error;
mod images;
pub mod sampling;
mod score;
mod sequence;

pub use engine::{Engine, EngineOptions};
pub use error::EngineError;
pub use images::{SequenceImage, Tokens};
pub use sequence::{FinishReason, Past, Request, Sequence};
