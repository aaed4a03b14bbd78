//! Q3_Z, Q4_Z, Q8_Z and Q3_M, Q6_M, Q8_M: 32 elements, each a code times a scale, moved by an offset. They
//! hold what checkpoints of GPTQ, AWQ, HQQ and MLX store in several tensors, row after row; no file has them.
//!
//! ```text
//! d: f16 | z or m: f16 | codes
//! _Z: x = d q - d z      _M: x = d q + m
//!
//! 3 bits, 12 bytes: two low bits of element j in byte j % 8 at 2 (j / 8) | u32, bit j is the third of element j
//! 4 bits, 16 bytes: element j in the low nibble of byte j, element j + 16 in the high one
//! 6 bits, 24 bytes: as of 4 bits | two high bits of element j in byte j % 8 at 2 (j / 8)
//! 8 bits, 32 bytes
//! ```
//! d q and d z are exact, so x is rounded once; not even that where z is a whole number, as all but HQQ's are.
//! Codes of 8 bits are too many for products of bytes and are taken around 128: x = d (q - 128) + (128 d + m),
//! whose second sum may round too.

#![allow(non_camel_case_types)]

use std::marker::PhantomData;

use super::coded::{Blocks, Coded, Unpacked, fifth_bits, nibbles, two_halves};
use super::fit::{inverse, range};
use super::format::{Block, Format, part};
use crate::dtype::DType;
use crate::half::{f16_at, put_f16};
use crate::simd::{CodeRange, Rows16, Wide};

/// Codes of `BITS` bits and an offset of a kind.
pub(super) struct Affine<const BITS: usize, O>(PhantomData<O>);

pub(super) type Q3_Z = Affine<3, Zero>;
pub(super) type Q4_Z = Affine<4, Zero>;
pub(super) type Q8_Z = Affine<8, Zero>;
pub(super) type Q3_M = Affine<3, Minimum>;
pub(super) type Q6_M = Affine<6, Minimum>;
pub(super) type Q8_M = Affine<8, Minimum>;

/// What the second half of a block means.
pub(super) trait Offset {
    /// The types, by the bits of their codes.
    const DTYPES: &[(usize, DType)];
    /// The value of code 0.
    fn minimum(d: f32, second: f32) -> f32;
    /// The same of a block of each of sixteen rows.
    fn minima<R: Rows16>(r: R, d: R::Floats, second: R::Floats) -> R::Floats;
    /// Scale and second half for values from `min` to `max`.
    fn fit(min: f32, max: f32, max_code: f32) -> [f32; 2];
}

/// The code whose value is zero.
pub(super) struct Zero;

impl Offset for Zero {
    const DTYPES: &[(usize, DType)] = &[(3, DType::Q3_Z), (4, DType::Q4_Z), (8, DType::Q8_Z)];

    #[inline(always)]
    fn minimum(d: f32, zero: f32) -> f32 {
        -(zero * d)
    }

    #[inline(always)]
    fn minima<R: Rows16>(r: R, d: R::Floats, zero: R::Floats) -> R::Floats {
        r.mul_floats(r.mul_floats(zero, d), r.splat_float(-1.0))
    }

    fn fit(min: f32, max: f32, max_code: f32) -> [f32; 2] {
        let (min, max) = (min.min(0.0), max.max(0.0));
        let d = (max - min) / max_code;
        [d, (-min * inverse(d)).round()]
    }
}

/// The value of code 0.
pub(super) struct Minimum;

impl Offset for Minimum {
    const DTYPES: &[(usize, DType)] = &[(3, DType::Q3_M), (6, DType::Q6_M), (8, DType::Q8_M)];

    #[inline(always)]
    fn minimum(_: f32, minimum: f32) -> f32 {
        minimum
    }

    #[inline(always)]
    fn minima<R: Rows16>(_: R, _: R::Floats, minimum: R::Floats) -> R::Floats {
        minimum
    }

    fn fit(min: f32, max: f32, max_code: f32) -> [f32; 2] {
        [(max - min) / max_code, min]
    }
}

impl<const BITS: usize, O: Offset> Affine<BITS, O> {
    const MAX: u8 = ((1u32 << BITS) - 1) as u8;
    /// The code that is in the middle of products.
    const ZERO: u8 = if BITS == 8 { 128 } else { 0 };
    const DTYPE: DType = {
        let mut i = 0;
        while O::DTYPES[i].0 != BITS {
            i += 1;
        }
        O::DTYPES[i].1
    };

    /// The value of the code in the middle.
    #[inline(always)]
    fn minimum(d: f32, second: f32) -> f32 {
        match Self::ZERO {
            0 => O::minimum(d, second),
            zero => zero as f32 * d + O::minimum(d, second),
        }
    }

    #[inline(always)]
    fn codes(block: &[u8]) -> [u8; 32] {
        let (qs, mut codes) = (&block[4..], [0; 32]);
        for (j, q) in codes.iter_mut().enumerate() {
            *q = match BITS {
                3 => qs[j % 8] >> (2 * (j / 8)) & 3 | (qs[8 + j / 8] >> (j % 8) & 1) << 2,
                4 => qs[j % 16] >> (4 * (j / 16)) & 15,
                6 => qs[j % 16] >> (4 * (j / 16)) & 15 | (qs[16 + j % 8] >> (2 * (j / 8)) & 3) << 4,
                _ => qs[j],
            };
        }
        codes
    }
}

