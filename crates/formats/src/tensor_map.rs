//! Named tensors as a file stores them: name, dtype, shape, bytes, and nothing about their meaning.

use std::collections::BTreeMap;

use puna_tensor::{Bytes, DType};

use crate::error::Problem;
use crate::mapped_file::MappedFile;
use crate::visible::quote;

/// What a file says about a tensor before its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file's own convention.
    pub name: String,
    /// How the elements are stored.
    pub dtype: DType,
    /// Sizes of the dimensions, outermost first; the last one is the length of a stored row. `[]` is a
    /// scalar.
    pub shape: Vec<usize>,
}

/// A tensor in a file: its description and a view of its bytes.
///
/// The bytes are little-endian, rows after one another without padding. They begin wherever the file put
/// them, so they may be aligned for less than the element type asks.
#[derive(Clone, Debug)]
pub struct TensorView {
    /// The name in the file's own convention.
    pub name: String,
    /// How the elements are stored.
    pub dtype: DType,
    /// Sizes of the dimensions, outermost first; the last one is the length of a stored row. `[]` is a
    /// scalar.
    pub shape: Vec<usize>,
    /// The stored bytes: exactly as many as dtype and shape ask for.
    pub data: Bytes,
}

impl TensorInfo {
    /// Describes a tensor.
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>) -> TensorInfo {
        TensorInfo { name: name.into(), dtype, shape: shape.into() }
    }

    /// The bytes the tensor occupies: an error if that overflows or a row is not a whole
    /// number of blocks.
    pub(crate) fn data_bytes(&self) -> Result<usize, Problem> {
        tensor_bytes(self.dtype, &self.shape).map_err(|problem| problem.about(self.title()))
    }

    /// The tensor's name for messages.
    pub(crate) fn title(&self) -> String {
        format!("tensor {}", quote(&self.name))
    }
}

impl TensorView {
    /// The number of elements.
    pub fn n_elements(&self) -> usize {
        // Cannot overflow: the bytes were counted from this product when the view was made.
        self.shape.iter().product()
    }

    /// The description without the bytes.
    pub fn info(&self) -> TensorInfo {
        TensorInfo { name: self.name.clone(), dtype: self.dtype, shape: self.shape.clone() }
    }
}

/// The bytes a tensor of this type and shape occupies.
pub(crate) fn tensor_bytes(dtype: DType, shape: &[usize]) -> Result<usize, Problem> {
    let row_len = shape.last().copied().unwrap_or(1);
    if !row_len.is_multiple_of(dtype.block_len()) {
        let block_len = dtype.block_len();
        return Err(Problem::malformed(format!(
            "its rows have {row_len} elements, but {dtype} stores blocks of {block_len}"
        )));
    }
    // An absurd shape is refused even where another dimension is zero, so that products of sizes never
    // overflow.
    let overflow =
        || Problem::malformed(format!("its shape {shape:?} has more elements than memory can address"));
    let mut n_elements = 1usize;
    for &size in shape.iter().filter(|&&size| size != 0) {
        n_elements = n_elements.checked_mul(size).ok_or_else(overflow)?;
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    dtype.bytes_of(n_elements).ok_or_else(overflow)
}

/// The tensors of a file, or of several files that form one checkpoint, ordered by name.
#[derive(Clone, Debug, Default)]
pub struct TensorMap {
    tensors: BTreeMap<String, TensorView>,
    files: Vec<MappedFile>,
}

impl TensorMap {
    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&TensorView> {
        self.tensors.get(name)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors at all.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// All tensors, ordered by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &TensorView> {
        self.tensors.values()
    }

    /// All names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The files that the tensors are views of.
    pub fn mapped_files(&self) -> impl Iterator<Item = &MappedFile> {
        self.files.iter()
    }

    /// Remembers that tensors are views of this file.
    pub(crate) fn keep(&mut self, file: MappedFile) {
        self.files.push(file);
    }

    /// The bytes of all tensors together.
    pub fn total_bytes(&self) -> u64 {
        self.iter().map(|tensor| tensor.data.len() as u64).sum()
    }

    /// Adds a tensor; a second one of the same name is an error.
    pub(crate) fn insert(&mut self, tensor: TensorView) -> Result<(), Problem> {
        let name = tensor.name.clone();
        match self.tensors.insert(name, tensor) {
            None => Ok(()),
            Some(old) => Err(Problem::malformed(format!("tensor {} occurs twice", quote(&old.name)))),
        }
    }

    /// Adds all tensors of another map.
    pub(crate) fn extend(&mut self, other: TensorMap) -> Result<(), Problem> {
        self.files.extend(other.files);
        other.tensors.into_values().try_for_each(|tensor| self.insert(tensor))
    }
}

impl<'a> IntoIterator for &'a TensorMap {
    type Item = &'a TensorView;
    type IntoIter = std::collections::btree_map::Values<'a, String, TensorView>;

    fn into_iter(self) -> Self::IntoIter {
        self.tensors.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_without_overflow() {
        assert_eq!(tensor_bytes(DType::F32, &[]).unwrap(), 4);
        assert_eq!(tensor_bytes(DType::BF16, &[3, 5]).unwrap(), 30);
        assert_eq!(tensor_bytes(DType::Q4_K, &[2, 512]).unwrap(), 4 * 144);
        assert_eq!(tensor_bytes(DType::Q4_0, &[0, 32]).unwrap(), 0);
        assert_eq!(tensor_bytes(DType::F32, &[7, 0]).unwrap(), 0);
        assert!(tensor_bytes(DType::Q4_0, &[32, 31]).unwrap_err().fact.contains("blocks of 32"));
        assert!(tensor_bytes(DType::U8, &[usize::MAX, 2]).is_err());
        assert!(tensor_bytes(DType::U8, &[usize::MAX, 2, 0]).is_err());
        assert!(tensor_bytes(DType::F64, &[usize::MAX / 4]).is_err());
    }
}
