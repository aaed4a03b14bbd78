//! What clients of OpenAI's, Ollama's and Anthropic's APIs send, and what they need back.
//!
//! Each API has a folder. It reads a body into an [`Ask`], which is the same for all of them, and says what happens
//! afterwards, [`Event`]s, in its own words: as a whole, or frame by frame. A request that cannot be fulfilled is a
//! [`Problem`], which each API shows in a shape of its own. Nothing here knows a model, a clock or a socket.
//!
//! `null` and absent are the same everywhere. A field that would change the answer is heeded or refused by its name;
//! fields that nobody documents are passed over, since clients send hints of their own.

#![forbid(unsafe_code)]

pub mod answer;
pub mod anthropic;
pub mod ask;
pub mod fields;
pub mod frames;
pub mod multipart;
pub mod ollama;
pub mod openai;
pub mod parts;
pub mod problem;
pub mod responses;
mod time;
pub mod tool_calls;

pub use answer::{Call, Choice, Event, Finish, Identity, Reply, Token, Usage};
pub use ask::{Ask, Chat, Format, Input, Sampling, TextInput, ToolChoice, Tools};
pub use fields::Fields;
pub use frames::{Encode, Frames};
pub use multipart::Multipart;
pub use parts::{Part, Parts};
pub use problem::{Kind, Problem};
