//! Sixteen weight rows side by side: the vectors over which matrix products with weights are written.
//!
//! A product wants vectors that run across rows, so that every output has its own lane and nothing is summed
//! across lanes. Stored weights lie row after row; [`Rows16::chunk`] reads sixteen bytes of each of sixteen
//! rows and transposes them in registers to four vectors of 64 bytes, [row][4 bytes]. The codes of a format
//! are then cut out of those bytes with shifts and masks, and [`Rows16::dot`] multiplies four of them per row
//! with four activations. [`Scalar`](crate::simd::Scalar) defines what every operation means.

use super::words::Words;

/// The codes of a format: bytes `0..=max`, where `zero` stands for the value zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRange {
    /// What is subtracted from each code: 0, a number up to 64, or 128 for signed bytes.
    pub zero: u8,
    /// The largest code: below 128 unless `zero` is 128.
    pub max: u8,
}

/// One instruction set's view of sixteen rows.
pub trait Rows16: Copy {
    /// Four bytes of each row.
    type Bytes: Copy;
    /// A number of each row, 32 bits.
    type Ints: Copy;
    /// A float of each row.
    type Floats: Copy;
    /// Panels of sixteen rows multiplied at a time: as many as registers hold accumulators for.
    const PANELS: usize;
    /// The same for many rows of activations in f32. Their weights are unpacked beforehand, and the more
    /// panels there are, the fewer loads are needed for each multiplication.
    const FLOAT_PANELS: usize = Self::PANELS;
    /// What sums of products may start from beyond what they are, so that their bits are those of floats: the
    /// bits of 1.5 · 2^23, which is 1 apart from its neighbours, or 0 where a number becomes a float at no cost
    /// to products.
    const BIAS: i32 = 0;
    /// Whether this is plain Rust, where no registers hold a block's codes.
    const PLAIN: bool = false;

    /// Bytes `start + r * stride .. + 16` of each row r, four bytes a vector.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn chunk(self, start: *const u8, stride: usize) -> [Self::Bytes; 4];

