//! The differentiable operations, one file each, every gradient beside its forward.

mod add;
mod attention;
mod bias;
mod cross_entropy;
mod embed;
mod experts;
mod gate;
mod gelu;
mod layer_norm;
mod linear;
mod rms_norm;
mod rope;
mod rows;
mod scale_rows;
mod swiglu;

pub use gate::Gate;
