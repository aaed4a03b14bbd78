//! F8_B: 32 elements of [F8_E4M3](super::f8_e4m3) in 36 bytes, with a float as scale. It holds what FP8
//! checkpoints with scales of blocks store in two tensors; no file has it.
//!
//! ```text
//! d: f32 | qs: 32 bytes
//! x = d e4m3(q)
//! ```

use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{OF_HALF, e4m3_to_f32, f32_to_e4m3, half_of};
use crate::simd::Wide;

#[allow(non_camel_case_types)]
pub(super) struct F8_B;

impl Format for F8_B {
    const DTYPE: DType = DType::F8_B;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<36>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = f32::from_le_bytes(*part(block, 0));
            for (x, q) in x.iter_mut().zip(&block[4..]) {
                *x = e4m3_to_f32(*q) * d;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<36>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.splat(f32::from_le_bytes(*part(block, 0)));
            let mut halves = [0; 64];
            for (q, half) in block[4..].iter().zip(halves.as_chunks_mut().0) {
                *half = half_of(*q).to_le_bytes();
            }
            let of_half = w.splat(OF_HALF);
            let first = w.mul(w.mul(w.halves(part(&halves, 0)), of_half), d);
            let second = w.mul(w.mul(w.halves(part(&halves, 32)), of_half), d);
            w.store_pair([first, second], x);
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<36>().0) {
            let largest = x.iter().fold(0f32, |max, x| if x.abs() > max { x.abs() } else { max });
            let d = largest / 448.0;
            block[..4].copy_from_slice(&d.to_le_bytes());
            let inverse = if d.is_normal() { 1.0 / d } else { 0.0 };
            for (x, q) in x.iter().zip(&mut block[4..]) {
                *q = f32_to_e4m3(x * inverse);
            }
        }
    }
}
