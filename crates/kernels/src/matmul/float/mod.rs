//! y = x Wᵀ in f32, for weights of any stored type.
//!
//! Vectors run across weight rows, so that an output is one lane and nothing is added across lanes:
//!
//! ```text
//! for each panel of weight rows, sixteen or a few times sixteen:
//!     for each K_BLOCK columns:
//!         unpack them as floats, [column, row], into the first-level cache
//!         for each tile of up to 6 rows of x:
//!             for each column, in order:
//!                 sum of each row of x += its element * the column      (a vector: a lane for each weight row)
//!             y += sums
//! ```
//!
//! As in `int8`, few rows of x are multiplied with columns in registers (`few.rs`), more of them with a panel
//! (`many.rs`); an output's bits are the same either way. F32, F16, BF16 and F8 are turned to run across rows
//! as they are read (`element.rs`); rows of codes are decoded first, [`DECODED`] columns at a time.

pub(super) mod element;
mod few;
mod many;

use std::ops::Range;

use super::ahead::{LineSource, RepackedRows, StoredRows};
use super::matrix::Matrix;
use super::pack::{FEW_ROWS, TILE_ROWS};
use super::panel::{PanelRows, PutSums, bytes_of};
use super::put_row_scales;
use super::tile::RowPtrMut;
use crate::DType;
use crate::half::OF_HALF;
use crate::isa::Isa;
use crate::pool::Scratch;
use element::{BF16, Element, F8, F16, F32};
use many::{K_BLOCK, Multiply, Unpack};

/// Columns of codes that are decoded at a time: whole blocks of every type.
const DECODED: usize = 256;
/// From one decoded row to the next: a cache line more than there is in it, since rows exactly 1 KiB apart
/// would compete for the same places of the first-level cache.
const ROW_STRIDE: usize = DECODED + 16;
/// Columns of all panels of a task that are done before the next ones, so that the activations stay in the
/// second-level cache: 512 rows of them are 1 MiB.
pub(super) const K_CHUNK: usize = 512;
/// Columns that all tiles of few rows are done with before the next ones: those of sixteen rows stay in the
/// cache.
const FEW_COLUMNS: usize = 4 * K_BLOCK;

/// Rows of weights that are multiplied at a time with `m` rows of activations.
pub(super) fn panel_rows(isa: Isa, m: usize) -> usize {
    isa.run(PanelRows)[usize::from(m > FEW_ROWS)]
}

/// Rows `rows` of `weight` times the tiles of `x: [n_rows, k]` (see [`pack_f32`](super::pack::pack_f32)) from
/// row `m.start` to `m.end`; `m.start` begins a tile.
///
/// # Panics
/// If `x` has no complete tiles of these rows, or `isa` is plain Rust.
///
/// # Safety
/// `out` points at output column `rows.start` of output row `m.start`, and is nobody else's. `m` ends with a
/// tile of `x`.
pub(super) unsafe fn matmul(
    isa: Isa,
    x: &[f32],
    m: Range<usize>,
    weight: &Matrix,
    rows: Range<usize>,
    out: RowPtrMut,
    scratch: &mut Scratch,
) {
    let task = Task { isa, x, m, weight, rows, out };
    // SAFETY: the caller's promise.
    unsafe {
        match weight.dtype() {
            DType::F16 => task.plain::<F16>(scratch),
            DType::BF16 => task.plain::<BF16>(scratch),
            DType::F8_E4M3 => {
                task.plain::<F8>(scratch);
                task.put_factors();
            }
            DType::F32 => task.plain::<F32>(scratch),
            _ => task.decoded(scratch),
        }
    }
}

/// The arguments of [`matmul`].
struct Task<'a> {
    isa: Isa,
    x: &'a [f32],
    m: Range<usize>,
    weight: &'a Matrix<'a>,
    rows: Range<usize>,
    out: RowPtrMut,
}

