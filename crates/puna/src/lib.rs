//! The whole Llama system as a library: load a model, continue texts, chat, look at pictures, score.
//!
//! ```
#![doc = include_str!("../examples/hello.rs")]
//! ```
//!
//! [`Llama`] is a loaded model: cheap to clone, to be shared between threads. [`Llama::chat`] begins a
//! [`Chat`], which remembers what was said:
//!
//! ```no_run
//! let llama = puna::Llama::load("Llama-3.2-1B-Instruct")?; // a GGUF file, or a Hugging Face or Meta folder
//! let mut chat = llama.chat()?;
//! for piece in chat.ask("Why is the sky blue?")? {
//!     print!("{}", piece?);
//! }
//! # Ok::<(), puna::Error>(())
//! ```
//!
//! An [`Answer`] is an iterator of text, made as the model's makers recommend. [`AnswerOptions`] says
//! otherwise:
//!
//! ```
//! use puna::{AnswerOptions, FinishReason, Llama, SamplingParams};
//!
//! let llama = Llama::builtin()?;
//! let sampling = SamplingParams { seed: Some(1), ..llama.raw_sampling() };
//! let options = AnswerOptions {
//!     sampling: Some(sampling),
//!     max_tokens: Some(20),
//!     stop: vec!["\n\n".into()],
//!     ..AnswerOptions::default()
//! };
//! let story = llama.complete_with("Once upon a time", &options)?.finish()?;
//! println!("{} ({} tokens/s)", story.text, story.timings.decode_tokens_per_s().unwrap_or(0.0));
//! assert_eq!((story.finish, story.ids.len()), (FinishReason::Length, 20));
//! # Ok::<(), puna::Error>(())
//! ```
//!
//! [`AnswerOptions::form`] holds an answer to JSON, to a JSON schema, an expression or a grammar: see [`Form`].
//!
//! Every [`Error`] has a message to be shown and an [`ErrorKind`] to decide by. `examples/` has more: a chat
//! in the terminal, questions about a picture, the likelihood of a text. Those who work on token ids use
//! [`Llama::engine`]. What is named here is meant to stay; the crates below are free to change.

#![forbid(unsafe_code)]

mod answer;
pub mod bench;
mod builtin;
mod chat;
mod describe;
mod embed;
mod error;
mod form;
mod generation_config;
mod guard;
mod llama;
mod local_models;
mod memory;
mod pictures;
mod prompt;
mod score;
mod stop_strings;
mod text_files;
mod text_stream;
mod tiling;
mod windows;

pub use answer::{Answer, AnswerOptions, COMPLETION_TOKENS, Event, Generation, Timings};
pub use builtin::{BUILTIN_NAME, builtin_bytes};
pub use chat::{Chat, WhenFull, parse_conversation};
pub use describe::{Description, NamedToken, TensorGroup, TokenizerDescription};
pub use embed::{EmbedOptions, EmbedPrompts};
pub use error::{Error, ErrorKind};
pub use form::Form;
pub use generation_config::GenerationConfig;
pub use guard::{GuardOptions, Verdict};
pub use llama::{KV_DTYPES, Llama, Options};
pub use local_models::{FoundModels, LocalModel, ModelPlaces, Place, is_model_file};
pub use memory::{memory_for_models, resident_bytes};
pub use pictures::{Picture, read_picture};
pub use prompt::PromptTokens;
pub use score::Score;
pub use text_files::TextFiles;
pub use text_stream::TextStream;
pub use windows::Windows;

// Of the floors below, what the items above are made of.
pub use puna_engine::sampling::{SamplingError, SamplingParams};
pub use puna_engine::{
    Constraint, Counts, DiskCacheOptions, Draft, End, Engine, EngineError, EngineOptions, FinishReason, Job,
    Listener, Past, Pooling, Request, Scheduler, SchedulerOptions, SequenceImage, Tenant, Worker,
};
pub use puna_formats::FormatError;
pub use puna_image::ImageError;
pub use puna_model::{Config, Eagle, LayerSizes, ModelError, Sublayer};
pub use puna_tensor::read_speed;
pub use puna_tensor::{Activations, DType, Isa};
pub use puna_text::template::{
    ChatFormat, Content, Conversation, GuardCategory, GuardVersion, Message, Part as ContentPart,
    RenderOptions, TemplateError, ToolCall,
};
pub use puna_text::{EncodeOptions, InfillOrder, Tokenizer, TokenizerError};
