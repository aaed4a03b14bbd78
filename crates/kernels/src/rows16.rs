//! Sixteen weight rows side by side: the vector type that unpacking and integer products are written over.
//!
//! Products want vectors that run across rows, so that every output has its own lane and nothing is summed across
//! lanes. Stored weights lie row after row; [`Rows16::chunk`] reads sixteen bytes of each of sixteen rows and turns
//! them into four vectors of 64 bytes, [row][4 bytes], while they pass through registers. The codes of a format are
//! then cut out of those bytes with shifts and masks, and [`Rows16::dot`] multiplies four of them per row with four
//! activations. [`Scalar`](crate::simd::Scalar) defines what every operation means.

/// The codes of a format: bytes `0..=max`, of which `zero` stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codes {
    /// What is subtracted from each code: 0, a number up to 64, or 128 for signed bytes.
    pub zero: u8,
    /// The largest code: below 128 unless `zero` is 128.
    pub max: u8,
}

/// One instruction set's view of sixteen rows.
pub(crate) trait Rows16: Copy {
    /// Four bytes of each row.
    type Bytes: Copy;
    /// A number of each row, 32 bits.
    type Ints: Copy;
    /// A float of each row.
    type Floats: Copy;
    /// Panels of sixteen rows multiplied at a time: as many as registers hold accumulators for.
    const PANELS: usize;

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
    /// Shifts right, filling each byte with whatever is near: mask the bits you want.
    fn shr<const N: u32>(self, a: Self::Bytes) -> Self::Bytes;
    /// Shifts left, filling each byte with whatever is near: mask the bits you want.
    fn shl<const N: u32>(self, a: Self::Bytes) -> Self::Bytes;
    /// `table[b]` for each byte b below 16.
    fn lookup(self, table: &[u8; 16], b: Self::Bytes) -> Self::Bytes;

    /// The four bytes of each row as a number, lowest first.
    fn ints(self, b: Self::Bytes) -> Self::Ints;
    /// The number of each row as four bytes.
    fn int_bytes(self, i: Self::Ints) -> Self::Bytes;
    fn shr_ints<const N: u32>(self, a: Self::Ints) -> Self::Ints;
    fn shl_ints<const N: u32>(self, a: Self::Ints) -> Self::Ints;
    fn and_ints(self, a: Self::Ints, mask: u32) -> Self::Ints;
    fn or_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn add_ints(self, a: Self::Ints, b: i32) -> Self::Ints;
    fn sum_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn to_floats(self, a: Self::Ints) -> Self::Floats;
    /// The bits of each number as an f32.
    fn float_bits(self, a: Self::Ints) -> Self::Floats;
    /// The value of the half in the low sixteen bits of each number.
    fn halves(self, a: Self::Ints) -> Self::Floats;

