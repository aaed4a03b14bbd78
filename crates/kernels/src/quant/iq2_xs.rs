//! IQ2_XS: 256 elements in 74 bytes, eight at a time a point of a lattice of 512 with an even number of minus
//! signs, with a 4-bit scale per 16.
//!
//! ```text
//! d: f16
//! qs: 32 u16, the point in nine bits, then seven signs
//! scales: 8 bytes, of sub-block k in a nibble of byte k / 2, low for even k
//! x = (d (scale + 1/2) / 4) ±level
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::{Format, part};
use super::lattice::{
    self, EVEN_SIGNS, IQ2_CODES, IQ2_LEVELS, IQ2_RANGE, eight_codes, even_signs, fit, nearest_signed,
    odd_field, put_nibble_scales, put_signed, unit_of,
};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct IQ2_XS;

impl Format for IQ2_XS {
    const DTYPE: DType = DType::IQ2_XS;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<74>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 0);
            for (j, x) in x.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let scale = block[66 + j / 4] >> (4 * (j / 2 % 2)) & 15;
                let db = d * (0.5 + scale as f32) * 0.25;
                let q = u16::from_le_bytes(*part(block, 2 + 2 * j));
                let point = lattice::IQ2_XS.words.get(q as usize & 511);
                put_signed(point, &IQ2_LEVELS, even_signs(q as u32 >> 9), db, x);
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        let nearest = |x: &[f32], scale| nearest_signed(&lattice::IQ2_XS, &IQ2_LEVELS, x, scale, true);
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<74>().0) {
            let (x, _) = x.as_chunks::<16>();
            let scales: [f32; 16] =
                std::array::from_fn(|b| fit(&x[b], 43.0, |x, scale| nearest(x, scale).values));
            let eighth = put_f16(block, 0, 8.0 * unit_of(&scales, 31.0)) / 8.0;
            block[66..].fill(0);
            for (b, x) in x.iter().enumerate() {
                let field = odd_field(scales[b], eighth, 15);
                block[66 + b / 2] |= (field as u8) << (4 * (b % 2));
                for (j, x) in x.as_chunks::<8>().0.iter().enumerate() {
                    let found = nearest(x, eighth * (2 * field + 1) as f32);
                    let q = found.points[0] as u16 | (found.signs as u16) << 9;
                    block[2 + 4 * b + 2 * j..][..2].copy_from_slice(&q.to_le_bytes());
                }
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ2_XS {
    const SUB: usize = 16;
    const GROUP: usize = 128;
    const CODES: CodeRange = IQ2_RANGE;
    const MINIMA: bool = false;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        put_nibble_scales(r, blocks, 66, out);
        for quarter in 0..4 {
            let chunk = blocks.chunk(2 + 16 * quarter);
            for (i, bytes) in chunk.as_chunks::<2>().0.iter().enumerate() {
                let words = [r.ints(bytes[0]), r.ints(bytes[1])];
                let low = in_turn(r, words[0], words[1]);
                let high = in_turn(r, r.shr_ints::<8>(words[0]), r.shr_ints::<8>(words[1]));
                let [a, b, c, d] = r.four_words(&lattice::IQ2_XS.words, low, high);
                for (k, (points, word)) in [[a, c], [b, d]].into_iter().zip(words).enumerate() {
                    let signs = [r.shr_ints::<9>(word), r.shr_ints::<25>(word)];
                    let mut codes = [bytes[0]; 4];
                    for j in 0..2 {
                        let pair = eight_codes(r, points[j], signs[j], &EVEN_SIGNS, &IQ2_CODES);
                        codes[2 * j..2 * j + 2].copy_from_slice(&pair);
                    }
                    out.put_codes(4 * quarter + 2 * i + k, [codes]);
                }
            }
        }
    }
}

/// Bytes 0 and 2 of `a`, each followed by the same one of `b`.
#[inline(always)]
fn in_turn<R: Rows16>(r: R, a: R::Ints, b: R::Ints) -> R::Ints {
    r.or_ints(r.and_ints(a, 0x00ff_00ff), r.shl_ints::<8>(r.and_ints(b, 0x00ff_00ff)))
}
