//! The processor as a device: an instruction set, a pool of threads and buffers.

use crate::buffer::Buffers;
use crate::isa::Isa;
use crate::pool::Pool;

/// What the parallel kernels run on. One per process is usual, shared by all models; it is passed, never
/// looked up.
pub struct Cpu {
    /// The instruction set every kernel uses.
    pub isa: Isa,
    /// The threads.
    pub pool: Pool,
    /// Memory for what a kernel prepares for all of them.
    pub(crate) buffers: Buffers,
}

impl Cpu {
    /// A device with this instruction set and number of threads.
    pub fn new(isa: Isa, n_threads: usize) -> Cpu {
        Cpu { isa, pool: Pool::new(n_threads), buffers: Buffers::default() }
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
