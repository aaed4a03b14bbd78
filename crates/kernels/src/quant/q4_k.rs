//! Q4_K: 256 elements in 144 bytes, four bits each above a minimum, with a 6-bit scale and minimum per 32.
//!
//! ```text
//! d: f16 | dmin: f16 | 12 bytes of scales and minima, see scale_min.rs
//! qs: 128 bytes; of the 32 bytes 32 (i / 64).., element i is in byte i % 32, low nibble if i / 32 is even
//! x = (d scale) q - dmin minimum
//! ```

use super::coded::{Blocks, Coded, Unpacked, nibbles};
use super::fit::{self, fields, nearest};
use super::format::{Format, part};
use super::scale_min;
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q4_K;

/// The search for the codes of 32 elements.
const SEARCH: fit::Search = fit::Search { max_code: 15, first: -1.0, step: 0.1, n_steps: 20, squared: true };

impl Format for Q4_K {
    const DTYPE: DType = DType::Q4_K;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<144>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
            for (j, x) in x.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let (scale, minimum) = scale_min::unpack(part(block, 4), j);
                let (dl, ml) = (d * scale as f32, dmin * minimum as f32);
                let qs = part::<32>(block, 16 + (j / 2) * 32);
                let shift = 4 * (j % 2);
                for l in 0..32 {
                    x[l] = dl * ((qs[l] >> shift) & 15) as f32 - ml;
                }
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&std::array::from_fn(|q| q as i8));
        for (block, x) in blocks.as_chunks::<144>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let (d, dmin) = (w.half(part(block, 0)), w.half(part(block, 2)));
            let scales_minima = w.ints(scale_min::unpack_all(part(block, 4)));
            let dl = w.spread(w.mul(scales_minima, d)); // Its first half is used,
            let ml = w.spread(w.mul(scales_minima, dmin)); // and the second half of this.
            let (x, _) = x.as_chunks_mut::<32>();
            for pair in 0..4 {
                let (low, high) = (part(block, 16 + 32 * pair), part(block, 32 + 32 * pair));
                let value = |j: usize| {
                    let (dl, ml) = (w.splat(dl.0[j]), w.splat(ml.0[8 + j]));
                    move |code| w.sub(w.mul(code, dl), ml)
                };
                let (even, odd) = (value(2 * pair), value(2 * pair + 1));
                w.store_pair(
                    [w.lookup::<0>(low, table, even), w.lookup::<0>(high, table, even)],
                    &mut x[2 * pair],
                );
                w.store_pair(
                    [w.lookup::<4>(low, table, odd), w.lookup::<4>(high, table, odd)],
                    &mut x[2 * pair + 1],
                );
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<144>().0) {
            let q = encode_scales(x, &SEARCH, &mut block[..16]);
            for (q, qs) in q.as_chunks::<2>().0.iter().zip(block[16..].as_chunks_mut::<32>().0) {
                *qs = std::array::from_fn(|l| q[0][l] | q[1][l] << 4);
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q4_K {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 0, max: 15 };
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        scale_min::put_scales_minima(r, blocks, out);
        for pair in 0..4 {
            let [first, second] = blocks.two_chunks(16 + 32 * pair);
            let ([even, odd], [more_even, more_odd]) = (nibbles(r, first), nibbles(r, second));
            out.put_codes(2 * pair, [even, more_even]);
            out.put_codes(2 * pair + 1, [odd, more_odd]);
        }
    }
}

/// Fits the codes of a Q4_K or Q5_K block and writes its head: d, dmin, scales and minima.
pub(super) fn encode_scales(x: &[f32; 256], search: &fit::Search, head: &mut [u8]) -> [[u8; 32]; 8] {
    let (x, _) = x.as_chunks::<32>();
    let mut q = [[0u8; 32]; 8];
    let (mut scales, mut minima) = ([0f32; 8], [0f32; 8]);
    for j in 0..8 {
        let sum_x2 = x[j].iter().fold(0f32, |sum, x| sum + x * x);
        let mean = (sum_x2 / 32.0).sqrt();
        let weights = x[j].map(|x| mean + x.abs());
        (scales[j], minima[j]) = fit::with_minimum(&x[j], &weights, &mut q[j], search);
    }
    let (scales, scale_unit) = fields(&scales, 63);
    let (minima, minimum_unit) = fields(&minima, 63);
    let d = put_f16(head, 0, scale_unit);
    let dmin = put_f16(head, 2, minimum_unit);
    head[4..16].copy_from_slice(&scale_min::pack(&scales, &minima));
    for j in 0..8 {
        let (dl, ml) = (d * scales[j] as f32, dmin * minima[j] as f32);
        if dl != 0.0 {
            q[j] = x[j].map(|x| nearest((x + ml) / dl).clamp(0, search.max_code) as u8);
        }
    }
    q
}
