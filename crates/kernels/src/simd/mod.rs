//! What a kernel may ask of an instruction set, as three traits: [`Simd`] for floats, [`Rows16`] for sixteen
//! weight rows side by side, and [`Wide`] for what decoders need. Each instruction set has one file, which
//! implements all three; `amx.rs` has the tiles of bytes that some processors multiply beside AVX-512.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod decode;
mod floats;
#[cfg(target_arch = "aarch64")]
mod neon;
mod rows16;
mod scalar;
mod words;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub use decode::Wide;
pub use floats::{Simd, vectors};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub use rows16::{CodeRange, Rows16};
pub use scalar::{Scalar, round_half_away};

pub use words::{Spread, Words};
