//! Attention of one tile: span after span, partition after partition.

use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

use super::panel::{DecodePanel, Floats, Halves, KeyCodes, Panel, ValueCodes};
use super::prefetch::Prefetcher;
use super::queries::{AttentionShape, KeyValues};
use super::rows::TileTask;
use super::span::{MAX_STRIP, PackQueries, SPAN, Span, TileRows};
use super::state::{Finish, Merge, State};

use crate::DType;
use crate::cpu::SharedMut;
use crate::isa::{Isa, Kernel};
use crate::kv::{KvKind, KvLayout, SCALED, padded};
use crate::pool::Scratch;
use crate::simd::{Rows16, Simd};

const BLOCK: usize = KvLayout::BLOCK;
/// Blocks in a span.
const N_BLOCKS: usize = SPAN / BLOCK;
/// Keys with a softmax of their own.
pub const PARTITION: usize = 4 * SPAN;

/// A task, as the vector kernels do it.
pub(super) struct Tile<'a> {
    pub isa: Isa,
    pub shape: &'a AttentionShape,
    pub q: &'a [f32],
    pub task: &'a TileTask<'a>,
    pub out: &'a SharedMut<'a, f32>,
    pub lse: Option<&'a SharedMut<'a, f32>>,
}

/// Where a span is decoded to.
struct Decoded<'a> {
    /// `[N_BLOCKS, head_dim, BLOCK]`.
    k: &'a mut [f32],
    /// `[SPAN, padded head_dim]`.
    v: &'a mut [f32],
    /// Scales of values, then the same times what a zero is stored as: `[N_BLOCKS, scales of a block]` each.
    scales: [&'a mut [f32]; 2],
}

