//! `params.json` of Meta's own checkpoints, with the constants that it leaves to the code.

use puna_tensor::RopeLayout;
use serde_json::Value;

use super::hf::flag;
use super::{Config, Llama4};
use crate::rope::RopeScaling;

impl Config {
    /// Reads `params.json`. `vocab_rows` are the rows of the output matrix, since old files say -1; `tied` says that there is
    /// no such matrix.
    pub fn from_meta(params: &Value, vocab_rows: usize, tied: bool) -> Result<Config, String> {
        let number = |key: &str| match params.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(v) => v.as_f64().map(Some).ok_or_else(|| format!("{key} is {v}; expected a number")),
        };
        let size = |key: &str| match params.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(v) => {
                let size = v.as_u64().and_then(|n| usize::try_from(n).ok());
                size.map(Some).ok_or_else(|| format!("{key} is {v}; expected a whole number"))
            }
        };
        for key in ["moe_args", "vision_args", "vision_chunk_size", "quantization_args", "lora_args"] {
            if params.get(key).is_some_and(|v| !v.is_null()) {
                return Err(format!("params.json has `{key}`: only plain text models are supported yet"));
            }
        }
        let dim = size("dim")?.ok_or("dim is missing")?;
        let n_heads = size("n_heads")?.ok_or("n_heads is missing")?;
        if n_heads == 0 {
            return Err("n_heads is 0".into());
        }
        let vocab_size = params.get("vocab_size").and_then(Value::as_i64).unwrap_or(-1);
        if vocab_size > 0 && vocab_size != vocab_rows as i64 {
            return Err(format!("vocab_size is {vocab_size}, but the weights have {vocab_rows} rows"));
        }
        let rope_theta = number("rope_theta")?.unwrap_or(10_000.0);
        let scaled = flag(params, "use_scaled_rope")?;
        let norm_eps = number("norm_eps")?.ok_or("norm_eps is missing")? as f32;
        let config = Config {
            dim,
            n_layers: size("n_layers")?.ok_or("n_layers is missing")?,
            n_heads,
            n_kv_heads: size("n_kv_heads")?.unwrap_or(n_heads),
            head_dim: size("head_dim")?.unwrap_or(dim / n_heads),
            ffn_dim: ffn_dim(dim, number("ffn_dim_multiplier")?, size("multiple_of")?.unwrap_or(256))?,
            vocab_size: vocab_rows,
            max_seq_len: max_seq_len(vocab_rows, rope_theta, scaled, norm_eps),
            norm_eps,
            rope_theta,
            rope_scaling: if scaled { scaling(dim, &number)? } else { RopeScaling::None },
            rope_layout: RopeLayout::Interleaved,
            tied,
            llama4: Llama4::default(),
        };
        config.check()?;
        Ok(config)
    }
}

/// The width rule of the reference: 2/3 of 4 dim, times the multiplier, up to a multiple.
fn ffn_dim(dim: usize, multiplier: Option<f64>, multiple_of: usize) -> Result<usize, String> {
    let mut width = dim.checked_mul(4).and_then(|n| n.checked_mul(2)).ok_or("dim is too large")? / 3;
    if let Some(multiplier) = multiplier {
        width = (multiplier * width as f64) as usize;
    }
    let rounded = width.checked_next_multiple_of(multiple_of);
    rounded.ok_or_else(|| {
        format!("a feed-forward width of {width} cannot be rounded up to a multiple of {multiple_of}")
    })
}

/// The constants of Meta's `apply_scaling` (llama-models, models/llama3/model.py); the released 1B and 3B of 3.2, told
/// by their width, use 32 where the others use 8 (their published `config.json`).
fn scaling(dim: usize, number: &impl Fn(&str) -> Result<Option<f64>, String>) -> Result<RopeScaling, String> {
    let default_factor = if matches!(dim, 2048 | 3072) { 32.0 } else { 8.0 };
    Ok(RopeScaling::Llama3 {
        factor: number("rope_scaling_factor")?.unwrap_or(default_factor),
        low_freq_factor: 1.0,
        high_freq_factor: number("rope_high_freq_factor")?.unwrap_or(4.0),
        original: 8192.0,
    })
}

/// The context each release is specified for, which `params.json` does not say: 3.1 and later (scaled rope), 3
/// (128k vocabulary), Code Llama (theta 1e6), 2 (eps 1e-5), 1.
fn max_seq_len(vocab_size: usize, rope_theta: f64, scaled: bool, norm_eps: f32) -> usize {
    match () {
        _ if scaled => 131_072,
        _ if vocab_size >= 128_000 => 8192,
        _ if rope_theta == 1e6 => 16_384,
        _ if norm_eps > 5e-6 => 4096,
        _ => 2048,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffn_widths_of_the_releases() {
        for (dim, multiplier, multiple_of, want) in [
            (4096, None, 256, 11008),
            (5120, None, 256, 13824),
            (8192, Some(1.3), 4096, 28672),
            (4096, Some(1.3), 1024, 14336),
            (16384, Some(1.2), 4096, 53248),
            (2048, Some(1.5), 256, 8192),
            (3072, Some(1.0), 256, 8192),
        ] {
            assert_eq!(ffn_dim(dim, multiplier, multiple_of), Ok(want));
        }
        assert!(ffn_dim(64, None, 0).is_err());
    }
}
