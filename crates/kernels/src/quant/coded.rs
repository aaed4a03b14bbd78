//! Formats of small codes, and how int8 products take them: the codes of sixteen rows side by side, with
//! their scales and minima.
//!
//! An element is `scale (code - zero) + minimum`, with the same floats that `decode` uses. So the dot product
//! of codes with whole-number activations, times the scale, is that of the decoded weights but for the
//! rounding of its sums. [`Coded::unpack`] is written once over [`Rows16`]: the bytes of a block have been
//! transposed to run across rows, and it cuts the codes out of them with shifts and masks. The tests hold the
//! result to `decode`, bit for bit; or to `decode_rounded`, where a format's values are not the multiples of one
//! number.

use super::format::Block;
use crate::simd::{CodeRange, Rows16};

/// A format whose elements are small codes times scales.
///
/// # Safety
/// `unpack` puts the codes and the scale of every sub-block and, if `MINIMA`, its minimum: they are read
/// without being initialised otherwise. `SUB` is 16 or 32, and divides `GROUP`, which divides 128 or the
/// block.
pub unsafe trait Coded: Block {
    /// Elements that share a scale: 16 or 32.
    const SUB: usize;
    /// Activations that share a scale: no more than llama.cpp shares for this format, and a multiple of
    /// `SUB`.
    const GROUP: usize;
    /// The codes' range.
    const CODES: CodeRange;
    /// Whether elements have minima; their zero is 0 or 128 then.
    const MINIMA: bool;
    /// Whether scales are halves.
    const HALF_SCALES: bool = false;
    /// Whether the bytes that are left over when a block is cut into fours are its first ones.
    const TAIL_FIRST: bool = false;
    /// Whether only copies have this format, and no file.
    const IS_COPY: bool = false;

    /// Unpacks a block of each row.
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>);
}

/// What the dot product of a sub-block's codes with activations of sum `sum` starts from: -zero times the sum,
/// and the bias ([`bias`]). Where the zero is 0 that is not read, and minima need the sum itself: its bits as f32.
pub(crate) fn start_of<T: Coded>(sum: i32, bias: i32) -> i32 {
    match T::MINIMA && T::CODES.zero == 0 {
        true => (sum as f32).to_bits() as i32,
        false => bias - T::CODES.zero as i32 * sum,
    }
}

/// What dot products have too much ([`Rows16::BIAS`]), until [`scaled`] takes it off, of formats whose sub-blocks have
/// their own scale of activations.
#[inline(always)]
pub(crate) fn bias<R: Rows16, T: Coded>() -> i32 {
    match T::HALF_SCALES && T::GROUP == T::SUB && T::CODES.zero > 0 && !T::MINIMA {
        true => R::BIAS,
        false => 0,
    }
}

/// A sub-block's dot products, biased by `bias`, times its scale; `scaled_bias` is that of the bias.
///
/// `scale (bias + dot) - scale bias` is rounded once and equals `scale dot` for every finite scale, since `scale bias` is
/// exact: a half has eleven binary digits, and the bias two.
#[inline(always)]
pub(crate) fn scaled<R: Rows16>(
    r: R,
    bias: i32,
    dot: R::Ints,
    scale: R::Floats,
    scaled_bias: R::Floats,
) -> R::Floats {
    match bias {
        0 => r.mul_floats(r.to_floats(dot), scale),
        _ => r.fma_floats(r.float_bits(dot), scale, scaled_bias),
    }
}

/// What [`scaled`] adds.
#[inline(always)]
pub(crate) fn scaled_bias<R: Rows16>(r: R, bias: i32, scale: R::Floats) -> R::Floats {
    r.mul_floats(scale, r.splat_float(-f32::from_bits(bias as u32)))
}

/// The sum that a minimum is multiplied with.
#[inline(always)]
pub(crate) fn sum_of<T: Coded>(start: i32) -> f32 {
    match T::CODES.zero {
        0 => f32::from_bits(start as u32),
        zero => start as f32 * (-1.0 / zero as f32), // Exact: a power of two, and few digits.
    }
}

/// One block of each of sixteen rows. Bytes are named by their place in a block as stored.
pub trait Blocks<R: Rows16>: Copy {
    /// Sixteen bytes from byte `at` on, four of each row a vector.
    fn chunk(self, at: usize) -> [R::Bytes; 4];

    /// 32 bytes from byte `at` on, as two chunks.
    fn two_chunks(self, at: usize) -> [[R::Bytes; 4]; 2];

    /// Four bytes from byte `at` on, as a number.
    fn word(self, at: usize) -> R::Ints;

    /// Byte `at`, as a number.
    fn byte(self, at: usize) -> R::Ints;

    /// The half in bytes `at` and `at + 1`.
    fn half(self, at: usize) -> R::Floats;
}

/// Blocks as a checkpoint stores them, row after row.
#[derive(Clone, Copy)]
pub struct StoredBlocks<R> {
    r: R,
    start: *const u8,
    stride: usize,
    len: usize,
}

