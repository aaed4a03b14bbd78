//! NEON: four vectors of four rows.

// SAFETY of every block below: a value of the implementing type proves that the CPU has the instructions; pointers
// are the caller's promise.
#![allow(clippy::undocumented_unsafe_blocks)]
#![allow(clippy::needless_range_loop)] // Lanes and rows are addressed by number, as the definitions say.

use super::decode::Wide;
use super::rows16::{Codes, Rows16};
use crate::simd::Neon;
use std::arch::aarch64::*;
use std::array::from_fn;

/// As [`Rows16::put_signs`], of four halves, and their values.
#[inline(always)]
fn put_signs(magnitudes: uint16x4_t, signs: uint16x4_t) -> float32x4_t {
    unsafe {
        let magnitudes = vand_u16(magnitudes, vdup_n_u16(0x3f80));
        let nans = vand_u16(vadd_u16(magnitudes, vdup_n_u16(0x80)), vdup_n_u16(0x4000));
        let halves = vorr_u16(vorr_u16(magnitudes, nans), vand_u16(signs, vdup_n_u16(0x8000)));
        vcvt_f32_f16(vreinterpret_f16_u16(halves))
    }
}

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
            a.map(|a| vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-(N as i32)))))
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
    unsafe fn pairs_of_f8(self, from: *const u8) -> [[float32x4_t; 4]; 2] {
        unsafe {
            let pairs: [uint16x4_t; 4] = from_fn(|i| vreinterpret_u16_u8(vld1_u8(from.add(8 * i))));
            [
                pairs.map(|pair| put_signs(vshl_n_u16::<7>(pair), vshl_n_u16::<8>(pair))),
                pairs.map(|pair| put_signs(vshr_n_u16::<1>(pair), pair)),
            ]
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
    fn fma_floats(self, a: [float32x4_t; 4], b: [float32x4_t; 4], c: [float32x4_t; 4]) -> [float32x4_t; 4] {
        unsafe { from_fn(|i| vfmaq_f32(c[i], a[i], b[i])) }
    }
    #[inline(always)]
    unsafe fn sixteen_halves(self, from: *const u8) -> [float32x4_t; 4] {
        unsafe { from_fn(|i| vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from.add(8 * i))))) }
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
