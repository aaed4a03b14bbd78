//! Caches that nobody computed: pseudo-random keys and values, to measure what a token costs after millions
//! of others.
//!
//! Attention over a prompt of millions of tokens takes days; what one more token costs does not depend on
//! what the keys are. A few blocks are stored as a model would store them, and all others are copies.

use std::sync::Arc;

use puna_tensor::{Graph, KvLayout};

use super::KvCache;
use super::table::{BlockGroup, Table};
use crate::block_pool::BlockPool;
use crate::error::ModelError;

/// Different blocks of a table: 2 to the number of bits that choose one.
const N_PATTERNS: usize = 8;

/// Which of them a block is.
pub(crate) fn pattern_of(block: usize) -> usize {
    // The high bits of a product with an odd constant (Knuth's multiplicative hashing): no order that repeats
    // soon.
    ((block as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61) as usize
}

/// The keys and the values, `[BLOCK, n_kv_heads * head_dim]` each, of a block of a table's `layer`-th layer,
/// from -1 to 1.
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
    /// Makes an empty cache hold `len` positions with pseudo-random keys and values, those of images aside.
    /// Each table's blocks are a few that repeat in no order. Fails, with the cache empty, if the pool has
    /// too few blocks or the file that they are to be in has no room.
    ///
    /// # Panics
    /// If the cache is not empty.
    pub fn fill_synthetic(&mut self, graph: &mut Graph, len: usize) -> Result<(), ModelError> {
        assert!(self.is_empty(), "positions that were computed are not overwritten");
        let filled = (0..self.tables.len()).try_for_each(|i| {
            let patterns = patterns(graph, &self.tables[i])?;
            let table = &mut self.tables[i];
            table.n_dropped = table.first_group(len);
            let n_groups = table.n_groups(len) - table.n_dropped;
            let mut lease = self.pool.take(n_groups * table.n_layers)?;
            for group in table.n_dropped..table.n_groups(len) {
                let mut copy: BlockGroup = table.new_groups(&mut lease, 1)?.remove(0);
                let pattern = patterns.groups[pattern_of(group)].bytes();
                copy.bytes_mut()[..pattern.len()].copy_from_slice(pattern);
                table.groups.push_back(Arc::new(copy));
            }
            Ok(())
        });
        match filled {
            Ok(()) => self.len = len,
            Err(_) => self.tables.iter_mut().for_each(|table| table.truncate(0)),
        }
        filled
    }
}

/// A table like another that holds each pattern once, in memory. It is nobody's cache, so no pool counts it.
fn patterns(graph: &mut Graph, like: &Table) -> Result<Table, ModelError> {
    let (layout, n_layers, n) = (like.layout, like.n_layers, N_PATTERNS * KvLayout::BLOCK);
    let mut patterns = Table { n_layers, ..Table::new(layout, None) };
    let mut lease = BlockPool::default().take(N_PATTERNS * n_layers)?;
    let groups = patterns.new_groups(&mut lease, N_PATTERNS)?;
    patterns.reserve(0, n, groups);
    let row_len = layout.n_kv_heads() * layout.head_dim();
    for layer in 0..n_layers {
        let rows = (0..N_PATTERNS).map(|pattern| pattern_rows(layout, layer, pattern));
        let (k, v): (Vec<_>, Vec<_>) = rows.map(|[k, v]| (k, v)).unzip();
        let [k, v] = [k, v].map(|rows| graph.constant(n, row_len, |out| out.copy_from_slice(&rows.concat())));
        let slots = patterns.slots(layer, 0, 0..n);
        graph.store_kv(&k, &v, slots);
    }
    Ok(patterns)
}
