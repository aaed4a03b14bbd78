//! One span of keys for one tile of query rows: scores, running softmax, weighted sum of values.
//!
//! Rows are taken in strips of up to twelve. Both products are outer products: vectors run along keys for the
//! scores and along the head for the values, one element of a query or one weight is broadcast per row, and
//! every output has one accumulator that runs over the shared dimension in order. So a row's bits depend
//! neither on the strip it is in nor on whether keys and values were decoded beforehand. A strip of twelve
//! loads two vectors for 24 multiply-adds: few enough that the second-level cache can deliver them.
//!
//! The softmax counts in powers of two: scores arrive multiplied by log2(e), with the query.

// Tiles are written by row and column, as the formula is; iterators over accumulators would hide it.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::panel::Panel;
use super::prefetch::Prefetcher;
use super::rows::{Heads, Mask};
use super::state::State;
use crate::isa::Kernel;
use crate::kv::{KvLayout, padded};
use crate::simd::{Simd, vectors};

const BLOCK: usize = KvLayout::BLOCK;
/// Keys taken at a time: enough that rescaling, and adding up lanes, costs little beside the products.
pub(super) const SPAN: usize = 4 * BLOCK;
/// Rows of the largest strip.
pub(super) const MAX_STRIP: usize = 12;
/// Rows of a strip that waits for memory rather than for arithmetic.
const FEW_ROWS: usize = 8;
/// Elements of a row that lie together in a strip's queries and scores, `[chunk, row, CHUNK]`: what is
/// broadcast for one step of a product lies at small fixed distances, in few cache lines.
const CHUNK: usize = 16;

/// The rows of the strip that comes next when `n_left` are left.
#[inline(always)]
fn strip_rows(lanes: usize, n_left: usize) -> usize {
    match n_left {
        // Accumulators, two or four vectors of keys and a broadcast: 24 + 2 + 1 of 32 registers, or 12 + 2 +
        // 1 of 16.
        12.. if lanes != 8 => 12,
        8.. if lanes != 8 => 8,
        6.. if lanes == 8 => 6,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// How many rows ahead of the one that is packed queries are prefetched.
const ROWS_AHEAD: usize = 24;

/// Copies a tile's queries, times `factor`, strip after strip in chunks.
pub(super) struct PackQueries<'a> {
    pub q: &'a [f32],
    pub heads: Heads,
    pub n_rows: usize,
    pub head_dim: usize,
    pub factor: f32,
    /// `[rows, padded head_dim]`, as [`TileRows::q`].
    pub packed: &'a mut [f32],
}

impl Kernel for PackQueries<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (m, dim, factor) = (self.n_rows, self.head_dim, s.splat(self.factor));
        assert!(self.packed.len() >= m * padded(dim));
        let mut row = 0;
        while row < m {
            let n_strip = strip_rows(S::LANES, m - row);
            for r in 0..n_strip {
                let q = &self.q[self.heads.index(row + r) * dim..][..dim];
                let packed = &mut self.packed[row * padded(dim)..][..n_strip * padded(dim)];
                let later = self.q.as_ptr().wrapping_add(self.heads.index(row + r + ROWS_AHEAD) * dim);
                for (i, n) in vectors(s, dim) {
                    let at = i / CHUNK * n_strip * CHUNK + r * CHUNK + i % CHUNK;
                    // SAFETY: `i + n` is at most `dim`, and its chunk is inside the strip.
                    unsafe {
                        s.prefetch(later.wrapping_add(i).cast());
                        let x = s.mul(s.load_n(q.as_ptr().add(i), n), factor);
                        s.store_n(packed.as_mut_ptr().add(at), x, n);
                    }
                }
            }
            row += n_strip;
        }
    }
}

/// A tile's rows.
pub(super) struct TileRows<'a> {
    pub head_dim: usize,
    pub mask: Mask,
    /// The queries, as [`PackQueries`] leaves them.
    pub q: &'a [f32],
    /// Where the tile's results will be written, to be prefetched in time.
    pub heads: Heads,
    pub out: *const f32,
    /// `[MAX_STRIP, SPAN]`, to work in.
    pub scores: &'a mut [f32],
    /// `[MAX_STRIP, padded head_dim]`, likewise.
    pub sums: &'a mut [f32],
}

