//! Two register tiles over f32, from which gradients are made.
//!
//! [`dot_block`] multiplies rows by rows (A Bᵀ): vectors run along the shared dimension, so neither side is
//! packed. [`outer_block`] multiplies by columns (C += A B): vectors run along the rows of B, elements of A
//! are broadcast.

// Tiles are written by row and column, as the formula is; iterators over accumulators would hide it.
#![allow(clippy::needless_range_loop)]

use crate::simd::Simd;

/// Where the rows of a row-major f32 matrix begin, and how many elements apart they are.
#[derive(Clone, Copy)]
pub(crate) struct RowPtr {
    pub start: *const f32,
    pub stride: usize,
}

impl RowPtr {
    /// # Safety
    /// Row `i` lies inside the matrix.
    #[inline(always)]
    unsafe fn row(self, i: usize) -> *const f32 {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(i * self.stride) }
    }
}

/// The same of a matrix that is written to.
#[derive(Clone, Copy)]
pub(crate) struct RowPtrMut {
    pub start: *mut f32,
    pub stride: usize,
}

/// `out[i][j] = a[i] · b[j]` for `m` rows of `a` and `n` rows of `b`, each of `k` elements.
///
/// # Safety
/// All rows named lie inside their matrices; `out` overlaps neither input.
#[inline(always)]
pub(crate) unsafe fn dot_block<S: Simd>(
    s: S,
    (m, n, k): (usize, usize, usize),
    a: RowPtr,
    b: RowPtr,
    out: RowPtrMut,
) {
    // Accumulators, one vector of each a row and one of b stay in registers: 24 + 6 + 1 of 32, or 12 + 3 + 1
    // of 16. SAFETY: the caller's promise, for each tile.
    unsafe {
        let mut i = 0;
        while i < m {
            let tile = DotTile { s, i, n, k, a, b, out };
            i += match m - i {
                1 => tile.strip::<1, 8>(),
                2 => tile.strip::<2, 4>(),
                3..6 => tile.strip::<3, 4>(),
                _ if S::LANES == 8 => tile.strip::<3, 4>(),
                _ => tile.strip::<6, 4>(),
            };
        }
    }
}

#[derive(Clone, Copy)]
struct DotTile<S> {
    s: S,
    i: usize,
    n: usize,
    k: usize,
    a: RowPtr,
    b: RowPtr,
    out: RowPtrMut,
}

impl<S: Simd> DotTile<S> {
    /// Rows `i..i + MR` of the output, all columns; returns `MR`.
    ///
    /// # Safety
    /// The promise of [`dot_block`]'s caller, for `i + MR` rows.
    #[inline(always)]
    unsafe fn strip<const MR: usize, const NR: usize>(self) -> usize {
        let mut j = 0;
        // SAFETY: the caller's promise.
        unsafe {
            while j + NR <= self.n {
                self.dot::<MR, NR>(j);
                j += NR;
            }
            while j < self.n {
                self.dot::<MR, 1>(j);
                j += 1;
            }
        }
        MR
    }

    /// Columns `j..j + NR` of rows `i..i + MR`.
    ///
    /// # Safety
    /// As for [`DotTile::strip`], and there are `j + NR` columns.
    #[inline(always)]
    unsafe fn dot<const MR: usize, const NR: usize>(self, j: usize) {
        let DotTile { s, i, k, out, .. } = self;
        let mut acc = [[s.splat(0.0); NR]; MR];
        // SAFETY: the caller's promise; `p + LANES <= k` or `p + rest = k`.
        unsafe {
            let whole = k - k % S::LANES;
            let mut p = 0;
            while p < whole {
                self.step(&mut acc, j, p, S::LANES);
                p += S::LANES;
            }
            if whole < k {
                self.step(&mut acc, j, whole, k - whole);
            }
            for r in 0..MR {
                let mut sums = [0.0; NR];
                let mut c = 0;
                while c + 4 <= NR {
                    let four = s.sum4([acc[r][c], acc[r][c + 1], acc[r][c + 2], acc[r][c + 3]]);
                    sums[c..c + 4].copy_from_slice(&four);
                    c += 4;
                }
                while c < NR {
                    sums[c] = s.sum(acc[r][c]);
                    c += 1;
                }
                let y = out.start.add((i + r) * out.stride + j);
                for c in 0..NR {
                    *y.add(c) = sums[c];
                }
            }
        }
    }

