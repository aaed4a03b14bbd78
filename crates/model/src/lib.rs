//! What a Llama is: configuration, weights and the forward pass.
//!
//! One decoder serves all generations; what differs between them is data in [`Config`]. This floor knows
//! nothing of sampling, batching policy, prompts or HTTP.
//!
//! ```
//! use puna_model::{Sequences, LoadOptions, Model};
//! use puna_tensor::{Cpu, Graph, Isa, Workspace};
//!
//! # fn main() -> Result<(), puna_model::ModelError> {
//! let model = Model::load("../puna/assets/stories.gguf".as_ref(), &LoadOptions::default())?;
//! let (cpu, workspace) = (Cpu::new(Isa::best(), 2), Workspace::default());
//! let mut graph = Graph::inference(&cpu, &workspace);
//! let tokens = [1, 2, 3];
//! let logits = model.forward(&mut graph, &tokens, Sequences::Whole(&[0..3]), None, None)?;
//! assert_eq!((logits.rows(), logits.cols()), (3, model.config.vocab_size));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod block_pool;
mod config;
mod decoder;
mod eagle;
mod error;
mod image_attention;
mod input;
mod kv_cache;
mod load;
pub mod names;
pub mod rope;
mod save;
mod vision;
mod weights;

pub use block_pool::{BlockPool, PoolFull};
pub use config::{
    Biases, Config, CrossAttentionTower, EarlyFusionTower, Experts, Heads, LayerAttention, LayerKind,
    LayerSizes, Routing, Sublayer, Temperature, TileTables, Tower, Vision, to_gguf,
};
pub use decoder::{Model, Observer, Point, Stage};
pub use eagle::Eagle;
pub use error::ModelError;
pub use input::{CachedSequence, Input, PlacedImage, Sequences};
pub use kv_cache::{ImageKeys, KvCache};
pub use load::LoadOptions;
pub use vision::{ImageTiles, OnLayer};
pub use weights::{
    AttentionWeights, CrossWeights, Expert, ExpertWeights, FeedForwardWeights, GatedWeights, LayerWeights,
    Linear, MlpWeights, QkvWeights, TileWeights, VisionLayer, VisionWeights, Weights,
};
