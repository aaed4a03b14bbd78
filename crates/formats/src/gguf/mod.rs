//! GGUF: llama.cpp's single-file format. Metadata, tensor descriptions, aligned data.
//!
//! [`open`] maps a file, or all parts of a split one, and checks everything a later reader relies on: each
//! tensor's bytes lie inside the file, are aligned, and overlap no other tensor. [`parse`] does the same for
//! one file whose bytes are already in hand. [`Writer`] makes such files. The dimensions of a tensor, which
//! the file lists innermost first, are turned into our order.

mod ggml_type;
mod metadata;
mod read;
mod recipe;
mod split;
mod value;
mod write;

pub use metadata::Metadata;
pub use read::{GgufFile, parse, parse_head};
pub use recipe::recipe;
pub use split::{GgufCheckpoint, open};
pub use value::{Array, Value};
pub use write::Writer;

/// The first four bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// The metadata key that sets the alignment of tensor data.
const ALIGNMENT_KEY: &str = "general.alignment";

/// The alignment when the file does not say.
const DEFAULT_ALIGNMENT: u32 = 32;

/// The most dimensions a tensor may have.
const MAX_DIMS: u32 = 4;
