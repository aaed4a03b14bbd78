//! IQ3_XXS: 256 elements in 98 bytes, four at a time a point of a lattice of 256, eight at a time with an even
//! number of minus signs, with a 4-bit scale per 32.
//!
//! ```text
//! d: f16 | qs: 64 bytes, a point each
//! of each sub-block a word: four times seven signs and, uppermost, the scale
//! x = (d (scale + 1/2) / 2) ±level
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::{Format, part};
use super::lattice::{
    self, even_signs, fit, four_and_four_even_codes, from_each_seven, nearest_signed, odd_field, put_signed,
    signed_codes, unit_of,
};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct IQ3_XXS;

/// What levels stand for.
pub(super) const LEVELS: [u8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];
const CODES: [u8; 16] = signed_codes(62, &LEVELS);

impl Format for IQ3_XXS {
    const DTYPE: DType = DType::IQ3_XXS;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<98>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 0);
            for (b, x) in x.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let points = part::<8>(block, 2 + 8 * b);
                let word = u32::from_le_bytes(*part(block, 66 + 4 * b));
                let db = d * (0.5 + (word >> 28) as f32) * 0.5;
                for (q, x) in x.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    let signs = even_signs(word >> (7 * (q / 2))) >> (4 * (q % 2));
                    put_signed(lattice::IQ3_XXS.words.get(points[q] as usize), &LEVELS, signs, db, x);
                }
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        let nearest = |x: &[f32], scale| nearest_signed(&lattice::IQ3_XXS, &LEVELS, x, scale, true);
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<98>().0) {
            let (x, _) = x.as_chunks::<32>();
            let scales: [f32; 8] =
                std::array::from_fn(|b| fit(&x[b], 62.0, |x, scale| nearest(x, scale).values));
            let quarter = put_f16(block, 0, 4.0 * unit_of(&scales, 31.0)) / 4.0;
            for (b, x) in x.iter().enumerate() {
                let field = odd_field(scales[b], quarter, 15);
                let mut word = (field as u32) << 28;
                for (j, x) in x.as_chunks::<8>().0.iter().enumerate() {
                    let found = nearest(x, quarter * (2 * field + 1) as f32);
                    block[2 + 8 * b + 2 * j..][..2].copy_from_slice(&found.points.map(|point| point as u8));
                    word |= (found.signs as u32 & 127) << (7 * j);
                }
                block[66 + 4 * b..70 + 4 * b].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ3_XXS {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 62, max: 124 };
    const MINIMA: bool = false;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let quarter = r.mul_floats(blocks.half(0), r.splat_float(0.25));
        for pair in 0..4 {
            let [a, b, c, d] = blocks.chunk(2 + 16 * pair);
            for (odd, points) in [(0, [a, b]), (1, [c, d])] {
                let (sub, word) = (2 * pair + odd, blocks.word(66 + 8 * pair + 4 * odd));
                out.put_field(r, sub, quarter, r.shr_ints::<28>(word));
                let points = [r.ints(points[0]), r.ints(points[1])];
                let table = &lattice::IQ3_XXS.words;
                let points =
                    [r.four_words(table, points[0], points[0]), r.four_words(table, points[1], points[1])];
                let (points, signs) = (points.as_flattened(), from_each_seven(r, word));
                let mut codes = [[r.int_bytes(word); 4]; 2];
                for j in 0..4 {
                    let pair = [points[2 * j], points[2 * j + 1]];
                    let pair = four_and_four_even_codes(r, pair, signs[j], &CODES);
                    codes.as_flattened_mut()[2 * j..2 * j + 2].copy_from_slice(&pair);
                }
                out.put_codes(sub, codes);
            }
        }
    }
}
