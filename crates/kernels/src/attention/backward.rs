//! The gradient of attention over dense sequences.
//!
//! The probabilities are computed again from the log-sum-exp that the forward pass kept, tile by tile and
//! block by block (FlashAttention, section 3.1 and appendix B); no [queries, keys] matrix is stored.

use std::ops::Range;

use super::queries::{AttentionShape, KeyValues, Queries, Sees, copy_head};
use super::rows::Mask;
use crate::cpu::{Cpu, SharedMut};
use crate::isa::{Isa, Kernel};
use crate::kv::KvLayout;
use crate::matmul::tile::{RowPtr, RowPtrMut, Strided, dot_block, outer_block};
use crate::pool::Scratch;
use crate::simd::{Simd, vectors};

/// Keys taken at a time.
const BLOCK: usize = KvLayout::BLOCK;
/// Query rows (tokens times grouped heads) of a tile, about.
const TILE_ROWS: usize = 48;

/// Queries and the keys that they see, as rows of dense arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The rows of queries.
    pub queries: Range<usize>,
    /// The rows of keys and values.
    pub keys: Range<usize>,
    /// Which of them a query sees.
    pub sees: Sees,
}

impl Span {
    /// A sequence whose tokens see themselves and those before them.
    pub fn causal(rows: Range<usize>) -> Span {
        Span { queries: rows.clone(), keys: rows, sees: Sees::Before(0) }
    }

    /// A sequence whose tokens see themselves and those before them, `n` in all at most.
    pub fn window(rows: Range<usize>, n: usize) -> Span {
        Span { sees: Sees::Window { first: 0, n }, ..Span::causal(rows) }
    }

    /// Queries that see all these keys.
    pub fn all(queries: Range<usize>, keys: Range<usize>) -> Span {
        let sees = Sees::All(keys.len());
        Span { queries, keys, sees }
    }

    /// The same for the forward pass.
    pub fn queries<'a>(&self, k: &'a [f32], v: &'a [f32]) -> Queries<'a> {
        let (first_row, n_rows, sees) = (self.queries.start, self.queries.len(), self.sees);
        Queries { first_row, n_rows, sees, keys: KeyValues::Dense { k, v, first: self.keys.start } }
    }
}

/// What the forward pass used and gave, for the gradient. All `[rows, heads, head_dim]` row-major f32.
pub struct Saved<'a> {
    /// Queries, rotated.
    pub q: &'a [f32],
    /// Keys, rotated.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
    /// The result.
    pub out: &'a [f32],
    /// `[rows, n_heads]`: log of the sum of exponentials.
    pub lse: &'a [f32],
}

/// The gradients of [`attention`](super::attention()) over dense spans. `dq`, `dk`, `dv` are added to.
///
/// With P = exp(S − L) and δ = rowsum(dO ∘ O): dV = Pᵀ dO, dS = P ∘ (dO Vᵀ − δ), dQ = scale dS K, dK = scale
/// dSᵀ Q.
///
/// # Panics
/// If the sizes disagree, queries of spans are not in order and apart, or spans that share keys do not follow
/// each other.
pub fn attention_backward(
    cpu: &Cpu,
    shape: &AttentionShape,
    spans: &[Span],
    saved: &Saved,
    dout: &[f32],
    [dq, dk, dv]: [&mut [f32]; 3],
) {
    assert!(shape.n_kv_heads > 0 && shape.head_dim > 0 && shape.n_heads.is_multiple_of(shape.n_kv_heads));
    let q_row = shape.n_heads * shape.head_dim;
    let kv_row = shape.n_kv_heads * shape.head_dim;
    let (n_rows, n_keys) = (saved.q.len() / q_row, saved.k.len() / kv_row);
    assert!([saved.out.len(), dout.len(), dq.len()] == [saved.q.len(); 3] && saved.q.len() == n_rows * q_row);
    assert!([saved.k.len(), saved.v.len(), dk.len(), dv.len()] == [n_keys * kv_row; 4]);
    assert_eq!(saved.lse.len(), n_rows * shape.n_heads);
    for Span { queries, keys, sees } in spans {
        assert!(queries.start <= queries.end && queries.end <= n_rows);
        assert!(keys.start <= keys.end && keys.end <= n_keys);
        assert!(sees.n_keys(queries.len()) <= keys.len() && sees.is_sound());
    }
    assert!(spans.windows(2).all(|pair| pair[0].queries.end <= pair[1].queries.start), "in order, apart");
    let groups: Vec<&[Span]> =
        spans.chunk_by(|a, b| a.keys.start < b.keys.end && b.keys.start < a.keys.end).collect();
    let all_keys = |group: &[Span]| -> Option<Range<usize>> {
        Some(group.iter().map(|s| s.keys.start).min()?..group.iter().map(|s| s.keys.end).max()?)
    };
    let mut written: Vec<Range<usize>> = groups.iter().filter_map(|group| all_keys(group)).collect();
    written.sort_by_key(|keys| (keys.start, keys.end));
    assert!(
        written.windows(2).all(|pair| pair[0].end <= pair[1].start),
        "spans that share keys follow each other"
    );
    let shared = [SharedMut::new(dq), SharedMut::new(dk), SharedMut::new(dv)];
    cpu.pool.run(groups.len() * shape.n_kv_heads, |i, scratch| {
        for span in groups[i / shape.n_kv_heads] {
            let kv_head = i % shape.n_kv_heads;
            BackwardHead { isa: cpu.isa, shape, span, kv_head, saved, dout }.run(&shared, scratch);
        }
    });
}

