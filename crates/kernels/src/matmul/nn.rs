//! Matrix products c = a b, where `b` is a stored weight.
//!
//! They are the gradient of a linear layer, and its forward pass where the weight is stored column after
//! column. For few rows of `a` a task takes some columns of `b` and reads rows as they lie. For many it takes a
//! block of `c` and, [`PANEL`] summands at a time, packs both sides for register tiles (Goto and van de Geijn
//! 2008): its rows of `a` lie in the second-level cache, a few columns of `b` in the first:
//!
//! ```text
//! for each PANEL summands:
//!     pack the rows of a, [tile, summand, row]
//!     for each GROUP columns, or a block of the stored type:
//!         decode and pack them, [columns of a tile, summand, column]
//!         for each columns of a tile, for each tile of rows: c += sums in registers
//! ```
//!
//! Both ways sum in the same order.

// Tiles are written by row and column, as the formula is; iterators over accumulators would hide it.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::matrix::Matrix;
use super::tile::RowPtrMut;
use crate::cpu::{Cpu, SharedMut};
use crate::elementwise::add_part;
use crate::isa::{Isa, Kernel};
use crate::pool::Scratch;
use crate::simd::{Simd, vectors};

/// Columns of `b` that are packed at a time, unless a block of its type has more: whole tiles.
const GROUP: usize = 64;
/// The most rows of `a` of a task: [`PANEL`] columns of them take less than half of a second-level cache of 512 KiB.
const TASK_ROWS: usize = 192;

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
    if m == 0 || n == 0 || k == 0 {
        if !add {
            c.fill(0.0);
        }
        return;
    }
    let few = m <= FEW && !cpu.isa.is_scalar();
    let (task_rows, task_cols) = match few {
        // Wide parts, because rows of `b` are read as they lie: fewer pages to look up.
        true => (m, n.div_ceil(4 * cpu.pool.n_threads()).max(FEW_COLS)),
        false => task_sizes(cpu, m, n),
    };
    let task_cols = task_cols.next_multiple_of(GROUP.max(b.dtype().block_len()));
    let n_col_parts = n.div_ceil(task_cols);
    let shared = SharedMut::new(c);
    cpu.pool.run(n_col_parts * m.div_ceil(task_rows), |task, scratch| {
        let start = task % n_col_parts * task_cols;
        let cols = start..(start + task_cols).min(n);
        let first = task / n_col_parts * task_rows;
        let a = a.rows_from(first, task_rows.min(m - first));
        if !add {
            for row in first..first + a.rows {
                // SAFETY: each task writes its own rows, from `first` on, and columns.
                unsafe { shared.range(row * n + cols.start..row * n + cols.end).fill(0.0) };
            }
        }
        // SAFETY: as above.
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

/// Rows and columns of a task with many rows. Rows of `a` are packed once for each part of the columns, columns
/// of `b` once for each part of the rows; so parts are as long as the cache and the number of threads allow.
fn task_sizes(cpu: &Cpu, m: usize, n: usize) -> (usize, usize) {
    const PARTS: usize = 4; // For each thread.
    const COLS: usize = 4 * GROUP;
    let tile = Tile::of(cpu.isa);
    let n_row_parts = m.div_ceil(TASK_ROWS);
    let rows = m.div_ceil(n_row_parts).next_multiple_of(tile.rows);
    let n_col_parts = (PARTS * cpu.pool.n_threads()).div_ceil(n_row_parts).min(n.div_ceil(COLS));
    (rows, n.div_ceil(n_col_parts))
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

/// Rows of `a` that are too few to pay for a panel.
const FEW: usize = 4;
/// The fewest columns of a task with few rows: what is decoded of four rows and the sums stay in the
/// first-level cache.
const FEW_COLS: usize = 512;
/// Rows of `b` whose products are summed up before they are added to `c`.
const PANEL: usize = 256;

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

/// A block of `c` in registers.
#[derive(Clone, Copy)]
struct Tile {
    rows: usize,
    cols: usize,
}

impl Tile {
    /// The most rows and columns that any instruction set has.
    const LARGEST: usize = 12 * 32;

    /// Sums for 24 registers of 32, or 12 of 16, beside two or four for `b` and one for `a`.
    fn of(isa: Isa) -> Tile {
        match isa.f32_lanes() {
            16 => Tile { rows: 12, cols: 32 },
            _ => Tile { rows: 6, cols: 16 },
        }
    }
}

/// The same by panels, as the head of this file says.
///
/// # Safety
/// `c` points at the task's own columns.
unsafe fn packed_nn(isa: Isa, a: Left, b: &Matrix, cols: Range<usize>, c: RowPtrMut, scratch: &mut Scratch) {
    let tile = Tile::of(isa);
    let group = GROUP.max(b.dtype().block_len());
    let [row, packed_a, packed_b] =
        scratch.buffers([group, a.rows.next_multiple_of(tile.rows) * PANEL, group * PANEL]);
    for first in (0..a.cols).step_by(PANEL) {
        let k = PANEL.min(a.cols - first);
        isa.run_vectors(PackRows { a, first, k, out: packed_a });
        for start in cols.clone().step_by(group) {
            let n = group.min(cols.end - start);
            for p in 0..k {
                b.decode_part(isa, first + p, start, &mut row[..n]);
                match tile.cols {
                    32 => put_row::<32>(&row[..n], packed_b, k, p),
                    _ => put_row::<16>(&row[..n], packed_b, k, p),
                }
            }
            // SAFETY: these columns are some of the task's own.
            let c = RowPtrMut { start: unsafe { c.start.add(start - cols.start) }, ..c };
            isa.run_vectors(Multiply { sizes: (a.rows, n, k), a: packed_a, b: packed_b, c });
        }
    }
}

/// Writes a row as row `p` of `out: [columns of a tile, k, N]`; columns that are not there are zeros. Whole tiles have
/// a length that the compiler knows, because calls that copy so little take longer than the copies.
fn put_row<const N: usize>(row: &[f32], out: &mut [f32], k: usize, p: usize) {
    let (whole, rest) = row.as_chunks::<N>();
    let mut at = out.as_chunks_mut::<N>().0.iter_mut().skip(p).step_by(k);
    for (part, out) in whole.iter().zip(&mut at) {
        *out = *part;
    }
    if let (false, Some(out)) = (rest.is_empty(), at.next()) {
        *out = [0.0; N];
        out[..rest.len()].copy_from_slice(rest);
    }
}

/// Writes columns `first..first + k` of `a` as `[tile, column, row]`; rows that are not there are zeros.
struct PackRows<'a> {
    a: Left<'a>,
    first: usize,
    k: usize,
    out: &'a mut [f32],
}

impl Kernel for PackRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match S::LANES {
            16 => self.pack::<12>(),
            _ => self.pack::<6>(),
        }
    }
}

