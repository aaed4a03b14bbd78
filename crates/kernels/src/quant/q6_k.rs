//! Q6_K: 256 elements in 210 bytes, six bits each around zero, with an 8-bit scale per 16.
//!
//! ```text
//! ql: 128 bytes | qh: 64 bytes | scales: 16 signed bytes, of sub-block i / 16 | d: f16
//! with n = i / 128, g = (i % 128) / 32, l = i % 32:
//!   low four bits in byte 64 n + 32 (g % 2) + l of ql, low nibble if g < 2
//!   upper two bits in bits 2 g.. of byte 32 n + l of qh
//! x = (d scale) (q - 32)
//! ```

use super::coded::{Blocks, Coded, Unpacked, byte_floats, field, join, nibbles};
use super::fit::{NEGLIGIBLE, inverse, largest_magnitude, nearest};
use super::format::{Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct Q6_K;

impl Format for Q6_K {
    const DTYPE: DType = DType::Q6_K;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<210>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 208);
            for (sub, x) in x.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let dl = d * (block[192 + sub] as i8) as f32;
                let (n, g, half) = (sub / 8, (sub % 8) / 2, sub % 2);
                let ql = part::<16>(block, 64 * n + 32 * (g % 2) + 16 * half);
                let qh = part::<16>(block, 128 + 32 * n + 16 * half);
                for l in 0..16 {
                    let low = (ql[l] >> (4 * (g / 2))) & 15;
                    let high = (qh[l] >> (2 * g)) & 3;
                    x[l] = dl * ((low | high << 4) as i32 - 32) as f32;
                }
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<210>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = w.half(part(block, 208));
            let dl = w.spread(w.mul(w.ints(u128::from_le_bytes(*part(block, 192))), d));
            let (dl, _) = dl.0.as_chunks::<2>();
            let (x, _) = x.as_chunks_mut::<32>();
            for n in 0..2 {
                let (a, b) = (w.bytes(part(block, 64 * n)), w.bytes(part(block, 64 * n + 32)));
                let qh = w.bytes(part(block, 128 + 32 * n));
                put_row(w, a, w.shl::<4>(qh), &dl[4 * n], &mut x[4 * n]);
                put_row(w, b, w.shl::<2>(qh), &dl[4 * n + 1], &mut x[4 * n + 1]);
                put_row(w, w.shr::<4>(a), qh, &dl[4 * n + 2], &mut x[4 * n + 2]);
                put_row(w, w.shr::<4>(b), w.shr::<2>(qh), &dl[4 * n + 3], &mut x[4 * n + 3]);
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<210>().0) {
            let (x, _) = x.as_chunks::<16>();
            let mut q = [[0u8; 16]; 16];
            let scales: [f32; 16] = std::array::from_fn(|sub| fit(&x[sub], &mut q[sub]));
            let largest = largest_magnitude(&scales);
            if largest.abs() < NEGLIGIBLE {
                block.fill(0);
                continue;
            }
            let per_unit = -128.0 / largest;
            let d = put_f16(block, 208, 1.0 / per_unit);
            for sub in 0..16 {
                let field = nearest(per_unit * scales[sub]).clamp(-128, 127);
                block[192 + sub] = field as i8 as u8;
                let dl = d * field as f32;
                if dl != 0.0 {
                    q[sub] = x[sub].map(|x| (nearest(x / dl).clamp(-32, 31) + 32) as u8);
                }
            }
            put_six_bits(q.as_flattened(), block);
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q6_K {
    const SUB: usize = 16;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 32, max: 63 };
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let d = blocks.half(208);
        for (four, scales) in blocks.chunk(192).into_iter().enumerate() {
            // Signed bytes, with 128 added and taken off again.
            let scales = byte_floats(r, r.ints(r.xor(scales, 128)), -128);
            for (i, scale) in scales.into_iter().enumerate() {
                out.put_scale(4 * four + i, r.mul_floats(scale, d));
            }
        }
        for n in 0..2 {
            let qh = blocks.two_chunks(128 + 32 * n);
            for column in 0..2 {
                // Groups `column` and `column + 2` of 32 elements; their upper bits go to bits 4 and 5.
                let shift = 2 * column as i32 - 4;
                let ql = blocks.two_chunks(64 * n + 32 * column);
                for half in 0..2 {
                    let [low, high] = nibbles(r, ql[half]);
                    let first = 8 * n + 2 * column + half;
                    out.put_codes(first, [join(r, low, field(r, qh[half], shift, 0x30))]);
                    out.put_codes(first + 4, [join(r, high, field(r, qh[half], shift + 4, 0x30))]);
                }
            }
        }
    }
}

/// Stores 32 elements, given their low bits in bits 0 to 3, their upper two in bits 4 and 5, and the scales
/// of both halves.
#[inline(always)]
fn put_row<W: Wide>(w: W, low: W::Bytes, high: W::Bytes, dl: &[f32; 2], x: &mut [f32; 32]) {
    let q = w.sub_bytes(w.or(w.and(low, 15), w.and(high, 0x30)), 32);
    let [first, second] = w.widen(q);
    w.store_pair([w.mul(first, w.splat(dl[0])), w.mul(second, w.splat(dl[1]))], x);
}

/// Writes `ql` and `qh`.
fn put_six_bits(q: &[u8], block: &mut [u8]) {
    for (n, q) in q.as_chunks::<128>().0.iter().enumerate() {
        for l in 0..32 {
            let [a, b, c, d] = [q[l], q[l + 32], q[l + 64], q[l + 96]];
            block[64 * n + l] = (a & 15) | (c & 15) << 4;
            block[64 * n + 32 + l] = (b & 15) | (d & 15) << 4;
            block[128 + 32 * n + l] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
        }
    }
}

/// Finds codes, offset by 32, and returns their scale: the best of 19 candidate scales near the one that
/// gives the largest element the code -32.
fn fit(x: &[f32; 16], codes: &mut [u8; 16]) -> f32 {
    let largest = largest_magnitude(x);
    if largest.abs() < NEGLIGIBLE {
        return 0.0;
    }
    let try_steps = |steps: f32| {
        let q = x.map(|x| nearest(steps * x).clamp(-32, 31));
        let (mut sum_qx, mut sum_q2) = (0f32, 0f32);
        for (&x, &q) in x.iter().zip(&q) {
            let (w, q) = (x * x, q as f32);
            sum_qx += w * x * q;
            sum_q2 += w * q * q;
        }
        (q, sum_qx, sum_q2)
    };
    let (mut best_q, sum_qx, sum_q2) = try_steps(-32.0 / largest);
    let mut scale = sum_qx * inverse(sum_q2);
    let mut best = scale * sum_qx;
    for k in (-9..=9).filter(|&k| k != 0) {
        let (q, sum_qx, sum_q2) = try_steps(-(32.0 + 0.1 * k as f32) / largest);
        if sum_q2 > 0.0 && sum_qx * sum_qx > best * sum_q2 {
            best_q = q;
            scale = sum_qx / sum_q2;
            best = scale * sum_qx;
        }
    }
    *codes = best_q.map(|q| (q + 32) as u8);
    scale
}