/// One span and one key-value head. Spans that share keys are one task for each head, which alone writes
/// those parts of all three gradients.
struct BackwardHead<'a> {
    isa: Isa,
    shape: &'a AttentionShape,
    span: &'a Span,
    kv_head: usize,
    saved: &'a Saved<'a>,
    dout: &'a [f32],
}

impl BackwardHead<'_> {
    fn run(&self, [dq, dk, dv]: &[SharedMut<'_, f32>; 3], scratch: &mut Scratch) {
        let (shape, dim, group) = (self.shape, self.shape.head_dim, self.shape.group());
        let kv_stride = shape.n_kv_heads * dim;
        let tile_tokens = (TILE_ROWS / group).max(1);
        let m_max = tile_tokens * group;
        let [tile_q, tile_do, tile_dq, delta, lse, p, ds, block_k, block_v] = scratch.buffers([
            m_max * dim,
            m_max * dim,
            m_max * dim,
            m_max,
            m_max,
            m_max * BLOCK,
            m_max * BLOCK,
            BLOCK * dim,
            BLOCK * dim,
        ]);
        let Span { queries, keys, sees } = self.span;
        for start in queries.clone().step_by(tile_tokens) {
            let tokens = start..(start + tile_tokens).min(queries.end);
            let m = tokens.len() * group;
            let n_keys = sees.n_keys(tokens.end - queries.start);
            self.load_tile(tokens.clone(), tile_q, tile_do, delta, lse);
            tile_dq[..m * dim].fill(0.0);
            let mask = sees.mask(tokens.start - queries.start, group);
            for first_key in (mask.first_seen(0) / BLOCK * BLOCK..n_keys).step_by(BLOCK) {
                let seen = first_key..(first_key + BLOCK).min(n_keys);
                let block = keys.start + seen.start..keys.start + seen.end;
                copy_head(shape, self.saved.k, shape.n_kv_heads, self.kv_head, block.clone(), block_k);
                copy_head(shape, self.saved.v, shape.n_kv_heads, self.kv_head, block.clone(), block_v);
                let at = (block.start * shape.n_kv_heads + self.kv_head) * dim;
                // SAFETY: this task alone writes this head of these rows.
                let (dk, dv) = unsafe { (dk.ptr(at), dv.ptr(at)) };
                self.isa.run(BackwardBlock {
                    sizes: (m, dim),
                    scale: shape.scale,
                    q: tile_q,
                    dout: tile_do,
                    delta,
                    lse,
                    k: block_k,
                    v: block_v,
                    p,
                    ds,
                    keys: seen,
                    mask,
                    dq: tile_dq,
                    dk: RowPtrMut { start: dk, stride: kv_stride },
                    dv: RowPtrMut { start: dv, stride: kv_stride },
                });
            }
            for (r, part) in tile_dq[..m * dim].chunks_exact(dim).enumerate() {
                let at = self.query_at(tokens.start + r / group, r % group) * dim;
                // SAFETY: as above.
                let dq = unsafe { dq.range(at..at + dim) };
                dq.iter_mut().zip(part).for_each(|(dq, x)| *dq += x);
            }
        }
    }

    /// The index of a query head among all rows' heads.
    fn query_at(&self, row: usize, g: usize) -> usize {
        row * self.shape.n_heads + self.kv_head * self.shape.group() + g
    }

    fn load_tile(
        &self,
        tokens: Range<usize>,
        q: &mut [f32],
        dout: &mut [f32],
        delta: &mut [f32],
        lse: &mut [f32],
    ) {
        let (dim, group) = (self.shape.head_dim, self.shape.group());
        for r in 0..tokens.len() * group {
            let at = self.query_at(tokens.start + r / group, r % group);
            let span = at * dim..(at + 1) * dim;
            q[r * dim..][..dim].copy_from_slice(&self.saved.q[span.clone()]);
            dout[r * dim..][..dim].copy_from_slice(&self.dout[span.clone()]);
            delta[r] = self.dout[span.clone()].iter().zip(&self.saved.out[span]).map(|(d, o)| d * o).sum();
            lse[r] = self.saved.lse[at];
        }
    }
}

