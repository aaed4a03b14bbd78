//! From the dictionary a pickle made to tensors with bytes.

use std::collections::HashMap;

use puna_tensor::Bytes;

use super::value::{Id, Object, Tensor, Value};
use crate::error::Problem;
use crate::tensor_map::{TensorMap, TensorView, tensor_bytes};
use crate::visible::quote;

/// Where the bytes of storages come from.
pub(super) trait Storages {
    /// All bytes of the storage of this key.
    fn storage(&self, key: &str) -> Result<Bytes, Problem>;
}

/// The tensors of a dictionary. Tensors in row-major order are views; others are copied into order, all of
/// them together into at most `copy_limit` bytes.
pub(super) fn build_tensors(
    object: &Object,
    storages: &impl Storages,
    copy_limit: usize,
) -> Result<TensorMap, Problem> {
    let Value::Dict(entries) = object.root() else {
        let what = object.root().describe();
        return Err(Problem::unsupported(format!("holds {what} instead of a dictionary of tensors")));
    };
    let mut builder = Builder { object, storages, found: HashMap::new(), copy_left: copy_limit };
    let mut tensors = TensorMap::default();
    for &(key, value) in entries {
        let Value::Str(name) = object.get(key) else {
            let what = object.get(key).describe();
            return Err(Problem::malformed(format!("a key of the dictionary is {what} instead of a name")));
        };
        let title = format!("tensor {}", quote(name));
        match object.get(value) {
            Value::Tensor(tensor) => {
                tensors.insert(builder.build(name, tensor).map_err(|problem| problem.about(title))?)?;
            }
            // Extra state beside the tensors.
            Value::Opaque | Value::None => {}
            other => {
                let fact = format!("the entry {} is {} instead of a tensor", quote(name), other.describe());
                let hint =
                    "a training checkpoint may hold the model in one of its entries; save that one alone";
                return Err(Problem::unsupported(fact).hint(hint));
            }
        }
    }
    Ok(tensors)
}

struct Builder<'a, S> {
    object: &'a Object,
    storages: &'a S,
    found: HashMap<Id, Bytes>,
    copy_left: usize,
}

impl<S: Storages> Builder<'_, S> {
    fn build(&mut self, name: &str, tensor: &Tensor) -> Result<TensorView, Problem> {
        let Value::Storage(storage) = self.object.get(tensor.storage) else {
            return Err(Problem::malformed("is built on something other than a storage"));
        };
        let storage_bytes = storage.dtype.bytes_of(storage.len);
        let bytes = match self.found.get(&tensor.storage) {
            Some(bytes) => bytes.clone(),
            None => {
                let bytes = self.storages.storage(&storage.key)?;
                self.found.insert(tensor.storage, bytes.clone());
                bytes
            }
        };
        if storage_bytes != Some(bytes.len()) {
            let (len, dtype, key, found) = (storage.len, storage.dtype, quote(&storage.key), bytes.len());
            let fact =
                format!("its storage {key} should have {len} elements of {dtype}, but has {found} bytes");
            return Err(Problem::malformed(fact));
        }
        let n_bytes = tensor_bytes(storage.dtype, &tensor.shape)?;
        check_range(tensor, storage.len)?;
        let element_bytes = storage.dtype.block_bytes();
        let data = if n_bytes == 0 {
            bytes.slice(0..0)
        } else if is_row_major(tensor) {
            let start = tensor.offset * element_bytes;
            bytes.slice(start..start + n_bytes)
        } else {
            self.copy_left = self.copy_left.checked_sub(n_bytes).ok_or_else(|| {
                Problem::unsupported("the tensors with unusual strides are larger than the file they are in")
            })?;
            Some(Bytes::new(gather(&bytes, tensor, element_bytes, n_bytes)))
        };
        let data = data.expect("the range was checked against the storage");
        Ok(TensorView { name: name.to_owned(), dtype: storage.dtype, shape: tensor.shape.clone(), data })
    }
}

/// Checks that all elements lie in a storage of `len` elements.
fn check_range(tensor: &Tensor, len: usize) -> Result<(), Problem> {
    if tensor.shape.contains(&0) {
        return Ok(());
    }
    let mut dims = tensor.shape.iter().zip(&tensor.strides);
    let last = dims
        .try_fold(tensor.offset, |last, (&size, &stride)| last.checked_add((size - 1).checked_mul(stride)?));
    if last.is_some_and(|last| last < len) {
        return Ok(());
    }
    let Tensor { offset, shape, strides, .. } = tensor;
    Err(Problem::malformed(format!(
        "offset {offset}, shape {shape:?} and strides {strides:?} reach past its storage of {len} elements"
    )))
}

/// Whether the elements follow one another as in C. The stride of a dimension of size one says nothing.
fn is_row_major(tensor: &Tensor) -> bool {
    let mut expected = 1usize;
    tensor.shape.iter().zip(&tensor.strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == expected;
        expected = expected.saturating_mul(size);
        fits
    })
}

/// The elements of a tensor, row after row. The range has been checked.
fn gather(storage: &[u8], tensor: &Tensor, element_bytes: usize, n_bytes: usize) -> Vec<u8> {
    // The stride of a dimension of size one is never taken and may be absurd.
    let strides =
        tensor.shape.iter().zip(&tensor.strides).map(|(&size, &stride)| if size == 1 { 0 } else { stride });
    let strides: Vec<usize> = strides.collect();
    let mut out = Vec::with_capacity(n_bytes);
    let mut index = vec![0usize; tensor.shape.len()];
    let mut at = tensor.offset;
    while out.len() < n_bytes {
        out.extend_from_slice(&storage[at * element_bytes..(at + 1) * element_bytes]);
        // Counts up like an odometer: the last dimension first, carrying into the ones before.
        for dim in (0..index.len()).rev() {
            index[dim] += 1;
            at += strides[dim];
            if index[dim] < tensor.shape[dim] {
                break;
            }
            at -= tensor.shape[dim] * strides[dim];
            index[dim] = 0;
        }
    }
    out
}
