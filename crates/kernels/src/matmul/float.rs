//! y = x Wᵀ in f32, for weights of any stored type.
//!
//! As in `int8.rs`, a task unpacks [`K_BLOCK`] columns of some panels of rows into the first-level cache, here as floats
//! [column, row], and multiplies them with every tile of activations. Vectors run across weight rows, so an output is one
//! lane, summed over the columns of a block in order; blocks are added in order. F32, F16, BF16 and F8 are turned to run
//! across rows as they are read; rows of codes are decoded first, [`DECODED`] columns at a time.

use std::marker::PhantomData;
use std::ops::Range;

use super::ahead::{LineSource, RepackedRows, StoredRows};
use super::element::{BF16, Element, F8, F16, F32};
use super::matrix::Matrix;
use super::pack::{FEW_ROWS, TILE_ROWS, all_tiles, tiles};
use super::panel::{PanelRows, bytes_of, put_sums};
use super::tile::RowPtrMut;
use crate::DType;
use crate::half::OF_HALF;
use crate::isa::{Isa, Kernel};
use crate::pool::Scratch;
use crate::simd::Rows16;

/// Columns unpacked at a time: 64 rows of them are 32 KiB.
const K_BLOCK: usize = 128;
/// Columns of codes that are decoded at a time: whole blocks of every type.
const DECODED: usize = 256;
/// Columns of all panels of a task that are done before the next ones, so that the activations stay in the second-level
/// cache: 512 rows of them are 1 MiB.
pub(crate) const K_CHUNK: usize = 512;
/// From one decoded row to the next: a cache line more than there is in it, since rows exactly 1 KiB apart would compete for
/// the same places of the first-level cache.
const ROW_STRIDE: usize = DECODED + 16;

/// Rows of weights that are multiplied at a time with `m` rows of activations.
pub(crate) fn panel_rows(isa: Isa, m: usize) -> usize {
    isa.run(PanelRows)[usize::from(m > FEW_ROWS)]
}

/// Rows `rows` of `weight` times the tiles of `x: [n_rows, k]` (see [`pack_f32`](super::pack::pack_f32)) from row
/// `m.start` to `m.end`; `m.start` begins a tile.
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
    out: RowPtrMut,
    scratch: &mut Scratch,
) {
    let few = x.len() / weight.cols() <= FEW_ROWS;
    match weight.dtype() {
        DType::F16 => {
            isa.run_vectors(Task { element: PhantomData::<F16>, isa, x, few, m, weight, rows, out, scratch })
        }
        DType::BF16 => {
            isa.run_vectors(Task { element: PhantomData::<BF16>, isa, x, few, m, weight, rows, out, scratch })
        }
        DType::F8_E4M3 => {
            let (n, first) = (m.len(), rows.clone());
            isa.run_vectors(Task { element: PhantomData::<F8>, isa, x, few, m, weight, rows, out, scratch });
            // SAFETY: the caller's promise.
            unsafe { put_factors(weight, n, first, out) }
        }
        _ => {
            isa.run_vectors(Task { element: PhantomData::<F32>, isa, x, few, m, weight, rows, out, scratch })
        }
    }
}

/// Multiplies `n` rows of products by what the product leaves away of F8: [`OF_HALF`], and the factors of weight rows.
///
/// # Safety
/// `out` has those rows and a column for each weight row.
unsafe fn put_factors(weight: &Matrix, n: usize, rows: Range<usize>, out: RowPtrMut) {
    for i in 0..n {
        // SAFETY: the caller's promise.
        let y = unsafe { std::slice::from_raw_parts_mut(out.start.add(i * out.stride), rows.len()) };
        y.iter_mut().for_each(|y| *y *= OF_HALF);
        if let Some(scales) = weight.row_scales() {
            y.iter_mut().zip(&scales[rows.clone()]).for_each(|(y, scale)| *y *= scale);
        }
    }
}

struct Task<'a, E> {
    element: PhantomData<E>,
    isa: Isa,
    x: &'a [f32],
    /// Whether there are [`FEW_ROWS`] at most.
    few: bool,
    m: Range<usize>,
    weight: &'a Matrix<'a>,
    rows: Range<usize>,
    out: RowPtrMut,
    scratch: &'a mut Scratch,
}

