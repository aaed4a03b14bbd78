//! The tests of this crate: a file has the name of the source that it tests.
//!
//! They are a program beside the library. Were they inside it, all kernels would be compiled a second time
//! for them, which takes about a minute; this program takes ten seconds.

mod adamw;
mod attention;
mod cross_entropy;
mod dequantise;
mod dtype;
mod elementwise;
mod gelu;
mod hadamard;
mod half;
mod isa;
mod kv;
mod layer_norm;
mod matmul;
mod muon;
mod pool;
mod quant;
mod rms_norm;
mod rope;
mod routing;
mod rows;
mod simd;
mod swiglu;
mod test_data;
