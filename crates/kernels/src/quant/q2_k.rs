//! Q2_K: 256 elements in 84 bytes, two bits each above a minimum, with a 4-bit scale and minimum per 16.
//!
//! ```text
//! scales: 16 bytes, of sub-block i/16: scale in the low nibble, minimum in the high one
//! qs: 64 bytes, element i in bits 2 ((i % 128) / 32).. of byte 32 (i / 128) + i % 32
//! d: f16 | dmin: f16
//! x = (d scale) q - dmin minimum
//! ```

use super::coded::{Blocks, Coded, Unpacked, byte_floats, field, two_halves};
use super::fit::{self, fields, nearest};
use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q2_K;

/// The search for the codes of 16 elements.
const SEARCH: fit::Search = fit::Search { max_code: 3, first: -0.5, step: 0.1, n_steps: 15, squared: false };

impl Format for Q2_K {
    const DTYPE: DType = DType::Q2_K;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<84>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
            for (sub, x) in x.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let dl = d * (block[sub] & 15) as f32;
                let ml = dmin * (block[sub] >> 4) as f32;
                let qs = part::<16>(block, 16 + (sub / 8) * 32 + (sub % 2) * 16);
                let shift = 2 * ((sub % 8) / 2);
                for l in 0..16 {
                    x[l] = dl * ((qs[l] >> shift) & 3) as f32 - ml;
                }
            }
        }
    }

    /// The four codes are repeated through the table, so that the upper two bits of an index do not matter.
    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&std::array::from_fn(|q| (q & 3) as i8));
        let nibbles = w.table(&std::array::from_fn(|q| q as i8));
        for (block, x) in blocks.as_chunks::<84>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let (d, dmin) = (w.half(part(block, 80)), w.half(part(block, 82)));
            let dl = w.spread(w.lookup::<0>(part(block, 0), nibbles, |scale| w.mul(scale, d)));
            let ml = w.spread(w.lookup::<4>(part(block, 0), nibbles, |minimum| w.mul(minimum, dmin)));
            let (x, _) = x.as_chunks_mut::<16>();
            for half in 0..2 {
                for column in 0..2 {
                    let qs = part(block, 16 + half * 32 + column * 16);
                    let first = half * 8 + column;
                    let value = |sub: usize| {
                        let (dl, ml) = (w.splat(dl.0[sub]), w.splat(ml.0[sub]));
                        move |code| w.sub(w.mul(code, dl), ml)
                    };
                    w.store(w.lookup::<0>(qs, table, value(first)), &mut x[first]);
                    w.store(w.lookup::<2>(qs, table, value(first + 2)), &mut x[first + 2]);
                    w.store(w.lookup::<4>(qs, table, value(first + 4)), &mut x[first + 4]);
                    w.store(w.lookup::<6>(qs, table, value(first + 6)), &mut x[first + 6]);
                }
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<84>().0) {
            let (x, _) = x.as_chunks::<16>();
            let mut q = [[0u8; 16]; 16];
            let (mut scales, mut minima) = ([0f32; 16], [0f32; 16]);
            for sub in 0..16 {
                let weights = x[sub].map(f32::abs);
                (scales[sub], minima[sub]) = fit::with_minimum(&x[sub], &weights, &mut q[sub], &SEARCH);
            }
            let (scales, scale_unit) = fields(&scales, 15);
            let (minima, minimum_unit) = fields(&minima, 15);
            let d = put_f16(block, 80, scale_unit);
            let dmin = put_f16(block, 82, minimum_unit);
            for sub in 0..16 {
                block[sub] = scales[sub] | minima[sub] << 4;
                let (dl, ml) = (d * scales[sub] as f32, dmin * minima[sub] as f32);
                if dl != 0.0 {
                    q[sub] = x[sub].map(|x| nearest((x + ml) / dl).clamp(0, 3) as u8);
                }
            }
            put_two_bits(q.as_flattened(), &mut block[16..80]);
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q2_K {
    const SUB: usize = 16;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 0, max: 3 };
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let [d, dmin] = two_halves(r, blocks.word(80));
        let minus_dmin = r.mul_floats(dmin, r.splat_float(-1.0));
        for (four, bytes) in blocks.chunk(0).into_iter().enumerate() {
            let scales = byte_floats(r, r.ints(r.and(bytes, 15)), 0);
            let minima = byte_floats(r, r.ints(r.and(r.shr::<4>(bytes), 15)), 0);
            for i in 0..4 {
                out.put_scale(4 * four + i, r.mul_floats(scales[i], d));
                out.put_minimum(4 * four + i, r.mul_floats(minima[i], minus_dmin));
            }
        }
        for n in 0..2 {
            for (half, qs) in blocks.two_chunks(16 + 32 * n).into_iter().enumerate() {
                for g in 0..4 {
                    out.put_codes(8 * n + 2 * g + half, [field(r, qs, 2 * g as i32, 3)]);
                }
            }
        }
    }
}

/// Writes 256 numbers below 4 as Q2_K and Q3_K have them.
pub(super) fn put_two_bits(q: &[u8], out: &mut [u8]) {
    for (q, out) in q.as_chunks::<128>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        for l in 0..32 {
            out[l] = q[l] | q[l + 32] << 2 | q[l + 64] << 4 | q[l + 96] << 6;
        }
    }
}
