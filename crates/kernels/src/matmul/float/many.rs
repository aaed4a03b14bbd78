//! Many rows of activations: a panel of columns is unpacked once and multiplied with tile after tile.

#![allow(clippy::needless_range_loop)] // Accumulators are addressed by row and panel, as the formula is.

use std::marker::PhantomData;
use std::ops::Range;

use super::element::Element;
use crate::isa::Kernel;
use crate::matmul::ahead::LineSource;
use crate::matmul::pack::{TILE_ROWS, tiles};
use crate::simd::Rows16;

/// Columns unpacked at a time: 64 rows of them are 32 KiB.
pub(super) const K_BLOCK: usize = 128;

/// Writes columns of weight rows as `[sixteen rows, column, row]`.
pub(super) struct Unpack<E, W> {
    element: PhantomData<E>,
    rows: W,
    n_panels: usize,
    len: usize,
    panel: *mut f32,
}

impl<E, W> Unpack<E, W> {
    /// # Safety
    /// There are `n_panels` times sixteen rows of `len` columns, at most [`K_BLOCK`], and `panel` has room
    /// for so many.
    pub unsafe fn new(rows: W, n_panels: usize, len: usize, panel: *mut f32) -> Self {
        Unpack { element: PhantomData, rows, n_panels, len, panel }
    }
}

impl<E: Element, W: LineSource<E>> Kernel for Unpack<E, W> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        let Unpack { rows, n_panels, len, panel, .. } = self;
        for p in 0..n_panels {
            let (rows, panel) = (rows.sixteen(p), panel.wrapping_add(16 * K_BLOCK * p));
            for column in (0..len).step_by(E::PER_LINE) {
                // SAFETY: what `new` was promised; a block has whole lines.
                unsafe {
                    let line = rows.line(s, column, len);
                    let n = E::PER_LINE.min(len - column);
                    for t in (0..n).step_by(2) {
                        for (i, floats) in
                            W::pair(s, &line, t, n - t == 1).into_iter().enumerate().take(n - t)
                        {
                            s.store_floats(panel.add(16 * (column + t + i)), floats);
                        }
                    }
                }
            }
        }
    }
}

/// Multiplies a panel with the tiles of rows `m` of `x`.
pub(super) struct Multiply<'a> {
    x: &'a [f32],
    k: usize,
    m: Range<usize>,
    columns: Range<usize>,
    panel: *const f32,
    sums: *mut f32,
}

impl<'a> Multiply<'a> {
    /// # Safety
    /// The panel holds the columns. Rows `m` of `x` are whole tiles, and `sums` has a panel's rows of floats
    /// for each of them; they begin with column 0.
    pub unsafe fn new(
        x: &'a [f32],
        k: usize,
        m: Range<usize>,
        columns: Range<usize>,
        panel: *const f32,
        sums: *mut f32,
    ) -> Self {
        Multiply { x, k, m, columns, panel, sums }
    }
}

impl Kernel for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        let Multiply { x, k, m, columns, panel, sums } = self;
        for (first, n) in tiles(m.len(), TILE_ROWS) {
            let x = x[(m.start + first) * k + columns.start * n..].as_ptr();
            let sums = sums.wrapping_add(first * 16 * S::FLOAT_PANELS);
            let (len, add) = (columns.len(), columns.start > 0);
            // SAFETY: what `new` was promised.
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
}

/// Multiplies a panel with a tile of `MR` rows, `[len, MR]`, and writes the sums, or adds them to those
/// before.
///
/// # Safety
/// The panel has `len` columns of `NP` times sixteen rows, `x` as many, and `sums` has room.
#[inline(always)]
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

/// Adds the products of one column.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
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
