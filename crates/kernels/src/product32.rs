//! y = x Wᵀ in f32, for weights of any stored type.
//!
//! As in `product8.rs`, a task unpacks [`K_BLOCK`] columns of a panel of rows into the first-level cache, here as floats
//! [column, row], and multiplies them with every tile of activations. Vectors run across weight rows, so an output is one
//! lane, summed over the columns of a block in order; blocks are added in order. F32, F16 and BF16 are turned to run
//! across rows as they are read; rows of codes are decoded first.

use std::marker::PhantomData;
use std::ops::Range;

use crate::DType;
use crate::activations::{TILE_ROWS, tiles};
use crate::isa::{Isa, Kernel};
use crate::matmul::Matrix;
use crate::pool::Scratch;
use crate::product8::put_sums;
use crate::simd::Simd;
use crate::tile::RowsMut;

/// Columns unpacked at a time: 32 rows of them are 32 KiB.
const K_BLOCK: usize = 256;
/// From one decoded row to the next: a cache line more than a block, since rows exactly 1 KiB apart would compete for the
/// same places of the first-level cache.
const ROW_STRIDE: usize = K_BLOCK + 16;

/// How far ahead the bytes of a row are asked for.
const AHEAD: usize = 384;

/// Rows `rows` of `weight` times the tiles of `x` (see [`pack_f32`](crate::activations::pack_f32)) from row `m.start` to
/// `m.end`; `m.start` begins a tile.
///
/// # Panics
/// If `x` has no complete tiles of these rows.
///
/// # Safety
/// `out` points at output column `rows.start` of output row `m.start`, and is nobody else's. `m` ends with a tile of `x`.
pub(crate) unsafe fn product(
    isa: Isa,
    x: &[f32],
    m: Range<usize>,
    weight: &Matrix,
    rows: Range<usize>,
    out: RowsMut,
    scratch: &mut Scratch,
) {
    match weight.dtype() {
        DType::F16 => isa.run(Task { element: PhantomData::<F16>, isa, x, m, weight, rows, out, scratch }),
        DType::BF16 => isa.run(Task { element: PhantomData::<BF16>, isa, x, m, weight, rows, out, scratch }),
        _ => isa.run(Task { element: PhantomData::<F32>, isa, x, m, weight, rows, out, scratch }),
    }
}

/// A plain float type, as rows are read.
trait Element: Copy {
    /// Columns in a cache line.
    const PER_LINE: usize;
    /// The columns of a cache line of each row: the first `PER_LINE`.
    ///
    /// # Safety
    /// Bytes `start + r * stride .. + 64` of each row r are readable.
    unsafe fn columns<S: Simd>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32];
}

#[derive(Clone, Copy)]
struct F32;
#[derive(Clone, Copy)]
struct F16;
#[derive(Clone, Copy)]
struct BF16;

impl Element for F32 {
    const PER_LINE: usize = 16;
    #[inline(always)]
    unsafe fn columns<S: Simd>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32] {
        let mut out = [s.splat_float(0.0); 32];
        // SAFETY: the caller's promise.
        let chunks = unsafe { s.four_chunks(start, stride) };
        for (i, &bytes) in chunks.as_flattened().iter().enumerate() {
            out[i] = s.float_bits(s.ints(bytes));
        }
        out
    }
}

impl Element for F16 {
    const PER_LINE: usize = 32;
    #[inline(always)]
    unsafe fn columns<S: Simd>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32] {
        // SAFETY: the caller's promise.
        unsafe { s.columns_of_halves(start, stride) }
    }
}

impl Element for BF16 {
    const PER_LINE: usize = 32;
    #[inline(always)]
    unsafe fn columns<S: Simd>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32] {
        let mut out = [s.splat_float(0.0); 32];
        // SAFETY: the caller's promise.
        let chunks = unsafe { s.four_chunks(start, stride) };
        for (i, &bytes) in chunks.as_flattened().iter().enumerate() {
            let pair = s.ints(bytes);
            out[2 * i] = s.float_bits(s.shl_ints::<16>(pair));
            out[2 * i + 1] = s.float_bits(s.and_ints(pair, 0xffff_0000));
        }
        out
    }
}

struct Task<'a, E> {
    element: PhantomData<E>,
    isa: Isa,
    x: &'a [f32],
    m: Range<usize>,
    weight: &'a Matrix<'a>,
    rows: Range<usize>,
    out: RowsMut,
    scratch: &'a mut Scratch,
}

