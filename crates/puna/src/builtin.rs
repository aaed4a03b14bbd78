//! The model inside the library: small, English, tells children's stories, needs no download.

use std::path::{Path, PathBuf};

use puna_formats::{Bytes, GgufCheckpoint, gguf};

use crate::Error;

/// The name that stands for the path of the built-in model in messages.
pub const BUILTIN_NAME: &str = "built-in stories model";

static STORIES: &[u8] = include_bytes!("../assets/stories.gguf");

/// The bytes of the built-in model, a GGUF file.
pub fn builtin_bytes() -> &'static [u8] {
    STORIES
}

/// The built-in checkpoint. Its tensors are views of the program's own read-only pages.
pub(crate) fn checkpoint() -> Result<GgufCheckpoint, Error> {
    let file = gguf::parse(&Bytes::new(STORIES), Path::new(BUILTIN_NAME))?;
    let gguf::GgufFile { metadata, tensors, .. } = file;
    Ok(GgufCheckpoint { metadata, tensors, parts: vec![PathBuf::from(BUILTIN_NAME)] })
}
