//! A small vector of f32, the same on every instruction set, on which the float kernels are written once.
//!
//! A value of a [`Simd`] type is a proof that the CPU has its instructions, so its arithmetic is safe to call;
//! only loads and stores through pointers are not. All methods inline into the function that enables the
//! features (see `isa.rs`). [`Scalar`] is the one-lane case: it lets a kernel run where no vectors exist.

use crate::half::f16_to_f32;

/// One instruction set's vector of f32.
pub(crate) trait Simd: super::rows16::Rows16 {
    /// The vector.
    type V: Copy;
    /// f32 values in a vector.
    const LANES: usize;

    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `p` is readable for `LANES` floats (no alignment needed).
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` is writable for `LANES` floats (no alignment needed).
    unsafe fn store(self, p: *mut f32, v: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once (twice on [`Scalar`]).
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// 2^n for integral n in -126..=127.
    fn pow2(self, n: Self::V) -> Self::V;
    /// `a * 2^n` for integral n in -126..=127.
    #[inline(always)]
    fn mul_pow2(self, a: Self::V, n: Self::V) -> Self::V {
        self.mul(a, self.pow2(n))
    }
    /// The sum of the lanes, in an order that depends only on the instruction set.
    fn sum(self, a: Self::V) -> f32;
    /// The largest lane.
    fn max_lane(self, a: Self::V) -> f32;

    /// What [`Simd::load_i8s`] adds to each byte.
    const BYTE_OFFSET: f32 = 0.0;
    /// `LANES` unsigned bytes as floats, each [`Simd::BYTE_OFFSET`] more than it is.
    ///
    /// # Safety
    /// `p` is readable for `LANES` bytes.
    unsafe fn load_i8s(self, p: *const u8) -> Self::V;
    /// `LANES` IEEE halves as floats.
    ///
    /// # Safety
    /// `p` is readable for `LANES` halves (no alignment needed).
    unsafe fn load_halves(self, p: *const u16) -> Self::V;
    /// Asks for the cache line of an address, which need not be valid, to be brought to the second-level cache. (The
    /// first level can wait for too few lines at a time to keep memory busy.)
    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    /// The first `len <= LANES` floats at `p`, and zeros.
    ///
    /// # Safety
    /// `p` is readable for `len` floats.
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, len: usize) -> Self::V {
        let mut lanes = [0f32; 16];
        debug_assert!(len <= Self::LANES && Self::LANES <= 16);
        // SAFETY: the caller vouches for `len` floats at `p`; the array holds 16.
        unsafe {
            std::ptr::copy_nonoverlapping(p.cast::<u8>(), lanes.as_mut_ptr().cast(), 4 * len);
            self.load(lanes.as_ptr())
        }
    }

    /// Stores the first `len <= LANES` lanes.
    ///
    /// # Safety
    /// `p` is writable for `len` floats.
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: Self::V, len: usize) {
        let mut lanes = [0f32; 16];
        debug_assert!(len <= Self::LANES && Self::LANES <= 16);
        // SAFETY: the caller vouches for `len` floats at `p`; the array holds 16.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr().cast::<u8>(), p.cast(), 4 * len);
        }
    }

    /// The first `n <= LANES` lanes of `a`, and after them those of `rest`.
    #[inline(always)]
    fn first(self, a: Self::V, n: usize, rest: Self::V) -> Self::V {
        let mut lanes = [0f32; 16];
        debug_assert!(n <= Self::LANES && Self::LANES <= 16);
        // SAFETY: the array holds 16 floats.
        unsafe {
            self.store(lanes.as_mut_ptr(), rest);
            self.store_partial(lanes.as_mut_ptr(), a, n);
            self.load(lanes.as_ptr())
        }
    }

    /// [`Simd::load`] where `n` is `LANES`, else [`Simd::load_partial`].
    ///
    /// # Safety
    /// `p` is readable for `n <= LANES` floats.
    #[inline(always)]
    unsafe fn load_n(self, p: *const f32, n: usize) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::LANES { self.load(p) } else { self.load_partial(p, n) } }
    }

    /// [`Simd::store`] where `n` is `LANES`, else [`Simd::store_partial`].
    ///
    /// # Safety
    /// `p` is writable for `n <= LANES` floats.
    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, v: Self::V, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::LANES { self.store(p, v) } else { self.store_partial(p, v, n) } }
    }

    /// The sums of four vectors' lanes, each with the bits of [`Simd::sum`].
    #[inline(always)]
    fn sum4(self, a: [Self::V; 4]) -> [f32; 4] {
        [self.sum(a[0]), self.sum(a[1]), self.sum(a[2]), self.sum(a[3])]
    }

    /// e^x with a relative error below 2 ulp for x in -87..=88; clamped to that range outside. NaN stays NaN.
    ///
    /// Cody-Waite reduction x = n ln 2 + r, |r| <= ln 2 / 2, then the Taylor polynomial of degree 7.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        const LN2_HI: f32 = 355.0 / 512.0; // ln 2 to 9 bits: n * LN2_HI is exact
        const LN2_LO: f32 = -2.121_944_4e-4;
        // In this order the x86 instructions, which return their second operand for NaN, let it through.
        let x = self.min(self.splat(88.0), self.max(self.splat(-87.0), x));
        let n = self.round(self.mul(x, self.splat(std::f32::consts::LOG2_E)));
        let r = self.fma(n, self.splat(-LN2_HI), x);
        let r = self.fma(n, self.splat(-LN2_LO), r);
        let mut p = self.splat(1.0 / 5040.0);
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = self.fma(p, r, self.splat(c));
        }
        self.mul_pow2(p, n)
    }

    /// 2^x for x up to 127, within an ulp and 2^-99 (which matters below -75). It is 0 from -100 down, because products of
    /// numbers near the smallest float take a hundred times as long. NaN stays NaN, and 2^0 is 1.
    ///
    /// 2^n times the polynomial of degree 6 that is nearest to 2^r, |r| <= 1/2, among those that are 1 at zero
    /// (relative error 1.5e-8).
    #[inline(always)]
    fn exp2(self, x: Self::V) -> Self::V {
        let x = self.max(self.splat(-100.0), x); // In this order NaN passes; see `exp`.
        let n = self.round(x);
        let r = self.sub(x, n);
        let mut p = self.splat(1.499_218_3e-4);
        for c in [1.338_340_3e-3, 9.619_341e-3, 5.550_371e-2, 2.402_264_5e-1, 6.931_472e-1, 1.0] {
            p = self.fma(p, r, self.splat(c));
        }
        self.sub(self.mul_pow2(p, n), self.splat(f32::from_bits((127 - 100) << 23)))
    }
}

/// The parts of `len` floats that fill a vector each, and what remains: (offset, count) pairs for
/// [`Simd::load_n`] and [`Simd::store_n`].
///
/// A loop over these, rather than a function that takes closures: a closure is compiled without the instruction
/// set of the function that calls it, and vector arithmetic in one that is not inlined becomes function calls.
#[inline(always)]
pub(crate) fn vectors<S: Simd>(_: S, len: usize) -> Vectors<S> {
    Vectors { offset: 0, len, simd: std::marker::PhantomData }
}

pub(crate) struct Vectors<S> {
    offset: usize,
    len: usize,
    simd: std::marker::PhantomData<S>,
}

impl<S: Simd> Iterator for Vectors<S> {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.offset >= self.len {
            return None;
        }
        let part = (self.offset, S::LANES.min(self.len - self.offset));
        self.offset += S::LANES;
        Some(part)
    }
}

/// One lane: plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Simd for Scalar {
    type V = f32;
    const LANES: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { p.read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32) {
        // SAFETY: the caller's promise.
        unsafe { p.write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn round(self, a: f32) -> f32 {
        a.round_ties_even()
    }
    #[inline(always)]
    fn pow2(self, n: f32) -> f32 {
        f32::from_bits(((n as i32 + 127) as u32) << 23)
    }
    #[inline(always)]
    fn sum(self, a: f32) -> f32 {
        a
    }
    #[inline(always)]
    fn max_lane(self, a: f32) -> f32 {
        a
    }
    #[inline(always)]
    unsafe fn load_i8s(self, p: *const u8) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *p as f32 }
    }
    #[inline(always)]
    unsafe fn load_halves(self, p: *const u16) -> f32 {
        // SAFETY: the caller's promise.
        f16_to_f32(u16::from_le(unsafe { p.read_unaligned() }))
    }
    #[inline(always)]
    fn exp(self, x: f32) -> f32 {
        x.exp()
    }
    #[inline(always)]
    fn exp2(self, x: f32) -> f32 {
        x.exp2()
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// Eight lanes. Needs AVX2, FMA, F16C and BMI2.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    /// Sixteen lanes. Needs AVX-512 F, BW, VL, DQ, CD and VNNI, and what AVX2 needs.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(());

    impl Avx2 {
        /// # Safety
        /// The CPU has the features.
        #[inline(always)]
        pub(crate) unsafe fn new() -> Self {
            Avx2(())
        }
    }

    impl Avx512 {
        /// # Safety
        /// The CPU has the features.
        #[inline(always)]
        pub(crate) unsafe fn new() -> Self {
            Avx512(())
        }
    }

    // SAFETY of every block below: a value of the type proves that the CPU has the instructions; pointers are
    // the caller's promise.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;

        #[inline(always)]
        fn splat(self, x: f32) -> __m256 {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32, v: __m256) {
            unsafe { _mm256_storeu_ps(p, v) }
        }
        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        fn div(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_div_ps(a, b) }
        }
        #[inline(always)]
        fn max(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        fn min(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_min_ps(a, b) }
        }
        #[inline(always)]
        fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        fn round(self, a: __m256) -> __m256 {
            unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        fn pow2(self, n: __m256) -> __m256 {
            unsafe {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
            }
        }
        #[inline(always)]
        fn sum(self, a: __m256) -> f32 {
            unsafe {
                // Within each quarter (0 + 2) + (1 + 3), then the quarters: the order of `sum4`.
                let s = _mm256_add_ps(a, _mm256_permute_ps::<0b01_00_11_10>(a));
                let s = _mm256_add_ps(s, _mm256_permute_ps::<0b10_11_00_01>(s));
                let s = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s));
                _mm_cvtss_f32(s)
            }
        }
        #[inline(always)]
        fn sum4(self, [a, b, c, d]: [__m256; 4]) -> [f32; 4] {
            unsafe {
                let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                let s = _mm256_add_ps(
                    _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
                );
                let s = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s));
                std::mem::transmute::<__m128, [f32; 4]>(s)
            }
        }
        #[inline(always)]
        fn max_lane(self, a: __m256) -> f32 {
            unsafe {
                let m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let m = _mm_max_ps(m, _mm_movehl_ps(m, m));
                _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)))
            }
        }
        #[inline(always)]
        unsafe fn load_i8s(self, p: *const u8) -> __m256 {
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()))) }
        }
        #[inline(always)]
        unsafe fn load_halves(self, p: *const u16) -> __m256 {
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
        }
        #[inline(always)]
        fn prefetch(self, p: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
        }
    }

    #[allow(clippy::undocumented_unsafe_blocks)] // As above.
    impl Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;

        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(p, v) }
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
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        fn div(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        fn min(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        fn round(self, a: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        fn pow2(self, n: __m512) -> __m512 {
            unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), n) }
        }
        #[inline(always)]
        fn sum(self, a: __m512) -> f32 {
            unsafe {
                // Within each quarter (0 + 2) + (1 + 3), then the quarters: the order of `sum4`.
                let s = _mm512_add_ps(a, _mm512_permute_ps::<0b01_00_11_10>(a));
                let s = _mm512_add_ps(s, _mm512_permute_ps::<0b10_11_00_01>(s));
                let s = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps::<1>(s));
                let s = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s));
                _mm_cvtss_f32(s)
            }
        }
        #[inline(always)]
        fn sum4(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
            unsafe {
                let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                let s = _mm512_add_ps(
                    _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
                    _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
                );
                let s = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps::<1>(s));
                let s = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s));
                std::mem::transmute::<__m128, [f32; 4]>(s)
            }
        }
        #[inline(always)]
        fn mul_pow2(self, a: __m512, n: __m512) -> __m512 {
            unsafe { _mm512_scalef_ps(a, n) }
        }
        #[inline(always)]
        fn max_lane(self, a: __m512) -> f32 {
            unsafe { _mm512_reduce_max_ps(a) }
        }
        /// The bytes are put into the second lowest byte of 2^15, whose mantissa there counts ones: a shuffle instead
        /// of a widening and a conversion.
        const BYTE_OFFSET: f32 = 32768.0;
        #[inline(always)]
        unsafe fn load_i8s(self, p: *const u8) -> __m512 {
            unsafe {
                let lanes = _mm512_set_epi64(
                    0x8080_0f80_8080_0e80_u64 as i64,
                    0x8080_0d80_8080_0c80_u64 as i64,
                    0x8080_0b80_8080_0a80_u64 as i64,
                    0x8080_0980_8080_0880_u64 as i64,
                    0x8080_0780_8080_0680_u64 as i64,
                    0x8080_0580_8080_0480_u64 as i64,
                    0x8080_0380_8080_0280_u64 as i64,
                    0x8080_0180_8080_0080_u64 as i64,
                );
                second_bytes(p, _mm512_set1_ps(Self::BYTE_OFFSET), lanes)
            }
        }
        #[inline(always)]
        unsafe fn load_halves(self, p: *const u16) -> __m512 {
            // `_mm512_cvtph_ps` asks for no exceptions, and that form of the instruction cannot load.
            unsafe { _mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>(_mm256_loadu_si256(p.cast())) }
        }
        #[inline(always)]
        fn prefetch(self, p: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
        }
        #[inline(always)]
        fn first(self, a: __m512, n: usize, rest: __m512) -> __m512 {
            unsafe { _mm512_mask_mov_ps(rest, ((1u32 << n) - 1) as u16, a) }
        }
        #[inline(always)]
        unsafe fn load_partial(self, p: *const f32, len: usize) -> __m512 {
            unsafe { _mm512_maskz_loadu_ps(((1u32 << len) - 1) as u16, p) }
        }
        #[inline(always)]
        unsafe fn store_partial(self, p: *mut f32, v: __m512, len: usize) {
            unsafe { _mm512_mask_storeu_ps(p, ((1u32 << len) - 1) as u16, v) }
        }
    }

    /// `power` with the second byte of each lane replaced by one of 16 bytes at `p`, which `lanes` says.
    ///
    /// Assembly, because LLVM makes shuffles of the broadcast load and of the copy of `power`, and shuffles are what
    /// decoding waits for.
    ///
    /// # Safety
    /// `p` is readable for 16 bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn second_bytes(p: *const u8, power: __m512, lanes: __m512i) -> __m512 {
        let (floats, _bytes): (__m512, __m512i); // Named, because an output `_` of this class is misassembled.
        // SAFETY: the caller's promise.
        unsafe {
            std::arch::asm!(
                "vbroadcasti32x4 {bytes}, xmmword ptr [{p}]",
                "vmovdqa64 {floats}, {power}",
                "vpshufb {floats}{{{mask}}}, {bytes}, {lanes}",
                p = in(reg) p,
                bytes = out(zmm_reg) _bytes,
                floats = out(zmm_reg) floats,
                power = in(zmm_reg) power,
                mask = in(kreg) 0x2222_2222_2222_2222_u64,
                lanes = in(zmm_reg) lanes,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        floats
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Simd;
    use std::arch::aarch64::*;

    /// Four lanes.
    #[derive(Clone, Copy)]
    pub(crate) struct Neon(());

    impl Neon {
        /// # Safety
        /// The CPU has NEON.
        #[inline(always)]
        pub(crate) unsafe fn new() -> Self {
            Neon(())
        }
    }

    // SAFETY of every block below: a value of the type proves that the CPU has NEON; pointers are the caller's
    // promise.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Neon {
        type V = float32x4_t;
        const LANES: usize = 4;

        #[inline(always)]
        fn splat(self, x: f32) -> float32x4_t {
            unsafe { vdupq_n_f32(x) }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const f32) -> float32x4_t {
            unsafe { vld1q_f32(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32, v: float32x4_t) {
            unsafe { vst1q_f32(p, v) }
        }
        #[inline(always)]
        fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vaddq_f32(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vsubq_f32(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vmulq_f32(a, b) }
        }
        #[inline(always)]
        fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vdivq_f32(a, b) }
        }
        #[inline(always)]
        fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vmaxq_f32(a, b) }
        }
        #[inline(always)]
        fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vminq_f32(a, b) }
        }
        #[inline(always)]
        fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            unsafe { vfmaq_f32(c, a, b) }
        }
        #[inline(always)]
        fn round(self, a: float32x4_t) -> float32x4_t {
            unsafe { vrndnq_f32(a) }
        }
        #[inline(always)]
        fn pow2(self, n: float32x4_t) -> float32x4_t {
            unsafe {
                let biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
            }
        }
        #[inline(always)]
        fn sum(self, a: float32x4_t) -> f32 {
            unsafe { vaddvq_f32(a) }
        }
        #[inline(always)]
        fn max_lane(self, a: float32x4_t) -> f32 {
            unsafe { vmaxvq_f32(a) }
        }
        #[inline(always)]
        unsafe fn load_i8s(self, p: *const u8) -> float32x4_t {
            unsafe {
                let bytes = vcreate_u8(p.cast::<u32>().read_unaligned() as u64);
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))))
            }
        }
        #[inline(always)]
        unsafe fn load_halves(self, p: *const u16) -> float32x4_t {
            unsafe { vcvt_f32_f16(vreinterpret_f16_u16(vcreate_u16(p.cast::<u64>().read_unaligned()))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel};

    struct Exp<'a>(&'a mut [f32]);

    impl Kernel for Exp<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let p = self.0.as_mut_ptr();
            for (i, n) in vectors(s, self.0.len()) {
                // SAFETY: `i + n` is at most the length.
                unsafe { s.store_n(p.add(i), s.exp(s.load_n(p.add(i), n)), n) };
            }
        }
    }

    struct Sums<'a>(&'a [f32; 64]);

    impl Kernel for Sums<'_> {
        type Output = ([f32; 4], [f32; 4]);
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> ([f32; 4], [f32; 4]) {
            let p = self.0.as_ptr();
            // SAFETY: four vectors of at most 16 floats.
            let v = unsafe { [s.load(p), s.load(p.add(16)), s.load(p.add(32)), s.load(p.add(48))] };
            (s.sum4(v), [s.sum(v[0]), s.sum(v[1]), s.sum(v[2]), s.sum(v[3])])
        }
    }

    #[test]
    fn four_sums_have_the_bits_of_one() {
        let x: [f32; 64] = crate::test_data::random(64, 9).try_into().unwrap();
        for isa in Isa::available() {
            let (four, one) = isa.run(Sums(&x));
            assert_eq!(four, one, "{}", isa.name());
            let want: f32 = x[..isa.f32_lanes()].iter().sum();
            assert!((one[0] - want).abs() < 1e-5, "{}: {} {want}", isa.name(), one[0]);
        }
    }

    /// The x86 minimum and maximum would hide it if their operands stood the other way round.
    #[test]
    fn exp_of_nan_is_nan() {
        for isa in Isa::available() {
            let mut x = [f32::NAN; 19];
            isa.run(Exp(&mut x));
            assert!(x.iter().all(|x| x.is_nan()), "{}", isa.name());
        }
    }

    /// 2 ulp of the true value, computed in f64, over the whole range and at every tail length.
    #[test]
    fn exp_is_within_two_ulp() {
        for isa in Isa::available() {
            for len in [1, 2, 3, 5, 7, 16, 17, 20_011] {
                let x: Vec<f32> = (0..len).map(|i| -86.9 + 174.8 * i as f32 / len as f32).collect();
                let mut y = x.clone();
                isa.run(Exp(&mut y));
                for (x, y) in x.iter().zip(&y) {
                    let want = (*x as f64).exp();
                    let ulp = f32::EPSILON as f64 * want;
                    assert!(
                        (*y as f64 - want).abs() <= 2.0 * ulp,
                        "{}: exp({x}) = {y}, want {want}",
                        isa.name()
                    );
                }
            }
        }
    }

    struct Exp2<'a>(&'a mut [f32; 16]);

    impl Kernel for Exp2<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let p = self.0.as_mut_ptr();
            for (i, _) in vectors(s, 16) {
                // SAFETY: 16 is a multiple of LANES.
                unsafe { s.store(p.add(i), s.exp2(s.load(p.add(i)))) };
            }
        }
    }

    #[test]
    fn exp2_is_within_an_ulp() {
        for isa in Isa::available() {
            for first in (0..40_000).step_by(16) {
                let x: [f32; 16] = std::array::from_fn(|i| -125.0 + 252.0 * (first + i) as f32 / 40_000.0);
                let mut y = x;
                isa.run(Exp2(&mut y));
                for (x, y) in x.iter().zip(y) {
                    let want = (*x as f64).exp2();
                    let error = (y as f64 - want).abs();
                    let bound = f32::EPSILON as f64 * want + 2f64.powi(-99);
                    assert!(error <= bound, "{}: exp2({x}) = {y}", isa.name());
                }
            }
            let mut x = [0.0; 16];
            (x[1], x[2], x[3]) = (f32::NAN, -200.0, -3.0);
            isa.run(Exp2(&mut x));
            assert!(x[0] == 1.0 && x[1].is_nan() && x[2] == 0.0 && x[3] == 0.125, "{}", isa.name());
        }
    }

    struct Loads<'a>(&'a [u8; 32]);

    impl Kernel for Loads<'_> {
        type Output = ([f32; 16], [f32; 16], f32);
        /// Sixteen bytes, sixteen halves, and the largest byte.
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let (mut bytes, mut halves, mut max) = ([0.0; 16], [0.0; 16], 0.0);
            for (i, _) in vectors(s, 16) {
                // SAFETY: 16 is a multiple of LANES, and there are 32 bytes.
                unsafe {
                    let v = s.sub(s.load_i8s(self.0.as_ptr().add(i)), s.splat(S::BYTE_OFFSET));
                    max = f32::max(max, s.max_lane(v));
                    s.store(bytes.as_mut_ptr().add(i), v);
                    s.store(halves.as_mut_ptr().add(i), s.load_halves(self.0.as_ptr().cast::<u16>().add(i)));
                }
            }
            (bytes, halves, max)
        }
    }

    #[test]
    fn bytes_and_halves_are_loaded_exactly() {
        for isa in Isa::available() {
            for start in 0..=255u8 {
                let x: [u8; 32] = std::array::from_fn(|i| start.wrapping_mul(i as u8 + 1).wrapping_add(7));
                let (bytes, halves, max) = isa.run(Loads(&x));
                assert_eq!(bytes, std::array::from_fn(|i| x[i] as f32), "{}", isa.name());
                assert_eq!(max, *x[..16].iter().max().unwrap() as f32, "{}", isa.name());
                for (x, half) in x.as_chunks().0.iter().zip(halves) {
                    let want = f16_to_f32(u16::from_le_bytes(*x));
                    assert!(half == want || half.is_nan() && want.is_nan(), "{}: {half} {want}", isa.name());
                }
            }
        }
    }
}
