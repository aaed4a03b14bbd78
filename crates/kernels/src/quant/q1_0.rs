//! Q1_0: 128 elements in 18 bytes, a bit each: the scale or minus the scale.
//!
//! ```text
//! d: f16 | qs: 16 bytes, element j in bit j % 8 of byte j / 8
//! x = ±d, + where the bit is set
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::format::Format;
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct Q1_0;

impl Format for Q1_0 {
    const DTYPE: DType = DType::Q1_0;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<18>().0.iter().zip(out.as_chunks_mut::<128>().0) {
            let d = f16_at(block, 0);
            for (byte, x) in block[2..].iter().zip(x.as_chunks_mut::<8>().0) {
                for (j, x) in x.iter_mut().enumerate() {
                    *x = if byte >> j & 1 == 1 { d } else { -d };
                }
            }
        }
    }

    /// The mean magnitude, which loses least.
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<128>().0.iter().zip(blocks.as_chunks_mut::<18>().0) {
            let sum = x.iter().fold(0f32, |sum, x| sum + x.abs());
            put_f16(block, 0, sum / 128.0);
            for (x, byte) in x.as_chunks::<8>().0.iter().zip(&mut block[2..]) {
                *byte = (0..8).fold(0, |bits, j| bits | ((x[j] >= 0.0) as u8) << j);
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for Q1_0 {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: 1, max: 2 };
    const MINIMA: bool = false;
    const HALF_SCALES: bool = true;
    const TAIL_FIRST: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        /// Of four bits, a byte each: 2 where it is set.
        const TWOS: [u32; 16] = {
            let (mut twos, mut i) = ([0; 16], 0);
            while i < 16 {
                let bits = i as u32;
                twos[i] = 2 * (bits & 1 | (bits & 2) << 7 | (bits & 4) << 14 | (bits & 8) << 21);
                i += 1;
            }
            twos
        };
        let d = blocks.half(0);
        for (i, word) in blocks.chunk(2).into_iter().enumerate() {
            let mut bits = r.ints(word);
            let mut codes = [[word; 4]; 2];
            for quad in codes.as_flattened_mut() {
                *quad = r.int_bytes(r.words(&TWOS, bits));
                bits = r.shr_ints::<4>(bits);
            }
            out.put_scale(i, d);
            out.put_codes(i, codes);
        }
    }
}