impl PackRows<'_> {
    #[inline(always)]
    fn pack<const MR: usize>(self) {
        let PackRows { a, first, k, out } = self;
        for (i, tile) in (0..a.rows).step_by(MR).zip(out.chunks_exact_mut(k * MR)) {
            let n = MR.min(a.rows - i);
            let columns = tile.as_chunks_mut::<MR>().0;
            if n < MR {
                columns.as_flattened_mut().fill(0.0);
            }
            let start = &a.values[i * a.row_stride + first * a.col_stride..];
            if a.row_stride == 1 && n == MR {
                for (p, column) in columns.iter_mut().enumerate() {
                    column.copy_from_slice(&start[p * a.col_stride..][..MR]);
                }
            } else if a.col_stride == 1 && n == MR {
                let rows: [&[f32]; MR] = std::array::from_fn(|r| &start[r * a.row_stride..][..k]);
                for (p, column) in columns[..k].iter_mut().enumerate() {
                    for (x, row) in column.iter_mut().zip(&rows) {
                        *x = row[p];
                    }
                }
            } else {
                for (p, column) in columns.iter_mut().enumerate() {
                    for (r, x) in column.iter_mut().take(n).enumerate() {
                        *x = start[r * a.row_stride + p * a.col_stride];
                    }
                }
            }
        }
    }
}

