//! The processor as a device: an instruction set and a pool of threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::buffer::Buffers;
use crate::isa::Isa;
use crate::matmul::Activations;
use crate::pool::Pool;

/// What the parallel kernels run on. One per process is usual; it is passed, never looked up.
pub struct Cpu {
    /// The instruction set every kernel uses.
    pub isa: Isa,
    /// The threads.
    pub pool: Pool,
    /// How activations enter products that need no gradient.
    pub activations: Activations,
    /// Bytes that copies of weights may still take: see [`Repacked`](crate::matmul::Repacked).
    repack_bytes: AtomicUsize,
    /// Memory for what a kernel prepares for all of them.
    pub(crate) buffers: Buffers,
}

impl Cpu {
    /// A device with this instruction set and number of threads, whose activations are f32.
    pub fn new(isa: Isa, n_threads: usize) -> Cpu {
        let (pool, buffers) = (Pool::new(n_threads), Buffers::default());
        Cpu { isa, pool, activations: Activations::F32, repack_bytes: AtomicUsize::new(0), buffers }
    }

    /// The same device with so many bytes for copies of weights in the order in which products read them.
    pub fn with_repack_bytes(self, bytes: usize) -> Cpu {
        Cpu { repack_bytes: AtomicUsize::new(bytes), ..self }
    }

    /// Takes `bytes` of those for copies, if there are so many.
    pub(crate) fn take_repack_bytes(&self, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.repack_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    /// The same device with activations as given.
    pub fn with(self, activations: Activations) -> Cpu {
        Cpu { activations, ..self }
    }

    /// Splits `n_rows` rows of about `row_len` elements among the threads: `task(range)` for each part. Work
    /// too small to be worth waking anybody stays on the calling thread.
    pub(crate) fn for_rows(
        &self,
        n_rows: usize,
        row_len: usize,
        task: impl Fn(std::ops::Range<usize>) + Sync,
    ) {
        const WORTHWHILE: usize = 8 * 1024; // elements: a few microseconds
        let rows = (WORTHWHILE / row_len.max(1)).max(1).max(n_rows.div_ceil(8 * self.pool.n_threads()));
        self.pool.run(n_rows.div_ceil(rows), |i, _| task(i * rows..((i + 1) * rows).min(n_rows)));
    }

    /// The best instruction set on all threads this process may use.
    pub fn best() -> Cpu {
        Cpu::new(Isa::best(), Pool::default_threads())
    }
}

/// A mutable slice whose disjoint parts several tasks write at once.
pub(crate) struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    lifetime: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `range` and `ptr`, whose callers promise disjointness.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        SharedMut { start: slice.as_mut_ptr(), len: slice.len(), lifetime: std::marker::PhantomData }
    }

    /// The elements at `range`.
    ///
    /// # Safety
    /// No other task touches this range while the result lives.
    #[allow(clippy::mut_from_ref)] // That is its purpose; see Safety.
    pub(crate) unsafe fn range(&self, range: std::ops::Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the slice; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// A pointer to the element at `offset`, for strided writes.
    ///
    /// # Safety
    /// What is written through it stays inside the slice and is touched by no other task.
    pub(crate) unsafe fn ptr(&self, offset: usize) -> *mut T {
        assert!(offset <= self.len);
        // SAFETY: inside the slice or one past its end.
        unsafe { self.start.add(offset) }
    }
}
