//! IQ4_NL: 32 elements in 18 bytes, each one of sixteen unevenly spaced values.
//!
//! ```text
//! d: f16 | qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = d CODES[q]
//! ```

use super::coded::{Blocks, Coded, Unpacked, look_up, nibbles};
use super::fit::{NEGLIGIBLE, inverse, largest_magnitude};
use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct IQ4_NL;

/// What the codes of IQ4_NL and IQ4_XS stand for.
pub const CODES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl Format for IQ4_NL {
    const DTYPE: DType = DType::IQ4_NL;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<18>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = f16_at(block, 0);
            for j in 0..16 {
                let byte = block[2 + j];
                x[j] = d * CODES[(byte & 15) as usize] as f32;
                x[j + 16] = d * CODES[(byte >> 4) as usize] as f32;
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

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<18>().0) {
            let d = fit(x);
            put_f16(block, 0, d);
            let inverse = inverse(d);
            for j in 0..16 {
                block[2 + j] = nearest_code(x[j] * inverse) | nearest_code(x[j + 16] * inverse) << 4;
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ4_NL {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 128, max: 255 };
    const MINIMA: bool = false;
    const HALF_SCALES: bool = true;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let [low, high] = nibbles(r, blocks.chunk(2));
        out.put_codes(0, [look_up(r, &SHIFTED, low), look_up(r, &SHIFTED, high)]);
        out.put_scale(0, blocks.half(0));
    }
}

/// The values plus 128.
pub(super) const SHIFTED: [u8; 16] = {
    let mut shifted = [0; 16];
    let mut i = 0;
    while i < 16 {
        shifted[i] = (CODES[i] as i16 + 128) as u8;
        i += 1;
    }
    shifted
};

/// The code whose value is nearest to `x`; the upper one of equals.
pub fn nearest_code(x: f32) -> u8 {
    // The code's number is how many midpoints lie at or below x.
    CODES.windows(2).filter(|pair| x >= (pair[0] as f32 + pair[1] as f32) / 2.0).count() as u8
}

/// The scale for 32 elements: the best of sixteen near the one that gives the largest element a code at the
/// end.
pub(super) fn fit(x: &[f32; 32]) -> f32 {
    let largest = largest_magnitude(x);
    if largest.abs() < NEGLIGIBLE {
        return 0.0;
    }
    let first_code = CODES[0] as f32;
    let try_steps = |steps: f32| {
        let (mut sum_qx, mut sum_q2) = (0f32, 0f32);
        for &x in x {
            let (w, q) = (x * x, CODES[nearest_code(steps * x) as usize] as f32);
            sum_qx += w * q * x;
            sum_q2 += w * q * q;
        }
        (sum_qx, sum_q2)
    };
    let (sum_qx, sum_q2) = try_steps(1.0 / (-largest / first_code));
    let mut d = sum_qx / sum_q2;
    let mut best = d * sum_qx;
    for t in -7..=7 {
        let (sum_qx, sum_q2) = try_steps((t as f32 + first_code) / largest);
        if sum_q2 > 0.0 && sum_qx * sum_qx > best * sum_q2 {
            d = sum_qx / sum_q2;
            best = d * sum_qx;
        }
    }
    d
}
