//! What the IQ1, IQ2 and IQ3 types share: lattices, signs, and a plain search for their codes.
//!
//! A code of these types names a point of a lattice, that is, the magnitudes of eight elements or of four at
//! once. A lattice is a choice among all points with three levels (or eight) a coordinate, in ascending order,
//! the first coordinate counting least; so it is written down as one bit for each of them. Which points they are
//! is a fact of the formats: the bits were made from the tables of the `gguf` package (0.19.0), and the tests
//! compare hashes of all that they decode to with ggml's.

use super::coded::{Blocks, Unpacked};
use super::fit::{inverse, nearest};
use crate::simd::{CodeRange, Rows16, Spread, Words};

/// A lattice of `N` points.
pub(super) struct Lattice<const N: usize> {
    /// The levels of each point, four bits a coordinate: of the first four in the low halves of four bytes, of
    /// the others in the high halves.
    pub words: Words<N>,
    /// The same with as few bits a coordinate as levels need, the first one lowest.
    points: [u16; N],
    /// Those bits.
    bits: u32,
    coordinates: usize,
}

/// Eight coordinates of three levels, as IQ1_S and IQ1_M have them, whose words hold four times the levels.
pub(super) static IQ1: Lattice<2048> = Lattice::new(&IQ1_SET, 3, 4);
/// Eight coordinates of three levels.
pub(super) static IQ2_XXS: Lattice<256> = Lattice::new(&IQ2_XXS_SET, 3, 1);
/// Eight coordinates of three levels.
pub(super) static IQ2_XS: Lattice<512> = Lattice::new(&IQ2_XS_SET, 3, 1);
/// Eight coordinates of three levels.
pub(super) static IQ2_S: Lattice<1024> = Lattice::new(&IQ2_S_SET, 3, 1);
/// Four coordinates of eight levels.
pub(super) static IQ3_XXS: Lattice<256> = Lattice::new(&IQ3_XXS_SET, 8, 1);
/// Four coordinates of eight levels.
pub(super) static IQ3_S: Lattice<512> = Lattice::new(&IQ3_S_SET, 8, 1);

/// The codes of the IQ1 types are eight times a level's value, shifted by one, nine higher.
pub(super) const IQ1_RANGE: CodeRange = CodeRange { zero: 9, max: 18 };
/// What the levels of the IQ2 types stand for.
pub(super) const IQ2_LEVELS: [u8; 3] = [8, 25, 43];
/// Their codes, by level and sign.
pub(super) const IQ2_CODES: [u8; 16] = signed_codes(43, &IQ2_LEVELS);
/// The range of those.
pub(super) const IQ2_RANGE: CodeRange = CodeRange { zero: 43, max: 86 };

impl<const N: usize> Lattice<N> {
    /// The points whose bits are set, with words of `factor` times the levels.
    const fn new(set: &[u64], levels: usize, factor: u32) -> Lattice<N> {
        let (coordinates, bits, spread) = match (levels, factor) {
            (3, 1) => (8, 2, Spread::EIGHT),
            (3, _) => (8, 2, Spread::EIGHT_HIGHER),
            _ => (4, 3, Spread::FOUR),
        };
        let (mut words, mut points) = ([0; N], [0; N]);
        let (mut n, mut number) = (0, 0);
        while number < levels.pow(coordinates as u32) {
            if set[number / 64] >> (number % 64) & 1 == 1 {
                let (mut rest, mut i) = (number, 0);
                while i < coordinates {
                    let level = (rest % levels) as u32;
                    words[n] |= (factor * level) << (8 * (i % 4) + 4 * (i / 4));
                    points[n] |= (level << (bits * i as u32)) as u16;
                    rest /= levels;
                    i += 1;
                }
                n += 1;
            }
            number += 1;
        }
        assert!(n == N);
        Lattice { words: Words::new(words, spread), points, bits, coordinates }
    }

    /// What a point's coordinate `i` has in its word.
    #[inline(always)]
    fn field(&self, point: usize, i: usize) -> usize {
        (self.words.get(point) >> (8 * (i % 4) + 4 * (i / 4)) & 15) as usize
    }

