//! Changes a model: data, random weights, the training loop and its resumable state.
//!
//! The forward pass is the one that runs models; a tape remembers how to go back through it.
//!
//! ```
//! use puna_model::Config;
//! use puna_tensor::{Cpu, Isa};
//! use puna_train::{Documents, Recipe, Trainer, random_model};
//!
//! let config = Config::from_hf(&serde_json::json!({
//!     "model_type": "llama", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
//!     "intermediate_size": 32, "vocab_size": 8, "max_position_embeddings": 32,
//! }))?;
//! let documents = Documents::new([vec![1, 2, 3, 4, 5], vec![3, 4, 5, 6]], config.max_seq_len);
//! let recipe = Recipe { n_steps: 30, n_warmup_steps: 3, lr: 1e-2, ..Recipe::default() };
//! let mut trainer = Trainer::new(random_model(config, 1), recipe);
//! let cpu = Cpu::new(Isa::best(), 1);
//! let before = trainer.evaluate(&cpu, &documents)?;
//! for _ in 0..30 {
//!     trainer.step(&cpu, &documents)?;
//! }
//! assert!(trainer.evaluate(&cpu, &documents)? < before);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod data;
mod init;
mod random;
mod state;
mod trainer;

pub use data::{Batch, Cursor, Documents, split_documents};
pub use init::random_model;
pub use random::Rng;
pub use trainer::{Moments, Recipe, StepReport, TrainError, Trainer};
