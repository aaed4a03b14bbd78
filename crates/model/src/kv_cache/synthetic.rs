//! Caches that nobody computed: pseudo-random keys and values, to measure what a token costs after millions of others.
//!
//! Attention over a prompt of millions of tokens takes days; what one more token costs does not depend on what the keys
//! are. A few blocks are stored as a model would store them, and all others are copies.

use std::sync::Arc;

use puna_formats::FormatError;
use puna_tensor::{Isa, KvLayout};

use super::{KvCache, Table};

/// Different blocks of a table: 2 to the number of bits that choose one.
const N_PATTERNS: usize = 8;

/// Which of them a block is.
pub(crate) fn pattern_of(block: usize) -> usize {
    // The high bits of a product with an odd constant (Knuth's multiplicative hashing): no order that repeats soon.
    ((block as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61) as usize
}

/// The keys and the values, `[BLOCK, n_kv_heads * head_dim]` each, of a block of a table's `layer`-th layer, from -1 to 1.
pub(crate) fn pattern_rows(layout: KvLayout, layer: usize, pattern: usize) -> [Vec<f32>; 2] {
    let len = KvLayout::BLOCK * layout.n_kv_heads() * layout.head_dim();
    let mut state = ((layer * N_PATTERNS + pattern) as u64) << 32 | 1;
    let mut next = || {
        // A linear congruential generator with Knuth's constants, of which the high bits are used.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    [(); 2].map(|()| (0..len).map(|_| next()).collect())
}

impl KvCache {
    /// Makes an empty cache hold `len` positions with pseudo-random keys and values, those of images aside. Each table's
    /// blocks are a few that repeat in no order. Fails, with the cache empty, if the file that they are to be in has no
    /// room.
    ///
    /// # Panics
    /// If the cache is not empty.
    pub fn fill_synthetic(&mut self, isa: Isa, len: usize) -> Result<(), FormatError> {
        assert!(self.is_empty(), "positions that were computed are not overwritten");
        let layout = self.layout;
        let filled = self.tables.iter_mut().try_for_each(|table| table.fill_synthetic(isa, layout, len));
        match filled {
            Ok(()) => self.len = len,
            Err(_) => self.tables.iter_mut().for_each(|table| table.truncate(0)),
        }
        filled
    }
}

impl Table {
    fn fill_synthetic(&mut self, isa: Isa, layout: KvLayout, len: usize) -> Result<(), FormatError> {
        let mut patterns = Table { n_layers: self.n_layers, ..Table::new(None) };
        patterns.reserve(layout, 0, N_PATTERNS * KvLayout::BLOCK)?;
        for layer in 0..self.n_layers {
            for pattern in 0..N_PATTERNS {
                let [k, v] = pattern_rows(layout, layer, pattern);
                patterns.store(isa, layout, layer, pattern * KvLayout::BLOCK, &k, &v);
            }
        }
        self.blocks.clear();
        self.n_dropped = self.first_block(len);
        for block in self.n_dropped..self.n_blocks(len) {
            let mut copy = self.memory.block(self.n_layers * layout.block_bytes())?;
            copy.bytes_mut().copy_from_slice(patterns.blocks[pattern_of(block)].bytes());
            self.blocks.push_back(Arc::new(copy));
        }
        Ok(())
    }
}
