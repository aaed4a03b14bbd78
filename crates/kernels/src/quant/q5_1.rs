//! Q5_1: 32 elements in 24 bytes, five bits each above a minimum.
//!
//! ```text
//! d: f16 | m: f16 | qh: u32, bit i is the fifth bit of element i
//! qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = d q + m
//! ```

use super::coded::{Blocks, Coded, Unpacked, fifth_bits, nibbles, two_halves};
use super::fit::range;
use super::format::{Format, part};
use super::q5_0::put_five_bits;
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q5_1;

impl Format for Q5_1 {
    const DTYPE: DType = DType::Q5_1;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<24>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let (d, m) = (f16_at(block, 0), f16_at(block, 2));
            let qh = u32::from_le_bytes(*part(block, 4));
            for j in 0..16 {
                let byte = block[8 + j] as u32;
                let low = (byte & 15) | ((qh >> j) & 1) << 4;
                let high = (byte >> 4) | ((qh >> (j + 16)) & 1) << 4;
                x[j] = low as f32 * d + m;
                x[j + 16] = high as f32 * d + m;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<24>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.half(part(block, 0));
            let m = w.half(part(block, 2));
            let qh = u32::from_le_bytes(*part(block, 4));
            let q = w.or(w.nibbles(part(block, 8)), w.and(w.masks(qh), 0x10));
            let [first, second] = w.widen(q);
            w.store_pair([w.add(w.mul(first, d), m), w.add(w.mul(second, d), m)], x);
        }
    }

    #[inline(always)]
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<24>().0) {
            let (min, max) = range(x);
            let d = (max - min) / 31.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            put_f16(block, 0, d);
            put_f16(block, 2, min);
            // The reference has no upper bound here; only values that are not finite would reach it.
            let q = x.map(|x| (((x - min) * inverse + 0.5) as u8).min(31));
            put_five_bits(&q, &mut block[4..]);
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q5_1 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 0, max: 31 };
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let mut q = nibbles(r, blocks.chunk(8));
        let qh = blocks.word(4);
        for (i, q) in q.as_flattened_mut().iter_mut().enumerate() {
            *q = r.or(*q, fifth_bits(r, qh, i));
        }
        out.put_codes(0, q);
        let [d, m] = two_halves(r, blocks.word(0));
        out.put_scale(0, d);
        out.put_minimum(0, m);
    }
}
