//! The plain float types, as the columns of sixteen stored rows are read.

use crate::simd::Rows16;

/// A plain float type: how sixteen of its rows are read.
pub(in crate::matmul) trait Element: Copy {
    /// Bytes of a column.
    const BYTES: usize;
    /// Columns read at a time: a cache line, or half of one.
    const PER_LINE: usize;
    /// The columns of a line of each row: the first `PER_LINE`.
    ///
    /// # Safety
    /// The bytes of a line are readable from `start + r * stride` on, for each row r.
    unsafe fn columns<S: Rows16>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32];
    /// Columns `t` and `t + 1` of a line of rows side by side (see `repack.rs`), `t` even; zeros in place of
    /// the second where there is just `one`.
    ///
    /// # Safety
    /// They are readable; halves and F8 are two.
    unsafe fn repacked_pair<S: Rows16>(s: S, line: *const u8, t: usize, one: bool) -> [S::Floats; 2];
}

#[derive(Clone, Copy)]
pub(in crate::matmul) struct F32;
#[derive(Clone, Copy)]
pub(in crate::matmul) struct F16;
#[derive(Clone, Copy)]
pub(in crate::matmul) struct BF16;
/// Read as values over [`OF_HALF`](crate::half::OF_HALF), which products multiply with at the end.
#[derive(Clone, Copy)]
pub(in crate::matmul) struct F8;

impl Element for F32 {
    const BYTES: usize = 4;
    const PER_LINE: usize = 16;
    #[inline(always)]
    unsafe fn columns<S: Rows16>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32] {
        let mut out = [s.splat_float(0.0); 32];
        // SAFETY: the caller's promise.
        let chunks = unsafe { s.four_chunks(start, stride) };
        for (i, &bytes) in chunks.as_flattened().iter().enumerate() {
            out[i] = s.float_bits(s.ints(bytes));
        }
        out
    }
    #[inline(always)]
    unsafe fn repacked_pair<S: Rows16>(s: S, line: *const u8, t: usize, one: bool) -> [S::Floats; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let start = line.add(64 * t);
            let second = if one { s.splat_float(0.0) } else { s.load_floats(start.add(64).cast()) };
            [s.load_floats(start.cast()), second]
        }
    }
}

impl Element for F16 {
    const BYTES: usize = 2;
    const PER_LINE: usize = 32;
    #[inline(always)]
    unsafe fn columns<S: Rows16>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32] {
        // SAFETY: the caller's promise.
        unsafe { s.columns_of_halves(start, stride) }
    }
    #[inline(always)]
    unsafe fn repacked_pair<S: Rows16>(s: S, line: *const u8, t: usize, _: bool) -> [S::Floats; 2] {
        let start = line.wrapping_add(32 * t);
        // SAFETY: the caller's promise.
        unsafe { [s.sixteen_halves(start), s.sixteen_halves(start.add(32))] }
    }
}

impl Element for BF16 {
    const BYTES: usize = 2;
    const PER_LINE: usize = 32;
    #[inline(always)]
    unsafe fn columns<S: Rows16>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32] {
        let mut out = [s.splat_float(0.0); 32];
        // SAFETY: the caller's promise.
        let chunks = unsafe { s.four_chunks(start, stride) };
        for (i, &bytes) in chunks.as_flattened().iter().enumerate() {
            let pair = s.ints(bytes);
            out[2 * i] = s.float_bits(s.shl_ints::<16>(pair));
            out[2 * i + 1] = s.float_bits(s.and_ints(pair, 0xffff_0000));
        }
        out
    }
    #[inline(always)]
    unsafe fn repacked_pair<S: Rows16>(s: S, line: *const u8, t: usize, _: bool) -> [S::Floats; 2] {
        // SAFETY: the caller's promise.
        let pair = s.ints(unsafe { s.load_bytes(line.add(32 * t)) });
        [s.float_bits(s.shl_ints::<16>(pair)), s.float_bits(s.and_ints(pair, 0xffff_0000))]
    }
}

impl Element for F8 {
    const BYTES: usize = 1;
    const PER_LINE: usize = 32;
    #[inline(always)]
    unsafe fn columns<S: Rows16>(s: S, start: *const u8, stride: usize) -> [S::Floats; 32] {
        let mut out = [s.splat_float(0.0); 32];
        // SAFETY: the caller's promise.
        let chunks = unsafe { s.two_chunks(start, stride) };
        for (i, &bytes) in chunks.as_flattened().iter().enumerate() {
            out[4 * i..4 * i + 4].copy_from_slice(&s.columns_of_f8(bytes));
        }
        out
    }
    #[inline(always)]
    unsafe fn repacked_pair<S: Rows16>(s: S, line: *const u8, t: usize, _: bool) -> [S::Floats; 2] {
        // SAFETY: the caller's promise.
        unsafe { s.pairs_of_f8(line.add(16 * t)) }
    }
}