/// One block of keys for one tile of queries, backward.
struct BackwardBlock<'a> {
    /// Query rows, head_dim.
    sizes: (usize, usize),
    scale: f32,
    q: &'a [f32],
    dout: &'a [f32],
    delta: &'a [f32],
    lse: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    p: &'a mut [f32],
    ds: &'a mut [f32],
    keys: Range<usize>,
    mask: Mask,
    dq: &'a mut [f32],
    dk: RowPtrMut,
    dv: RowPtrMut,
}

impl Kernel for BackwardBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ((m, dim), n) = (self.sizes, self.keys.len());
        assert!([self.q, self.dout, self.dq].iter().all(|x| x.len() >= m * dim));
        assert!(self.k.len() >= n * dim && self.v.len() >= n * dim && n <= BLOCK);
        assert!(self.p.len() >= m * BLOCK && self.ds.len() >= m * BLOCK);
        let rows = |x: &[f32]| RowPtr { start: x.as_ptr(), stride: dim };
        let square = |x: &mut [f32]| RowPtrMut { start: x.as_mut_ptr(), stride: BLOCK };
        // SAFETY: the sizes were checked above; `dk` and `dv` have `n` rows by `BackwardHead::run`.
        unsafe {
            dot_block(s, (m, n, dim), rows(self.q), rows(self.k), square(self.p));
            dot_block(s, (m, n, dim), rows(self.dout), rows(self.v), square(self.ds));
        }
        for r in 0..m {
            let seen = self.mask.n_unseen(r, &self.keys)..self.mask.n_seen(r, &self.keys);
            let (p, ds) = (&mut self.p[r * BLOCK..][..n], &mut self.ds[r * BLOCK..][..n]);
            for x in [&mut *p, &mut *ds] {
                x[..seen.start].fill(0.0);
                x[seen.end..].fill(0.0);
            }
            p[seen.clone()].iter_mut().for_each(|p| *p *= self.scale);
            exp_row(s, &mut p[seen.clone()], self.lse[r]);
            for (ds, p) in ds[seen.clone()].iter_mut().zip(&p[seen]) {
                *ds = self.scale * p * (*ds - self.delta[r]);
            }
        }
        let across = |x: &[f32]| Strided { start: x.as_ptr(), row: BLOCK, col: 1 };
        let down = |x: &[f32]| Strided { start: x.as_ptr(), row: 1, col: BLOCK };
        let dq = RowPtrMut { start: self.dq.as_mut_ptr(), stride: dim };
        // SAFETY: as above.
        unsafe {
            outer_block(s, (n, dim, m), down(self.p), rows(self.dout), self.dv);
            outer_block(s, (m, dim, n), across(self.ds), rows(self.k), dq);
            outer_block(s, (n, dim, m), down(self.ds), rows(self.q), self.dk);
        }
    }
}

/// x = e^(x − lse) in place; zero below 2^-100, because products of numbers near the smallest float take a hundred
/// times as long.
#[inline(always)]
fn exp_row<S: Simd>(s: S, x: &mut [f32], lse: f32) {
    let (p, lse, log2_e) = (x.as_mut_ptr(), s.splat(lse), s.splat(std::f32::consts::LOG2_E));
    for (i, n) in vectors(s, x.len()) {
        // SAFETY: `i + n` is at most the row's length.
        unsafe {
            let power = s.mul(s.sub(s.load_n(p.add(i), n), lse), log2_e);
            s.store_n(p.add(i), s.exp2(power), n);
        }
    }
}
