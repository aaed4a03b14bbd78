//! AVX-512: sixteen floats, one vector of sixteen rows. Bytes of decoders are those of AVX2.

// SAFETY of every block below: a value of the implementing type proves that the CPU has the instructions;
// pointers are the caller's promise; arrays have the size that is loaded or stored.
#![allow(clippy::undocumented_unsafe_blocks)]
#![allow(clippy::needless_range_loop)] // Lanes and rows are addressed by number, as the definitions say.

use super::avx2::{Avx2, halves_of_pairs, load16};
use super::decode::Wide;
use super::floats::Simd;
use super::rows16::{CodeRange, Rows16, words_one_by_one};
use super::words::Words;
use std::arch::x86_64::*;

/// Sixteen lanes. Needs AVX-512 F, BW, VL, DQ, CD and VNNI, and what AVX2 needs.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The CPU has the features.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Avx512(())
    }
}

/// The AVX2 version of the same CPU, for what does not differ.
#[inline(always)]
fn avx2() -> Avx2 {
    unsafe { Avx2::new() }
}

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
    /// The bytes are put into the second lowest byte of 2^15, whose mantissa there counts ones: a shuffle
    /// instead of a widening and a conversion.
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
/// Assembly, because LLVM makes shuffles of the broadcast load and of the copy of `power`, and shuffles are
/// what decoding waits for.
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
///
/// # Safety
/// The CPU has the instructions, and 32 bytes of eight rows are readable.
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

