//! MXFP4 (OCP Microscaling): 32 elements in 17 bytes, each a 4-bit float, with a power of two as scale.
//!
//! ```text
//! e: u8 | qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = 2^(e - 128) CODES[q]
//! ```
//! The codes are the E2M1 values doubled, so that they are integers, and the scale is half the E8M0 one.

use super::coded::{Blocks, Coded, Unpacked, look_up, nibbles};
use super::format::{Format, part};
use crate::dtype::DType;
use crate::simd::{CodeRange, Rows16, Wide};

pub(super) struct MXFP4;

pub(super) const CODES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

impl Format for MXFP4 {
    const DTYPE: DType = DType::MXFP4;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<17>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = scale(block[0]);
            for j in 0..16 {
                let byte = block[1 + j];
                x[j] = CODES[(byte & 15) as usize] as f32 * d;
                x[j + 16] = CODES[(byte >> 4) as usize] as f32 * d;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&CODES);
        for (block, x) in blocks.as_chunks::<17>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.splat(scale(block[0]));
            let qs = part(block, 1);
            let value = |code| w.mul(code, d);
            w.store_pair([w.lookup::<0>(qs, table, value), w.lookup::<4>(qs, table, value)], x);
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<17>().0) {
            let largest = x.iter().fold(0f32, |max, x| if x.abs() > max { x.abs() } else { max });
            let e = if largest == 0.0 { 0 } else { (floor_log2(largest) - 2 + 127).clamp(0, 254) as u8 };
            block[0] = e;
            let d = scale(e);
            for j in 0..16 {
                block[1 + j] = nearest_code(x[j], d) | nearest_code(x[j + 16], d) << 4;
            }
        }
    }
}

/// The values plus 16.
const SHIFTED: [u8; 16] = [16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4];

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for MXFP4 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 16, max: 28 };
    const MINIMA: bool = false;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let [low, high] = nibbles(r, blocks.chunk(1));
        out.put_codes(0, [look_up(r, &SHIFTED, low), look_up(r, &SHIFTED, high)]);
        // 2^(e - 128) as the product of two powers, neither of which leaves the normal numbers.
        let e = blocks.byte(0);
        let half = r.shr_ints::<1>(e);
        let other_half = r.shr_ints::<1>(r.add_ints(e, 1));
        let first = r.float_bits(r.shl_ints::<23>(r.add_ints(half, 63)));
        let second = r.float_bits(r.shl_ints::<23>(r.add_ints(other_half, 63)));
        out.put_scale(0, r.mul_floats(first, second));
    }
}

/// 2^(e - 128), of which the two smallest are subnormal.
#[inline(always)]
fn scale(e: u8) -> f32 {
    let bits = if e < 2 { 0x0020_0000 << e } else { (e as u32 - 1) << 23 };
    f32::from_bits(bits)
}

/// The exponent of a positive float.
fn floor_log2(x: f32) -> i32 {
    // No f32 is subnormal as f64.
    ((x as f64).to_bits() >> 52) as i32 - 1023
}

/// The code whose value under scale `d` is nearest to `x`; the first of equals.
pub(super) fn nearest_code(x: f32, d: f32) -> u8 {
    let distance = |code: usize| (CODES[code] as f32 * d - x).abs();
    (1..16).fold(0, |best, code| if distance(code) < distance(best) { code } else { best }) as u8
}
