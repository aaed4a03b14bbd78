//! TQ1_0: 256 elements in 54 bytes, each -1, 0 or 1, five in a byte.
//!
//! ```text
//! qs: 48 bytes, qh: 4 bytes; d: f16
//!   of byte m of the first 32 of qs, elements m + 32 n, n = 0..5; of byte 32 + m, elements 160 + m + 16 n; of
//!   byte m of qh, elements 240 + m + 4 n, n = 0..4
//! The n-th element of byte b is what 3 b' carries out of a byte, where b' = 3^n b mod 256: five digits to the
//! base 3 are stored as a fraction of 256, rounded up.
//! x = (carry - 1) d
//! ```

use super::coded::{Blocks, Coded, Unpacked};
use super::fit::inverse;
use super::format::Format;
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16};

#[allow(non_camel_case_types)]
pub(super) struct TQ1_0;

/// Of each part of a block: the first byte, how many there are, the first element, and how many a byte has.
const PARTS: [[usize; 4]; 3] = [[0, 32, 0, 5], [32, 16, 160, 5], [48, 4, 240, 4]];

impl Format for TQ1_0 {
    const DTYPE: DType = DType::TQ1_0;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.as_chunks::<54>().0.iter().zip(out.as_chunks_mut::<256>().0) {
            let d = f16_at(block, 52);
            for [at, n_bytes, first, n_elements] in PARTS {
                for (m, &byte) in block[at..at + n_bytes].iter().enumerate() {
                    let mut b = byte;
                    for n in 0..n_elements {
                        let carry = (3 * b as u16) >> 8;
                        x[first + n_bytes * n + m] = (carry as i32 - 1) as f32 * d;
                        b = b.wrapping_mul(3);
                    }
                }
            }
        }
    }

    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<256>().0.iter().zip(blocks.as_chunks_mut::<54>().0) {
            let steps = put_largest(x, block, 52);
            for [at, n_bytes, first, n_elements] in PARTS {
                for m in 0..n_bytes {
                    let digit = |n: usize| match n < n_elements {
                        true => (ternary(x[first + n_bytes * n + m], steps) + 1) as u32,
                        false => 0,
                    };
                    let number = (0..5).fold(0, |number, n| 3 * number + digit(n));
                    block[at + m] = (256 * number).div_ceil(243) as u8;
                }
            }
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl Coded for TQ1_0 {
    const SUB: usize = 32;
    const GROUP: usize = 128;
    const CODES: CodeRange = CodeRange { zero: 1, max: 2 };
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        let d = blocks.half(52);
        for i in 0..8 {
            out.put_scale(i, d);
        }
        let mut pair = blocks.two_chunks(0);
        for n in 0..5 {
            out.put_codes(n, [carries(r, pair[0]), carries(r, pair[1])]);
            pair = [triples(r, pair[0]), triples(r, pair[1])];
        }
        let mut bytes = blocks.chunk(32);
        for n in 0..2 {
            let next = triples(r, bytes);
            out.put_codes(5 + n, [carries(r, bytes), carries(r, next)]);
            bytes = triples(r, next);
        }
        let mut last = r.int_bytes(blocks.word(48));
        let mut four = [last; 4];
        for quad in &mut four {
            *quad = r.carry_of_triple(last);
            last = triple(r, last);
        }
        out.put_codes(7, [carries(r, bytes), four]);
    }
}

#[inline(always)]
fn carries<R: Rows16>(r: R, mut bytes: [R::Bytes; 4]) -> [R::Bytes; 4] {
    for b in &mut bytes {
        *b = r.carry_of_triple(*b);
    }
    bytes
}

#[inline(always)]
fn triples<R: Rows16>(r: R, mut bytes: [R::Bytes; 4]) -> [R::Bytes; 4] {
    for b in &mut bytes {
        *b = triple(r, *b);
    }
    bytes
}

#[inline(always)]
fn triple<R: Rows16>(r: R, b: R::Bytes) -> R::Bytes {
    r.add_bytes(b, r.add_bytes(b, b))
}

/// Stores the largest magnitude as the half at byte `at`, and returns its inverse, or 0 for 0.
pub(super) fn put_largest(x: &[f32], block: &mut [u8], at: usize) -> f32 {
    let largest = x.iter().fold(0f32, |max, x| if x.abs() > max { x.abs() } else { max });
    put_f16(block, at, largest);
    inverse(largest)
}

/// The nearest of -1, 0 and 1 to `x` times `steps`, halves away from zero.
pub(super) fn ternary(x: f32, steps: f32) -> i32 {
    ((x * steps).round() as i32).clamp(-1, 1)
}
