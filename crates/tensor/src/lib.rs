//! Shapes, dtypes, storage; the differentiable operations and their tape.

#![forbid(unsafe_code)]

mod bytes;
mod graph;
mod ops;
mod weight;

pub use bytes::{Bytes, Owner};
pub use graph::{Gradients, Graph, Pass, Place, Var, Workspace};
pub use ops::Gate;
pub use puna_kernels::attention::{AttentionShape, AttentionSpan, KeyValues, Queries, Sees};
pub use puna_kernels::kv::{KvKind, KvLayout};
pub use puna_kernels::matmul::{Activations, f32_bytes};
pub use puna_kernels::rope::{RopeLayout, RopeTable};
pub use puna_kernels::{Cpu, DType, Isa, adamw, pool::Pool, quant};
pub use weight::{ParamId, Weight};
