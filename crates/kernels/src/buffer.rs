//! Memory that is used again and again: aligned to cache lines, of plain numbers.

use std::sync::Mutex;

/// A cache line of floats.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; 16]);

/// Numbers for which any bytes are a value.
///
/// # Safety
/// The type has no invalid bytes, no padding, and a size that divides a cache line.
pub(crate) unsafe trait Plain: Copy {}
// SAFETY: numbers.
unsafe impl Plain for f32 {}
// SAFETY: numbers.
unsafe impl Plain for i32 {}
// SAFETY: numbers.
unsafe impl Plain for i8 {}

/// Buffers that were used and can be used again.
#[derive(Default)]
pub(crate) struct Buffers {
    free: Mutex<Vec<Vec<Line>>>,
}

impl Buffers {
    /// A buffer of `len` numbers with arbitrary content.
    pub fn take<T: Plain>(&self, len: usize) -> Buffer<'_, T> {
        let n_lines = len.div_ceil(size_of::<Line>() / size_of::<T>());
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // The smallest that fits, or else the largest, which grows: there are never more than were in use at
        // once.
        let best = free.iter().enumerate().min_by_key(|(_, lines)| {
            let capacity = lines.capacity();
            if capacity >= n_lines { (0, capacity) } else { (1, usize::MAX - capacity) }
        });
        let best = best.map(|(i, _)| i);
        let mut lines = best.map(|i| free.swap_remove(i)).unwrap_or_default();
        drop(free);
        if lines.len() < n_lines {
            lines.resize(n_lines, Line::default());
        }
        Buffer { lines, len, home: self, number: std::marker::PhantomData }
    }
}

/// Numbers on loan from [`Buffers`], beginning at a cache line.
pub(crate) struct Buffer<'a, T> {
    lines: Vec<Line>,
    len: usize,
    home: &'a Buffers,
    number: std::marker::PhantomData<T>,
}

impl<T: Plain> std::ops::Deref for Buffer<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: there are lines for `len` numbers, and any bytes are numbers.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> std::ops::DerefMut for Buffer<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl<T> Drop for Buffer<'_, T> {
    fn drop(&mut self) {
        let mut free = self.home.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        free.push(std::mem::take(&mut self.lines));
    }
}
