//! What the softmax of a tile's rows has come to after some keys.

use super::rows::Heads;
use crate::cpu::SharedMut;
use crate::isa::Kernel;
use crate::kv::padded;
use crate::simd::{Simd, vectors};

/// The maximum before any key: finite, so that a row that sees no key of a span keeps what it has.
const LOWEST: f32 = f32::MIN;

/// A running softmax, to the base of two.
pub(super) struct State<'a> {
    /// The largest score, per row.
    pub max: &'a mut [f32],
    /// The sum of 2^(score − max).
    pub sum: &'a mut [f32],
    /// `[rows, padded head_dim]`: the sum of 2^(score − max) times the value.
    pub out: &'a mut [f32],
}

impl<'a> State<'a> {
    /// Floats that a state of `n_rows` rows takes.
    pub fn len(n_rows: usize, head_dim: usize) -> usize {
        n_rows * (padded(head_dim) + 2)
    }

    /// The state kept in `floats`.
    pub fn of(floats: &'a mut [f32], n_rows: usize, head_dim: usize) -> State<'a> {
        let (out, rest) = floats.split_at_mut(n_rows * padded(head_dim));
        let (max, sum) = rest.split_at_mut(n_rows);
        State { max, sum, out }
    }

    /// No key seen.
    pub fn clear(&mut self) {
        self.max.fill(LOWEST);
        self.sum.fill(0.0);
        self.out.fill(0.0);
    }
}

/// Adds what was found among other, later keys.
pub(super) struct Merge<'r, 'a, 'b> {
    pub total: &'r mut State<'a>,
    pub later: &'r State<'b>,
}

impl Kernel for Merge<'_, '_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (total, later) = (self.total, self.later);
        let dim = total.out.len() / total.max.len();
        for r in 0..total.max.len() {
            let difference = later.max[r] - total.max[r];
            let (keep, take) =
                if difference > 0.0 { ((-difference).exp2(), 1.0) } else { (1.0, difference.exp2()) };
            total.max[r] = total.max[r].max(later.max[r]);
            total.sum[r] = total.sum[r] * keep + later.sum[r] * take;
            let (out, later) = (&mut total.out[r * dim..][..dim], &later.out[r * dim..][..dim]);
            for (i, n) in vectors(s, dim) {
                // SAFETY: `i + n` is at most `dim`.
                unsafe {
                    let (p, x) = (out.as_mut_ptr().add(i), s.load_n(later.as_ptr().add(i), n));
                    let sum = s.fma(s.load_n(p, n), s.splat(keep), s.mul(x, s.splat(take)));
                    s.store_n(p, sum, n);
                }
            }
        }
    }
}

/// Writes the rows' weighted means to their places.
pub(super) struct Finish<'r, 'a> {
    pub state: &'r State<'a>,
    pub heads: Heads,
    pub head_dim: usize,
    /// `[tokens, n_heads, head_dim]`. No other task touches the tile's heads.
    pub out: &'r SharedMut<'r, f32>,
}

impl Kernel for Finish<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let dim = self.head_dim;
        for (r, row) in self.state.out.chunks_exact(padded(dim)).enumerate() {
            let at = self.heads.index(r) * dim;
            // SAFETY: the field's promise.
            let out = unsafe { self.out.range(at..at + dim) };
            let inverse = s.splat(1.0 / self.state.sum[r]);
            for (i, n) in vectors(s, dim) {
                // SAFETY: `i + n` is at most `dim`, and the row is no shorter.
                unsafe {
                    s.store_n(out.as_mut_ptr().add(i), s.mul(s.load_n(row.as_ptr().add(i), n), inverse), n)
                };
            }
        }
    }
}
