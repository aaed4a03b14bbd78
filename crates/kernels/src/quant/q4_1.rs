//! Q4_1: 32 elements in 20 bytes, four bits each above a minimum.
//!
//! ```text
//! d: f16 | m: f16 | qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = d q + m
//! ```

use super::coded::{Blocks, Coded, Unpacked, nibbles, two_halves};
use super::fit::range;
use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q4_1;

impl Format for Q4_1 {
    const DTYPE: DType = DType::Q4_1;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let (d, m) = (f16_at(block, 0), f16_at(block, 2));
            for j in 0..16 {
                let byte = block[4 + j];
                x[j] = (byte & 15) as f32 * d + m;
                x[j + 16] = (byte >> 4) as f32 * d + m;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&std::array::from_fn(|q| q as i8));
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.half(part(block, 0));
            let m = w.half(part(block, 2));
            let qs = part(block, 4);
            let value = |code| w.add(w.mul(code, d), m);
            w.store_pair([w.lookup::<0>(qs, table, value), w.lookup::<4>(qs, table, value)], x);
        }
    }

    #[inline(always)]
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<20>().0) {
            let (min, max) = range(x);
            let d = (max - min) / 15.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            put_f16(block, 0, d);
            put_f16(block, 2, min);
            let q = |x: f32| (((x - min) * inverse + 0.5) as u8).min(15);
            for j in 0..16 {
                block[4 + j] = q(x[j]) | q(x[j + 16]) << 4;
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q4_1 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 0, max: 15 };
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        out.put_codes(0, nibbles(r, blocks.chunk(4)));
        let [d, m] = two_halves(r, blocks.word(0));
        out.put_scale(0, d);
        out.put_minimum(0, m);
    }
}
