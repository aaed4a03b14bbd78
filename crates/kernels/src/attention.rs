//! Causal attention with grouped query heads: softmax(scale q kᵀ) v over the keys at or before each query.
//!
//! Forward and backward follow FlashAttention (Dao et al. 2022): keys are taken in blocks, a running maximum and sum
//! keep the softmax exact, and no [queries, keys] matrix is stored. A tile holds the query heads that share a
//! key-value head, for a few tokens, so that decoded keys and values are used by the whole group. Blocks of keys
//! begin at fixed positions and each query's sums run over them in order: the result does not depend on how the
//! queries are batched or chunked. The scalar version is the definition, with a plain two-pass softmax.

use std::ops::Range;

use crate::cpu::{Cpu, SharedMut};
use crate::isa::{Isa, Kernel};
use crate::kv::{KvKind, KvLayout};
use crate::pool::Scratch;
use crate::simd::{Simd, vectors};
use crate::tile::{Into, Rows, RowsMut, Strided, dot_block, outer_block};

/// Keys taken at a time.
const BLOCK: usize = KvLayout::BLOCK;
/// Query rows (tokens times grouped heads) of a tile, about.
const TILE_ROWS: usize = 48;

/// The sizes and scale of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads; divides `n_heads`. Query head n uses key-value head n / (n_heads / n_kv_heads).
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Factor of the scores, 1/sqrt(head_dim) in every Llama.
    pub scale: f32,
}

impl AttentionShape {
    fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }
}

/// The keys and values of one sequence, positions 0 and up.
#[derive(Clone, Copy)]
pub enum KeyValues<'a> {
    /// `[len, n_kv_heads, head_dim]` each, f32, the sequence starting at token `first` of the arrays.
    Dense {
        /// Keys of all sequences.
        k: &'a [f32],
        /// Values of all sequences.
        v: &'a [f32],
        /// The sequence's first token.
        first: usize,
    },
    /// Cache blocks of one layer, in order.
    Paged {
        /// How a block is laid out.
        layout: KvLayout,
        /// The blocks; the i-th holds positions `i * BLOCK..`.
        blocks: &'a [&'a [u8]],
    },
}

/// The queries of one sequence in this step.
#[derive(Clone, Copy)]
pub struct Queries<'a> {
    /// Their rows in `q` and `out`.
    pub first_row: usize,
    /// How many.
    pub n_rows: usize,
    /// The position of the first; the others follow. Keys of all these positions are present.
    pub first_position: usize,
    /// What they attend to.
    pub keys: KeyValues<'a>,
}

impl KeyValues<'_> {
    /// Copies `n` positions of a block of one head to `out: [n, stride]`; returns the stride.
    fn load(
        &self,
        isa: Isa,
        shape: &AttentionShape,
        kind: KvKind,
        head: usize,
        keys: Range<usize>,
        out: &mut [f32],
    ) -> usize {
        match *self {
            KeyValues::Paged { layout, blocks } => {
                layout.load(isa, blocks[keys.start / BLOCK], kind, head, keys.len(), out);
                layout.padded_dim()
            }
            KeyValues::Dense { k, v, first } => {
                let all = if kind == KvKind::Key { k } else { v };
                copy_head(shape, all, shape.n_kv_heads, head, first + keys.start..first + keys.end, out);
                shape.head_dim
            }
        }
    }

    /// Room needed per position.
    fn stride(&self, shape: &AttentionShape) -> usize {
        match self {
            KeyValues::Paged { layout, .. } => layout.padded_dim(),
            KeyValues::Dense { .. } => shape.head_dim,
        }
    }

    fn check(&self, shape: &AttentionShape, len: usize) {
        match self {
            KeyValues::Paged { layout, blocks } => {
                assert!(layout.head_dim() == shape.head_dim && layout.n_kv_heads() == shape.n_kv_heads);
                assert!(len <= blocks.len() * BLOCK);
                assert!(blocks.iter().all(|block| block.len() == layout.block_bytes()));
            }
            KeyValues::Dense { k, v, first } => {
                let row = shape.n_kv_heads * shape.head_dim;
                assert!(k.len() == v.len() && (first + len) * row <= k.len());
            }
        }
    }
}