    /// [`Rows16::chunk`] of bytes 0 to 15 and of bytes 16 to 31.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    unsafe fn two_chunks(self, start: *const u8, stride: usize) -> [[Self::Bytes; 4]; 2] {
        // SAFETY: the caller's promise.
        unsafe { [self.chunk(start, stride), self.chunk(start.add(16), stride)] }
    }

    /// [`Rows16::chunk`] of each sixteen of 64 bytes.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    unsafe fn four_chunks(self, start: *const u8, stride: usize) -> [[Self::Bytes; 4]; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let [[a, b], [c, d]] = [self.two_chunks(start, stride), self.two_chunks(start.add(32), stride)];
            [a, b, c, d]
        }
    }

    /// The columns of 32 halves of each row.
    ///
    /// # Safety
    /// Bytes `start + r * stride .. + 64` of each row r are readable.
    #[inline(always)]
    unsafe fn columns_of_halves(self, start: *const u8, stride: usize) -> [Self::Floats; 32] {
        let mut out = [self.splat_float(0.0); 32];
        // SAFETY: the caller's promise.
        let chunks = unsafe { self.four_chunks(start, stride) };
        for (i, &bytes) in chunks.as_flattened().iter().enumerate() {
            let pair = self.ints(bytes);
            out[2 * i] = self.halves(pair);
            out[2 * i + 1] = self.halves(self.shr_ints::<16>(pair));
        }
        out
    }

    /// # Safety
    /// 64 bytes are readable.
    unsafe fn load_bytes(self, from: *const u8) -> Self::Bytes;
    /// # Safety
    /// 64 bytes are writable.
    unsafe fn store_bytes(self, to: *mut u8, b: Self::Bytes);
    fn and(self, a: Self::Bytes, mask: u8) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn xor(self, a: Self::Bytes, bits: u8) -> Self::Bytes;
    /// Shifts right. The bits that enter a byte are undefined: mask those you want.
    fn shr<const N: u32>(self, a: Self::Bytes) -> Self::Bytes;
    /// Shifts left. The bits that enter a byte are undefined: mask those you want.
    fn shl<const N: u32>(self, a: Self::Bytes) -> Self::Bytes;
    /// `table[b]` for each byte b below 16.
    fn lookup(self, table: &[u8; 16], b: Self::Bytes) -> Self::Bytes;
    /// The sum of each two bytes, modulo 256.
    fn add_bytes(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// What carries out of a byte when it is tripled: 3 b / 256, rounded down.
    fn carry_of_triple(self, b: Self::Bytes) -> Self::Bytes;

    /// The four bytes of each row as a number, lowest first.
    fn ints(self, b: Self::Bytes) -> Self::Ints;
    /// The number of each row as four bytes.
    fn int_bytes(self, i: Self::Ints) -> Self::Bytes;
    fn shr_ints<const N: u32>(self, a: Self::Ints) -> Self::Ints;
    fn shl_ints<const N: u32>(self, a: Self::Ints) -> Self::Ints;
    fn and_ints(self, a: Self::Ints, mask: u32) -> Self::Ints;
    fn or_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn xor_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn add_ints(self, a: Self::Ints, b: i32) -> Self::Ints;
    /// `table[i % N]` for the number i of each row. N is a power of two; of sixteen words, the table is in
    /// registers where they have room for it.
    fn words<const N: usize>(self, table: &[u32; N], i: Self::Ints) -> Self::Ints;
    /// The words of four numbers of each row, whose low eight bits are the bytes of `low`, lowest first, and whose upper
    /// ones are the low bits of the bytes of `high`: as many as `N` needs.
    #[inline(always)]
    fn four_words<const N: usize>(
        self,
        table: &Words<N>,
        low: Self::Ints,
        high: Self::Ints,
    ) -> [Self::Ints; 4] {
        words_one_by_one(self, table, low, high)
    }
    fn to_floats(self, a: Self::Ints) -> Self::Floats;
    /// The bits of each number as an f32.
    fn float_bits(self, a: Self::Ints) -> Self::Floats;
    /// The value of the half in the low sixteen bits of each number.
    fn halves(self, a: Self::Ints) -> Self::Floats;

    /// The values of four E4M3 codes of each row, over 256: those of the halves that `half::half_of` gives.
    #[inline(always)]
    fn columns_of_f8(self, b: Self::Bytes) -> [Self::Floats; 4] {
        let [even, odd] = self.halves_of_f8(self.ints(b));
        let [third, fourth] = [self.shr_ints::<16>(even), self.shr_ints::<16>(odd)];
        [self.halves(even), self.halves(odd), self.halves(third), self.halves(fourth)]
    }
    /// The halves of four codes of each row: of the first and third, and of the second and fourth.
    #[inline(always)]
    fn halves_of_f8(self, four: Self::Ints) -> [Self::Ints; 2] {
        let (first, second) = (self.shl_ints::<7>(four), self.shr_ints::<1>(four));
        [self.put_signs(first, self.shl_ints::<8>(four)), self.put_signs(second, four)]
    }
    /// Two halves of codes whose magnitudes and signs are at their places, among others' bits.
    #[inline(always)]
    fn put_signs(self, magnitudes: Self::Ints, signs: Self::Ints) -> Self::Ints {
        let magnitudes = self.and_ints(magnitudes, 0x3f80_3f80);
        let nans = self.and_ints(self.add_ints(magnitudes, 0x0080_0080), 0x4000_4000);
        self.or_ints(self.or_ints(magnitudes, nans), self.and_ints(signs, 0x8000_8000))
    }
    /// The values of sixteen pairs of E4M3 codes, over 256: of the first of each pair, and of the second.
    ///
    /// # Safety
    /// 32 bytes are readable.
    unsafe fn pairs_of_f8(self, from: *const u8) -> [Self::Floats; 2];

    fn splat_float(self, x: f32) -> Self::Floats;
    fn add_floats(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul_floats(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once (twice on scalar).
    fn fma_floats(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// # Safety
    /// Sixteen floats are readable.
    unsafe fn load_floats(self, from: *const f32) -> Self::Floats;
    /// # Safety
    /// Sixteen halves are readable.
    unsafe fn sixteen_halves(self, from: *const u8) -> Self::Floats;
    /// # Safety
    /// Sixteen bytes are readable.
    unsafe fn sixteen_bytes(self, from: *const u8) -> Self::Ints;
    /// # Safety
    /// Sixteen floats are writable.
    unsafe fn store_floats(self, to: *mut f32, v: Self::Floats);

    /// `sum over j of (code j of a row - zero) * (activation j of r)` over `QUADS` groups of four codes, for
    /// `NP` panels of rows and `MR` rows r of activations. The sums are exact.
    ///
    /// `panels[p]` points at `QUADS` vectors of 64 bytes; `x` at `QUADS` times `MR` groups of four
    /// activations, each at least -127; `starts` at `MR` numbers, -zero times the sum of the r-th row's
    /// activations, which are not read where `zero` is 0.
    ///
    /// # Safety
    /// They are readable, and as described.
    unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
        self,
        codes: CodeRange,
        panels: [*const u8; NP],
        x: *const i8,
        starts: *const i32,
    ) -> [[Self::Ints; NP]; MR];

    /// [`Rows16::dot`] of a sub-block of codes in registers.
    ///
    /// # Safety
    /// As for [`Rows16::dot`].
    #[inline(always)]
    unsafe fn dot_codes<const MR: usize, const SIXTEENS: usize>(
        self,
        codes: CodeRange,
        bytes: [[Self::Bytes; 4]; SIXTEENS],
        x: *const i8,
        starts: *const i32,
    ) -> [[Self::Ints; 1]; MR] {
        let mut panel = SubBlock([0; 512]);
        for (t, &bytes) in bytes.as_flattened().iter().enumerate() {
            assert!(64 * t < panel.0.len());
            // SAFETY: 64 bytes.
            unsafe { self.store_bytes(panel.0.as_mut_ptr().add(64 * t), bytes) };
        }
        // SAFETY: the caller's promise; the panel has one or two times sixteen codes.
        unsafe {
            match SIXTEENS {
                1 => self.dot::<MR, 1, 4>(codes, [panel.0.as_ptr()], x, starts),
                _ => self.dot::<MR, 1, 8>(codes, [panel.0.as_ptr()], x, starts),
            }
        }
    }

    /// Prefetches the cache line of an address, which need not be valid, to the second-level cache.
    #[inline(always)]
    fn prefetch_line(self, _: *const u8) {}
}

/// One or two times sixteen codes of sixteen rows.
#[repr(align(64))]
struct SubBlock([u8; 512]);

/// [`Rows16::four_words`] by [`Rows16::words`].
#[inline(always)]
pub(super) fn words_one_by_one<R: Rows16, const N: usize>(
    r: R,
    table: &Words<N>,
    low: R::Ints,
    high: R::Ints,
) -> [R::Ints; 4] {
    let each = |i| [i, r.shr_ints::<8>(i), r.shr_ints::<16>(i), r.shr_ints::<24>(i)];
    let mut numbers = each(low);
    if N > 256 {
        for (number, high) in numbers.iter_mut().zip(each(high)) {
            let high = r.shl_ints::<8>(r.and_ints(high, N as u32 / 256 - 1));
            *number = r.or_ints(r.and_ints(*number, 255), high);
        }
    }
    for number in &mut numbers {
        *number = r.words(table.all(), *number);
    }
    numbers
}
