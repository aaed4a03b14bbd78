//! How weights are stored: one file per number format, from bytes to f32 and back.
//!
//! Every `Format` has a scalar `decode`, which is its definition and equals ggml's dequantisation bit for bit (the
//! same f32 operations in the same order, never fused), and a scalar `encode`, ggml's reference quantisation without
//! an importance matrix. `decode_wide` and `encode_wide` are written over the small vectors of `wide`; they may
//! compute in another way but must give the same bits, and the tests hold them to that for every instruction set.
//!
//! To add a format: its file, its `DType`, and its line in `functions`.

use crate::dtype::DType;
use crate::isa::{Isa, Level};

pub(crate) mod f8_e4m3;
mod fit;
mod float;
pub(crate) mod int8;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q4_z;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
pub(crate) mod q8_0;
mod q8_z;
mod scale_min;

use crate::simd::Wide;

/// One way to store weights. All functions here take whole blocks and matching lengths; their callers check.
pub(crate) trait Format {
    /// The type this is the format of.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // Only x86 prefetches.
    const DTYPE: DType;

    /// The values of `blocks`: the definition.
    fn decode(blocks: &[u8], out: &mut [f32]);

    /// The same values, with vectors.
    fn decode_wide<W: Wide>(w: W, blocks: &[u8], out: &mut [f32]);

    /// Stores `x`, rounded as ggml's reference does: the definition.
    fn encode(x: &[f32], blocks: &mut [u8]);

    /// The same bytes, with vectors. Where rows are encoded only once, what the compiler makes of the scalar version
    /// is good enough.
    #[inline(always)]
    fn encode_wide<W: Wide>(_: W, x: &[f32], blocks: &mut [u8]) {
        Self::encode(x, blocks);
    }
}

/// Decodes whole blocks into floats, compiled for one instruction set.
///
/// # Safety
/// The CPU has the instruction set. (Lengths that disagree, or parts of blocks, give unspecified values, no more.)
pub(crate) type DecodeFn = unsafe fn(&[u8], &mut [f32]);

/// Encodes floats into whole blocks, compiled for one instruction set.
///
/// # Safety
/// As for [`DecodeFn`].
pub(crate) type EncodeFn = unsafe fn(&[f32], &mut [u8]);

/// Decodes `bytes` into `out` with the scalar definition.
///
/// # Panics
/// If `dtype` is no weight type, or `bytes` is not what `out.len()` elements of it take.
pub fn decode(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    decode_with(Isa::SCALAR, dtype, bytes, out);
}

/// Encodes `x` into `bytes` with the scalar definition.
///
/// # Panics
/// As for [`decode`].
pub fn encode(dtype: DType, x: &[f32], bytes: &mut [u8]) {
    encode_with(Isa::SCALAR, dtype, x, bytes);
}

/// [`decode`] with an instruction set; the same values.
///
/// # Panics
/// As for [`decode`].
pub fn decode_with(isa: Isa, dtype: DType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(dtype.bytes_of(out.len()), Some(bytes.len()), "{} elements of {dtype}", out.len());
    // SAFETY: an `Isa` exists only for an instruction set that this CPU has.
    unsafe { decode_fn(dtype, isa.level())(bytes, out) }
}

/// [`encode`] with an instruction set; the same bytes.
///
/// # Panics
/// As for [`decode`].
pub fn encode_with(isa: Isa, dtype: DType, x: &[f32], bytes: &mut [u8]) {
    assert_eq!(dtype.bytes_of(x.len()), Some(bytes.len()), "{} elements of {dtype}", x.len());
    // SAFETY: an `Isa` exists only for an instruction set that this CPU has.
    unsafe { encode_fn(dtype, isa.level())(x, bytes) }
}

/// The decoder of `dtype` for `level`.
pub(crate) fn decode_fn(dtype: DType, level: Level) -> DecodeFn {
    functions(dtype, level).0
}

/// The encoder of `dtype` for `level`.
pub(crate) fn encode_fn(dtype: DType, level: Level) -> EncodeFn {
    functions(dtype, level).1
}

/// The table of formats.
fn functions(dtype: DType, level: Level) -> (DecodeFn, EncodeFn) {
    match dtype {
        DType::F32 => compiled::<float::F32>(level),
        DType::F16 => compiled::<float::F16>(level),
        DType::BF16 => compiled::<float::BF16>(level),
        DType::Q4_0 => compiled::<q4_0::Q4_0>(level),
        DType::Q4_1 => compiled::<q4_1::Q4_1>(level),
        DType::Q5_0 => compiled::<q5_0::Q5_0>(level),
        DType::Q5_1 => compiled::<q5_1::Q5_1>(level),
        DType::Q8_0 => compiled::<q8_0::Q8_0>(level),
        DType::Q2_K => compiled::<q2_k::Q2_K>(level),
        DType::Q3_K => compiled::<q3_k::Q3_K>(level),
        DType::Q4_K => compiled::<q4_k::Q4_K>(level),
        DType::Q5_K => compiled::<q5_k::Q5_K>(level),
        DType::Q6_K => compiled::<q6_k::Q6_K>(level),
        DType::IQ4_NL => compiled::<iq4_nl::IQ4_NL>(level),
        DType::IQ4_XS => compiled::<iq4_xs::IQ4_XS>(level),
        DType::MXFP4 => compiled::<mxfp4::MXFP4>(level),
        DType::Q4_Z => compiled::<q4_z::Q4_Z>(level),
        DType::F8_E4M3 => compiled::<f8_e4m3::F8_E4M3>(level),
        DType::Q8_Z => compiled::<q8_z::Q8_Z>(level),
        other => panic!("{other} is not a weight type"),
    }
}

