//! Matrix products with a weight matrix of any stored type.
//!
//! Weights stay as stored: a task unpacks a panel of rows in cache, multiplies it with all the activations and forgets
//! it. [`matmul_nt`] is the forward product y = x Wᵀ, of floats (`float.rs`) or of whole numbers (`int8.rs`);
//! [`matmul_nn`] (`nn.rs`) its gradient by x (dx = dy W) and, over activations, by W (dW = dyᵀ x). Every output is
//! summed over the shared dimension in an order of its own, so a row's result does not depend on the rows beside it.

use std::ops::Range;

use crate::cpu::{Cpu, SharedMut};
use crate::elementwise::add_part;
use crate::isa::Isa;
use crate::swiglu::swiglu_part;
use crate::{DType, pool::Scratch, quant};

mod float;
mod int8;
mod nn;
pub(crate) mod pack;
pub mod repack;
pub(crate) mod tile;

pub use nn::{Left, matmul_nn};
use pack::{FEW_ROWS, Input, Inputs, TILE_ROWS};
use repack::Repacked;
use tile::RowsMut;

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
        assert!(dtype.is_weight(), "{dtype} is no weight type");
        let row_bytes = dtype.bytes_of(cols).expect("rows are whole blocks");
        assert_eq!(row_bytes.checked_mul(rows), Some(bytes.len()), "{rows} x {cols} {dtype}");
        Matrix { dtype, rows, cols, row_len: cols, first: 0, bytes, repacked: None, row_scales: None }
    }

    /// The matrix whose row r is `scales[r]` times what is stored. Only of F8_E4M3, whose products know of it.
    ///
    /// # Panics
    /// If it is of another type, or has other rows.
    pub fn with_row_scales(self, scales: &'a [f32]) -> Matrix<'a> {
        assert!(self.dtype == DType::F8_E4M3 && scales.len() == self.rows);
        Matrix { row_scales: Some(scales), ..self }
    }

    /// Its columns `cols`, for [`matmul_nn`] and decoding.
    ///
    /// # Panics
    /// If it has no such columns, or they are no whole blocks.
    pub fn columns(self, cols: Range<usize>) -> Matrix<'a> {
        assert!(cols.start <= cols.end && cols.end <= self.cols && self.repacked.is_none());
        assert!([cols.start, cols.end].into_iter().all(|end| self.dtype.bytes_of(end).is_some()));
        Matrix { first: self.first + cols.start, cols: cols.len(), ..self }
    }

    /// Whether its rows are stored without others' columns between them.
    fn is_whole(&self) -> bool {
        self.row_len == self.cols
    }

    /// The same matrix, read from a copy of it where products can.
    ///
    /// # Panics
    /// If it is no copy of a matrix of this size.
    pub fn with(self, copy: &'a Repacked) -> Matrix<'a> {
        assert!(self.is_whole());
        assert_eq!(copy.bytes().len(), self.rows.next_multiple_of(repack::ROWS) * self.row_bytes());
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

    /// Its bytes, sixteen rows side by side, if there are such.
    pub(crate) fn repacked(&self) -> Option<&'a [u8]> {
        self.repacked.map(Repacked::bytes)
    }

    /// The factor of each row, if they have any.
    pub(crate) fn row_scales(&self) -> Option<&'a [f32]> {
        self.row_scales
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

/// How activations enter a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// As f32: exact up to the rounding of sums.
    F32,
    /// Rounded to eight bits, some elements sharing a scale, where the weights are small codes; as f32 elsewhere. Three
    /// to five times as fast, with an error like that of weights in Q8_0.
    Int8,
}

impl Activations {
    /// How many activations share a scale in products with a weight type; `None` where they are f32.
    pub(crate) fn group(self, dtype: DType) -> Option<usize> {
        match self {
            Activations::F32 => None,
            Activations::Int8 => int8::group_of(dtype),
        }
    }
}