/// `c += a b` for packed sides of `sizes` rows, columns and summands.
struct Multiply<'a> {
    sizes: (usize, usize, usize),
    a: &'a [f32],
    b: &'a [f32],
    c: RowPtrMut,
}

impl Kernel for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match S::LANES {
            16 => self.tiles::<S, 12, 2>(s),
            8 => self.tiles::<S, 6, 2>(s),
            _ => self.tiles::<S, 6, 4>(s),
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const MR: usize, const NV: usize>(self, s: S) {
        let Multiply { sizes: (m, n, k), a, b, c } = self;
        let width = NV * S::LANES;
        assert!(a.len() >= m.next_multiple_of(MR) * k && b.len() >= n.next_multiple_of(width) * k);
        for j in (0..n).step_by(width) {
            for i in (0..m).step_by(MR) {
                // SAFETY: the sides have whole tiles (asserted); `packed_nn` vouches for `m` rows and `n` columns of
                // `c`, and the parts of a tile that are not there stay in `sums`.
                unsafe {
                    // What the sums are added to comes while they are made.
                    for r in 0..MR.min(m - i) {
                        s.prefetch(c.start.wrapping_add((i + r) * c.stride + j).cast());
                        s.prefetch(c.start.wrapping_add((i + r) * c.stride + j + width - 1).cast());
                    }
                    let acc = sum_tile::<S, MR, NV>(s, a[i * k..].as_ptr(), b[j * k..].as_ptr(), k);
                    let c = RowPtrMut { start: c.start.add(i * c.stride + j), ..c };
                    if i + MR <= m && j + width <= n {
                        add_tile(s, &acc, c);
                        continue;
                    }
                    let mut sums = [0.0f32; Tile::LARGEST];
                    add_tile(s, &acc, RowPtrMut { start: sums.as_mut_ptr(), stride: width });
                    for (r, sums) in sums.chunks_exact(width).take(MR.min(m - i)).enumerate() {
                        for (v, sum) in sums.iter().take(n - j).enumerate() {
                            *c.start.add(r * c.stride + v) += sum;
                        }
                    }
                }
            }
        }
    }
}

/// The sums of a tile of `a: [k, MR]` and `b: [k, NV vectors]`, in the order of `k`.
///
/// # Safety
/// Both are readable.
#[inline(always)]
unsafe fn sum_tile<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: *const f32,
    b: *const f32,
    k: usize,
) -> [[S::V; NV]; MR] {
    let mut acc = [[s.splat(0.0); NV]; MR];
    let whole = k - k % 4;
    // SAFETY: the caller's promise.
    unsafe {
        // Four at a time, so that counting them costs little.
        for p in (0..whole).step_by(4) {
            for p in p..p + 4 {
                add_products(s, a.add(MR * p), b.add(NV * S::LANES * p), &mut acc);
            }
        }
        for p in whole..k {
            add_products(s, a.add(MR * p), b.add(NV * S::LANES * p), &mut acc);
        }
    }
    acc
}

/// # Safety
/// `a` has `MR` floats and `b` `NV` vectors.
#[inline(always)]
unsafe fn add_products<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: *const f32,
    b: *const f32,
    acc: &mut [[S::V; NV]; MR],
) {
    let mut w = [s.splat(0.0); NV];
    // SAFETY: the caller's promise.
    unsafe {
        for v in 0..NV {
            w[v] = s.load(b.add(v * S::LANES));
        }
        for r in 0..MR {
            let x = s.splat(*a.add(r));
            for v in 0..NV {
                acc[r][v] = s.fma(x, w[v], acc[r][v]);
            }
        }
    }
}

/// Adds a tile to `c`.
///
/// # Safety
/// `c` has its rows and columns.
#[inline(always)]
unsafe fn add_tile<S: Simd, const MR: usize, const NV: usize>(s: S, acc: &[[S::V; NV]; MR], c: RowPtrMut) {
    for r in 0..MR {
        for v in 0..NV {
            // SAFETY: the caller's promise.
            unsafe {
                let y = c.start.add(r * c.stride + v * S::LANES);
                s.store(y, s.add(s.load(y), acc[r][v]));
            }
        }
    }
}
