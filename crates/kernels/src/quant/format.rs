//! What a number format is: bytes to f32 and back.

use crate::dtype::DType;
use crate::simd::Wide;

/// One way to store weights. All functions here take whole blocks and matching lengths; their callers check.
pub trait Format {
    /// The type this is the format of.
    const DTYPE: DType;
    /// The values of `blocks`: the definition.
    fn decode(blocks: &[u8], out: &mut [f32]);

    /// The values in products of codes: the same, unless they are rounded for that.
    fn decode_rounded(blocks: &[u8], out: &mut [f32]) {
        Self::decode(blocks, out);
    }

    /// The same values, with vectors. By default what the compiler makes of the definition, which is good enough
    /// where products read unpacked codes.
    #[inline(always)]
    fn decode_wide<W: Wide>(_: W, blocks: &[u8], out: &mut [f32]) {
        Self::decode(blocks, out);
    }

    /// Stores `x`, rounded as ggml's reference does: the definition.
    fn encode(x: &[f32], blocks: &mut [u8]);

    /// The same bytes, with vectors. Where rows are encoded only once, what the compiler makes of the scalar
    /// version is good enough.
    #[inline(always)]
    fn encode_wide<W: Wide>(_: W, x: &[f32], blocks: &mut [u8]) {
        Self::encode(x, blocks);
    }
}

/// What is stored block by block.
pub trait Block {
    /// Elements of a block.
    const LEN: usize;
    /// Bytes of a block.
    const BYTES: usize;
}

impl<T: Format> Block for T {
    const LEN: usize = T::DTYPE.block_len();
    const BYTES: usize = T::DTYPE.block_bytes();
}

/// `LEN` bytes of a block from byte `at` on.
#[inline(always)]
pub(super) fn part<const LEN: usize>(block: &[u8], at: usize) -> &[u8; LEN] {
    block[at..at + LEN].try_into().expect("the range has this length")
}