    /// The point that costs least, given what each level of each coordinate costs, and its cost.
    fn cheapest(&self, costs: &[[f32; 8]]) -> (usize, f32) {
        let half = self.coordinates / 2;
        // What all combinations of levels of half of the coordinates cost, a coordinate more at a time.
        let sums = |costs: &[[f32; 8]]| -> [f32; 256] {
            let mut sums = [0.0; 256];
            let mut n = 1;
            for costs in costs {
                for code in (0..n << self.bits).rev() {
                    sums[code] = sums[code % n] + costs[code / n];
                }
                n <<= self.bits;
            }
            sums
        };
        let (low, high) = (sums(&costs[..half]), sums(&costs[half..]));
        let half_bits = self.bits * half as u32;
        let mut best = (0, f32::INFINITY);
        for (i, &point) in self.points.iter().enumerate() {
            let cost = low[point as usize & ((1 << half_bits) - 1)] + high[point as usize >> half_bits];
            if cost < best.1 {
                best = (i, cost);
            }
        }
        best
    }
}

/// The scale of `x` with which `choose`, which says what eight elements become in units of a scale, loses least.
/// Some are tried, up to the one that makes the largest element `largest`, and each is improved by least squares.
pub(super) fn fit(x: &[f32], largest: f32, choose: impl Fn(&[f32], f32) -> [f32; 8]) -> f32 {
    let magnitude = x.iter().fold(0f32, |max, x| max.max(x.abs()));
    let (mut best, mut best_gain) = (0.0, 0.0);
    for share in [1.0, 0.7] {
        let mut scale = share * magnitude / largest;
        for _ in 0..2 {
            if !scale.is_normal() {
                break;
            }
            let (mut sum_xq, mut sum_q2) = (0f32, 0f32);
            for x in x.chunks_exact(8) {
                for (x, q) in x.iter().zip(choose(x, scale)) {
                    sum_xq += x * q;
                    sum_q2 += q * q;
                }
            }
            scale = sum_xq / sum_q2;
            // By how much the squares of what is left are less than those of the elements.
            if sum_xq * scale > best_gain {
                (best, best_gain) = (scale, sum_xq * scale);
            }
        }
    }
    best
}

/// Eight elements of a type with signs: the points that they become (one of eight coordinates, or two of four),
/// their signs, and their values in units of the scale.
pub(super) struct Signed {
    pub points: [usize; 2],
    pub signs: u8,
    pub values: [f32; 8],
}

/// The elements nearest to `x` over `scale`. If `even`, an even number of them is negative: where it is not so,
/// the smallest one gets the wrong sign.
pub(super) fn nearest_signed<const N: usize>(
    lattice: &Lattice<N>,
    levels: &[u8],
    x: &[f32],
    scale: f32,
    even: bool,
) -> Signed {
    let mut signs = (0..8).fold(0, |signs, i| signs | ((x[i] < 0.0) as u8) << i);
    if even && signs.count_ones() % 2 == 1 {
        let smallest = (1..8).fold(0, |best, i| if x[i].abs() < x[best].abs() { i } else { best });
        signs ^= 1 << smallest;
    }
    let sign = |i: usize| if signs >> i & 1 == 1 { -1.0 } else { 1.0 };
    let costs: [[f32; 8]; 8] = std::array::from_fn(|i| {
        let magnitude = sign(i) * x[i] / scale;
        let mut costs = [f32::INFINITY; 8];
        for (cost, level) in costs.iter_mut().zip(levels) {
            *cost = (magnitude - *level as f32) * (magnitude - *level as f32);
        }
        costs
    });
    let (mut points, mut values) = ([0; 2], [0.0; 8]);
    for (part, costs) in costs.chunks_exact(lattice.coordinates).enumerate() {
        points[part] = lattice.cheapest(costs).0;
        for i in 0..lattice.coordinates {
            let place = part * lattice.coordinates + i;
            values[place] = sign(place) * levels[lattice.field(points[part], i)] as f32;
        }
    }
    Signed { points, signs, values }
}

/// Eight elements of IQ1: the point, and the values in units of the scale.
pub(super) struct Shifted {
    pub point: usize,
    pub values: [f32; 8],
    /// The sum of the squares of the errors, in units of the scale.
    pub error: f32,
}

