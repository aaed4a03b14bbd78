//! Matrix products with a weight matrix of any stored type.
//!
//! Weights stay as they are stored: a task unpacks a panel of rows into the cache, multiplies it with all the
//! activations and forgets it. [`matmul_nt`] is the forward product y = x Wᵀ, in floats (`float`) or in whole
//! numbers (`int8`); [`matmul_nn`] (`nn.rs`) is its gradient by x (dx = dy W) and, over activations, by W (dW
//! = dyᵀ x). Every output is summed over the shared dimension in an order that no other row changes, so a
//! row's result does not depend on the rows beside it.
//!
//! `matrix.rs` says what weights are and `pack.rs` what activations are packed into; `repack.rs` copies
//! weights into the order in which `ahead.rs` reads them fastest; `tile.rs` has the register tiles of
//! gradients.

use std::ops::Range;

use crate::cpu::{Cpu, SharedMut};
use crate::elementwise::add_part;
use crate::isa::Isa;
use crate::pool::Scratch;
use crate::swiglu::swiglu_part;

mod ahead;
mod float;
mod int8;
mod matrix;
mod nn;
mod pack;
mod panel;
mod repack;
pub(crate) mod tile;

pub use matrix::{Matrix, Repacked, f32_bytes};
pub use nn::{Left, matmul_nn};
pub use pack::Activations;
use pack::{FEW_ROWS, Operand, Operands, tile_rows};
use tile::RowPtrMut;

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
        assert_eq!(Some(out.len()), m.checked_mul(weight.rows()));
    }
    let tasks = tasks(cpu, m, weights, activations);
    let shared: Vec<_> = outs.iter_mut().map(|out| SharedMut::new(out)).collect();
    cpu.pool.run(tasks.len(), |task, scratch| {
        let Task { weight: i, m, rows } = tasks[task].clone();
        let weight = &weights[i];
        // SAFETY: each task writes its own rows and columns of output `i`.
        unsafe {
            let start = shared[i].ptr(m.start * weight.rows() + rows.start);
            products.put(weight, m, rows, RowPtrMut { start, stride: weight.rows() }, scratch);
        }
    });
}

