//! Q5_K: 256 elements in 176 bytes, five bits each above a minimum, with a 6-bit scale and minimum per 32.
//!
//! ```text
//! d: f16 | dmin: f16 | 12 bytes of scales and minima, see scale_min.rs
//! qh: 32 bytes, bit i / 32 of byte i % 32 is the fifth bit of element i
//! qs: 128 bytes; of the 32 bytes 32 (i / 64).., element i is in byte i % 32, low nibble if i / 32 is even
//! x = (d scale) q - dmin minimum
//! ```

use super::coded::{Blocks, Coded, Unpacked, field, join};
use super::fit::Search;
use super::format::{Format, part};
use super::q4_k::encode_scales;
use super::scale_min;
use crate::dtype::DType;
use crate::half::f16_at;
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q5_K;

/// The search for the codes of 32 elements.
const SEARCH: Search = Search { max_code: 31, first: -0.5, step: 0.1, n_steps: 15, squared: true };

impl Format for Q5_K {
    const DTYPE: DType = DType::Q5_K;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<176>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
            let qh = part::<32>(block, 16);
            for (j, x) in x.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let (scale, minimum) = scale_min::unpack(part(block, 4), j);
                let (dl, ml) = (d * scale as f32, dmin * minimum as f32);
                let qs = part::<32>(block, 48 + (j / 2) * 32);
                let shift = 4 * (j % 2);
                for l in 0..32 {
                    let q = ((qs[l] >> shift) & 15) | ((qh[l] >> j) & 1) << 4;
                    x[l] = dl * q as f32 - ml;
                }
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<176>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let (d, dmin) = (w.half(part(block, 0)), w.half(part(block, 2)));
            let scales_minima = w.ints(scale_min::unpack_all(part(block, 4)));
            let dl = w.spread(w.mul(scales_minima, d)); // Its first half is used,
            let ml = w.spread(w.mul(scales_minima, dmin)); // and the second half of this.
            let qh = w.bytes(part(block, 16));
            let (x, _) = x.as_chunks_mut::<32>();
            let (a, b) = (w.bytes(part(block, 48)), w.bytes(part(block, 80)));
            let (c, e) = (w.bytes(part(block, 112)), w.bytes(part(block, 144)));
            put_row(w, a, w.shl::<4>(qh), dl.0[0], ml.0[8], &mut x[0]);
            put_row(w, w.shr::<4>(a), w.shl::<3>(qh), dl.0[1], ml.0[9], &mut x[1]);
            put_row(w, b, w.shl::<2>(qh), dl.0[2], ml.0[10], &mut x[2]);
            put_row(w, w.shr::<4>(b), w.shl::<1>(qh), dl.0[3], ml.0[11], &mut x[3]);
            put_row(w, c, qh, dl.0[4], ml.0[12], &mut x[4]);
            put_row(w, w.shr::<4>(c), w.shr::<1>(qh), dl.0[5], ml.0[13], &mut x[5]);
            put_row(w, e, w.shr::<2>(qh), dl.0[6], ml.0[14], &mut x[6]);
            put_row(w, w.shr::<4>(e), w.shr::<3>(qh), dl.0[7], ml.0[15], &mut x[7]);
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<176>().0) {
            let q = encode_scales(x, &SEARCH, &mut block[..16]);
            for l in 0..32 {
                block[16 + l] = (0..8).fold(0, |bits, j| bits | (q[j][l] >> 4) << j);
            }
            for (q, qs) in q.as_chunks::<2>().0.iter().zip(block[48..].as_chunks_mut::<32>().0) {
                *qs = std::array::from_fn(|l| (q[0][l] & 15) | (q[1][l] & 15) << 4);
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q5_K {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 0, max: 31 };
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        scale_min::put_scales_minima(r, blocks, out);
        let qh = blocks.two_chunks(16);
        for pair in 0..4 {
            // Bit 2 pair, and the next one, go to bit 4.
            let shift = 2 * pair as i32 - 4;
            let [first, second] = blocks.two_chunks(48 + 32 * pair);
            for odd in 0..2 {
                let fifth = [field(r, qh[0], shift + odd, 16), field(r, qh[1], shift + odd, 16)];
                let four = [field(r, first, 4 * odd, 15), field(r, second, 4 * odd, 15)];
                let codes = [join(r, four[0], fifth[0]), join(r, four[1], fifth[1])];
                out.put_codes(2 * pair + odd as usize, codes);
            }
        }
    }
}

/// Stores 32 elements, given their low bits in bits 0 to 3 and their fifth bit in bit 4.
#[inline(always)]
fn put_row<W: Wide>(w: W, low: W::Bytes, fifth: W::Bytes, dl: f32, ml: f32, x: &mut [f32; 32]) {
    let (dl, ml) = (w.splat(dl), w.splat(ml));
    let q = w.or(w.and(low, 15), w.and(fifth, 16));
    let [first, second] = w.widen(q);
    w.store_pair([w.sub(w.mul(first, dl), ml), w.sub(w.mul(second, dl), ml)], x);
}