impl<E: Element> Kernel for Task<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        let Task { isa, x, few, m, weight, rows, out, scratch, .. } = self;
        // A few rows of activations need no more than sixteen stored rows at a time, and less ahead of them.
        // A copy of codes is for the other kind of product.
        let repacked = weight.repacked().filter(|_| weight.dtype().block_len() == 1);
        let n_panels = match few {
            true if repacked.is_none() => 1,
            true => S::PANELS,
            false => S::FLOAT_PANELS,
        };
        let (k, panel_rows) = (weight.cols(), 16 * n_panels);
        assert!(m.start.is_multiple_of(TILE_ROWS) && m.end * k <= x.len());
        assert!(!few || m.len() * k == x.len());
        let [panel, all_sums, decoded] = scratch.buffers([
            K_BLOCK * panel_rows,
            m.len() * rows.len().next_multiple_of(panel_rows),
            ROW_STRIDE * panel_rows,
        ]);
        let chunk_len = if few { k } else { K_CHUNK };
        let blocks = |chunk: usize| (chunk..k.min(chunk + chunk_len)).step_by(K_BLOCK);
        for chunk in (0..k).step_by(chunk_len) {
            let panels =
                rows.clone().step_by(panel_rows).zip(all_sums.chunks_exact_mut(m.len() * panel_rows));
            for (first, sums, start) in panels.flat_map(|(first, sums)| {
                let sums = sums.as_mut_ptr();
                blocks(chunk).map(move |start| (first, sums, start))
            }) {
                let len = K_BLOCK.min(k - start);
                let size = E::BYTES;
                let n_rows = panel_rows.min(rows.end - first);
                let mut part = Part { x, few, k, columns: start..start + len, n_panels, panel_rows, sums };
                if let Some(repacked) = repacked {
                    // Of the last panels some may not be there; what they stand for is not asked for.
                    part.n_panels = n_panels.min(repacked.len() / (16 * k * size) - first / 16);
                    let panels = &repacked[first * k * size..][..16 * part.n_panels * k * size];
                    let (start, stride) = (panels[16 * start * size..].as_ptr(), 16 * k * size);
                    let source = RepackedRows { start, stride };
                    assert!(!few || part.n_panels == n_panels);
                    // SAFETY: `len` columns of each sixteen rows are readable; below.
                    unsafe { part.read::<S, E>(s, source, panel) };
                } else if weight.dtype().block_len() == 1 {
                    let bytes = &weight.bytes()[(first * k + start) * size..];
                    let (start, stride) = if n_rows == panel_rows {
                        // The last row's part is inside, and so are those of the rows before it.
                        assert!(((panel_rows - 1) * k + len) * size <= bytes.len());
                        (bytes.as_ptr(), k * size)
                    } else {
                        // Rows that are not there are zeros.
                        let copy = bytes_of(decoded);
                        for (r, row) in copy.chunks_exact_mut(4 * ROW_STRIDE).enumerate() {
                            match r < n_rows {
                                true => {
                                    row[..len * size].copy_from_slice(&bytes[r * k * size..][..len * size])
                                }
                                false => row[..len * size].fill(0),
                            }
                        }
                        (copy.as_ptr(), 4 * ROW_STRIDE)
                    };
                    let source = StoredRows { start, stride, next: start };
                    // SAFETY: `panel_rows` rows of `len` elements, `stride` bytes apart, are readable; the panel and the
                    // sums have room; the input has `k` columns of every row.
                    unsafe { part.read::<S, E>(s, source, panel) };
                } else if E::HAS_CODES {
                    let at = start % DECODED;
                    if at == 0 {
                        let len = DECODED.min(k - start);
                        for (r, row) in decoded.chunks_exact_mut(ROW_STRIDE).enumerate() {
                            match r < n_rows {
                                true => weight.decode_part(isa, first + r, start, &mut row[..len]),
                                false => row[..len].fill(0.0),
                            }
                        }
                    }
                    let start = decoded[at..].as_ptr().cast();
                    let source = StoredRows { start, stride: 4 * ROW_STRIDE, next: start };
                    // SAFETY: as above, of the decoded rows.
                    unsafe { part.read::<S, F32>(s, source, panel) };
                } else {
                    unreachable!("codes are decoded to F32");
                }
                if !few {
                    // SAFETY: the panel was just filled; as above.
                    unsafe { multiply(s, x, k, m.clone(), start..start + len, panel.as_ptr(), sums) };
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { put_sums(s, all_sums, m.len(), panel_rows, rows.len(), out) };
    }
}

/// Some columns of a panel of rows, and what they are multiplied with.
struct Part<'a> {
    x: &'a [f32],
    few: bool,
    k: usize,
    columns: Range<usize>,
    /// Sixteens of rows that are there.
    n_panels: usize,
    panel_rows: usize,
    sums: *mut f32,
}

