//! TQ2_0: 256 elements in 66 bytes, each -1, 0 or 1 in two bits.
//!
//! ```text
//! qs: 64 bytes, element i in bits 2 ((i % 128) / 32).. of byte 32 (i / 128) + i % 32; d: f16
//! x = (q - 1) d
//! ```

use super::coded::{Blocks, Coded, Unpacked, field};
use super::format::{Format, part};
use super::q2_k::put_two_bits;
use super::tq1_0::{put_largest, ternary};
use crate::dtype::DType;
use crate::half::f16_at;
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct TQ2_0;

impl Format for TQ2_0 {
    const DTYPE: DType = DType::TQ2_0;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<66>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 64);
            for (sub, x) in x.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let qs = part::<32>(block, sub / 4 * 32);
                for (q, x) in qs.iter().zip(x) {
                    *x = ((q >> (2 * (sub % 4)) & 3) as i32 - 1) as f32 * d;
                }
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<66>().0) {
            let steps = put_largest(x, block, 64);
            put_two_bits(&x.map(|x| (ternary(x, steps) + 1) as u8), &mut block[..64]);
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for TQ2_0 {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 1, max: 3 };
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let d = blocks.half(64);
        for half in 0..2 {
            let [first, second] = blocks.two_chunks(32 * half);
            for g in 0..4 {
                let shift = 2 * g as i32;
                out.put_scale(4 * half + g, d);
                out.put_codes(4 * half + g, [field(r, first, shift, 3), field(r, second, shift, 3)]);
            }
        }
    }
}
