//! A server that clients of OpenAI's, Ollama's and Anthropic's APIs use unchanged.
//!
//! A handler reads, asks, answers: `puna-wire` reads what an API says and writes what it expects back, an
//! `ear` on the engine's thread makes events of tokens, and nothing here touches a tensor. The gate in front of all
//! routes checks who asks (`gate`); everything has a limit ([`ServeOptions`]).

#![forbid(unsafe_code)]

mod answer;
mod app;
mod aside;
mod asked;
mod batches;
mod ear;
mod files;
mod gate;
mod heard;
mod identity;
mod invitations;
mod library;
mod loading;
mod log;
mod memory;
mod metrics;
mod modelfile;
mod models;
mod options;
mod own;
mod prompt;
mod pulled;
mod pulling;
mod reply;
mod routes;
mod server;
mod stable_heads;
mod stored;
mod tls;

pub use invitations::Invitations;
pub use models::ServedModel;
pub use options::{PullOptions, ServeOptions};
pub use server::{ServeError, Server, Stopper};