/// Copies one head of tokens `rows` of `x: [tokens, n_heads, head_dim]` to `out: [rows, head_dim]`.
fn copy_head(
    shape: &AttentionShape,
    x: &[f32],
    n_heads: usize,
    head: usize,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let dim = shape.head_dim;
    for (row, out) in rows.zip(out.chunks_exact_mut(dim)) {
        out.copy_from_slice(&x[(row * n_heads + head) * dim..][..dim]);
    }
}

/// Attends: `q` and `out` are `[rows, n_heads, head_dim]`; `lse: [rows, n_heads]`, if given, receives the log of the
/// sum of exponentials of each query's scores, for the backward pass. Rows in no sequence are left alone.
///
/// A value that is not finite may reach the results of earlier tokens of its tile (0 times infinity is no number).
///
/// # Panics
/// If the sizes disagree, or the sequences' rows are not in order and apart.
pub fn attention(
    cpu: &Cpu,
    shape: &AttentionShape,
    q: &[f32],
    sequences: &[Queries],
    out: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    let tasks = check(shape, q, sequences);
    assert_eq!(q.len(), out.len());
    let n_rows = q.len() / (shape.n_heads * shape.head_dim);
    let mut no_lse = Vec::new();
    let lse = lse.unwrap_or_else(|| {
        no_lse.resize(n_rows * shape.n_heads, 0.0);
        &mut no_lse
    });
    assert_eq!(lse.len(), n_rows * shape.n_heads);
    let (out, lse) = (SharedMut::new(out), SharedMut::new(lse));
    cpu.pool.run(tasks.len(), |i, scratch| {
        let task = &tasks[i];
        if cpu.isa.is_scalar() {
            scalar(shape, q, task, &out, &lse);
        } else {
            tiled(cpu.isa, shape, q, task, &out, &lse, scratch);
        }
    });
}

/// One tile: some tokens of a sequence and one key-value head.
struct Task<'a> {
    sequence: Queries<'a>,
    kv_head: usize,
    /// Tokens, counted from the sequence's first query.
    tokens: Range<usize>,
}

/// The tiles of all sequences, those with the most keys first, so that threads finish together.
fn check<'a>(shape: &AttentionShape, q: &[f32], sequences: &[Queries<'a>]) -> Vec<Task<'a>> {
    assert!(shape.n_kv_heads > 0 && shape.head_dim > 0 && shape.n_heads.is_multiple_of(shape.n_kv_heads));
    let row = shape.n_heads * shape.head_dim; // at least 1
    let tile_tokens = (TILE_ROWS / shape.group()).max(1);
    let mut tasks = Vec::new();
    let mut next_row = 0;
    for sequence in sequences {
        // In order and apart: tasks write what no other task touches.
        assert!(sequence.first_row >= next_row && sequence.first_row <= q.len() / row);
        assert!(sequence.n_rows <= q.len() / row - sequence.first_row);
        next_row = sequence.first_row + sequence.n_rows;
        sequence.keys.check(shape, sequence.first_position + sequence.n_rows);
        for start in (0..sequence.n_rows).step_by(tile_tokens) {
            let tokens = start..(start + tile_tokens).min(sequence.n_rows);
            tasks.extend((0..shape.n_kv_heads).map(|kv_head| Task {
                sequence: *sequence,
                kv_head,
                tokens: tokens.clone(),
            }));
        }
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(task.sequence.first_position + task.tokens.end));
    tasks
}

impl Task<'_> {
    /// Heads of the group, as an iterator over (row of the tile, row of `q`, head, keys visible).
    fn rows<'s>(
        &'s self,
        shape: &'s AttentionShape,
    ) -> impl Iterator<Item = (usize, usize, usize, usize)> + 's {
        let group = shape.group();
        self.tokens.clone().enumerate().flat_map(move |(t, token)| {
            (0..group).map(move |g| {
                let row = self.sequence.first_row + token;
                (t * group + g, row, self.kv_head * group + g, self.sequence.first_position + token + 1)
            })
        })
    }

    fn n_rows(&self, shape: &AttentionShape) -> usize {
        self.tokens.len() * shape.group()
    }

    /// Keys the last token sees.
    fn n_keys(&self) -> usize {
        self.sequence.first_position + self.tokens.end
    }
}

