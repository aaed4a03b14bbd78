//! Q8_0: 32 elements in 34 bytes, eight bits each around zero. Also what the KV cache can be stored in.
//!
//! ```text
//! d: f16 | qs: 32 signed bytes
//! x = d q
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Scalar, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q8_0;

impl Format for Q8_0 {
    const DTYPE: DType = DType::Q8_0;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<34>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = f16_at(block, 0);
            for j in 0..32 {
                x[j] = (block[2 + j] as i8) as f32 * d;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<34>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.half(part(block, 0));
            let [first, second] = w.widen(w.bytes(part(block, 2)));
            w.store_pair([w.mul(first, d), w.mul(second, d)], x);
        }
    }

    #[inline(always)]
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<34>().0) {
            let inverse = put_scale(Scalar.max_magnitude(x), block);
            block[2..].copy_from_slice(&Scalar.scaled_to_bytes(x, inverse));
        }
    }

    #[inline(always)]
    fn encode_wide<W: Wide>(w: W, x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<34>().0) {
            let inverse = put_scale(w.max_magnitude(x), block);
            block[2..].copy_from_slice(&w.scaled_to_bytes(x, inverse));
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q8_0 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 128, max: 255 };
    const MINIMA: bool = false;
    const HALF_SCALES: bool = true;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        out.put_scale(0, blocks.half(0));
        let mut codes = blocks.two_chunks(2);
        for code in codes.as_flattened_mut() {
            *code = r.xor(*code, 128);
        }
        out.put_codes(0, codes);
    }
}

/// Writes the scale of a block whose largest magnitude is given, and returns what to multiply elements by.
///
/// A NaN makes the scale NaN, and with it the whole block: it is not hidden.
#[inline(always)]
fn put_scale(largest: f32, block: &mut [u8]) -> f32 {
    let d = largest / 127.0;
    put_f16(block, 0, d);
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}
