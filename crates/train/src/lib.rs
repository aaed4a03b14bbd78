//! Changes a model: data, random weights, the training loop and its resumable state.
//!
//! The forward pass is the one that runs models; a tape remembers how to go back through it.

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
