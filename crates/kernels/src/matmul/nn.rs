//! Matrix products c = a b, where `b` is a stored weight.
//!
//! They are the gradient of a linear layer, and its forward pass where the weight is stored column after
//! column. A task takes some columns of `b`. For many rows of `a` it packs panels of them, for few it reads
//! rows as they lie; both sum in the same order.

use std::ops::Range;

use super::matrix::Matrix;
use super::tile::{RowPtr, RowPtrMut, Strided, outer_block};
use crate::cpu::{Cpu, SharedMut};
use crate::elementwise::add_part;
use crate::isa::{Isa, Kernel};
use crate::pool::Scratch;
use crate::simd::{Simd, vectors};

/// Columns of the packed panels of [`matmul_nn`]: four vectors of 16.
const GROUP: usize = 64;

/// The left side of [`matmul_nn`]: element `(i, p)` of `[m, k]` lies at `i * row_stride + p * col_stride`.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Left<'a> {
    /// A row-major `[rows, cols]` matrix.
    pub fn new(rows: usize, cols: usize, values: &'a [f32]) -> Left<'a> {
        assert_eq!(rows.checked_mul(cols), Some(values.len()));
        Left { values, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// `n` rows from `first` on.
    fn rows_from(self, first: usize, n: usize) -> Left<'a> {
        assert!(first + n <= self.rows);
        Left { values: &self.values[first * self.row_stride..], rows: n, ..self }
    }

    /// The transpose of a row-major `[rows, cols]` matrix.
    pub fn transposed(rows: usize, cols: usize, values: &'a [f32]) -> Left<'a> {
        assert_eq!(rows.checked_mul(cols), Some(values.len()));
        Left { values, rows: cols, cols: rows, row_stride: 1, col_stride: cols }
    }
}

/// `c (+)= a b`: `a` is `[m, k]`, `b` `[k, n]` of any type, `c` `[m, n]` row-major; added to `c` if `add`.
///
/// # Panics
/// If the sizes disagree.
pub fn matmul_nn(cpu: &Cpu, a: Left, b: Matrix, c: &mut [f32], add: bool) {
    let (m, n, k) = (a.rows, b.cols(), a.cols);
    assert_eq!(b.rows(), k);
    assert_eq!(Some(c.len()), m.checked_mul(n));
    if !add {
        c.fill(0.0);
    }
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let few = m <= FEW && !cpu.isa.is_scalar();
    let task_cols = match few {
        // Wide parts, because rows of `b` are read as they lie: fewer pages to look up.
        true => n.div_ceil(4 * cpu.pool.n_threads()).max(FEW_COLS),
        false => GROUP,
    };
    let task_cols = task_cols.next_multiple_of(GROUP.max(b.dtype().block_len()));
    let n_col_parts = n.div_ceil(task_cols);
    // Where there are few columns, rows are split too, as long as packing a panel costs little beside using
    // it.
    let n_row_parts = (4 * cpu.pool.n_threads()).div_ceil(n_col_parts).min(m.div_ceil(96));
    let task_rows = m.div_ceil(n_row_parts);
    let shared = SharedMut::new(c);
    cpu.pool.run(n_col_parts * m.div_ceil(task_rows), |task, scratch| {
        let start = task % n_col_parts * task_cols;
        let cols = start..(start + task_cols).min(n);
        let first = task / n_col_parts * task_rows;
        let a = a.rows_from(first, task_rows.min(m - first));
        // SAFETY: each task writes its own rows, from `first` on, and columns.
        let c = RowPtrMut { start: unsafe { shared.ptr(first * n + cols.start) }, stride: n };
        if cpu.isa.is_scalar() {
            // SAFETY: as above.
            unsafe { scalar_nn(a, &b, cols, c, scratch) }
        } else if few {
            // SAFETY: as above.
            unsafe { few_nn(cpu.isa, a, &b, cols, c, scratch) }
        } else {
            // SAFETY: as above.
            unsafe { packed_nn(cpu.isa, a, &b, cols, c, scratch) }
        }
    });
}

/// The definition: each row of `b` is decoded and added, times an element of `a`, to each row of `c`.
///
/// # Safety
/// `c` points at the task's own columns.
unsafe fn scalar_nn(a: Left, b: &Matrix, cols: Range<usize>, c: RowPtrMut, scratch: &mut Scratch) {
    let [row] = scratch.buffers([cols.len()]);
    for p in 0..a.cols {
        b.decode_part(Isa::SCALAR, p, cols.start, row);
        for i in 0..a.rows {
            let x = a.values[i * a.row_stride + p * a.col_stride];
            for (j, w) in row.iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { *c.start.add(i * c.stride + j) += x * w };
            }
        }
    }
}

struct PanelNn<'a> {
    shape: (usize, usize, usize),
    a: Left<'a>,
    a_start: usize,
    panel: RowPtr,
    c: RowPtrMut,
}

