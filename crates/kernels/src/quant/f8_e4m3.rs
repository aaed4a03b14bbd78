//! F8_E4M3: a sign, four bits of exponent and three of mantissa in a byte, as Hugging Face's FP8 checkpoints store. A factor
//! for each row lies in a tensor of its own (see [`Matrix::with_row_scales`](crate::matmul::Matrix::with_row_scales)).
//!
//! ```text
//! s eeee mmm
//! e = 0: x = m 2^-9      e > 0: x = (1 + m/8) 2^(e - 7)
//! ```
//!
//! There are no infinities: the largest code of either sign is NaN, the one below it 448 (Micikevicius et al., FP8 Formats
//! for Deep Learning, 2022; `float8_e4m3fn` elsewhere).

use super::{DType, Format};
use crate::half::f16_to_f32;
use crate::simd::Wide;

/// What the half of a code must be multiplied with: the two exponents are biased by 15 and by 7.
pub(crate) const OF_HALF: f32 = 256.0;

/// The half that is a code's value over [`OF_HALF`].
///
/// Exponent and mantissa move up to their places in the half, subnormals included. One half of all exponents is left over
/// above them; only a NaN's magnitude, all ones, carries into that bit, and with it the half is NaN as well.
#[inline(always)]
pub(crate) fn half_of(code: u8) -> u16 {
    let magnitude = ((code & 0x7f) as u16) << 7;
    let nan = (magnitude + 0x80) & 0x4000;
    ((code & 0x80) as u16) << 8 | nan | magnitude
}

/// The value of a code.
#[inline(always)]
pub(crate) fn e4m3_to_f32(code: u8) -> f32 {
    f16_to_f32(half_of(code)) * OF_HALF
}

/// The nearest code, ties to even; NaN from half a step past the largest on.
#[inline(always)]
pub(crate) fn f32_to_e4m3(x: f32) -> u8 {
    const SMALLEST_NORMAL: u32 = 0x3c80_0000; // 2^-6
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // Between 2^14 and 2^15 the steps of f32 are 2^-9, as those of subnormal codes: the sum rounds as wanted.
    let subnormal = (f32::from_bits(magnitude) + 16384.0).to_bits().wrapping_sub(16384f32.to_bits());
    let odd = (magnitude >> 20) & 1;
    let normal = magnitude.wrapping_sub(120 << 23).wrapping_add(0x7ffff + odd) >> 20;
    let code = if magnitude < SMALLEST_NORMAL { subnormal } else { normal.min(0x7f) };
    code as u8 | (x.to_bits() >> 24) as u8 & 0x80
}

#[allow(non_camel_case_types)]
pub(super) struct F8_E4M3;

impl Format for F8_E4M3 {
    const DTYPE: DType = DType::F8_E4M3;

    #[inline(always)]
    fn decode(bytes: &[u8], out: &mut [f32]) {
        for (b, x) in bytes.iter().zip(out) {
            *x = e4m3_to_f32(*b);
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, bytes: &[u8], out: &mut [f32]) {
        let ((codes, codes_rest), (out, out_rest)) = (bytes.as_chunks::<16>(), out.as_chunks_mut::<16>());
        for (codes, x) in codes.iter().zip(out) {
            let mut halves = [0; 32];
            for (code, half) in codes.iter().zip(halves.as_chunks_mut().0) {
                *half = half_of(*code).to_le_bytes();
            }
            w.store(w.mul(w.halves(&halves), w.splat(OF_HALF)), x);
        }
        Self::decode(codes_rest, out_rest);
    }

    #[inline(always)]
    fn encode(x: &[f32], bytes: &mut [u8]) {
        for (x, b) in x.iter().zip(bytes) {
            *b = f32_to_e4m3(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::quant::decode_with;

    /// The value of a code by the formula.
    fn definition(code: u8) -> f64 {
        let (exponent, mantissa) = ((code >> 3 & 15) as i32, (code & 7) as f64);
        let magnitude = match exponent {
            15 if mantissa == 7.0 => f64::NAN,
            0 => mantissa * 2f64.powi(-9),
            _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
        };
        if code < 0x80 { magnitude } else { -magnitude }
    }

    /// At every place of a vector and in every tail.
    #[test]
    fn fp8_codes_have_the_values_of_the_definition() {
        let codes: Vec<u8> = (0..=255).chain(0..=255).collect();
        assert_eq!((definition(0x7e), definition(1)), (448.0, 2f64.powi(-9)));
        for isa in Isa::available() {
            for start in 0..17 {
                for len in (0..40).chain([256, 271]) {
                    let codes = &codes[start..start + len];
                    let mut values = vec![7.0; len];
                    decode_with(isa, DType::F8_E4M3, codes, &mut values);
                    for (code, got) in codes.iter().zip(values) {
                        let want = definition(*code);
                        let same = got as f64 == want && got.is_sign_negative() == want.is_sign_negative();
                        assert!(same || got.is_nan() && want.is_nan(), "{code:#x} {}: {got}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn fp8_rounds_to_the_nearest_code_and_ties_to_even() {
        for code in 0..0x7eu8 {
            let (x, next) = (e4m3_to_f32(code), e4m3_to_f32(code + 1));
            let middle = (x + next) / 2.0;
            for (x, want) in [
                (x, code),
                (middle, code + (code & 1)),
                (f32::from_bits(middle.to_bits() - 1), code),
                (f32::from_bits(middle.to_bits() + 1), code + 1),
            ] {
                assert_eq!((f32_to_e4m3(x), f32_to_e4m3(-x)), (want, want | 0x80), "{x}");
            }
        }
        for (x, want) in [(464.0, 0x7e), (464.1, 0x7f), (f32::INFINITY, 0x7f), (f32::MAX, 0x7f), (1e-40, 0)] {
            assert_eq!((f32_to_e4m3(x), f32_to_e4m3(-x)), (want, want | 0x80), "{x}");
        }
        assert_eq!(f32_to_e4m3(f32::NAN) & 0x7f, 0x7f);
    }
}