/// The elements nearest to `x` over `scale` with one shift.
pub(super) fn nearest_shifted(x: &[f32], scale: f32, down: bool) -> Shifted {
    let value = |level: usize| level as f32 - 1.0 + if down { -IQ1_SHIFT } else { IQ1_SHIFT };
    let costs: [[f32; 8]; 8] = std::array::from_fn(|i| {
        let mut costs = [f32::INFINITY; 8];
        for (level, cost) in costs[..3].iter_mut().enumerate() {
            *cost = (x[i] / scale - value(level)) * (x[i] / scale - value(level));
        }
        costs
    });
    let (point, error) = IQ1.cheapest(&costs);
    Shifted { point, values: std::array::from_fn(|i| value(IQ1.field(point, i) / 4)), error }
}

/// How far all elements of a group of IQ1 are shifted, one way or the other.
pub(super) const IQ1_SHIFT: f32 = 0.125;

/// Decodes eight elements of IQ1.
#[inline(always)]
pub(super) fn put_shifted(point: usize, down: bool, scale: f32, x: &mut [f32; 8]) {
    let shift = if down { -IQ1_SHIFT } else { IQ1_SHIFT };
    for (i, x) in x.iter_mut().enumerate() {
        *x = scale * ((IQ1.field(point, i) / 4) as f32 - 1.0 + shift);
    }
}

/// Decodes the elements of a point, given its word and its signs, the first one's lowest.
#[inline(always)]
pub(super) fn put_signed(words: u32, levels: &[u8], signs: u8, scale: f32, x: &mut [f32]) {
    for (i, x) in x.iter_mut().enumerate() {
        let level = levels[(words >> (8 * (i % 4) + 4 * (i / 4)) & 7) as usize] as f32;
        *x = scale * level * if signs >> i & 1 == 1 { -1.0 } else { 1.0 };
    }
}

/// The field for which 2 n + 1 is nearest to a scale over its unit.
pub(super) fn odd_field(scale: f32, unit: f32, max: i32) -> i32 {
    nearest((scale * inverse(unit) - 1.0) / 2.0).clamp(0, max)
}

/// The unit of scales that makes the largest of them `max` units.
pub(super) fn unit_of(scales: &[f32], max: f32) -> f32 {
    scales.iter().fold(0f32, |largest, scale| largest.max(*scale)) / max
}

/// The eight signs that seven bits stand for: the last one makes the number of negative ones even.
#[inline(always)]
pub(super) fn even_signs(seven: u32) -> u8 {
    (seven & 127 | ((seven & 127).count_ones() % 2) << 7) as u8
}

/// The signs of eight elements, in the words of a point of eight coordinates.
#[derive(Clone, Copy)]
pub(super) struct Signs {
    /// Given the first four.
    low: [u32; 16],
    /// Given the other four.
    high: [u32; 16],
}

/// All eight are stored.
pub(super) const STORED_SIGNS: Signs =
    Signs { low: sign_words(LOW_SIGN, 4, 0), high: sign_words(HIGH_SIGN, 4, 0) };
/// Seven are stored, above which there are bits of something else; the last one makes the number of negative
/// ones even. Each word has whether its own number of them is odd where the last sign belongs, so that the
/// exclusive or of both has the sign.
pub(super) const EVEN_SIGNS: Signs =
    Signs { low: sign_words(LOW_SIGN, 4, HIGH_SIGN << 24), high: sign_words(HIGH_SIGN, 3, HIGH_SIGN << 24) };
/// The same of the second of two points of four coordinates: what the first four signs make of the last one.
const ODD_LOW: [u32; 16] = sign_words(0, 4, LOW_SIGN << 24);
const EVEN_HIGH: [u32; 16] = sign_words(LOW_SIGN, 3, LOW_SIGN << 24);

/// The bit of a byte that says that the element with its level in the low four bits is negative.
const LOW_SIGN: u32 = 0x08;
/// The same of the one in the high four bits.
const HIGH_SIGN: u32 = 0x80;

