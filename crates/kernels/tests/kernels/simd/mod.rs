//! Every instruction set the machine has, against the scalar definitions.

mod scalar;

use puna_kernels::Isa;
use puna_kernels::half::f16_to_f32;
use puna_kernels::isa::Kernel;
use puna_kernels::simd::{CodeRange, Rows16, Simd, Spread, Words, vectors};

use crate::test_data::random;

struct Exp<'a>(&'a mut [f32]);

impl Kernel for Exp<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = self.0.as_mut_ptr();
        for (i, n) in vectors(s, self.0.len()) {
            // SAFETY: `i + n` is at most the length.
            unsafe { s.store_n(p.add(i), s.exp(s.load_n(p.add(i), n)), n) };
        }
    }
}

struct Sums<'a>(&'a [f32; 64]);

impl Kernel for Sums<'_> {
    type Output = ([f32; 4], [f32; 4]);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> ([f32; 4], [f32; 4]) {
        let p = self.0.as_ptr();
        // SAFETY: four vectors of at most 16 floats.
        let v = unsafe { [s.load(p), s.load(p.add(16)), s.load(p.add(32)), s.load(p.add(48))] };
        (s.sum4(v), [s.sum(v[0]), s.sum(v[1]), s.sum(v[2]), s.sum(v[3])])
    }
}

#[test]
fn four_sums_have_the_bits_of_one() {
    let x: [f32; 64] = random(64, 9).try_into().unwrap();
    for isa in Isa::available() {
        let (four, one) = isa.run(Sums(&x));
        assert_eq!(four, one, "{}", isa.name());
        let want: f32 = x[..isa.f32_lanes()].iter().sum();
        assert!((one[0] - want).abs() < 1e-5, "{}: {} {want}", isa.name(), one[0]);
    }
}

/// The x86 minimum and maximum would hide it if their operands stood the other way round.
#[test]
fn exp_of_nan_is_nan() {
    for isa in Isa::available() {
        let mut x = [f32::NAN; 19];
        isa.run(Exp(&mut x));
        assert!(x.iter().all(|x| x.is_nan()), "{}", isa.name());
    }
}

/// 2 ulp of the true value, computed in f64, over the whole range and at every tail length.
#[test]
fn exp_is_within_two_ulp() {
    for isa in Isa::available() {
        for len in [1, 2, 3, 5, 7, 16, 17, 20_011] {
            let x: Vec<f32> = (0..len).map(|i| -86.9 + 174.8 * i as f32 / len as f32).collect();
            let mut y = x.clone();
            isa.run(Exp(&mut y));
            for (x, y) in x.iter().zip(&y) {
                let want = (*x as f64).exp();
                let ulp = f32::EPSILON as f64 * want;
                assert!((*y as f64 - want).abs() <= 2.0 * ulp, "{}: exp({x}) = {y}, want {want}", isa.name());
            }
        }
    }
}

struct Exp2<'a>(&'a mut [f32; 16]);

impl Kernel for Exp2<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = self.0.as_mut_ptr();
        for (i, _) in vectors(s, 16) {
            // SAFETY: 16 is a multiple of LANES.
            unsafe { s.store(p.add(i), s.exp2(s.load(p.add(i)))) };
        }
    }
}

#[test]
fn exp2_is_within_an_ulp() {
    for isa in Isa::available() {
        for first in (0..40_000).step_by(16) {
            let x: [f32; 16] = std::array::from_fn(|i| -125.0 + 252.0 * (first + i) as f32 / 40_000.0);
            let mut y = x;
            isa.run(Exp2(&mut y));
            for (x, y) in x.iter().zip(y) {
                let want = (*x as f64).exp2();
                let error = (y as f64 - want).abs();
                let bound = f32::EPSILON as f64 * want + 2f64.powi(-99);
                assert!(error <= bound, "{}: exp2({x}) = {y}", isa.name());
            }
        }
        let mut x = [0.0; 16];
        (x[1], x[2], x[3]) = (f32::NAN, -200.0, -3.0);
        isa.run(Exp2(&mut x));
        assert!(x[0] == 1.0 && x[1].is_nan() && x[2] == 0.0 && x[3] == 0.125, "{}", isa.name());
    }
}

struct Loads<'a>(&'a [u8; 32]);

