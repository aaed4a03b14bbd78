//! A model's parameter: a matrix or vector, as stored in a checkpoint or as f32 that training changes.

use puna_kernels::matmul::{Matrix, f32_bytes};

use crate::{Bytes, DType};

/// Which parameter of a model this is: its place in the model's list of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// Where the elements are.
#[derive(Clone, Debug)]
enum Storage {
    /// In the checkpoint's own bytes, usually a memory map.
    Stored(DType, Bytes),
    /// In memory of our own, as f32.
    Owned(Vec<f32>),
}

/// A parameter `[rows, cols]`; a vector is one row.
#[derive(Clone, Debug)]
pub struct Weight {
    id: ParamId,
    rows: usize,
    cols: usize,
    storage: Storage,
}

impl Weight {
    /// A matrix in its stored form, or `None` unless the type decodes to f32 and `bytes` are exactly its rows.
    pub fn stored(id: ParamId, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Option<Weight> {
        let expected = dtype.bytes_of(cols)?.checked_mul(rows)?;
        let fits = dtype.is_weight() && expected == bytes.len();
        fits.then_some(Weight { id, rows, cols, storage: Storage::Stored(dtype, bytes) })
    }

    /// A matrix of our own.
    ///
    /// # Panics
    /// If `values` are not `rows * cols`.
    pub fn owned(id: ParamId, rows: usize, cols: usize, values: Vec<f32>) -> Weight {
        assert_eq!(values.len(), rows * cols);
        Weight { id, rows, cols, storage: Storage::Owned(values) }
    }

    /// Its place in the model.
    pub fn id(&self) -> ParamId {
        self.id
    }

    /// Outputs of a linear layer, entries of a vocabulary; 1 for a vector.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of a linear layer; the length of a vector.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type its elements are stored in.
    pub fn dtype(&self) -> DType {
        match &self.storage {
            Storage::Stored(dtype, _) => *dtype,
            Storage::Owned(_) => DType::F32,
        }
    }

    /// Its bytes, as stored.
    pub fn bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Stored(_, bytes) => bytes,
            Storage::Owned(values) => f32_bytes(values),
        }
    }

    /// The matrix, for the kernels.
    pub fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.dtype(), self.rows, self.cols, self.bytes())
    }

    /// All elements as f32. For vectors and for export; matrices of a running model stay as they are stored.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        for (row, out) in values.chunks_exact_mut(self.cols).enumerate() {
            self.matrix().decode_row(puna_kernels::Isa::best(), row, out);
        }
        values
    }

    /// Decodes the weight to f32 of our own, so that training may change it.
    pub fn make_trainable(&mut self) {
        if let Storage::Stored(..) = self.storage {
            self.storage = Storage::Owned(self.to_f32());
        }
    }

    /// The elements, if they are ours to change.
    pub fn values_mut(&mut self) -> Option<&mut [f32]> {
        match &mut self.storage {
            Storage::Stored(..) => None,
            Storage::Owned(values) => Some(values),
        }
    }

    /// The elements, if they are f32 of our own.
    pub fn values(&self) -> Option<&[f32]> {
        match &self.storage {
            Storage::Stored(..) => None,
            Storage::Owned(values) => Some(values),
        }
    }
}
