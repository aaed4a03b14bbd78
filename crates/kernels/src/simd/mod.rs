//! What a kernel may ask of an instruction set, as three traits: floats, sixteen weight rows side by side, and
//! what decoders need.

mod decode;
mod floats;
#[cfg(target_arch = "aarch64")]
mod neon;
mod rows16;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use decode::Wide;
#[cfg(target_arch = "aarch64")]
pub(crate) use floats::Neon;
#[cfg(target_arch = "x86_64")]
pub(crate) use floats::{Avx2, Avx512};
pub(crate) use floats::{Scalar, Simd, vectors};
pub(crate) use rows16::{Codes, Rows16};