/// The definition.
fn scalar(
    shape: &AttentionShape,
    q: &[f32],
    task: &Task,
    out: &SharedMut<'_, f32>,
    lse: &SharedMut<'_, f32>,
) {
    let dim = shape.head_dim;
    let keys = &task.sequence.keys;
    let stride = keys.stride(shape);
    let n = task.n_keys();
    let (mut k, mut v) = (vec![0.0; n * stride], vec![0.0; n * stride]);
    for start in (0..n).step_by(BLOCK) {
        let block = start..(start + BLOCK).min(n);
        keys.load(Isa::SCALAR, shape, KvKind::Key, task.kv_head, block.clone(), &mut k[start * stride..]);
        keys.load(Isa::SCALAR, shape, KvKind::Value, task.kv_head, block, &mut v[start * stride..]);
    }
    for (_, row, head, n_visible) in task.rows(shape) {
        let at = (row * shape.n_heads + head) * dim;
        let q = &q[at..at + dim];
        let dot = |k: &[f32]| q.iter().zip(k).map(|(q, k)| q * k).sum::<f32>();
        let mut p: Vec<f32> =
            k.chunks_exact(stride).take(n_visible).map(|k| shape.scale * dot(&k[..dim])).collect();
        let max = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        p.iter_mut().for_each(|p| *p = (*p - max).exp());
        let sum: f32 = p.iter().sum();
        // SAFETY: tasks have disjoint (row, head) pairs.
        let (out, lse) = unsafe {
            (out.range(at..at + dim), lse.range(row * shape.n_heads + head..row * shape.n_heads + head + 1))
        };
        lse[0] = max + sum.ln();
        out.fill(0.0);
        for (p, v) in p.iter().zip(v.chunks_exact(stride)) {
            out.iter_mut().zip(v).for_each(|(out, v)| *out += p / sum * v);
        }
    }
}

/// The same, tile by tile and block by block.
fn tiled(
    isa: Isa,
    shape: &AttentionShape,
    q: &[f32],
    task: &Task,
    out: &SharedMut<'_, f32>,
    lse: &SharedMut<'_, f32>,
    scratch: &mut Scratch,
) {
    let (dim, n_rows) = (shape.head_dim, task.n_rows(shape));
    let keys = &task.sequence.keys;
    let stride = keys.stride(shape);
    let [tile_q, scores, tile_out, max, sum, block_k, block_v] = scratch.buffers([
        n_rows * dim,
        n_rows * BLOCK,
        n_rows * dim,
        n_rows,
        n_rows,
        BLOCK * stride,
        BLOCK * stride,
    ]);
    for (r, row, head, _) in task.rows(shape) {
        let q = &q[(row * shape.n_heads + head) * dim..][..dim];
        tile_q[r * dim..][..dim].iter_mut().zip(q).for_each(|(t, q)| *t = shape.scale * q);
    }
    tile_out.fill(0.0);
    max.fill(f32::NEG_INFINITY);
    sum.fill(0.0);
    let n_visible: Vec<usize> = task.rows(shape).map(|(.., n)| n).collect();
    for start in (0..task.n_keys()).step_by(BLOCK) {
        let block = start..(start + BLOCK).min(task.n_keys());
        let n = block.len();
        keys.load(isa, shape, KvKind::Key, task.kv_head, block.clone(), block_k);
        keys.load(isa, shape, KvKind::Value, task.kv_head, block, block_v);
        isa.run(ForwardBlock {
            sizes: (n_rows, n, dim, stride),
            q: tile_q,
            k: block_k,
            v: block_v,
            scores,
            visible: &|r| n_visible[r].saturating_sub(start).min(n),
            max,
            sum,
            out: tile_out,
        });
    }
    for (r, row, head, _) in task.rows(shape) {
        let at = row * shape.n_heads + head;
        // SAFETY: tasks have disjoint (row, head) pairs.
        let (out, lse) = unsafe { (out.range(at * dim..(at + 1) * dim), lse.range(at..at + 1)) };
        let inverse = 1.0 / sum[r];
        out.iter_mut().zip(&tile_out[r * dim..]).for_each(|(out, o)| *out = o * inverse);
        lse[0] = max[r] + sum[r].ln();
    }
}

/// One block of keys for one tile: scores, running softmax, weighted sum of values.
struct ForwardBlock<'a> {
    /// Query rows, keys, head_dim, elements between keys.
    sizes: (usize, usize, usize, usize),
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    scores: &'a mut [f32],
    visible: &'a dyn Fn(usize) -> usize,
    max: &'a mut [f32],
    sum: &'a mut [f32],
    out: &'a mut [f32],
}