impl<E: Element> Kernel for Task<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { isa, x, m, weight, rows, out, scratch, .. } = self;
        // One row of activations needs no more than one panel at a time, and less ahead of it.
        let panels = if m.len() == 1 { 1 } else { S::PANELS };
        let (k, panel_rows) = (weight.cols(), 16 * panels);
        assert!(m.start.is_multiple_of(TILE_ROWS) && m.end * k <= x.len());
        let [panel, all_sums, decoded] = scratch.buffers([
            K_BLOCK * panel_rows,
            m.len() * rows.len().next_multiple_of(panel_rows),
            ROW_STRIDE * panel_rows,
        ]);
        for (first, sums) in
            rows.clone().step_by(panel_rows).zip(all_sums.chunks_exact_mut(m.len() * panel_rows))
        {
            let n_rows = panel_rows.min(rows.end - first);
            for start in (0..k).step_by(K_BLOCK) {
                let len = K_BLOCK.min(k - start);
                let columns = start..start + len;
                let size = 64 / E::PER_LINE;
                if n_rows == panel_rows && weight.dtype().block_len() == 1 {
                    let at = (first * k + start) * size;
                    // The last row's part is inside, and so are those of the rows before it.
                    assert!(at + ((panel_rows - 1) * k + len) * size <= weight.bytes().len());
                    let start = weight.bytes()[at..].as_ptr();
                    let source = Source { element: PhantomData::<E>, start, stride: k * size };
                    // SAFETY: `panel_rows` rows of `len` elements, `stride` bytes apart, are readable; the panel and the
                    // sums have room; the input has `k` columns of every row.
                    unsafe { block(s, source, x, k, m.clone(), columns, panel, sums) };
                } else {
                    for (r, row) in decoded.chunks_exact_mut(ROW_STRIDE).enumerate() {
                        match r < n_rows {
                            true => weight.decode_part(isa, first + r, start, &mut row[..len]),
                            false => row[..len].fill(0.0),
                        }
                    }
                    let start = decoded.as_ptr().cast();
                    let source = Source { element: PhantomData::<F32>, start, stride: 4 * ROW_STRIDE };
                    // SAFETY: as above, of the decoded rows.
                    unsafe { block(s, source, x, k, m.clone(), columns, panel, sums) };
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { put_sums(s, all_sums, m.len(), panel_rows, rows.len(), out) };
    }
}

/// Adds the products with columns `columns` of a panel of rows to the sums of rows `m`, or begins them.
///
/// # Safety
/// The rows are readable; `panel` and `sums` have room; `x` has `k` columns of all rows.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn block<S: Simd, E: Element>(
    s: S,
    rows: Source<E>,
    x: &[f32],
    k: usize,
    m: Range<usize>,
    columns: Range<usize>,
    panel: &mut [f32],
    sums: &mut [f32],
) {
    let sums = sums.as_mut_ptr();
    // SAFETY: the caller's promise.
    unsafe {
        if m.len() == 1 {
            let x = &x[m.start * k..][columns.clone()];
            return one_row(s, rows, x, sums, columns.start > 0);
        }
        for p in 0..S::PANELS {
            unpack(s, rows.below(16 * p), columns.len(), panel.as_mut_ptr().add(16 * K_BLOCK * p));
        }
        multiply(s, x, k, m, columns, panel.as_ptr(), sums);
    }
}

/// Writes `len` columns of sixteen rows as `[column, row]`.
///
/// # Safety
/// The rows are readable and `panel` has room for a block.
#[inline(always)]
unsafe fn unpack<S: Simd, E: Element>(s: S, rows: Source<E>, len: usize, panel: *mut f32) {
    for column in (0..len).step_by(E::PER_LINE) {
        // SAFETY: the caller's promise; a block has whole lines.
        unsafe {
            let columns = rows.line(s, column, len);
            for (t, floats) in columns.into_iter().take(E::PER_LINE).enumerate() {
                s.store_floats(panel.add(16 * (column + t)), floats);
            }
        }
    }
}