impl Part<'_> {
    /// Unpacks the columns, or where `x` are few rows multiplies them at once.
    ///
    /// # Safety
    /// The rows are readable; `panel` and `sums` have room; `x` has `k` columns of all rows.
    #[inline(always)]
    unsafe fn read<S: Rows16, E: Element>(&self, s: S, rows: impl LineSource<S, E>, panel: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.few {
                return few_rows::<S, E, _>(
                    s,
                    rows,
                    self.x,
                    self.k,
                    self.columns.clone(),
                    self.sums,
                    self.panel_rows,
                );
            }
            for p in 0..self.n_panels {
                let panel = panel.as_mut_ptr().add(16 * K_BLOCK * p);
                unpack::<S, E, _>(s, rows.sixteen(p), self.columns.len(), panel);
            }
        }
    }
}

/// Writes `len` columns of sixteen rows as `[column, row]`.
///
/// # Safety
/// The rows are readable and `panel` has room for a block.
#[inline(always)]
unsafe fn unpack<S: Rows16, E: Element, W: LineSource<S, E>>(s: S, rows: W, len: usize, panel: *mut f32) {
    for column in (0..len).step_by(E::PER_LINE) {
        // SAFETY: the caller's promise; a block has whole lines.
        unsafe {
            let line = rows.line(s, column, len);
            let n = E::PER_LINE.min(len - column);
            for t in (0..n).step_by(2) {
                for (i, floats) in W::pair(s, &line, t, n - t == 1).into_iter().enumerate().take(n - t) {
                    s.store_floats(panel.add(16 * (column + t + i)), floats);
                }
            }
        }
    }
}

/// The products of all rows of `x`, where they are few, with one or two times sixteen weight rows: columns are multiplied as
/// they are unpacked.
///
/// # Safety
/// As [`Part::read`]; the sums of a row are `panel_rows`.
#[inline(always)]
unsafe fn few_rows<S: Rows16, E: Element, W: LineSource<S, E>>(
    s: S,
    rows: W,
    x: &[f32],
    k: usize,
    columns: Range<usize>,
    sums: *mut f32,
    panel_rows: usize,
) {
    for (first, n) in all_tiles(x.len() / k) {
        let (len, add) = (columns.len(), columns.start > 0);
        let x = x[first * k + n * columns.start..][..n * len].as_ptr();
        let tile = FewTile { x, len, sums: sums.wrapping_add(panel_rows * first), panel_rows, add };
        // SAFETY: the caller's promise; so many elements were there.
        unsafe {
            let both = [rows, rows.sixteen(1)];
            match (n, panel_rows) {
                (FEW_ROWS, 32) => tile.run::<S, E, W, FEW_ROWS, 2>(s, both),
                (4, 32) => tile.run::<S, E, W, 4, 2>(s, both),
                (2, 32) => tile.run::<S, E, W, 2, 2>(s, both),
                (_, 32) => tile.run::<S, E, W, 1, 2>(s, both),
                (FEW_ROWS, _) => tile.run::<S, E, W, FEW_ROWS, 1>(s, [rows]),
                (4, _) => tile.run::<S, E, W, 4, 1>(s, [rows]),
                (2, _) => tile.run::<S, E, W, 2, 1>(s, [rows]),
                (_, _) => tile.run::<S, E, W, 1, 1>(s, [rows]),
            }
        }
    }
}

/// A tile of few rows, `[len, MR]`, and where its sums go: `panel_rows` for each row, to which are added or which begin.
#[derive(Clone, Copy)]
struct FewTile {
    x: *const f32,
    len: usize,
    sums: *mut f32,
    panel_rows: usize,
    add: bool,
}

