//! Shapes, dtypes, storage; the differentiable operations and their tape.
//!
//! A [`Graph`] is the door to the device: the floors above compute by calling its operations on [`Var`]s,
//! matrices of f32, and on [`Weight`]s, which stay as a checkpoint stores them.
//!
//! ```
//! use puna_tensor::{Cpu, Gradients, Graph, Isa, ParamId, Weight, Workspace};
//!
//! let (cpu, workspace) = (Cpu::new(Isa::best(), 2), Workspace::default());
//! let weight = Weight::owned(ParamId(0), 1, 2, vec![3.0, -1.0]);
//! let mut graph = Graph::training(&cpu, &workspace);
//! let x = graph.constant(1, 2, |x| x.copy_from_slice(&[2.0, 5.0]));
//! let y = graph.linear(&x, &weight); // x weightᵀ
//! assert_eq!(y.values(), [1.0]);
//! let mut gradients = Gradients::new([Some(2)]);
//! graph.backward(&y, &mut gradients);
//! assert_eq!(gradients.get(weight.id()), Some(&[2.0, 5.0][..]));
//! ```

#![forbid(unsafe_code)]

mod bytes;
mod graph;
mod machine;
mod ops;
mod optimizers;
mod options;
mod weight;

pub use bytes::{Bytes, Owner};
pub(crate) use graph::Pass;
pub use graph::{Gradients, Graph, InputObserver, Trained, Var, WeightInput, Workspace};
pub use machine::{multiply_add_speed, read_speed};
pub use ops::{Gate, KvSlot};
pub use optimizers::{AdamwStep, MuonRate, MuonStep};
pub use options::{RepackBudget, RunOptions};
pub use puna_kernels::attention::{AttentionShape, AttentionSpan, KeyValues, Queries, Sees};
pub use puna_kernels::kv::KvLayout;
pub use puna_kernels::matmul::{Activations, f32_bytes};
pub use puna_kernels::rope::{RopeLayout, RopeTable};
pub use puna_kernels::{Cpu, DType, Isa, pool::Pool};
pub use weight::{ParamId, Weight};

/// What a weight type stores of numbers, by its definition: for writing checkpoints.
pub mod quant {
    pub use puna_kernels::quant::{decode, encode, put_codes};
}
