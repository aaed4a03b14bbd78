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
#[cfg(test)]
mod long_context;
pub mod names;
pub mod rope;
mod save;
mod vision;
mod weights;

pub use config::{
    Apart, Config, Experts, LayerKind, Llama4, Sight, Temperature, TileTables, Together, Tower, Vision,
    to_gguf,
};
pub use decoder::{Context, Input, Model, Observer, Piece, PlacedImage, Point};
pub use error::ModelError;
pub use kv_cache::KvCache;
pub use load::LoadOptions;
pub use vision::{Image, OnLayer};
pub use weights::{
    CrossWeights, Expert, ExpertWeights, LayerWeights, Linear, TileWeights, VisionLayer, VisionWeights,
    Weights,
};