impl Tile<'_> {
    fn n_rows(&self) -> usize {
        self.task.n_rows(self.shape)
    }

    pub fn n_partitions(&self) -> usize {
        self.task.n_keys().div_ceil(PARTITION)
    }

    /// Floats of a [`State`] of the tile.
    pub fn state_len(&self) -> usize {
        State::len(self.n_rows(), self.shape.head_dim)
    }

    /// Whether a key read from memory is used so few times that memory is what the tile waits for.
    fn has_few_rows(&self) -> bool {
        self.n_rows() <= MAX_STRIP
    }

    /// All partitions.
    pub fn attend(&self, scratch: &mut Scratch) {
        let (m, dim, state_len) = (self.n_rows(), self.shape.head_dim, self.state_len());
        let ([first, other], mut rows, mut decoded) = self.buffers(state_len, scratch);
        let mut total = State::of(first, m, dim);
        self.partition(0, &mut rows, &mut total, &mut decoded);
        let mut part = State::of(other, m, dim);
        for partition in 1..self.n_partitions() {
            self.partition(partition, &mut rows, &mut part, &mut decoded);
            self.isa.run_vectors(Merge { total: &mut total, later: &part });
        }
        self.finish(&total);
    }

    /// One partition; what it comes to is left in `state`.
    pub fn attend_part(&self, partition: usize, state: &mut [f32], scratch: &mut Scratch) {
        let (_, mut rows, mut decoded) = self.buffers(0, scratch);
        let mut state = State::of(state, self.n_rows(), self.shape.head_dim);
        self.partition(partition, &mut rows, &mut state, &mut decoded);
    }

    /// Puts together what [`Tile::attend_part`] left of each partition.
    pub fn merge(&self, parts: &mut [f32]) {
        let mut parts = parts
            .chunks_exact_mut(self.state_len())
            .map(|part| State::of(part, self.n_rows(), self.shape.head_dim));
        let mut total = parts.next().expect("a tile sees keys");
        for later in parts {
            self.isa.run_vectors(Merge { total: &mut total, later: &later });
        }
        self.finish(&total);
    }

    /// Room for two states (if they are to be here), the rows and a decoded span.
    fn buffers<'s>(
        &self,
        state_len: usize,
        scratch: &'s mut Scratch,
    ) -> ([&'s mut [f32]; 2], TileRows<'s>, Decoded<'s>) {
        let (shape, dim) = (self.shape, self.shape.head_dim);
        let n_scales = SPAN * dim.div_ceil(SCALED);
        let [first, second, q, scores, sums, k, v, scales, zeros] = scratch.buffers([
            state_len,
            state_len,
            self.n_rows() * padded(dim),
            MAX_STRIP * SPAN,
            MAX_STRIP * padded(dim),
            SPAN * dim,
            SPAN * padded(dim),
            n_scales,
            n_scales,
        ]);
        self.isa.run_vectors(PackQueries {
            q: self.q,
            heads: self.task.heads(shape),
            n_rows: self.n_rows(),
            head_dim: dim,
            factor: shape.scale * LOG2_E,
            packed: q,
        });
        // SAFETY: nothing is written through it.
        let out = unsafe { self.out.ptr(0) };
        let rows = TileRows {
            head_dim: dim,
            mask: self.task.mask(shape),
            q,
            heads: self.task.heads(shape),
            out,
            scores,
            sums,
        };
        ([first, second], rows, Decoded { k, v, scales: [scales, zeros] })
    }

    /// The softmax of one partition's keys by themselves.
    fn partition(&self, partition: usize, rows: &mut TileRows, state: &mut State, decoded: &mut Decoded) {
        state.clear();
        let end = ((partition + 1) * PARTITION).min(self.task.n_keys());
        // Spans that no row sees are passed over.
        let first = rows.mask.first_seen(0) / SPAN * SPAN;
        for start in (first.max(partition * PARTITION)..end).step_by(SPAN) {
            self.span(start..(start + SPAN).min(end), rows, state, decoded);
        }
    }

    /// Adds one span of keys to `state`.
    fn span(&self, keys: Range<usize>, rows: &mut TileRows, state: &mut State, decoded: &mut Decoded) {
        let (layout, blocks) = match self.task.sequence.keys {
            KeyValues::Dense { k, v, first } => {
                self.copy_dense(k, v, first + keys.start..first + keys.end, decoded);
                return self.attend_decoded(keys, rows, state, decoded, Prefetcher::new(&[], 0, 0));
            }
            KeyValues::Paged { layout, blocks } => (layout, &blocks[keys.start / BLOCK..]),
        };
        let mut parts = [&[][..]; 2 * N_BLOCKS + 2];
        let ahead = self.ahead(layout, blocks, keys.clone(), &mut parts);
        let last = keys.len().div_ceil(BLOCK) - 1;
        // Elements and scales of a block; those of the last stand in for blocks that are not there.
        let part = |kind, i: usize| {
            let part = &blocks[i.min(last)][layout.part(kind, self.task.kv_head)];
            part.split_at(layout.elements_bytes(kind))
        };
        let v_stride = padded(self.shape.head_dim);
        // SAFETY: parts have the sizes that `KvLayout` says and `check` saw to: `head_dim` rows of `BLOCK`
        // keys, `BLOCK` rows of padded values, and the scales of as many.
        match layout.dtype() {
            DType::F32 => {
                let floats =
                    |(elements, _): (&[u8], _), stride| Floats { start: elements.as_ptr().cast(), stride };
                let k = std::array::from_fn(|i| floats(part(KvKind::Key, i), BLOCK));
                let v = std::array::from_fn(|i| floats(part(KvKind::Value, i), v_stride));
                // SAFETY: as above.
                unsafe { self.attend_blocks(keys, rows, state, decoded, (k, v), ahead) }
            }
            DType::F16 => {
                let halves =
                    |(elements, _): (&[u8], _), stride| Halves { start: elements.as_ptr().cast(), stride };
                let k = std::array::from_fn(|i| halves(part(KvKind::Key, i), BLOCK));
                let v = std::array::from_fn(|i| halves(part(KvKind::Value, i), v_stride));
                // SAFETY: as above.
                unsafe { self.attend_blocks(keys, rows, state, decoded, (k, v), ahead) }
            }
            _ => {
                let n_scales = self.shape.head_dim.div_ceil(SCALED);
                let k = std::array::from_fn(|i| {
                    let (codes, scales) = part(KvKind::Key, i);
                    KeyCodes { start: codes.as_ptr(), stride: BLOCK, scales: scales.as_ptr().cast() }
                });
                let [floats, zeros] = &mut decoded.scales;
                let v = std::array::from_fn(|i| {
                    let (codes, scales) = part(KvKind::Value, i);
                    ValueCodes {
                        start: codes.as_ptr(),
                        stride: v_stride,
                        scales: scales.as_ptr().cast(),
                        n_scales,
                        floats: floats[i * BLOCK * n_scales..][..BLOCK * n_scales].as_mut_ptr(),
                        zeros: zeros[i * BLOCK * n_scales..][..BLOCK * n_scales].as_mut_ptr(),
                    }
                });
                // SAFETY: as above.
                unsafe { self.attend_blocks(keys, rows, state, decoded, (k, v), ahead) }
            }
        }
    }

    /// What to prefetch while a span is worked on; `blocks` are the span's and those after it. Few rows go
    /// through it at memory's pace, so it is what comes next. Many rows take longer, and it is the whole next
    /// span.
    fn ahead<'p>(
        &self,
        layout: KvLayout,
        blocks: &[&'p [u8]],
        keys: Range<usize>,
        parts: &'p mut [&'p [u8]; 2 * N_BLOCKS + 2],
    ) -> Prefetcher<'p> {
        let n_blocks = (self.task.n_keys() - keys.start).div_ceil(BLOCK).min(blocks.len());
        let (this, next) = blocks[..n_blocks].split_at(keys.len().div_ceil(BLOCK));
        let next = &next[..next.len().min(N_BLOCKS)];
        let part = |kind| {
            let range = layout.part(kind, self.task.kv_head);
            move |block: &&'p [u8]| &block[range.clone()]
        };
        let few = self.has_few_rows();
        let (now, then) = if few { (this, &next[..next.len().min(2)]) } else { (next, &next[..0]) };
        let (keys, values) = (now.iter().map(part(KvKind::Key)), now.iter().map(part(KvKind::Value)));
        let order = keys.chain(values).chain(then.iter().map(part(KvKind::Key)));
        let n_parts = parts.iter_mut().zip(order).map(|(part, next)| *part = next).count();
        let n_read = if few { 1 } else { 0 }; // The first is being read already.
        // About as many chunks of 16 rows as a tile's strips take as operands.
        let n_steps = self.n_rows() * self.shape.head_dim / MAX_STRIP;
        Prefetcher::new(&parts[n_read..n_parts.max(n_read)], layout.scales_bytes(), n_steps)
    }

    /// Attends to a span's blocks as they are, or decodes them first.
    ///
    /// # Safety
    /// Keys have `head_dim` rows of `BLOCK` columns, values `BLOCK` rows of `padded(head_dim)` columns.
    unsafe fn attend_blocks<K: Panel, V: Panel>(
        &self,
        keys: Range<usize>,
        rows: &mut TileRows,
        state: &mut State,
        decoded: &mut Decoded,
        (k, v): ([K; N_BLOCKS], [V; N_BLOCKS]),
        ahead: Prefetcher,
    ) {
        let (dim, n_blocks) = (self.shape.head_dim, keys.len().div_ceil(BLOCK));
        let (k, v) = (&k[..n_blocks], &v[..n_blocks]);
        // Few rows are done with a key before they would have paid for a decoded copy.
        if K::BYTES == size_of::<f32>() || self.has_few_rows() {
            // SAFETY: the caller's promise.
            return self.isa.run_vectors(unsafe { Span::new(rows, state, keys, k, v, ahead) });
        }
        for (i, (k, v)) in k.iter().zip(v).enumerate() {
            let n = BLOCK.min(keys.len() - i * BLOCK);
            // SAFETY: the caller's promise.
            let (k, v) = unsafe {
                (
                    DecodePanel::new(*k, dim, BLOCK, &mut decoded.k[i * BLOCK * dim..]),
                    DecodePanel::new(*v, n, padded(dim), &mut decoded.v[i * BLOCK * padded(dim)..]),
                )
            };
            self.isa.run_vectors(k);
            self.isa.run_vectors(v);
        }
        self.attend_decoded(keys, rows, state, decoded, ahead);
    }

    fn attend_decoded(
        &self,
        keys: Range<usize>,
        rows: &mut TileRows,
        state: &mut State,
        decoded: &Decoded,
        ahead: Prefetcher,
    ) {
        let (dim, n_blocks) = (self.shape.head_dim, keys.len().div_ceil(BLOCK));
        let (k_len, v_len) = (BLOCK * dim, BLOCK * padded(dim));
        assert!(decoded.k.len() == N_BLOCKS * k_len && decoded.v.len() == N_BLOCKS * v_len);
        let floats = |x: &[f32], len: usize, stride| -> [Floats; N_BLOCKS] {
            std::array::from_fn(|i| Floats { start: x[i * len..].as_ptr(), stride })
        };
        let (k, v) = (floats(decoded.k, k_len, BLOCK), floats(decoded.v, v_len, padded(dim)));
        // SAFETY: the buffers hold that many rows and columns.
        self.isa.run_vectors(unsafe { Span::new(rows, state, keys, &k[..n_blocks], &v[..n_blocks], ahead) });
    }

    /// Copies rows `tokens` of dense keys and values to where a decoded span lies.
    fn copy_dense(&self, k: &[f32], v: &[f32], tokens: Range<usize>, decoded: &mut Decoded) {
        let (dim, row_len) = (self.shape.head_dim, self.shape.n_kv_heads * self.shape.head_dim);
        // From the first element of the first token's head to the end of the last one's.
        let first = tokens.start * row_len + self.task.kv_head * dim;
        let end = (tokens.end - 1) * row_len + (self.task.kv_head + 1) * dim;
        let heads = |x| DenseHeads { x, row_len, head_dim: dim, n_tokens: tokens.len() };
        self.isa.run_vectors(CopyKeys { from: heads(&k[first..end]), to: decoded.k });
        self.isa.run_vectors(CopyValues { from: heads(&v[first..end]), to: decoded.v });
    }

    fn finish(&self, state: &State) {
        let heads = self.task.heads(self.shape);
        self.isa.run_vectors(Finish { state, heads, head_dim: self.shape.head_dim, out: self.out });
        let Some(lse) = self.lse else {
            return;
        };
        for (r, (max, sum)) in state.max.iter().zip(state.sum.iter()).enumerate() {
            let at = heads.index(r);
            // SAFETY: tasks have disjoint (row, head) pairs.
            let lse = unsafe { lse.range(at..at + 1) };
            lse[0] = max * LN_2 + sum.ln();
        }
    }
}