/// Writes 32 codes of `bits` bits, which are 0.
pub fn put_codes(bits: usize, codes: &[u8; 32], qs: &mut [u8]) {
    for (j, q) in codes.iter().enumerate() {
        match bits {
            3 => {
                qs[j % 8] |= (q & 3) << (2 * (j / 8));
                qs[8 + j / 8] |= (q >> 2 & 1) << (j % 8);
            }
            4 | 6 => {
                qs[j % 16] |= (q & 15) << (4 * (j / 16));
                if bits == 6 {
                    qs[16 + j % 8] |= (q >> 4 & 3) << (2 * (j / 8));
                }
            }
            _ => qs[j] = *q,
        }
    }
}

impl<const BITS: usize, O: Offset> Format for Affine<BITS, O> {
    const DTYPE: DType = Self::DTYPE;

    #[inline(always)]
    fn decode(blocks: &[u8], out: &mut [f32]) {
        for (block, x) in blocks.chunks_exact(Self::BYTES).zip(out.as_chunks_mut::<32>().0) {
            let d = f16_at(block, 0);
            let minimum = Self::minimum(d, f16_at(block, 2));
            for (x, q) in x.iter_mut().zip(Self::codes(block)) {
                *x = (q as i32 - Self::ZERO as i32) as f32 * d + minimum;
            }
        }
    }

    /// For three and six bits, what the compiler makes of the definition is good enough.
    #[inline(always)]
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
        let table = w.table(&std::array::from_fn(|q| q as i8));
        for (block, x) in blocks.chunks_exact(Self::BYTES).zip(out.as_chunks_mut::<32>().0) {
            let scale = f16_at(block, 0);
            let minimum = Self::minimum(scale, f16_at(block, 2));
            let (d, minimum) = (w.splat(scale), w.splat(minimum));
            match BITS {
                4 => {
                    let qs = part(block, 4);
                    let value = |code| w.add(w.mul(code, d), minimum);
                    w.store_pair([w.lookup::<0>(qs, table, value), w.lookup::<4>(qs, table, value)], x);
                }
                8 => {
                    let [first, second] = w.widen(w.sub_bytes(w.bytes(part(block, 4)), Self::ZERO));
                    w.store_pair([w.add(w.mul(first, d), minimum), w.add(w.mul(second, d), minimum)], x);
                }
                _ => Self::decode(block, x),
            }
        }
    }

    #[inline(always)]
    fn encode(x: &[f32], blocks: &mut [u8]) {
        for (x, block) in x.as_chunks::<32>().0.iter().zip(blocks.chunks_exact_mut(Self::BYTES)) {
            let (min, max) = range(x);
            let [d, second] = O::fit(min, max, Self::MAX as f32);
            block.fill(0);
            put_f16(block, 0, d);
            put_f16(block, 2, second);
            let (inverse, minimum) = (inverse(d), O::minimum(d, second));
            let codes = x.map(|x| ((x - minimum) * inverse).round().clamp(0.0, Self::MAX as f32) as u8);
            put_codes(BITS, &codes, &mut block[4..]);
        }
    }
}

// SAFETY: the test of unpacked codes finds all of them put.
unsafe impl<const BITS: usize, O: Offset> Coded for Affine<BITS, O> {
    const SUB: usize = 32;
    const GROUP: usize = 32;
    const CODES: CodeRange = CodeRange { zero: Self::ZERO, max: Self::MAX };
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        if BITS == 3 {
            let [_, first, second, third] = blocks.chunk(0);
            let bits = r.ints(third);
            let mut codes = [[first; 4]; 2];
            for (t, q) in codes.as_flattened_mut().iter_mut().enumerate() {
                let low = two_bits(r, if t % 2 == 0 { first } else { second }, 2 * (t / 2) as i32, 3);
                *q = r.or(low, r.and(r.shr::<2>(fifth_bits(r, bits, t)), 4));
            }
            out.put_codes(0, codes);
        } else if BITS == 8 {
            out.put_codes(0, blocks.two_chunks(4));
        } else {
            let mut codes = nibbles(r, blocks.chunk(4));
            if BITS == 6 {
                let [_, _, first, second] = blocks.chunk(12);
                for (t, q) in codes.as_flattened_mut().iter_mut().enumerate() {
                    let from = if t % 2 == 0 { first } else { second };
                    *q = r.or(*q, two_bits(r, from, 2 * (t / 2) as i32 - 4, 0x30));
                }
            }
            out.put_codes(0, codes);
        }
        let [d, second] = two_halves(r, blocks.word(0));
        out.put_scale(0, d);
        let minimum = O::minima(r, d, second);
        out.put_minimum(
            0,
            match Self::ZERO {
                0 => minimum,
                zero => r.add_floats(r.mul_floats(d, r.splat_float(zero as f32)), minimum),
            },
        );
    }
}

/// The bits of `mask` in each byte, `shift` places to the right (to the left if negative).
#[inline(always)]
fn two_bits<R: Rows16>(r: R, bytes: R::Bytes, shift: i32, mask: u8) -> R::Bytes {
    let moved = match shift {
        -4 => r.shl::<4>(bytes),
        -2 => r.shl::<2>(bytes),
        0 => bytes,
        2 => r.shr::<2>(bytes),
        4 => r.shr::<4>(bytes),
        _ => r.shr::<6>(bytes),
    };
    r.and(moved, mask)
}
