//! How weights are stored: one file per number format, from bytes to f32 and back.
//!
//! Every `Format` has a scalar `decode`, which is its definition and equals ggml's dequantisation bit for
//! bit (the same f32 operations in the same order, never fused), and a scalar `encode`, ggml's reference
//! quantisation without an importance matrix. `decode_wide` and `encode_wide` are written over the small
//! vectors of `Wide`; they may compute in another way but must give the same bits, and the tests hold them
//! to that for every instruction set.
//!
//! To add a format: its file, its line in the list of modules, its row in `dtype.rs`.

use std::marker::PhantomData;

use crate::dtype::{DType, dtypes};
use crate::isa::{Isa, Kernel};
use crate::simd::Wide;

mod affine;
mod bnb4;
#[doc(hidden)]
pub mod coded;
pub(crate) mod copied;
mod f8_b;
mod f8_e4m3;
mod fit;
mod float;
#[doc(hidden)]
pub mod format;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
#[doc(hidden)]
pub mod iq4_nl;
mod iq4_xs;
mod lattice;
mod mxfp4;
mod nvfp4;
mod q1_0;
mod q2_0;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_f;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
#[doc(hidden)]
pub mod scale_min;
mod tq1_0;
mod tq2_0;

pub use affine::put_codes;
use coded::Coded;
use copied::Indexed;
use format::{Block, Format};

pub(crate) use copied::{for_copied, for_copies};

/// Decodes `bytes` into `out` with the scalar definition.
///
/// # Panics
/// If `dtype` is not a weight type, or `bytes` is not what `out.len()` elements of it take.
pub fn decode(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    decode_with(Isa::SCALAR, dtype, bytes, out);
}

/// Decodes `bytes` into `out` as products in whole numbers take them: NF4 and FP4 are rounded for that, other types are not.
///
/// # Panics
/// As for [`decode`].
pub fn decode_rounded(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    struct Work<'a>(&'a [u8], &'a mut [f32]);
    impl ForFormat for Work<'_> {
        type Output = ();
        fn run<T: Format>(self) {
            T::decode_rounded(self.0, self.1);
        }
    }
    assert_eq!(dtype.bytes_of(out.len()), Some(bytes.len()), "{} elements of {dtype}", out.len());
    for_format(dtype, Work(bytes, out));
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
    struct Work<'a>(Isa, &'a [u8], &'a mut [f32]);
    impl ForFormat for Work<'_> {
        type Output = ();
        fn run<T: Format>(self) {
            let Work(isa, blocks, out) = self;
            match isa.is_scalar() {
                true => T::decode(blocks, out),
                false => isa.run_vectors(Decode { format: PhantomData::<T>, blocks, out }),
            }
        }
    }
    assert_eq!(dtype.bytes_of(out.len()), Some(bytes.len()), "{} elements of {dtype}", out.len());
    for_format(dtype, Work(isa, bytes, out));
}

/// [`encode`] with an instruction set; the same bytes.
///
/// # Panics
/// As for [`decode`].
pub fn encode_with(isa: Isa, dtype: DType, x: &[f32], bytes: &mut [u8]) {
    struct Work<'a>(Isa, &'a [f32], &'a mut [u8]);
    impl ForFormat for Work<'_> {
        type Output = ();
        fn run<T: Format>(self) {
            let Work(isa, x, blocks) = self;
            match isa.is_scalar() {
                true => T::encode(x, blocks),
                false => isa.run_vectors(Encode { format: PhantomData::<T>, x, blocks }),
            }
        }
    }
    assert_eq!(dtype.bytes_of(x.len()), Some(bytes.len()), "{} elements of {dtype}", x.len());
    for_format(dtype, Work(isa, x, bytes));
}

/// Work that is compiled for each format.
#[doc(hidden)]
pub trait ForFormat {
    type Output;
    fn run<T: Format>(self) -> Self::Output;
}

/// Work that is compiled for each format of small codes.
#[doc(hidden)]
pub trait ForCoded {
    type Output;
    fn run<T: Coded>(self) -> Self::Output;
}

/// Work that is compiled for each format whose copies have another one.
pub(crate) trait ForCopied {
    type Output;
    fn run<T: Indexed>(self) -> Self::Output;
}

macro_rules! choose {
    ($($dtype:ident $name:literal $len:literal $bytes:literal $weights:ident $($form:ident $format:path)?;)*) => {
        /// Runs `work` for the format of a type.
        ///
        /// # Panics
        /// If it is not a weight type.
        #[doc(hidden)]
        pub fn for_format<W: ForFormat>(dtype: DType, work: W) -> W::Output {
            match dtype {
                $($(DType::$dtype => work.run::<$format>(),)?)*
                other => panic!("{other} is not a weight type"),
            }
        }

        /// Runs `work` for a format of small codes, or returns it where `dtype` is none.
        #[doc(hidden)]
        pub fn for_coded<W: ForCoded>(dtype: DType, work: W) -> Result<W::Output, W> {
            match dtype {
                $($(DType::$dtype => run_if_coded!($form work $format),)?)*
                _ => Err(work),
            }
        }
    };
}
macro_rules! run_if_coded {
    (coded $work:ident $format:path) => {
        Ok($work.run::<$format>())
    };
    (plain $work:ident $format:path) => {
        Err($work)
    };
}
dtypes! { choose }

/// Elements decoded between two rounds of prefetching.
const PREFETCH_GROUP: usize = 512;
/// How far ahead bytes are prefetched.
const PREFETCH_DISTANCE: usize = 2048;

/// Decodes group after group, prefetching the bytes of a later one before each.
///
/// Blocks are small and their decoding long: left to itself, a core looks only a few cache lines ahead and
/// waits for memory. Prefetching made decoding from memory 1.3 to 2.5 times as fast, and costs a few percent
/// from the cache. The bytes ahead may belong to the next row, or to nobody: a prefetch has no effect that a
/// program can see.
struct Decode<'a, T> {
    format: PhantomData<T>,
    blocks: &'a [u8],
    out: &'a mut [f32],
}

impl<T: Format> Kernel for Decode<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<W: Wide>(self, w: W) {
        let Decode { blocks, out, .. } = self;
        if T::LEN == 1 {
            return T::decode_wide(w, blocks, out); // Quick enough for the processor's own prefetching.
        }
        let group_bytes = PREFETCH_GROUP / T::LEN * T::BYTES;
        for (blocks, out) in blocks.chunks(group_bytes).zip(out.chunks_mut(PREFETCH_GROUP)) {
            for line in (0..group_bytes).step_by(64) {
                w.prefetch(blocks.as_ptr().wrapping_add(PREFETCH_DISTANCE + line));
            }
            T::decode_wide(w, blocks, out);
        }
    }
}

struct Encode<'a, T> {
    format: PhantomData<T>,
    x: &'a [f32],
    blocks: &'a mut [u8],
}

impl<T: Format> Kernel for Encode<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<W: Wide>(self, w: W) {
        T::encode_wide(w, self.x, self.blocks);
    }
}