impl<R: Rows16> StoredBlocks<R> {
    /// Blocks of `len` bytes, row r's at `start + r * stride`.
    ///
    /// # Safety
    /// They are readable as long as the value lives.
    #[inline(always)]
    pub unsafe fn new(r: R, start: *const u8, stride: usize, len: usize) -> StoredBlocks<R> {
        StoredBlocks { r, start, stride, len }
    }
}

impl<R: Rows16> Blocks<R> for StoredBlocks<R> {
    #[inline(always)]
    fn chunk(self, at: usize) -> [R::Bytes; 4] {
        assert!(at + 16 <= self.len);
        // SAFETY: inside the blocks, which `new`'s caller vouches for.
        unsafe { self.r.chunk(self.start.add(at), self.stride) }
    }

    #[inline(always)]
    fn two_chunks(self, at: usize) -> [[R::Bytes; 4]; 2] {
        assert!(at + 32 <= self.len);
        // SAFETY: as above.
        unsafe { self.r.two_chunks(self.start.add(at), self.stride) }
    }

    /// A chunk of sixteen begins or ends with these four, since every block is long enough for one. The
    /// compiler drops the work on the other twelve.
    #[inline(always)]
    fn word(self, at: usize) -> R::Ints {
        match at + 16 <= self.len {
            true => self.r.ints(self.chunk(at)[0]),
            false => self.r.ints(self.chunk(at - 12)[3]),
        }
    }

    #[inline(always)]
    fn byte(self, at: usize) -> R::Ints {
        self.r.and_ints(self.word(at), 255)
    }

    #[inline(always)]
    fn half(self, at: usize) -> R::Floats {
        match at + 4 <= self.len {
            true => self.r.halves(self.word(at)),
            false => self.r.halves(self.r.shr_ints::<16>(self.word(at - 2))),
        }
    }
}

/// Blocks of sixteen rows side by side: see `repack.rs`.
#[derive(Clone, Copy)]
pub(crate) struct RepackedBlocks<R> {
    r: R,
    start: *const u8,
    layout: Layout,
}

impl<R: Rows16> RepackedBlocks<R> {
    /// The sixteen blocks at `start`.
    ///
    /// # Safety
    /// They are readable as long as the value lives.
    #[inline(always)]
    pub unsafe fn new<T: Coded>(r: R, start: *const u8) -> RepackedBlocks<R> {
        RepackedBlocks { r, start, layout: Layout::of::<T>() }
    }

    /// Where the four bytes from byte `at` on are.
    #[inline(always)]
    fn place(self, at: usize, len: usize) -> *const u8 {
        let place = at - self.layout.head;
        assert!(place.is_multiple_of(4) && place + len <= self.layout.whole);
        self.start.wrapping_add(16 * place)
    }
}

impl<R: Rows16> Blocks<R> for RepackedBlocks<R> {
    #[inline(always)]
    fn chunk(self, at: usize) -> [R::Bytes; 4] {
        let from = self.place(at, 16);
        let r = self.r;
        // SAFETY: inside the blocks, which `new`'s caller vouches for.
        unsafe {
            let (a, b) = (r.load_bytes(from), r.load_bytes(from.add(64)));
            [a, b, r.load_bytes(from.add(128)), r.load_bytes(from.add(192))]
        }
    }

    #[inline(always)]
    fn two_chunks(self, at: usize) -> [[R::Bytes; 4]; 2] {
        [self.chunk(at), self.chunk(at + 16)]
    }

    #[inline(always)]
    fn word(self, at: usize) -> R::Ints {
        // SAFETY: as above.
        self.r.ints(unsafe { self.r.load_bytes(self.place(at, 4)) })
    }

    #[inline(always)]
    fn byte(self, at: usize) -> R::Ints {
        let Layout { head, whole, tail } = self.layout;
        assert!((at < head || at - head >= whole) && tail == 1);
        // SAFETY: as above; the tail is a byte of each row.
        unsafe { self.r.sixteen_bytes(self.start.add(16 * whole)) }
    }

    #[inline(always)]
    fn half(self, at: usize) -> R::Floats {
        let Layout { head, whole, tail } = self.layout;
        if at < head || at - head >= whole {
            assert!(tail == 2);
            // SAFETY: as above; the tail is a half of each row.
            return unsafe { self.r.sixteen_halves(self.start.add(16 * whole)) };
        }
        match (at - head) % 4 {
            0 => self.r.halves(self.word(at)),
            _ => self.r.halves(self.r.shr_ints::<16>(self.word(at - 2))),
        }
    }
}

/// How the bytes of interleaved blocks lie: four of each row, again and again, then the rest of each.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Bytes at the beginning of a stored block that come last.
    pub head: usize,
    /// Bytes that lie in fours.
    pub whole: usize,
    /// Bytes that are left over.
    pub tail: usize,
}

impl Layout {
    #[inline(always)]
    pub fn of<T: Coded>() -> Layout {
        let len = T::BYTES;
        let tail = len % 4;
        Layout { head: if T::TAIL_FIRST { tail } else { 0 }, whole: len - tail, tail }
    }
}

