//! What a Llama is: configuration, weights and the forward pass.
//!
//! One decoder serves all generations; what differs between them is data in [`Config`]. This floor knows nothing of
//! sampling, batching policy, prompts or HTTP.

#![forbid(unsafe_code)]

mod config;
mod decoder;
mod error;
mod kv_cache;
mod load;
pub mod names;
pub mod rope;
mod save;
mod weights;

pub use config::{Config, Experts, LayerKind, Llama4, Temperature, to_gguf};
pub use decoder::{Context, Model, Observer, Piece, Point};
pub use error::ModelError;
pub use kv_cache::KvCache;
pub use load::LoadOptions;
pub use weights::{Expert, ExpertWeights, LayerWeights, Weights};