/// The kernel.
pub(super) struct Span<'r, 'a, 's, K, V> {
    rows: &'r mut TileRows<'a>,
    state: &'r mut State<'s>,
    keys: Range<usize>,
    k: &'r [K],
    v: &'r [V],
    ahead: Prefetcher<'r>,
}

impl<'r, 'a, 's, K, V> Span<'r, 'a, 's, K, V> {
    /// Rows attend to `keys`, which lie in blocks: `k` are `[head_dim, BLOCK]` each, `v` `[BLOCK, padded
    /// head_dim]`.
    ///
    /// # Safety
    /// The panels have the rows and columns that hold `keys`, those of `k` rounded up to 16 keys.
    pub unsafe fn new(
        rows: &'r mut TileRows<'a>,
        state: &'r mut State<'s>,
        keys: Range<usize>,
        k: &'r [K],
        v: &'r [V],
        ahead: Prefetcher<'r>,
    ) -> Self {
        let n_blocks = keys.len().div_ceil(BLOCK);
        assert!(keys.len() <= SPAN && k.len() == n_blocks && v.len() == n_blocks);
        let (m, dim) = (state.max.len(), padded(rows.head_dim));
        assert!(state.sum.len() == m && state.out.len() == m * dim && rows.q.len() == m * dim);
        assert!(rows.scores.len() == MAX_STRIP * SPAN && rows.sums.len() == MAX_STRIP * dim);
        assert!(rows.mask.group > 0);
        Span { rows, state, keys, k, v, ahead }
    }
}

impl<K: Panel, V: Panel> Kernel for Span<'_, '_, '_, K, V> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let m = self.state.max.len();
        let mut row = 0;
        while row < m {
            let n = strip_rows(S::LANES, m - row);
            // SAFETY: `new` checked the buffers and was promised the panels.
            unsafe {
                match n {
                    12 => self.strip::<S, 12, 2>(s, row),
                    8 => self.strip::<S, 8, 2>(s, row),
                    6 => self.strip::<S, 6, 2>(s, row),
                    4 if S::LANES == 8 => self.strip::<S, 4, 2>(s, row),
                    4 => self.strip::<S, 4, 4>(s, row),
                    2 => self.strip::<S, 2, 4>(s, row),
                    _ => self.strip::<S, 1, 4>(s, row),
                }
            }
            row += n;
        }
    }
}

