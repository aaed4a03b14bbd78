//! IQ4_XS: 256 elements in 136 bytes, each one of sixteen unevenly spaced values, with a 6-bit scale per 32.
//!
//! ```text
//! d: f16 | scales_h: u16 | scales_l: 4 bytes
//!   of sub-block b: low four bits in nibble b of scales_l, upper two in bits 2 b.. of scales_h
//! qs: 128 bytes, 16 per sub-block, element j in the low nibble of byte j, element j + 16 in the high one
//! x = (d (scale - 32)) CODES[q]
//! ```

use super::coded::{Blocks, Coded, Unpacked, look_up, nibbles};
use super::fit::{inverse, largest_magnitude, nearest};
use super::format::{Format, part};
use super::iq4_nl::{CODES, SHIFTED, fit, nearest_code};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

#[allow(non_camel_case_types)]
pub(super) struct IQ4_XS;

impl Format for IQ4_XS {
    const DTYPE: DType = DType::IQ4_XS;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<136>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 0);
            for (b, x) in x.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let dl = d * scale(part(block, 2), b) as f32;
                let qs = part::<16>(block, 8 + 16 * b);
                for j in 0..16 {
                    x[j] = dl * CODES[(qs[j] & 15) as usize] as f32;
                    x[j + 16] = dl * CODES[(qs[j] >> 4) as usize] as f32;
                }
            }
        }
    }

    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&CODES);
        for (block, x) in blocks.as_chunks::<136>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = w.half(part(block, 0));
            let scales = (0..8).fold(0, |all, b| all | (scale(part(block, 2), b) as u8 as u128) << (8 * b));
            let dl = w.spread(w.mul(w.ints(scales), d));
            let (x, _) = x.as_chunks_mut::<32>();
            for (b, x) in x.iter_mut().enumerate() {
                let dl = w.splat(dl.0[b]);
                let qs = part(block, 8 + 16 * b);
                let value = |code| w.mul(code, dl);
                w.store_pair([w.lookup::<0>(qs, table, value), w.lookup::<4>(qs, table, value)], x);
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<136>().0) {
            let (x, _) = x.as_chunks::<32>();
            let scales: [f32; 8] = std::array::from_fn(|b| fit(&x[b]));
            let d = -largest_magnitude(&scales) / 32.0;
            put_f16(block, 0, d);
            let per_unit = inverse(d);
            let fields = scales.map(|scale| nearest(scale * per_unit).clamp(-32, 31));
            let packed = fields.map(|field| (field + 32) as u16);
            let high = (0..8).fold(0u16, |bits, b| bits | (packed[b] >> 4) << (2 * b));
            block[2..4].copy_from_slice(&high.to_le_bytes());
            for pair in 0..4 {
                block[4 + pair] = (packed[2 * pair] & 15 | (packed[2 * pair + 1] & 15) << 4) as u8;
            }
            for b in 0..8 {
                let steps = inverse(d * fields[b] as f32);
                for j in 0..16 {
                    let (low, high) = (nearest_code(x[b][j] * steps), nearest_code(x[b][j + 16] * steps));
                    block[8 + 16 * b + j] = low | high << 4;
                }
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for IQ4_XS {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 128, max: 255 };
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let (head, mut low) = (blocks.word(0), blocks.word(4));
        let d = r.halves(head);
        let mut high = r.shr_ints::<16>(head);
        for b in 0..8 {
            let scale = r.or_ints(r.and_ints(low, 15), r.shl_ints::<4>(r.and_ints(high, 3)));
            out.put_scale(b, r.mul_floats(r.to_floats(r.add_ints(scale, -32)), d));
            (low, high) = (r.shr_ints::<4>(low), r.shr_ints::<2>(high));
        }
        for pair in 0..4 {
            for (i, bytes) in blocks.two_chunks(8 + 32 * pair).into_iter().enumerate() {
                let [low, high] = nibbles(r, bytes);
                out.put_codes(2 * pair + i, [look_up(r, &SHIFTED, low), look_up(r, &SHIFTED, high)]);
            }
        }
    }
}

/// The signed scale of sub-block `b`, from the six bytes of scales.
#[inline(always)]
fn scale(s: &[u8; 6], b: usize) -> i32 {
    let high = u16::from_le_bytes([s[0], s[1]]) as i32;
    let low = u32::from_le_bytes([s[2], s[3], s[4], s[5]]) as i32;
    ((low >> (4 * b)) & 15 | ((high >> (2 * b)) & 3) << 4) - 32
}