/// One row of activations, which uses each weight once: multiplied as it is unpacked.
///
/// # Safety
/// The rows are readable up to column `x.len()`; `sums` are sixteen, and hold sums if `add`.
#[inline(always)]
unsafe fn one_row<S: Simd, E: Element>(s: S, rows: Source<E>, x: &[f32], sums: *mut f32, add: bool) {
    let mut acc = s.splat_float(0.0);
    for (i, x) in x.chunks(E::PER_LINE).enumerate() {
        // SAFETY: the caller's promise. What a line has beyond the last column is not used.
        let columns = unsafe { rows.line(s, i * E::PER_LINE, i * E::PER_LINE + x.len()) };
        // A whole line first: a constant number of columns, so that they stay in registers.
        if x.len() == E::PER_LINE {
            for t in 0..E::PER_LINE {
                acc = s.fma_floats(s.splat_float(x[t]), columns[t], acc);
            }
        } else {
            for (x, column) in x.iter().zip(columns) {
                acc = s.fma_floats(s.splat_float(*x), column, acc);
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { s.store_floats(sums, if add { s.add_floats(s.load_floats(sums), acc) } else { acc }) };
}

/// A cache line of each of sixteen rows.
#[repr(align(64))]
struct Lines([u8; 1024]);

/// Columns of rows in memory, `stride` bytes apart.
#[derive(Clone, Copy)]
struct Source<E> {
    element: PhantomData<E>,
    start: *const u8,
    stride: usize,
}

impl<E: Element> Source<E> {
    /// The rows from the `n`-th on.
    #[inline(always)]
    fn below(self, n: usize) -> Source<E> {
        Source { start: self.start.wrapping_add(n * self.stride), ..self }
    }

    /// The columns of a line, from `column` to at most column `len`, and zeros; asks for what comes soon in each row. So the
    /// processor follows every row as a stream of its own.
    ///
    /// # Safety
    /// The rows are readable up to column `len`.
    #[inline(always)]
    unsafe fn line<S: Simd>(self, s: S, column: usize, len: usize) -> [S::Floats; 32] {
        let size = 64 / E::PER_LINE;
        for r in 0..16 {
            s.prefetch_line(self.start.wrapping_add(r * self.stride + column * size + AHEAD));
        }
        // SAFETY: the caller's promise; the copy has sixteen lines.
        unsafe {
            let start = self.start.add(column * size);
            if len - column >= E::PER_LINE {
                return E::columns(s, start, self.stride);
            }
            let mut copy = Lines([0; 1024]);
            for r in 0..16 {
                let to = copy.0.as_mut_ptr().add(64 * r);
                std::ptr::copy_nonoverlapping(start.add(r * self.stride), to, (len - column) * size);
            }
            E::columns(s, copy.0.as_ptr(), 64)
        }
    }
}

/// # Safety
/// The panel holds columns `columns`; `sums` has room, and holds sums over earlier columns if there are any.
#[inline(always)]
unsafe fn multiply<S: Simd>(
    s: S,
    x: &[f32],
    k: usize,
    m: Range<usize>,
    columns: Range<usize>,
    panel: *const f32,
    sums: *mut f32,
) {
    for (first, n) in tiles(m.len()) {
        let x = x[(m.start + first) * k + columns.start * n..].as_ptr();
        let sums = sums.wrapping_add(first * 16 * S::PANELS);
        let (len, add) = (columns.len(), columns.start > 0);
        // SAFETY: the caller's promise.
        unsafe {
            match (n, S::PANELS) {
                (TILE_ROWS, 1) => tile::<S, TILE_ROWS, 1>(s, x, len, panel, sums, add),
                (4, 1) => tile::<S, 4, 1>(s, x, len, panel, sums, add),
                (2, 1) => tile::<S, 2, 1>(s, x, len, panel, sums, add),
                (_, 1) => tile::<S, 1, 1>(s, x, len, panel, sums, add),
                (TILE_ROWS, _) => tile::<S, TILE_ROWS, 2>(s, x, len, panel, sums, add),
                (4, _) => tile::<S, 4, 2>(s, x, len, panel, sums, add),
                (2, _) => tile::<S, 2, 2>(s, x, len, panel, sums, add),
                (_, _) => tile::<S, 1, 2>(s, x, len, panel, sums, add),
            }
        }
    }
}

/// # Safety
/// As [`multiply`], for one tile.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Accumulators are addressed by row and panel, as the formula is.
unsafe fn tile<S: Simd, const MR: usize, const NP: usize>(
    s: S,
    x: *const f32,
    len: usize,
    panel: *const f32,
    sums: *mut f32,
    add: bool,
) {
    let mut acc = [[s.splat_float(0.0); NP]; MR];
    // SAFETY: the caller's promise.
    unsafe {
        // Four columns at a time, so that counting them costs little.
        let whole = len - len % 4;
        for column in (0..whole).step_by(4) {
            for column in column..column + 4 {
                step::<S, MR, NP>(s, x, panel, column, &mut acc);
            }
        }
        for column in whole..len {
            step::<S, MR, NP>(s, x, panel, column, &mut acc);
        }
        for r in 0..MR {
            for p in 0..NP {
                let at = sums.add(16 * (NP * r + p));
                let sum = if add { s.add_floats(s.load_floats(at), acc[r][p]) } else { acc[r][p] };
                s.store_floats(at, sum);
            }
        }
    }
}

/// # Safety
/// As [`multiply`], for one tile and column.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // As above.
unsafe fn step<S: Simd, const MR: usize, const NP: usize>(
    s: S,
    x: *const f32,
    panel: *const f32,
    column: usize,
    acc: &mut [[S::Floats; NP]; MR],
) {
    let mut w = [s.splat_float(0.0); NP];
    // SAFETY: the caller's promise.
    unsafe {
        for p in 0..NP {
            w[p] = s.load_floats(panel.add(16 * (K_BLOCK * p + column)));
        }
        for r in 0..MR {
            let x = s.splat_float(*x.add(MR * column + r));
            for p in 0..NP {
                acc[r][p] = s.fma_floats(x, w[p], acc[r][p]);
            }
        }
    }
}
