//! What a kernel may ask of an instruction set, as three traits: [`Simd`] for floats, [`Rows16`] for sixteen
//! weight rows side by side, and [`Wide`] for what decoders need. Each instruction set has one file, which
//! says what it needs of the CPU, runs kernels compiled for it, and implements all three. `isa.rs` chooses
//! among them.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod decode;
mod floats;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
mod rows16;
mod scalar;
#[cfg(test)]
mod tests;

pub(crate) use decode::Wide;
pub(crate) use floats::{Simd, vectors};
pub(crate) use rows16::{CodeRange, Rows16};
pub(crate) use scalar::Scalar;

/// A computation written once over vector types and compiled for each instruction set. Kernels ask of `S`
/// only the traits that they use.
///
/// `run` must be `#[inline(always)]`, so that its body is compiled inside the function that enables the
/// features.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd + Rows16 + Wide>(self, simd: S) -> Self::Output;
}
