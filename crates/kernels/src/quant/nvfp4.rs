//! NVFP4: 64 elements in 36 bytes, each a 4-bit float, with an 8-bit float as scale per 16. A factor of the whole
//! matrix lies in a tensor of its own.
//!
//! ```text
//! d: 4 bytes, an E4M3 number without sign each
//! qs: 32 bytes, 8 per sub-block, element j in the low nibble of byte j, element j + 8 in the high one
//! x = (d / 2) CODES[q]
//! ```
//! The codes are the E2M1 values doubled, as those of MXFP4.

use super::coded::{Blocks, Coded, Unpacked, look_up, nibbles};
use super::format::{Format, part};
use super::mxfp4::{CODES, nearest_code};
use crate::dtype::DType;
use crate::simd::{CodeRange, Rows16, Wide};

pub(super) struct NVFP4;

impl Format for NVFP4 {
    const DTYPE: DType = DType::NVFP4;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<36>().0.iter().zip(out.as_chunks_mut::<64>().0) {
            for (s, x) in x.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let d = f32::from_bits(SCALES[block[s] as usize]);
                let qs = part::<8>(block, 4 + 8 * s);
                for j in 0..8 {
                    x[j] = CODES[(qs[j] & 15) as usize] as f32 * d;
                    x[j + 8] = CODES[(qs[j] >> 4) as usize] as f32 * d;
                }
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&CODES);
        for (block, x) in blocks.as_chunks::<36>().0.iter().zip(out.as_chunks_mut::<64>().0) {
            for (s, x) in x.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let d = w.splat(f32::from_bits(SCALES[block[s] as usize]));
                let qs = u64::from_le_bytes(*part(block, 4 + 8 * s));
                // All low nibbles, then all high ones.
                let bytes = qs as u128 | ((qs >> 4) as u128) << 64;
                w.store(w.lookup::<0>(&bytes.to_le_bytes(), table, |code| w.mul(code, d)), x);
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<64>().0.iter().zip(blocks.as_chunks_mut::<36>().0) {
            for (s, x) in x.as_chunks::<16>().0.iter().enumerate() {
                let largest = x.iter().fold(0f32, |max, x| if x.abs() > max { x.abs() } else { max });
                block[s] = nearest_scale(largest / 6.0);
                let d = f32::from_bits(SCALES[block[s] as usize]);
                for j in 0..8 {
                    block[4 + 8 * s + j] = nearest_code(x[j], d) | nearest_code(x[j + 8], d) << 4;
                }
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for NVFP4 {
    const SUB: usize = 16;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 12, max: 24 };
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let mut scales = blocks.word(0);
        for s in 0..4 {
            out.put_scale(s, r.float_bits(r.words(&SCALES, scales)));
            scales = r.shr_ints::<8>(scales);
        }
        for pair in 0..2 {
            let [[a, b, c, d], [e, f, g, h]] = nibbles(r, blocks.chunk(4 + 16 * pair));
            out.put_codes(2 * pair, [look_up(r, &SHIFTED, [a, b, e, f])]);
            out.put_codes(2 * pair + 1, [look_up(r, &SHIFTED, [c, d, g, h])]);
        }
    }
}

/// The values plus 12.
const SHIFTED: [u8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

/// The bits of half of what each byte of a scale stands for: three bits of mantissa below four of exponent, with
/// a bias of 7. The code that is no number elsewhere is 0; the uppermost bit says nothing beside others.
static SCALES: [u32; 256] = {
    let (mut scales, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let (exponent, mantissa) = (byte as i32 >> 3 & 15, byte as i32 & 7);
        // Half of 2^-9, the smallest number there is, and twice as much for each exponent above 1.
        let unit =
            f32::from_bits((127 - 10 + if exponent > 0 { exponent - 1 } else { 0 }) as u32 * (1 << 23));
        let value = (if exponent > 0 { 8 + mantissa } else { mantissa }) as f32 * unit;
        scales[byte] = if byte == 0x7f { 0 } else { value.to_bits() };
        byte += 1;
    }
    scales
};

/// The scale that ggml's reference takes for `x`: half of the last bit rounds up, smaller bits are ignored, and
/// with the largest exponent every number becomes the largest one, 448.
fn nearest_scale(x: f32) -> u8 {
    const LARGEST: u8 = 0x7e;
    if x.is_nan() || x <= 0.0 {
        return 0;
    }
    let bits = x.min(448.0).to_bits();
    let exponent = (bits >> 23) as i32 - 127 + 7;
    match exponent {
        ..=0 => ((x * 512.0 + 0.5) as u8).min(7),
        15.. => LARGEST,
        _ => {
            // A carry of the mantissa goes into the exponent.
            let code = ((exponent as u32) << 3 | bits >> 20 & 7) + (bits >> 19 & 1);
            if code >> 3 >= 15 { LARGEST } else { code as u8 }
        }
    }
}