/// For all numbers of four bits, a byte with `sign` for each of the first `n` that is set, and `odd` where an
/// odd number of these is.
const fn sign_words(sign: u32, n: u32, odd: u32) -> [u32; 16] {
    let (mut words, mut i) = ([0; 16], 0);
    while i < 16 {
        let mut element = 0;
        while element < n {
            if i >> element & 1 == 1 {
                words[i] ^= sign << (8 * element) ^ odd;
            }
            element += 1;
        }
        i += 1;
    }
    words
}

/// `zero` plus or minus what a level stands for, by the level in the low three bits and its sign in the fourth.
pub(super) const fn signed_codes(zero: u8, levels: &[u8]) -> [u8; 16] {
    let (mut codes, mut i) = ([zero; 16], 0);
    while i < levels.len() {
        codes[i] = zero + levels[i];
        codes[i + 8] = zero - levels[i];
        i += 1;
    }
    codes
}

/// The codes of a point of eight coordinates, given numbers whose lowest bits are its signs.
#[inline(always)]
pub(super) fn eight_codes<R: Rows16>(
    r: R,
    point: R::Ints,
    numbers: R::Ints,
    signs: &Signs,
    codes: &[u8; 16],
) -> [R::Bytes; 2] {
    let low = r.words(&signs.low, numbers);
    let high = r.words(&signs.high, r.shr_ints::<4>(numbers));
    let both = r.int_bytes(r.xor_ints(point, r.xor_ints(low, high)));
    [r.lookup(codes, r.and(both, 15)), r.lookup(codes, r.and(r.shr::<4>(both), 15))]
}

/// The codes of two points of four coordinates, given numbers whose lowest eight bits are their signs.
#[inline(always)]
pub(super) fn four_and_four_codes<R: Rows16>(
    r: R,
    points: [R::Ints; 2],
    numbers: R::Ints,
    codes: &[u8; 16],
) -> [R::Bytes; 2] {
    let low = r.words(&STORED_SIGNS.low, numbers);
    let high = r.words(&STORED_SIGNS.low, r.shr_ints::<4>(numbers));
    let [first, second] = [r.xor_ints(points[0], low), r.xor_ints(points[1], high)];
    [r.lookup(codes, r.int_bytes(first)), r.lookup(codes, r.int_bytes(second))]
}

/// The same of signs of which seven are stored.
#[inline(always)]
pub(super) fn four_and_four_even_codes<R: Rows16>(
    r: R,
    points: [R::Ints; 2],
    numbers: R::Ints,
    codes: &[u8; 16],
) -> [R::Bytes; 2] {
    let (low, odd) = (r.words(&STORED_SIGNS.low, numbers), r.words(&ODD_LOW, numbers));
    let high = r.words(&EVEN_HIGH, r.shr_ints::<4>(numbers));
    let first = r.xor_ints(points[0], low);
    let second = r.xor_ints(points[1], r.xor_ints(odd, high));
    [r.lookup(codes, r.int_bytes(first)), r.lookup(codes, r.int_bytes(second))]
}

/// The codes of 32 elements of IQ1: the words of four points, and numbers whose lowest four bits end with whether the shift is
/// down.
#[inline(always)]
pub(super) fn shifted_codes<R: Rows16>(
    r: R,
    points: [R::Ints; 4],
    shifts: [R::Ints; 4],
) -> [[R::Bytes; 4]; 2] {
    /// For each of eight levels, which the lattice has times four, a quarter of an eighth of them twice: 1 for
    /// up.
    const UP: [u32; 16] = {
        let (mut up, mut i) = ([0; 16], 0);
        while i < 8 {
            up[i] = 0x1111_1111;
            i += 1;
        }
        up
    };
    let mut out = [[r.int_bytes(points[0]); 4]; 2];
    for j in 0..4 {
        let both = r.or_ints(points[j], r.words(&UP, shifts[j]));
        let both = r.int_bytes(both);
        out[j / 2][2 * (j % 2)] = r.and(r.shl::<1>(both), 0x1e);
        out[j / 2][2 * (j % 2) + 1] = r.and(r.shr::<3>(both), 0x1e);
    }
    out
}

