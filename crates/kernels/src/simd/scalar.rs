//! Plain Rust: what every operation means.

#![allow(clippy::needless_range_loop)] // Lanes are addressed by their numbers, as the definitions say.

use super::decode::Wide;
use super::floats::Simd;
use super::rows16::{CodeRange, Rows16};
use std::array::from_fn;

use crate::half::{f16_to_f32, f32_to_f16, half_of};

/// One lane: plain Rust.
#[derive(Clone, Copy)]
pub struct Scalar;

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

/// A function of its own: unrolled into every product, hundreds of times each, it took minutes to compile.
#[inline(never)]
fn values_of_halves(halves: [u16; 16]) -> [f32; 16] {
    halves.map(f16_to_f32)
}

impl Rows16 for Scalar {
    type Bytes = [[u8; 4]; 16];
    type Ints = [i32; 16];
    type Floats = [f32; 16];
    const PANELS: usize = 1;
    const PLAIN: bool = true;

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
    fn add_bytes(self, mut a: [[u8; 4]; 16], b: [[u8; 4]; 16]) -> [[u8; 4]; 16] {
        for (a, b) in a.as_flattened_mut().iter_mut().zip(b.as_flattened()) {
            *a = a.wrapping_add(*b);
        }
        a
    }
    #[inline(always)]
    fn carry_of_triple(self, b: [[u8; 4]; 16]) -> [[u8; 4]; 16] {
        b.map(|four| four.map(|b| ((3 * b as u16) >> 8) as u8))
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
        from_fn(|r| a[r] | b[r])
    }
    #[inline(always)]
    fn xor_ints(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        from_fn(|r| a[r] ^ b[r])
    }
    #[inline(always)]
    fn add_ints(self, a: [i32; 16], b: i32) -> [i32; 16] {
        a.map(|x| x.wrapping_add(b))
    }
    #[inline(always)]
    fn words<const N: usize>(self, table: &[u32; N], i: [i32; 16]) -> [i32; 16] {
        i.map(|i| table[i as usize % N] as i32)
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
        values_of_halves(a.map(|x| x as u16))
    }
    #[inline(always)]
    fn columns_of_f8(self, b: [[u8; 4]; 16]) -> [[f32; 16]; 4] {
        from_fn(|t| values_of_halves(b.map(|codes| half_of(codes[t]))))
    }
    #[inline(always)]
    unsafe fn pairs_of_f8(self, from: *const u8) -> [[f32; 16]; 2] {
        // SAFETY: the caller's promise.
        let pairs = unsafe { from.cast::<[[u8; 2]; 16]>().read() };
        from_fn(|t| values_of_halves(pairs.map(|codes| half_of(codes[t]))))
    }
    #[inline(always)]
    fn splat_float(self, x: f32) -> [f32; 16] {
        [x; 16]
    }
    #[inline(always)]
    fn add_floats(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|r| a[r] + b[r])
    }
    #[inline(always)]
    fn mul_floats(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|r| a[r] * b[r])
    }
    #[inline(always)]
    fn fma_floats(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        from_fn(|r| a[r] * b[r] + c[r])
    }
    #[inline(always)]
    unsafe fn sixteen_halves(self, from: *const u8) -> [f32; 16] {
        // SAFETY: the caller's promise.
        let halves = unsafe { from.cast::<[[u8; 2]; 16]>().read() };
        values_of_halves(halves.map(u16::from_le_bytes))
    }
    #[inline(always)]
    unsafe fn sixteen_bytes(self, from: *const u8) -> [i32; 16] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[u8; 16]>().read() }.map(i32::from)
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
    ///
    /// A function of its own: unrolled into the products of every type it was half of the crate's code.
    #[inline(never)]
    unsafe fn dot<const MR: usize, const NP: usize, const QUADS: usize>(
        self,
        codes: CodeRange,
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

impl Wide for Scalar {
    type Floats = [f32; 16];
    type Bytes = [u8; 32];
    type Table = [i8; 16];

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 16] {
        [x; 16]
    }
    #[inline(always)]
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn store(self, v: [f32; 16], out: &mut [f32; 16]) {
        *out = v;
    }
    #[inline(always)]
    fn half(self, bits: &[u8; 2]) -> [f32; 16] {
        [f16_to_f32(u16::from_le_bytes(*bits)); 16]
    }
    #[inline(always)]
    fn halves(self, bits: &[u8; 32]) -> [f32; 16] {
        from_fn(|i| f16_to_f32(u16::from_le_bytes([bits[2 * i], bits[2 * i + 1]])))
    }
    #[inline(always)]
    fn to_halves(self, x: &[f32; 16]) -> [u8; 32] {
        let halves = x.map(|x| f32_to_f16(x).to_le_bytes());
        from_fn(|i| halves[i / 2][i % 2])
    }
    /// Magnitudes are ordered as their bits are, NaN above all.
    #[inline(always)]
    fn max_magnitude(self, x: &[f32; 32]) -> f32 {
        f32::from_bits(x.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff)))
    }
    #[inline(always)]
    fn scaled_to_bytes(self, x: &[f32; 32], factor: f32) -> [u8; 32] {
        x.map(|x| round_half_away(x * factor) as u8)
    }
    #[inline(always)]
    fn bytes(self, from: &[u8; 32]) -> [u8; 32] {
        *from
    }
    #[inline(always)]
    fn nibbles(self, from: &[u8; 16]) -> [u8; 32] {
        from_fn(|i| if i < 16 { from[i] & 15 } else { from[i - 16] >> 4 })
    }
    #[inline(always)]
    fn masks(self, bits: u32) -> [u8; 32] {
        from_fn(|i| if bits >> i & 1 == 1 { 0xff } else { 0 })
    }
    #[inline(always)]
    fn and(self, a: [u8; 32], mask: u8) -> [u8; 32] {
        a.map(|a| a & mask)
    }
    #[inline(always)]
    fn or(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn sub_bytes(self, a: [u8; 32], b: u8) -> [u8; 32] {
        a.map(|a| a.wrapping_sub(b))
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: [u8; 32]) -> [u8; 32] {
        a.map(|a| a >> N)
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: [u8; 32]) -> [u8; 32] {
        a.map(|a| a << N)
    }
    #[inline(always)]
    fn widen(self, a: [u8; 32]) -> [[f32; 16]; 2] {
        from_fn(|half| from_fn(|i| a[16 * half + i] as i8 as f32))
    }
    #[inline(always)]
    fn ints(self, bytes: u128) -> [f32; 16] {
        bytes.to_le_bytes().map(|b| b as i8 as f32)
    }
    #[inline(always)]
    fn table(self, codes: &[i8; 16]) -> [i8; 16] {
        *codes
    }
    #[inline(always)]
    fn lookup<const SHIFT: i32>(
        self,
        b: &[u8; 16],
        table: [i8; 16],
        value: impl Fn([f32; 16]) -> [f32; 16],
    ) -> [f32; 16] {
        value(b.map(|b| table[(b >> SHIFT & 15) as usize] as f32))
    }
    #[inline(always)]
    fn pick<const SHIFT: i32>(self, b: &[u8; 16], table: &[f32; 16]) -> [f32; 16] {
        b.map(|b| table[(b >> SHIFT & 15) as usize])
    }
}

/// The nearest integer, halves away from zero, of a number little above 127 at most; 0 for NaN.
///
/// Truncation after adding a half would be one off just below a half; adding the float before it is right
/// there too and, for a half itself, rounds up to the next integer.
#[inline(always)]
pub fn round_half_away(x: f32) -> i8 {
    (x + BELOW_HALF.copysign(x)) as i32 as i8
}

/// The float before 0.5.
pub(super) const BELOW_HALF: f32 = 0.5f32.next_down();
