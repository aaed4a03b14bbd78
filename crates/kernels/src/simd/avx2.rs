//! AVX2: eight floats, two vectors of eight rows, 32 bytes.

// SAFETY of every block below: a value of the implementing type proves that the CPU has the instructions;
// pointers are the caller's promise; arrays have the size that is loaded or stored.
#![allow(clippy::undocumented_unsafe_blocks)]
#![allow(clippy::needless_range_loop)] // Lanes and rows are addressed by number, as the definitions say.

use super::decode::Wide;
use super::floats::Simd;
use super::rows16::{CodeRange, Rows16};
use super::scalar::BELOW_HALF;
use std::arch::asm;
use std::arch::x86_64::*;

/// Eight lanes. Needs AVX2, FMA, F16C and BMI2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The CPU has the features.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Avx2(())
    }
}

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

/// # Safety
/// The CPU has the instructions, and 16 bytes are readable.
#[inline(always)]
pub(super) unsafe fn load16(p: *const u8) -> __m128i {
    unsafe { _mm_loadu_si128(p.cast()) }
}

/// The `i`-th four bytes of x, eight times.
///
/// # Safety
/// The CPU has the instructions, and the bytes are readable.
#[inline(always)]
unsafe fn splat4(x: *const i8, i: usize) -> __m256i {
    unsafe { _mm256_set1_epi32(x.add(4 * i).cast::<i32>().read_unaligned()) }
}

/// The halves of sixteen pairs of E4M3 codes: of the first of each pair, and of the second.
///
/// # Safety
/// The CPU has the instructions, and 32 bytes are readable.
#[inline(always)]
pub(super) unsafe fn halves_of_pairs(from: *const u8) -> [__m256i; 2] {
    unsafe {
        let pairs = _mm256_loadu_si256(from.cast());
        let first = put_signs(_mm256_slli_epi16::<7>(pairs), _mm256_slli_epi16::<8>(pairs));
        [first, put_signs(_mm256_srli_epi16::<1>(pairs), pairs)]
    }
}

/// [`Rows16::put_signs`] for sixteen halves.
#[inline(always)]
fn put_signs(magnitudes: __m256i, signs: __m256i) -> __m256i {
    unsafe {
        let magnitudes = _mm256_and_si256(magnitudes, _mm256_set1_epi16(0x3f80));
        let carried = _mm256_add_epi16(magnitudes, _mm256_set1_epi16(0x80));
        let nans = _mm256_and_si256(carried, _mm256_set1_epi16(0x4000));
        let signs = _mm256_and_si256(signs, _mm256_set1_epi16(i16::MIN));
        _mm256_or_si256(_mm256_or_si256(magnitudes, nans), signs)
    }
}

/// The end of a loop of sums for `MR` rows, of which the compiler knows nothing where they fill the registers: it would
/// unroll the loop, add up later products first, and have more of them under way than there are registers.
#[inline(always)]
fn end_of_sums<const MR: usize>(mut end: usize) -> usize {
    if MR >= 4 {
        // SAFETY: no instruction.
        unsafe { asm!("/* {} */", inout(reg) end, options(pure, nomem, nostack, preserves_flags)) };
    }
    end
}

/// Each two codes times their activations. Signed ones give their sign to the activations.
///
/// # Safety
/// The CPU has the instructions.
#[inline(always)]
unsafe fn pairs_of(codes: CodeRange, w: __m256i, x: __m256i) -> __m256i {
    unsafe {
        if codes.zero != 128 {
            return _mm256_maddubs_epi16(w, x);
        }
        let signed = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(x, signed))
    }
}

