//! A shared, immutable range of bytes: part of a memory-mapped file, or of a buffer we own.
//!
//! Cloning copies a pointer. The owner (a map, a vector) is freed with the last range that refers to it.

use std::ops::Range;
use std::sync::Arc;

/// A cheaply cloned view of bytes that somebody owns.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn Owner>,
    range: Range<usize>,
}

/// Whoever has the bytes.
pub trait Owner: Send + Sync {
    /// All of them.
    fn bytes(&self) -> &[u8];

    /// Those at `range` are not needed soon: if they can be had again from elsewhere, their memory may be
    /// given back.
    fn release(&self, _range: Range<usize>) {}
}

/// Memory of our own.
struct Memory<T>(T);

impl<T: AsRef<[u8]> + Send + Sync> Owner for Memory<T> {
    fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl Bytes {
    /// All bytes of `owner`, which are in memory.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Bytes {
        Bytes::of(Memory(owner))
    }

    /// All bytes of `owner`.
    pub fn of(owner: impl Owner + 'static) -> Bytes {
        let len = owner.bytes().len();
        Bytes { owner: Arc::new(owner), range: 0..len }
    }

    /// Tells the owner that these bytes are not needed soon.
    pub fn release(&self) {
        self.owner.release(self.range.clone());
    }

    /// The bytes at `range` of this view, or `None` if it reaches past the end.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        let range = self.range.start + range.start..self.range.start + range.end;
        Some(Bytes { owner: self.owner.clone(), range })
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} bytes)", self.range.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_stay_inside() {
        let all = Bytes::new(vec![1u8, 2, 3, 4, 5]);
        let part = all.slice(1..4).unwrap();
        assert_eq!(&*part, [2, 3, 4]);
        assert_eq!(&*part.slice(1..3).unwrap(), [3, 4]);
        assert!(part.slice(1..4).is_none());
        assert!(part.slice(0..usize::MAX).is_none());
    }
}
