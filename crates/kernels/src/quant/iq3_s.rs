//! IQ3_S: 256 elements in 110 bytes, four at a time a point of a lattice of 512 with signs, with a 4-bit scale
//! per 32.
//!
//! ```text
//! d: f16
//! qs: 64 bytes, the low eight bits of a point each
//! qh: 8 bytes, the ninth bit of point q in bit q % 8 of byte q / 8
//! signs: 32 bytes
//! scales: 4 bytes, of sub-block b in a nibble of byte b / 2, low for even b
//! x = (d (2 scale + 1)) ±level
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::Format;
use super::lattice::{
    self, fit, four_and_four_codes, from_each_byte, nearest_signed, odd_field, put_signed, signed_codes,
    unit_of,
};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct IQ3_S;

/// What levels stand for.
pub(super) const LEVELS: [u8; 8] = [1, 3, 5, 7, 9, 11, 13, 15];
const CODES: [u8; 16] = signed_codes(15, &LEVELS);

impl Format for IQ3_S {
    const DTYPE: DType = DType::IQ3_S;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<110>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 0);
            for (q, x) in x.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let scale = block[106 + q / 16] >> (4 * (q / 8 % 2)) & 15;
                let db = d * (1 + 2 * scale) as f32;
                let ninth = block[66 + q / 8] >> (q % 8) & 1;
                let point = lattice::IQ3_S.words.get(block[2 + q] as usize | (ninth as usize) << 8);
                put_signed(point, &LEVELS, block[74 + q / 2] >> (4 * (q % 2)), db, x);
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        let nearest = |x: &[f32], scale| nearest_signed(&lattice::IQ3_S, &LEVELS, x, scale, false);
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<110>().0) {
            let (x, _) = x.as_chunks::<32>();
            let scales: [f32; 8] =
                std::array::from_fn(|b| fit(&x[b], 15.0, |x, scale| nearest(x, scale).values));
            let d = put_f16(block, 0, unit_of(&scales, 31.0));
            block[66..74].fill(0);
            block[106..].fill(0);
            for (b, x) in x.iter().enumerate() {
                let field = odd_field(scales[b], d, 15);
                block[106 + b / 2] |= (field as u8) << (4 * (b % 2));
                for (j, x) in x.as_chunks::<8>().0.iter().enumerate() {
                    let found = nearest(x, d * (2 * field + 1) as f32);
                    block[2 + 8 * b + 2 * j..][..2].copy_from_slice(&found.points.map(|point| point as u8));
                    for (i, point) in found.points.iter().enumerate() {
                        block[66 + b] |= ((point >> 8) << (2 * j + i)) as u8;
                    }
                    block[74 + 4 * b + j] = found.signs;
                }
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ3_S {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 15, max: 30 };
    const MINIMA: bool = false;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let (d, mut scales) = (blocks.half(0), blocks.word(106));
        for half in 0..2 {
            let (mut ninths, signs) = (blocks.word(66 + 4 * half), blocks.chunk(74 + 16 * half));
            let points = blocks.two_chunks(2 + 32 * half);
            for (i, (points, signs)) in points.as_flattened().as_chunks::<2>().0.iter().zip(signs).enumerate()
            {
                let b = 4 * half + i;
                out.put_field(r, b, d, r.and_ints(scales, 15));
                scales = r.shr_ints::<4>(scales);
                let high = r.words(&ONE_BIT_EACH, r.shr_ints::<4>(ninths));
                let table = &lattice::IQ3_S.words;
                let points = [
                    r.four_words(table, r.ints(points[0]), r.words(&ONE_BIT_EACH, ninths)),
                    r.four_words(table, r.ints(points[1]), high),
                ];
                let points = points.as_flattened();
                let (mut codes, signs) = ([[signs; 4]; 2], from_each_byte(r, r.ints(signs)));
                for (j, signs) in signs.into_iter().enumerate() {
                    let pair = [points[2 * j], points[2 * j + 1]];
                    let pair = four_and_four_codes(r, pair, signs, &CODES);
                    codes.as_flattened_mut()[2 * j..2 * j + 2].copy_from_slice(&pair);
                }
                ninths = r.shr_ints::<8>(ninths);
                out.put_codes(b, codes);
            }
        }
    }
}

/// The lowest four bits of a number, one to a byte.
const ONE_BIT_EACH: [u32; 16] = {
    let (mut table, mut n) = ([0; 16], 0);
    while n < 16 {
        table[n as usize] = n & 1 | (n >> 1 & 1) << 8 | (n >> 2 & 1) << 16 | (n >> 3) << 24;
        n += 1;
    }
    table
};
