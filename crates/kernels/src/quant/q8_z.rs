//! Q8_Z: 32 elements in 36 bytes, eight bits each around a zero of their own. It holds what GPTQ checkpoints
//! of eight bits store, row after row; no file has it.
//!
//! ```text
//! d: f16 | zero: u16, 0 to 256 | qs: 32 bytes
//! x = d (q - zero), exactly: d has 11 bits, the rest 9
//! ```

use super::fit::range;
use super::format::Format;
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::Wide;

#[allow(non_camel_case_types)]
pub(super) struct Q8_Z;

impl Format for Q8_Z {
    const DTYPE: DType = DType::Q8_Z;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<36>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let (d, zero) = (f16_at(block, 0), u16::from_le_bytes([block[2], block[3]]) as i32);
            for (q, x) in block[4..].iter().zip(x) {
                *x = (*q as i32 - zero) as f32 * d;
            }
        }
    }

    /// What the compiler makes of the definition is good enough.
    #[inline(always)]
    fn decode_wide<W: Wide>(_: W, blocks: &[u8], out: &mut [f32]) {
        Self::decode(blocks, out);
    }

    #[inline(always)]
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<36>().0) {
            let (min, max) = range(x);
            let d = (max.max(0.0) - min.min(0.0)) / 255.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            let zero = (-min.min(0.0) * inverse).round();
            put_f16(block, 0, d);
            block[2..4].copy_from_slice(&(zero as u16).to_le_bytes());
            for (x, q) in x.iter().zip(&mut block[4..]) {
                *q = ((x * inverse).round() + zero).clamp(0.0, 255.0) as u8;
            }
        }
    }
}
