//! The query rows of a tile: which they are, and what they see.

use std::ops::Range;

use super::queries::{AttentionShape, Queries, Sees};

/// One tile: some tokens of a sequence and one key-value head.
pub(super) struct TileTask<'a> {
    pub sequence: Queries<'a>,
    pub kv_head: usize,
    /// Tokens, counted from the sequence's first query.
    pub tokens: Range<usize>,
}

impl TileTask<'_> {
    pub fn heads(&self, shape: &AttentionShape) -> Heads {
        let (group, token) = (shape.group(), self.sequence.first_row + self.tokens.start);
        Heads { first: token * shape.n_heads + self.kv_head * group, n_heads: shape.n_heads, group }
    }

    pub fn mask(&self, shape: &AttentionShape) -> Mask {
        self.sequence.sees.mask(self.tokens.start, shape.group())
    }

    pub fn n_rows(&self, shape: &AttentionShape) -> usize {
        self.tokens.len() * shape.group()
    }

    /// Keys the last token sees.
    pub fn n_keys(&self) -> usize {
        self.sequence.sees.n_keys(self.tokens.end)
    }
}

impl Sees {
    /// What the rows of queries from `start` on see, `group` rows each.
    pub(super) fn mask(self, start: usize, group: usize) -> Mask {
        match self {
            Sees::Before(first) => Mask { first_position: first + start, group, window: usize::MAX },
            Sees::Window { first, n } => Mask { first_position: first + start, group, window: n },
            // They see what one query at the last position sees, however many rows there are.
            Sees::All(n) => Mask { first_position: n - 1, group: u32::MAX as usize, window: usize::MAX },
        }
    }
}

/// Which keys the rows of a tile see.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    /// The position of the tile's first token.
    pub first_position: usize,
    /// Rows per token.
    pub group: usize,
    /// How many keys a row sees at most: the last ones.
    pub window: usize,
}

impl Mask {
    /// Where the keys that a row sees end.
    #[inline(always)]
    fn end(self, row: usize) -> usize {
        let token = row as u32 / self.group as u32; // Of 32 bits: a faster division than one of 64.
        self.first_position + token as usize + 1
    }

    /// Where the keys of `span` end that a row sees.
    #[inline(always)]
    pub fn n_seen(self, row: usize, span: &Range<usize>) -> usize {
        self.end(row).clamp(span.start, span.end) - span.start
    }

    /// How many keys of `span` come before those that a row sees. Later rows have no fewer.
    #[inline(always)]
    pub fn n_unseen(self, row: usize, span: &Range<usize>) -> usize {
        self.first_seen(row).clamp(span.start, span.end) - span.start
    }

    /// The first key that a row sees.
    #[inline(always)]
    pub fn first_seen(self, row: usize) -> usize {
        self.end(row).saturating_sub(self.window)
    }
}

/// Where the rows of a tile are among `[tokens, n_heads, head_dim]`.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    /// The first row's head, counted from the first token's first.
    pub first: usize,
    pub n_heads: usize,
    pub group: usize,
}

impl Heads {
    /// The head of a row, counted from the first token's first.
    #[inline(always)]
    pub fn index(self, row: usize) -> usize {
        let (token, head) = (row as u32 / self.group as u32, row as u32 % self.group as u32);
        self.first + token as usize * self.n_heads + head as usize
    }
}
