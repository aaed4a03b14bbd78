//! Writing a safetensors file.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};

use super::dtype::name_of;
use super::{MAX_HEADER_BYTES, METADATA_KEY};
use crate::error::{FormatError, Problem};
use crate::tensor_map::{TensorInfo, TensorMap};
use crate::tensor_stream::TensorStream;

/// A safetensors file to be: its texts and the description of its tensors.
///
/// The data is stored widest type first, then by name, as the reference implementation does, so that every
/// tensor is aligned for its type. [`TensorStream::expected`] says whose turn it is.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    metadata: BTreeMap<String, String>,
    tensors: Vec<TensorInfo>,
}

impl Writer {
    /// A file with these texts (`{"format": "pt"}` is what Hugging Face expects) and no tensors yet.
    pub fn new(metadata: BTreeMap<String, String>) -> Writer {
        Writer { metadata, tensors: Vec::new() }
    }

    /// Announces a tensor, in any order.
    pub fn declare(&mut self, tensor: TensorInfo) {
        self.tensors.push(tensor);
    }

    /// Writes the header and returns the stream that takes the data. Nothing appears under `path` until that
    /// stream is finished.
    pub fn begin(mut self, path: &Path) -> Result<TensorStream, FormatError> {
        self.tensors.sort_by(|a, b| order(a).cmp(&order(b)));
        let header = self.header().map_err(|problem| problem.in_output(path))?;
        // Widest first leaves no gaps, so the data needs no padding.
        TensorStream::create(path, &header, self.tensors, 1)
    }

    /// Writes a whole file with the tensors of a map.
    pub fn write_all(
        metadata: BTreeMap<String, String>,
        tensors: &TensorMap,
        path: &Path,
    ) -> Result<(), FormatError> {
        let mut writer = Writer::new(metadata);
        tensors.iter().for_each(|tensor| writer.declare(tensor.info()));
        let mut stream = writer.begin(path)?;
        while let Some(name) = stream.expected().map(|info| info.name.clone()) {
            let tensor = tensors.get(&name).expect("only tensors of the map were declared");
            stream.write(&name, &tensor.data)?;
        }
        stream.finish()
    }

    /// The length and the JSON, padded with spaces to a multiple of eight bytes.
    fn header(&self) -> Result<Vec<u8>, Problem> {
        // Written piece by piece, since a JSON object in memory would lose the order of the tensors.
        let mut members = Vec::new();
        if !self.metadata.is_empty() {
            members.push(member(METADATA_KEY, json!(self.metadata)));
        }
        let mut names = HashSet::new();
        let mut offset = 0usize;
        for tensor in &self.tensors {
            if tensor.name == METADATA_KEY || !names.insert(&tensor.name) {
                return Err(Problem::malformed(format!("{} was declared twice", tensor.title())));
            }
            let (entry, end) = entry(tensor, offset).map_err(|problem| problem.about(tensor.title()))?;
            members.push(member(&tensor.name, entry));
            offset = end;
        }
        let mut json = format!("{{{}}}", members.join(",")).into_bytes();
        json.resize(json.len().next_multiple_of(8), b' ');
        if json.len() as u64 > MAX_HEADER_BYTES {
            let len = json.len();
            return Err(Problem::unsupported(format!(
                "the header has {len} bytes; the limit is {MAX_HEADER_BYTES}"
            )));
        }
        let mut out = Vec::from((json.len() as u64).to_le_bytes());
        out.extend(json);
        Ok(out)
    }
}

/// A key and a value as they stand in an object.
fn member(key: &str, value: Value) -> String {
    format!("{}:{value}", Value::from(key))
}

fn order(tensor: &TensorInfo) -> (Reverse<usize>, &str) {
    (Reverse(tensor.dtype.block_bytes()), &tensor.name)
}

/// The header entry of a tensor whose data begins at `offset`, and where its data ends.
fn entry(tensor: &TensorInfo, offset: usize) -> Result<(Value, usize), Problem> {
    let dtype = name_of(tensor.dtype)
        .ok_or_else(|| Problem::unsupported(format!("safetensors has no type for {}", tensor.dtype)))?;
    let bytes = crate::tensor_map::tensor_bytes(tensor.dtype, &tensor.shape)?;
    let end = offset.checked_add(bytes).ok_or_else(|| Problem::malformed("the file would be too long"))?;
    Ok((json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [offset, end]}), end))
}