/// `outs[i] = x weights[i]ᵀ`: `x` is `[m, k]`, `weights[i]` `[n_i, k]`, `outs[i]` `[m, n_i]`, row-major f32.
///
/// Several matrices that share an input cost one parallel region.
///
/// # Panics
/// If the sizes disagree.
pub fn matmul_nt(
    cpu: &Cpu,
    x: &[f32],
    k: usize,
    activations: Activations,
    weights: &[Matrix],
    outs: &mut [&mut [f32]],
) {
    assert_eq!(weights.len(), outs.len());
    let Some(products) = Products::new(cpu, x, k, activations, weights) else { return };
    let m = x.len() / k;
    for (weight, out) in weights.iter().zip(outs.iter()) {
        assert_eq!(Some(out.len()), m.checked_mul(weight.rows));
    }
    let tasks = tasks(cpu, m, weights, activations);
    let shared: Vec<_> = outs.iter_mut().map(|out| SharedMut::new(out)).collect();
    cpu.pool.run(tasks.len(), |task, scratch| {
        let Task { weight: i, m, rows } = tasks[task].clone();
        let weight = &weights[i];
        // SAFETY: each task writes its own rows and columns of output `i`.
        unsafe {
            let start = shared[i].ptr(m.start * weight.rows + rows.start);
            products.put(weight, m, rows, RowsMut { start, stride: weight.rows }, scratch);
        }
    });
}

/// `out = silu(x gateᵀ) ∘ (x upᵀ)`: `x` is `[m, k]`, `gate` and `up` `[n, k]`, `out` `[m, n]`; with the bits of
/// [`matmul_nt`] and [`swiglu`](crate::swiglu::swiglu), whose values in between never leave the cache.
///
/// # Panics
/// If the sizes disagree.
pub fn matmul_nt_swiglu(
    cpu: &Cpu,
    x: &[f32],
    k: usize,
    activations: Activations,
    [gate, up]: [Matrix; 2],
    out: &mut [f32],
) {
    let Some(products) = Products::new(cpu, x, k, activations, &[gate, up]) else { return };
    let (m, n) = (x.len() / k, gate.rows);
    assert!(up.rows == n && Some(out.len()) == m.checked_mul(n));
    let tasks = tasks(cpu, m, &[gate], activations);
    let out = SharedMut::new(out);
    cpu.pool.run(tasks.len(), |task, scratch| {
        let Task { m, rows, .. } = tasks[task].clone();
        let len = m.len() * rows.len();
        scratch.with_buffers([len, len], |[a, b], scratch| {
            for (weight, product) in [(&gate, &mut *a), (&up, &mut *b)] {
                let product = RowsMut { start: product.as_mut_ptr(), stride: rows.len() };
                // SAFETY: the buffer has the rows and columns.
                unsafe { products.put(weight, m.clone(), rows.clone(), product, scratch) };
            }
            let both = a.chunks_exact(rows.len()).zip(b.chunks_exact(rows.len()));
            for (row, (a, b)) in m.clone().zip(both) {
                // SAFETY: each task writes its own rows and columns.
                let z = unsafe { out.range(row * n + rows.start..row * n + rows.end) };
                swiglu_part(cpu.isa, a, b, z);
            }
        });
    });
}

