//! Where the bytes of weight rows are, and what to prefetch while they are read.
//!
//! A copy in the order of products is one stream, read from end to end, and what lies [`AHEAD`] bytes further
//! on is prefetched. Stored rows are sixteen streams at once. If they are longer than a page, the processor
//! follows each of them once a few prefetches have shown it. If they are shorter, it sees several in one page
//! and follows none; so the next panel of rows is prefetched while this one is read, from end to end.

use super::float::element::Element;
use crate::isa::Kernel;
use crate::quant::coded::{Blocks, Coded, RepackedBlocks, StoredBlocks};
use crate::simd::Rows16;

/// How far ahead the bytes of a copy are prefetched.
const AHEAD: usize = 8192;
/// How far ahead those of a row are, where each row is a stream.
const ROW_AHEAD: usize = 384;
/// The rows from which on each is read as a stream of its own: a page.
pub(super) const LONG_ROW: usize = 4096;
/// Columns of which each row's part is a stretch that is prefetched.
const UNIT: usize = 256;

/// Sixteen rows side by side (see `repack.rs`), and `stride` bytes further on the next sixteen.
#[derive(Clone, Copy)]
pub(super) struct RepackedRows {
    pub start: *const u8,
    pub stride: usize,
}

/// Rows as they are stored, `stride` bytes apart, and where what is needed after them begins.
#[derive(Clone, Copy)]
pub(super) struct StoredRows {
    pub start: *const u8,
    pub stride: usize,
    pub next: *const u8,
}

/// Where the blocks of a panel are.
pub(super) trait BlockSource: Copy {
    /// A block of each of sixteen rows.
    type Blocks<R: Rows16>: Blocks<R>;

    /// The `p`-th sixteen rows, of which this step reads `len` bytes each.
    fn sixteen(self, p: usize, len: usize) -> Self;

    /// Block `block` of each of sixteen rows.
    ///
    /// # Safety
    /// It is readable.
    unsafe fn block<R: Rows16, T: Coded>(self, r: R, block: usize) -> Self::Blocks<R>;

    /// What to prefetch while they are read.
    fn ahead<T: Coded>(self) -> Ahead;
}

impl BlockSource for RepackedRows {
    type Blocks<R: Rows16> = RepackedBlocks<R>;

    #[inline(always)]
    fn sixteen(self, p: usize, _: usize) -> RepackedRows {
        RepackedRows { start: self.start.wrapping_add(p * self.stride), ..self }
    }

    #[inline(always)]
    unsafe fn block<R: Rows16, T: Coded>(self, r: R, block: usize) -> RepackedBlocks<R> {
        // SAFETY: the caller's promise.
        unsafe { RepackedBlocks::new::<T>(r, self.start.add(16 * block * T::BYTES)) }
    }

    #[inline(always)]
    fn ahead<T: Coded>(self) -> Ahead {
        let stride = Ahead::unit_bytes::<T>();
        Ahead { start: self.start.wrapping_add(AHEAD), stride, unit_stride: 16 * stride }
    }
}

impl BlockSource for StoredRows {
    type Blocks<R: Rows16> = StoredBlocks<R>;

    #[inline(always)]
    fn sixteen(self, p: usize, len: usize) -> StoredRows {
        let (start, next) = (16 * p * self.stride, 16 * p * len);
        StoredRows { start: self.start.wrapping_add(start), next: self.next.wrapping_add(next), ..self }
    }

    #[inline(always)]
    unsafe fn block<R: Rows16, T: Coded>(self, r: R, block: usize) -> StoredBlocks<R> {
        let len = T::BYTES;
        // SAFETY: the caller's promise.
        unsafe { StoredBlocks::new(r, self.start.add(block * len), self.stride, len) }
    }

    /// In long rows what comes soon in each, of short ones the next panel: see above.
    #[inline(always)]
    fn ahead<T: Coded>(self) -> Ahead {
        let unit = Ahead::unit_bytes::<T>();
        match self.stride < LONG_ROW {
            true => Ahead { start: self.next, stride: unit, unit_stride: 16 * unit },
            false => {
                Ahead { start: self.start.wrapping_add(ROW_AHEAD), stride: self.stride, unit_stride: unit }
            }
        }
    }
}

/// For each [`UNIT`] columns sixteen stretches of memory, each as long as a row's part of them.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    start: *const u8,
    /// From a stretch to the next one.
    stride: usize,
    /// From the stretches of [`UNIT`] columns to those of the next ones.
    unit_stride: usize,
}

impl Ahead {
    /// Columns to which one stretch belongs.
    pub const COLUMNS: usize = UNIT / 16;

