//! IQ2_S: 256 elements in 82 bytes, eight at a time a point of a lattice of 1024 with signs, with a 4-bit scale
//! per 16.
//!
//! ```text
//! d: f16
//! qs: 32 bytes, the low eight bits of a point each
//! signs: 32 bytes
//! qh: 8 bytes, the upper two bits of point j in bits 2 (j % 4).. of byte j / 4
//! scales: 8 bytes, of sub-block k in a nibble of byte k / 2, low for even k
//! x = (d (scale + 1/2) / 4) ±level
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::Format;
use super::lattice::{
    self, IQ2_CODES, IQ2_LEVELS, IQ2_RANGE, STORED_SIGNS, eight_codes, fit, from_each_byte, nearest_signed,
    odd_field, put_nibble_scales, put_signed, unit_of,
};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct IQ2_S;

impl Format for IQ2_S {
    const DTYPE: DType = DType::IQ2_S;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<82>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 0);
            for (j, x) in x.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let scale = block[74 + j / 4] >> (4 * (j / 2 % 2)) & 15;
                let db = d * (0.5 + scale as f32) * 0.25;
                let high = block[66 + j / 4] >> (2 * (j % 4)) & 3;
                let point = lattice::IQ2_S.words.get(block[2 + j] as usize | (high as usize) << 8);
                put_signed(point, &IQ2_LEVELS, block[34 + j], db, x);
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        let nearest = |x: &[f32], scale| nearest_signed(&lattice::IQ2_S, &IQ2_LEVELS, x, scale, false);
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<82>().0) {
            let (x, _) = x.as_chunks::<16>();
            let scales: [f32; 16] =
                std::array::from_fn(|b| fit(&x[b], 43.0, |x, scale| nearest(x, scale).values));
            let eighth = put_f16(block, 0, 8.0 * unit_of(&scales, 31.0)) / 8.0;
            block[66..].fill(0);
            for (b, x) in x.iter().enumerate() {
                let field = odd_field(scales[b], eighth, 15);
                block[74 + b / 2] |= (field as u8) << (4 * (b % 2));
                for (j, x) in (2 * b..).zip(x.as_chunks::<8>().0) {
                    let found = nearest(x, eighth * (2 * field + 1) as f32);
                    block[2 + j] = found.points[0] as u8;
                    block[34 + j] = found.signs;
                    block[66 + j / 4] |= (found.points[0] as u16 >> 8 << (2 * (j % 4))) as u8;
                }
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ2_S {
    const SUB: usize = 16;
    const GROUP: usize = 128;
    const CODES: CodeRange = IQ2_RANGE;
    const MINIMA: bool = false;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        put_nibble_scales(r, blocks, 74, out);
        for half in 0..2 {
            let mut high = blocks.word(66 + 4 * half);
            let (points, signs) = (blocks.chunk(2 + 16 * half), blocks.chunk(34 + 16 * half));
            for (i, (points, signs)) in points.into_iter().zip(signs).enumerate() {
                let points = r.four_words(&lattice::IQ2_S.words, r.ints(points), two_bits_each(r, high));
                high = r.shr_ints::<8>(high);
                let mut codes = [[signs; 4]; 2];
                let signs = from_each_byte(r, r.ints(signs));
                for j in 0..4 {
                    let pair = eight_codes(r, points[j], signs[j], &STORED_SIGNS, &IQ2_CODES);
                    codes.as_flattened_mut()[2 * j..2 * j + 2].copy_from_slice(&pair);
                }
                out.put_codes(8 * half + 2 * i, [codes[0]]);
                out.put_codes(8 * half + 2 * i + 1, [codes[1]]);
            }
        }
    }
}

/// The lowest eight bits of each number, two to a byte.
#[inline(always)]
fn two_bits_each<R: Rows16>(r: R, n: R::Ints) -> R::Ints {
    const fn table(shift: u32) -> [u32; 16] {
        let (mut table, mut n) = ([0; 16], 0);
        while n < 16 {
            table[n as usize] = (n & 3 | (n >> 2) << 8) << shift;
            n += 1;
        }
        table
    }
    const LOW: [u32; 16] = table(0);
    const HIGH: [u32; 16] = table(16);
    r.or_ints(r.words(&LOW, n), r.words(&HIGH, r.shr_ints::<4>(n)))
}