/// Takes a block's codes, scales and minima.
pub trait Unpacked<R: Rows16> {
    /// The codes of sub-block `i`, sixteen elements an array, four a vector.
    fn put_codes<const SIXTEENS: usize>(&mut self, i: usize, codes: [[R::Bytes; 4]; SIXTEENS]);
    /// The scale of sub-block `i`, `unit (2 field + 1)`: that of the types with lattices.
    #[inline(always)]
    fn put_field(&mut self, r: R, i: usize, unit: R::Floats, field: R::Ints) {
        let odd = r.to_floats(r.add_ints(r.shl_ints::<1>(field), 1));
        self.put_scale(i, r.mul_floats(unit, odd));
    }
    /// The scale of sub-block `i`.
    fn put_scale(&mut self, i: usize, scale: R::Floats);
    /// The minimum of sub-block `i`.
    fn put_minimum(&mut self, i: usize, minimum: R::Floats);
}

/// The bits of `mask` in each byte, `shift` places to the right (to the left if negative).
#[inline(always)]
pub(super) fn field<R: Rows16>(r: R, bytes: [R::Bytes; 4], shift: i32, mask: u8) -> [R::Bytes; 4] {
    let mut out = bytes;
    for b in &mut out {
        *b = moved(r, *b, shift, mask);
    }
    out
}

/// The same of four bytes of each row.
#[inline(always)]
pub(super) fn moved<R: Rows16>(r: R, b: R::Bytes, shift: i32, mask: u8) -> R::Bytes {
    let moved = match shift {
        -6 => r.shl::<6>(b),
        -4 => r.shl::<4>(b),
        -3 => r.shl::<3>(b),
        -2 => r.shl::<2>(b),
        -1 => r.shl::<1>(b),
        0 => b,
        1 => r.shr::<1>(b),
        2 => r.shr::<2>(b),
        3 => r.shr::<3>(b),
        4 => r.shr::<4>(b),
        5 => r.shr::<5>(b),
        6 => r.shr::<6>(b),
        _ => unreachable!("no format shifts by {shift}"),
    };
    r.and(moved, mask)
}

/// The bits of either.
#[inline(always)]
pub(super) fn join<R: Rows16>(r: R, mut a: [R::Bytes; 4], b: [R::Bytes; 4]) -> [R::Bytes; 4] {
    for (a, b) in a.iter_mut().zip(b) {
        *a = r.or(*a, b);
    }
    a
}

/// Sixteen bytes of nibbles: the low ones, then the high ones.
#[inline(always)]
pub(super) fn nibbles<R: Rows16>(r: R, bytes: [R::Bytes; 4]) -> [[R::Bytes; 4]; 2] {
    [field(r, bytes, 0, 15), field(r, bytes, 4, 15)]
}

/// `table[b]` of each byte.
#[inline(always)]
pub(super) fn look_up<R: Rows16>(r: R, table: &[u8; 16], mut bytes: [R::Bytes; 4]) -> [R::Bytes; 4] {
    for b in &mut bytes {
        *b = r.lookup(table, *b);
    }
    bytes
}

/// The four bytes of each number plus `bias`, as floats.
#[inline(always)]
pub(super) fn byte_floats<R: Rows16>(r: R, word: R::Ints, bias: i32) -> [R::Floats; 4] {
    let bytes = [
        r.and_ints(word, 255),
        r.and_ints(r.shr_ints::<8>(word), 255),
        r.and_ints(r.shr_ints::<16>(word), 255),
        r.shr_ints::<24>(word),
    ];
    let mut out = [r.splat_float(0.0); 4];
    for (out, b) in out.iter_mut().zip(bytes) {
        *out = r.to_floats(if bias == 0 { b } else { r.add_ints(b, bias) });
    }
    out
}

/// The halves in the low and the high sixteen bits of each number.
#[inline(always)]
pub(super) fn two_halves<R: Rows16>(r: R, word: R::Ints) -> [R::Floats; 2] {
    [r.halves(word), r.halves(r.shr_ints::<16>(word))]
}

/// Bytes whose bit 4 is set where a bit of `word` is, one bit an element: those of elements `4 quad..`.
#[inline(always)]
pub(super) fn fifth_bits<R: Rows16>(r: R, word: R::Ints, quad: usize) -> R::Bytes {
    let word = match quad {
        0 => word,
        1 => r.shr_ints::<4>(word),
        2 => r.shr_ints::<8>(word),
        3 => r.shr_ints::<12>(word),
        4 => r.shr_ints::<16>(word),
        5 => r.shr_ints::<20>(word),
        6 => r.shr_ints::<24>(word),
        _ => r.shr_ints::<28>(word),
    };
    let nibble = r.and_ints(word, 15);
    // Each byte gets the nibble, keeps one bit of it, and trades that for bit 4.
    let twice = r.or_ints(nibble, r.shl_ints::<8>(nibble));
    let four_times = r.or_ints(twice, r.shl_ints::<16>(twice));
    let kept = r.int_bytes(r.and_ints(four_times, 0x0804_0201));
    r.lookup(&[0, 16, 16, 0, 16, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0], kept)
}
