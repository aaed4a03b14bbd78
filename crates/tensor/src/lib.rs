//! Shapes, dtypes, storage and threads; the differentiable operations and their tape.

#![forbid(unsafe_code)]

pub mod bytes;

pub use bytes::Bytes;
pub use puna_kernels::DType;
