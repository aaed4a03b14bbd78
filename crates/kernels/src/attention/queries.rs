//! Who attends to what: the sizes of a layer, queries, and the keys that they see.

use std::ops::Range;

use crate::kv::{KvKind, KvLayout};

const BLOCK: usize = KvLayout::BLOCK;

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
    pub(super) fn group(&self) -> usize {
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
    /// Which of the keys they see.
    pub sees: Sees,
    /// What they attend to.
    pub keys: KeyValues<'a>,
}

/// Which keys the queries of a sequence see. All of them are present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Keys at and before the query's own position. The first query is at this one, the others follow.
    Before(usize),
    /// The same, but the last `n` of them alone, the query's own included.
    Window {
        /// The first query's position.
        first: usize,
        /// At least one.
        n: usize,
    },
    /// The first of them, as many as this says (at least one), for every query.
    All(usize),
}

impl Sees {
    /// Keys that the last of `n_rows` queries sees.
    pub(super) fn n_keys(self, n_rows: usize) -> usize {
        match self {
            Sees::Before(first) | Sees::Window { first, .. } => {
                first.checked_add(n_rows).expect("positions can be counted")
            }
            Sees::All(n) => n,
        }
    }

    /// Whether its queries see any key.
    pub(super) fn is_sound(self) -> bool {
        !matches!(self, Sees::All(0) | Sees::Window { n: 0, .. })
    }
}

impl KeyValues<'_> {
    /// Reads one head of one position into `out: [head_dim]`: the definition.
    pub(super) fn load(
        &self,
        shape: &AttentionShape,
        kind: KvKind,
        head: usize,
        position: usize,
        out: &mut [f32],
    ) {
        match *self {
            KeyValues::Paged { layout, blocks } => {
                layout.load(blocks[position / BLOCK], kind, head, position % BLOCK, out);
            }
            KeyValues::Dense { k, v, first } => {
                let all = if kind == KvKind::Key { k } else { v };
                copy_head(shape, all, shape.n_kv_heads, head, first + position..first + position + 1, out);
            }
        }
    }

    pub(super) fn check(&self, shape: &AttentionShape, len: usize) {
        match self {
            KeyValues::Paged { layout, blocks } => {
                assert!(layout.head_dim() == shape.head_dim && layout.n_kv_heads() == shape.n_kv_heads);
                assert!(len <= blocks.len() * BLOCK);
                assert!(blocks.iter().all(|block| block.len() == layout.block_bytes()));
            }
            KeyValues::Dense { k, v, first } => {
                let row = shape.n_kv_heads * shape.head_dim;
                let end = first.checked_add(len).and_then(|end| end.checked_mul(row));
                assert!(k.len() == v.len() && end.is_some_and(|end| end <= k.len()));
            }
        }
    }
}

/// Copies one head of tokens `rows` of `x: [tokens, n_heads, head_dim]` to `out: [rows, head_dim]`.
pub(super) fn copy_head(
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