impl<K: Panel, V: Panel> Span<'_, '_, '_, K, V> {
    /// `MR` rows from `row` on, `NV` vectors of keys or of the head at a time.
    ///
    /// # Safety
    /// They are the rows of the tile, and the promises to `new` were kept.
    #[inline(always)]
    unsafe fn strip<S: Simd, const MR: usize, const NV: usize>(&mut self, s: S, row: usize) {
        let n_seen = self.rows.mask.n_seen(row + MR - 1, &self.keys); // Later rows see no fewer.
        if n_seen == 0 || self.rows.mask.n_unseen(row, &self.keys) == self.keys.len() {
            return;
        }
        // SAFETY: keys seen are keys that the panels have; rows are the caller's promise.
        unsafe {
            for block in 0..n_seen.div_ceil(BLOCK) {
                self.k[block].prepare(s, self.rows.head_dim);
                let n = (n_seen - block * BLOCK).min(BLOCK);
                let mut col = 0;
                while col < n {
                    if col + (NV - 1) * S::LANES < n {
                        self.score::<S, MR, NV>(s, row, block, col);
                        col += NV * S::LANES;
                    } else {
                        self.score::<S, MR, 1>(s, row, block, col);
                        col += S::LANES;
                    }
                }
            }
            let keep = self.softmax::<S, MR>(s, row, n_seen);
            let dim = padded(self.rows.head_dim);
            for block in 0..n_seen.div_ceil(BLOCK) {
                self.v[block].prepare(s, BLOCK);
                let mut col = 0;
                while col < dim {
                    if col + NV * S::LANES <= dim {
                        self.weigh::<S, MR, NV>(s, row, n_seen, block, &keep, col);
                        col += NV * S::LANES;
                    } else {
                        self.weigh::<S, MR, 1>(s, row, n_seen, block, &keep, col);
                        col += S::LANES;
                    }
                }
            }
        }
    }

    /// The scores of `NV` vectors of a block's keys from `col` on.
    ///
    /// # Safety
    /// As for [`Span::strip`]; the block has those columns.
    #[inline(always)]
    unsafe fn score<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        row: usize,
        block: usize,
        col: usize,
    ) {
        let dim = self.rows.head_dim;
        let mut acc = [[s.splat(0.0); NV]; MR];
        // SAFETY: the caller's promise.
        unsafe {
            let q = self.rows.q.as_ptr().add(row * padded(dim));
            multiply_add(s, &mut acc, q, self.k[block], dim, col, &mut self.ahead);
            for c in 0..NV {
                let key = block * BLOCK + col + c * S::LANES;
                for r in 0..MR {
                    s.store(self.rows.scores.as_mut_ptr().add(score_at::<MR>(r, key)), acc[r][c]);
                }
            }
        }
    }

    /// Turns scores into weights; returns what to multiply each row's earlier sums by.
    #[inline(always)]
    fn softmax<S: Simd, const MR: usize>(&mut self, s: S, row: usize, n_seen: usize) -> [f32; 16] {
        let (state, scores) = (&mut *self.state, &mut *self.rows.scores);
        let (mut keep, mut max, mut n) = ([0.0; 16], [0.0; 16], [0; 16]);
        for r in 0..MR {
            n[r] = self.rows.mask.n_seen(row + r, &self.keys);
            for key in 0..self.rows.mask.n_unseen(row + r, &self.keys) {
                scores[score_at::<MR>(r, key)] = f32::NEG_INFINITY; // Its weight will be 0.
            }
            max[r] = max_of_row::<S, MR>(s, scores, r, n[r], state.max[row + r]);
            keep[r] = state.max[row + r] - max[r];
        }
        for (i, _) in vectors(s, 16) {
            let p = keep.as_mut_ptr();
            // SAFETY: 16 is a multiple of LANES.
            unsafe { s.store(p.add(i), s.exp2(s.load(p.add(i)))) };
        }
        for r in 0..MR {
            state.max[row + r] = max[r];
            let out = self.rows.out.wrapping_add(self.rows.heads.index(row + r) * self.rows.head_dim);
            for i in (0..self.rows.head_dim).step_by(16) {
                s.prefetch(out.wrapping_add(i).cast());
            }
            state.sum[row + r] =
                state.sum[row + r] * keep[r] + exp2_of_row::<S, MR>(s, scores, r, n[r], max[r]);
            for key in n[r].next_multiple_of(S::LANES)..n_seen {
                scores[score_at::<MR>(r, key)] = 0.0;
            }
        }
        keep
    }

    /// `out = out * keep + weights · values`, in `NV` vectors of columns from `col` on, one block of the
    /// span's: its sums so far are kept aside until those of the last block are added.
    ///
    /// # Safety
    /// As for [`Span::strip`]; the block has those columns.
    #[inline(always)]
    unsafe fn weigh<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        row: usize,
        n_seen: usize,
        block: usize,
        keep: &[f32; 16],
        col: usize,
    ) {
        let dim = padded(self.rows.head_dim);
        let mut acc = [[s.splat(0.0); NV]; MR];
        // SAFETY: the caller's promise.
        unsafe {
            let aside = self.rows.sums.as_mut_ptr().add(col);
            if block > 0 {
                for r in 0..MR {
                    for c in 0..NV {
                        acc[r][c] = s.load(aside.add(r * dim + c * S::LANES));
                    }
                }
            }
            let weights = self.rows.scores.as_ptr().add(score_at::<MR>(0, block * BLOCK));
            let n_keys = (n_seen - block * BLOCK).min(BLOCK);
            multiply_add(s, &mut acc, weights, self.v[block], n_keys, col, &mut self.ahead);
            let is_last = (block + 1) * BLOCK >= n_seen;
            for r in 0..MR {
                for c in 0..NV {
                    if is_last {
                        let out = self.state.out.as_mut_ptr().add((row + r) * dim + col + c * S::LANES);
                        s.store(out, s.fma(s.load(out), s.splat(keep[r]), acc[r][c]));
                    } else {
                        s.store(aside.add(r * dim + c * S::LANES), acc[r][c]);
                    }
                }
            }
        }
    }
}

