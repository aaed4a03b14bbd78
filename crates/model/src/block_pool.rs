//! Counted memory for keys and values: how many blocks there may be, and how many there are.
//!
//! A pool counts; it hands out no addresses. Whoever makes blocks takes a [`Lease`] for them first, and the
//! lease lives with the memory: when the last cache that shares it lets go, the blocks are free again. So
//! blocks that several caches share count once, and none can be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of blocks that the caches of an engine may have together. Clones are the same pool.
///
/// A block holds the keys and values of [`KvLayout::BLOCK`](puna_tensor::KvLayout::BLOCK) positions of one
/// layer.
#[derive(Clone, Debug)]
pub struct BlockPool(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    n_blocks: usize,
    blocks_used: AtomicUsize,
}

impl Default for BlockPool {
    /// A pool without a limit.
    fn default() -> BlockPool {
        BlockPool::new(usize::MAX)
    }
}

impl BlockPool {
    /// A pool with a limit of `n_blocks`.
    pub fn new(n_blocks: usize) -> BlockPool {
        BlockPool(Arc::new(Counts { n_blocks, blocks_used: AtomicUsize::new(0) }))
    }

    /// Blocks that there may be; `usize::MAX` without a limit.
    pub fn n_blocks(&self) -> usize {
        self.0.n_blocks
    }

    /// Blocks that caches have, those that they share counted once.
    pub fn blocks_used(&self) -> usize {
        self.0.blocks_used.load(Ordering::Relaxed)
    }

    /// Blocks that can still be had.
    pub fn blocks_free(&self) -> usize {
        self.0.n_blocks - self.blocks_used()
    }

    /// Takes `n` blocks, or none.
    pub(crate) fn take(&self, n: usize) -> Result<Lease, PoolFull> {
        let more = |used: usize| used.checked_add(n).filter(|used| *used <= self.0.n_blocks);
        let taken = self.0.blocks_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let lease = |_| Lease { pool: self.clone(), n };
        let full = |used| PoolFull { needed: n, free: self.0.n_blocks - used, n_blocks: self.0.n_blocks };
        taken.map(lease).map_err(full)
    }
}

/// Blocks that somebody has; given back on drop.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: BlockPool,
    n: usize,
}

impl Lease {
    /// Takes `n` of these blocks out, as a lease of their own.
    ///
    /// # Panics
    /// If there are fewer.
    pub(crate) fn split(&mut self, n: usize) -> Lease {
        self.n = self.n.checked_sub(n).expect("a lease is split into its own blocks");
        Lease { pool: self.pool.clone(), n }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.0.blocks_used.fetch_sub(self.n, Ordering::Relaxed);
    }
}

/// A pool has fewer blocks than are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "keys and values need {needed} more blocks of the cache, but {free} of {n_blocks} are free\n  end other sequences, or give the cache more memory"
)]
pub struct PoolFull {
    /// Blocks that were needed.
    pub needed: usize,
    /// Blocks that were free.
    pub free: usize,
    /// Blocks of the pool.
    pub n_blocks: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_and_come_back() {
        let pool = BlockPool::new(5);
        let mut lease = pool.take(3).unwrap();
        assert_eq!((pool.blocks_used(), pool.blocks_free()), (3, 2));
        assert_eq!(pool.take(3).unwrap_err(), PoolFull { needed: 3, free: 2, n_blocks: 5 });
        let one = lease.split(1);
        drop(lease);
        assert_eq!(pool.blocks_used(), 1);
        let rest = pool.clone().take(4).unwrap();
        assert_eq!(pool.blocks_free(), 0);
        drop((one, rest));
        assert_eq!(pool.blocks_used(), 0);
        assert!(BlockPool::default().take(usize::MAX).is_ok());
    }

    /// Threads that take and give back at once never have more than there are, and leave nothing behind.
    #[test]
    fn threads_share_a_pool() {
        let pool = BlockPool::new(7);
        std::thread::scope(|scope| {
            for n in 1..=4 {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let lease = pool.take(n);
                        assert!(pool.blocks_used() <= 7);
                        drop(lease);
                    }
                });
            }
        });
        assert_eq!(pool.blocks_used(), 0);
    }
}
