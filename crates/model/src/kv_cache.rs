//! The keys and values of one sequence: a table of blocks that sequences may share.
//!
//! A block holds [`KvLayout::BLOCK`] positions of every layer. Cloning a cache shares its blocks; writing to a shared one
//! copies it first. The engine owns caches and passes them in; the model keeps no state.

use std::sync::Arc;

use puna_tensor::{Isa, KvKind, KvLayout};

/// Positions `i * BLOCK ..` of every layer.
struct Block {
    /// `[n_layers, layer_bytes]`, from `start` on.
    buffer: Vec<u8>,
    /// Where a cache line begins: a vector that straddles two is loaded at half the speed.
    start: usize,
}

impl Block {
    const ALIGNMENT: usize = 64;

    fn new(n_bytes: usize) -> Block {
        let buffer = vec![0; n_bytes + Self::ALIGNMENT];
        let start = buffer.as_ptr().align_offset(Self::ALIGNMENT).min(Self::ALIGNMENT);
        Block { buffer, start }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..][..self.buffer.len() - Self::ALIGNMENT]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let n_bytes = self.buffer.len() - Self::ALIGNMENT;
        &mut self.buffer[self.start..][..n_bytes]
    }
}

impl Clone for Block {
    fn clone(&self) -> Block {
        let mut copy = Block::new(self.bytes().len());
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
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
            self.blocks.push(Arc::new(Block::new(self.n_layers * self.layout.block_bytes())));
        }
        for block in &mut self.blocks[self.len / KvLayout::BLOCK..] {
            Arc::make_mut(block);
        }
    }

    /// Stores a layer's keys and values, `[n, n_kv_heads * head_dim]` each, of the `n` positions reserved.
    pub(crate) fn store(&mut self, isa: Isa, layer: usize, k: &[f32], v: &[f32]) {
        let row_len = self.layout.n_kv_heads() * self.layout.head_dim();
        let layer_bytes = self.layout.block_bytes();
        let (mut position, end) = (self.len, self.len + k.len() / row_len);
        while position < end {
            // A block's positions in one run: keys lie transposed in it.
            let in_block = position % KvLayout::BLOCK;
            let n = (KvLayout::BLOCK - in_block).min(end - position);
            let rows = (position - self.len) * row_len..(position - self.len + n) * row_len;
            let block =
                Arc::get_mut(&mut self.blocks[position / KvLayout::BLOCK]).expect("reserved for us alone");
            let bytes = &mut block.bytes_mut()[layer * layer_bytes..(layer + 1) * layer_bytes];
            self.layout.store(isa, bytes, KvKind::Key, in_block, &k[rows.clone()]);
            self.layout.store(isa, bytes, KvKind::Value, in_block, &v[rows]);
            position += n;
        }
    }

    /// A layer's blocks, in order.
    pub(crate) fn layer(&self, layer: usize) -> Vec<&[u8]> {
        let layer_bytes = self.layout.block_bytes();
        self.blocks
            .iter()
            .map(|block| &block.bytes()[layer * layer_bytes..(layer + 1) * layer_bytes])
            .collect()
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
        // Keys are [head_dim, BLOCK]: the first element of both positions, and the second.
        let first_keys = |cache: &KvCache| cache.layer(0)[0].as_chunks::<4>().0[..2].to_vec();
        assert_eq!(first_keys(&a), [1f32.to_le_bytes(), [0; 4]]);
        assert_eq!(first_keys(&b), [1f32.to_le_bytes(), 2f32.to_le_bytes()]);
        b.truncate(0);
        assert_eq!(b.bytes(), 0);
    }

    #[test]
    fn a_run_across_blocks_is_stored_as_its_positions_are() {
        let layout = KvLayout::new(DType::Q8_0, 2, 5);
        let k: Vec<f32> = (0..10 * 150).map(|i| (i as f32).sin()).collect();
        let v: Vec<f32> = k.iter().map(|x| 2.0 - x).collect();
        let (mut whole, mut parts) = (KvCache::new(layout, 2), KvCache::new(layout, 2));
        whole.reserve(150);
        whole.store(Isa::best(), 1, &k, &v);
        whole.advance(150);
        let mut first = 0;
        for n in [1, 62, 1, 2, 84] {
            let rows = 10 * first..10 * (first + n);
            parts.reserve(n);
            parts.store(Isa::best(), 1, &k[rows.clone()], &v[rows]);
            parts.advance(n);
            first += n;
        }
        assert_eq!(whole.layer(1), parts.layer(1));
        assert!(whole.layer(0).iter().all(|block| block.iter().all(|byte| *byte == 0)));
    }
}
