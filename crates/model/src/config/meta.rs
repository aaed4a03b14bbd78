//! `params.json` of Meta's own checkpoints, with the constants that it leaves to the code.

use serde_json::{Value, json};

use super::json::{flag, number, object, short, size};
use super::{Biases, Config, Experts, LayerKind, MAX_LAYERS, Routing, Temperature, Vision};
use crate::rope::RopeScaling;

/// What the files say beside `params.json`.
pub(crate) struct MetaFacts<'a> {
    /// Rows of the output matrix, since old files say -1.
    pub vocab_rows: usize,
    /// Whether there is no such matrix.
    pub tied: bool,
    /// Rows of the embedding beyond it.
    pub n_extra: usize,
    /// How many shards the tensors are split into.
    pub n_shards: usize,
    /// The shape of a tensor in the first shard.
    pub shape: &'a dyn Fn(&str) -> Option<Vec<usize>>,
}

impl MetaFacts<'_> {
    /// Rows of a tensor that all shards split by rows; 0 if there is none.
    fn rows(&self, name: &str) -> usize {
        (self.shape)(name).and_then(|shape| shape.first().copied()).unwrap_or(0).saturating_mul(self.n_shards)
    }
}

impl Config {
    /// Reads `params.json`; `vision` is what the caller knows of the part that sees images.
    pub(crate) fn from_meta(
        params: &Value,
        files: &MetaFacts,
        vision: Option<&Vision>,
    ) -> Result<Config, String> {
        let number = |key: &str| number(params, key);
        let size = |key: &str| size(params, key);
        let dim = size("dim")?.ok_or("dim is missing")?;
        let n_heads = size("n_heads")?.ok_or("n_heads is missing")?;
        if n_heads == 0 {
            return Err("n_heads is 0".into());
        }
        let vocab_rows = files.vocab_rows;
        let vocab_size = params.get("vocab_size").and_then(Value::as_i64).unwrap_or(-1);
        if vocab_size > 0 && vocab_size != vocab_rows as i64 {
            return Err(format!("vocab_size is {vocab_size}, but the weights have {vocab_rows} rows"));
        }
        let rope_theta = number("rope_theta")?.unwrap_or(10_000.0);
        let scaled = flag(params, "use_scaled_rope")?;
        let norm_eps = number("norm_eps")?.ok_or("norm_eps is missing")? as f32;
        let n_self_layers = size("n_layers")?.ok_or("n_layers is missing")?;
        let n_cross = size("vision_num_cross_attention_layers")?.unwrap_or(0);
        let cross_layers = cross_layers(n_self_layers, n_cross)?;
        let is_llama4 = (files.shape)("layers.0.attention.wqkv.weight").is_some();
        let vision = match (vision, object(params, "vision_args")?) {
            (Some(known), _) => Some(known.clone()),
            (None, Some(args)) => Some(Vision::from_meta4(args, |name| files.rows(name))?),
            (None, None) => Vision::from_meta32(params, files.shape, vocab_rows as u32)?,
        };
        let ffn_dim = match is_llama4 {
            true => (0..n_self_layers.min(MAX_LAYERS))
                .map(|i| files.rows(&format!("layers.{i}.feed_forward.mlp.fc1_weight")) / 2)
                .find(|width| *width > 0)
                .unwrap_or(0),
            false => ffn_dim(dim, number("ffn_dim_multiplier")?, size("multiple_of")?.unwrap_or(256))?,
        };
        let max_seq_len = match (is_llama4, scaled) {
            (true, true) => 10_485_760,
            (true, false) => 1_048_576,
            (false, _) => max_seq_len(vocab_rows, rope_theta, scaled, norm_eps),
        };
        let plain = Config {
            dim,
            n_layers: n_self_layers + cross_layers.len(),
            n_heads,
            n_kv_heads: size("n_kv_heads")?.unwrap_or(n_heads),
            head_dim: size("head_dim")?.unwrap_or(dim / n_heads),
            ffn_dim,
            vocab_size: vocab_rows,
            max_seq_len,
            norm_eps,
            rope_theta,
            rope_scaling: if scaled { scaling(dim, &number)? } else { RopeScaling::None },
            tied: files.tied,
            cross_layers,
            n_extra_embeddings: files.n_extra,
            vision,
            ..Config::default()
        };
        let config = if is_llama4 { llama4(plain, params, files)? } else { plain };
        config.check()?;
        Ok(config)
    }
}

