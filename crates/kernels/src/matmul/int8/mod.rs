//! y = x Wᵀ with activations rounded to eight bits and weights of small codes.
//!
//! A dot product of codes with activations is exact in whole numbers, sixteen weight rows at a time, and only
//! the scales are floats:
//!
//! ```text
//! for each panel of 16 or 32 weight rows:
//!     for each K_BLOCK columns:
//!         unpack their codes, scales and minima, [column, row], into the first-level cache
//!         for each tile of up to 6 rows of x:
//!             for each group of activations that share a scale d:
//!                 group = 0                                                 (a vector: a lane for each weight row)
//!                 for each sub-block of weights that share scale s and minimum m:
//!                     group += s * (sum of (code - zero) * x, exact) + m * (sum of x)
//!                 y += d * group
//! ```
//!
//! Where there are few rows of x, a panel would be written for little use: they are multiplied with codes in
//! registers, as these are unpacked (`few.rs`). For more, `many.rs` fills a panel and multiplies it with tile
//! after tile; where the processor multiplies tiles of bytes, `tiles.rs` does so instead. All add in the same
//! order and round alike, groups after each other and sub-blocks within them, so that an output's bits do not
//! depend on the tile or panel it is computed in.
//!
//! How codes are cut out of stored bytes is the format's own ([`Coded::unpack`]). What is here runs as plain
//! Rust and enters an instruction set for each step: one function of all steps would take the compiler a time
//! that grows with its square.

mod few;
mod many;
#[cfg(target_arch = "x86_64")]
mod tiles;

use std::ops::Range;

use super::ahead::{BlockSource, FirstBytes, LONG_ROW, RepackedRows, StoredRows};
use super::matrix::Matrix;
use super::pack::{FEW_ROWS, Int8Operand, is_for_amx, tile_rows};
use super::panel::{PanelRows, PutSums, bytes_of};
use super::tile::RowPtrMut;
use crate::isa::Isa;
use crate::pool::Scratch;
use crate::quant::coded::Coded;
use crate::quant::{ForCoded, for_coded, for_copies};
use many::{K_BLOCK, Multiply, Panel, Unpack};

/// The most bytes of activations that all panels of a task are multiplied with before the next columns: they stay in the
/// second-level cache.
const CHUNK_BYTES: usize = 1 << 20;
/// The columns of that of 512 rows, which are the most of a task.
pub(super) const K_CHUNK: usize = 2048;

/// Rows of weights that are multiplied at a time.
pub(super) fn panel_rows(isa: Isa) -> usize {
    isa.run(PanelRows)[0]
}

/// Rows `rows` of `weight` times the tiles of `x` from row `m.start` to `m.end`; `m.start` begins a tile.
///
/// # Panics
/// If `x` has no complete tiles of these rows, or the weights have no codes.
///
/// # Safety
/// `out` points at output column `rows.start` of output row `m.start`, and is nobody else's. `m` ends with a
/// tile of `x`.
pub(super) unsafe fn matmul(
    isa: Isa,
    x: Int8Operand,
    m: Range<usize>,
    weight: &Matrix,
    rows: Range<usize>,
    out: RowPtrMut,
    scratch: &mut Scratch,
) {
    let task = Task { isa, x, m, weight, rows, out, scratch };
    let copied = if weight.is_repacked() { for_copies(weight.dtype(), task) } else { Err(task) };
    let done = match copied {
        Ok(()) => Ok(()),
        Err(task) => for_coded(weight.dtype(), task),
    };
    assert!(done.is_ok(), "{} has no codes", weight.dtype());
}

/// The arguments of [`matmul`], and its caller's promise.
struct Task<'a> {
    isa: Isa,
    x: Int8Operand<'a>,
    m: Range<usize>,
    weight: &'a Matrix<'a>,
    rows: Range<usize>,
    out: RowPtrMut,
    scratch: &'a mut Scratch,
}