    fn splat_float(self, x: f32) -> Self::Floats;
    fn add_floats(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul_floats(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once (twice on scalar).
    fn fma_floats(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// # Safety
    /// Sixteen floats are readable.
    unsafe fn load_floats(self, from: *const f32) -> Self::Floats;
    /// # Safety
    /// Sixteen floats are writable.
    unsafe fn store_floats(self, to: *mut f32, v: Self::Floats);

    /// `sum over j of (code j of a row - zero) * (activation j of r)` over `QUADS` groups of four codes, for `NP` panels
    /// of rows and `MR` rows r of activations. The sums are exact.
    ///
    /// `panels[p]` points at `QUADS` vectors of 64 bytes; `x` at `QUADS` times `MR` groups of four activations, each at
    /// least -127; `starts` at `MR` numbers, -zero times the sum of the r-th row's activations, which are not
    /// read where `zero` is 0.
    ///
    /// # Safety
    /// They are readable, and as described.
    unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
        self,
        codes: Codes,
        panels: [*const u8; NP],
        x: *const i8,
        starts: *const i32,
    ) -> [[Self::Ints; NP]; MR];

    /// [`Rows16::dot`] of sixteen codes in registers and one row of activations; `start` is -zero times their
    /// sum, and does not matter where `zero` is 0.
    ///
    /// # Safety
    /// Sixteen activations are readable at `x`; codes are in their range.
    #[inline(always)]
    unsafe fn dot_sixteen(
        self,
        codes: Codes,
        bytes: [Self::Bytes; 4],
        x: *const i8,
        start: i32,
    ) -> Self::Ints {
        let mut panel = Sixteen([0; 256]);
        for (t, bytes) in bytes.into_iter().enumerate() {
            // SAFETY: four times 64 bytes.
            unsafe { self.store_bytes(panel.0.as_mut_ptr().add(64 * t), bytes) };
        }
        // SAFETY: four groups of four codes; the caller's promise.
        let [[sum]] = unsafe { self.dot::<1, 1, 4>(codes, [panel.0.as_ptr()], x, &raw const start) };
        sum
    }

    /// The largest magnitude, or NaN if there is one.
    fn largest_magnitude(self, x: &[f32; 32]) -> f32;
    /// The elements times `factor` as whole numbers: the nearest, halves away from zero; 0 for NaN. The products are little
    /// above 127 at most.
    fn round_scaled(self, x: &[f32; 32], factor: f32) -> [u8; 32];

    /// Asks for the cache line of an address, which need not be valid, to be brought to the second-level cache.
    #[inline(always)]
    fn prefetch_line(self, _: *const u8) {}
}

/// Sixteen codes of sixteen rows.
#[repr(align(64))]
struct Sixteen([u8; 256]);

// Lanes are addressed by their numbers, as the definitions say.
#[allow(clippy::needless_range_loop)]
mod scalar {
    use super::{Codes, Rows16};
    use crate::quant::half::f16_to_f32;
    use crate::quant::q8_0;
    use crate::simd::Scalar;

    impl Rows16 for Scalar {
        type Bytes = [[u8; 4]; 16];
        type Ints = [i32; 16];
        type Floats = [f32; 16];
        const PANELS: usize = 1;

        #[inline(always)]
        fn largest_magnitude(self, x: &[f32; 32]) -> f32 {
            q8_0::max_magnitude(x)
        }
        #[inline(always)]
        fn round_scaled(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
            x.map(|x| q8_0::round_half_away(x * factor) as u8)
        }

        #[inline(always)]
        unsafe fn chunk(self, start: *const u8, stride: usize) -> [[[u8; 4]; 16]; 4] {
            let mut out = [[[0; 4]; 16]; 4];
            for r in 0..16 {
                for t in 0..4 {
                    // SAFETY: the caller's promise.
                    out[t][r] = unsafe { start.add(r * stride + 4 * t).cast::<[u8; 4]>().read() };
                }
            }
            out
        }
        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> [[u8; 4]; 16] {
            // SAFETY: the caller's promise.
            unsafe { from.cast::<[[u8; 4]; 16]>().read() }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, b: [[u8; 4]; 16]) {
            // SAFETY: the caller's promise.
            unsafe { to.cast::<[[u8; 4]; 16]>().write(b) }
        }
        #[inline(always)]
        fn and(self, a: [[u8; 4]; 16], mask: u8) -> [[u8; 4]; 16] {
            a.map(|four| four.map(|b| b & mask))
        }
        #[inline(always)]
        fn or(self, mut a: [[u8; 4]; 16], b: [[u8; 4]; 16]) -> [[u8; 4]; 16] {
            for (a, b) in a.as_flattened_mut().iter_mut().zip(b.as_flattened()) {
                *a |= b;
            }
            a
        }
        #[inline(always)]
        fn xor(self, a: [[u8; 4]; 16], bits: u8) -> [[u8; 4]; 16] {
            a.map(|four| four.map(|b| b ^ bits))
        }
        #[inline(always)]
        fn shr<const N: u32>(self, a: [[u8; 4]; 16]) -> [[u8; 4]; 16] {
            a.map(|four| four.map(|b| b >> N))
        }
        #[inline(always)]
        fn shl<const N: u32>(self, a: [[u8; 4]; 16]) -> [[u8; 4]; 16] {
            a.map(|four| four.map(|b| b << N))
        }
        #[inline(always)]
        fn lookup(self, table: &[u8; 16], b: [[u8; 4]; 16]) -> [[u8; 4]; 16] {
            b.map(|four| four.map(|b| table[(b & 15) as usize]))
        }
        #[inline(always)]
        fn ints(self, b: [[u8; 4]; 16]) -> [i32; 16] {
            b.map(i32::from_le_bytes)
        }
        #[inline(always)]
        fn int_bytes(self, i: [i32; 16]) -> [[u8; 4]; 16] {
            i.map(i32::to_le_bytes)
        }
        #[inline(always)]
        fn shr_ints<const N: u32>(self, a: [i32; 16]) -> [i32; 16] {
            a.map(|x| (x as u32 >> N) as i32)
        }
        #[inline(always)]
        fn shl_ints<const N: u32>(self, a: [i32; 16]) -> [i32; 16] {
            a.map(|x| x << N)
        }
        #[inline(always)]
        fn and_ints(self, a: [i32; 16], mask: u32) -> [i32; 16] {
            a.map(|x| x & mask as i32)
        }
        #[inline(always)]
        fn or_ints(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
            std::array::from_fn(|r| a[r] | b[r])
        }
        #[inline(always)]
        fn add_ints(self, a: [i32; 16], b: i32) -> [i32; 16] {
            a.map(|x| x.wrapping_add(b))
        }
        #[inline(always)]
        fn sum_ints(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
            std::array::from_fn(|r| a[r] + b[r])
        }
        #[inline(always)]
        fn to_floats(self, a: [i32; 16]) -> [f32; 16] {
            a.map(|x| x as f32)
        }
        #[inline(always)]
        fn float_bits(self, a: [i32; 16]) -> [f32; 16] {
            a.map(|x| f32::from_bits(x as u32))
        }
        #[inline(always)]
        fn halves(self, a: [i32; 16]) -> [f32; 16] {
            a.map(|x| f16_to_f32(x as u16))
        }
        #[inline(always)]
        fn splat_float(self, x: f32) -> [f32; 16] {
            [x; 16]
        }
        #[inline(always)]
        fn add_floats(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
            std::array::from_fn(|r| a[r] + b[r])
        }
        #[inline(always)]
        fn mul_floats(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
            std::array::from_fn(|r| a[r] * b[r])
        }
        #[inline(always)]
        fn fma_floats(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
            std::array::from_fn(|r| a[r] * b[r] + c[r])
        }
        #[inline(always)]
        unsafe fn load_floats(self, from: *const f32) -> [f32; 16] {
            // SAFETY: the caller's promise.
            unsafe { from.cast::<[f32; 16]>().read_unaligned() }
        }
        #[inline(always)]
        unsafe fn store_floats(self, to: *mut f32, v: [f32; 16]) {
            // SAFETY: the caller's promise.
            unsafe { to.cast::<[f32; 16]>().write_unaligned(v) }
        }
        /// The definition; `starts` only serves those who do not subtract `zero` from each code.
        #[inline(always)]
        unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
            self,
            codes: Codes,
            panels: [*const u8; NP],
            x: *const i8,
            _starts: *const i32,
        ) -> [[[i32; 16]; NP]; MR] {
            let mut acc = [[[0; 16]; NP]; MR];
            for q in 0..QUADS {
                for (r, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    let x = unsafe { x.add(4 * (MR * q + r)).cast::<[i8; 4]>().read() };
                    for (panel, acc) in panels.iter().zip(acc) {
                        // SAFETY: the caller's promise.
                        let rows = unsafe { self.load_bytes(panel.add(64 * q)) };
                        for (sum, row) in acc.iter_mut().zip(rows) {
                            for (code, x) in row.into_iter().zip(x) {
                                *sum += (code as i32 - codes.zero as i32) * x as i32;
                            }
                        }
                    }
                }
            }
            acc
        }
    }
}

// SAFETY of every block below: a value of the implementing type proves that the CPU has the instructions; pointers
// are the caller's promise.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::needless_range_loop)]
mod x86 {
    use super::{Codes, Rows16};
    use crate::quant::wide::Wide;
    use crate::simd::{Avx2, Avx512};
    use std::arch::x86_64::*;

