//! IQ1_M: 256 elements in 56 bytes, eight at a time a point of a lattice of 2048 of -1, 0 and 1, shifted by an
//! eighth, up or down, with a 3-bit scale per 16.
//!
//! ```text
//! qs: 32 bytes, the low eight bits of a point each
//! qh: 16 bytes, of point j a nibble of byte j / 2, low for even j: the upper three bits, and whether down
//! scales: 4 u16, of sub-block k in bits 3 (k % 4).. of number k / 4; their upper four bits together are d: f16,
//!         those of the first one lowest
//! x = (d (2 scale + 1)) (level ± 1/8)
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::{Format, part};
use super::lattice::{IQ1, IQ1_RANGE, fit, nearest_shifted, odd_field, put_shifted, shifted_codes, unit_of};
use crate::dtype::DType;
use crate::half::{f16_to_f32, f32_to_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct IQ1_M;

impl Format for IQ1_M {
    const DTYPE: DType = DType::IQ1_M;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<56>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let scales: [u16; 4] = std::array::from_fn(|i| u16::from_le_bytes(*part(block, 48 + 2 * i)));
            let d = f16_to_f32((0..4).fold(0, |bits, i| bits | (scales[i] >> 12) << (4 * i)));
            for (j, x) in x.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let dl = d * (2 * (scales[j / 8] >> (3 * (j / 2 % 4)) & 7) + 1) as f32;
                let qh = block[32 + j / 2] >> (4 * (j % 2)) & 15;
                put_shifted(block[j] as usize | (qh as usize & 7) << 8, qh >> 3 == 1, dl, x);
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        // With the better shift.
        let nearest = |x: &[f32], scale| {
            let [up, down] = [false, true].map(|down| nearest_shifted(x, scale, down));
            if down.error < up.error { (down, 8) } else { (up, 0) }
        };
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<56>().0) {
            let (x, _) = x.as_chunks::<16>();
            let found: [f32; 16] =
                std::array::from_fn(|b| fit(&x[b], 1.0, |x, scale| nearest(x, scale).0.values));
            let bits = f32_to_f16(unit_of(&found, 15.0));
            let d = f16_to_f32(bits);
            let mut scales: [u16; 4] = std::array::from_fn(|i| (bits >> (4 * i) & 15) << 12);
            block[32..48].fill(0);
            for (b, x) in x.iter().enumerate() {
                let field = odd_field(found[b], d, 7);
                scales[b / 4] |= (field as u16) << (3 * (b % 4));
                for (j, x) in (2 * b..).zip(x.as_chunks::<8>().0) {
                    let (found, down) = nearest(x, d * (2 * field + 1) as f32);
                    block[j] = found.point as u8;
                    block[32 + j / 2] |= ((found.point >> 8) as u8 | down) << (4 * (j % 2));
                }
            }
            block[48..].copy_from_slice(scales.map(u16::to_le_bytes).as_flattened());
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ1_M {
    const SUB: usize = 16;
    const GROUP: usize = 128;
    const CODES: CodeRange = IQ1_RANGE;
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let scales = [blocks.word(48), blocks.word(52)];
        let low = r.and_ints(r.shr_ints::<12>(scales[0]), 0xf);
        let second = r.and_ints(r.shr_ints::<24>(scales[0]), 0xf0);
        let third = r.and_ints(r.shr_ints::<4>(scales[1]), 0xf00);
        let high = r.and_ints(r.shr_ints::<16>(scales[1]), 0xf000);
        let d = r.halves(r.or_ints(r.or_ints(low, second), r.or_ints(third, high)));
        let eighth = r.mul_floats(d, r.splat_float(0.125));
        for (half, fields) in scales.into_iter().enumerate() {
            for (i, mut field) in [fields, r.shr_ints::<16>(fields)].into_iter().enumerate() {
                for k in 0..4 {
                    out.put_field(r, 8 * half + 4 * i + k, eighth, r.and_ints(field, 7));
                    field = r.shr_ints::<3>(field);
                }
            }
        }
        for half in 0..2 {
            let words = [blocks.word(32 + 8 * half), blocks.word(36 + 8 * half)];
            for (i, points) in blocks.chunk(16 * half).into_iter().enumerate() {
                let qh = if i % 2 == 0 { words[i / 2] } else { r.shr_ints::<16>(words[i / 2]) };
                let nibbles = [qh, r.shr_ints::<4>(qh), r.shr_ints::<8>(qh), r.shr_ints::<12>(qh)];
                // Each nibble to a byte; its lower three bits belong to the point.
                let low = r.or_ints(r.and_ints(qh, 0xf), r.and_ints(r.shl_ints::<4>(qh), 0xf00));
                let high = r.or_ints(
                    r.and_ints(r.shl_ints::<8>(qh), 0xf_0000),
                    r.and_ints(r.shl_ints::<12>(qh), 0xf00_0000),
                );
                let points = r.four_words(&IQ1.words, r.ints(points), r.or_ints(low, high));
                let [first, second] = shifted_codes(r, points, nibbles);
                out.put_codes(8 * half + 2 * i, [first]);
                out.put_codes(8 * half + 2 * i + 1, [second]);
            }
        }
    }
}
