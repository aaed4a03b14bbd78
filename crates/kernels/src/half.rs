//! The small floats f16, bf16 and E4M3: their conversions from and to f32.
//!
//! Conversions to f32 are exact. Conversions from f32 round to nearest, ties to even, go to infinity past the
//! largest finite value, and keep a NaN a NaN (quiet, with the payload bits that fit), as the instructions
//! do.

/// The value of an IEEE half.
///
/// The exponent and mantissa bits, moved up to their place in an f32, are the value times 2^-112, subnormals
/// included; one exact multiplication puts that right without a branch.
#[inline(always)]
pub fn f16_to_f32(half: u16) -> f32 {
    const TWO_POW_112: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits(((half & 0x7fff) as u32) << 13) * TWO_POW_112;
    let is_inf_or_nan = half & 0x7c00 == 0x7c00;
    let exponent_of_inf = if is_inf_or_nan { 0x7f80_0000 } else { 0 };
    let sign = ((half & 0x8000) as u32) << 16;
    f32::from_bits(magnitude.to_bits() | exponent_of_inf | sign)
}

/// The nearest IEEE half.
#[inline(always)]
pub fn f32_to_f16(x: f32) -> u16 {
    const INF: u32 = 0x7f80_0000;
    const ROUNDS_TO_INF: u32 = 0x477f_f000; // 65520, half way between the largest half and the next one up.
    const SMALLEST_NORMAL: u32 = 0x3880_0000; // 2^-14
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // Between 0.5 and 1 the steps of f32 are 2^-24, as those of subnormal halves: the sum rounds as wanted.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let odd = (magnitude >> 13) & 1;
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    let half = if magnitude > INF {
        0x7e00 | (magnitude >> 13) & 0x3ff
    } else if magnitude >= ROUNDS_TO_INF {
        0x7c00
    } else if magnitude < SMALLEST_NORMAL {
        subnormal
    } else {
        normal
    };
    half as u16 | (x.to_bits() >> 16) as u16 & 0x8000
}

/// The value of a bfloat16: the upper half of an f32.
#[inline(always)]
pub fn bf16_to_f32(brain: u16) -> f32 {
    f32::from_bits((brain as u32) << 16)
}

/// The nearest bfloat16.
#[inline(always)]
pub fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let odd = (bits >> 16) & 1;
    let rounded = bits.wrapping_add(0x7fff + odd);
    // Rounding could carry a NaN into infinity or zero; setting the quiet bit keeps it one.
    let brain = if x.is_nan() { bits | 0x0040_0000 } else { rounded };
    (brain >> 16) as u16
}

/// What the half of a code must be multiplied with: the two exponents are biased by 15 and by 7.
pub(crate) const OF_HALF: f32 = 256.0;

/// The half that is a code's value over [`OF_HALF`].
///
/// Exponent and mantissa move up to their places in the half, subnormals included. One half of all exponents
/// is left over above them; only a NaN's magnitude, all ones, carries into that bit, and with it the half is
/// NaN as well.
#[inline(always)]
pub(crate) fn half_of(code: u8) -> u16 {
    let magnitude = ((code & 0x7f) as u16) << 7;
    let nan = (magnitude + 0x80) & 0x4000;
    ((code & 0x80) as u16) << 8 | nan | magnitude
}

/// The value of an E4M3 code.
#[inline(always)]
pub fn e4m3_to_f32(code: u8) -> f32 {
    f16_to_f32(half_of(code)) * OF_HALF
}

/// The nearest E4M3 code, ties to even; NaN from half a step past the largest on.
#[inline(always)]
pub fn f32_to_e4m3(x: f32) -> u8 {
    const SMALLEST_NORMAL: u32 = 0x3c80_0000; // 2^-6
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // Between 2^14 and 2^15 the steps of f32 are 2^-9, as those of subnormal codes: the sum rounds as wanted.
    let subnormal = (f32::from_bits(magnitude) + 16384.0).to_bits().wrapping_sub(16384f32.to_bits());
    let odd = (magnitude >> 20) & 1;
    let normal = magnitude.wrapping_sub(120 << 23).wrapping_add(0x7ffff + odd) >> 20;
    let code = if magnitude < SMALLEST_NORMAL { subnormal } else { normal.min(0x7f) };
    code as u8 | (x.to_bits() >> 24) as u8 & 0x80
}

/// The half stored at byte `at` of `block`, as f32.
#[inline(always)]
pub(crate) fn f16_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// Stores `x` as a half at byte `at` of `block` and returns the value stored.
#[inline(always)]
pub(crate) fn put_f16(block: &mut [u8], at: usize, x: f32) -> f32 {
    let half = f32_to_f16(x);
    block[at..at + 2].copy_from_slice(&half.to_le_bytes());
    f16_to_f32(half)
}
