//! Q4_0: 32 elements in 18 bytes, four bits each around zero.
//!
//! ```text
//! d: f16 | qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = d (q - 8)
//! ```

use super::coded::{Blocks, Coded, Unpacked, nibbles};
use super::fit::largest_magnitude;
use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q4_0;

const CODES: [i8; 16] = [-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7];

impl Format for Q4_0 {
    const DTYPE: DType = DType::Q4_0;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<18>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = f16_at(block, 0);
            for j in 0..16 {
                let byte = block[2 + j];
                x[j] = ((byte & 15) as i32 - 8) as f32 * d;
                x[j + 16] = ((byte >> 4) as i32 - 8) as f32 * d;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&CODES);
        for (block, x) in blocks.as_chunks::<18>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.half(part(block, 0));
            let qs = part(block, 2);
            let value = |code| w.mul(code, d);
            w.store_pair([w.lookup::<0>(qs, table, value), w.lookup::<4>(qs, table, value)], x);
        }
    }

    #[inline(always)]
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<18>().0) {
            let d = largest_magnitude(x) / -8.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            put_f16(block, 0, d);
            let q = |x: f32| ((x * inverse + 8.5) as u8).min(15);
            for j in 0..16 {
                block[2 + j] = q(x[j]) | q(x[j + 16]) << 4;
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q4_0 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 8, max: 15 };
    const MINIMA: bool = false;
    const HALF_SCALES: bool = true;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        out.put_scale(0, blocks.half(0));
        out.put_codes(0, nibbles(r, blocks.chunk(2)));
    }
}