/// `out += x weightᵀ`: `x` is `[m, k]`, `weight` `[n, k]`, `out` `[m, n]`; with the bits of [`matmul_nt`] and an addition.
///
/// # Panics
/// If the sizes disagree.
pub fn matmul_nt_add(
    cpu: &Cpu,
    x: &[f32],
    k: usize,
    activations: Activations,
    weight: Matrix,
    out: &mut [f32],
) {
    let Some(products) = Products::new(cpu, x, k, activations, &[weight]) else { return };
    let (m, n) = (x.len() / k, weight.rows);
    assert_eq!(Some(out.len()), m.checked_mul(n));
    let tasks = tasks(cpu, m, &[weight], activations);
    let out = SharedMut::new(out);
    cpu.pool.run(tasks.len(), |task, scratch| {
        let Task { m, rows, .. } = tasks[task].clone();
        scratch.with_buffers([m.len() * rows.len()], |[y], scratch| {
            let product = RowsMut { start: y.as_mut_ptr(), stride: rows.len() };
            // SAFETY: the buffer has the rows and columns.
            unsafe { products.put(&weight, m.clone(), rows.clone(), product, scratch) };
            for (row, y) in m.clone().zip(y.chunks_exact(rows.len())) {
                // SAFETY: each task writes its own rows and columns.
                let out = unsafe { out.range(row * n + rows.start..row * n + rows.end) };
                add_part(cpu.isa, out, y);
            }
        });
    });
}

/// Activations, ready to be multiplied.
struct Products<'a> {
    isa: Isa,
    x: &'a [f32],
    k: usize,
    inputs: Inputs<'a>,
}

impl<'a> Products<'a> {
    /// `None` if there are no rows of them.
    ///
    /// # Panics
    /// If the weights have other columns.
    fn new(
        cpu: &'a Cpu,
        x: &'a [f32],
        k: usize,
        activations: Activations,
        weights: &[Matrix],
    ) -> Option<Products<'a>> {
        assert!(k > 0 && x.len().is_multiple_of(k));
        assert!(weights.iter().all(|weight| weight.cols == k && weight.is_whole()));
        let dtypes = weights.iter().map(|weight| weight.dtype);
        (!x.is_empty()).then(|| Products {
            isa: cpu.isa,
            x,
            k,
            inputs: Inputs::new(cpu, x, k, activations, dtypes),
        })
    }

    /// Rows `m` of the activations times rows `rows` of a weight.
    ///
    /// # Safety
    /// `out` has those rows and columns, and they are nobody else's.
    unsafe fn put(
        &self,
        weight: &Matrix,
        m: Range<usize>,
        rows: Range<usize>,
        out: RowsMut,
        scratch: &mut Scratch,
    ) {
        let Products { isa, x, k, ref inputs } = *self;
        // SAFETY: the caller's promise.
        unsafe {
            match inputs.of(weight.dtype) {
                Input::Int8(input) => int8::product(isa, input, m, weight, rows, out, scratch),
                Input::F32 { packed } if !isa.is_scalar() => {
                    float::product(isa, packed, m, weight, rows, out, scratch)
                }
                Input::F32 { .. } => scalar_nt(&x[m.start * k..m.end * k], weight, rows, out, scratch),
            }
        }
    }
}

/// A part of one product.
#[derive(Clone)]
struct Task {
    weight: usize,
    m: Range<usize>,
    rows: Range<usize>,
}

/// Parts enough to balance the threads, each with enough work to be worth claiming; whole tiles by whole panels.
fn tasks(cpu: &Cpu, m: usize, weights: &[Matrix], activations: Activations) -> Vec<Task> {
    // Of a few rows of activations, the bytes of weights worth claiming.
    const WEIGHT_BYTES: usize = 64 * 1024;
    // Of many, the most rows of weights, and how many parts a thread should have.
    const ROWS: usize = 128;
    const PARTS: usize = 6;
    // Of a part, a chunk of its activations stays in the second-level cache, and so do its sums.
    const CACHE: usize = 1 << 20;
    let n_threads = cpu.pool.n_threads();
    let n_rows: usize = weights.iter().map(|weight| weight.rows).sum();
    let mut tasks = Vec::new();
    for (i, weight) in weights.iter().enumerate() {
        let (element, chunk, panel_rows) = match activations.group(weight.dtype) {
            Some(_) => (1, int8::K_CHUNK, int8::panel_rows(cpu.isa)),
            None => (4, float::K_CHUNK, float::panel_rows(cpu.isa, m)),
        };
        let most = (CACHE / (element * weight.cols.min(chunk))).clamp(TILE_ROWS, 512);
        // A little more is better than unpacking all weights once more.
        let m_parts = if m <= FEW_ROWS { 1 } else { ((m + most / 2) / most).max(1) };
        let task_m = m.div_ceil(m_parts).next_multiple_of(TILE_ROWS);
        let worthwhile = WEIGHT_BYTES / weight.row_bytes().max(1);
        let task_rows = match m {
            0..16 => worthwhile.max(1),
            _ => (n_rows * m_parts / (PARTS * n_threads)).clamp(1, ROWS),
        };
        let task_rows = task_rows.next_multiple_of(panel_rows);
        for first in (0..m).step_by(task_m) {
            tasks.extend((0..weight.rows).step_by(task_rows).map(|start| Task {
                weight: i,
                m: first..(first + task_m).min(m),
                rows: start..(start + task_rows).min(weight.rows),
            }));
        }
    }
    tasks
}

