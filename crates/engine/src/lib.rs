//! Runs a model: sequences, sampling, steps.
//!
//! Two nouns: a [`Model`](puna_model::Model) is immutable and shared; a [`Sequence`] is mutable and owns its
//! tokens and its keys and values. [`Engine::step`] advances any number of sequences by one forward pass.
//! This floor works on token ids alone: it knows no text, no JSON and no chat roles.
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use puna_engine::sampling::{Sampler, SamplingParams};
//! use puna_engine::{Engine, EngineOptions, Request};
//! use puna_model::{LoadOptions, Model};
//! use puna_tensor::{Cpu, Isa, Pool};
//!
//! let model = Model::load(Path::new("../puna/assets/stories.gguf"), &LoadOptions::default())?;
//! let cpu = Cpu::new(Isa::best(), Pool::default_threads());
//! let engine = Engine::new(Arc::new(model), Arc::new(cpu), EngineOptions::default())?;
//! let request = |prompt: &[u32]| -> Result<Request, puna_engine::EngineError> {
//!     let sampler = Sampler::new(&SamplingParams::default())?;
//!     let max_new_tokens = Some(8);
//!     Ok(Request { stop_ids: vec![2], max_new_tokens, ..Request::new(prompt.to_vec(), sampler) })
//! };
//! // Two sequences of different lengths, which advance together.
//! let mut a = engine.begin(request(&[1, 403, 407])?)?;
//! let mut b = engine.begin(request(&[1, 403])?)?;
//! while a.finish_reason().is_none() || b.finish_reason().is_none() {
//!     engine.step(&mut [&mut a, &mut b], |i, token| println!("sequence {i}: {token:?}"))?;
//! }
//! assert!(a.completion().len() <= 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod constraint;
mod disk_cache;
mod drafter;
mod eagle;
mod embed;
mod engine;
mod error;
mod follower;
mod images;
mod masks;
mod ngram;
mod prefix_cache;
pub mod sampling;
mod scheduler;
mod score;
mod sequence;
mod worker;

pub use constraint::Constraint;
pub use disk_cache::DiskCacheOptions;
pub use embed::Pooling;
pub use engine::{Engine, EngineOptions};
pub use error::EngineError;
pub use images::{SequenceImage, Tokens};
pub use prefix_cache::Tenant;
pub use scheduler::{Counts, Draft, End, Job, Listener, Scheduler, SchedulerOptions};
pub use sequence::{FinishReason, Past, Request, Sequence};
pub use worker::Worker;