impl Kernel for PanelNn<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let a = Strided {
            start: self.a.values[self.a_start * self.a.col_stride..].as_ptr(),
            row: self.a.row_stride,
            col: self.a.col_stride,
        };
        // SAFETY: `a` has `rows` x `cols` elements by its constructors, `a_start + k <= cols`; `packed_nn`
        // made the panel and chose `c`.
        unsafe { outer_block(s, self.shape, a, self.panel, self.c) }
    }
}

/// Rows of `a` that are too few to pay for a panel.
const FEW: usize = 4;
/// The fewest columns of a task with few rows: what is decoded of four rows and the sums stay in the
/// first-level cache.
const FEW_COLS: usize = 512;
/// Rows of `b` whose products are summed up before they are added to `c`.
const PANEL: usize = 128;

/// The same for few rows of `a`: each row of `b` is decoded and added to sums, four at a time, in the order
/// in which a panel adds them, so that the bits are the same.
///
/// # Safety
/// `c` points at the task's own columns.
unsafe fn few_nn(isa: Isa, a: Left, b: &Matrix, cols: Range<usize>, c: RowPtrMut, scratch: &mut Scratch) {
    let width = cols.len();
    let [rows, sums] = scratch.buffers([4 * width, a.rows * width]);
    for first in (0..a.cols).step_by(PANEL) {
        let end = (first + PANEL).min(a.cols);
        sums.fill(0.0);
        for p in (first..end).step_by(4) {
            let n = 4.min(end - p);
            for (q, row) in rows.chunks_exact_mut(width).take(n).enumerate() {
                b.decode_part(isa, p + q, cols.start, row);
            }
            for (i, sums) in sums.chunks_exact_mut(width).enumerate() {
                let x = std::array::from_fn(|q| match q < n {
                    true => a.values[i * a.row_stride + (p + q) * a.col_stride],
                    false => 0.0,
                });
                isa.run_vectors(AddRows { x, n, rows, sums });
            }
        }
        for (i, sums) in sums.chunks_exact(width).enumerate() {
            // SAFETY: the caller's promise.
            let c = unsafe { std::slice::from_raw_parts_mut(c.start.add(i * c.stride), width) };
            add_part(isa, c, sums);
        }
    }
}

/// `sums += x[0] rows[0] + … + x[n - 1] rows[n - 1]`, one after the other.
struct AddRows<'a> {
    x: [f32; 4],
    n: usize,
    /// `[4, sums.len()]`.
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for AddRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.sums.len();
        assert!(self.n <= 4 && self.rows.len() == 4 * width);
        let (rows, sums) = (self.rows.as_ptr(), self.sums.as_mut_ptr());
        let x = self.x.map(|x| s.splat(x));
        for (i, n) in vectors(s, width) {
            // SAFETY: `i + n` is at most the width, and there are four rows.
            unsafe {
                let mut sum = s.load_n(sums.add(i), n);
                if self.n == 4 {
                    for (q, x) in x.iter().enumerate() {
                        sum = s.fma(*x, s.load_n(rows.add(q * width + i), n), sum);
                    }
                } else {
                    for (q, x) in x.iter().enumerate().take(self.n) {
                        sum = s.fma(*x, s.load_n(rows.add(q * width + i), n), sum);
                    }
                }
                s.store_n(sums.add(i), sum, n);
            }
        }
    }
}

/// The same by panels: `PANEL` rows of `b` at a time, packed in groups of [`GROUP`] columns.
///
/// # Safety
/// `c` points at the task's own columns.
unsafe fn packed_nn(isa: Isa, a: Left, b: &Matrix, cols: Range<usize>, c: RowPtrMut, scratch: &mut Scratch) {
    let width = cols.len();
    let n_groups = width.div_ceil(GROUP);
    let [row, panel] = scratch.buffers([width, n_groups * PANEL * GROUP]);
    for first in (0..a.cols).step_by(PANEL) {
        let k = PANEL.min(a.cols - first);
        for p in 0..k {
            b.decode_part(isa, first + p, cols.start, row);
            for (g, part) in row.chunks(GROUP).enumerate() {
                panel[(g * PANEL + p) * GROUP..][..part.len()].copy_from_slice(part);
            }
        }
        for g in 0..n_groups {
            let n = GROUP.min(width - g * GROUP);
            let panel = RowPtr { start: panel[g * PANEL * GROUP..].as_ptr(), stride: GROUP };
            // SAFETY: the group's columns belong to this task.
            let c = RowPtrMut { start: unsafe { c.start.add(g * GROUP) }, ..c };
            isa.run_vectors(PanelNn { shape: (a.rows, n, k), a, a_start: first, panel, c });
        }
    }
}
