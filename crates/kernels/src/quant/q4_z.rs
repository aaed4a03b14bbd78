//! Q4_Z: 32 elements in 20 bytes, four bits each around a zero of their own. It holds what GPTQ and AWQ
//! checkpoints store, row after row; no file has it.
//!
//! ```text
//! d: f16 | zero: u8, 0 to 16 | 0 | qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = d (q - zero), exactly: d has 11 bits, the rest 5
//! ```

use super::coded::{Blocks, Coded, Unpacked, nibbles};
use super::fit::range;
use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q4_Z;

impl Format for Q4_Z {
    const DTYPE: DType = DType::Q4_Z;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let (d, zero) = (f16_at(block, 0), block[2] as f32);
            for j in 0..16 {
                let byte = block[4 + j];
                x[j] = ((byte & 15) as f32 - zero) * d;
                x[j + 16] = ((byte >> 4) as f32 - zero) * d;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&std::array::from_fn(|q| q as i8));
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let (d, zero) = (w.half(part(block, 0)), w.splat(block[2] as f32));
            let qs = part(block, 4);
            let value = |code| w.mul(w.sub(code, zero), d);
            w.store_pair([w.lookup::<0>(qs, table, value), w.lookup::<4>(qs, table, value)], x);
        }
    }

    #[inline(always)]
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<20>().0) {
            let (min, max) = range(x);
            let d = (max.max(0.0) - min.min(0.0)) / 15.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            let zero = (-min.min(0.0) * inverse).round();
            put_f16(block, 0, d);
            (block[2], block[3]) = (zero as u8, 0);
            let q = |x: f32| ((x * inverse).round() + zero).clamp(0.0, 15.0) as u8;
            for j in 0..16 {
                block[4 + j] = q(x[j]) | q(x[j + 16]) << 4;
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q4_Z {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 0, max: 15 };
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        out.put_codes(0, nibbles(r, blocks.chunk(4)));
        let word = blocks.word(0);
        let d = r.halves(word);
        let zero = r.to_floats(r.and_ints(r.shr_ints::<16>(word), 0xff));
        out.put_scale(0, d);
        // Exact, like everything of this format.
        out.put_minimum(0, r.mul_floats(r.mul_floats(zero, d), r.splat_float(-1.0)));
    }
}
