//! The twelve bytes in which Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima.
//!
//! Bytes 0..4 hold scales 0..4 in their low six bits, bytes 4..8 minima 0..4. Bytes 8..12 hold the low four
//! bits of scales 4..8 (low nibbles) and minima 4..8 (high nibbles), whose upper two bits are the upper two
//! bits of bytes 0..4 and 4..8.

use super::coded::{Blocks, Unpacked, byte_floats, two_halves};
use crate::simd::Rows16;

/// Scale and minimum of sub-block `j`.
#[inline(always)]
pub fn unpack(s: &[u8; 12], j: usize) -> (u8, u8) {
    if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        ((s[j + 4] & 15) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4))
    }
}

/// The eight scales, then the eight minima, lowest byte first; unpacked four at a time in a word.
#[inline(always)]
pub fn unpack_all(s: &[u8; 12]) -> u128 {
    let (words, _) = s.as_chunks::<4>();
    let [a, b, c] = [words[0], words[1], words[2]].map(u32::from_le_bytes);
    let low = |word: u32| (word & 0x3f3f_3f3f) as u64;
    let high = |four: u32, two: u32| ((four & 0x0f0f_0f0f) | ((two >> 2) & 0x3030_3030)) as u64;
    let scales = low(a) | high(c, a) << 32;
    let minima = low(b) | high(c >> 4, b) << 32;
    scales as u128 | (minima as u128) << 64
}

/// Puts the scales and minima of a Q4_K or Q5_K block, whose first sixteen bytes are d, dmin and the packed
/// twelve.
#[inline(always)]
pub(super) fn put_scales_minima<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
    let [head, a, b, c] = blocks.chunk(0);
    let [head, a, b, c] = [r.ints(head), r.ints(a), r.ints(b), r.ints(c)];
    let [d, dmin] = two_halves(r, head);
    let minus_dmin = r.mul_floats(dmin, r.splat_float(-1.0));
    let scales = [r.and_ints(a, 0x3f3f_3f3f), six_bits(r, c, a)];
    let minima = [r.and_ints(b, 0x3f3f_3f3f), six_bits(r, r.shr_ints::<4>(c), b)];
    for half in 0..2 {
        let (scales, minima) = (byte_floats(r, scales[half], 0), byte_floats(r, minima[half], 0));
        for i in 0..4 {
            out.put_scale(4 * half + i, r.mul_floats(scales[i], d));
            out.put_minimum(4 * half + i, r.mul_floats(minima[i], minus_dmin));
        }
    }
}

/// Four numbers with their low four bits in the low nibbles of `four` and the others at the top of the bytes
/// of `two`.
#[inline(always)]
fn six_bits<R: Rows16>(r: R, four: R::Ints, two: R::Ints) -> R::Ints {
    let two = r.and_ints(r.shr_ints::<2>(two), 0x3030_3030);
    r.or_ints(r.and_ints(four, 0x0f0f_0f0f), two)
}

/// Packs values below 64.
pub fn pack(scales: &[u8; 8], minima: &[u8; 8]) -> [u8; 12] {
    std::array::from_fn(|i| match i {
        0..4 => scales[i] | (scales[i + 4] >> 4) << 6,
        4..8 => minima[i - 4] | (minima[i] >> 4) << 6,
        _ => (scales[i - 4] & 15) | (minima[i - 4] & 15) << 4,
    })
}