impl Task<'_> {
    fn is_few(&self) -> bool {
        self.x.len() / self.weight.cols() <= FEW_ROWS
    }

    /// # Panics
    /// If the activations are not all there.
    fn check(&self) {
        let k = self.weight.cols();
        assert!(self.m.start.is_multiple_of(TILE_ROWS) && self.m.end * k <= self.x.len());
        assert!(!self.is_few() || self.m.len() * k == self.x.len());
    }

    /// The columns that are done for all panels before the next ones.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let k = self.weight.cols();
        let len = if self.is_few() { k } else { K_CHUNK };
        (0..k).step_by(len).map(move |start| start..k.min(start + len))
    }

    /// The product with weights that are floats, stored or repacked.
    ///
    /// # Safety
    /// The promise of [`matmul`]'s caller.
    unsafe fn plain<E: Element>(&self, scratch: &mut Scratch) {
        let Task { isa, x, ref m, weight, ref rows, out } = *self;
        self.check();
        let few = self.is_few();
        // With few rows of activations, sixteen stored rows at a time are enough, and need less prefetched
        // ahead of them.
        let panel_rows =
            if few && weight.repacked().is_none() { 16 } else { panel_rows(isa, x.len() / weight.cols()) };
        let (k, size) = (weight.cols(), E::BYTES);
        let [panel, all_sums, last_rows] = scratch.buffers([
            K_BLOCK * panel_rows,
            m.len() * rows.len().next_multiple_of(panel_rows),
            ROW_STRIDE * panel_rows,
        ]);
        let panel = panel.as_mut_ptr();
        for chunk in self.chunks() {
            let sums = all_sums.chunks_exact_mut(m.len() * panel_rows).map(|sums| sums.as_mut_ptr());
            for (first, sums) in rows.clone().step_by(panel_rows).zip(sums) {
                let mut step = Step { task: self, n_panels: panel_rows / 16, panel_rows, panel, sums };
                if let Some(repacked) = weight.repacked() {
                    // The copy may end before the last panel does. What is not there is not multiplied.
                    step.n_panels = step.n_panels.min(repacked.len() / (16 * k * size) - first / 16);
                    assert!(!few || 16 * step.n_panels == panel_rows);
                    let panels = &repacked[first * k * size..][..16 * step.n_panels * k * size];
                    for columns in step.columns(&chunk, true) {
                        let start = panels[16 * columns.start * size..].as_ptr();
                        let source = RepackedRows { start, stride: 16 * k * size };
                        // SAFETY: the columns of each sixteen rows are readable; the panel and the sums have
                        // room.
                        unsafe { step.run::<E, _>(source, columns) };
                    }
                    continue;
                }
                let n_rows = panel_rows.min(rows.end - first);
                let stored = &weight.bytes()[first * k * size..(first + n_rows) * k * size];
                for columns in step.columns(&chunk, n_rows == panel_rows) {
                    let (before, n_bytes) = (columns.start * size, columns.len() * size);
                    let (start, stride) = if n_rows == panel_rows {
                        // The last row's part is inside, and so are those of the rows before it.
                        assert!((panel_rows - 1) * k * size + before + n_bytes <= stored.len());
                        (stored[before..].as_ptr(), k * size)
                    } else {
                        // Rows that are not there are zeros.
                        let copy = bytes_of(last_rows);
                        for (r, copy) in copy.chunks_exact_mut(4 * ROW_STRIDE).enumerate() {
                            match r < n_rows {
                                true => copy[..n_bytes]
                                    .copy_from_slice(&stored[r * k * size + before..][..n_bytes]),
                                false => copy[..n_bytes].fill(0),
                            }
                        }
                        (copy.as_ptr(), 4 * ROW_STRIDE)
                    };
                    let source = StoredRows { start, stride, next: start };
                    // SAFETY: `panel_rows` rows of the columns are readable; the panel and the sums have
                    // room.
                    unsafe { step.run::<E, _>(source, columns) };
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { PutSums::run(isa, all_sums, m.len(), panel_rows, rows.len(), out) };
    }

    /// The product with weights that are codes, which are decoded first. A copy of them would be for the
    /// other kind of product.
    ///
    /// # Safety
    /// The promise of [`matmul`]'s caller.
    unsafe fn decoded(&self, scratch: &mut Scratch) {
        let Task { isa, x, ref m, weight, ref rows, out } = *self;
        self.check();
        let panel_rows = if self.is_few() { 16 } else { panel_rows(isa, x.len() / weight.cols()) };
        let [panel, all_sums, decoded] = scratch.buffers([
            K_BLOCK * panel_rows,
            m.len() * rows.len().next_multiple_of(panel_rows),
            ROW_STRIDE * panel_rows,
        ]);
        let panel = panel.as_mut_ptr();
        for chunk in self.chunks() {
            let sums = all_sums.chunks_exact_mut(m.len() * panel_rows).map(|sums| sums.as_mut_ptr());
            for (first, sums) in rows.clone().step_by(panel_rows).zip(sums) {
                let step = Step { task: self, n_panels: panel_rows / 16, panel_rows, panel, sums };
                for start in chunk.clone().step_by(DECODED) {
                    let part = start..chunk.end.min(start + DECODED);
                    for (r, row) in decoded.chunks_exact_mut(ROW_STRIDE).enumerate() {
                        match first + r < rows.end {
                            true => weight.decode_part(isa, first + r, start, &mut row[..part.len()]),
                            false => row[..part.len()].fill(0.0),
                        }
                    }
                    for columns in step.columns(&part, true) {
                        let start = decoded[columns.start - part.start..].as_ptr().cast();
                        let source = StoredRows { start, stride: 4 * ROW_STRIDE, next: start };
                        // SAFETY: `panel_rows` decoded rows of the columns are readable; the panel and the
                        // sums have room.
                        unsafe { step.run::<F32, _>(source, columns) };
                    }
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { PutSums::run(isa, all_sums, m.len(), panel_rows, rows.len(), out) };
    }

    /// Multiplies the products by what they still lack of F8: [`OF_HALF`], and the factors of weight rows.
    ///
    /// # Safety
    /// The promise of [`matmul`]'s caller.
    unsafe fn put_factors(&self) {
        let Task { ref m, weight, ref rows, out, .. } = *self;
        for i in 0..m.len() {
            // SAFETY: `out` has those rows, and a column for each weight row.
            let y = unsafe { std::slice::from_raw_parts_mut(out.start.add(i * out.stride), rows.len()) };
            y.iter_mut().for_each(|y| *y *= OF_HALF);
        }
        // SAFETY: as above.
        unsafe { put_row_scales(weight, m.len(), rows.clone(), out) };
    }
}

/// A panel of weight rows: where its columns are unpacked to, and where the sums are.
struct Step<'a> {
    task: &'a Task<'a>,
    /// Sixteens of rows that are there.
    n_panels: usize,
    panel_rows: usize,
    panel: *mut f32,
    sums: *mut f32,
}

impl Step<'_> {
    /// The steps of some columns. Few rows of `x` need no panel, which has room for a block of columns, if
    /// the rows of weights are read from where they lie (`in_place`); a single tile of them reads nothing
    /// twice.
    fn columns(&self, part: &Range<usize>, in_place: bool) -> impl Iterator<Item = Range<usize>> + use<> {
        let m = self.task.m.len();
        let len = match self.task.is_few() && in_place {
            true if m.is_power_of_two() => part.len(),
            true => FEW_COLUMNS,
            false => K_BLOCK,
        };
        let end = part.end;
        part.clone().step_by(len).map(move |start| start..end.min(start + len))
    }

    /// Adds the products of some columns to the sums, which begin with column 0.
    ///
    /// # Safety
    /// The rows have the columns; without few rows of `x` they are at most [`K_BLOCK`]. `panel` has room for
    /// [`K_BLOCK`] columns of `panel_rows` rows, `sums` for that many floats for each row of `x` in `m`.
    unsafe fn run<E: Element, W: LineSource<E>>(&self, rows: W, columns: Range<usize>) {
        let Step { task, n_panels, panel_rows, panel, sums } = *self;
        let Task { isa, x, ref m, weight, .. } = *task;
        let k = weight.cols();
        // SAFETY: the caller's promise; `x` has whole tiles by its making.
        unsafe {
            if task.is_few() {
                return few::all_rows::<E, W>(isa, rows, panel_rows, x, k, columns, sums);
            }
            isa.run_vectors(Unpack::<E, W>::new(rows, n_panels, columns.len(), panel));
            isa.run_vectors(Multiply::new(x, k, m.clone(), columns, panel, sums));
        }
    }
}
