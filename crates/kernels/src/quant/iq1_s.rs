//! IQ1_S: 256 elements in 50 bytes, eight at a time a point of a lattice of 2048 of -1, 0 and 1, with a 3-bit
//! scale per 32, which are also shifted by an eighth, up or down.
//!
//! ```text
//! d: f16
//! qs: 32 bytes, the low eight bits of a point each
//! qh: 8 u16, of sub-block b: the upper three bits of its four points, the scale in three, and whether down
//! x = (d (2 scale + 1)) (level ± 1/8)
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::{Format, part};
use super::lattice::{IQ1, IQ1_RANGE, fit, nearest_shifted, odd_field, put_shifted, shifted_codes, unit_of};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct IQ1_S;

impl Format for IQ1_S {
    const DTYPE: DType = DType::IQ1_S;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<50>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 0);
            for (j, x) in x.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let qh = u16::from_le_bytes(*part(block, 34 + j / 4 * 2));
                let dl = d * (2 * (qh >> 12 & 7) + 1) as f32;
                let point = block[2 + j] as usize | ((qh >> (3 * (j % 4)) & 7) as usize) << 8;
                put_shifted(point, qh >> 15 == 1, dl, x);
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<50>().0) {
            let (x, _) = x.as_chunks::<32>();
            let fitted: [(f32, bool); 8] = std::array::from_fn(|b| {
                // The better shift.
                let [up, down] = [false, true].map(|down| {
                    let scale = fit(&x[b], 1.0, |x, scale| nearest_shifted(x, scale, down).values);
                    let errors =
                        x[b].as_chunks::<8>().0.iter().map(|x| nearest_shifted(x, scale, down).error);
                    (scale, errors.sum::<f32>() * scale * scale)
                });
                if down.1 < up.1 { (down.0, true) } else { (up.0, false) }
            });
            let d = put_f16(block, 0, unit_of(&fitted.map(|(scale, _)| scale), 15.0));
            for (b, x) in x.iter().enumerate() {
                let (scale, down) = fitted[b];
                let field = odd_field(scale, d, 7);
                let mut qh = (down as u16) << 15 | (field as u16) << 12;
                for (j, x) in x.as_chunks::<8>().0.iter().enumerate() {
                    let point = nearest_shifted(x, d * (2 * field + 1) as f32, down).point as u16;
                    block[2 + 4 * b + j] = point as u8;
                    qh |= (point >> 8) << (3 * j);
                }
                block[34 + 2 * b..36 + 2 * b].copy_from_slice(&qh.to_le_bytes());
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ1_S {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = IQ1_RANGE;
    const MINIMA: bool = false;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let eighth = r.mul_floats(blocks.half(0), r.splat_float(0.125));
        for half in 0..2 {
            let (points, words) =
                (blocks.chunk(2 + 16 * half), [blocks.word(34 + 8 * half), blocks.word(38 + 8 * half)]);
            for (i, points) in points.into_iter().enumerate() {
                let qh = if i % 2 == 0 { words[i / 2] } else { r.shr_ints::<16>(words[i / 2]) };
                out.put_field(r, 4 * half + i, eighth, r.and_ints(r.shr_ints::<12>(qh), 7));
                // Three bits to a byte.
                let low = r.or_ints(r.and_ints(qh, 7), r.and_ints(r.shl_ints::<5>(qh), 0x700));
                let high = r.or_ints(
                    r.and_ints(r.shl_ints::<10>(qh), 0x7_0000),
                    r.and_ints(r.shl_ints::<15>(qh), 0x700_0000),
                );
                let points = r.four_words(&IQ1.words, r.ints(points), r.or_ints(low, high));
                let shift = r.shr_ints::<12>(qh);
                out.put_codes(4 * half + i, shifted_codes(r, points, [shift; 4]));
            }
        }
    }
}
