//! The whole Llama system as a library: load, generate, chat, score.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use puna::{Event, GenerateOptions, Llama, Options, SamplingParams};
//!
//! // `Llama::load(path, …)` takes a GGUF file, or a Hugging Face or Meta folder; this model is inside the library.
//! let llama = Llama::builtin(&Options::default())?;
//! let prompt = llama.encode("Once upon a time")?;
//! let options = GenerateOptions {
//!     sampling: SamplingParams { temperature: 0.8, seed: Some(1), ..SamplingParams::default() },
//!     max_tokens: Some(20),
//!     ..GenerateOptions::default()
//! };
//! let answer = llama.generate(&prompt, &options, |event| {
//!     if let Event::Text(text) = event {
//!         print!("{text}");
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert!(answer.ids.len() <= 20 && !answer.text.is_empty());
//! # Ok::<(), puna::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod bench;
mod builtin;
mod chat;
mod describe;
mod error;
mod generate;
mod generation_config;
mod guard;
mod llama;
mod memory;
mod pictures;
mod score;
mod stop_strings;
mod text_files;

pub use builtin::BUILTIN_NAME;
pub use chat::{Chat, parse_messages};
pub use describe::{Description, NamedToken, TensorGroup, TokenizerDescription};
pub use error::Error;
pub use generate::{Event, GenerateOptions, Generation, Timings};
pub use generation_config::GenerationConfig;
pub use guard::{GuardOptions, Verdict};
pub use llama::{Llama, Options};
pub use pictures::{Picture, PromptTokens, read_picture};
pub use puna_engine::sampling::{SamplingError, SamplingParams};
pub use puna_engine::{Engine, EngineError, FinishReason, Past, Sequence};
pub use puna_formats as formats;
pub use puna_model as model;
pub use puna_tensor::{Activations, DType, Isa, KvLayout, Pool};
pub use puna_text as text;
pub use score::Score;
pub use stop_strings::StopStrings;
pub use text_files::TextFiles;