/// Adds what `params.json` says of the layers of Llama 4; the width of experts is in their tensors. Missing
/// keys have the defaults of Meta's code (llama-models, `models/llama4/args.py`).
fn llama4(plain: Config, params: &Value, files: &MetaFacts) -> Result<Config, String> {
    let n_layers = plain.n_layers;
    if n_layers > MAX_LAYERS {
        return Err(format!("n_layers is {n_layers}; expected 1 to {MAX_LAYERS}"));
    }
    let every = |place: &Value, key: &str| Ok::<_, String>(size(place, key)?.filter(|n| *n > 0));
    let interval = every(params, "nope_layer_interval")?;
    let chunk = every(params, "attention_chunk_size")?;
    let moe = object(params, "moe_args")?;
    let step = match moe {
        Some(moe) => every(moe, "interleave_moe_layer_step")?.unwrap_or(1),
        None => 1,
    };
    let layers: Vec<LayerKind> = (1..=n_layers)
        .map(|i| {
            let no_rope = interval.is_some_and(|interval| i % interval == 0);
            LayerKind {
                no_rope,
                chunked: chunk.is_some() && !no_rope,
                experts: moe.is_some() && i % step == 0,
            }
        })
        .collect();
    let experts = match (moe, layers.iter().position(|layer| layer.experts)) {
        (Some(moe), Some(first)) => Experts {
            n: size(moe, "num_experts")?.ok_or("moe_args: num_experts is missing")?,
            n_used: size(moe, "top_k")?.unwrap_or(1),
            ffn_dim: files.rows(&format!("layers.{first}.feed_forward.w_in_shared_FD.weight")),
            routing: Routing::Inputs,
        },
        _ => Experts::default(),
    };
    let temperature = Temperature {
        floor: number(params, "floor_scale")?.unwrap_or(8192.0) as f32,
        scale: number(params, "attn_scale")?.unwrap_or(0.1) as f32,
    };
    let tuned = flag(params, "attn_temperature_tuning")?;
    Ok(Config {
        // Where all layers have experts, the width of the others means nothing, but it is one.
        ffn_dim: if plain.ffn_dim > 0 { plain.ffn_dim } else { experts.ffn_dim },
        layer_kinds: layers,
        attention_chunk: chunk,
        qk_norm: flag(params, "use_qk_norm")?,
        attention_temperature: tuned.then_some(temperature),
        experts,
        ..plain
    })
}

