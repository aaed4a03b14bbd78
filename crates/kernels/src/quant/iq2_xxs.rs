//! IQ2_XXS: 256 elements in 66 bytes, eight at a time a point of a lattice of 256 with an even number of minus
//! signs, with a 4-bit scale per 32.
//!
//! ```text
//! d: f16 | of each sub-block: four points, then a word: four times seven signs and, uppermost, the scale
//! x = (d (scale + 1/2) / 4) ±level
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::{Format, part};
use super::lattice::{
    self, EVEN_SIGNS, IQ2_CODES, IQ2_LEVELS, IQ2_RANGE, eight_codes, even_signs, fit, from_each_seven,
    nearest_signed, odd_field, put_signed, unit_of,
};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct IQ2_XXS;

impl Format for IQ2_XXS {
    const DTYPE: DType = DType::IQ2_XXS;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<66>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 0);
            for (b, x) in x.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let points = part::<4>(block, 2 + 8 * b);
                let word = u32::from_le_bytes(*part(block, 6 + 8 * b));
                let db = d * (0.5 + (word >> 28) as f32) * 0.25;
                for (j, x) in x.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                    let point = lattice::IQ2_XXS.words.get(points[j] as usize);
                    put_signed(point, &IQ2_LEVELS, even_signs(word >> (7 * j)), db, x);
                }
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        let nearest = |x: &[f32], scale| nearest_signed(&lattice::IQ2_XXS, &IQ2_LEVELS, x, scale, true);
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<66>().0) {
            let (x, _) = x.as_chunks::<32>();
            let scales: [f32; 8] =
                std::array::from_fn(|b| fit(&x[b], 43.0, |x, scale| nearest(x, scale).values));
            let eighth = put_f16(block, 0, 8.0 * unit_of(&scales, 31.0)) / 8.0;
            for (b, x) in x.iter().enumerate() {
                let field = odd_field(scales[b], eighth, 15);
                let mut word = (field as u32) << 28;
                for (j, x) in x.as_chunks::<8>().0.iter().enumerate() {
                    let found = nearest(x, eighth * (2 * field + 1) as f32);
                    block[2 + 8 * b + j] = found.points[0] as u8;
                    word |= (found.signs as u32 & 127) << (7 * j);
                }
                block[6 + 8 * b..10 + 8 * b].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ2_XXS {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = IQ2_RANGE;
    const MINIMA: bool = false;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let eighth = r.mul_floats(blocks.half(0), r.splat_float(0.125));
        for pair in 0..4 {
            let [points_a, word_a, points_b, word_b] = blocks.chunk(2 + 16 * pair);
            for (odd, points, word) in [(0, points_a, word_a), (1, points_b, word_b)] {
                let (points, word) = (r.ints(points), r.ints(word));
                out.put_field(r, 2 * pair + odd, eighth, r.shr_ints::<28>(word));
                let points = r.four_words(&lattice::IQ2_XXS.words, points, points);
                let signs = from_each_seven(r, word);
                let mut codes = [[points_a; 4]; 2];
                for j in 0..4 {
                    let pair = eight_codes(r, points[j], signs[j], &EVEN_SIGNS, &IQ2_CODES);
                    codes.as_flattened_mut()[2 * j..2 * j + 2].copy_from_slice(&pair);
                }
                out.put_codes(2 * pair + odd, codes);
            }
        }
    }
}