/// The transpose of sixteen vectors of sixteen numbers: `[4 c + t]` has the number at that place of each.
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
    /// Conversions have the ports of products here.
    const BIAS: i32 = f32::to_bits(1.5 * (1 << 23) as f32) as i32;
    const FLOAT_PANELS: usize = 4;

    /// The rows' chains of additions run side by side.
    #[inline(always)]
    unsafe fn dot_codes<const MR: usize, const SIXTEENS: usize>(
        self,
        codes: CodeRange,
        bytes: [[__m512i; 4]; SIXTEENS],
        x: *const i8,
        starts: *const i32,
    ) -> [[__m512i; 1]; MR] {
        unsafe {
            let mut acc = [[_mm512_setzero_si512()]; MR];
            if codes.zero > 0 {
                for r in 0..MR {
                    acc[r] = [_mm512_set1_epi32(*starts.add(r))];
                }
            }
            let mut more = [_mm512_setzero_si512(); MR];
            for q in 0..4 {
                for r in 0..MR {
                    let x = _mm512_set1_epi32(x.add(4 * (MR * q + r)).cast::<i32>().read_unaligned());
                    acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], bytes[0][q], x);
                }
                if SIXTEENS > 1 {
                    for r in 0..MR {
                        let x = x.add(4 * (MR * (q + 4) + r)).cast::<i32>().read_unaligned();
                        more[r] = _mm512_dpbusd_epi32(more[r], bytes[SIXTEENS - 1][q], _mm512_set1_epi32(x));
                    }
                }
            }
            if SIXTEENS > 1 {
                for r in 0..MR {
                    acc[r][0] = _mm512_add_epi32(acc[r][0], more[r]);
                }
            }
            acc
        }
    }

    /// Rows i, i + 4, i + 8 and i + 12 share a vector, so that transposing four by four within quarters is
    /// enough.
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
    /// Each row is read once: rows i and i + 4 (and as many further on) share a vector, and after transposing
    /// within quarters the two chunks are told apart by whole quarters.
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
    /// Each row's cache line is read once: rows often lie a power of two apart, and then a column of sixteen
    /// of them does not fit the few places that the first-level cache has for it.
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
    fn add_bytes(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi8(a, b) }
    }
    /// As for AVX2.
    #[inline(always)]
    fn carry_of_triple(self, b: __m512i) -> __m512i {
        unsafe {
            let c = _mm512_subs_epu8(b, _mm512_set1_epi8(1));
            let three_quarters = _mm512_avg_epu8(c, _mm512_avg_epu8(c, _mm512_setzero_si512()));
            _mm512_and_si512(_mm512_srli_epi16::<6>(three_quarters), _mm512_set1_epi8(3))
        }
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
    fn xor_ints(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    fn add_ints(self, a: __m512i, b: i32) -> __m512i {
        unsafe { _mm512_add_epi32(a, _mm512_set1_epi32(b)) }
    }
    /// Sixteen words are a register, of which a permutation reads the lanes that the lowest four bits name.
    #[inline(always)]
    fn words<const N: usize>(self, table: &[u32; N], i: __m512i) -> __m512i {
        const { assert!(N.is_power_of_two() && N <= 1 << 31) };
        let from = table.as_ptr().cast::<i32>();
        unsafe {
            if N == 16 {
                return _mm512_permutexvar_epi32(i, _mm512_loadu_si512(from.cast()));
            }
            let inside = _mm512_and_si512(i, _mm512_set1_epi32((N - 1) as i32));
            _mm512_i32gather_epi32::<4>(inside, from)
        }
    }
    #[inline(always)]
    fn four_words<const N: usize>(self, table: &Words<N>, low: __m512i, high: __m512i) -> [__m512i; 4] {
        // Of 2,048 words gathering is as fast.
        if N <= 1024 && is_x86_feature_detected!("avx512vbmi") {
            return unsafe { four_words_of_planes(table, low, high) };
        }
        words_one_by_one(self, table, low, high)
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
    /// One permutation puts the halves of two columns side by side.
    #[inline(always)]
    fn columns_of_f8(self, b: __m512i) -> [__m512; 4] {
        // All lower halves of sixteen numbers, and all upper ones.
        const PLACES: [u16; 32] = {
            let (mut places, mut i) = ([0; 32], 0);
            while i < 32 {
                places[i] = (2 * (i % 16) + i / 16) as u16;
                i += 1;
            }
            places
        };
        unsafe {
            let [even, odd] = self.halves_of_f8(b);
            let places = _mm512_loadu_si512(PLACES.as_ptr().cast());
            let even = _mm512_permutexvar_epi16(places, even);
            let odd = _mm512_permutexvar_epi16(places, odd);
            [
                _mm512_cvtph_ps(_mm512_castsi512_si256(even)),
                _mm512_cvtph_ps(_mm512_castsi512_si256(odd)),
                _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(even)),
                _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(odd)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn pairs_of_f8(self, from: *const u8) -> [__m512; 2] {
        unsafe {
            let [a, b] = halves_of_pairs(from);
            [_mm512_cvtph_ps(a), _mm512_cvtph_ps(b)]
        }
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
    unsafe fn sixteen_halves(self, from: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn sixteen_bytes(self, from: *const u8) -> __m512i {
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }
    /// `vpdpbusd` sums four products of unsigned codes and signed activations; what `zero` makes of them is
    /// known before and is where the sum starts.
    #[inline(always)]
    unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
        self,
        codes: CodeRange,
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

impl Wide for Avx512 {
    type Floats = __m512;
    type Bytes = __m256i;
    type Table = __m512;

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
        Wide::and(avx2(), a, mask)
    }
    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        Wide::or(avx2(), a, b)
    }
    #[inline(always)]
    fn sub_bytes(self, a: __m256i, b: u8) -> __m256i {
        avx2().sub_bytes(a, b)
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: __m256i) -> __m256i {
        Wide::shr::<N>(avx2(), a)
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: __m256i) -> __m256i {
        Wide::shl::<N>(avx2(), a)
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
        Wide::prefetch(avx2(), address)
    }
    #[inline(always)]
    fn table(self, codes: &[i8; 16]) -> __m512 {
        Wide::ints(self, u128::from_le_bytes(codes.map(|code| code as u8)))
    }
    /// The permutation reads only the low four bits of an index, so none need be cleared.
    #[inline(always)]
    fn lookup<const SHIFT: i32>(
        self,
        b: &[u8; 16],
        table: __m512,
        value: impl Fn(__m512) -> __m512,
    ) -> __m512 {
        unsafe {
            let index = _mm512_cvtepu8_epi32(load16(b.as_ptr()));
            match SHIFT {
                0 => permute(index, value(table)),
                _ => permute_shifted::<SHIFT>(index, value(table)),
            }
        }
    }
    #[inline(always)]
    fn pick<const SHIFT: i32>(self, b: &[u8; 16], table: &[f32; 16]) -> __m512 {
        let table = unsafe { _mm512_loadu_ps(table.as_ptr()) };
        Wide::lookup::<SHIFT>(self, b, table, |values| values)
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

/// [`Rows16::four_words`] by permutations of bytes: the bytes of all numbers in both planes, from which the words' bytes are
/// cut.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn four_words_of_planes<const N: usize>(
    table: &Words<N>,
    low: __m512i,
    high: __m512i,
) -> [__m512i; 4] {
    let upper = _mm512_movepi8_mask(low);
    let bit = |n: i8| _mm512_test_epi8_mask(high, _mm512_set1_epi8(n));
    let (ninth, tenth) = (bit(1), bit(2));
    let mut bytes = [_mm512_setzero_si512(); 2];
    for (bytes, plane) in bytes.iter_mut().zip(&table.planes) {
        let of_128 = |at: usize| {
            let from = plane[at..at + 128].as_ptr().cast::<i8>();
            unsafe {
                let (a, b) = (_mm512_loadu_epi8(from), _mm512_loadu_epi8(from.add(64)));
                _mm512_permutex2var_epi8(a, low, b)
            }
        };
        let of_256 = |at: usize| _mm512_mask_blend_epi8(upper, of_128(at), of_128(at + 128));
        let of_512 = |at: usize| _mm512_mask_blend_epi8(ninth, of_256(at), of_256(at + 256));
        *bytes = match N {
            256 => of_256(0),
            512 => of_512(0),
            _ => _mm512_mask_blend_epi8(tenth, of_512(0), of_512(512)),
        };
    }
    let masks = table.masks.map(|mask| _mm512_set1_epi32(mask as i32));
    let mut out = [_mm512_setzero_si512(); 4];
    for (i, out) in out.iter_mut().enumerate() {
        let part = |plane: usize| {
            let shifts = _mm512_set1_epi64(table.shifts[plane][i] as i64);
            _mm512_multishift_epi64_epi8(shifts, bytes[plane])
        };
        // (a and mask) or (b and other mask).
        *out = _mm512_ternarylogic_epi32::<0xec>(part(0), _mm512_and_si512(part(1), masks[1]), masks[0]);
    }
    out
}
