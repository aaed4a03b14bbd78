//! How keys and values lie in a block of the cache.
//!
//! A block holds [`KvLayout::BLOCK`] positions of one layer: the keys of each head, position after position, then the
//! values likewise, so that attention reads one head's part of a block in one stretch. Blocks start at multiples of
//! `BLOCK`, so how a sequence was fed (in one piece, in chunks, token by token) does not change the arithmetic.

use crate::{DType, isa::Isa, quant};

/// Which half of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvKind {
    /// Keys, after rotation.
    Key,
    /// Values.
    Value,
}

/// The shape and type of a layer's cache block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayout {
    dtype: DType,
    n_kv_heads: usize,
    head_dim: usize,
}

impl KvLayout {
    /// Positions in a block.
    pub const BLOCK: usize = 64;
    /// The types a cache can have.
    pub const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::Q8_0];

    /// # Panics
    /// If `dtype` is not one of [`KvLayout::DTYPES`].
    pub fn new(dtype: DType, n_kv_heads: usize, head_dim: usize) -> KvLayout {
        assert!(Self::DTYPES.contains(&dtype), "the cache cannot be {dtype}");
        KvLayout { dtype, n_kv_heads, head_dim }
    }

    /// Elements stored per head and position: `head_dim`, padded with zeros to whole blocks of the type.
    pub(crate) fn padded_dim(&self) -> usize {
        self.head_dim.next_multiple_of(self.dtype.block_len())
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Heads.
    pub fn n_kv_heads(&self) -> usize {
        self.n_kv_heads
    }

    fn row_bytes(&self) -> usize {
        self.dtype.bytes_of(self.padded_dim()).expect("padded to whole blocks")
    }

    /// Bytes of one layer's block, keys and values.
    pub fn block_bytes(&self) -> usize {
        2 * self.n_kv_heads * Self::BLOCK * self.row_bytes()
    }

    fn offset(&self, kind: KvKind, head: usize, position: usize) -> usize {
        let half = if kind == KvKind::Key { 0 } else { self.n_kv_heads };
        ((half + head) * Self::BLOCK + position) * self.row_bytes()
    }

    /// Stores `row: [n_kv_heads, head_dim]` at `position` (0..`BLOCK`) of a block.
    ///
    /// # Panics
    /// If a size disagrees.
    pub fn store(&self, isa: Isa, block: &mut [u8], kind: KvKind, position: usize, row: &[f32]) {
        assert!(block.len() == self.block_bytes() && position < Self::BLOCK);
        assert_eq!(row.len(), self.n_kv_heads * self.head_dim);
        let (dim, padded_dim) = (self.head_dim, self.padded_dim());
        for (h, head) in row.chunks_exact(dim).enumerate() {
            let offset = self.offset(kind, h, position);
            let out = &mut block[offset..offset + self.row_bytes()];
            if padded_dim == dim {
                quant::encode_with(isa, self.dtype, head, out);
            } else {
                // Only an odd head size in Q8_0 comes here: its last 32 elements are stored from a padded copy.
                let whole = dim - dim % self.dtype.block_len();
                let mut last = [0.0; 32];
                last[..dim - whole].copy_from_slice(&head[whole..]);
                let (first_out, last_out) =
                    out.split_at_mut(self.dtype.bytes_of(whole).expect("whole blocks"));
                quant::encode_with(isa, self.dtype, &head[..whole], first_out);
                quant::encode_with(isa, self.dtype, &last, last_out);
            }
        }
    }

    /// Decodes the first `n` positions of a head into `out: [n, padded_dim]`.
    pub(crate) fn load(&self, isa: Isa, block: &[u8], kind: KvKind, head: usize, n: usize, out: &mut [f32]) {
        assert!(block.len() == self.block_bytes() && n <= Self::BLOCK && head < self.n_kv_heads);
        let offset = self.offset(kind, head, 0);
        let bytes = &block[offset..offset + n * self.row_bytes()];
        quant::decode_with(isa, self.dtype, bytes, &mut out[..n * self.padded_dim()]);
    }
}