/// One head of some tokens, among the others' of dense keys or values.
#[derive(Clone, Copy)]
struct DenseHeads<'a> {
    /// From the first token's head to the last one's.
    x: &'a [f32],
    /// Elements from one token to the next.
    row_len: usize,
    head_dim: usize,
    /// At least one.
    n_tokens: usize,
}

/// How many tokens ahead of the one that is copied are prefetched: they lie further apart than the processor
/// looks by itself.
const TOKENS_AHEAD: usize = 32;

impl<'a> DenseHeads<'a> {
    fn token(&self, i: usize) -> &'a [f32] {
        &self.x[i * self.row_len..][..self.head_dim]
    }

    /// Prefetches a token that is copied later.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, s: S, i: usize) {
        let token = self.x.as_ptr().wrapping_add((i + TOKENS_AHEAD) * self.row_len);
        for i in (0..self.head_dim + 15).step_by(16) {
            s.prefetch(token.wrapping_add(i).cast());
        }
    }
}

/// Keys of a span, turned: `[N_BLOCKS, head_dim, BLOCK]`, sixteen tokens by sixteen elements at a time.
struct CopyKeys<'a, 'b> {
    from: DenseHeads<'a>,
    to: &'b mut [f32],
}

impl Kernel for CopyKeys<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd + Rows16>(self, s: S) {
        let CopyKeys { from, to } = self;
        let (dim, n) = (from.head_dim, from.n_tokens);
        assert!(to.len() >= n.next_multiple_of(BLOCK) * dim);
        // Where a head has fewer than sixteen elements, and for the last tokens, one after the other.
        let n_whole = if dim < 16 { 0 } else { n - n % 16 };
        for first in (0..n_whole).step_by(16) {
            (first..first + 16).for_each(|i| from.prefetch(s, i));
            let tokens = &from.x[first * from.row_len..][..15 * from.row_len + dim];
            let block = &mut to[first / BLOCK * BLOCK * dim..][..BLOCK * dim];
            for d in (0..dim).step_by(16) {
                let d = d.min(dim - 16); // The last sixteen may repeat some of those before them.
                // SAFETY: sixteen tokens have elements `d..d + 16`, which are rows of the block, and sixteen
                // tokens are in it from `first` on, because its length is a multiple of that.
                unsafe {
                    let columns =
                        s.four_chunks(tokens.as_ptr().add(d).cast(), from.row_len * size_of::<f32>());
                    let out = block.as_mut_ptr().add(d * BLOCK + first % BLOCK);
                    for (i, &column) in columns.as_flattened().iter().enumerate() {
                        s.store_bytes(out.add(i * BLOCK).cast(), column);
                    }
                }
            }
        }
        for i in n_whole..n {
            let block = &mut to[i / BLOCK * BLOCK * dim..][..BLOCK * dim];
            for (k, column) in from.token(i).iter().zip(block.chunks_exact_mut(BLOCK)) {
                column[i % BLOCK] = *k;
            }
        }
    }
}

/// Values of a span: `[SPAN, padded head_dim]`.
struct CopyValues<'a, 'b> {
    from: DenseHeads<'a>,
    to: &'b mut [f32],
}

impl Kernel for CopyValues<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.to.chunks_exact_mut(padded(self.from.head_dim)).take(self.from.n_tokens);
        for (i, to) in rows.enumerate() {
            self.from.prefetch(s, i);
            to[..self.from.head_dim].copy_from_slice(self.from.token(i));
        }
    }
}
