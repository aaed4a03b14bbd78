//! Q3_K: 256 elements in 110 bytes, three bits each around zero, with a 6-bit scale per 16.
//!
//! ```text
//! hmask: 32 bytes, bit i / 32 of byte i % 32 is the third bit of element i
//! qs: 64 bytes, element i in bits 2 ((i % 128) / 32).. of byte 32 (i / 128) + i % 32
//! scales: 12 bytes, of sub-block k: low four bits in a nibble of byte k % 8 (low for k < 8),
//!         upper two in bits 2 (k / 4).. of byte 8 + k % 4
//! d: f16
//! x = (d (scale - 32)) (q - 4)
//! ```

use super::coded::{Blocks, Coded, Unpacked, byte_floats, field, join};
use super::fit::{NEGLIGIBLE, inverse, largest_magnitude, nearest};
use super::format::{Format, part};
use super::q2_k::put_two_bits;
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q3_K;

impl Format for Q3_K {
    const DTYPE: DType = DType::Q3_K;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<110>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 108);
            for (sub, x) in x.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let dl = d * scale(part(block, 96), sub) as f32;
                let hmask = part::<16>(block, (sub % 2) * 16);
                let qs = part::<16>(block, 32 + (sub / 8) * 32 + (sub % 2) * 16);
                let shift = 2 * ((sub % 8) / 2);
                for l in 0..16 {
                    let third = (hmask[l] >> (sub / 2)) & 1;
                    let q = ((qs[l] >> shift) & 3) | third << 2;
                    x[l] = dl * (q as i32 - 4) as f32;
                }
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<110>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = w.half(part(block, 108));
            let scales = w.sub(w.ints(unpack_scales(part(block, 96))), w.splat(32.0));
            let dl = w.spread(w.mul(scales, d));
            let hmask = w.bytes(part(block, 0));
            let qs = [w.bytes(part(block, 32)), w.bytes(part(block, 64))];
            let ((dl, _), (x, _)) = (dl.0.as_chunks::<2>(), x.as_chunks_mut::<32>());
            put_row(w, qs[0], w.shl::<2>(hmask), &dl[0], &mut x[0]);
            put_row(w, w.shr::<2>(qs[0]), w.shl::<1>(hmask), &dl[1], &mut x[1]);
            put_row(w, w.shr::<4>(qs[0]), hmask, &dl[2], &mut x[2]);
            put_row(w, w.shr::<6>(qs[0]), w.shr::<1>(hmask), &dl[3], &mut x[3]);
            put_row(w, qs[1], w.shr::<2>(hmask), &dl[4], &mut x[4]);
            put_row(w, w.shr::<2>(qs[1]), w.shr::<3>(hmask), &dl[5], &mut x[5]);
            put_row(w, w.shr::<4>(qs[1]), w.shr::<4>(hmask), &dl[6], &mut x[6]);
            put_row(w, w.shr::<6>(qs[1]), w.shr::<5>(hmask), &dl[7], &mut x[7]);
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<110>().0) {
            let (x, _) = x.as_chunks::<16>();
            let mut q = [[0u8; 16]; 16];
            let scales: [f32; 16] = std::array::from_fn(|sub| fit(&x[sub], &mut q[sub]));
            let largest = largest_magnitude(&scales);
            block[96..].fill(0);
            if largest != 0.0 {
                let per_unit = -32.0 / largest;
                let d = put_f16(block, 108, 1.0 / per_unit);
                for sub in 0..16 {
                    let field = nearest(per_unit * scales[sub]).clamp(-32, 31);
                    put_scale(&mut block[96..108], sub, (field + 32) as u8);
                    let dl = d * field as f32;
                    if dl != 0.0 {
                        q[sub] = x[sub].map(|x| (nearest(x / dl).clamp(-4, 3) + 4) as u8);
                    }
                }
            }
            let q = q.as_flattened();
            for l in 0..32 {
                block[l] = (0..8).fold(0, |bits, row| bits | (q[32 * row + l] >> 2) << row);
            }
            let low: [u8; 256] = std::array::from_fn(|i| q[i] & 3);
            put_two_bits(&low, &mut block[32..96]);
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q3_K {
    const SUB: usize = 16;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 4, max: 7 };
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let d = blocks.half(108);
        let (a, b, c) = (blocks.word(96), blocks.word(100), blocks.word(104));
        let fours = [a, b, r.shr_ints::<4>(a), r.shr_ints::<4>(b)];
        let twos = [c, r.shr_ints::<2>(c), r.shr_ints::<4>(c), r.shr_ints::<6>(c)];
        for i in 0..4 {
            let two = r.shl_ints::<4>(r.and_ints(twos[i], 0x0303_0303));
            let scales = r.or_ints(r.and_ints(fours[i], 0x0f0f_0f0f), two);
            for (k, scale) in byte_floats(r, scales, -32).into_iter().enumerate() {
                out.put_scale(4 * i + k, r.mul_floats(scale, d));
            }
        }
        let hmask = blocks.two_chunks(0);
        for n in 0..2 {
            let qs = blocks.two_chunks(32 + 32 * n);
            for half in 0..2 {
                for g in 0..4 {
                    // The third bit is bit 4 n + g of `hmask`, and goes to bit 2.
                    let third = field(r, hmask[half], (4 * n + g) as i32 - 2, 4);
                    let two = field(r, qs[half], 2 * g as i32, 3);
                    out.put_codes(8 * n + 2 * g + half, [join(r, two, third)]);
                }
            }
        }
    }
}

