//! NF4 and FP4, as bitsandbytes has them: 32 elements in 20 bytes, each one of sixteen floats times a scale.
//! They hold what its checkpoints store in several tensors; no file has them.
//!
//! ```text
//! d: f32 | qs: 16 bytes, element j in the low nibble of byte j, element j + 16 in the high one
//! x = d CODES[q]
//! ```
//! The values of NF4 are quantiles of the normal distribution (Dettmers et al., QLoRA, 2023, appendix E);
//! those of FP4 a sign, two bits of exponent and one of mantissa, over the largest, 12. Neither are multiples
//! of one number. Products in whole numbers take the nearest multiples of 1 / `UNITS`, which are off by at most
//! 0.004 and, over the sixteen, by 0.0017 in the mean square (NF4): a third of a percent of the weights, and less than rounding the
//! activations to eight bits is off.

use std::marker::PhantomData;

use super::coded::{Blocks, Coded, Unpacked, look_up, nibbles};
use super::format::{Format, part};
use crate::dtype::DType;
use crate::simd::{CodeRange, Rows16, Wide};

/// The sixteen values of a format.
pub(super) trait Codes {
    const DTYPE: DType;
    const CODES: [f32; 16];
    /// Units of a whole-number product in 1: no more than 127, and those that the values are nearest to multiples of.
    const UNITS: f32;
    /// The values in units, plus 128.
    const SHIFTED: [u8; 16] = {
        let (mut shifted, mut i) = ([0; 16], 0);
        while i < 16 {
            shifted[i] = ((Self::CODES[i] * Self::UNITS).round_ties_even() as i16 + 128) as u8;
            i += 1;
        }
        shifted
    };
}

/// Those of NF4.
pub(super) struct Quantiles;

impl Codes for Quantiles {
    const DTYPE: DType = DType::NF4;
    #[allow(clippy::excessive_precision)] // As published.
    const CODES: [f32; 16] = [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ];
    const UNITS: f32 = 112.03;
}

/// Those of FP4.
pub(super) struct Floats;

impl Codes for Floats {
    const DTYPE: DType = DType::FP4;
    const CODES: [f32; 16] = {
        let twelfths = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0];
        let (mut codes, mut i) = ([0.0; 16], 0);
        while i < 8 {
            codes[i] = twelfths[i] / 12.0;
            codes[i + 8] = -codes[i];
            i += 1;
        }
        codes
    };
    /// All values but the smallest, 1 / 192, are multiples.
    const UNITS: f32 = 120.0;
}

/// Codes and a scale.
pub(super) struct Table<T>(PhantomData<T>);

pub(super) type NF4 = Table<Quantiles>;
pub(super) type FP4 = Table<Floats>;

impl<T: Codes> Format for Table<T> {
    const DTYPE: DType = T::DTYPE;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = f32::from_le_bytes(*part(block, 0));
            for j in 0..16 {
                let byte = block[4 + j];
                x[j] = T::CODES[(byte & 15) as usize] * d;
                x[j + 16] = T::CODES[(byte >> 4) as usize] * d;
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let d = w.splat(f32::from_le_bytes(*part(block, 0)));
            let qs = part(block, 4);
            let [low, high] = [w.pick::<0>(qs, &T::CODES), w.pick::<4>(qs, &T::CODES)];
            w.store_pair([w.mul(low, d), w.mul(high, d)], x);
        }
    }

    fn decode_rounded(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let unit = f32::from_le_bytes(*part(block, 0)) * (1.0 / T::UNITS);
            let value = |code: u8| (T::SHIFTED[code as usize] as f32 - 128.0) * unit;
            for j in 0..16 {
                x[j] = value(block[4 + j] & 15);
                x[j + 16] = value(block[4 + j] >> 4);
            }
        }
    }

    /// Scaled by the largest magnitude, then the nearest value; the first of equals.
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<20>().0) {
            let d = x.iter().fold(0f32, |max, x| if x.abs() > max { x.abs() } else { max });
            block[..4].copy_from_slice(&d.to_le_bytes());
            let nearest = |x: f32| {
                let distance = |code: usize| (T::CODES[code] * d - x).abs();
                (1..16).fold(0, |best, code| if distance(code) < distance(best) { code } else { best }) as u8
            };
            for j in 0..16 {
                block[4 + j] = nearest(x[j]) | nearest(x[j + 16]) << 4;
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl<T: Codes> Coded for Table<T> {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 128, max: 255 };
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let [low, high] = nibbles(r, blocks.chunk(4));
        out.put_codes(0, [look_up(r, &T::SHIFTED, low), look_up(r, &T::SHIFTED, high)]);
        let d = r.float_bits(blocks.word(0));
        out.put_scale(0, r.mul_floats(d, r.splat_float(1.0 / T::UNITS)));
    }
}
