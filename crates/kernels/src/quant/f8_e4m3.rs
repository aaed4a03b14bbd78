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
