//! Runs a model: sequences, sampling, steps.
//!
//! Two nouns: a [`Model`](puna_model::Model) is immutable and shared; a [`Sequence`] is mutable and owns its tokens and
//! its keys and values. [`Engine::step`] advances any number of sequences by one forward pass. This floor works on token
//! ids alone: it knows no text, no JSON and no chat roles.
//!
//! ```
//! use std::sync::Arc;
//!
//! use puna_engine::sampling::{Sampler, SamplingParams};
//! use puna_engine::{Engine, EngineOptions, Request};
//! use puna_tensor::{Cpu, Isa};
//! # use puna_model::{Config, Model, Weights};
//! # use puna_tensor::Weight;
//! # let config = Config::from_hf(&serde_json::json!({
//! #     "model_type": "llama", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
//! #     "intermediate_size": 32, "vocab_size": 8, "max_position_embeddings": 32,
//! # }))?;
//! # let weights = Weights::bind(&config, |id, _, [rows, cols]| {
//! #     Ok::<_, String>(Weight::owned(id, rows, cols, vec![0.5; rows * cols]))
//! # })?;
//! # let model = Model { config, weights };
//!
//! // A `model` from `Model::load`.
//! let cpu = Cpu::new(Isa::best(), 2);
//! let engine = Engine::new(Arc::new(model), Arc::new(cpu), EngineOptions::default())?;
//! let mut sequence = engine.begin(Request {
//!     prompt: vec![1, 2, 3],
//!     images: Vec::new(),
//!     sampler: Sampler::new(&SamplingParams::default())?,
//!     stop_ids: Vec::new(),
//!     max_new_tokens: Some(5),
//!     past: None,
//! })?;
//! while sequence.finish_reason().is_none() {
//!     engine.step(&mut [&mut sequence], |_, token| println!("{token:?}"))?;
//! }
//! assert_eq!(sequence.completion().len(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