/// Puts sixteen scales of which eight bytes from byte `at` on hold a nibble each: d / 8 of the odd number.
#[inline(always)]
pub(super) fn put_nibble_scales<R: Rows16>(
    r: R,
    blocks: impl Blocks<R>,
    at: usize,
    out: &mut impl Unpacked<R>,
) {
    let eighth = r.mul_floats(blocks.half(0), r.splat_float(0.125));
    for half in 0..2 {
        let mut scales = blocks.word(at + 4 * half);
        for k in 0..8 {
            out.put_field(r, 8 * half + k, eighth, r.and_ints(scales, 15));
            scales = r.shr_ints::<4>(scales);
        }
    }
}

/// Numbers above four times seven bits: those of the first, of the second, and so on.
#[inline(always)]
pub(super) fn from_each_seven<R: Rows16>(r: R, word: R::Ints) -> [R::Ints; 4] {
    [word, r.shr_ints::<7>(word), r.shr_ints::<14>(word), r.shr_ints::<21>(word)]
}

/// A word, and what is above its first, second and third byte.
#[inline(always)]
pub(super) fn from_each_byte<R: Rows16>(r: R, word: R::Ints) -> [R::Ints; 4] {
    [word, r.shr_ints::<8>(word), r.shr_ints::<16>(word), r.shr_ints::<24>(word)]
}

#[rustfmt::skip]
const IQ1_SET: [u64; 103] = [
    0x514202a085142555, 0xa28a2086a8314508, 0x14508514202a081a, 0xa005152545442082, 0x8208001888208202,
    0x0aaabb88a02a03a0, 0xaa0a0022000baa90, 0x4508514008a0828c, 0x0851421450808821, 0x2a8008a09808308a,
    0x4248208514214508, 0x20a0c22c01450855, 0xa2aaa8242a00268a, 0x0028280808afe208, 0xa82028aa284202a0,
    0xa8bab9089b0a2080, 0x3aaaaea289aeca20, 0xb80e82bbbaeaeb7c, 0x2202920ed3caba22, 0x820aba8aa8202200,
    0x3ba2e04a2a000802, 0x81408100a22b2022, 0x8514012208288aaa, 0x5421450920821550, 0x203aa8230208a085,
    0xa208514254208284, 0x082a021450950820, 0x200248a08082a8b8, 0xab2802a268a28208, 0x083082082085082a,
    0xa085142145004045, 0x8229014500514200, 0x1430a1082a828a00, 0x2145082882145005, 0x2aaa200202208514,
    0xa828ae8ab1122000, 0x0a820070a8aaa1ba, 0x8200840222280208, 0xaa2ab0eaa0804800, 0xa7daea22ba8b20c2,
    0xaa2ab092a86e8b8b, 0x48202a0c448a8b72, 0x20aa082a8a284084, 0xa09aafa222a2ccc8, 0xa82a00020002a8e8,
    0xa2a28ba080200088, 0xba0a328280a0ba28, 0x2ba0a2ebfebab8be, 0x00a2ea280a8a08a2, 0xdeeaa4fa0c0232a1,
    0xeb7ebe8d2ea82bef, 0xdeba7de6bf7ff7fa, 0x12fa26bfff27fb69, 0x0ebeaa10228ae1e9, 0xae820ba8b208aa84,
    0x62048083e924baff, 0x002ba40aa8f2682c, 0x0012aae208082a02, 0x82c920a60a2a8202, 0x8c00a20028829089,
    0x6c00080882001380, 0x8abea602bbaaaa8a, 0xd02e976b8002caa0, 0xdeaa2e108210e9b2, 0x820a0004a5d11528,
    0x20a1010820828a00, 0xa0843222ba39aa82, 0x0262a28a00188009, 0xac21450051441481, 0x20aa085142145082,
    0x45082a120a87aa28, 0x08514208a0051421, 0x22a240a002200145, 0x8a6a08a208008800, 0x0a200080aaaab86e,
    0x5044082122c8e282, 0x8515208a09514214, 0x2a2aaa080a861450, 0x21450851420a0080, 0xe2085142145000a8,
    0x082a82180a828820, 0x0a028bb08aaaa2aa, 0x0aaa80822820aa2a, 0x220288a900280828, 0xba8a08b8280bbea0,
    0xaef8a4baffaeb24b, 0x30a0b668285220aa, 0x6a220828020a80e6, 0x2baaaa020a208062, 0x0808a2a0a9a2eaaa,
    0x0e8200228aa02010, 0x400aa08514214500, 0x4a0006a921450851, 0x440d1000a50802aa, 0x0514214508288214,
    0x0020f2ac82820800, 0x20ba0a280aaa0000, 0x280948820002a2ea, 0x0051454b110014e9, 0x5142145002a80145,
    0x400a288808248808, 0x02a0051401450008, 0x0000000145085140,
];