/// Stores 32 elements, given their low bits in bits 0 and 1, their third bit in bit 2, and the scales of both
/// halves.
#[inline(always)]
fn put_row<W: Wide>(w: W, low: W::Bytes, third: W::Bytes, dl: &[f32; 2], x: &mut [f32; 32]) {
    let q = w.sub_bytes(w.or(w.and(low, 3), w.and(third, 4)), 4);
    let [first, second] = w.widen(q);
    w.store_pair([w.mul(first, w.splat(dl[0])), w.mul(second, w.splat(dl[1]))], x);
}

/// The signed scale of sub-block `k`.
#[inline(always)]
fn scale(s: &[u8; 12], k: usize) -> i32 {
    let low = if k < 8 { s[k] & 15 } else { s[k - 8] >> 4 };
    let high = (s[8 + k % 4] >> (2 * (k / 4))) & 3;
    (low | high << 4) as i32 - 32
}

/// All sixteen scales, still offset by 32, lowest byte first; unpacked four at a time in a word.
#[inline(always)]
fn unpack_scales(s: &[u8; 12]) -> u128 {
    let (words, _) = s.as_chunks::<4>();
    let [a, b, high] = [words[0], words[1], words[2]].map(u32::from_le_bytes);
    let four = |low: u32, high: u32| ((low & 0x0f0f_0f0f) | (high & 0x0303_0303) << 4) as u128;
    four(a, high) | four(b, high >> 2) << 32 | four(a >> 4, high >> 4) << 64 | four(b >> 4, high >> 6) << 96
}

/// Stores the scale of sub-block `k`, offset by 32, into cleared bytes.
fn put_scale(s: &mut [u8], k: usize, field: u8) {
    s[k % 8] |= (field & 15) << (4 * (k / 8));
    s[8 + k % 4] |= (field >> 4) << (2 * (k / 4));
}

/// Finds codes and returns their scale: codes from the largest element, then up to five sweeps that move one
/// code at a time where that raises the weighted correlation with `x`.
fn fit(x: &[f32; 16], codes: &mut [u8; 16]) -> f32 {
    let largest = largest_magnitude(x);
    if largest.abs() < NEGLIGIBLE {
        return 0.0;
    }
    let steps = -4.0 / largest;
    let mut q = x.map(|x| nearest(steps * x).clamp(-4, 3) as f32);
    let (mut sum_qx, mut sum_q2) = (0f32, 0f32);
    for (&x, &q) in x.iter().zip(&q) {
        let w = x * x;
        sum_qx += w * x * q;
        sum_q2 += w * q * q;
    }
    for _ in 0..5 {
        let mut changed = false;
        for (&x, q) in x.iter().zip(&mut q) {
            let w = x * x;
            let rest_qx = sum_qx - w * x * *q;
            if rest_qx > 0.0 {
                let rest_q2 = sum_q2 - w * *q * *q;
                let new = nearest(x * rest_q2 / rest_qx).clamp(-4, 3) as f32;
                if new != *q {
                    let (new_qx, new_q2) = (rest_qx + w * x * new, rest_q2 + w * new * new);
                    if new_q2 > 0.0 && new_qx * new_qx * sum_q2 > sum_qx * sum_qx * new_q2 {
                        (*q, sum_qx, sum_q2) = (new, new_qx, new_q2);
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    *codes = q.map(|q| (q + 4.0) as u8);
    sum_qx * inverse(sum_q2)
}
