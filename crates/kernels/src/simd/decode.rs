//! What the decoders need of an instruction set: sixteen floats, thirty-two bytes, and a table of sixteen codes.
//!
//! A decoder written over [`Wide`] reads its packed bytes, shifts and masks them thirty-two at a time, and widens
//! them to floats sixteen at a time. Formats with at most sixteen codes (all the four-bit ones, and Q2_K) look their
//! values up instead: see [`Wide::lookup`]. Arithmetic is never fused, so that results equal the scalar definitions.
//!
//! The implementing types prove that the CPU has the instructions (see `simd.rs`); arguments are references to
//! arrays, so nothing here is unsafe to call.

/// One instruction set's view of packed weights.
pub(crate) trait Wide: Copy {
    /// Sixteen f32.
    type Floats: Copy;
    /// Thirty-two bytes.
    type Bytes: Copy;
    /// Sixteen signed codes.
    type Codes: Copy;

    fn splat(self, x: f32) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn store(self, v: Self::Floats, out: &mut [f32; 16]);

    /// The value of one half, little-endian, in all lanes.
    fn half(self, bits: &[u8; 2]) -> Self::Floats;
    /// Sixteen halves, little-endian.
    fn halves(self, bits: &[u8; 32]) -> Self::Floats;
    /// The nearest halves, little-endian.
    fn to_halves(self, x: &[f32; 16]) -> [u8; 32];

    /// The largest magnitude, or NaN if there is one.
    fn max_magnitude(self, x: &[f32; 32]) -> f32;
    /// The elements times `factor` as signed bytes: the nearest integers, halves away from zero; 0 for NaN. The
    /// products are little above 127 at most.
    fn scaled_to_bytes(self, x: &[f32; 32], factor: f32) -> [u8; 32];

    fn bytes(self, from: &[u8; 32]) -> Self::Bytes;
    /// The sixteen low nibbles, then the sixteen high ones.
    fn nibbles(self, from: &[u8; 16]) -> Self::Bytes;
    /// 0xff where the bit of the same index is set, else 0.
    fn masks(self, bits: u32) -> Self::Bytes;
    fn and(self, a: Self::Bytes, mask: u8) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn sub_bytes(self, a: Self::Bytes, b: u8) -> Self::Bytes;
    /// Shifts each byte right, filling with whatever is near: mask the bits you want.
    fn shr<const N: i32>(self, a: Self::Bytes) -> Self::Bytes;
    /// Shifts each byte left, filling with whatever is near: mask the bits you want.
    fn shl<const N: i32>(self, a: Self::Bytes) -> Self::Bytes;
    /// The bytes as signed numbers: the first sixteen, the last sixteen.
    fn widen(self, a: Self::Bytes) -> [Self::Floats; 2];

    /// The sixteen signed bytes of a word, lowest first, as floats.
    fn ints(self, bytes: u128) -> Self::Floats;

    fn codes(self, codes: &[i8; 16]) -> Self::Codes;
    /// `value(codes[(b >> SHIFT) & 15])` for each byte `b`, where `value` works lane by lane.
    ///
    /// With vectors of sixteen lanes, `value` is applied once to the table itself, and one permutation per sixteen
    /// weights replaces conversion and arithmetic; with shorter ones the codes are gathered first.
    fn lookup<const SHIFT: i32>(
        self,
        b: &[u8; 16],
        codes: Self::Codes,
        value: impl Fn(Self::Floats) -> Self::Floats,
    ) -> Self::Floats;

    /// Sixteen scales as an array, from which splatting one is a broadcasting load.
    ///
    /// Left alone, the compiler keeps them in registers and takes them out by shuffles, which cost more.
    #[inline(always)]
    fn spread(self, v: Self::Floats) -> Spread {
        let mut scales = Spread([0.0; 16]);
        self.store(v, &mut scales.0);
        std::hint::black_box(&mut scales);
        scales
    }

    /// Asks for the cache line of an address, which need not be valid.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // Only x86 prefetches.
    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    /// Stores two vectors one after the other.
    #[inline(always)]
    fn store_pair(self, v: [Self::Floats; 2], out: &mut [f32; 32]) {
        let (halves, _) = out.as_chunks_mut::<16>();
        self.store(v[0], &mut halves[0]);
        self.store(v[1], &mut halves[1]);
    }
}

/// Sixteen scales in memory.
#[repr(align(64))]
pub(crate) struct Spread(pub [f32; 16]);