#[rustfmt::skip]
const IQ2_XXS_SET: [u64; 103] = [
    0x4141441055141555, 0x0000100044140400, 0x0040001400400400, 0x1050000004000000, 0x4004140100114140,
    0x0500001000400450, 0x0001000050000010, 0x4004144100004000, 0x0400000400001414, 0x0000000000040000,
    0x0000000000100400, 0x0010100414000000, 0x1001040011040040, 0x0000000100404000, 0x0000000004010000,
    0x0000400440041000, 0x0000100000000004, 0x1000400000001000, 0x0000000000000000, 0x0040000004000105,
    0x0000000000110000, 0x0000000001000000, 0x0414000000000040, 0x0000050100010000, 0x0000001010000000,
    0x0000000000500000, 0x0000414000000000, 0x0040000000004001, 0x0000004000040000, 0x0000000000000000,
    0x0000040040000040, 0x0000000004000000, 0x0000000000000000, 0x0000000001000000, 0x0110104144105000,
    0x0000400010000414, 0x0040400000440400, 0x4000000100404000, 0x0010000000010010, 0x0000001004000010,
    0x0000000100000000, 0x0414000000000000, 0x0000000000011000, 0x0401100000000004, 0x0004000000000000,
    0x0050441000040000, 0x0100000104000000, 0x0000000000040000, 0x0000000000000001, 0x0000000000000040,
    0x0001000001400000, 0x0400000000000000, 0x0000000100000000, 0x0400000004100400, 0x0040000000000000,
    0x0004000000000000, 0x0000000000000000, 0x0001000001000041, 0x0040000000004000, 0x0000400000000000,
    0x0011000000001000, 0x0000000000000000, 0x0400000000001400, 0x0000000000000000, 0x0000000000000000,
    0x0000000000000001, 0x0000000000000000, 0x0000000000000000, 0x0004000041400000, 0x0040040000004000,
    0x0000000000000004, 0x0000000000000004, 0x0040001000441400, 0x0400000004000000, 0x0004000010000000,
    0x4000000001000040, 0x0000000000000000, 0x0000000000010000, 0x0000010000000000, 0x0104000000000000,
    0x0100000000000410, 0x0040000000004000, 0x0001000000000000, 0x0040000400000000, 0x0000000000000001,
    0x0000000001000000, 0x0000000000000000, 0x0000000000000000, 0x0100000000001000, 0x0000000000000000,
    0x0000000000000000, 0x0000100000000400, 0x0000000100000004, 0x0000040000000000, 0x0000000000000000,
    0x0000000000000400, 0x0000000000000000, 0x0000000000000000, 0x0000000000000000, 0x0000000000040000,
    0x0000000000000004, 0x0000000000000000, 0x0000000000000000,
];

