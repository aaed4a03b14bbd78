//! Q2_0: 64 elements in 18 bytes, each -1, 0, 1 or 2 in two bits.
//!
//! ```text
//! d: f16 | qs: 16 bytes, element j in bits 2 (j % 4).. of byte j / 4
//! x = (q - 1) d
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::Format;
use super::tq1_0::{put_largest, ternary};
use crate::dtype::DType;
use crate::half::f16_at;
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct Q2_0;

impl Format for Q2_0 {
    const DTYPE: DType = DType::Q2_0;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<18>().0.iter().zip(out.as_chunks_mut::<64>().0) {
            let d = f16_at(block, 0);
            for (byte, x) in block[2..].iter().zip(x.as_chunks_mut::<4>().0) {
                for (j, x) in x.iter_mut().enumerate() {
                    *x = ((byte >> (2 * j) & 3) as i32 - 1) as f32 * d;
                }
            }
        }
    }

    /// ggml's reference makes the largest magnitude one, so that the code for 2 is never used.
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<64>().0.iter().zip(blocks.as_chunks_mut::<18>().0) {
            let steps = put_largest(x, block, 0);
            for (x, byte) in x.as_chunks::<4>().0.iter().zip(&mut block[2..]) {
                *byte = (0..4).fold(0, |bits, j| bits | ((ternary(x[j], steps) + 1) as u8) << (2 * j));
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q2_0 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 1, max: 3 };
    const MINIMA: bool = false;
    const HALF_SCALES: bool = true;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let (d, words) = (blocks.half(0), blocks.chunk(2));
        for i in 0..2 {
            let mut codes = [[words[0]; 4]; 2];
            for half in 0..2 {
                let mut rest = r.ints(words[2 * i + half]);
                for quad in &mut codes[half] {
                    // Two copies of a byte, twelve bits apart, then four, six bits apart.
                    let byte = r.and_ints(rest, 0xff);
                    let two = r.or_ints(byte, r.shl_ints::<12>(byte));
                    let four = r.or_ints(two, r.shl_ints::<6>(two));
                    *quad = r.and(r.int_bytes(four), 3);
                    rest = r.shr_ints::<8>(rest);
                }
            }
            out.put_scale(i, d);
            out.put_codes(i, codes);
        }
    }
}