// SAFETY of every block below: a value of the implementing type proves that the CPU has the instructions, and loads
// and stores go through references to arrays of their size.

#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks)]
mod x86 {
    use super::Wide;
    use crate::quant::q8_0::BELOW_HALF;
    use crate::simd::{Avx2, Avx512};
    use std::arch::x86_64::*;

    #[inline(always)]
    fn load16(from: &[u8; 16]) -> __m128i {
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    impl Wide for Avx2 {
        type Floats = [__m256; 2];
        type Bytes = __m256i;
        type Codes = __m128i;

        #[inline(always)]
        fn splat(self, x: f32) -> [__m256; 2] {
            unsafe { [_mm256_set1_ps(x); 2] }
        }
        #[inline(always)]
        fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn store(self, v: [__m256; 2], out: &mut [f32; 16]) {
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr(), v[0]);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), v[1]);
            }
        }
        #[inline(always)]
        fn half(self, bits: &[u8; 2]) -> [__m256; 2] {
            unsafe { [_mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes(*bits))); 2] }
        }
        #[inline(always)]
        fn halves(self, bits: &[u8; 32]) -> [__m256; 2] {
            let (quarters, _) = bits.as_chunks::<16>();
            unsafe { [_mm256_cvtph_ps(load16(&quarters[0])), _mm256_cvtph_ps(load16(&quarters[1]))] }
        }
        #[inline(always)]
        fn to_halves(self, x: &[f32; 16]) -> [u8; 32] {
            let mut out = [0; 32];
            unsafe {
                let low = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(x.as_ptr()));
                let high = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(x.as_ptr().add(8)));
                _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_set_m128i(high, low));
            }
            out
        }
        #[inline(always)]
        fn max_magnitude(self, x: &[f32; 32]) -> f32 {
            unsafe {
                let mut max = _mm256_setzero_si256();
                for eight in x.as_chunks::<8>().0 {
                    let bits = _mm256_loadu_si256(eight.as_ptr().cast());
                    max = _mm256_max_epu32(max, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fff_ffff)));
                }
                let max = _mm_max_epu32(_mm256_castsi256_si128(max), _mm256_extracti128_si256::<1>(max));
                let max = _mm_max_epu32(max, _mm_unpackhi_epi64(max, max));
                let max = _mm_max_epu32(max, _mm_srli_epi64::<32>(max));
                f32::from_bits(_mm_cvtsi128_si32(max) as u32)
            }
        }
        #[inline(always)]
        fn scaled_to_bytes(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
            let mut out = [0; 32];
            unsafe {
                let mut q = [_mm256_setzero_si256(); 4];
                for (q, eight) in q.iter_mut().zip(x.as_chunks::<8>().0) {
                    let v = _mm256_mul_ps(_mm256_loadu_ps(eight.as_ptr()), _mm256_set1_ps(factor));
                    let sign = _mm256_and_ps(v, _mm256_set1_ps(-0.0));
                    let sum = _mm256_add_ps(v, _mm256_or_ps(sign, _mm256_set1_ps(BELOW_HALF)));
                    let is_number = _mm256_cmp_ps::<_CMP_ORD_Q>(v, v);
                    *q = _mm256_cvttps_epi32(_mm256_and_ps(sum, is_number));
                }
                let (low, high) = (_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
                // Packing works within halves of a vector: the fours come out as 0 2 4 6 1 3 5 7.
                let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
                let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
                _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes);
            }
            out
        }
        #[inline(always)]
        fn bytes(self, from: &[u8; 32]) -> __m256i {
            unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
        }
        #[inline(always)]
        fn nibbles(self, from: &[u8; 16]) -> __m256i {
            unsafe {
                let low = load16(from);
                let both = _mm256_set_m128i(_mm_srli_epi16::<4>(low), low);
                _mm256_and_si256(both, _mm256_set1_epi8(15))
            }
        }
        /// Copies to each byte the byte its bit is in, then tests that bit.
        #[inline(always)]
        fn masks(self, bits: u32) -> __m256i {
            unsafe {
                let owner =
                    _mm256_set_epi64x(0x0303_0303_0303_0303, 0x0202_0202_0202_0202, 0x0101_0101_0101_0101, 0);
                let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
                let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), owner);
                _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit)
            }
        }
        #[inline(always)]
        fn and(self, a: __m256i, mask: u8) -> __m256i {
            unsafe { _mm256_and_si256(a, _mm256_set1_epi8(mask as i8)) }
        }
        #[inline(always)]
        fn or(self, a: __m256i, b: __m256i) -> __m256i {
            unsafe { _mm256_or_si256(a, b) }
        }
        #[inline(always)]
        fn sub_bytes(self, a: __m256i, b: u8) -> __m256i {
            unsafe { _mm256_sub_epi8(a, _mm256_set1_epi8(b as i8)) }
        }
        #[inline(always)]
        fn shr<const N: i32>(self, a: __m256i) -> __m256i {
            unsafe { _mm256_srli_epi16::<N>(a) }
        }
        #[inline(always)]
        fn shl<const N: i32>(self, a: __m256i) -> __m256i {
            unsafe { _mm256_slli_epi16::<N>(a) }
        }
        #[inline(always)]
        fn widen(self, a: __m256i) -> [[__m256; 2]; 2] {
            unsafe { [widen16(_mm256_castsi256_si128(a)), widen16(_mm256_extracti128_si256::<1>(a))] }
        }
        #[inline(always)]
        fn ints(self, bytes: u128) -> [__m256; 2] {
            unsafe { widen16(_mm_set_epi64x((bytes >> 64) as i64, bytes as i64)) }
        }
        #[inline(always)]
        fn prefetch(self, address: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }
        #[inline(always)]
        fn codes(self, codes: &[i8; 16]) -> __m128i {
            unsafe { _mm_loadu_si128(codes.as_ptr().cast()) }
        }
        #[inline(always)]
        fn lookup<const SHIFT: i32>(
            self,
            b: &[u8; 16],
            codes: __m128i,
            value: impl Fn([__m256; 2]) -> [__m256; 2],
        ) -> [__m256; 2] {
            unsafe {
                let index = _mm_and_si128(_mm_srli_epi16::<SHIFT>(load16(b)), _mm_set1_epi8(15));
                value(widen16(_mm_shuffle_epi8(codes, index)))
            }
        }
    }

    #[inline(always)]
    fn widen16(bytes: __m128i) -> [__m256; 2] {
        unsafe {
            let low = _mm256_cvtepi8_epi32(bytes);
            let high = _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        }
    }

    /// The AVX2 version of the same CPU, for what does not differ.
    #[inline(always)]
    fn avx2() -> Avx2 {
        unsafe { Avx2::new() }
    }

    impl Wide for Avx512 {
        type Floats = __m512;
        type Bytes = __m256i;
        type Codes = __m512;

        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        fn store(self, v: __m512, out: &mut [f32; 16]) {
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
        }
        #[inline(always)]
        fn half(self, bits: &[u8; 2]) -> __m512 {
            unsafe { _mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes(*bits))) }
        }
        #[inline(always)]
        fn halves(self, bits: &[u8; 32]) -> __m512 {
            unsafe { _mm512_cvtph_ps(self.bytes(bits)) }
        }
        #[inline(always)]
        fn to_halves(self, x: &[f32; 16]) -> [u8; 32] {
            let mut out = [0; 32];
            unsafe {
                let halves = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_loadu_ps(x.as_ptr()));
                _mm256_storeu_si256(out.as_mut_ptr().cast(), halves);
            }
            out
        }
        #[inline(always)]
        fn max_magnitude(self, x: &[f32; 32]) -> f32 {
            avx2().max_magnitude(x)
        }
        #[inline(always)]
        fn scaled_to_bytes(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
            avx2().scaled_to_bytes(x, factor)
        }
        #[inline(always)]
        fn bytes(self, from: &[u8; 32]) -> __m256i {
            avx2().bytes(from)
        }
        #[inline(always)]
        fn nibbles(self, from: &[u8; 16]) -> __m256i {
            avx2().nibbles(from)
        }
        #[inline(always)]
        fn masks(self, bits: u32) -> __m256i {
            unsafe { _mm256_movm_epi8(bits) }
        }
        #[inline(always)]
        fn and(self, a: __m256i, mask: u8) -> __m256i {
            avx2().and(a, mask)
        }
        #[inline(always)]
        fn or(self, a: __m256i, b: __m256i) -> __m256i {
            avx2().or(a, b)
        }
        #[inline(always)]
        fn sub_bytes(self, a: __m256i, b: u8) -> __m256i {
            avx2().sub_bytes(a, b)
        }
        #[inline(always)]
        fn shr<const N: i32>(self, a: __m256i) -> __m256i {
            avx2().shr::<N>(a)
        }
        #[inline(always)]
        fn shl<const N: i32>(self, a: __m256i) -> __m256i {
            avx2().shl::<N>(a)
        }
        #[inline(always)]
        fn widen(self, a: __m256i) -> [__m512; 2] {
            unsafe {
                let low = _mm512_cvtepi8_epi32(_mm256_castsi256_si128(a));
                let high = _mm512_cvtepi8_epi32(_mm256_extracti128_si256::<1>(a));
                [_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(high)]
            }
        }
        #[inline(always)]
        fn ints(self, bytes: u128) -> __m512 {
            unsafe {
                let bytes = _mm_set_epi64x((bytes >> 64) as i64, bytes as i64);
                _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
            }
        }
        #[inline(always)]
        fn prefetch(self, address: *const u8) {
            avx2().prefetch(address)
        }
        #[inline(always)]
        fn codes(self, codes: &[i8; 16]) -> __m512 {
            self.ints(u128::from_le_bytes(codes.map(|code| code as u8)))
        }
        /// The permutation reads only the low four bits of an index, so none need be cleared.
        #[inline(always)]
        fn lookup<const SHIFT: i32>(
            self,
            b: &[u8; 16],
            codes: __m512,
            value: impl Fn(__m512) -> __m512,
        ) -> __m512 {
            unsafe {
                let index = _mm512_cvtepu8_epi32(load16(b));
                match SHIFT {
                    0 => permute(index, value(codes)),
                    _ => permute_shifted::<SHIFT>(index, value(codes)),
                }
            }
        }
    }

    /// The lanes of `table` that `index` names.
    ///
    /// Assembly, because LLVM moves the intrinsic before the arithmetic that made the table: three permutations
    /// instead of one where a table is the product of codes and a scale less a minimum.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn permute(index: __m512i, table: __m512) -> __m512 {
        let lanes;
        unsafe {
            std::arch::asm!(
                "vpermps {lanes}, {index}, {table}",
                lanes = lateout(zmm_reg) lanes,
                index = in(zmm_reg) index,
                table = in(zmm_reg) table,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        lanes
    }

    /// [`permute`] by `index >> SHIFT`. Of an intrinsic's shift LLVM would make a shift of bytes and a mask.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn permute_shifted<const SHIFT: i32>(index: __m512i, table: __m512) -> __m512 {
        let lanes;
        unsafe {
            std::arch::asm!(
                "vpsrld {lanes}, {index}, {shift}",
                "vpermps {lanes}, {lanes}, {table}",
                lanes = out(zmm_reg) lanes,
                index = in(zmm_reg) index,
                table = in(zmm_reg) table,
                shift = const SHIFT,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        lanes
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(clippy::undocumented_unsafe_blocks)]
mod arm {
    use super::Wide;
    use crate::half::{f16_to_f32, f32_to_f16};
    use crate::quant::q8_0;
    use crate::simd::Neon;
    use std::arch::aarch64::*;

    impl Wide for Neon {
        type Floats = [float32x4_t; 4];
        type Bytes = [uint8x16_t; 2];
        type Codes = int8x16_t;

        #[inline(always)]
        fn splat(self, x: f32) -> [float32x4_t; 4] {
            unsafe { [vdupq_n_f32(x); 4] }
        }
        #[inline(always)]
        fn mul(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            std::array::from_fn(|i| unsafe { vmulq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn add(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            std::array::from_fn(|i| unsafe { vaddq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn sub(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            std::array::from_fn(|i| unsafe { vsubq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn store(self, v: [float32x4_t; 4], out: &mut [f32; 16]) {
            for (v, out) in v.iter().zip(out.as_chunks_mut::<4>().0) {
                unsafe { vst1q_f32(out.as_mut_ptr(), *v) }
            }
        }
        #[inline(always)]
        fn half(self, bits: &[u8; 2]) -> [float32x4_t; 4] {
            self.splat(f16_to_f32(u16::from_le_bytes(*bits)))
        }
        #[inline(always)]
        fn halves(self, bits: &[u8; 32]) -> [float32x4_t; 4] {
            let (bits, _) = bits.as_chunks::<2>();
            let x: [f32; 16] = std::array::from_fn(|i| f16_to_f32(u16::from_le_bytes(bits[i])));
            std::array::from_fn(|i| unsafe { vld1q_f32(x[4 * i..4 * i + 4].as_ptr()) })
        }
        #[inline(always)]
        fn to_halves(self, x: &[f32; 16]) -> [u8; 32] {
            let mut out = [0; 32];
            for (x, out) in x.iter().zip(out.as_chunks_mut().0) {
                *out = f32_to_f16(*x).to_le_bytes();
            }
            out
        }
        #[inline(always)]
        fn max_magnitude(self, x: &[f32; 32]) -> f32 {
            q8_0::max_magnitude(x)
        }
        #[inline(always)]
        fn scaled_to_bytes(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
            x.map(|x| q8_0::round_half_away(x * factor) as u8)
        }
        #[inline(always)]
        fn bytes(self, from: &[u8; 32]) -> [uint8x16_t; 2] {
            let (halves, _) = from.as_chunks::<16>();
            unsafe { [vld1q_u8(halves[0].as_ptr()), vld1q_u8(halves[1].as_ptr())] }
        }
        #[inline(always)]
        fn nibbles(self, from: &[u8; 16]) -> [uint8x16_t; 2] {
            unsafe {
                let both = vld1q_u8(from.as_ptr());
                [vandq_u8(both, vdupq_n_u8(15)), vshrq_n_u8::<4>(both)]
            }
        }
        /// Copies to each byte the byte its bit is in, then tests that bit.
        #[inline(always)]
        fn masks(self, bits: u32) -> [uint8x16_t; 2] {
            let [a, b, c, d] = bits.to_le_bytes();
            unsafe {
                let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
                [
                    vtstq_u8(vcombine_u8(vdup_n_u8(a), vdup_n_u8(b)), bit),
                    vtstq_u8(vcombine_u8(vdup_n_u8(c), vdup_n_u8(d)), bit),
                ]
            }
        }
        #[inline(always)]
        fn and(self, a: [uint8x16_t; 2], mask: u8) -> [uint8x16_t; 2] {
            a.map(|a| unsafe { vandq_u8(a, vdupq_n_u8(mask)) })
        }
        #[inline(always)]
        fn or(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            std::array::from_fn(|i| unsafe { vorrq_u8(a[i], b[i]) })
        }
        #[inline(always)]
        fn sub_bytes(self, a: [uint8x16_t; 2], b: u8) -> [uint8x16_t; 2] {
            a.map(|a| unsafe { vsubq_u8(a, vdupq_n_u8(b)) })
        }
        #[inline(always)]
        fn shr<const N: i32>(self, a: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            a.map(|a| unsafe { vshlq_u8(a, vdupq_n_s8(-(N as i8))) })
        }
        #[inline(always)]
        fn shl<const N: i32>(self, a: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            a.map(|a| unsafe { vshlq_u8(a, vdupq_n_s8(N as i8)) })
        }
        #[inline(always)]
        fn widen(self, a: [uint8x16_t; 2]) -> [[float32x4_t; 4]; 2] {
            a.map(|a| widen16(unsafe { vreinterpretq_s8_u8(a) }))
        }
        #[inline(always)]
        fn ints(self, bytes: u128) -> [float32x4_t; 4] {
            widen16(unsafe { vld1q_s8(bytes.to_le_bytes().as_ptr().cast()) })
        }
        #[inline(always)]
        fn codes(self, codes: &[i8; 16]) -> int8x16_t {
            unsafe { vld1q_s8(codes.as_ptr()) }
        }
        #[inline(always)]
        fn lookup<const SHIFT: i32>(
            self,
            b: &[u8; 16],
            codes: int8x16_t,
            value: impl Fn([float32x4_t; 4]) -> [float32x4_t; 4],
        ) -> [float32x4_t; 4] {
            unsafe {
                let shifted = vshlq_u8(vld1q_u8(b.as_ptr()), vdupq_n_s8(-(SHIFT as i8)));
                value(widen16(vqtbl1q_s8(codes, vandq_u8(shifted, vdupq_n_u8(15)))))
            }
        }
    }

    #[inline(always)]
    fn widen16(bytes: int8x16_t) -> [float32x4_t; 4] {
        unsafe {
            let halves = [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)];
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(halves[0]))),
                vcvtq_f32_s32(vmovl_high_s16(halves[0])),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(halves[1]))),
                vcvtq_f32_s32(vmovl_high_s16(halves[1])),
            ]
        }
    }
}
