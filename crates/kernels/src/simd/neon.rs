//! NEON: four floats, four vectors of four rows, two of sixteen bytes.

// SAFETY of every block below: a value of the implementing type proves that the CPU has the instructions;
// pointers are the caller's promise; arrays have the size that is loaded or stored.
#![allow(clippy::undocumented_unsafe_blocks)]
#![allow(clippy::needless_range_loop)] // Lanes and rows are addressed by number, as the definitions say.

use super::decode::Wide;
use super::floats::Simd;
use super::rows16::{CodeRange, Rows16};
use super::scalar::Scalar;
use crate::half::{f16_to_f32, f32_to_f16};
use std::arch::aarch64::*;
use std::array::from_fn;

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

/// The values of four halves, made as [`Rows16::put_signs`] says.
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
    fn add_bytes(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        unsafe { from_fn(|i| vaddq_u8(a[i], b[i])) }
    }
    /// The upper two bits of 3 b / 4.
    #[inline(always)]
    fn carry_of_triple(self, b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        unsafe { b.map(|b| vshrq_n_u8::<6>(vhaddq_u8(b, vshrq_n_u8::<1>(b)))) }
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
    fn xor_ints(self, a: [int32x4_t; 4], b: [int32x4_t; 4]) -> [int32x4_t; 4] {
        unsafe { from_fn(|i| veorq_s32(a[i], b[i])) }
    }
    #[inline(always)]
    fn add_ints(self, a: [int32x4_t; 4], b: i32) -> [int32x4_t; 4] {
        unsafe { a.map(|a| vaddq_s32(a, vdupq_n_s32(b))) }
    }
    /// Sixteen words are four registers, of which each byte of the result names its place.
    #[inline(always)]
    fn words<const N: usize>(self, table: &[u32; N], i: [int32x4_t; 4]) -> [int32x4_t; 4] {
        unsafe {
            if N == 16 {
                let words = from_fn(|part| vreinterpretq_u8_u32(vld1q_u32(table[4 * part..].as_ptr())));
                let [a, b, c, d]: [uint8x16_t; 4] = words;
                return i.map(|i| {
                    let four_bits = vandq_u32(vreinterpretq_u32_s32(i), vdupq_n_u32(15));
                    let first = vmulq_u32(four_bits, vdupq_n_u32(0x0404_0404));
                    let places = vaddq_u32(first, vdupq_n_u32(0x0302_0100));
                    let four = uint8x16x4_t(a, b, c, d);
                    vreinterpretq_s32_u8(vqtbl4q_u8(four, vreinterpretq_u8_u32(places)))
                });
            }
            i.map(|i| {
                let mut lanes = [0; 4];
                vst1q_s32(lanes.as_mut_ptr(), i);
                let words = lanes.map(|i| table[i as usize % N] as i32);
                vld1q_s32(words.as_ptr())
            })
        }
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
    unsafe fn sixteen_bytes(self, from: *const u8) -> [int32x4_t; 4] {
        unsafe {
            let (low, high) = (vmovl_u8(vld1_u8(from)), vmovl_u8(vld1_u8(from.add(8))));
            let four = |half| vreinterpretq_s32_u32(vmovl_u16(half));
            [
                four(vget_low_u16(low)),
                four(vget_high_u16(low)),
                four(vget_low_u16(high)),
                four(vget_high_u16(high)),
            ]
        }
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
        codes: CodeRange,
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

impl Wide for Neon {
    type Floats = [float32x4_t; 4];
    type Bytes = [uint8x16_t; 2];
    type Table = int8x16_t;

    #[inline(always)]
    fn splat(self, x: f32) -> [float32x4_t; 4] {
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    fn mul(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        from_fn(|i| unsafe { vmulq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn add(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        from_fn(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        from_fn(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn store(self, v: [float32x4_t; 4], out: &mut [f32; 16]) {
        for (v, out) in v.iter().zip(out.as_chunks_mut::<4>().0) {
            unsafe { vst1q_f32(out.as_mut_ptr(), *v) }
        }
    }
    #[inline(always)]
    fn half(self, bits: &[u8; 2]) -> [float32x4_t; 4] {
        Wide::splat(self, f16_to_f32(u16::from_le_bytes(*bits)))
    }
    #[inline(always)]
    fn halves(self, bits: &[u8; 32]) -> [float32x4_t; 4] {
        let (bits, _) = bits.as_chunks::<2>();
        let x: [f32; 16] = from_fn(|i| f16_to_f32(u16::from_le_bytes(bits[i])));
        from_fn(|i| unsafe { vld1q_f32(x[4 * i..4 * i + 4].as_ptr()) })
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
        Scalar.max_magnitude(x)
    }
    #[inline(always)]
    fn scaled_to_bytes(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
        Scalar.scaled_to_bytes(x, factor)
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
        from_fn(|i| unsafe { vorrq_u8(a[i], b[i]) })
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
    fn table(self, codes: &[i8; 16]) -> int8x16_t {
        unsafe { vld1q_s8(codes.as_ptr()) }
    }
    #[inline(always)]
    fn lookup<const SHIFT: i32>(
        self,
        b: &[u8; 16],
        table: int8x16_t,
        value: impl Fn([float32x4_t; 4]) -> [float32x4_t; 4],
    ) -> [float32x4_t; 4] {
        unsafe {
            let shifted = vshlq_u8(vld1q_u8(b.as_ptr()), vdupq_n_s8(-(SHIFT as i8)));
            value(widen16(vqtbl1q_s8(table, vandq_u8(shifted, vdupq_n_u8(15)))))
        }
    }
    /// The four bytes of a float are looked up one by one.
    #[inline(always)]
    fn pick<const SHIFT: i32>(self, b: &[u8; 16], table: &[f32; 16]) -> [float32x4_t; 4] {
        const FOURFOLD: [u8; 16] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3];
        const PLACES: [u8; 16] = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3];
        unsafe {
            let bytes = table.as_ptr().cast::<u8>();
            let at = |i: usize| vld1q_u8(bytes.add(16 * i));
            let table = uint8x16x4_t(at(0), at(1), at(2), at(3));
            let shifted = vshlq_u8(vld1q_u8(b.as_ptr()), vdupq_n_s8(-(SHIFT as i8)));
            let first = vshlq_n_u8::<2>(vandq_u8(shifted, vdupq_n_u8(15)));
            let (fourfold, places) = (vld1q_u8(FOURFOLD.as_ptr()), vld1q_u8(PLACES.as_ptr()));
            std::array::from_fn(|i| {
                let own = vqtbl1q_u8(first, vaddq_u8(fourfold, vdupq_n_u8(4 * i as u8)));
                vreinterpretq_f32_u8(vqtbl4q_u8(table, vaddq_u8(own, places)))
            })
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
