//! Q4_F: 32 elements in 20 bytes, four bits each around zero, with a scale that is a whole float. It holds
//! what Meta's quantised Llama 3.2 stores in several tensors, row after row; no file has it.
//!
//! ```text
//! d: f32 | qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = d (q - 8)
//! ```

use super::coded::{Blocks, Coded, Unpacked, nibbles};
use super::fit::{inverse, largest_magnitude};
use super::format::{Format, part};
use crate::dtype::DType;
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q4_F;

impl Format for Q4_F {
    const DTYPE: DType = DType::Q4_F;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = f32::from_le_bytes(*part(block, 0));
            for j in 0..16 {
                let byte = block[4 + j];
                x[j] = ((byte & 15) as i32 - 8) as f32 * d;
                x[j + 16] = ((byte >> 4) as i32 - 8) as f32 * d;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&std::array::from_fn(|q| q as i8 - 8));
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.splat(f32::from_le_bytes(*part(block, 0)));
            let qs = part(block, 4);
            let value = |code| w.mul(code, d);
            w.store_pair([w.lookup::<0>(qs, table, value), w.lookup::<4>(qs, table, value)], x);
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<20>().0) {
            let d = largest_magnitude(x) / -8.0;
            block[..4].copy_from_slice(&d.to_le_bytes());
            let inverse = inverse(d);
            let q = |x: f32| ((x * inverse).round() + 8.0).clamp(0.0, 15.0) as u8;
            for j in 0..16 {
                block[4 + j] = q(x[j]) | q(x[j + 16]) << 4;
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q4_F {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 8, max: 15 };
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        out.put_codes(0, nibbles(r, blocks.chunk(4)));
        out.put_scale(0, r.float_bits(blocks.word(0)));
    }
}
