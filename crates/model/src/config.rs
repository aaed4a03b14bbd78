//! What a Llama is, in numbers. A generation is a value of [`Config`], never a branch in the code.
//!
//! Each checkpoint form says these numbers in its own words; `config/hf.rs`, `config/gguf.rs` and `config/meta.rs`
//! translate. Constants that a form cannot say stand in `config/meta.rs`, with their source.

mod gguf;
mod hf;
mod meta;

use puna_tensor::RopeLayout;

use crate::rope::RopeScaling;

pub use gguf::to_gguf;
pub use hf::to_hf;

/// The sizes and constants of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Width of the residual stream.
    pub dim: usize,
    /// Decoder layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Elements of a head; even.
    pub head_dim: usize,
    /// Inner width of the feed-forward block.
    pub ffn_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Positions the model was made for.
    pub max_seq_len: usize,
    /// Added to the mean square in RMSNorm.
    pub norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the frequencies are changed for longer contexts.
    pub rope_scaling: RopeScaling,
    /// Which elements of a head rotate together in the checkpoint's wq and wk.
    pub rope_layout: RopeLayout,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
}

/// Bounds that every real model keeps by far; a configuration beyond them is refused before anything is allocated.
const MAX_DIM: usize = 1 << 20;
pub(crate) const MAX_LAYERS: usize = 4096;
const MAX_VOCAB: usize = 1 << 24;
const MAX_SEQ_LEN: usize = 1 << 32;

impl Config {
    /// Checks that the numbers fit each other; the message names the first that does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes = [
            ("dim", self.dim, MAX_DIM),
            ("n_layers", self.n_layers, MAX_LAYERS),
            ("n_heads", self.n_heads, MAX_DIM),
            ("n_kv_heads", self.n_kv_heads, MAX_DIM),
            ("head_dim", self.head_dim, MAX_DIM),
            ("ffn_dim", self.ffn_dim, MAX_DIM),
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("max_seq_len", self.max_seq_len, MAX_SEQ_LEN),
        ];
        for (name, value, max) in sizes {
            if value == 0 || value > max {
                return Err(format!("{name} is {value}; expected 1 to {max}"));
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(format!(
                "{} query heads cannot share {} key-value heads",
                self.n_heads, self.n_kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!("head_dim is {}; rotary pairs need an even number", self.head_dim));
        }
        if self.n_heads * self.head_dim > MAX_DIM {
            return Err(format!("{} heads of {} are too wide", self.n_heads, self.head_dim));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(format!("norm_eps is {}", self.norm_eps));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(format!("rope_theta is {}", self.rope_theta));
        }
        self.rope_scaling.check(self.head_dim)
    }

    /// Rows of wq: all query heads.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Rows of wk and wv: all key-value heads.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Parameters, counted once where the output is tied.
    pub fn n_params(&self) -> u64 {
        let [dim, q, kv, ffn] = [self.dim, self.q_dim(), self.kv_dim(), self.ffn_dim].map(|n| n as u64);
        let layer = 2 * dim + 2 * dim * q + 2 * dim * kv + 3 * dim * ffn;
        let embeddings = if self.tied { 1 } else { 2 } * self.vocab_size as u64 * dim;
        embeddings + dim + self.n_layers as u64 * layer
    }
}
