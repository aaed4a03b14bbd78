//! Model files as names, shapes and bytes.
//!
//! This floor knows how checkpoints are laid out on disk and nothing about what a name means.
//! [`checkpoint::open`] recognises a checkpoint by its content; [`gguf`], [`safetensors`] and [`pth`] each
//! read and write one format. Tensors are views into a memory map: opening a file touches only its header,
//! and every view has been checked to lie inside the file.
//!
//! Every byte of a file is treated as hostile. The parsers bound each count by the bytes that are really
//! there, use checked arithmetic, and answer a broken file with a [`FormatError`] that names the file and the
//! fact. They are fuzzed; the `parse` functions work on bytes alone for that purpose.
//!
//! ```
//! use puna_formats::{DType, TensorInfo, safetensors};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("model.safetensors");
//! let mut writer = safetensors::Writer::new(Default::default());
//! writer.declare(TensorInfo::new("norm.weight", DType::F32, [2]));
//! let mut stream = writer.begin(&path)?;
//! stream.write("norm.weight", &[1f32.to_le_bytes(), 2f32.to_le_bytes()].concat())?;
//! stream.finish()?;
//!
//! let tensors = safetensors::open(&path)?.tensors;
//! let norm = tensors.get("norm.weight").expect("it was written");
//! assert_eq!((norm.dtype, &norm.shape[..]), (DType::F32, &[2][..]));
//! assert_eq!(norm.data[4..], 2f32.to_le_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod atomic_file;
mod cursor;
mod destination;
mod encoding;
mod error;
mod file_kind;
mod folder;
mod json;
mod lookalike;
mod lost_pages;
mod mapped_file;
mod part_name;
mod spill_file;
mod tensor_map;
mod tensor_stream;
mod unfinished;
mod visible;
mod weight_files;
mod whole_file;

pub mod checkpoint;
pub mod gguf;
pub mod pth;
pub mod safetensors;
pub mod yaml;

pub use atomic_file::{AtomicFile, write_file};
pub use checkpoint::{Checkpoint, Form, GgufCheckpoint, HfCheckpoint, MetaCheckpoint, forms_in, open};
pub use encoding::decode_text;
pub use error::{ErrorKind, FormatError};
pub use json::{MAX_CONFIG_BYTES, parse_json, quote_python_numbers, read_json};
pub use lookalike::check_is_itself;
pub use mapped_file::MappedFile;
pub use puna_tensor::{Bytes, DType};
pub use spill_file::{SpillFile, SpillPiece};
pub use tensor_map::{TensorInfo, TensorMap, TensorView};
pub use tensor_stream::TensorStream;
pub use unfinished::remove_unfinished;
pub use visible::{quote, steers_terminals, visible, visible_lines, visible_path};
pub use whole_file::{read_at_most, read_file};
