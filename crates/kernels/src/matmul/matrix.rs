//! A matrix of weights in one of its stored forms.

use std::ops::Range;

use memmap2::MmapMut;

use crate::isa::Isa;
use crate::quant::coded::Coded;
use crate::quant::{ForCoded, for_copies};
use crate::{DType, quant};

/// A matrix of weights as stored: `rows` rows of `cols` elements.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    /// Elements of a stored row, and how many of them come before the first column.
    row_len: usize,
    first: usize,
    bytes: &'a [u8],
    repacked: Option<&'a Repacked>,
    /// A factor for each row.
    row_scales: Option<&'a [f32]>,
}

impl<'a> Matrix<'a> {
    /// # Panics
    /// If `bytes` is not exactly `rows` whole rows of `cols` elements of a type that decodes to f32.
    pub fn new(dtype: DType, rows: usize, cols: usize, bytes: &'a [u8]) -> Matrix<'a> {
        assert!(dtype.is_weight(), "{dtype} is not a weight type");
        let row_bytes = dtype.bytes_of(cols).expect("rows are whole blocks");
        assert_eq!(row_bytes.checked_mul(rows), Some(bytes.len()), "{rows} x {cols} {dtype}");
        Matrix { dtype, rows, cols, row_len: cols, first: 0, bytes, repacked: None, row_scales: None }
    }

    /// The matrix whose row r is `scales[r]` times what is stored. For F8_E4M3 and codes, whose products
    /// apply the factors.
    ///
    /// # Panics
    /// If it is of another type, or has other rows.
    pub fn with_row_scales(self, scales: &'a [f32]) -> Matrix<'a> {
        assert!(self.dtype.has_row_scales() && scales.len() == self.rows);
        Matrix { row_scales: Some(scales), ..self }
    }

    /// Its columns `cols`, for [`matmul_nn`](super::matmul_nn) and decoding.
    ///
    /// # Panics
    /// If it has no such columns, or they are not whole blocks.
    pub fn columns(self, cols: Range<usize>) -> Matrix<'a> {
        assert!(cols.start <= cols.end && cols.end <= self.cols && self.repacked.is_none());
        assert!([cols.start, cols.end].into_iter().all(|end| self.dtype.bytes_of(end).is_some()));
        Matrix { first: self.first + cols.start, cols: cols.len(), ..self }
    }

    /// Whether its rows are stored without others' columns between them.
    pub(crate) fn is_whole(&self) -> bool {
        self.row_len == self.cols
    }

    /// The same matrix, which products read from the copy where they can.
    ///
    /// # Panics
    /// If the copy is not one of a matrix of this size.
    pub fn with(self, copy: &'a Repacked) -> Matrix<'a> {
        assert!(self.is_whole());
        assert_eq!(Some(copy.bytes().len()), self.copy_bytes());
        Matrix { repacked: Some(copy), ..self }
    }

    /// A row-major f32 matrix.
    pub fn from_f32(rows: usize, cols: usize, values: &'a [f32]) -> Matrix<'a> {
        Matrix::new(DType::F32, rows, cols, f32_bytes(values))
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How its elements are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its bytes, row after row.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether products read it from a copy.
    pub fn is_repacked(&self) -> bool {
        self.repacked.is_some()
    }

    /// The bytes of its copy, if it has one: sixteen rows side by side.
    pub(crate) fn repacked(&self) -> Option<&'a [u8]> {
        self.repacked.map(Repacked::bytes)
    }

    /// The factor of each row, if they have any.
    pub(crate) fn row_scales(&self) -> Option<&'a [f32]> {
        self.row_scales
    }

    /// Bytes of a row of a copy: of a stored one, unless copies of the type have another format.
    pub(super) fn copy_row_bytes(&self) -> usize {
        struct RowBytes(usize);
        impl ForCoded for RowBytes {
            type Output = usize;
            fn run<T: Coded>(self) -> usize {
                self.0 / T::LEN * T::BYTES
            }
        }
        for_copies(self.dtype, RowBytes(self.cols)).unwrap_or(self.row_bytes())
    }

    /// Bytes of a copy, or `None` if they overflow.
    pub(super) fn copy_bytes(&self) -> Option<usize> {
        self.rows.checked_next_multiple_of(Repacked::ROWS)?.checked_mul(self.copy_row_bytes())
    }

    /// Bytes of a stored row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.dtype.bytes_of(self.row_len).expect("rows are whole blocks")
    }

    /// Decodes row `row` into `out`, of `cols` elements.
    pub fn decode_row(&self, isa: Isa, row: usize, out: &mut [f32]) {
        self.decode_part(isa, row, 0, out);
    }

    /// Decodes `out.len()` elements of row `row` from element `start` on; both whole blocks.
    pub(crate) fn decode_part(&self, isa: Isa, row: usize, start: usize, out: &mut [f32]) {
        let bytes_of = |len| self.dtype.bytes_of(len).expect("whole blocks");
        let from = row * self.row_bytes() + bytes_of(self.first + start);
        quant::decode_with(isa, self.dtype, &self.bytes[from..from + bytes_of(out.len())], out);
        if let Some(scales) = self.row_scales {
            out.iter_mut().for_each(|x| *x *= scales[row]);
        }
    }
}

/// The bytes of a slice of floats.
pub fn f32_bytes(values: &[f32]) -> &[u8] {
    // SAFETY: any float is four valid bytes, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// A matrix in the order of products (see `repack.rs`). Memory of its own, not the file's.
#[derive(Debug)]
pub struct Repacked {
    bytes: MmapMut,
}

impl Repacked {
    /// Rows of the panels that are copied whole.
    pub(crate) const ROWS: usize = 32;

    /// The copy that was made in `bytes`.
    pub(super) fn of(bytes: MmapMut) -> Repacked {
        Repacked { bytes }
    }

    /// The blocks, sixteen rows by sixteen rows.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