/// Work that is compiled for each format of small codes.
pub(crate) trait ForInt8 {
    type Output;
    fn run<T: int8::Int8>(self) -> Self::Output;
}

/// Runs `work` for a format of small codes, or returns it where `dtype` is none: the table of those formats.
pub(crate) fn for_int8<W: ForInt8>(dtype: DType, work: W) -> Result<W::Output, W> {
    Ok(match dtype {
        DType::Q4_0 => work.run::<q4_0::Q4_0>(),
        DType::Q4_1 => work.run::<q4_1::Q4_1>(),
        DType::Q5_0 => work.run::<q5_0::Q5_0>(),
        DType::Q5_1 => work.run::<q5_1::Q5_1>(),
        DType::Q8_0 => work.run::<q8_0::Q8_0>(),
        DType::Q2_K => work.run::<q2_k::Q2_K>(),
        DType::Q3_K => work.run::<q3_k::Q3_K>(),
        DType::Q4_K => work.run::<q4_k::Q4_K>(),
        DType::Q5_K => work.run::<q5_k::Q5_K>(),
        DType::Q6_K => work.run::<q6_k::Q6_K>(),
        DType::IQ4_NL => work.run::<iq4_nl::IQ4_NL>(),
        DType::IQ4_XS => work.run::<iq4_xs::IQ4_XS>(),
        DType::MXFP4 => work.run::<mxfp4::MXFP4>(),
        DType::Q4_Z => work.run::<q4_z::Q4_Z>(),
        _ => return Err(work),
    })
}

/// The functions of one format for `level`.
fn compiled<T: Format>(level: Level) -> (DecodeFn, EncodeFn) {
    match level {
        Level::Scalar => (decode_scalar::<T>, encode_scalar::<T>),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => (decode_avx2::<T>, encode_avx2::<T>),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (decode_avx512::<T>, encode_avx512::<T>),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => (decode_neon::<T>, encode_neon::<T>),
        #[allow(unreachable_patterns)] // Which arms exist depends on the target.
        _ => unreachable!("an instruction set of another architecture"),
    }
}

/// Elements decoded between two rounds of prefetching.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // Only x86 prefetches.
const PREFETCH_GROUP: usize = 512;
/// How far ahead bytes are asked for.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // Only x86 prefetches.
const PREFETCH_DISTANCE: usize = 2048;

/// Decodes group after group, asking for the bytes of a later one before each.
///
/// Blocks are small and their decoding long: left to itself, a core looks only a few cache lines ahead and waits for
/// memory. Prefetching made decoding from memory 1.3 to 2.5 times as fast, and costs a few percent from the cache.
/// The bytes ahead may belong to the next row, or to nobody: a prefetch has no effect that a program can see.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn decode_prefetching<T: Format, W: Wide>(w: W, blocks: &[u8], out: &mut [f32]) {
    if T::DTYPE.block_len() == 1 {
        return T::decode_wide(w, blocks, out); // Quick enough for the processor's own prefetching.
    }
    let group_bytes = PREFETCH_GROUP / T::DTYPE.block_len() * T::DTYPE.block_bytes();
    for (blocks, out) in blocks.chunks(group_bytes).zip(out.chunks_mut(PREFETCH_GROUP)) {
        for line in (0..group_bytes).step_by(64) {
            w.prefetch(blocks.as_ptr().wrapping_add(PREFETCH_DISTANCE + line));
        }
        T::decode_wide(w, blocks, out);
    }
}

fn decode_scalar<T: Format>(blocks: &[u8], out: &mut [f32]) {
    T::decode(blocks, out);
}

fn encode_scalar<T: Format>(x: &[f32], blocks: &mut [u8]) {
    T::encode(x, blocks);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi2")]
fn decode_avx2<T: Format>(blocks: &[u8], out: &mut [f32]) {
    // SAFETY: whoever entered this function vouches for the features.
    decode_prefetching::<T, _>(unsafe { crate::simd::Avx2::new() }, blocks, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi2")]
fn encode_avx2<T: Format>(x: &[f32], blocks: &mut [u8]) {
    // SAFETY: as above.
    T::encode_wide(unsafe { crate::simd::Avx2::new() }, x, blocks);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512cd,avx512vnni,avx2,fma,f16c,bmi2")]
fn decode_avx512<T: Format>(blocks: &[u8], out: &mut [f32]) {
    // SAFETY: as above.
    decode_prefetching::<T, _>(unsafe { crate::simd::Avx512::new() }, blocks, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512cd,avx512vnni,avx2,fma,f16c,bmi2")]
fn encode_avx512<T: Format>(x: &[f32], blocks: &mut [u8]) {
    // SAFETY: as above.
    T::encode_wide(unsafe { crate::simd::Avx512::new() }, x, blocks);
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn decode_neon<T: Format>(blocks: &[u8], out: &mut [f32]) {
    // SAFETY: as above.
    T::decode_wide(unsafe { crate::simd::Neon::new() }, blocks, out);
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn encode_neon<T: Format>(x: &[f32], blocks: &mut [u8]) {
    // SAFETY: as above.
    T::encode_wide(unsafe { crate::simd::Neon::new() }, x, blocks);
}

/// `LEN` bytes of a block from byte `at` on.
#[inline(always)]
fn part<const LEN: usize>(block: &[u8], at: usize) -> &[u8; LEN] {
    block[at..at + LEN].try_into().expect("the range has this length")
}

#[cfg(test)]
mod tests;
