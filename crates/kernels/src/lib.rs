//! Arithmetic on slices: the lowest floor of the house, and the only place with SIMD.
//!
//! Nothing here knows tensors, names, files or allocation. A file holds one family of operations:
//! the scalar definition first, then the versions for instruction sets, then the gradient and tests.

pub mod dtype;
pub mod quant;

pub use dtype::DType;
