//! Writing a GGUF file, version 3.

use std::collections::HashSet;
use std::path::Path;

use super::ggml_type::type_id_of;
use super::metadata::Metadata;
use super::value::encode_string;
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS};
use crate::error::{FormatError, Problem};
use crate::tensor_map::{TensorInfo, TensorMap};
use crate::tensor_stream::TensorStream;

/// Names must be shorter than this for llama.cpp to read them.
const MAX_NAME_BYTES: usize = 64;

/// A GGUF file to be: its metadata and the description of its tensors.
///
/// ```no_run
/// # use puna_formats::{DType, TensorInfo, gguf::{Metadata, Value, Writer}};
/// # fn main() -> Result<(), puna_formats::FormatError> {
/// let path = std::path::Path::new("model.gguf");
/// let mut metadata = Metadata::new(path);
/// metadata.set("general.architecture", Value::String("llama".into()));
/// let mut writer = Writer::new(metadata);
/// writer.declare(TensorInfo::new("output_norm.weight", DType::F32, [64]));
/// let mut stream = writer.begin(path)?;
/// stream.write("output_norm.weight", &[0; 256])?;
/// stream.finish()
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Writer {
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
}

impl Writer {
    /// A file with this metadata and no tensors yet.
    pub fn new(metadata: Metadata) -> Writer {
        Writer { metadata, tensors: Vec::new() }
    }

    /// Announces a tensor. Tensors are stored in the order of their announcement.
    pub fn declare(&mut self, tensor: TensorInfo) {
        self.tensors.push(tensor);
    }

    /// Writes everything before the data and returns the stream that takes the data. Nothing appears under
    /// `path` until that stream is finished.
    pub fn begin(self, path: &Path) -> Result<TensorStream, FormatError> {
        let alignment = self.alignment().map_err(|problem| problem.in_output(path))?;
        let header = self.header(alignment).map_err(|problem| problem.in_output(path))?;
        TensorStream::create(path, &header, self.tensors, alignment)
    }

    /// Writes a whole file with the tensors of a map, in the order of their names.
    pub fn write_all(metadata: Metadata, tensors: &TensorMap, path: &Path) -> Result<(), FormatError> {
        let mut writer = Writer::new(metadata);
        tensors.iter().for_each(|tensor| writer.declare(tensor.info()));
        let mut stream = writer.begin(path)?;
        for tensor in tensors {
            if !tensor.data.is_empty() {
                stream.write(&tensor.name, &tensor.data)?;
            }
        }
        stream.finish()
    }

    fn alignment(&self) -> Result<usize, Problem> {
        let alignment = match self.metadata.opt_u32(ALIGNMENT_KEY) {
            Ok(alignment) => alignment.unwrap_or(DEFAULT_ALIGNMENT),
            Err(error) => return Err(Problem::malformed(error.fact)),
        };
        if !alignment.is_power_of_two() {
            return Err(Problem::malformed(format!("`{ALIGNMENT_KEY}` is {alignment}, not a power of two")));
        }
        Ok(alignment as usize)
    }

    fn header(&self, alignment: usize) -> Result<Vec<u8>, Problem> {
        let mut out = Vec::from(MAGIC);
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in self.metadata.iter() {
            encode_string(key, &mut out);
            value.encode(&mut out);
        }
        let mut names = HashSet::new();
        let mut offset = 0u64;
        for tensor in &self.tensors {
            let bytes =
                encode_info(tensor, offset, &mut out).map_err(|problem| problem.about(tensor.title()))?;
            if !names.insert(&tensor.name) {
                return Err(Problem::malformed(format!("{} was declared twice", tensor.title())));
            }
            offset += (bytes as u64).next_multiple_of(alignment as u64);
        }
        out.resize(out.len().next_multiple_of(alignment), 0);
        Ok(out)
    }
}

/// Appends a tensor's description and returns how many bytes of data it will have.
fn encode_info(tensor: &TensorInfo, offset: u64, out: &mut Vec<u8>) -> Result<usize, Problem> {
    if tensor.name.len() >= MAX_NAME_BYTES {
        return Err(Problem::malformed(format!("a name may have at most {} bytes", MAX_NAME_BYTES - 1)));
    }
    let n_dims = u32::try_from(tensor.shape.len()).unwrap_or(u32::MAX);
    if n_dims > MAX_DIMS {
        return Err(Problem::malformed(format!("has {n_dims} dimensions; the most are {MAX_DIMS}")));
    }
    let type_id = type_id_of(tensor.dtype)
        .ok_or_else(|| Problem::unsupported(format!("GGUF has no type for {}", tensor.dtype)))?;
    let bytes = tensor.data_bytes()?;
    encode_string(&tensor.name, out);
    out.extend(n_dims.to_le_bytes());
    for &size in tensor.shape.iter().rev() {
        out.extend((size as u64).to_le_bytes());
    }
    out.extend(type_id.to_le_bytes());
    out.extend(offset.to_le_bytes());
    Ok(bytes)
}
