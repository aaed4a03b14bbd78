//! Few rows of activations: columns of weights are multiplied as they are unpacked.

#![allow(clippy::needless_range_loop)] // Rows and columns are addressed by number, as the formula is.

use std::marker::PhantomData;
use std::ops::Range;

use super::element::Element;
use super::many::K_BLOCK;
use crate::isa::{Isa, Kernel};
use crate::matmul::ahead::LineSource;
use crate::matmul::pack::{FEW_ROWS, all_tiles};
use crate::simd::Rows16;

/// Adds the products of some columns of `panel_rows` weight rows, sixteen or two times sixteen, with all rows
/// of `x`, which are few, to `sums`: `panel_rows` for each row. They begin with column 0.
///
/// # Safety
/// The rows have the columns, and `sums` has room.
pub(super) unsafe fn all_rows<E: Element, W: LineSource<E>>(
    isa: Isa,
    rows: W,
    panel_rows: usize,
    x: &[f32],
    k: usize,
    columns: Range<usize>,
    sums: *mut f32,
) {
    for (first, n) in all_tiles(x.len() / k) {
        let (len, from_zero) = (columns.len(), columns.start == 0);
        let x = x[first * k + n * columns.start..][..n * len].as_ptr();
        let tile = Tile { rows, x, len, sums: sums.wrapping_add(panel_rows * first), panel_rows, from_zero };
        match n {
            FEW_ROWS => isa.run_vectors(Few::<E, W, FEW_ROWS>(tile, PhantomData)),
            4 => isa.run_vectors(Few::<E, W, 4>(tile, PhantomData)),
            2 => isa.run_vectors(Few::<E, W, 2>(tile, PhantomData)),
            _ => isa.run_vectors(Few::<E, W, 1>(tile, PhantomData)),
        }
    }
}

/// A tile of activations, `[len, rows of the tile]`, the weights, and where the sums go: `panel_rows` for
/// each row. Whoever makes one vouches for `len` columns of all of them.
struct Tile<W> {
    rows: W,
    x: *const f32,
    len: usize,
    sums: *mut f32,
    panel_rows: usize,
    from_zero: bool,
}

/// A tile of `MR` rows.
struct Few<E, W, const MR: usize>(Tile<W>, PhantomData<E>);

impl<E: Element, W: LineSource<E>, const MR: usize> Kernel for Few<E, W, MR> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        let (first, second) = (self.0.rows, self.0.rows.sixteen(1));
        // SAFETY: the maker's promise.
        unsafe {
            match S::PANELS > 1 && self.0.panel_rows == 32 {
                true => self.multiply::<S, 2>(s, [first, second]),
                false => self.multiply::<S, 1>(s, [first]),
            }
        }
    }
}

impl<E: Element, W: LineSource<E>, const MR: usize> Few<E, W, MR> {
    /// In the order of [`Multiply`](super::many::Multiply): block of columns after block, each summed up by
    /// itself.
    ///
    /// # Safety
    /// `rows` are the tile's, and its maker's promise was kept.
    #[inline(always)]
    unsafe fn multiply<S: Rows16, const NP: usize>(&self, s: S, rows: [W; NP]) {
        let tile = &self.0;
        // SAFETY: the caller's promise.
        unsafe {
            for block in (0..tile.len).step_by(K_BLOCK) {
                let end = tile.len.min(block + K_BLOCK);
                let mut acc = [[s.splat_float(0.0); NP]; MR];
                for first in (block..end).step_by(E::PER_LINE) {
                    let x = tile.x.add(MR * first);
                    // A whole line by itself: a constant number of columns, so that they stay in registers.
                    if end - first >= E::PER_LINE {
                        let lines = lines::<S, E, W, NP>(s, &rows, first, end);
                        if MR == FEW_ROWS && S::PANELS == 1 {
                            // Twice four rows: the accumulators of eight would not fit the registers.
                            add_line::<S, E, W, MR, NP, 0, 4>(s, x, &lines, &mut acc);
                            add_line::<S, E, W, MR, NP, 4, 4>(s, x, &lines, &mut acc);
                        } else {
                            add_line::<S, E, W, MR, NP, 0, MR>(s, x, &lines, &mut acc);
                        }
                    } else {
                        let lines = lines::<S, E, W, NP>(s, &rows, first, end);
                        for t in (0..end - first).step_by(2) {
                            let one = end - first - t == 1;
                            add_pair::<S, E, W, MR, NP, 0, MR>(s, x, &lines, t, one, &mut acc);
                        }
                    }
                }
                let from_zero = tile.from_zero && block == 0;
                for r in 0..MR {
                    for p in 0..NP {
                        let sums = tile.sums.add(tile.panel_rows * r + 16 * p);
                        let sum = acc[r][p];
                        let sum = if from_zero { sum } else { s.add_floats(s.load_floats(sums), sum) };
                        s.store_floats(sums, sum);
                    }
                }
            }
        }
    }
}

/// A line of each panel.
///
/// # Safety
/// As for [`LineSource::line`].
#[inline(always)]
unsafe fn lines<S: Rows16, E: Element, W: LineSource<E>, const NP: usize>(
    s: S,
    rows: &[W; NP],
    first: usize,
    end: usize,
) -> [W::Line<S>; NP] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut lines = [rows[0].line(s, first, end); NP];
        for p in 1..NP {
            lines[p] = rows[p].line(s, first, end);
        }
        lines
    }
}

/// Adds the products of a whole line of each panel to rows `FIRST..FIRST + N`.
///
/// # Safety
/// `x` begins with the activations of its columns.
#[inline(always)]
unsafe fn add_line<S, E, W, const MR: usize, const NP: usize, const FIRST: usize, const N: usize>(
    s: S,
    x: *const f32,
    lines: &[W::Line<S>; NP],
    acc: &mut [[S::Floats; NP]; MR],
) where
    S: Rows16,
    E: Element,
    W: LineSource<E>,
{
    for t in (0..E::PER_LINE).step_by(2) {
        // SAFETY: the caller's promise, of a whole line.
        unsafe { add_pair::<S, E, W, MR, NP, FIRST, N>(s, x, lines, t, false, acc) };
    }
}

/// Adds the products of columns `t` and `t + 1` of a line of each panel, or of the first column alone, to
/// rows `FIRST..FIRST + N`.
///
/// # Safety
/// The lines have them, and `x` begins with the activations of their columns.
#[inline(always)]
unsafe fn add_pair<S, E, W, const MR: usize, const NP: usize, const FIRST: usize, const N: usize>(
    s: S,
    x: *const f32,
    lines: &[W::Line<S>; NP],
    t: usize,
    one: bool,
    acc: &mut [[S::Floats; NP]; MR],
) where
    S: Rows16,
    E: Element,
    W: LineSource<E>,
{
    // SAFETY: the caller's promise.
    unsafe {
        let mut pairs = [W::pair(s, &lines[0], t, one); NP];
        for p in 1..NP {
            pairs[p] = W::pair(s, &lines[p], t, one);
        }
        for i in 0..if one { 1 } else { 2 } {
            for r in FIRST..FIRST + N {
                let x = s.splat_float(*x.add(MR * (t + i) + r));
                for p in 0..NP {
                    acc[r][p] = s.fma_floats(x, pairs[p][i], acc[r][p]);
                }
            }
        }
    }
}
