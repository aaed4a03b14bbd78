//! `params.json` of Meta's own checkpoints, with the constants that it leaves to the code.

use puna_tensor::RopeLayout;
use serde_json::Value;

use super::hf::{flag, size};
use super::{Config, Llama4, MAX_LAYERS, Vision};
use crate::rope::RopeScaling;

impl Config {
    /// Reads `params.json`. `vocab_rows` are the rows of the output matrix, since old files say -1; `tied` says that there is
    /// no such matrix; `n_extra` are rows of the embedding beyond it, and `vision` is what the caller knows of that part.
    pub fn from_meta(
        params: &Value,
        vocab_rows: usize,
        tied: bool,
        n_extra: usize,
        vision: Option<Vision>,
    ) -> Result<Config, String> {
        let number = |key: &str| match params.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(v) => v.as_f64().map(Some).ok_or_else(|| format!("{key} is {v}; expected a number")),
        };
        let size = |key: &str| size(params, key);
        for key in ["moe_args", "vision_args", "quantization_args", "lora_args"] {
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
        let n_self_layers = size("n_layers")?.ok_or("n_layers is missing")?;
        let cross_layers =
            cross_layers(n_self_layers, size("vision_num_cross_attention_layers")?.unwrap_or(0))?;
        let config = Config {
            dim,
            n_layers: n_self_layers + cross_layers.len(),
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
            cross_layers,
            n_extra_embeddings: n_extra,
            vision,
        };
        config.check()?;
        Ok(config)
    }
}

/// Which layers attend to images, counted with them: spread evenly, before the last layer of each group of the others
/// (llama-models, `models/llama3/multimodal/model.py`).
fn cross_layers(n_self_layers: usize, n_cross: usize) -> Result<Vec<usize>, String> {
    if n_cross > n_self_layers || n_self_layers > MAX_LAYERS {
        return Err(format!("{n_cross} cross-attention layers do not fit {n_self_layers} layers"));
    }
    let step = n_self_layers.div_ceil(n_cross.max(1)).max(1);
    let mut before: Vec<usize> = (0..n_self_layers).rev().step_by(step).take(n_cross).collect();
    before.reverse();
    Ok(before.into_iter().enumerate().map(|(n, layer)| layer + n).collect())
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
    fn cross_layers_of_the_releases() {
        assert_eq!(cross_layers(32, 8), Ok(vec![3, 8, 13, 18, 23, 28, 33, 38]));
        assert_eq!(cross_layers(80, 20).unwrap()[17..], [88, 93, 98]);
        assert_eq!(cross_layers(4, 2), Ok(vec![1, 4]));
        assert_eq!(cross_layers(4, 0), Ok(vec![]));
        assert!(cross_layers(4, 5).is_err());
    }

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
