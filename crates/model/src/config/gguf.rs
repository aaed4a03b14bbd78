//! The metadata of a GGUF file of architecture `llama`.

use puna_formats::FormatError;
use puna_formats::gguf::{Metadata, Value};
use puna_tensor::RopeLayout;

use super::{Config, MAX_LAYERS};
use crate::rope::RopeScaling;

impl Config {
    /// Reads the metadata. `vocab_rows` are the rows of the embedding, `rope_freqs` the tensor of that name, and
    /// `tied` says that the file has no output matrix. The inner error names a key that is not supported.
    pub(crate) fn from_gguf(
        metadata: &Metadata,
        vocab_rows: usize,
        rope_freqs: Option<Vec<f32>>,
        tied: bool,
    ) -> Result<Result<Config, String>, FormatError> {
        let architecture = metadata.str("general.architecture")?;
        if architecture != "llama" {
            return Ok(Err(format!(
                "general.architecture is `{architecture}`; supported is `llama` (Llama 1 to 3.3, text)"
            )));
        }
        let size = |key: &str| Ok::<_, FormatError>(metadata.u32(key)? as usize);
        let n_layers = size("llama.block_count")?;
        if n_layers == 0 || n_layers > MAX_LAYERS {
            return Ok(Err(format!("llama.block_count is {n_layers}; expected 1 to {MAX_LAYERS}")));
        }
        let uniform = |key: &str| -> Result<Result<Option<usize>, String>, FormatError> {
            let Some(per_layer) = metadata.opt_u32_per_layer(key, n_layers)? else { return Ok(Ok(None)) };
            let same = per_layer.windows(2).all(|pair| pair[0] == pair[1]);
            let first = per_layer.first().map(|n| *n as usize);
            Ok(if same { Ok(first) } else { Err(format!("{key} differs between layers")) })
        };
        let n_heads = match uniform("llama.attention.head_count")? {
            Ok(Some(n)) => n,
            Ok(None) => return Err(metadata.missing("llama.attention.head_count")),
            Err(fact) => return Ok(Err(fact)),
        };
        let n_kv_heads = match uniform("llama.attention.head_count_kv")? {
            Ok(n) => n.unwrap_or(n_heads),
            Err(fact) => return Ok(Err(fact)),
        };
        let ffn_dim = match uniform("llama.feed_forward_length")? {
            Ok(Some(n)) => n,
            Ok(None) => return Err(metadata.missing("llama.feed_forward_length")),
            Err(fact) => return Ok(Err(fact)),
        };
        if n_heads == 0 {
            return Ok(Err("llama.attention.head_count is 0".into()));
        }
        let dim = size("llama.embedding_length")?;
        let head_dim = match metadata.opt_u32("llama.attention.key_length")? {
            Some(n) => n as usize,
            None => dim / n_heads,
        };
        for (key, expected) in [
            ("llama.attention.value_length", head_dim),
            ("llama.rope.dimension_count", head_dim),
            ("llama.expert_count", 0),
        ] {
            if let Some(found) = metadata.opt_u32(key)?.filter(|n| *n as usize != expected) {
                return Ok(Err(format!("{key} is {found}; supported is {expected}")));
            }
        }
        let rope_scaling = match scaling(metadata, rope_freqs)? {
            Ok(scaling) => scaling,
            Err(fact) => return Ok(Err(fact)),
        };
        let config = Config {
            dim,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            ffn_dim,
            vocab_size: vocab_rows,
            max_seq_len: size("llama.context_length")?,
            norm_eps: metadata.f32("llama.attention.layer_norm_rms_epsilon")?,
            rope_theta: metadata.opt_f32("llama.rope.freq_base")?.unwrap_or(10_000.0) as f64,
            rope_scaling,
            rope_layout: RopeLayout::Interleaved,
            tied,
        };
        Ok(config.check().map(|()| config))
    }
}

/// As llama.cpp reads it: a factor without a type is linear, `rope.scale_linear` is the old key of that factor, and the
/// frequencies of Llama 3.1 and later are in a tensor.
fn scaling(
    metadata: &Metadata,
    rope_freqs: Option<Vec<f32>>,
) -> Result<Result<RopeScaling, String>, FormatError> {
    let factor = match metadata.opt_f32("llama.rope.scaling.factor")? {
        Some(factor) => Some(factor),
        None => metadata.opt_f32("llama.rope.scale_linear")?,
    };
    let kind = metadata.opt_str("llama.rope.scaling.type")?;
    let factor = match kind.unwrap_or("linear") {
        "none" => 1.0,
        "linear" => factor.unwrap_or(1.0) as f64,
        other => return Ok(Err(format!("llama.rope.scaling.type is `{other}`; supported: none, linear"))),
    };
    Ok(match rope_freqs {
        Some(_) if factor != 1.0 => Err(format!(
            "there are both rope_freqs and linear rope scaling by {factor}; supported is one of them"
        )),
        Some(divisors) => Ok(RopeScaling::Divisors(divisors)),
        None if factor == 1.0 => Ok(RopeScaling::None),
        None => Ok(RopeScaling::Linear { factor }),
    })
}

/// The metadata of architecture `llama` for a model, and the `rope_freqs` tensor if its scaling needs one.
/// Dynamic scaling cannot be said in GGUF: `None`.
pub fn to_gguf(config: &Config, metadata: &mut Metadata) -> Option<Option<Vec<f32>>> {
    let count = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    metadata.set("general.architecture", Value::String("llama".into()));
    for (key, n) in [
        ("llama.block_count", config.n_layers),
        ("llama.context_length", config.max_seq_len),
        ("llama.embedding_length", config.dim),
        ("llama.feed_forward_length", config.ffn_dim),
        ("llama.attention.head_count", config.n_heads),
        ("llama.attention.head_count_kv", config.n_kv_heads),
        ("llama.attention.key_length", config.head_dim),
        ("llama.attention.value_length", config.head_dim),
        ("llama.rope.dimension_count", config.head_dim),
        ("llama.vocab_size", config.vocab_size),
    ] {
        metadata.set(key, count(n));
    }
    metadata.set("llama.attention.layer_norm_rms_epsilon", Value::F32(config.norm_eps));
    metadata.set("llama.rope.freq_base", Value::F32(config.rope_theta as f32));
    match &config.rope_scaling {
        RopeScaling::None => Some(None),
        RopeScaling::Dynamic { .. } => None,
        RopeScaling::Divisors(divisors) => Some(Some(divisors.clone())),
        RopeScaling::Linear { factor } => {
            metadata.set("llama.rope.scaling.type", Value::String("linear".into()));
            metadata.set("llama.rope.scaling.factor", Value::F32(*factor as f32));
            Some(None)
        }
        scaled @ RopeScaling::Llama3 { .. } => {
            let plain = crate::rope::inv_freq(config.head_dim, config.rope_theta, &RopeScaling::None, 1);
            let scaled = crate::rope::inv_freq(config.head_dim, config.rope_theta, scaled, 1);
            Some(Some(plain.iter().zip(scaled).map(|(f, s)| f / s).collect()))
        }
    }
}
