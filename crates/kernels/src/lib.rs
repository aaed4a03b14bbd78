//! Arithmetic on slices: the lowest floor of the house, and the only place with SIMD.
//!
//! Nothing here knows tensors, names, files or models. A file holds one family of operations: the scalar
//! definition, the version over vectors ([`isa`] compiles it for each instruction set and chooses at run
//! time) and the gradient; the file of its name in `tests/kernels` has the tests. Functions that take a
//! [`Cpu`] spread their work over its threads; none of their results depends on how many there are.
//!
//! ```
//! use puna_kernels::matmul::{Activations, Matrix, matmul_nt};
//! use puna_kernels::{Cpu, Isa};
//!
//! let (x, weight) = ([2.0, 5.0], [3.0, -1.0, 0.5, 0.5]); // [1, 2] and [2, 2]
//! let mut y = [0.0; 2];
//! for isa in Isa::available() {
//!     let (cpu, weight) = (Cpu::new(isa, 2), Matrix::from_f32(2, 2, &weight));
//!     matmul_nt(&cpu, &x, 2, Activations::F32, &[weight], &mut [&mut y]); // x weightᵀ
//!     assert_eq!(y, [1.0, 3.5]);
//! }
//! ```

#[cfg(target_endian = "big")]
compile_error!("checkpoints are little-endian and are used in place");

pub mod adamw;
pub mod attention;
mod buffer;
mod cpu;
pub mod cross_entropy;
pub mod dtype;
pub mod elementwise;
pub mod gelu;
pub mod hadamard;
pub mod half;
pub mod isa;
pub mod kv;
pub mod layer_norm;
pub mod matmul;
pub mod muon;
pub mod pool;
pub mod quant;
pub mod rms_norm;
pub mod rope;
pub mod routing;
pub mod rows;
#[doc(hidden)] // Public for `tests/kernels` alone, like all that is hidden in this crate.
pub mod simd;
pub mod swiglu;

pub use cpu::Cpu;
pub use dtype::DType;
pub use isa::Isa;
