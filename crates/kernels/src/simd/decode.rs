//! What the decoders need of an instruction set: sixteen floats, thirty-two bytes, and a table of sixteen
//! codes.
//!
//! A decoder written over [`Wide`] reads its packed bytes, shifts and masks them thirty-two at a time, and
//! widens them to floats sixteen at a time. Formats with at most sixteen codes (all the four-bit ones, and
//! Q2_K) look their values up instead: see [`Wide::lookup`]. Arithmetic is never fused, so that results equal
//! the scalar definitions.
//!
//! The implementing types prove that the CPU has the instructions (see `isa.rs`); arguments are references to
//! arrays, so nothing here is unsafe to call.

/// One instruction set's view of packed weights.
pub trait Wide: Copy {
    /// Sixteen f32.
    type Floats: Copy;
    /// Thirty-two bytes.
    type Bytes: Copy;
    /// A table of sixteen signed codes.
    type Table: Copy;

    fn splat(self, x: f32) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn store(self, v: Self::Floats, out: &mut [f32; 16]);

    /// The value of one half, little-endian, in all lanes.
    fn half(self, bits: &[u8; 2]) -> Self::Floats;
    /// Sixteen halves, little-endian.
    fn halves(self, bits: &[u8; 32]) -> Self::Floats;
    /// The nearest halves, little-endian.
    fn to_halves(self, x: &[f32; 16]) -> [u8; 32];

    /// The largest magnitude, or NaN if there is one.
    fn max_magnitude(self, x: &[f32; 32]) -> f32;
    /// The elements times `factor` as signed bytes: the nearest integers, halves away from zero; 0 for NaN.
    /// The products are little above 127 at most.
    fn scaled_to_bytes(self, x: &[f32; 32], factor: f32) -> [u8; 32];

    fn bytes(self, from: &[u8; 32]) -> Self::Bytes;
    /// The sixteen low nibbles, then the sixteen high ones.
    fn nibbles(self, from: &[u8; 16]) -> Self::Bytes;
    /// 0xff where the bit of the same index is set, else 0.
    fn masks(self, bits: u32) -> Self::Bytes;
    fn and(self, a: Self::Bytes, mask: u8) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn sub_bytes(self, a: Self::Bytes, b: u8) -> Self::Bytes;
    /// Shifts each byte right. The bits that enter are undefined: mask those you want.
    fn shr<const N: i32>(self, a: Self::Bytes) -> Self::Bytes;
    /// Shifts each byte left. The bits that enter are undefined: mask those you want.
    fn shl<const N: i32>(self, a: Self::Bytes) -> Self::Bytes;
    /// The bytes as signed numbers: the first sixteen, the last sixteen.
    fn widen(self, a: Self::Bytes) -> [Self::Floats; 2];

    /// The sixteen signed bytes of a word, lowest first, as floats.
    fn ints(self, bytes: u128) -> Self::Floats;

    /// A table to look up in.
    fn table(self, codes: &[i8; 16]) -> Self::Table;
    /// `value(table[(b >> SHIFT) & 15])` for each byte `b`, where `value` works lane by lane.
    ///
    /// With vectors of sixteen lanes, `value` is applied once to the table itself, and one permutation per
    /// sixteen weights replaces conversion and arithmetic; with shorter ones the codes are gathered first.
    fn lookup<const SHIFT: i32>(
        self,
        b: &[u8; 16],
        table: Self::Table,
        value: impl Fn(Self::Floats) -> Self::Floats,
    ) -> Self::Floats;

    /// `table[(b >> SHIFT) & 15]` for each byte `b`.
    fn pick<const SHIFT: i32>(self, b: &[u8; 16], table: &[f32; 16]) -> Self::Floats;

    /// Sixteen scales as an array, from which splatting one is a broadcasting load.
    ///
    /// Left alone, the compiler keeps them in registers and takes them out by shuffles, which cost more.
    #[inline(always)]
    fn spread(self, v: Self::Floats) -> Spread {
        let mut scales = Spread([0.0; 16]);
        self.store(v, &mut scales.0);
        std::hint::black_box(&mut scales);
        scales
    }

    /// Prefetches the cache line of an address, which need not be valid.
    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    /// Stores two vectors one after the other.
    #[inline(always)]
    fn store_pair(self, v: [Self::Floats; 2], out: &mut [f32; 32]) {
        let (halves, _) = out.as_chunks_mut::<16>();
        self.store(v[0], &mut halves[0]);
        self.store(v[1], &mut halves[1]);
    }
}

/// Sixteen scales in memory.
#[repr(align(64))]
pub struct Spread(pub [f32; 16]);
