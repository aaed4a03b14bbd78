//! safetensors: Hugging Face's tensor files. A JSON header, then the data without gaps.
//!
//! [`open`] and [`parse`] read one file, [`open_folder`] all files of a model, which may be sharded.
//! [`Writer`] makes one file.

mod dtype;
mod folder;
mod read;
mod write;

pub(crate) use folder::is_safetensors;
pub use folder::open_folder;
pub(crate) use read::looks_like;
pub use read::{SafetensorsFile, open, parse};
pub use write::Writer;

pub use crate::weight_files::{WeightFiles, parse_index};

/// The longest header read, as in the reference implementation.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The header's key for free text about the file.
const METADATA_KEY: &str = "__metadata__";