/// `acc[r][c] += sum over i of a(r, i) b[i][c]`, for `n` rows of `b` and `NV` of its vectors from `col` on;
/// `a` lies in chunks.
///
/// # Safety
/// `a` has `MR` rows of `n` elements, `b` the rows and columns.
#[inline(always)]
unsafe fn multiply_add<S: Simd, P: Panel, const MR: usize, const NV: usize>(
    s: S,
    acc: &mut [[S::V; NV]; MR],
    mut a: *const f32,
    b: P,
    n: usize,
    col: usize,
    ahead: &mut Prefetcher,
) {
    let mut at = col;
    // SAFETY: the caller's promise.
    unsafe {
        for first in (0..n).step_by(CHUNK) {
            if MR > FEW_ROWS {
                ahead.prefetch_share(s);
            }
            let mut scale = [b.scale(s, first, col); NV];
            for c in 1..NV {
                scale[c] = b.scale(s, first, col + c * S::LANES);
            }
            for i in 0..CHUNK.min(n - first) {
                let mut x = [s.splat(0.0); NV];
                for c in 0..NV {
                    if P::SCALES_ROWS {
                        scale[c] = b.scale(s, first + i, col + c * S::LANES);
                    }
                    x[c] = b.load(s, at + c * S::LANES, scale[c]);
                }
                at += b.stride();
                if MR <= FEW_ROWS {
                    ahead.prefetch(s, NV * S::LANES * P::BYTES);
                }
                for r in 0..MR {
                    let a = s.splat(*a.add(r * CHUNK + i));
                    for c in 0..NV {
                        acc[r][c] = s.fma(a, x[c], acc[r][c]);
                    }
                }
            }
            a = a.add(MR * CHUNK);
        }
    }
}

/// Where the score of a strip's row and a span's key lies.
#[inline(always)]
const fn score_at<const MR: usize>(row: usize, key: usize) -> usize {
    key / CHUNK * MR * CHUNK + row * CHUNK + key % CHUNK
}

/// The largest of a row's first `n` scores and `least`.
#[inline(always)]
fn max_of_row<S: Simd, const MR: usize>(s: S, scores: &[f32], row: usize, n: usize, least: f32) -> f32 {
    assert!(n <= SPAN && row < MR && scores.len() >= MR * SPAN);
    let least = s.splat(least);
    let mut max = [least; 2]; // Two, because one would wait for itself.
    for (i, n) in vectors(s, n) {
        // SAFETY: scores of whole chunks are there.
        let mut x = unsafe { s.load(scores.as_ptr().add(score_at::<MR>(row, i))) };
        if n < S::LANES {
            x = s.first(x, n, least);
        }
        max = [max[1], s.max(max[0], x)];
    }
    s.max_lane(s.max(max[0], max[1]))
}

/// x = 2^(x − max) for a row's first `n` scores, and zero for the rest of their last vector, in place;
/// returns the sum. Its order depends on `n` alone.
#[inline(always)]
fn exp2_of_row<S: Simd, const MR: usize>(s: S, scores: &mut [f32], row: usize, n: usize, max: f32) -> f32 {
    assert!(n <= SPAN && row < MR && scores.len() >= MR * SPAN);
    let (max, zero) = (s.splat(max), s.splat(0.0));
    let mut sum = zero;
    for (i, n) in vectors(s, n) {
        // SAFETY: scores of whole chunks are there.
        unsafe {
            let p = scores.as_mut_ptr().add(score_at::<MR>(row, i));
            let mut e = s.exp2(s.sub(s.load(p), max));
            if n < S::LANES {
                e = s.first(e, n, zero);
            }
            s.store(p, e);
            sum = s.add(sum, e);
        }
    }
    s.sum(sum)
}