/// [`Rows16::dot`] of `MR` rows of activations among `STRIDE`.
///
/// `maddubs` sums two products in sixteen bits. Small codes are added up there as long as they fit, in both vectors at
/// once; larger ones in one after the other, since there are not registers for more.
///
/// # Safety
/// As there, and the CPU has the instructions.
#[inline(always)]
unsafe fn dot_rows<const MR: usize, const STRIDE: usize, const NP: usize, const QUADS: usize>(
    codes: CodeRange,
    panels: [*const u8; NP],
    x: *const i8,
    starts: *const i32,
) -> [[[__m256i; 2]; NP]; MR] {
    unsafe {
        let mut acc = [[[_mm256_setzero_si256(); 2]; NP]; MR];
        let ones = _mm256_set1_epi16(1);
        for p in 0..NP {
            if codes.zero > 0 && codes.zero != 128 {
                for r in 0..MR {
                    acc[r][p] = [_mm256_set1_epi32(*starts.add(r)); 2];
                }
            }
            // Of signed ones one; of others 2 * 127 * max * n_fit <= 32767.
            let n_fit = if codes.zero == 128 { 1 } else { 32767 / (254 * codes.max as usize) };
            if n_fit == 1 {
                for half in 0..2 {
                    for q in 0..end_of_sums::<MR>(QUADS) {
                        let w = _mm256_loadu_si256(panels[p].add(64 * q + 32 * half).cast());
                        for r in 0..MR {
                            let pairs = pairs_of(codes, w, splat4(x, STRIDE * q + r));
                            let sum = _mm256_madd_epi16(pairs, ones);
                            acc[r][p][half] = _mm256_add_epi32(acc[r][p][half], sum);
                        }
                    }
                }
                continue;
            }
            for first in (0..QUADS).step_by(n_fit) {
                let mut pairs = [[_mm256_setzero_si256(); 2]; MR];
                let end = QUADS.min(first + n_fit);
                for q in first..if n_fit > 2 { end_of_sums::<MR>(end) } else { end } {
                    let w = panels[p].add(64 * q);
                    let w = [_mm256_loadu_si256(w.cast()), _mm256_loadu_si256(w.add(32).cast())];
                    for r in 0..MR {
                        let x = splat4(x, STRIDE * q + r);
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

/// Two vectors of eight rows.
impl Rows16 for Avx2 {
    type Bytes = [__m256i; 2];
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];
    const PANELS: usize = 1;

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
    fn add_bytes(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_add_epi8(a[0], b[0]), _mm256_add_epi8(a[1], b[1])] }
    }
    /// With c = max(b - 1, 0), which averages that round up then round as they should, the upper two bits of
    /// 3 c / 4.
    #[inline(always)]
    fn carry_of_triple(self, b: [__m256i; 2]) -> [__m256i; 2] {
        let mut out = b;
        for half in 0..2 {
            unsafe {
                let c = _mm256_subs_epu8(b[half], _mm256_set1_epi8(1));
                let three_quarters = _mm256_avg_epu8(c, _mm256_avg_epu8(c, _mm256_setzero_si256()));
                out[half] = _mm256_and_si256(_mm256_srli_epi16::<6>(three_quarters), _mm256_set1_epi8(3));
            }
        }
        out
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
    fn xor_ints(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])] }
    }
    #[inline(always)]
    fn add_ints(self, a: [__m256i; 2], b: i32) -> [__m256i; 2] {
        unsafe {
            let b = _mm256_set1_epi32(b);
            [_mm256_add_epi32(a[0], b), _mm256_add_epi32(a[1], b)]
        }
    }
    /// Of sixteen words, eight are a register, and a bit of each number chooses between two.
    #[inline(always)]
    fn words<const N: usize>(self, table: &[u32; N], i: [__m256i; 2]) -> [__m256i; 2] {
        const { assert!(N.is_power_of_two() && N <= 1 << 31) };
        let from = table.as_ptr().cast::<i32>();
        let mut out = i;
        for half in 0..2 {
            unsafe {
                if N == 16 {
                    let low = _mm256_permutevar8x32_epi32(_mm256_loadu_si256(from.cast()), i[half]);
                    let high = _mm256_permutevar8x32_epi32(_mm256_loadu_si256(from.add(8).cast()), i[half]);
                    let (low, high) = (_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
                    let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(i[half]));
                    out[half] = _mm256_castps_si256(_mm256_blendv_ps(low, high, upper));
                } else {
                    let inside = _mm256_and_si256(i[half], _mm256_set1_epi32((N - 1) as i32));
                    out[half] = _mm256_i32gather_epi32::<4>(from, inside);
                }
            }
        }
        out
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
    unsafe fn pairs_of_f8(self, from: *const u8) -> [[__m256; 2]; 2] {
        unsafe {
            let [a, b] = halves_of_pairs(from);
            let [a_above, b_above] = [_mm256_castsi256_si128(a), _mm256_castsi256_si128(b)];
            let [a_below, b_below] = [_mm256_extracti128_si256::<1>(a), _mm256_extracti128_si256::<1>(b)];
            [
                [_mm256_cvtph_ps(a_above), _mm256_cvtph_ps(a_below)],
                [_mm256_cvtph_ps(b_above), _mm256_cvtph_ps(b_below)],
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
    unsafe fn sixteen_halves(self, from: *const u8) -> [__m256; 2] {
        unsafe { [_mm256_cvtph_ps(load16(from)), _mm256_cvtph_ps(load16(from.add(16)))] }
    }
    #[inline(always)]
    unsafe fn sixteen_bytes(self, from: *const u8) -> [__m256i; 2] {
        unsafe {
            [
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())),
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(8).cast())),
            ]
        }
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
    /// Eight rows are two times four: the accumulators of all would not fit the registers.
    #[inline(always)]
    unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
        self,
        codes: CodeRange,
        panels: [*const u8; NP],
        x: *const i8,
        starts: *const i32,
    ) -> [[[__m256i; 2]; NP]; MR] {
        unsafe {
            if MR != 8 {
                return dot_rows::<MR, MR, NP, QUADS>(codes, panels, x, starts);
            }
            let mut acc = [[[_mm256_setzero_si256(); 2]; NP]; MR];
            let first = dot_rows::<4, MR, NP, QUADS>(codes, panels, x, starts);
            let second = dot_rows::<4, MR, NP, QUADS>(codes, panels, x.add(16), starts.add(4));
            for r in 0..4 {
                (acc[r], acc[r + 4]) = (first[r], second[r]);
            }
            acc
        }
    }
    #[inline(always)]
    fn prefetch_line(self, address: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
}

impl Wide for Avx2 {
    type Floats = [__m256; 2];
    type Bytes = __m256i;
    type Table = __m128i;

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
        unsafe {
            [_mm256_cvtph_ps(load16(quarters[0].as_ptr())), _mm256_cvtph_ps(load16(quarters[1].as_ptr()))]
        }
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
            let low = load16(from.as_ptr());
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
    fn table(self, codes: &[i8; 16]) -> __m128i {
        unsafe { _mm_loadu_si128(codes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn lookup<const SHIFT: i32>(
        self,
        b: &[u8; 16],
        table: __m128i,
        value: impl Fn([__m256; 2]) -> [__m256; 2],
    ) -> [__m256; 2] {
        unsafe {
            let index = _mm_and_si128(_mm_srli_epi16::<SHIFT>(load16(b.as_ptr())), _mm_set1_epi8(15));
            value(widen16(_mm_shuffle_epi8(table, index)))
        }
    }
    /// Each half of the table is permuted, then the fourth bit of the index chooses.
    #[inline(always)]
    fn pick<const SHIFT: i32>(self, b: &[u8; 16], table: &[f32; 16]) -> [__m256; 2] {
        unsafe {
            let bytes = _mm_srli_epi16::<SHIFT>(load16(b.as_ptr()));
            let index = [_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes))];
            let low = _mm256_loadu_ps(table.as_ptr());
            let high = _mm256_loadu_ps(table.as_ptr().add(8));
            let mut out = [low; 2];
            for (out, index) in out.iter_mut().zip(index) {
                let is_high = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(index));
                let [low, high] =
                    [_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index)];
                *out = _mm256_blendv_ps(low, high, is_high);
            }
            out
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
