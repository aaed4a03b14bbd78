//! The plain float types: f32, f16 and bf16 in little-endian bytes.

use super::format::Format;
use crate::dtype::DType;
use crate::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::simd::Wide;

pub(super) struct F32;

impl Format for F32 {
    const DTYPE: DType = DType::F32;

    #[inline(always)]
    fn decode(bytes: &[u8], out: &mut [f32]) {
        for (b, x) in bytes.as_chunks().0.iter().zip(out) {
            *x = f32::from_le_bytes(*b);
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(_: W, bytes: &[u8], out: &mut [f32]) {
        Self::decode(bytes, out); // A copy; the compiler's is the best.
    }

    #[inline(always)]
    fn encode(x: &[f32], bytes: &mut [u8]) {
        for (x, b) in x.iter().zip(bytes.as_chunks_mut().0) {
            *b = x.to_le_bytes();
        }
    }
}

pub(super) struct F16;

impl Format for F16 {
    const DTYPE: DType = DType::F16;

    #[inline(always)]
    fn decode(bytes: &[u8], out: &mut [f32]) {
        for (b, x) in bytes.as_chunks().0.iter().zip(out) {
            *x = f16_to_f32(u16::from_le_bytes(*b));
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, bytes: &[u8], out: &mut [f32]) {
        let ((bytes, bytes_rest), (out, out_rest)) = (bytes.as_chunks::<32>(), out.as_chunks_mut::<16>());
        for (b, x) in bytes.iter().zip(out) {
            w.store(w.halves(b), x);
        }
        Self::decode(bytes_rest, out_rest);
    }

    #[inline(always)]
    fn encode(x: &[f32], bytes: &mut [u8]) {
        for (x, b) in x.iter().zip(bytes.as_chunks_mut().0) {
            *b = f32_to_f16(*x).to_le_bytes();
        }
    }

    #[inline(always)]
    fn encode_wide<W: Wide>(w: W, x: &[f32], bytes: &mut [u8]) {
        let ((x, x_rest), (bytes, bytes_rest)) = (x.as_chunks::<16>(), bytes.as_chunks_mut::<32>());
        for (x, b) in x.iter().zip(bytes) {
            *b = w.to_halves(x);
        }
        Self::encode(x_rest, bytes_rest);
    }
}

pub(super) struct BF16;

impl Format for BF16 {
    const DTYPE: DType = DType::BF16;

    #[inline(always)]
    fn decode(bytes: &[u8], out: &mut [f32]) {
        for (b, x) in bytes.as_chunks().0.iter().zip(out) {
            *x = bf16_to_f32(u16::from_le_bytes(*b));
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(_: W, bytes: &[u8], out: &mut [f32]) {
        Self::decode(bytes, out); // A widening shift, which the compiler vectorises as well as can be.
    }

    #[inline(always)]
    fn encode(x: &[f32], bytes: &mut [u8]) {
        for (x, b) in x.iter().zip(bytes.as_chunks_mut().0) {
            *b = f32_to_bf16(*x).to_le_bytes();
        }
    }
}