impl Kernel for Loads<'_> {
    type Output = ([f32; 16], [f32; 16], f32);
    /// Sixteen bytes, sixteen halves, and the largest byte.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let (mut bytes, mut halves, mut max) = ([0.0; 16], [0.0; 16], 0.0);
        for (i, _) in vectors(s, 16) {
            // SAFETY: 16 is a multiple of LANES, and there are 32 bytes.
            unsafe {
                let v = s.sub(s.load_i8s(self.0.as_ptr().add(i)), s.splat(S::BYTE_OFFSET));
                max = f32::max(max, s.max_lane(v));
                s.store(bytes.as_mut_ptr().add(i), v);
                s.store(halves.as_mut_ptr().add(i), s.load_halves(self.0.as_ptr().cast::<u16>().add(i)));
            }
        }
        (bytes, halves, max)
    }
}

#[test]
fn bytes_and_halves_are_loaded_exactly() {
    for isa in Isa::available() {
        for start in 0..=255u8 {
            let x: [u8; 32] = std::array::from_fn(|i| start.wrapping_mul(i as u8 + 1).wrapping_add(7));
            let (bytes, halves, max) = isa.run(Loads(&x));
            assert_eq!(bytes, std::array::from_fn(|i| x[i] as f32), "{}", isa.name());
            assert_eq!(max, *x[..16].iter().max().unwrap() as f32, "{}", isa.name());
            for (x, half) in x.as_chunks().0.iter().zip(halves) {
                let want = f16_to_f32(u16::from_le_bytes(*x));
                assert!(half == want || half.is_nan() && want.is_nan(), "{}: {half} {want}", isa.name());
            }
        }
    }
}

/// Dots of `MR` rows, as numbers [row of x][panel][weight row].
struct Dot<'a, const MR: usize, const QUADS: usize> {
    codes: CodeRange,
    panels: [&'a [u8]; 2],
    x: &'a [i8],
    starts: &'a [i32],
}

impl<const MR: usize, const QUADS: usize> Kernel for Dot<'_, MR, QUADS> {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) -> Vec<f32> {
        assert!(self.panels.iter().all(|panel| panel.len() >= 64 * QUADS));
        assert!(self.x.len() >= 4 * MR * QUADS && self.starts.len() >= MR);
        let panels = self.panels.map(|panel| panel.as_ptr());
        // SAFETY: the lengths were checked; the test makes codes of the range.
        let dots =
            unsafe { s.dot::<MR, 2, QUADS>(self.codes, panels, self.x.as_ptr(), self.starts.as_ptr()) };
        let mut out = vec![0.0; 32 * MR];
        for (out, &dot) in out.chunks_exact_mut(16).zip(dots.as_flattened()) {
            // SAFETY: sixteen floats.
            unsafe { s.store_floats(out.as_mut_ptr(), s.to_floats(dot)) };
        }
        out
    }
}

fn check<const MR: usize, const QUADS: usize>(codes: CodeRange, code: &mut dyn FnMut() -> u8, x: &[i8]) {
    let panels: [Vec<u8>; 2] = [(); 2].map(|()| (0..64 * QUADS).map(|_| code()).collect());
    let sum =
        |r: usize| -> i32 { (0..QUADS).flat_map(|q| &x[4 * (MR * q + r)..][..4]).map(|&x| x as i32).sum() };
    let starts: Vec<i32> = (0..MR).map(|r| -(codes.zero as i32) * sum(r)).collect();
    let run = |isa: Isa| {
        let panels = [&panels[0][..], &panels[1][..]];
        isa.run(Dot::<MR, QUADS> { codes, panels, x, starts: &starts })
    };
    let want = run(Isa::SCALAR);
    for isa in Isa::available() {
        assert_eq!(run(isa), want, "{} {codes:?} {MR} x {QUADS}", isa.name());
    }
}

/// All instruction sets give the scalar definition's whole numbers, random and at the extremes.
#[test]
fn dots_are_exact() {
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let ranges = [(0, 3), (1, 2), (4, 7), (8, 15), (0, 15), (9, 18), (12, 24), (16, 28), (15, 30), (16, 31)];
    for (zero, max) in ranges.into_iter().chain([(0, 31), (32, 63), (43, 86), (62, 124), (128, 255)]) {
        let codes = CodeRange { zero, max };
        let x: Vec<i8> = (0..192).map(|_| (random() % 255) as i8).map(|x| x.max(-127)).collect();
        let mut any = || (random() % (max as u32 + 1)) as u8;
        check::<6, 8>(codes, &mut any, &x);
        check::<4, 8>(codes, &mut any, &x);
        check::<2, 4>(codes, &mut any, &x);
        check::<1, 4>(codes, &mut any, &x);
        for (code, x) in [(max, 127), (max, -127), (0, 127), (0, -127)] {
            check::<6, 8>(codes, &mut || code, &[x; 192]);
            check::<1, 4>(codes, &mut || code, &[x; 16]);
        }
    }
}

