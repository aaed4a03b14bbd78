//! AVX2 as two vectors of eight rows, AVX-512 as one of sixteen.

// SAFETY of every block below: a value of the implementing type proves that the CPU has the instructions; pointers
// are the caller's promise.
#![allow(clippy::undocumented_unsafe_blocks)]
#![allow(clippy::needless_range_loop)] // Lanes and rows are addressed by number, as the definitions say.

use super::decode::Wide;
use super::rows16::{Codes, Rows16};
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

/// Of sixteen pairs of E4M3 codes, the halves of the first and of the second.
#[inline(always)]
unsafe fn halves_of_pairs(from: *const u8) -> [__m256i; 2] {
    unsafe {
        let pairs = _mm256_loadu_si256(from.cast());
        let first = put_signs(_mm256_slli_epi16::<7>(pairs), _mm256_slli_epi16::<8>(pairs));
        [first, put_signs(_mm256_srli_epi16::<1>(pairs), pairs)]
    }
}

/// As [`Rows16::put_signs`], of sixteen halves.
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
    const FLOAT_PANELS: usize = 4;

    /// The rows' chains of additions run side by side.
    #[inline(always)]
    unsafe fn dot_codes<const MR: usize, const SIXTEENS: usize>(
        self,
        codes: Codes,
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
