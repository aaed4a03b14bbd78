//! The differentiable operations, one file each, every gradient beside its forward.

mod add;
mod attention;
mod bias;
mod cross_entropy;
mod experts;
mod gate;
mod gelu;
mod layer_norm;
mod linear;
mod linear_cross_entropy;
mod rms_norm;
mod rope;
mod rows;
mod swiglu;

pub use attention::KvSlot;
pub use gate::Gate;