/// What the formats of lattices and trits need: words looked up by number, whatever the number, what differs
/// between words, sums of bytes, and carries.
struct Looked<'a>(&'a [u8; 64], &'a [u32; 512]);

impl Kernel for Looked<'_> {
    type Output = [[u8; 64]; 5];
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) -> Self::Output {
        let sixteen = self.1.first_chunk::<16>().unwrap();
        let mut out = [[0; 64]; 5];
        // SAFETY: 64 bytes each.
        unsafe {
            let bytes = s.load_bytes(self.0.as_ptr());
            let words = [s.words(self.1, s.ints(bytes)), s.words(sixteen, s.ints(bytes))];
            let more = [s.add_bytes(bytes, s.int_bytes(words[0])), s.carry_of_triple(bytes)];
            let both = s.int_bytes(s.xor_ints(words[0], words[1]));
            let all = [s.int_bytes(words[0]), s.int_bytes(words[1]), more[0], more[1], both];
            for (out, bytes) in out.iter_mut().zip(all) {
                s.store_bytes(out.as_mut_ptr(), bytes);
            }
        }
        out
    }
}

#[test]
fn words_sums_and_carries_are_exact() {
    let table: [u32; 512] = std::array::from_fn(|i| 0x9e37_79b9u32.wrapping_mul(i as u32 + 1));
    for first in 0..=255u8 {
        let bytes: [u8; 64] = std::array::from_fn(|i| first.wrapping_add((37 * i) as u8));
        let (rows, _) = bytes.as_chunks::<4>();
        let numbers: Vec<usize> = rows.iter().map(|row| u32::from_le_bytes(*row) as usize).collect();
        for isa in Isa::available() {
            let [words, of_sixteen, sums, carries, both] = isa.run(Looked(&bytes, &table));
            for i in 0..64 {
                let word = |n: usize| table[numbers[i / 4] % n].to_le_bytes()[i % 4];
                assert_eq!(words[i], word(512), "{}", isa.name());
                assert_eq!(of_sixteen[i], word(16), "{}", isa.name());
                assert_eq!(sums[i], bytes[i].wrapping_add(words[i]), "{}", isa.name());
                assert_eq!(both[i], words[i] ^ of_sixteen[i], "{}", isa.name());
                assert_eq!(carries[i] as u32, 3 * bytes[i] as u32 / 256, "{}", isa.name());
            }
        }
    }
}

/// Words looked up four at a time.
struct FourWords<'a, const N: usize>(&'a Words<N>, [&'a [u8; 64]; 2]);

impl<const N: usize> Kernel for FourWords<'_, N> {
    type Output = [[u8; 64]; 4];
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) -> Self::Output {
        let mut out = [[0; 64]; 4];
        // SAFETY: 64 bytes each.
        unsafe {
            let [low, high] = self.1.map(|bytes| s.ints(s.load_bytes(bytes.as_ptr())));
            for (out, words) in out.iter_mut().zip(s.four_words(self.0, low, high)) {
                s.store_bytes(out.as_mut_ptr(), s.int_bytes(words));
            }
        }
        out
    }
}

fn check_four_words<const N: usize>(spread: Spread) {
    let mask = spread.masks[0] | spread.masks[1];
    let table: [u32; N] = std::array::from_fn(|i| 0x9e37_79b9u32.wrapping_mul(i as u32 + 1) >> 3 & mask);
    let words = Words::new(table, spread);
    for first in 0..=255u8 {
        let low: [u8; 64] = std::array::from_fn(|i| first.wrapping_add((37 * i) as u8));
        let high: [u8; 64] = std::array::from_fn(|i| first.wrapping_mul(i as u8).rotate_left(3));
        for isa in Isa::available() {
            let found = isa.run(FourWords(&words, [&low, &high]));
            for (j, found) in found.iter().enumerate() {
                for (row, word) in found.as_chunks::<4>().0.iter().enumerate() {
                    let n = low[4 * row + j] as usize | (high[4 * row + j] as usize) << 8;
                    assert_eq!(u32::from_le_bytes(*word), table[n % N], "{} {N} {n}", isa.name());
                }
            }
        }
    }
}

#[test]
fn four_words_are_those_of_the_table() {
    for spread in [Spread::EIGHT, Spread::EIGHT_HIGHER, Spread::FOUR] {
        check_four_words::<256>(spread);
        check_four_words::<512>(spread);
        check_four_words::<1024>(spread);
        check_four_words::<2048>(spread);
    }
}