    /// Bytes of [`UNIT`] columns of a row.
    #[inline(always)]
    fn unit_bytes<T: Coded>() -> usize {
        UNIT / T::LEN * T::BYTES
    }

    /// Prefetches the stretch that belongs to the columns from `column` on: one by one, since the processor can wait for
    /// few lines at a time.
    #[inline(always)]
    pub fn prefetch<R: Rows16, T: Coded>(self, r: R, column: usize) {
        let (unit, stretch) = (column / UNIT, column % UNIT / Ahead::COLUMNS);
        let start = self.start.wrapping_add(unit * self.unit_stride + stretch * self.stride);
        for line in 0..Ahead::unit_bytes::<T>().div_ceil(64) {
            r.prefetch_line(start.wrapping_add(64 * line));
        }
    }
}

/// Where the columns of a panel of floats are.
pub(super) trait LineSource<E: Element>: Copy {
    /// The `p`-th sixteen rows.
    fn sixteen(self, p: usize) -> Self;

    /// Columns, or where they are.
    type Line<S: Rows16>: Copy;

    /// A line of each of sixteen rows, from `column` to at most column `len`; prefetches what comes soon.
    ///
    /// # Safety
    /// The rows are readable up to column `len`.
    unsafe fn line<S: Rows16>(self, s: S, column: usize, len: usize) -> Self::Line<S>;

    /// Columns `t` and `t + 1` of a line; `t` is even. If there is just `one`, the second is not used.
    ///
    /// # Safety
    /// The line has them, and is still readable.
    unsafe fn pair<S: Rows16>(s: S, line: &Self::Line<S>, t: usize, one: bool) -> [S::Floats; 2];
}

/// A cache line of each of sixteen rows.
#[repr(align(64))]
struct Lines([u8; 1024]);

impl<E: Element> LineSource<E> for StoredRows {
    type Line<S: Rows16> = [S::Floats; 32];

    #[inline(always)]
    unsafe fn pair<S: Rows16>(_: S, line: &[S::Floats; 32], t: usize, _: bool) -> [S::Floats; 2] {
        [line[t], line[t + 1]]
    }

    #[inline(always)]
    fn sixteen(self, p: usize) -> StoredRows {
        StoredRows { start: self.start.wrapping_add(16 * p * self.stride), ..self }
    }

    /// Prefetches what comes soon in each row, so that the processor follows every row as a stream of its
    /// own.
    #[inline(always)]
    unsafe fn line<S: Rows16>(self, s: S, column: usize, len: usize) -> [S::Floats; 32] {
        let size = E::BYTES;
        if (column * size).is_multiple_of(64) {
            for r in 0..16 {
                s.prefetch_line(self.start.wrapping_add(r * self.stride + column * size + ROW_AHEAD));
            }
        }
        // SAFETY: the caller's promise; the copy has sixteen lines.
        unsafe {
            let start = self.start.add(column * size);
            if len - column >= E::PER_LINE {
                return E::columns(s, start, self.stride);
            }
            let mut copy = Lines([0; 1024]);
            for r in 0..16 {
                let to = copy.0.as_mut_ptr().add(64 * r);
                std::ptr::copy_nonoverlapping(start.add(r * self.stride), to, (len - column) * size);
            }
            E::columns(s, copy.0.as_ptr(), 64)
        }
    }
}

impl<E: Element> LineSource<E> for RepackedRows {
    type Line<S: Rows16> = *const u8;

    #[inline(always)]
    unsafe fn pair<S: Rows16>(s: S, line: &*const u8, t: usize, one: bool) -> [S::Floats; 2] {
        // SAFETY: the caller's promise; copies of halves and F8 have even columns.
        unsafe { E::repacked_pair(s, *line, t, one) }
    }

    #[inline(always)]
    fn sixteen(self, p: usize) -> RepackedRows {
        RepackedRows { start: self.start.wrapping_add(p * self.stride), ..self }
    }

    #[inline(always)]
    unsafe fn line<S: Rows16>(self, s: S, column: usize, _: usize) -> *const u8 {
        let start = self.start.wrapping_add(16 * column * E::BYTES);
        for line in 0..E::PER_LINE * E::BYTES / 4 {
            s.prefetch_line(start.wrapping_add(AHEAD + 64 * line));
        }
        start
    }
}

/// Prefetches bytes that are read next, all of them.
pub(super) struct FirstBytes<'a>(pub &'a [u8]);

impl Kernel for FirstBytes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        for line in (0..self.0.len()).step_by(64) {
            s.prefetch_line(self.0.as_ptr().wrapping_add(line));
        }
    }
}
