//! The keys and values of one sequence: a table of blocks that sequences may share.
//!
//! A block holds [`KvLayout::BLOCK`] positions of every layer. Cloning a cache shares its blocks; writing to a shared one
//! copies it first. The engine owns caches and passes them in; the model keeps no state.

use std::sync::Arc;

use puna_tensor::{Isa, KvKind, KvLayout};

/// Positions `i * BLOCK ..` of every layer.
#[derive(Clone)]
struct Block {
    /// `[n_layers, layer_bytes]`.
    bytes: Vec<u8>,
}

/// One sequence's keys and values.
#[derive(Clone)]
pub struct KvCache {
    layout: KvLayout,
    n_layers: usize,
    blocks: Vec<Arc<Block>>,
    len: usize,
}

impl KvCache {
    /// An empty cache for a model of `n_layers` layers.
    pub fn new(layout: KvLayout, n_layers: usize) -> KvCache {
        KvCache { layout, n_layers, blocks: Vec::new(), len: 0 }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all positions from `len` on. Those before do not depend on them.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(KvLayout::BLOCK));
    }

    /// Bytes of its blocks, shared ones included.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * self.n_layers * self.layout.block_bytes()
    }

    /// Bytes that `len` positions of a sequence need; `usize::MAX` for more than can be counted.
    pub fn bytes_for(layout: KvLayout, n_layers: usize, len: usize) -> usize {
        len.div_ceil(KvLayout::BLOCK).saturating_mul(n_layers).saturating_mul(layout.block_bytes())
    }

    /// Makes room for `n` positions after those held; they count as held from [`KvCache::advance`] on.
    pub(crate) fn reserve(&mut self, n: usize) {
        let n_blocks = (self.len + n).div_ceil(KvLayout::BLOCK);
        while self.blocks.len() < n_blocks {
            let bytes = vec![0; self.n_layers * self.layout.block_bytes()];
            self.blocks.push(Arc::new(Block { bytes }));
        }
        for block in &mut self.blocks[self.len / KvLayout::BLOCK..] {
            Arc::make_mut(block);
        }
    }

    /// Stores a layer's keys and values, `[n, n_kv_heads * head_dim]` each, of the `n` positions reserved.
    pub(crate) fn store(&mut self, isa: Isa, layer: usize, k: &[f32], v: &[f32]) {
        let row_len = self.layout.n_kv_heads() * self.layout.head_dim();
        let layer_bytes = self.layout.block_bytes();
        for (i, (k, v)) in k.chunks_exact(row_len).zip(v.chunks_exact(row_len)).enumerate() {
            let position = self.len + i;
            let block =
                Arc::get_mut(&mut self.blocks[position / KvLayout::BLOCK]).expect("reserved for us alone");
            let bytes = &mut block.bytes[layer * layer_bytes..(layer + 1) * layer_bytes];
            self.layout.store(isa, bytes, KvKind::Key, position % KvLayout::BLOCK, k);
            self.layout.store(isa, bytes, KvKind::Value, position % KvLayout::BLOCK, v);
        }
    }

    /// A layer's blocks, in order.
    pub(crate) fn layer(&self, layer: usize) -> Vec<&[u8]> {
        let layer_bytes = self.layout.block_bytes();
        self.blocks.iter().map(|block| &block.bytes[layer * layer_bytes..(layer + 1) * layer_bytes]).collect()
    }

    /// Counts `n` stored positions as held.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
    }

    pub(crate) fn layout(&self) -> KvLayout {
        self.layout
    }

    pub(crate) fn n_layers(&self) -> usize {
        self.n_layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_tensor::DType;

    #[test]
    fn a_fork_shares_until_it_writes() {
        let layout = KvLayout::new(DType::F32, 1, 2);
        let mut a = KvCache::new(layout, 1);
        let write = |cache: &mut KvCache, value: f32| {
            cache.reserve(1);
            cache.store(Isa::SCALAR, 0, &[value; 2], &[value; 2]);
            cache.advance(1);
        };
        write(&mut a, 1.0);
        let mut b = a.clone();
        assert!(Arc::ptr_eq(&a.blocks[0], &b.blocks[0]));
        write(&mut b, 2.0);
        assert!(!Arc::ptr_eq(&a.blocks[0], &b.blocks[0]));
        assert_eq!((a.len(), b.len()), (1, 2));
        let (a_bytes, b_bytes) = (a.layer(0)[0].to_vec(), b.layer(0)[0].to_vec());
        assert_eq!(a_bytes[..8], b_bytes[..8]);
        assert_eq!(a_bytes[8..16], [0; 8]);
        assert_eq!(b_bytes[8..12], 2f32.to_le_bytes());
        b.truncate(0);
        assert_eq!(b.bytes(), 0);
    }
}