    /// Adds the products of `n` elements from `p` on.
    ///
    /// # Safety
    /// Rows `i..i + MR` of a and `j..j + NR` of b have `p + n` elements; `n <= LANES`.
    #[inline(always)]
    unsafe fn step<const MR: usize, const NR: usize>(
        self,
        acc: &mut [[S::V; NR]; MR],
        j: usize,
        p: usize,
        n: usize,
    ) {
        let DotTile { s, i, a, b, .. } = self;
        let mut x = [s.splat(0.0); MR];
        // SAFETY: the caller's promise.
        unsafe {
            for r in 0..MR {
                x[r] = s.load_n(a.row(i + r).add(p), n);
            }
            for c in 0..NR {
                let w = s.load_n(b.row(j + c).add(p), n);
                for r in 0..MR {
                    acc[r][c] = s.fma(x[r], w, acc[r][c]);
                }
            }
        }
    }
}

/// Elements of a matrix addressed by two strides: `(i, p)` lies at `i * row + p * col`.
#[derive(Clone, Copy)]
pub(crate) struct Strided {
    pub start: *const f32,
    pub row: usize,
    pub col: usize,
}

/// `c[i][j] += sum over p of a(i, p) b[p][j]` for `m` rows, `n` columns and `k` summands, in the order of p.
///
/// # Safety
/// All elements named lie inside their matrices; `c` overlaps neither input.
#[inline(always)]
pub(crate) unsafe fn outer_block<S: Simd>(
    s: S,
    (m, n, k): (usize, usize, usize),
    a: Strided,
    b: RowPtr,
    c: RowPtrMut,
) {
    // 24 + 4 + 1 of 32 registers, or 12 + 2 + 1 of 16.
    // SAFETY: the caller's promise, for each tile.
    unsafe {
        let mut i = 0;
        while i < m {
            let tile = OuterTile { s, i, n, k, a, b, c };
            i += match m - i {
                1 => tile.strip::<1>(),
                2..4 => tile.strip::<2>(),
                4..6 => tile.strip::<4>(),
                _ => tile.strip::<6>(),
            };
        }
    }
}

#[derive(Clone, Copy)]
struct OuterTile<S> {
    s: S,
    i: usize,
    n: usize,
    k: usize,
    a: Strided,
    b: RowPtr,
    c: RowPtrMut,
}

impl<S: Simd> OuterTile<S> {
    /// Rows `i..i + MR` of the output, all columns; returns `MR`.
    ///
    /// # Safety
    /// The promise of [`outer_block`]'s caller, for `i + MR` rows.
    #[inline(always)]
    unsafe fn strip<const MR: usize>(self) -> usize {
        let wide = if S::LANES == 8 { 2 } else { 4 };
        let mut j = 0;
        // SAFETY: the caller's promise.
        unsafe {
            while j + wide * S::LANES <= self.n {
                if S::LANES == 8 {
                    self.sum::<MR, 2>(j, None);
                } else {
                    self.sum::<MR, 4>(j, None);
                }
                j += wide * S::LANES;
            }
            while j + S::LANES <= self.n {
                self.sum::<MR, 1>(j, None);
                j += S::LANES;
            }
            if j < self.n {
                self.sum::<MR, 1>(j, Some(self.n - j));
            }
        }
        MR
    }

    /// `NV` vectors of columns from `j` on, or the `rest` of the columns, of rows `i..i + MR`.
    ///
    /// # Safety
    /// As for [`OuterTile::strip`], and the columns exist; with `rest`, `NV` is 1.
    #[inline(always)]
    unsafe fn sum<const MR: usize, const NV: usize>(self, j: usize, rest: Option<usize>) {
        let OuterTile { s, i, k, a, b, c, .. } = self;
        let mut acc = [[s.splat(0.0); NV]; MR];
        // SAFETY: the caller's promise; with `rest`, NV is 1 and only `rest` columns exist.
        unsafe {
            for p in 0..k {
                let row = b.row(p).add(j);
                let mut w = [s.splat(0.0); NV];
                for v in 0..NV {
                    w[v] = match rest {
                        None => s.load(row.add(v * S::LANES)),
                        Some(len) => s.load_partial(row, len),
                    };
                }
                for r in 0..MR {
                    let x = s.splat(*a.start.add((i + r) * a.row + p * a.col));
                    for v in 0..NV {
                        acc[r][v] = s.fma(x, w[v], acc[r][v]);
                    }
                }
            }
            for r in 0..MR {
                for v in 0..NV {
                    let y = c.start.add((i + r) * c.stride + j + v * S::LANES);
                    match rest {
                        None => s.store(y, s.add(s.load(y), acc[r][v])),
                        Some(len) => s.store_partial(y, s.add(s.load_partial(y, len), acc[r][v]), len),
                    }
                }
            }
        }
    }
}