impl FewTile {
    /// # Safety
    /// The rows have `len` columns.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Rows and columns are addressed by number, as the formula is.
    unsafe fn run<S: Rows16, E: Element, W: LineSource<S, E>, const MR: usize, const NP: usize>(
        self,
        s: S,
        rows: [W; NP],
    ) {
        let zero = s.splat_float(0.0);
        let mut acc = [[zero; NP]; MR];
        // SAFETY: the caller's promise.
        unsafe {
            for first in (0..self.len).step_by(E::PER_LINE) {
                let x = self.x.add(MR * first);
                let mut lines = [rows[0].line(s, first, self.len); NP];
                for p in 1..NP {
                    lines[p] = rows[p].line(s, first, self.len);
                }
                // A whole line first: a constant number of columns, so that they stay in registers.
                if self.len - first >= E::PER_LINE {
                    for t in (0..E::PER_LINE).step_by(2) {
                        add_pair::<S, E, W, MR, NP>(s, x, &lines, t, false, &mut acc);
                    }
                } else {
                    let lines = lines; // Its own, because one that is looked up by number lies in memory.
                    for t in (0..self.len - first).step_by(2) {
                        add_pair::<S, E, W, MR, NP>(s, x, &lines, t, self.len - first - t == 1, &mut acc);
                    }
                }
            }
            for r in 0..MR {
                for p in 0..NP {
                    let sums = self.sums.add(self.panel_rows * r + 16 * p);
                    let sum = acc[r][p];
                    s.store_floats(sums, if self.add { s.add_floats(s.load_floats(sums), sum) } else { sum });
                }
            }
        }
    }
}

/// Adds the products of columns `t` and `t + 1` of a line of each panel, or of the first alone.
///
/// # Safety
/// The lines have them, and `x` begins with the activations of their columns.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // As above.
unsafe fn add_pair<S: Rows16, E: Element, W: LineSource<S, E>, const MR: usize, const NP: usize>(
    s: S,
    x: *const f32,
    lines: &[W::Line; NP],
    t: usize,
    one: bool,
    acc: &mut [[S::Floats; NP]; MR],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut pairs = [W::pair(s, &lines[0], t, one); NP];
        for p in 1..NP {
            pairs[p] = W::pair(s, &lines[p], t, one);
        }
        for i in 0..if one { 1 } else { 2 } {
            for r in 0..MR {
                let x = s.splat_float(*x.add(MR * (t + i) + r));
                for p in 0..NP {
                    acc[r][p] = s.fma_floats(x, pairs[p][i], acc[r][p]);
                }
            }
        }
    }
}

/// # Safety
/// The panel holds columns `columns`; `sums` has room, and holds sums over earlier columns if there are any.
#[inline(always)]
unsafe fn multiply<S: Rows16>(
    s: S,
    x: &[f32],
    k: usize,
    m: Range<usize>,
    columns: Range<usize>,
    panel: *const f32,
    sums: *mut f32,
) {
    for (first, n) in tiles(m.len(), TILE_ROWS) {
        let x = x[(m.start + first) * k + columns.start * n..].as_ptr();
        let sums = sums.wrapping_add(first * 16 * S::FLOAT_PANELS);
        let (len, add) = (columns.len(), columns.start > 0);
        // SAFETY: the caller's promise.
        unsafe {
            match (n, S::FLOAT_PANELS) {
                (TILE_ROWS, 1) => tile::<S, TILE_ROWS, 1>(s, x, len, panel, sums, add),
                (4, 1) => tile::<S, 4, 1>(s, x, len, panel, sums, add),
                (2, 1) => tile::<S, 2, 1>(s, x, len, panel, sums, add),
                (_, 1) => tile::<S, 1, 1>(s, x, len, panel, sums, add),
                (TILE_ROWS, _) => tile::<S, TILE_ROWS, 4>(s, x, len, panel, sums, add),
                (4, _) => tile::<S, 4, 4>(s, x, len, panel, sums, add),
                (2, _) => tile::<S, 2, 4>(s, x, len, panel, sums, add),
                (_, _) => tile::<S, 1, 4>(s, x, len, panel, sums, add),
            }
        }
    }
}

/// # Safety
/// As [`multiply`], for one tile.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Accumulators are addressed by row and panel, as the formula is.
unsafe fn tile<S: Rows16, const MR: usize, const NP: usize>(
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
unsafe fn step<S: Rows16, const MR: usize, const NP: usize>(
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
