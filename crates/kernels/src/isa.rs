//! Which instruction sets this CPU has, and the one place where a kernel version is chosen.
//!
//! An [`Isa`] is a proof: it can only be made for a level that the running CPU was found to have, so safe
//! functions that take one may enter code compiled for it. `Isa::run` and `Isa::run_vectors` are the only
//! doors to such code: every kernel of the crate, decoding included, goes through one of them.
//!
//! To add an instruction set: its file in `simd`, and here its level, the features it needs, and its door.

use crate::simd::{self, Rows16, Simd, Wide};

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Scalar,
    Avx2,
    Avx512,
    /// AVX-512 with tiles of matrices of bytes.
    Amx,
    Neon,
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa {
    level: Level,
}

/// A computation written once over vector types and compiled for each instruction set. Kernels ask of `S`
/// only the traits that they use.
///
/// `run` must be `#[inline(always)]`, so that its body is compiled inside the function that enables the
/// features.
#[doc(hidden)]
pub trait Kernel {
    type Output;
    fn run<S: Simd + Rows16 + Wide>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// Plain Rust: the definitions. Every CPU has it.
    pub const SCALAR: Isa = Isa { level: Level::Scalar };

    /// The levels this CPU has, from scalar to best.
    pub fn available() -> Vec<Isa> {
        [Level::Scalar, Level::Neon, Level::Avx2, Level::Avx512, Level::Amx]
            .into_iter()
            .filter(|&level| cpu_has(level))
            .map(|level| Isa { level })
            .collect()
    }

    /// The best level this CPU has.
    pub fn best() -> Isa {
        *Isa::available().last().expect("scalar is always available")
    }

    /// The level called `name` (`scalar`, `avx2`, `avx512`, `amx`, `neon`), if this CPU has it.
    pub fn by_name(name: &str) -> Option<Isa> {
        Isa::available().into_iter().find(|isa| isa.name() == name)
    }

    /// The name by which [`Isa::by_name`] finds this level.
    pub const fn name(self) -> &'static str {
        match self.level {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Amx => "amx",
            Level::Neon => "neon",
        }
    }

    /// Whether this is plain Rust.
    pub const fn is_scalar(self) -> bool {
        matches!(self.level, Level::Scalar)
    }

    /// f32 values in one vector register.
    pub const fn f32_lanes(self) -> usize {
        match self.level {
            Level::Scalar => 1,
            Level::Neon => 4,
            Level::Avx2 => 8,
            Level::Avx512 | Level::Amx => 16,
        }
    }

    /// Whether whole tiles of bytes can be multiplied.
    pub(crate) const fn has_tiles(self) -> bool {
        matches!(self.level, Level::Amx)
    }

    /// Runs `kernel` compiled for this level.
    #[doc(hidden)]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.level {
            Level::Scalar => kernel.run(simd::Scalar),
            _ => self.run_vectors(kernel),
        }
    }

    /// [`Isa::run`] of a kernel whose definition in plain Rust is another function, so that this one needs no
    /// plain form.
    ///
    /// # Panics
    /// If the level is plain Rust.
    pub(crate) fn run_vectors<K: Kernel>(self, kernel: K) -> K::Output {
        match self.level {
            Level::Scalar => unreachable!("the definition is another function"),
            // SAFETY: an `Isa` of this level exists only where `cpu_has` found its features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Amx => unsafe { run_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Level::Neon => unsafe { run_neon(kernel) },
            #[allow(unreachable_patterns)] // Which arms exist depends on the target.
            _ => unreachable!("an Isa of another architecture cannot be made"),
        }
    }

    /// [`Isa::run`] of a kernel that multiplies tiles, which [`Isa::has_tiles`] says are there.
    ///
    /// # Panics
    /// If they are not.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn run_tiles<K: Kernel>(self, kernel: K) -> K::Output {
        assert!(self.has_tiles());
        // SAFETY: as above: whoever has tiles has AVX-512.
        unsafe { run_avx512(kernel) }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has(level: Level) -> bool {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi2");
    match level {
        Level::Scalar => true,
        Level::Avx2 => avx2,
        Level::Avx512 => {
            avx2 && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512vnni")
        }
        Level::Amx => cpu_has(Level::Avx512) && simd::amx::is_usable(),
        Level::Neon => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn cpu_has(level: Level) -> bool {
    matches!(level, Level::Scalar | Level::Neon) // NEON is part of the AArch64 base.
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_has(level: Level) -> bool {
    matches!(level, Level::Scalar)
}

/// # Safety
/// The CPU has the features named.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi2")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the features.
    kernel.run(unsafe { simd::Avx2::new() })
}

/// # Safety
/// The CPU has the features named.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512cd,avx512vnni,avx2,fma,f16c,bmi2")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the features.
    kernel.run(unsafe { simd::Avx512::new() })
}

/// # Safety
/// The CPU has NEON.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn run_neon<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the feature.
    kernel.run(unsafe { simd::Neon::new() })
}