/// The definition: each output is one sum in the order of k.
///
/// # Safety
/// `out` points at the task's own columns.
unsafe fn scalar_nt(x: &[f32], weight: &Matrix, rows: Range<usize>, out: RowsMut, scratch: &mut Scratch) {
    let [row] = scratch.buffers([weight.cols]);
    for (j, r) in rows.enumerate() {
        weight.decode_row(Isa::SCALAR, r, row);
        for (i, x) in x.chunks_exact(weight.cols).enumerate() {
            let dot = x.iter().zip(&*row).map(|(a, b)| a * b).sum();
            // SAFETY: the caller's promise.
            unsafe { *out.start.add(i * out.stride + j) = dot };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elementwise::add_assign;
    use crate::swiglu::swiglu;
    use crate::test_data::{assert_close, random};

    fn encoded(dtype: DType, rows: usize, cols: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; dtype.bytes_of(rows * cols).unwrap()];
        quant::encode(dtype, &random(rows * cols, seed), &mut bytes);
        bytes
    }

    /// Every type, instruction set and thread count against the scalar definition, for sizes that reach every tail.
    #[test]
    fn products_equal_the_definition() {
        let scalar = Cpu::new(Isa::SCALAR, 1);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
                for (m, n, cols) in
                    [(1, 9, 1), (2, 70, 2), (7, 13, 1), (70, 67, 5), (13, 130, 9), (780, 70, 1)]
                {
                    let k = if dtype.block_len() == 1 { cols * 131 } else { cols * dtype.block_len() };
                    let bytes = encoded(dtype, n, k, 3);
                    let weight = Matrix::new(dtype, n, k, &bytes);
                    let x = random(m * k, 4);
                    let (mut want, mut got) = (vec![0.0; m * n], vec![1.0; m * n]);
                    matmul_nt(&scalar, &x, k, Activations::F32, &[weight], &mut [&mut want]);
                    matmul_nt(&cpu, &x, k, Activations::F32, &[weight], &mut [&mut got]);
                    // |x|, |w| <= 1: the rounding of a sum of k products.
                    assert_close(&got, &want, k as f32 * f32::EPSILON, &format!("nt {dtype} {}", isa.name()));

                    let dy = random(m * n, 5);
                    let (mut want, mut got) = (random(m * k, 6), random(m * k, 6));
                    matmul_nn(&scalar, Left::new(m, n, &dy), weight, &mut want, true);
                    matmul_nn(&cpu, Left::new(m, n, &dy), weight, &mut got, true);
                    assert_close(
                        &got,
                        &want,
                        2.0 * n as f32 * f32::EPSILON,
                        &format!("nn {dtype} {}", isa.name()),
                    );
                }
            }
        }
    }

    /// Every size of both tiles and every tail of the shared dimension.
    #[test]
    fn tiles_of_every_size_equal_the_definition() {
        let scalar = Cpu::new(Isa::SCALAR, 1);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 1);
            for (m, n) in (1..=8).flat_map(|m| (1..=9).map(move |n| (m, n))) {
                for k in 1..=3 * isa.f32_lanes() + 1 {
                    let (x, w, dy) = (random(m * k, 1), random(n * k, 2), random(m * n, 3));
                    let weight = Matrix::from_f32(n, k, &w);
                    let what = format!("{} {m} x {n} x {k}", isa.name());
                    let (mut want, mut got) = (vec![0.0; m * n], vec![1.0; m * n]);
                    matmul_nt(&scalar, &x, k, Activations::F32, &[weight], &mut [&mut want]);
                    matmul_nt(&cpu, &x, k, Activations::F32, &[weight], &mut [&mut got]);
                    assert_close(&got, &want, k as f32 * f32::EPSILON, &what);
                    let (mut want, mut got) = (vec![0.0; m * k], vec![1.0; m * k]);
                    matmul_nn(&scalar, Left::new(m, n, &dy), weight, &mut want, false);
                    matmul_nn(&cpu, Left::new(m, n, &dy), weight, &mut got, false);
                    assert_close(&got, &want, n as f32 * f32::EPSILON, &what);
                }
            }
        }
    }

    #[test]
    fn the_transposed_left_side_gives_the_weight_gradient() {
        let (m, n, k) = (37, 19, 83);
        let (dy, x) = (random(m * n, 1), random(m * k, 2));
        let mut want = vec![0.0; n * k];
        for i in 0..m {
            for r in 0..n {
                for c in 0..k {
                    want[r * k + c] += dy[i * n + r] * x[i * k + c];
                }
            }
        }
        for isa in Isa::available() {
            let mut got = vec![7.0; n * k];
            let left = Left::transposed(m, n, &dy);
            matmul_nn(&Cpu::new(isa, 2), left, Matrix::from_f32(m, k, &x), &mut got, false);
            assert_close(&got, &want, 2.0 * m as f32 * f32::EPSILON, isa.name());
        }
    }

    /// Whole-number products against their definition in f64: the rounded activations times the decoded weights.
    #[test]
    fn whole_number_products_equal_the_definition() {
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
                let Some(group) = Activations::Int8.group(dtype) else { continue };
                for (m, n, cols) in
                    [(1, 1, 1), (2, 70, 2), (7, 33, 3), (13, 64, 9), (5, 16, 17), (800, 40, 1)]
                {
                    let k = cols * dtype.block_len();
                    let bytes = encoded(dtype, n, k, 3);
                    let weight = Matrix::new(dtype, n, k, &bytes);
                    let x = random(m * k, 4);
                    let mut got = vec![7.0; m * n];
                    matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut got]);
                    let rounded: Vec<f64> = x
                        .chunks_exact(group)
                        .flat_map(|x| {
                            let largest = x.iter().fold(0f32, |max, x| max.max(x.abs()));
                            let (scale, inverse) = (largest / 127.0, 127.0 / largest);
                            x.iter().map(move |x| (x * inverse).round() as f64 * scale as f64)
                        })
                        .collect();
                    let mut row = vec![0.0; k];
                    for j in 0..n {
                        weight.decode_row(Isa::SCALAR, j, &mut row);
                        for i in 0..m {
                            let x = &rounded[i * k..][..k];
                            let want: f64 = x.iter().zip(&row).map(|(x, &w)| x * w as f64).sum();
                            let size: f64 = x.iter().zip(&row).map(|(x, &w)| (x * w as f64).abs()).sum();
                            // Sub-blocks and groups are added in f32, minima apart from the rest, which may be larger.
                            let bound = (k as f64 / 16.0 + 8.0) * f32::EPSILON as f64 * (4.0 * size + 1e-30);
                            let difference = (got[i * n + j] as f64 - want).abs();
                            assert!(
                                difference <= bound,
                                "{dtype} {} {m} x {n} x {k}: {difference}, {bound}",
                                isa.name()
                            );
                        }
                    }
                }
            }
        }
    }

    /// Rounding activations leaves an error like that of rounding weights to Q8_0, and a value that is no number shows.
    #[test]
    fn whole_number_products_are_near_the_exact_ones() {
        let (m, n, k) = (3, 20, 512);
        let cpu = Cpu::new(Isa::best(), 1);
        for dtype in [DType::Q8_0, DType::Q4_K, DType::Q6_K] {
            let bytes = encoded(dtype, n, k, 1);
            let weight = Matrix::new(dtype, n, k, &bytes);
            let mut x = random(m * k, 2);
            let (mut exact, mut rounded) = (vec![0.0; m * n], vec![0.0; m * n]);
            matmul_nt(&cpu, &x, k, Activations::F32, &[weight], &mut [&mut exact]);
            matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut rounded]);
            // Each activation is off by at most 1/254, each weight at most 1 or so; errors are independent.
            assert_close(&rounded, &exact, 4.0 * (k as f32).sqrt() / 254.0, dtype.name());
            assert_ne!(rounded, exact);
            x[k] = f32::NAN;
            x[2 * k] = f32::INFINITY;
            matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut rounded]);
            assert!(rounded[..n].iter().all(|y| y.is_finite()) && rounded[n..].iter().all(|y| y.is_nan()));
            x.fill(0.0);
            x[0] = 1e-38;
            matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut rounded]);
            assert!(rounded.iter().all(|&y| y == 0.0));
        }
    }

    /// A row's bits do not depend on the rows multiplied with it, on the number of threads, nor on whether weights were
    /// repacked. 27 and 29 rows have tiles of every size; up to eight go another way.
    #[test]
    fn a_batch_gives_the_bits_of_its_members() {
        let (n, k) = (70, 1024 + 256);
        for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
            let bytes = encoded(dtype, n, k, 1);
            let weight = Matrix::new(dtype, n, k, &bytes);
            for (isa, activations) in Isa::available()
                .into_iter()
                .flat_map(|isa| [(isa, Activations::F32), (isa, Activations::Int8)])
            {
                let x = random(29 * k, 2);
                let three = Cpu::new(isa, 3).with(activations).with_repack_bytes(usize::MAX);
                let (alone, mut want) = (Cpu::new(isa, 1), vec![0.0; 29 * n]);
                for (x, want) in x.chunks_exact(k).zip(want.chunks_exact_mut(n)) {
                    matmul_nt(&alone, x, k, activations, &[weight], &mut [want]);
                }
                let copy = Repacked::new(&three, &weight, |_| ());
                let coded = dtype.block_len() > 1;
                let has_copies = !matches!(dtype, DType::MXFP4 | DType::Q8_Z);
                let can = if coded { activations == Activations::Int8 && has_copies } else { true };
                assert_eq!(copy.is_some(), can, "{dtype} {activations:?}");
                if let Some(copy) = &copy {
                    // A copy for other activations is left alone.
                    let (mut with, mut without) = (vec![7.0; 3 * n], vec![7.0; 3 * n]);
                    let x = &x[..3 * k];
                    matmul_nt(&three, x, k, Activations::F32, &[weight], &mut [&mut without]);
                    matmul_nt(&three, x, k, Activations::F32, &[weight.with(copy)], &mut [&mut with]);
                    assert!(with == without, "{dtype} {}", isa.name());
                }
                for weight in
                    [Some(weight), copy.as_ref().map(|copy| weight.with(copy))].into_iter().flatten()
                {
                    for m in [1, 2, 3, 4, 5, 6, 7, 8, 9, 27, 29] {
                        let mut all = vec![7.0; m * n];
                        matmul_nt(&three, &x[..m * k], k, activations, &[weight], &mut [&mut all]);
                        let repacked = weight.repacked().is_some();
                        let what = format!("{dtype} {} {activations:?} {m} {repacked}", isa.name());
                        assert!(all == want[..m * n], "{what}");
                    }
                }
            }
        }
    }

    /// Rows of FP8 with a factor each, against sums in f64 of the values they stand for: whole and partial panels, repacked
    /// or not, alone, added and gated, and the gradient. The same bits in every batch.
    #[test]
    fn fp8_products_equal_the_definition() {
        let dtype = DType::F8_E4M3;
        for (n, k) in [(1, 1), (16, 32), (70, 33), (33, 600), (96, 1280)] {
            let values: Vec<f32> = random(n * k, 1).iter().map(|x| 448.0 * x).collect();
            let mut bytes = vec![0; n * k];
            quant::encode(dtype, &values, &mut bytes);
            // Subnormal codes too.
            bytes.iter_mut().step_by(7).for_each(|code| *code &= 0x87);
            let scales: Vec<f32> = random(n, 2).iter().map(|x| x / 300.0).collect();
            let weight = Matrix::new(dtype, n, k, &bytes).with_row_scales(&scales);
            let x = random(29 * k, 3);
            let value =
                |r: usize, c: usize| quant::f8_e4m3::e4m3_to_f32(bytes[r * k + c]) as f64 * scales[r] as f64;
            let want: Vec<f64> = (0..29 * n)
                .map(|i| (0..k).map(|c| x[i / n * k + c] as f64 * value(i % n, c)).sum())
                .collect();
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 3).with_repack_bytes(usize::MAX);
                let copy = Repacked::new(&cpu, &weight, |_| ());
                assert_eq!(copy.is_some(), k % 4 == 0);
                let product = |weight, m: usize| {
                    let mut y = vec![7.0; m * n];
                    matmul_nt(&cpu, &x[..m * k], k, Activations::Int8, &[weight], &mut [&mut y]);
                    y
                };
                let all = product(weight, 29);
                for (got, want) in all.iter().zip(&want) {
                    // |x| <= 1, |w| <= 1.5.
                    let bound = 1.5 * k as f64 * f32::EPSILON as f64;
                    assert!((*got as f64 - want).abs() <= bound, "{n} x {k} {}: {got}, {want}", isa.name());
                }
                for m in [1, 2, 7, 8, 9, 29] {
                    assert!(product(weight, m) == all[..m * n], "{n} x {k} {m} {}", isa.name());
                    if let Some(copy) = &copy {
                        assert!(product(weight.with(copy), m) == all[..m * n], "{m} {}", isa.name());
                    }
                }
                let (mut sum, mut want_sum) = (vec![1.0; 3 * n], vec![1.0; 3 * n]);
                matmul_nt_add(&cpu, &x[..3 * k], k, Activations::Int8, weight, &mut sum);
                add_assign(&cpu, &mut want_sum, &all[..3 * n]);
                let (mut gated, mut want_gated) = (vec![1.0; 3 * n], vec![1.0; 3 * n]);
                matmul_nt_swiglu(&cpu, &x[..3 * k], k, Activations::Int8, [weight, weight], &mut gated);
                swiglu(&cpu, &all[..3 * n], &all[..3 * n], &mut want_gated);
                assert!(sum == want_sum && gated == want_gated, "{n} x {k} {}", isa.name());
                let dy = random(5 * n, 4);
                let mut dx = vec![7.0; 5 * k];
                matmul_nn(&cpu, Left::new(5, n, &dy), weight, &mut dx, false);
                for (i, got) in dx.iter().enumerate() {
                    let want: f64 = (0..n).map(|r| dy[i / k * n + r] as f64 * value(r, i % k)).sum();
                    let bound = 1.5 * (n + 1) as f64 * f32::EPSILON as f64;
                    assert!((*got as f64 - want).abs() <= bound, "{n} x {k} {}: {got}, {want}", isa.name());
                }
            }
        }
    }

    /// A code that is no number makes its row's outputs none, and nobody else's, on every way through a product.
    #[test]
    fn fp8_nan_reaches_the_product() {
        let (n, k) = (35, 68);
        for (row, col, code) in [(0, 0, 0x7f), (17, 33, 0xff), (34, 67, 0x7f), (31, 66, 0xff)] {
            let mut bytes = vec![0x38; n * k];
            bytes[row * k + col] = code;
            let scales = vec![0.5; n];
            let weight = Matrix::new(DType::F8_E4M3, n, k, &bytes).with_row_scales(&scales);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 1).with_repack_bytes(usize::MAX);
                let copy = Repacked::new(&cpu, &weight, |_| ()).unwrap();
                for weight in [weight, weight.with(&copy)] {
                    for m in [1, 9] {
                        let (x, mut y) = (vec![1.0; m * k], vec![7.0; m * n]);
                        matmul_nt(&cpu, &x, k, Activations::F32, &[weight], &mut [&mut y]);
                        let fits = |(i, y): (usize, &f32)| if i % n == row { y.is_nan() } else { *y == 34.0 };
                        assert!(y.iter().enumerate().all(fits), "{row} {col} {m} {}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn several_matrices_share_one_input() {
        let (m, k) = (3, 40);
        let (x, w1, w2) = (random(m * k, 1), random(5 * k, 2), random(11 * k, 3));
        let cpu = Cpu::new(Isa::best(), 2);
        let (w1, w2) = (Matrix::from_f32(5, k, &w1), Matrix::from_f32(11, k, &w2));
        let (mut a, mut b, mut c) = (vec![0.0; m * 5], vec![0.0; m * 11], vec![0.0; m * 11]);
        matmul_nt(&cpu, &x, k, Activations::F32, &[w1, w2], &mut [&mut a, &mut b]);
        matmul_nt(&cpu, &x, k, Activations::F32, &[w2], &mut [&mut c]);
        assert_eq!(b, c);
    }

    /// Products that go on to SwiGLU or a sum have the bits of the steps one by one.
    #[test]
    fn joined_products_have_the_bits_of_their_steps() {
        let (n, k) = (70, 256);
        let dtypes = [DType::F32, DType::BF16, DType::Q8_0, DType::Q4_K, DType::Q6_K];
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            for (a, b) in dtypes.into_iter().flat_map(|a| dtypes.map(|b| (a, b))) {
                let (gate, up) = (encoded(a, n, k, 1), encoded(b, n, k, 2));
                let (gate, up) = (Matrix::new(a, n, k, &gate), Matrix::new(b, n, k, &up));
                for (m, activations) in [1, 5, 8, 9, 780]
                    .into_iter()
                    .flat_map(|m| [(m, Activations::F32), (m, Activations::Int8)])
                {
                    let (x, before) = (random(m * k, 3), random(m * n, 4));
                    let (mut g, mut u, mut want) = (vec![0.0; m * n], vec![0.0; m * n], vec![0.0; m * n]);
                    matmul_nt(&cpu, &x, k, activations, &[gate, up], &mut [&mut g, &mut u]);
                    swiglu(&cpu, &g, &u, &mut want);
                    let mut got = vec![7.0; m * n];
                    matmul_nt_swiglu(&cpu, &x, k, activations, [gate, up], &mut got);
                    assert!(got == want, "{a} {b} {m} {activations:?} {}", isa.name());
                    let (mut want, mut got) = (before.clone(), before);
                    add_assign(&cpu, &mut want, &g);
                    matmul_nt_add(&cpu, &x, k, activations, gate, &mut got);
                    assert!(got == want, "{a} {m} {activations:?} {}", isa.name());
                }
            }
        }
    }

    /// A product of sizes that wraps to zero must not pass for an empty matrix.
    #[test]
    #[should_panic]
    fn sizes_that_overflow_are_refused() {
        Left::new(1 << (usize::BITS - 1), 2, &[]);
    }
}
