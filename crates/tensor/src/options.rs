//! How the passes of one model compute: what its engine decides, and the device does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use puna_kernels::matmul::Activations;

/// What a pass may do to be fast. The default computes exactly and takes no memory for copies.
///
/// Several models share one [`Cpu`](crate::Cpu), each with options of its own. A graph that is differentiated
/// ignores them: its gradients are those of the exact product.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// How activations meet quantised weights.
    pub activations: Activations,
    /// Memory for copies of weights in the order in which products read them.
    pub repack: RepackBudget,
}

/// Bytes that repacked copies of weights may still take. Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct RepackBudget(Arc<AtomicUsize>);

impl RepackBudget {
    /// A budget of this many bytes; the default has none.
    pub fn new(bytes: usize) -> RepackBudget {
        RepackBudget(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes `bytes` from the budget if they are left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    /// Gives back what was taken.
    pub(crate) fn give(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}