#[rustfmt::skip]
const IQ2_XS_SET: [u64; 103] = [
    0x1541455551555555, 0x4145505555540145, 0x4010515400010510, 0x5550000101000441, 0x0004140115154145,
    0x0404010500414550, 0x0005100041400000, 0x1105554000004000, 0x0540400010010414, 0x0010400000040001,
    0x0000000104000100, 0x4550515554011000, 0x1051540001054041, 0x5000500100004140, 0x0000010000400011,
    0x1001450041455000, 0x0100004140000004, 0x0400400000000000, 0x0000000000010000, 0x0400004004000505,
    0x0000000000110000, 0x0000000000000004, 0x5555000000000040, 0x0400010000414010, 0x0010001040001050,
    0x0000010000100000, 0x4000414400000400, 0x0040000000000001, 0x1000000010040000, 0x0000000001000100,
    0x0000040141100000, 0x0000000400100001, 0x0000010010000000, 0x0144000000001001, 0x1105554145555000,
    0x0500414550000414, 0x0141404000440001, 0x4000000000000140, 0x0010000414014515, 0x0000041001050001,
    0x4000010100400000, 0x0414000000000010, 0x0000000101011000, 0x0040004100001004, 0x0000000000400000,
    0x1041455000000000, 0x4140000004000105, 0x0000000000050004, 0x0000001000000040, 0x0004040105400000,
    0x0000410100004010, 0x0000001040000000, 0x0000100000001000, 0x0000404000400404, 0x0140100000010000,
    0x0000000000000000, 0x4000004000000000, 0x0100101001000041, 0x0000000000005000, 0x0010000000000000,
    0x4001000100000004, 0x0000000000000000, 0x0000000110000400, 0x0000000000001000, 0x0000001000000000,
    0x0000000001000000, 0x0000000000000400, 0x0010100000000400, 0x0415010515400000, 0x0001155000005000,
    0x0100000000041004, 0x0001400000000400, 0x0040001000541441, 0x0100000004000040, 0x0400004000000000,
    0x1000000100000000, 0x0014010000040004, 0x0000000000040400, 0x0004000000000000, 0x0105100404100000,
    0x0000010001000400, 0x0001000000100001, 0x0400000000000000, 0x0000004400004000, 0x0000000000001041,
    0x0014000000001000, 0x0000000100000000, 0x0400000000000000, 0x0000000400000000, 0x0000000000000100,
    0x0000001000000010, 0x0000000404014500, 0x4000000000010000, 0x0001144000000010, 0x0004000100000010,
    0x4000000000400000, 0x0000000000000000, 0x0000000000000000, 0x0040000400004000, 0x1040000000000045,
    0x0500000000000004, 0x0000050000000000, 0x0000000100010000,
];

#[rustfmt::skip]
const IQ2_S_SET: [u64; 103] = [
    0x1555455551555555, 0x5545505155551105, 0x5010515414150514, 0x5550101111000455, 0x5145541555555545,
    0x5414555514555550, 0x1451000455401051, 0x1155154000105004, 0x0540010110515555, 0x0040401051440455,
    0x0000100510140100, 0x4551515554004000, 0x5555541451151555, 0x5000145505155545, 0x0414000504414114,
    0x1455551455455000, 0x5505155540105154, 0x0514400010500414, 0x4000001000041401, 0x0140105154045155,
    0x0010500414550000, 0x1000041004000010, 0x5154000000000400, 0x0011010405415115, 0x1401050540415054,
    0x0104510010100004, 0x0514554400050000, 0x1440001050041455, 0x0000110004140105, 0x0004000400010500,
    0x1050001411000000, 0x0004150000400000, 0x0000100000000000, 0x0140040000004004, 0x1555554555555000,
    0x5505554550514414, 0x1541401051541455, 0x4000005004145104, 0x4550515554555555, 0x1051541455550041,
    0x5004145500004150, 0x5514100000400010, 0x0001040041455051, 0x0100004140105154, 0x0000400010500040,
    0x1555455000000000, 0x5540005154145555, 0x0010500414550515, 0x1400041401051440, 0x5154145555000000,
    0x0414550000414010, 0x1400000040001050, 0x0000000000110004, 0x0040414010515400, 0x0040001050000001,
    0x1000100000000000, 0x4400004000000000, 0x1040041451051545, 0x0004140105154000, 0x0400010400100010,
    0x1451010000000100, 0x0000004000105004, 0x0010001010000414, 0x0000000000040004, 0x0000105000100000,
    0x0010010000100000, 0x0000000000004000, 0x0000000400000000, 0x5414114515404000, 0x1455450001411011,
    0x1140004140005154, 0x0000000010500015, 0x0041455011555400, 0x4140105154000105, 0x0010500001010000,
    0x1000000000000050, 0x0000000105000141, 0x4000010000014040, 0x0004000000000000, 0x5545010000400500,
    0x0000414010515410, 0x0000101050001411, 0x0000100004140000, 0x4010515440000000, 0x1050004001000041,
    0x1100000000004000, 0x0010001000000010, 0x0001100041400000, 0x0000005000000000, 0x0000000000001100,
    0x0040000000000000, 0x0000105410111100, 0x0010000001040000, 0x4004100000000400, 0x5100014400000014,
    0x0100000000400010, 0x0000000010001040, 0x0000000000000000, 0x0040000000000004, 0x0100000000000040,
    0x0400004000000000, 0x0000011401400000, 0x0000000100001000,
];

