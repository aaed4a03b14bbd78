//! Changes a model: data, random weights, the training loop and its resumable state.
//!
//! The forward pass is the one that runs models; a tape remembers how to go back through it.
//!
//! ```
//! use std::path::Path;
//!
//! use puna_model::{LoadOptions, Model};
//! use puna_tensor::{Cpu, Isa, Pool};
//! use puna_train::{Documents, Recipe, Trainer};
//!
//! let cpu = Cpu::new(Isa::best(), Pool::default_threads());
//! let model = Model::load(Path::new("../puna/assets/stories.gguf"), &LoadOptions::default())?;
//! let documents = Documents::new([vec![1, 403, 407, 261, 378, 2]], model.config.max_seq_len);
//! let recipe = Recipe { n_steps: 3, batch_tokens: 5, ..Recipe::default() };
//! let mut trainer = Trainer::new(model, recipe);
//! let before = trainer.evaluate(&cpu, &documents)?.loss;
//! for _ in 0..3 {
//!     println!("{:?}", trainer.step(&cpu, &documents)?);
//! }
//! assert!(trainer.evaluate(&cpu, &documents)?.loss < before);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod data;
mod error;
pub mod export;
mod init;
mod optimizer;
pub mod plan;
mod random;
mod report;
pub mod run;
mod schedule;
pub mod settings;
mod spikes;
mod state;
mod tensorboard;
mod trained;
mod trainer;
mod vocabulary;

pub use data::*;
pub use error::TrainError;
pub use init::{random_model, random_model_with};
pub use optimizer::{Moments, Optimizer};
pub use random::Rng;
pub use report::Report;
pub use schedule::{Schedule, Shape};
pub use spikes::{OnSpike, Usual};
pub use tensorboard::EventFile;
pub use trained::{Kind, Parameter, Trained};
pub use trainer::{Evaluation, Recipe, StepReport, Trainer};
pub use vocabulary::{SPECIAL_TOKENS, tokenizer_config, train_vocabulary};