impl Kernel for ForwardBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (m, n, dim, stride) = self.sizes;
        assert!(self.q.len() >= m * dim && self.out.len() >= m * dim && self.scores.len() >= m * BLOCK);
        assert!(self.k.len() >= n * stride && self.v.len() >= n * stride && n <= BLOCK && dim <= stride);
        let rows = |x: &[f32], stride| Rows { start: x.as_ptr(), stride };
        let scores = RowsMut { start: self.scores.as_mut_ptr(), stride: BLOCK };
        // SAFETY: the sizes were checked above.
        unsafe {
            dot_block(s, (m, n, dim), rows(self.q, dim), rows(self.k, stride), scores, Into::Overwrite)
        };
        for r in 0..m {
            let row = &mut self.scores[r * BLOCK..][..n];
            let (seen, hidden) = row.split_at_mut((self.visible)(r));
            hidden.fill(0.0);
            if seen.is_empty() {
                continue;
            }
            let old_max = self.max[r];
            self.max[r] = seen.iter().copied().fold(old_max, f32::max);
            let keep = (old_max - self.max[r]).exp();
            self.sum[r] = self.sum[r] * keep + exp_row(s, seen, self.max[r]);
            if keep != 1.0 {
                self.out[r * dim..][..dim].iter_mut().for_each(|o| *o *= keep);
            }
        }
        let p = Strided { start: self.scores.as_ptr(), row: BLOCK, col: 1 };
        let out = RowsMut { start: self.out.as_mut_ptr(), stride: dim };
        // SAFETY: the sizes were checked above.
        unsafe { outer_block(s, (m, dim, n), p, rows(self.v, stride), out, Into::Add) };
    }
}