impl ForCoded for Task<'_> {
    type Output = ();
    fn run<T: Coded>(self) {
        let Task { isa, x, m, weight, rows, out, scratch } = self;
        let k = x.k;
        // With few rows of activations, sixteen rows of weights at a time are enough, and need less
        // prefetched ahead of them.
        let few = x.m <= FEW_ROWS;
        let panel_rows = if few { 16 } else { panel_rows(isa) };
        // Tiles begin at whole multiples, and all that they read is there.
        assert!(!few || m == (0..x.m));
        assert!(k == weight.cols() && m.start.is_multiple_of(tile_rows(isa)) && m.end * k <= x.codes.len());
        assert!(m.end * k <= x.scales.len() * T::GROUP && m.end * k <= x.starts.len() * T::SUB);
        let row_bytes = bytes_of_columns::<T>(k);
        let all = &weight.repacked().unwrap_or(weight.bytes())[rows.start * row_bytes..rows.end * row_bytes];
        let goes_on = scratch.goes_on(all);
        let [codes, scales, minima, sums, last_rows] = scratch.buffers([
            Panel::LENS[0],
            Panel::LENS[1],
            Panel::LENS[2],
            m.len() * rows.len().next_multiple_of(panel_rows),
            (bytes_of_columns::<T>(K_BLOCK) * panel_rows).div_ceil(4),
        ]);
        let panel = Panel::new(codes, scales, minima);
        if weight.repacked().is_none() && !goes_on && row_bytes < LONG_ROW {
            // Nothing has prefetched the first panel yet.
            isa.run(FirstBytes(&all[..panel_rows.min(rows.len()) * row_bytes]));
        }
        let step = Step { isa, x, m: m.clone(), in_registers: few && !isa.is_scalar(), panel };
        let chunk_len = if few { k } else { K_CHUNK.max(CHUNK_BYTES / m.len() / K_BLOCK * K_BLOCK) };
        for chunk in (0..k).step_by(chunk_len) {
            let chunk = chunk..k.min(chunk + chunk_len);
            let sums = sums.chunks_exact_mut(m.len() * panel_rows).map(|sums| sums.as_mut_ptr());
            for (first, sums) in rows.clone().step_by(panel_rows).zip(sums) {
                let n_rows = panel_rows.min(rows.end - first);
                if let Some(repacked) = weight.repacked() {
                    let panels = &repacked[first * row_bytes..(first + panel_rows) * row_bytes];
                    assert!(first.is_multiple_of(16) && k.is_multiple_of(T::LEN));
                    for columns in step.of(&chunk) {
                        let start = panels[16 * bytes_of_columns::<T>(columns.start)..].as_ptr();
                        let source = RepackedRows { start, stride: 16 * row_bytes };
                        // SAFETY: the columns of each sixteen rows are in `panels` and begin at a block; for
                        // the rest see below.
                        unsafe { step.run::<T, _>(source, columns, sums) };
                    }
                    continue;
                }
                if T::IS_COPY {
                    unreachable!("no file has what copies have");
                }
                let stored = &weight.bytes()[first * row_bytes..(first + n_rows) * row_bytes];
                for columns in if n_rows == panel_rows { step.of(&chunk) } else { Step::each_block(&chunk) } {
                    let before = bytes_of_columns::<T>(columns.start);
                    let n_bytes = bytes_of_columns::<T>(columns.len());
                    // The place in the next panel, read from end to end, that is as far from its beginning as
                    // this part is.
                    let next = stored.as_ptr().wrapping_add(panel_rows * (row_bytes + before));
                    let source = if n_rows == panel_rows {
                        // The last row's part is inside, and so are those of the rows before it.
                        assert!((panel_rows - 1) * row_bytes + before + n_bytes <= stored.len());
                        StoredRows { start: stored[before..].as_ptr(), stride: row_bytes, next }
                    } else {
                        let copy = bytes_of(last_rows);
                        copy.fill(0);
                        for (row, copy) in stored.chunks_exact(row_bytes).zip(copy.chunks_exact_mut(n_bytes))
                        {
                            copy.copy_from_slice(&row[before..][..n_bytes]);
                        }
                        StoredRows { start: copy.as_ptr(), stride: n_bytes, next }
                    };
                    // SAFETY: `panel_rows` rows of the columns are readable; the panel has room for a block
                    // of columns, `sums` for `m.len()` rows; the tiles of `x` are complete by its making.
                    unsafe { step.run::<T, _>(source, columns, sums) };
                }
            }
        }
        // SAFETY: the promise of `matmul`'s caller.
        unsafe { PutSums::run(isa, sums, m.len(), panel_rows, rows.len(), out) };
    }
}

/// Bytes of `n` columns of a row, which are whole blocks.
#[inline(always)]
fn bytes_of_columns<T: Coded>(n: usize) -> usize {
    n / T::LEN * T::BYTES
}

/// What is the same for each step of a task: some columns of a panel of rows.
struct Step<'a> {
    isa: Isa,
    x: Int8Operand<'a>,
    m: Range<usize>,
    /// Whether codes are multiplied as they are unpacked. All rows of `x` are few, then.
    in_registers: bool,
    panel: Panel,
}

impl Step<'_> {
    /// The steps of a chunk of columns. A single tile of few rows needs no more than one: it reads nothing
    /// twice.
    fn of(&self, chunk: &Range<usize>) -> Columns {
        let len = if self.in_registers && self.x.m.is_power_of_two() { chunk.len() } else { K_BLOCK };
        Columns { start: chunk.start, end: chunk.end, len }
    }

    /// The steps where a block of columns is all there is room for.
    fn each_block(chunk: &Range<usize>) -> Columns {
        Columns { start: chunk.start, end: chunk.end, len: K_BLOCK }
    }

    /// Adds the products of some columns of weight rows to `sums`, which begin with column 0.
    ///
    /// # Safety
    /// The rows have the columns, at most [`K_BLOCK`] unless `in_registers`, from a block's beginning on, and
    /// `sums` a vector for each row of `x` in `m` and sixteen rows of weights.
    unsafe fn run<T: Coded, W: BlockSource>(&self, rows: W, columns: Range<usize>, sums: *mut f32) {
        let Step { isa, x, ref m, panel, .. } = *self;
        // SAFETY: the caller's promise; `x` has whole tiles by its making.
        unsafe {
            if self.in_registers {
                return few::all_rows::<T, W>(isa, rows, &x, columns, sums);
            }
            let is_signed = is_for_amx(isa, x.m, T::SUB);
            isa.run(Unpack::<T, W>::new(rows, columns.len(), is_signed, panel));
            let ahead = [0, 1].map(|p| rows.sixteen(p, bytes_of_columns::<T>(columns.len())).ahead::<T>());
            let multiply = Multiply::<T>::new(x, m.clone(), columns, panel, ahead, sums);
            #[cfg(target_arch = "x86_64")]
            if is_signed {
                return isa.run_tiles(tiles::InTiles(multiply));
            }
            isa.run(multiply);
        }
    }
}

/// Columns `len` by `len`.
struct Columns {
    start: usize,
    end: usize,
    len: usize,
}

impl Iterator for Columns {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.start;
        self.start = self.end.min(start + self.len);
        (start < self.end).then_some(start..self.start)
    }
}
