//! F8_E4M3: a sign, four bits of exponent and three of mantissa in a byte, as Hugging Face's FP8 checkpoints
//! store. A factor for each row lies in a tensor of its own (see
//! [`Matrix::with_row_scales`](crate::matmul::Matrix::with_row_scales)).
//!
//! ```text
//! s eeee mmm
//! e = 0: x = m 2^-9      e > 0: x = (1 + m/8) 2^(e - 7)
//! ```
//!
//! There are no infinities: the largest code of either sign is NaN, the one below it 448 (Micikevicius et
//! al., FP8 Formats for Deep Learning, 2022; `float8_e4m3fn` elsewhere).

use super::format::Format;
use crate::dtype::DType;
use crate::half::{OF_HALF, e4m3_to_f32, f32_to_e4m3, half_of};
use crate::simd::Wide;

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
}