/// x = e^(x − max) in place; returns the sum. The sum's order depends on the position in the row alone.
#[inline(always)]
fn exp_row<S: Simd>(s: S, x: &mut [f32], max: f32) -> f32 {
    let (p, max) = (x.as_mut_ptr(), s.splat(max));
    let mut acc = s.splat(0.0);
    let mut rest_sum = 0.0;
    for (i, n) in vectors(s, x.len()) {
        // SAFETY: `i + n` is at most the row's length.
        unsafe {
            let e = s.exp(s.sub(s.load_n(p.add(i), n), max));
            s.store_n(p.add(i), e, n);
            if n == S::LANES {
                acc = s.add(acc, e);
            } else {
                rest_sum = (i..i + n).map(|j| *p.add(j)).sum();
            }
        }
    }
    s.sum(acc) + rest_sum
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

/// The gradients of [`attention`] over dense sequences, given as ranges of rows. `dq`, `dk`, `dv` are added to.
///
/// With P = exp(S − L) and δ = rowsum(dO ∘ O): dV = Pᵀ dO, dS = P ∘ (dO Vᵀ − δ), dQ = scale dS K, dK = scale dSᵀ Q.
///
/// # Panics
/// If the sizes disagree.
pub fn attention_backward(
    cpu: &Cpu,
    shape: &AttentionShape,
    sequences: &[Range<usize>],
    saved: &Saved,
    dout: &[f32],
    [dq, dk, dv]: [&mut [f32]; 3],
) {
    assert!(shape.n_kv_heads > 0 && shape.head_dim > 0 && shape.n_heads.is_multiple_of(shape.n_kv_heads));
    let q_row = shape.n_heads * shape.head_dim;
    let kv_row = shape.n_kv_heads * shape.head_dim;
    let n_rows = saved.q.len() / q_row;
    assert!([saved.out.len(), dout.len(), dq.len()] == [saved.q.len(); 3] && saved.q.len() == n_rows * q_row);
    assert!([saved.k.len(), saved.v.len(), dk.len(), dv.len()] == [n_rows * kv_row; 4]);
    assert_eq!(saved.lse.len(), n_rows * shape.n_heads);
    assert!(sequences.iter().all(|rows| rows.start <= rows.end && rows.end <= n_rows));
    assert!(sequences.windows(2).all(|pair| pair[0].end <= pair[1].start), "sequences lie in order, apart");
    let shared = [SharedMut::new(dq), SharedMut::new(dk), SharedMut::new(dv)];
    cpu.pool.run(sequences.len() * shape.n_kv_heads, |i, scratch| {
        let head = BackwardHead {
            isa: cpu.isa,
            shape,
            rows: sequences[i / shape.n_kv_heads].clone(),
            kv_head: i % shape.n_kv_heads,
            saved,
            dout,
        };
        head.run(&shared, scratch);
    });
}

/// One sequence and one key-value head: the unit that writes its own parts of all three gradients.
struct BackwardHead<'a> {
    isa: Isa,
    shape: &'a AttentionShape,
    rows: Range<usize>,
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
        for start in self.rows.clone().step_by(tile_tokens) {
            let tokens = start..(start + tile_tokens).min(self.rows.end);
            let m = tokens.len() * group;
            self.load_tile(tokens.clone(), tile_q, tile_do, delta, lse);
            tile_dq[..m * dim].fill(0.0);
            for first_key in (self.rows.start..tokens.end).step_by(BLOCK) {
                let block = first_key..(first_key + BLOCK).min(tokens.end);
                copy_head(shape, self.saved.k, shape.n_kv_heads, self.kv_head, block.clone(), block_k);
                copy_head(shape, self.saved.v, shape.n_kv_heads, self.kv_head, block.clone(), block_v);
                let at = (block.start * shape.n_kv_heads + self.kv_head) * dim;
                // SAFETY: this task alone writes this head of this sequence's rows.
                let (dk, dv) = unsafe { (dk.ptr(at), dv.ptr(at)) };
                self.isa.run(BackwardBlock {
                    sizes: (m, block.len(), dim),
                    scale: shape.scale,
                    q: tile_q,
                    dout: tile_do,
                    delta,
                    lse,
                    k: block_k,
                    v: block_v,
                    p,
                    ds,
                    visible: &|r| (tokens.start + r / group + 1).saturating_sub(block.start).min(block.len()),
                    dq: tile_dq,
                    dk: RowsMut { start: dk, stride: kv_stride },
                    dv: RowsMut { start: dv, stride: kv_stride },
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
    /// Query rows, keys, head_dim.
    sizes: (usize, usize, usize),
    scale: f32,
    q: &'a [f32],
    dout: &'a [f32],
    delta: &'a [f32],
    lse: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    p: &'a mut [f32],
    ds: &'a mut [f32],
    visible: &'a dyn Fn(usize) -> usize,
    dq: &'a mut [f32],
    dk: RowsMut,
    dv: RowsMut,
}

impl Kernel for BackwardBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (m, n, dim) = self.sizes;
        assert!([self.q, self.dout, self.dq].iter().all(|x| x.len() >= m * dim));
        assert!(self.k.len() >= n * dim && self.v.len() >= n * dim && n <= BLOCK);
        assert!(self.p.len() >= m * BLOCK && self.ds.len() >= m * BLOCK);
        let rows = |x: &[f32]| Rows { start: x.as_ptr(), stride: dim };
        let square = |x: &mut [f32]| RowsMut { start: x.as_mut_ptr(), stride: BLOCK };
        // SAFETY: the sizes were checked above; `dk` and `dv` have `n` rows by `BackwardHead::run`.
        unsafe {
            dot_block(s, (m, n, dim), rows(self.q), rows(self.k), square(self.p), Into::Overwrite);
            dot_block(s, (m, n, dim), rows(self.dout), rows(self.v), square(self.ds), Into::Overwrite);
        }
        for r in 0..m {
            let seen = (self.visible)(r);
            let (p, ds) = (&mut self.p[r * BLOCK..][..n], &mut self.ds[r * BLOCK..][..n]);
            p[seen..].fill(0.0);
            ds[seen..].fill(0.0);
            p[..seen].iter_mut().for_each(|p| *p *= self.scale);
            exp_row(s, &mut p[..seen], self.lse[r]);
            for (ds, p) in ds[..seen].iter_mut().zip(&p[..seen]) {
                *ds = self.scale * p * (*ds - self.delta[r]);
            }
        }
        let across = |x: &[f32]| Strided { start: x.as_ptr(), row: BLOCK, col: 1 };
        let down = |x: &[f32]| Strided { start: x.as_ptr(), row: 1, col: BLOCK };
        let dq = RowsMut { start: self.dq.as_mut_ptr(), stride: dim };
        // SAFETY: as above.
        unsafe {
            outer_block(s, (n, dim, m), down(self.p), rows(self.dout), self.dv, Into::Add);
            outer_block(s, (m, dim, n), across(self.ds), rows(self.k), dq, Into::Add);
            outer_block(s, (n, dim, m), down(self.ds), rows(self.q), self.dk, Into::Add);
        }
    }
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