#[rustfmt::skip]
const IQ3_XXS_SET: [u64; 64] = [
    0x2800000402058a15, 0x010010020522050a, 0x200082008a050215, 0x0100000000200582, 0x2800801080000800,
    0x0000040004000082, 0x0010000020000000, 0x0002000800005100, 0x00000180150a050a, 0x0000000000050205,
    0x040000000102050a, 0x0040004002010005, 0x0000010000000022, 0x0200004000110000, 0x0000000000000020,
    0x0000000100040000, 0x0000000402450a05, 0x018800000102052a, 0x0000200180058205, 0x1100000000001102,
    0x0000080020000000, 0x1000000200800008, 0x0000000000000000, 0x000000200000400a, 0x04200100000a0502,
    0x0000005002010005, 0x040004000020010a, 0x0000000008000200, 0x0400008001000000, 0x0000200000040041,
    0x0008000040001000, 0x0001000008000000, 0x00008800a0008010, 0x1000000000000000, 0x0041000180010000,
    0x0000002000000080, 0x0010020000000010, 0x0100000800200000, 0x0000000000000000, 0x0000000001000520,
    0x0100000200000400, 0x0000200000400041, 0x0400000004001000, 0x0000080000000004, 0x0400000000880100,
    0x0000000002000004, 0x0000010000000000, 0x0000000400100000, 0x0010005000100000, 0x0002000000020000,
    0x0010000000008000, 0x0000000041000000, 0x0000001000000000, 0x0000040000000020, 0x0000000008000000,
    0x0000000000020008, 0x00000400040001a8, 0x0000000100400000, 0x0000042000000400, 0x0001000008002001,
    0x0000000200020000, 0x0000000000100005, 0x0000000001000000, 0x0000000000000000,
];

#[rustfmt::skip]
const IQ3_S_SET: [u64; 64] = [
    0x92050aa5082357a7, 0x0422001022892317, 0x09000aa4112249a3, 0x228005104a052208, 0x0100020904128801,
    0x084000a208450014, 0x0200040002000a40, 0x0000110008450015, 0x040250005205ab17, 0x410005020902114b,
    0x040120090411a401, 0x0104000211820992, 0x000011440a001428, 0x0000020005020902, 0x0000005000910000,
    0x010400022002050a, 0x2980052a058a55ab, 0x0000020412248905, 0x12008802810a0092, 0x004001040a140225,
    0x2400000224090082, 0x0100080180040210, 0x0002200000020085, 0x0000010801400220, 0x020802942a04aa04,
    0x44010001000a102a, 0x0000010014010401, 0x0800208a018a1102, 0x0011040002044208, 0x0800401004200502,
    0x0000000200004000, 0x000000002005000a, 0x0100010204910411, 0x0000220821040a84, 0x010480010802210a,
    0x0000000022050a10, 0x0200000180100005, 0x00040000000200a0, 0x0001000010000800, 0x0000020801002100,
    0x1040049100041104, 0x040000000402042a, 0x0000080041080201, 0x0820021000800184, 0x0000004004010012,
    0x00000a0000400400, 0x0000000400000000, 0x0000000000040014, 0x000100000a002a00, 0x0010000000810001,
    0x0104200410000400, 0x0000000100021001, 0x0004000800200000, 0x0001000010000009, 0x0000000100000020,
    0x0000000000000a00, 0x0004100140050091, 0x0000002800100204, 0x0000020001024112, 0x0000080024000004,
    0x0000010000010822, 0x0000000400040000, 0x0000000002000004, 0x0000000000000001,
];
