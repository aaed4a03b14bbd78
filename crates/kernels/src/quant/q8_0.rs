//! Q8_0: 32 elements in 34 bytes, eight bits each around zero. Also what the KV cache can be stored in.
//!
//! ```text
//! d: f16 | qs: 32 signed bytes
//! x = d q
//! ```

use super::int8::{Blocks, Int8, Unpacked};
use super::{DType, Format, part};
use crate::half::{f16_at, put_f16};
use crate::simd::{Codes, Rows16, Wide};

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
            let inverse = put_scale(max_magnitude(x), block);
            for j in 0..32 {
                block[2 + j] = round_half_away(x[j] * inverse) as u8;
            }
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
unsafe impl Int8 for Q8_0 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: Codes = Codes { zero: 128, max: 255 };
    const MINIMA: bool = false;
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

/// The largest magnitude, or NaN if there is one: magnitudes are ordered as their bits are, NaN above all.
#[inline(always)]
pub(crate) fn max_magnitude(x: &[f32; 32]) -> f32 {
    f32::from_bits(x.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff)))
}

/// The nearest integer, halves away from zero, of a number little above 127 at most; 0 for NaN.
///
/// Truncation after adding a half would be one off just below a half; adding the float before it is right there too
/// and, for a half itself, rounds up to the next integer.
#[inline(always)]
pub(crate) fn round_half_away(x: f32) -> i8 {
    (x + BELOW_HALF.copysign(x)) as i32 as i8
}

/// The float before 0.5.
pub(crate) const BELOW_HALF: f32 = 0.5f32.next_down();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_standard_library() {
        for i in -2_080_000..2_080_000 {
            let x = i as f32 / 16384.0;
            assert_eq!(round_half_away(x) as f32, x.round());
        }
        for n in -126..126 {
            let half = n as f32 + 0.5;
            for x in [half.next_down(), half, half.next_up()] {
                assert_eq!(round_half_away(x) as f32, x.round());
            }
        }
    }
}