/// `out = silu(x gateᵀ) ∘ (x upᵀ)`: `x` is `[m, k]`, `gate` and `up` `[n, k]`, `out` `[m, n]`; with the bits
/// of [`matmul_nt`] and [`swiglu`](crate::swiglu::swiglu), whose values in between never leave the cache.
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
    let (m, n) = (x.len() / k, gate.rows());
    assert!(up.rows() == n && Some(out.len()) == m.checked_mul(n));
    let tasks = tasks(cpu, m, &[gate], activations);
    let out = SharedMut::new(out);
    cpu.pool.run(tasks.len(), |task, scratch| {
        let Task { m, rows, .. } = tasks[task].clone();
        let len = m.len() * rows.len();
        scratch.with_buffers([len, len], |[a, b], scratch| {
            for (weight, product) in [(&gate, &mut *a), (&up, &mut *b)] {
                let product = RowPtrMut { start: product.as_mut_ptr(), stride: rows.len() };
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

/// `out += x weightᵀ`: `x` is `[m, k]`, `weight` `[n, k]`, `out` `[m, n]`; with the bits of [`matmul_nt`] and
/// an addition.
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
    let (m, n) = (x.len() / k, weight.rows());
    assert_eq!(Some(out.len()), m.checked_mul(n));
    let tasks = tasks(cpu, m, &[weight], activations);
    let out = SharedMut::new(out);
    cpu.pool.run(tasks.len(), |task, scratch| {
        let Task { m, rows, .. } = tasks[task].clone();
        scratch.with_buffers([m.len() * rows.len()], |[y], scratch| {
            let product = RowPtrMut { start: y.as_mut_ptr(), stride: rows.len() };
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

/// Activations that are packed for some weights.
struct Products<'a> {
    isa: Isa,
    x: &'a [f32],
    k: usize,
    inputs: Operands<'a>,
}

impl<'a> Products<'a> {
    /// `None` if there are no rows of activations.
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
        assert!(weights.iter().all(|weight| weight.cols() == k && weight.is_whole()));
        let dtypes = weights.iter().map(|weight| weight.dtype());
        (!x.is_empty()).then(|| Products {
            isa: cpu.isa,
            x,
            k,
            inputs: Operands::new(cpu, x, k, activations, dtypes),
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
        out: RowPtrMut,
        scratch: &mut Scratch,
    ) {
        let Products { isa, x, k, ref inputs } = *self;
        // SAFETY: the caller's promise.
        unsafe {
            match inputs.of(weight.dtype()) {
                Operand::Int8(input) => {
                    int8::matmul(isa, input, m.clone(), weight, rows.clone(), out, scratch);
                    put_row_scales(weight, m.len(), rows, out);
                }
                Operand::F32 { packed } if !isa.is_scalar() => {
                    float::matmul(isa, packed, m, weight, rows, out, scratch)
                }
                Operand::F32 { .. } => scalar_nt(&x[m.start * k..m.end * k], weight, rows, out, scratch),
            }
        }
    }
}

/// Multiplies products with rows `rows` of `weight` by the factors of these, if they have any.
///
/// # Safety
/// `out` has `m` rows and a column for each weight row, which are nobody else's.
unsafe fn put_row_scales(weight: &Matrix, m: usize, rows: Range<usize>, out: RowPtrMut) {
    let Some(scales) = weight.row_scales() else { return };
    for i in 0..m {
        // SAFETY: the caller's promise.
        let y = unsafe { std::slice::from_raw_parts_mut(out.start.add(i * out.stride), rows.len()) };
        y.iter_mut().zip(&scales[rows.clone()]).for_each(|(y, scale)| *y *= scale);
    }
}

/// A part of the work: some rows of activations times some rows of one weight.
#[derive(Clone)]
struct Task {
    weight: usize,
    m: Range<usize>,
    rows: Range<usize>,
}

/// Enough parts to balance the threads, each with enough work to be worth claiming: whole tiles times whole
/// panels.
fn tasks(cpu: &Cpu, m: usize, weights: &[Matrix], activations: Activations) -> Vec<Task> {
    // With a few rows of activations, the bytes of weights that are worth claiming.
    const WEIGHT_BYTES: usize = 64 * 1024;
    // With many, the most rows of weights of a part, and how many parts a thread should have.
    const ROWS: usize = 128;
    const PARTS: usize = 6;
    // A chunk of a part's activations stays in the second-level cache, and so do its sums.
    const CACHE: usize = 1 << 20;
    let n_threads = cpu.pool.n_threads();
    let n_rows: usize = weights.iter().map(|weight| weight.rows()).sum();
    let mut tasks = Vec::new();
    for (i, weight) in weights.iter().enumerate() {
        let tile_rows = tile_rows(cpu.isa);
        let (element, chunk, panel_rows) = match activations.group(weight.dtype()) {
            Some(_) => (1, int8::K_CHUNK, int8::panel_rows(cpu.isa)),
            None => (4, float::K_CHUNK, float::panel_rows(cpu.isa, m)),
        };
        let most = (CACHE / (element * weight.cols().min(chunk))).clamp(tile_rows, 512);
        // A part may be a little larger: that is better than unpacking all weights once more.
        let m_parts = if m <= FEW_ROWS { 1 } else { ((m + most / 2) / most).max(1) };
        let task_m = m.div_ceil(m_parts).next_multiple_of(tile_rows);
        let worthwhile = WEIGHT_BYTES / weight.row_bytes().max(1);
        let task_rows = match m {
            0..16 => worthwhile.max(1),
            _ => (n_rows * m_parts / (PARTS * n_threads)).clamp(1, ROWS),
        };
        let task_rows = task_rows.next_multiple_of(panel_rows);
        for first in (0..m).step_by(task_m) {
            tasks.extend((0..weight.rows()).step_by(task_rows).map(|start| Task {
                weight: i,
                m: first..(first + task_m).min(m),
                rows: start..(start + task_rows).min(weight.rows()),
            }));
        }
    }
    tasks
}

/// The definition: each output is one sum in the order of k.
///
/// # Safety
/// `out` points at the task's own columns.
unsafe fn scalar_nt(x: &[f32], weight: &Matrix, rows: Range<usize>, out: RowPtrMut, scratch: &mut Scratch) {
    let [row] = scratch.buffers([weight.cols()]);
    for (j, r) in rows.enumerate() {
        weight.decode_row(Isa::SCALAR, r, row);
        for (i, x) in x.chunks_exact(weight.cols()).enumerate() {
            let dot = x.iter().zip(&*row).map(|(a, b)| a * b).sum();
            // SAFETY: the caller's promise.
            unsafe { *out.start.add(i * out.stride + j) = dot };
        }
    }
}
