//! The differentiable operations of a decoder, one file each, every gradient beside its forward.

mod add;
mod attention;
mod cross_entropy;
mod embed;
mod experts;
mod linear;
mod rms_norm;
mod rope;
mod scale_rows;
mod swiglu;
mod take_rows;
