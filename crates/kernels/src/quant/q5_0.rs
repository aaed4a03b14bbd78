//! Q5_0: 32 elements in 22 bytes, five bits each around zero.
//!
//! ```text
//! d: f16 | qh: u32, bit i is the fifth bit of element i
//! qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = d (q - 16)
//! ```

use super::coded::{Blocks, Coded, Unpacked, fifth_bits, nibbles};
use super::fit::largest_magnitude;
use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q5_0;

impl Format for Q5_0 {
    const DTYPE: DType = DType::Q5_0;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<22>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = f16_at(block, 0);
            let qh = u32::from_le_bytes(*part(block, 2));
            for j in 0..16 {
                let byte = block[6 + j] as u32;
                let low = (byte & 15) | ((qh >> j) & 1) << 4;
                let high = (byte >> 4) | ((qh >> (j + 16)) & 1) << 4;
                x[j] = (low as i32 - 16) as f32 * d;
                x[j + 16] = (high as i32 - 16) as f32 * d;
            }
        }
    }

    /// Where the fifth bit is clear, q - 16 is the nibble under four set bits, read as a signed byte.
    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<22>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.half(part(block, 0));
            let qh = u32::from_le_bytes(*part(block, 2));
            let q = w.or(w.nibbles(part(block, 6)), w.and(w.masks(!qh), 0xf0));
            let [first, second] = w.widen(q);
            w.store_pair([w.mul(first, d), w.mul(second, d)], x);
        }
    }

    #[inline(always)]
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<22>().0) {
            let d = largest_magnitude(x) / -16.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            put_f16(block, 0, d);
            let q = x.map(|x| ((x * inverse + 16.5) as u8).min(31));
            put_five_bits(&q, &mut block[2..]);
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q5_0 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 16, max: 31 };
    const MINIMA: bool = false;
    const HALF_SCALES: bool = true;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let mut q = nibbles(r, blocks.chunk(6));
        let qh = blocks.word(2);
        for (i, q) in q.as_flattened_mut().iter_mut().enumerate() {
            *q = r.or(*q, fifth_bits(r, qh, i));
        }
        out.put_codes(0, q);
        out.put_scale(0, blocks.half(0));
    }
}

/// Writes 5-bit numbers as Q5_0 and Q5_1 have them: the fifth bits in a word, then the nibbles.
#[inline(always)]
pub(super) fn put_five_bits(q: &[u8; 32], out: &mut [u8]) {
    let qh = (0..32).fold(0u32, |bits, i| bits | ((q[i] >> 4) as u32) << i);
    out[..4].copy_from_slice(&qh.to_le_bytes());
    for j in 0..16 {
        out[4 + j] = (q[j] & 15) | (q[j + 16] & 15) << 4;
    }
}