    #[inline(always)]
    unsafe fn load16(p: *const u8) -> __m128i {
        unsafe { _mm_loadu_si128(p.cast()) }
    }

    /// The `i`-th four bytes of x, eight times.
    #[inline(always)]
    unsafe fn splat4(x: *const i8, i: usize) -> __m256i {
        unsafe { _mm256_set1_epi32(x.add(4 * i).cast::<i32>().read_unaligned()) }
    }

    /// Two vectors of eight rows.
    impl Rows16 for Avx2 {
        type Bytes = [__m256i; 2];
        type Ints = [__m256i; 2];
        type Floats = [__m256; 2];
        const PANELS: usize = 1;

        #[inline(always)]
        fn largest_magnitude(self, x: &[f32; 32]) -> f32 {
            Wide::max_magnitude(self, x)
        }
        #[inline(always)]
        fn round_scaled(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
            Wide::scaled_to_bytes(self, x, factor)
        }

        /// Rows i and i + 4 (of eight) share a vector, so that transposing four by four within halves is enough.
        #[inline(always)]
        unsafe fn chunk(self, start: *const u8, stride: usize) -> [[__m256i; 2]; 4] {
            let zero = unsafe { _mm256_setzero_si256() };
            let mut out = [[zero; 2]; 4];
            for half in 0..2 {
                let mut z = [zero; 4];
                for i in 0..4 {
                    unsafe {
                        let row = start.add((8 * half + i) * stride);
                        let low = _mm256_castsi128_si256(load16(row));
                        z[i] = _mm256_inserti128_si256::<1>(low, load16(row.add(4 * stride)));
                    }
                }
                unsafe {
                    let (a, b) = (_mm256_unpacklo_epi32(z[0], z[1]), _mm256_unpacklo_epi32(z[2], z[3]));
                    let (c, d) = (_mm256_unpackhi_epi32(z[0], z[1]), _mm256_unpackhi_epi32(z[2], z[3]));
                    out[0][half] = _mm256_unpacklo_epi64(a, b);
                    out[1][half] = _mm256_unpackhi_epi64(a, b);
                    out[2][half] = _mm256_unpacklo_epi64(c, d);
                    out[3][half] = _mm256_unpackhi_epi64(c, d);
                }
            }
            out
        }
        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> [__m256i; 2] {
            unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())] }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, b: [__m256i; 2]) {
            unsafe {
                _mm256_storeu_si256(to.cast(), b[0]);
                _mm256_storeu_si256(to.add(32).cast(), b[1]);
            }
        }
        #[inline(always)]
        fn and(self, a: [__m256i; 2], mask: u8) -> [__m256i; 2] {
            unsafe {
                let mask = _mm256_set1_epi8(mask as i8);
                [_mm256_and_si256(a[0], mask), _mm256_and_si256(a[1], mask)]
            }
        }
        #[inline(always)]
        fn or(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
        }
        #[inline(always)]
        fn xor(self, a: [__m256i; 2], bits: u8) -> [__m256i; 2] {
            unsafe {
                let bits = _mm256_set1_epi8(bits as i8);
                [_mm256_xor_si256(a[0], bits), _mm256_xor_si256(a[1], bits)]
            }
        }
        #[inline(always)]
        fn shr<const N: u32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
            self.shr_ints::<N>(a)
        }
        #[inline(always)]
        fn shl<const N: u32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
            self.shl_ints::<N>(a)
        }
        #[inline(always)]
        fn lookup(self, table: &[u8; 16], b: [__m256i; 2]) -> [__m256i; 2] {
            unsafe {
                let table = _mm256_broadcastsi128_si256(load16(table.as_ptr()));
                [_mm256_shuffle_epi8(table, b[0]), _mm256_shuffle_epi8(table, b[1])]
            }
        }
        #[inline(always)]
        fn ints(self, b: [__m256i; 2]) -> [__m256i; 2] {
            b
        }
        #[inline(always)]
        fn int_bytes(self, i: [__m256i; 2]) -> [__m256i; 2] {
            i
        }
        #[inline(always)]
        fn shr_ints<const N: u32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
            unsafe {
                let n = _mm_cvtsi32_si128(N as i32);
                [_mm256_srl_epi32(a[0], n), _mm256_srl_epi32(a[1], n)]
            }
        }
        #[inline(always)]
        fn shl_ints<const N: u32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
            unsafe {
                let n = _mm_cvtsi32_si128(N as i32);
                [_mm256_sll_epi32(a[0], n), _mm256_sll_epi32(a[1], n)]
            }
        }
        #[inline(always)]
        fn and_ints(self, a: [__m256i; 2], mask: u32) -> [__m256i; 2] {
            unsafe {
                let mask = _mm256_set1_epi32(mask as i32);
                [_mm256_and_si256(a[0], mask), _mm256_and_si256(a[1], mask)]
            }
        }
        #[inline(always)]
        fn or_ints(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            Rows16::or(self, a, b)
        }
        #[inline(always)]
        fn add_ints(self, a: [__m256i; 2], b: i32) -> [__m256i; 2] {
            unsafe {
                let b = _mm256_set1_epi32(b);
                [_mm256_add_epi32(a[0], b), _mm256_add_epi32(a[1], b)]
            }
        }
        #[inline(always)]
        fn sum_ints(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
        }
        #[inline(always)]
        fn to_floats(self, a: [__m256i; 2]) -> [__m256; 2] {
            unsafe { [_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])] }
        }
        #[inline(always)]
        fn float_bits(self, a: [__m256i; 2]) -> [__m256; 2] {
            unsafe { [_mm256_castsi256_ps(a[0]), _mm256_castsi256_ps(a[1])] }
        }
        #[inline(always)]
        fn halves(self, a: [__m256i; 2]) -> [__m256; 2] {
            unsafe {
                let low = _mm256_set1_epi32(0xffff);
                let (a, b) = (_mm256_and_si256(a[0], low), _mm256_and_si256(a[1], low));
                // Packing works within halves of a vector: the fours come out as 0 2 1 3.
                let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a, b));
                [
                    _mm256_cvtph_ps(_mm256_castsi256_si128(packed)),
                    _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(packed)),
                ]
            }
        }
        #[inline(always)]
        fn splat_float(self, x: f32) -> [__m256; 2] {
            unsafe { [_mm256_set1_ps(x); 2] }
        }
        #[inline(always)]
        fn add_floats(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn mul_floats(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn fma_floats(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
        }
        #[inline(always)]
        unsafe fn load_floats(self, from: *const f32) -> [__m256; 2] {
            unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
        }
        #[inline(always)]
        unsafe fn store_floats(self, to: *mut f32, v: [__m256; 2]) {
            unsafe {
                _mm256_storeu_ps(to, v[0]);
                _mm256_storeu_ps(to.add(8), v[1]);
            }
        }
        /// `maddubs` sums two products in sixteen bits: small codes are added up there as long as they fit, signed ones
        /// give their sign to the activations first.
        #[inline(always)]
        unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
            self,
            codes: Codes,
            panels: [*const u8; NP],
            x: *const i8,
            starts: *const i32,
        ) -> [[[__m256i; 2]; NP]; MR] {
            unsafe {
                let mut acc = [[[_mm256_setzero_si256(); 2]; NP]; MR];
                let ones = _mm256_set1_epi16(1);
                for p in 0..NP {
                    if codes.zero == 128 {
                        for q in 0..QUADS {
                            for half in 0..2 {
                                let w = _mm256_loadu_si256(panels[p].add(64 * q + 32 * half).cast());
                                let w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
                                let magnitude = _mm256_abs_epi8(w);
                                for r in 0..MR {
                                    let pairs = _mm256_maddubs_epi16(
                                        magnitude,
                                        _mm256_sign_epi8(splat4(x, MR * q + r), w),
                                    );
                                    let sum = _mm256_madd_epi16(pairs, ones);
                                    acc[r][p][half] = _mm256_add_epi32(acc[r][p][half], sum);
                                }
                            }
                        }
                        continue;
                    }
                    // 2 * 127 * max * n_fit <= 32767.
                    let n_fit = 32767 / (254 * codes.max as usize);
                    if codes.zero > 0 {
                        for r in 0..MR {
                            acc[r][p] = [_mm256_set1_epi32(*starts.add(r)); 2];
                        }
                    }
                    for first in (0..QUADS).step_by(n_fit) {
                        let mut pairs = [[_mm256_setzero_si256(); 2]; MR];
                        for q in first..QUADS.min(first + n_fit) {
                            let w = self.load_bytes(panels[p].add(64 * q));
                            for r in 0..MR {
                                let x = splat4(x, MR * q + r);
                                for half in 0..2 {
                                    let both = _mm256_maddubs_epi16(w[half], x);
                                    pairs[r][half] = _mm256_add_epi16(pairs[r][half], both);
                                }
                            }
                        }
                        for r in 0..MR {
                            for half in 0..2 {
                                let sum = _mm256_madd_epi16(pairs[r][half], ones);
                                acc[r][p][half] = _mm256_add_epi32(acc[r][p][half], sum);
                            }
                        }
                    }
                }
                acc
            }
        }
        #[inline(always)]
        fn prefetch_line(self, address: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
        }
    }

    /// In each quarter of four vectors, the transpose of four by four numbers.
    #[inline(always)]
    fn transpose_quarters(z: [__m512i; 4]) -> [__m512i; 4] {
        unsafe {
            let (a, b) = (_mm512_unpacklo_epi32(z[0], z[1]), _mm512_unpacklo_epi32(z[2], z[3]));
            let (c, d) = (_mm512_unpackhi_epi32(z[0], z[1]), _mm512_unpackhi_epi32(z[2], z[3]));
            [
                _mm512_unpacklo_epi64(a, b),
                _mm512_unpackhi_epi64(a, b),
                _mm512_unpacklo_epi64(c, d),
                _mm512_unpackhi_epi64(c, d),
            ]
        }
    }

    /// 32 bytes of rows i and i + 4, for i below 4.
    #[inline(always)]
    unsafe fn rows_i_and_i_plus_4(start: *const u8, stride: usize) -> [__m512i; 4] {
        unsafe {
            let mut z = [_mm512_setzero_si512(); 4];
            for i in 0..4 {
                let row = start.add(i * stride);
                let v = _mm512_castsi256_si512(_mm256_loadu_si256(row.cast()));
                z[i] = _mm512_inserti64x4::<1>(v, _mm256_loadu_si256(row.add(4 * stride).cast()));
            }
            z
        }
    }

    /// Of sixteen vectors of sixteen numbers, the transpose: `[4 c + t]` has the numbers of that place.
    #[inline(always)]
    fn transpose(rows: [__m512i; 16]) -> [[__m512i; 4]; 4] {
        unsafe {
            let (rows, _) = rows.as_chunks::<4>();
            // `[g][t]`, quarter c: number 4 c + t of rows 4 g to 4 g + 3.
            let parts = [
                transpose_quarters(rows[0]),
                transpose_quarters(rows[1]),
                transpose_quarters(rows[2]),
                transpose_quarters(rows[3]),
            ];
            let mut out = parts;
            for t in 0..4 {
                let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(parts[0][t], parts[1][t]);
                let odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(parts[0][t], parts[1][t]);
                let even_below = _mm512_shuffle_i32x4::<0b10_00_10_00>(parts[2][t], parts[3][t]);
                let odd_below = _mm512_shuffle_i32x4::<0b11_01_11_01>(parts[2][t], parts[3][t]);
                out[0][t] = _mm512_shuffle_i32x4::<0b10_00_10_00>(even, even_below);
                out[1][t] = _mm512_shuffle_i32x4::<0b10_00_10_00>(odd, odd_below);
                out[2][t] = _mm512_shuffle_i32x4::<0b11_01_11_01>(even, even_below);
                out[3][t] = _mm512_shuffle_i32x4::<0b11_01_11_01>(odd, odd_below);
            }
            out
        }
    }

    /// One vector of sixteen rows.
    impl Rows16 for Avx512 {
        type Bytes = __m512i;
        type Ints = __m512i;
        type Floats = __m512;
        const PANELS: usize = 2;

        #[inline(always)]
        unsafe fn dot_sixteen(self, codes: Codes, bytes: [__m512i; 4], x: *const i8, start: i32) -> __m512i {
            unsafe {
                let zero = _mm512_setzero_si512();
                let mut sum = if codes.zero > 0 { _mm512_set1_epi32(start) } else { zero };
                for t in 0..4 {
                    let x = _mm512_set1_epi32(x.add(4 * t).cast::<i32>().read_unaligned());
                    sum = _mm512_dpbusd_epi32(sum, bytes[t], x);
                }
                sum
            }
        }
        #[inline(always)]
        fn largest_magnitude(self, x: &[f32; 32]) -> f32 {
            Wide::max_magnitude(self, x)
        }
        #[inline(always)]
        fn round_scaled(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
            Wide::scaled_to_bytes(self, x, factor)
        }

        /// Rows i, i + 4, i + 8 and i + 12 share a vector, so that transposing four by four within quarters is enough.
        #[inline(always)]
        unsafe fn chunk(self, start: *const u8, stride: usize) -> [__m512i; 4] {
            unsafe {
                let mut z = [_mm512_setzero_si512(); 4];
                for i in 0..4 {
                    let row = start.add(i * stride);
                    let v = _mm512_castsi128_si512(load16(row));
                    let v = _mm512_inserti32x4::<1>(v, load16(row.add(4 * stride)));
                    let v = _mm512_inserti32x4::<2>(v, load16(row.add(8 * stride)));
                    z[i] = _mm512_inserti32x4::<3>(v, load16(row.add(12 * stride)));
                }
                transpose_quarters(z)
            }
        }
        /// Each row is read once: rows i and i + 4 (and as many further on) share a vector, and after transposing within
        /// quarters the two chunks are told apart by whole quarters.
        #[inline(always)]
        unsafe fn two_chunks(self, start: *const u8, stride: usize) -> [[__m512i; 4]; 2] {
            unsafe {
                let (above, below) = (start, start.add(8 * stride));
                let a = transpose_quarters(rows_i_and_i_plus_4(above, stride));
                let b = transpose_quarters(rows_i_and_i_plus_4(below, stride));
                let mut out = [a, b];
                for t in 0..4 {
                    out[0][t] = _mm512_shuffle_i32x4::<0b10_00_10_00>(a[t], b[t]);
                    out[1][t] = _mm512_shuffle_i32x4::<0b11_01_11_01>(a[t], b[t]);
                }
                out
            }
        }
        /// Each row's cache line is read once: rows often lie a power of two apart, and then a column of sixteen of them
        /// does not fit the few places that the first-level cache has for it.
        #[inline(always)]
        unsafe fn four_chunks(self, start: *const u8, stride: usize) -> [[__m512i; 4]; 4] {
            unsafe {
                let mut rows = [_mm512_setzero_si512(); 16];
                for r in 0..16 {
                    rows[r] = _mm512_loadu_si512(start.add(r * stride).cast());
                }
                transpose(rows)
            }
        }
        /// Converting whole rows before transposing them costs least.
        #[inline(always)]
        unsafe fn columns_of_halves(self, start: *const u8, stride: usize) -> [__m512; 32] {
            unsafe {
                let mut out = [_mm512_setzero_ps(); 32];
                for half in 0..2 {
                    let mut rows = [_mm512_setzero_si512(); 16];
                    for r in 0..16 {
                        let from = start.add(r * stride + 32 * half);
                        rows[r] = _mm512_castps_si512(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast())));
                    }
                    for (i, &column) in transpose(rows).as_flattened().iter().enumerate() {
                        out[16 * half + i] = _mm512_castsi512_ps(column);
                    }
                }
                out
            }
        }
        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> __m512i {
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, b: __m512i) {
            unsafe { _mm512_storeu_si512(to.cast(), b) }
        }
        #[inline(always)]
        fn and(self, a: __m512i, mask: u8) -> __m512i {
            unsafe { _mm512_and_si512(a, _mm512_set1_epi8(mask as i8)) }
        }
        #[inline(always)]
        fn or(self, a: __m512i, b: __m512i) -> __m512i {
            unsafe { _mm512_or_si512(a, b) }
        }
        #[inline(always)]
        fn xor(self, a: __m512i, bits: u8) -> __m512i {
            unsafe { _mm512_xor_si512(a, _mm512_set1_epi8(bits as i8)) }
        }
        #[inline(always)]
        fn shr<const N: u32>(self, a: __m512i) -> __m512i {
            unsafe { _mm512_srli_epi32::<N>(a) }
        }
        #[inline(always)]
        fn shl<const N: u32>(self, a: __m512i) -> __m512i {
            unsafe { _mm512_slli_epi32::<N>(a) }
        }
        #[inline(always)]
        fn lookup(self, table: &[u8; 16], b: __m512i) -> __m512i {
            unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load16(table.as_ptr())), b) }
        }
        #[inline(always)]
        fn ints(self, b: __m512i) -> __m512i {
            b
        }
        #[inline(always)]
        fn int_bytes(self, i: __m512i) -> __m512i {
            i
        }
        #[inline(always)]
        fn shr_ints<const N: u32>(self, a: __m512i) -> __m512i {
            unsafe { _mm512_srli_epi32::<N>(a) }
        }
        #[inline(always)]
        fn shl_ints<const N: u32>(self, a: __m512i) -> __m512i {
            unsafe { _mm512_slli_epi32::<N>(a) }
        }
        #[inline(always)]
        fn and_ints(self, a: __m512i, mask: u32) -> __m512i {
            unsafe { _mm512_and_si512(a, _mm512_set1_epi32(mask as i32)) }
        }
        #[inline(always)]
        fn or_ints(self, a: __m512i, b: __m512i) -> __m512i {
            unsafe { _mm512_or_si512(a, b) }
        }
        #[inline(always)]
        fn add_ints(self, a: __m512i, b: i32) -> __m512i {
            unsafe { _mm512_add_epi32(a, _mm512_set1_epi32(b)) }
        }
        #[inline(always)]
        fn sum_ints(self, a: __m512i, b: __m512i) -> __m512i {
            unsafe { _mm512_add_epi32(a, b) }
        }
        #[inline(always)]
        fn to_floats(self, a: __m512i) -> __m512 {
            unsafe { _mm512_cvtepi32_ps(a) }
        }
        #[inline(always)]
        fn float_bits(self, a: __m512i) -> __m512 {
            unsafe { _mm512_castsi512_ps(a) }
        }
        #[inline(always)]
        fn halves(self, a: __m512i) -> __m512 {
            unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)) }
        }
        #[inline(always)]
        fn splat_float(self, x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        fn add_floats(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        fn mul_floats(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        fn fma_floats(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn load_floats(self, from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store_floats(self, to: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(to, v) }
        }
        /// `vpdpbusd` sums four products of unsigned codes and signed activations; what `zero` makes of them is known
        /// before and is where the sum starts.
        #[inline(always)]
        unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
            self,
            codes: Codes,
            panels: [*const u8; NP],
            x: *const i8,
            starts: *const i32,
        ) -> [[__m512i; NP]; MR] {
            unsafe {
                let mut acc = [[_mm512_setzero_si512(); NP]; MR];
                if codes.zero > 0 {
                    for r in 0..MR {
                        acc[r] = [_mm512_set1_epi32(*starts.add(r)); NP];
                    }
                }
                for q in 0..QUADS {
                    let mut w = [_mm512_setzero_si512(); NP];
                    for p in 0..NP {
                        w[p] = _mm512_loadu_si512(panels[p].add(64 * q).cast());
                    }
                    for r in 0..MR {
                        let x = _mm512_set1_epi32(x.add(4 * (MR * q + r)).cast::<i32>().read_unaligned());
                        for p in 0..NP {
                            acc[r][p] = _mm512_dpbusd_epi32(acc[r][p], w[p], x);
                        }
                    }
                }
                acc
            }
        }
        #[inline(always)]
        fn prefetch_line(self, address: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::needless_range_loop)]
mod arm {
    use super::{Codes, Rows16};
    use crate::quant::wide::Wide;
    use crate::simd::Neon;
    use std::arch::aarch64::*;
    use std::array::from_fn;

    /// Four vectors of four rows.
    impl Rows16 for Neon {
        type Bytes = [uint8x16_t; 4];
        type Ints = [int32x4_t; 4];
        type Floats = [float32x4_t; 4];
        const PANELS: usize = 1;

        #[inline(always)]
        fn largest_magnitude(self, x: &[f32; 32]) -> f32 {
            Wide::max_magnitude(self, x)
        }
        #[inline(always)]
        fn round_scaled(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
            Wide::scaled_to_bytes(self, x, factor)
        }

        #[inline(always)]
        unsafe fn chunk(self, start: *const u8, stride: usize) -> [[uint8x16_t; 4]; 4] {
            unsafe {
                let mut out = [[vdupq_n_u8(0); 4]; 4];
                for four in 0..4 {
                    let row = |i: usize| vreinterpretq_u32_u8(vld1q_u8(start.add((4 * four + i) * stride)));
                    let (a, b) = (vtrn1q_u32(row(0), row(1)), vtrn2q_u32(row(0), row(1)));
                    let (c, d) = (vtrn1q_u32(row(2), row(3)), vtrn2q_u32(row(2), row(3)));
                    let [a, b, c, d] = [a, b, c, d].map(|v| vreinterpretq_u64_u32(v));
                    out[0][four] = vreinterpretq_u8_u64(vtrn1q_u64(a, c));
                    out[1][four] = vreinterpretq_u8_u64(vtrn1q_u64(b, d));
                    out[2][four] = vreinterpretq_u8_u64(vtrn2q_u64(a, c));
                    out[3][four] = vreinterpretq_u8_u64(vtrn2q_u64(b, d));
                }
                out
            }
        }
        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> [uint8x16_t; 4] {
            unsafe { from_fn(|i| vld1q_u8(from.add(16 * i))) }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, b: [uint8x16_t; 4]) {
            for i in 0..4 {
                unsafe { vst1q_u8(to.add(16 * i), b[i]) }
            }
        }
        #[inline(always)]
        fn and(self, a: [uint8x16_t; 4], mask: u8) -> [uint8x16_t; 4] {
            unsafe { a.map(|a| vandq_u8(a, vdupq_n_u8(mask))) }
        }
        #[inline(always)]
        fn or(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
            unsafe { from_fn(|i| vorrq_u8(a[i], b[i])) }
        }
        #[inline(always)]
        fn xor(self, a: [uint8x16_t; 4], bits: u8) -> [uint8x16_t; 4] {
            unsafe { a.map(|a| veorq_u8(a, vdupq_n_u8(bits))) }
        }
        #[inline(always)]
        fn shr<const N: u32>(self, a: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
            unsafe { a.map(|a| vshlq_u8(a, vdupq_n_s8(-(N as i8)))) }
        }
        #[inline(always)]
        fn shl<const N: u32>(self, a: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
            unsafe { a.map(|a| vshlq_u8(a, vdupq_n_s8(N as i8))) }
        }
        #[inline(always)]
        fn lookup(self, table: &[u8; 16], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
            unsafe { b.map(|b| vqtbl1q_u8(vld1q_u8(table.as_ptr()), b)) }
        }
        #[inline(always)]
        fn ints(self, b: [uint8x16_t; 4]) -> [int32x4_t; 4] {
            unsafe { b.map(|b| vreinterpretq_s32_u8(b)) }
        }
        #[inline(always)]
        fn int_bytes(self, i: [int32x4_t; 4]) -> [uint8x16_t; 4] {
            unsafe { i.map(|i| vreinterpretq_u8_s32(i)) }
        }
        #[inline(always)]
        fn shr_ints<const N: u32>(self, a: [int32x4_t; 4]) -> [int32x4_t; 4] {
            unsafe {
                a.map(|a| {
                    vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-(N as i32))))
                })
            }
        }
        #[inline(always)]
        fn shl_ints<const N: u32>(self, a: [int32x4_t; 4]) -> [int32x4_t; 4] {
            unsafe { a.map(|a| vshlq_s32(a, vdupq_n_s32(N as i32))) }
        }
        #[inline(always)]
        fn and_ints(self, a: [int32x4_t; 4], mask: u32) -> [int32x4_t; 4] {
            unsafe { a.map(|a| vandq_s32(a, vdupq_n_s32(mask as i32))) }
        }
        #[inline(always)]
        fn or_ints(self, a: [int32x4_t; 4], b: [int32x4_t; 4]) -> [int32x4_t; 4] {
            unsafe { from_fn(|i| vorrq_s32(a[i], b[i])) }
        }
        #[inline(always)]
        fn add_ints(self, a: [int32x4_t; 4], b: i32) -> [int32x4_t; 4] {
            unsafe { a.map(|a| vaddq_s32(a, vdupq_n_s32(b))) }
        }
        #[inline(always)]
        fn sum_ints(self, a: [int32x4_t; 4], b: [int32x4_t; 4]) -> [int32x4_t; 4] {
            unsafe { from_fn(|i| vaddq_s32(a[i], b[i])) }
        }
        #[inline(always)]
        fn to_floats(self, a: [int32x4_t; 4]) -> [float32x4_t; 4] {
            unsafe { a.map(|a| vcvtq_f32_s32(a)) }
        }
        #[inline(always)]
        fn float_bits(self, a: [int32x4_t; 4]) -> [float32x4_t; 4] {
            unsafe { a.map(|a| vreinterpretq_f32_s32(a)) }
        }
        #[inline(always)]
        fn halves(self, a: [int32x4_t; 4]) -> [float32x4_t; 4] {
            unsafe {
                a.map(|a| {
                    let halves = vmovn_u32(vreinterpretq_u32_s32(a));
                    vcvt_f32_f16(vreinterpret_f16_u16(halves))
                })
            }
        }
        #[inline(always)]
        fn splat_float(self, x: f32) -> [float32x4_t; 4] {
            unsafe { [vdupq_n_f32(x); 4] }
        }
        #[inline(always)]
        fn add_floats(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            unsafe { from_fn(|i| vaddq_f32(a[i], b[i])) }
        }
        #[inline(always)]
        fn mul_floats(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            unsafe { from_fn(|i| vmulq_f32(a[i], b[i])) }
        }
        #[inline(always)]
        fn fma_floats(
            self,
            a: [float32x4_t; 4],
            b: [float32x4_t; 4],
            c: [float32x4_t; 4],
        ) -> [float32x4_t; 4] {
            unsafe { from_fn(|i| vfmaq_f32(c[i], a[i], b[i])) }
        }
        #[inline(always)]
        unsafe fn load_floats(self, from: *const f32) -> [float32x4_t; 4] {
            unsafe { from_fn(|i| vld1q_f32(from.add(4 * i))) }
        }
        #[inline(always)]
        unsafe fn store_floats(self, to: *mut f32, v: [float32x4_t; 4]) {
            for i in 0..4 {
                unsafe { vst1q_f32(to.add(4 * i), v[i]) }
            }
        }
        /// Products of signed bytes in sixteen bits, added in pairs twice: four products a row.
        #[inline(always)]
        unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
            self,
            codes: Codes,
            panels: [*const u8; NP],
            x: *const i8,
            starts: *const i32,
        ) -> [[[int32x4_t; 4]; NP]; MR] {
            unsafe {
                let signed = codes.zero == 128;
                let mut acc = [[[vdupq_n_s32(0); 4]; NP]; MR];
                if codes.zero > 0 && !signed {
                    for r in 0..MR {
                        acc[r] = [[vdupq_n_s32(*starts.add(r)); 4]; NP];
                    }
                }
                let flip = vdupq_n_u8(if signed { 128 } else { 0 });
                for q in 0..QUADS {
                    for p in 0..NP {
                        let w = self.load_bytes(panels[p].add(64 * q));
                        for r in 0..MR {
                            let x = x.add(4 * (MR * q + r)).cast::<i32>().read_unaligned();
                            let x = vreinterpret_s8_s32(vdup_n_s32(x));
                            for four in 0..4 {
                                let w = vreinterpretq_s8_u8(veorq_u8(w[four], flip));
                                let low = vpaddlq_s16(vmull_s8(vget_low_s8(w), x));
                                let high = vpaddlq_s16(vmull_s8(vget_high_s8(w), x));
                                acc[r][p][four] = vaddq_s32(acc[r][p][four], vpaddq_s32(low, high));
                            }
                        }
                    }
                }
                acc
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel};
    use crate::simd::Simd;

    /// Dots of `MR` rows, as numbers [row of x][panel][weight row].
    struct Dot<'a, const MR: usize, const QUADS: usize> {
        codes: Codes,
        panels: [&'a [u8]; 2],
        x: &'a [i8],
        starts: &'a [i32],
    }

    impl<const MR: usize, const QUADS: usize> Kernel for Dot<'_, MR, QUADS> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            assert!(self.panels.iter().all(|panel| panel.len() >= 64 * QUADS));
            assert!(self.x.len() >= 4 * MR * QUADS && self.starts.len() >= MR);
            let panels = self.panels.map(|panel| panel.as_ptr());
            // SAFETY: the lengths were checked; the test makes codes of the range.
            let dots =
                unsafe { s.dot::<MR, 2, QUADS>(self.codes, panels, self.x.as_ptr(), self.starts.as_ptr()) };
            let mut out = vec![0.0; 32 * MR];
            for (out, &dot) in out.chunks_exact_mut(16).zip(dots.as_flattened()) {
                // SAFETY: sixteen floats.
                unsafe { s.store_floats(out.as_mut_ptr(), s.to_floats(dot)) };
            }
            out
        }
    }

    fn check<const MR: usize, const QUADS: usize>(codes: Codes, code: &mut dyn FnMut() -> u8, x: &[i8]) {
        let panels: [Vec<u8>; 2] = [(); 2].map(|()| (0..64 * QUADS).map(|_| code()).collect());
        let sum = |r: usize| -> i32 {
            (0..QUADS).flat_map(|q| &x[4 * (MR * q + r)..][..4]).map(|&x| x as i32).sum()
        };
        let starts: Vec<i32> = (0..MR).map(|r| -(codes.zero as i32) * sum(r)).collect();
        let run = |isa: Isa| {
            let panels = [&panels[0][..], &panels[1][..]];
            isa.run(Dot::<MR, QUADS> { codes, panels, x, starts: &starts })
        };
        let want = run(Isa::SCALAR);
        for isa in Isa::available() {
            assert_eq!(run(isa), want, "{} {codes:?} {MR} x {QUADS}", isa.name());
        }
    }

    /// All instruction sets give the scalar definition's whole numbers, random and at the extremes.
    #[test]
    fn dots_are_exact() {
        let mut state = 1u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        for (zero, max) in
            [(0, 3), (4, 7), (8, 15), (0, 15), (16, 28), (16, 31), (0, 31), (32, 63), (128, 255)]
        {
            let codes = Codes { zero, max };
            let x: Vec<i8> = (0..192).map(|_| (random() % 255) as i8).map(|x| x.max(-127)).collect();
            let mut any = || (random() % (max as u32 + 1)) as u8;
            check::<6, 8>(codes, &mut any, &x);
            check::<4, 8>(codes, &mut any, &x);
            check::<2, 4>(codes, &mut any, &x);
            check::<1, 4>(codes, &mut any, &x);
            for (code, x) in [(max, 127), (max, -127), (0, 127), (0, -127)] {
                check::<6, 8>(codes, &mut || code, &[x; 192]);
                check::<1, 4>(codes, &mut || code, &[x; 16]);
            }
        }
    }
}
