//! `.pth`: PyTorch's checkpoint files, as Meta publishes its models.
//!
//! Such a file is a ZIP archive that holds a pickle and, uncompressed, one member of raw bytes for each
//! storage. The pickle is a program for a small stack machine that can normally call any Python function.
//! Ours can build tensors and nothing else: every other instruction or name is an error. Storages stay where
//! they are in the memory map; only a tensor with unusual strides is copied into order. Files of before
//! PyTorch 1.6, which are not archives, are read by `legacy.rs`.

mod folder;
mod legacy;
mod pickle;
mod tensors;
mod value;
mod write;
mod zip;

use std::path::Path;

use puna_tensor::Bytes;

use crate::error::{FormatError, Problem};
use crate::lookalike;
use crate::mapped_file::MappedFile;
use crate::tensor_map::TensorMap;
use crate::visible::quote;
pub(crate) use folder::{is_pytorch_bin, open_folder};
use pickle::unpickle;
use tensors::{Storages, build_tensors};
pub use write::PthWriter;
use zip::Archive;

/// The largest pickle we run. A thousand tensors take some 300 kB.
const MAX_PICKLE_BYTES: usize = 16 << 20;

/// Opens a `.pth` file.
pub fn open(path: &Path) -> Result<TensorMap, FormatError> {
    let file = MappedFile::open(path)?;
    let mut tensors = file.read(|bytes| parse(bytes, path))?;
    tensors.keep(file);
    Ok(tensors)
}

/// Reads the bytes of a `.pth` file; `path` is for messages.
pub fn parse(bytes: &Bytes, path: &Path) -> Result<TensorMap, FormatError> {
    let tensors = if zip::looks_like(bytes) {
        parse_archive(bytes)
    } else if legacy::looks_like(bytes) {
        legacy::parse(bytes)
    } else {
        let unknown =
            || Problem::not_a_model("is not a PyTorch checkpoint: neither a ZIP archive nor a pickle");
        Err(lookalike::explain(bytes).unwrap_or_else(unknown))
    };
    tensors.map_err(|problem| problem.in_file(path))
}

/// Whether bytes begin like a `.pth` file of either kind.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    zip::looks_like(bytes) || legacy::looks_like(bytes)
}

fn parse_archive(bytes: &Bytes) -> Result<TensorMap, Problem> {
    let archive = Archive::open(bytes)?;
    // Everything lies in one folder of arbitrary name.
    let mut pickles = archive.names().filter_map(|name| name.strip_suffix("/data.pkl"));
    let Some(folder) = pickles.next() else {
        let problem =
            Problem::not_a_model("is a ZIP archive, but not a PyTorch checkpoint: it has no `data.pkl`");
        return Err(problem);
    };
    if pickles.next().is_some() {
        return Err(Problem::malformed("has more than one `data.pkl`"));
    }
    let byte_order = archive.member(&format!("{folder}/byteorder"))?;
    if byte_order.is_some_and(|order| order.trim_ascii() != b"little") {
        return Err(Problem::unsupported("was written on a big-endian machine"));
    }
    let pickle_name = format!("{folder}/data.pkl");
    let pickle = archive.member(&pickle_name)?.expect("the name was found in the archive");
    if pickle.len() > MAX_PICKLE_BYTES {
        let len = pickle.len();
        return Err(Problem::unsupported(format!(
            "its pickle has {len} bytes; the limit is {MAX_PICKLE_BYTES}"
        )));
    }
    let object = unpickle(&pickle).map_err(|problem| problem.about(quote(&pickle_name)))?;
    let storages = ArchiveStorages { archive: &archive, folder };
    build_tensors(&object, &storages, bytes.len()).map_err(|problem| problem.about(quote(&pickle_name)))
}

/// The storages of an archive: the members `data/KEY`.
struct ArchiveStorages<'a> {
    archive: &'a Archive,
    folder: &'a str,
}

impl Storages for ArchiveStorages<'_> {
    fn storage(&self, key: &str) -> Result<Bytes, Problem> {
        let name = format!("{}/data/{key}", self.folder);
        let missing = || Problem::malformed(format!("the archive has no member {}", quote(&name)));
        self.archive.member(&name)?.ok_or_else(missing)
    }
}