/// `params.json` for a model. The message says what this form cannot say.
pub(crate) fn to_meta(config: &Config) -> Result<Value, String> {
    if config.biases != Biases::default() {
        return Err("params.json cannot say that linear layers have a bias".into());
    }
    if config.experts.routing == Routing::Outputs {
        return Err("params.json cannot say that outputs of experts are weighted".into());
    }
    if !config.causal {
        return Err("params.json cannot say that tokens attend to later ones".into());
    }
    if config.sliding_window.is_some() {
        return Err("params.json cannot say that tokens attend to a window of positions".into());
    }
    if !config.layer_sizes.is_empty() {
        return Err("params.json cannot say that layers have several sizes".into());
    }
    if config.unrotated_dim > 0 {
        return Err("params.json cannot say that a part of each head does not rotate".into());
    }
    let mut params = json!({
        "dim": config.dim,
        "head_dim": config.head_dim,
        "n_heads": config.n_heads,
        "n_kv_heads": config.n_kv_heads,
        "n_layers": config.n_layers - config.cross_layers.len(),
        "norm_eps": short(config.norm_eps),
        "rope_theta": config.rope_theta,
        "use_scaled_rope": config.rope_scaling != RopeScaling::None,
        "vocab_size": config.vocab_size,
    });
    match &config.rope_scaling {
        RopeScaling::None => {}
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original }
            if *low_freq_factor == 1.0 && *original == 8192.0 =>
        {
            params["rope_scaling_factor"] = json!(factor);
            params["rope_high_freq_factor"] = json!(high_freq_factor);
        }
        other => return Err(format!("params.json cannot say this model's rotary scaling, {other:?}")),
    }
    if !config.cross_layers.is_empty() {
        let (n_self, n_cross) = (config.n_layers - config.cross_layers.len(), config.cross_layers.len());
        if cross_layers(n_self, n_cross)? != config.cross_layers {
            return Err("params.json cannot say where this model's cross-attention layers are".into());
        }
        params["vision_num_cross_attention_layers"] = json!(n_cross);
    }
    if let Some(vision) = &config.vision {
        vision.add_to_meta(&mut params);
    }
    if config.layer_kinds.is_empty() {
        // Half a unit more than the width, which the rule rounds off.
        let width = ffn_dim(config.dim, None, 1)?;
        params["ffn_dim_multiplier"] = json!((config.ffn_dim as f64 + 0.5) / width as f64);
        params["multiple_of"] = json!(1);
        return Ok(params);
    }
    let Config { layer_kinds: layers, attention_chunk: chunk, qk_norm, experts, .. } = config;
    let temperature = &config.attention_temperature;
    let interval = layers.iter().position(|layer| layer.no_rope).map(|first| first + 1);
    let step = layers.iter().position(|layer| layer.experts).map(|first| first + 1);
    let every = |i: usize, n: Option<usize>| n.is_some_and(|n| (i + 1).is_multiple_of(n));
    let regular = |(i, layer): (usize, &LayerKind)| {
        layer.no_rope == every(i, interval)
            && layer.experts == every(i, step)
            && layer.chunked == (chunk.is_some() && !layer.no_rope)
    };
    if !layers.iter().enumerate().all(regular) {
        return Err("params.json cannot say which layers of this model are of which kind".into());
    }
    params["nope_layer_interval"] = json!(interval);
    params["attention_chunk_size"] = json!(chunk);
    params["use_qk_norm"] = json!(qk_norm);
    params["attn_temperature_tuning"] = json!(temperature.is_some());
    if let Some(Temperature { floor, scale }) = temperature {
        params["floor_scale"] = json!(short(*floor));
        params["attn_scale"] = json!(short(*scale));
    }
    if let Some(step) = step {
        params["moe_args"] = json!({
            "num_experts": experts.n,
            "top_k": experts.n_used,
            "interleave_moe_layer_step": step,
        });
    }
    Ok(params)
}

/// Which layers attend to images, counted with them: spread evenly, before the last layer of each group of
/// the others (llama-models, `models/llama3/multimodal/model.py`).
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

/// The constants of Meta's `apply_scaling` (llama-models, models/llama3/model.py); the released 1B and 3B of
/// 3.2, told by their width, use 32 where the others use 8 (their published `config.json`).
fn scaling(dim: usize, number: &impl Fn(&str) -> Result<Option<f64>, String>) -> Result<RopeScaling, String> {
    let default_factor = if matches!(dim, 2048 | 3072) { 32.0 } else { 8.0 };
    Ok(RopeScaling::Llama3 {
        factor: number("rope_scaling_factor")?.unwrap_or(default_factor),
        low_freq_factor: 1.0,
        high_freq_factor: number("rope_high_freq_factor")?.unwrap_or(4.0),
        original: 8192.0,
    })
}

/// The context each release is specified for, which `params.json` does not say: 3.1 and later (scaled rope),
/// 3 (128k vocabulary), Code Llama (theta 1e6), 2 (eps 1e-5), 1.
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
