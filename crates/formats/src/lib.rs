//! Model files as names, shapes and bytes.
//!
//! This floor knows how checkpoints are laid out on disk and nothing about what a name means. [`checkpoint::open`]
//! recognises a checkpoint by its content; [`gguf`], [`safetensors`] and [`pth`] read and write one format each. Tensors are views into a memory map: opening a file touches only its header, and every view has
//! been checked to lie inside the file.
//!
//! Every byte of a file is treated as hostile. The parsers bound each count by the bytes that are really there, use
//! checked arithmetic, and answer a broken file with a [`FormatError`] that names the file and the fact. They are
//! fuzzed; the `parse` functions work on bytes alone for that purpose.
//!
//! ```
//! use std::path::Path;
//!
//! use puna_formats::{Checkpoint, open};
//!
//! let Checkpoint::Gguf(gguf) = open(Path::new("../puna/assets/stories.gguf"))? else { panic!("a GGUF file") };
//! assert_eq!(gguf.metadata.opt_str("general.architecture")?, Some("llama"));
//! let embedding = gguf.tensors.get("token_embd.weight").expect("every Llama has one");
//! println!("{} {:?}, {} bytes", embedding.dtype, embedding.shape, embedding.data.len());
//! # Ok::<(), puna_formats::FormatError>(())
//! ```

#![deny(unsafe_code)]

mod atomic_file;
mod cursor;
mod error;
mod folder;
mod json;
mod lookalike;
mod mmap;
mod part_name;
mod spill_file;
mod tensor_map;
mod tensor_stream;

pub mod checkpoint;
pub mod gguf;
pub mod pth;
pub mod safetensors;

pub use atomic_file::{AtomicFile, write_file};
pub use checkpoint::{Checkpoint, GgufCheckpoint, HfCheckpoint, MetaCheckpoint, open};
pub use error::{ErrorKind, FormatError};
pub use json::{MAX_CONFIG_BYTES, parse_json, read_json};
pub use mmap::map_file;
pub use puna_tensor::{Bytes, DType};
pub use spill_file::{Piece as SpillPiece, SpillFile};
pub use tensor_map::{TensorInfo, TensorMap, TensorView};
pub use tensor_stream::TensorStream;
