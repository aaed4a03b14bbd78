//! `config.json` of Hugging Face: the keys of transformers' `LlamaConfig`, in its old and new styles.

use serde_json::{Value, json};

use super::Config;
use crate::rope::RopeScaling;
use puna_tensor::RopeLayout;

impl Config {
    /// Reads `config.json`. The message names the key that is missing or not understood.
    pub fn from_hf(config: &Value) -> Result<Config, String> {
        let model_type = text(config, "model_type")?.unwrap_or("llama");
        if model_type != "llama" {
            return Err(format!("model_type is `{model_type}`; supported is `llama` (Llama 1 to 3.3, text)"));
        }
        if let Some(quantization) = config.get("quantization_config").filter(|q| !q.is_null()) {
            let method = quantization.get("quant_method").and_then(Value::as_str).unwrap_or("unknown");
            return Err(format!("weights quantised by `{method}` are not supported yet"));
        }
        for key in ["attention_bias", "mlp_bias"] {
            if flag(config, key)? {
                return Err(format!("{key} is true; linear layers with a bias are not supported"));
            }
        }
        let activation = text(config, "hidden_act")?.unwrap_or("silu");
        if !matches!(activation, "silu" | "swish") {
            return Err(format!("hidden_act is `{activation}`; Llama models use silu"));
        }
        let dim = size(config, "hidden_size")?.ok_or("hidden_size is missing")?;
        let n_heads = size(config, "num_attention_heads")?.ok_or("num_attention_heads is missing")?;
        if n_heads == 0 {
            return Err("num_attention_heads is 0".into());
        }
        let max_seq_len = size(config, "max_position_embeddings")?.unwrap_or(2048);
        let (rope_theta, rope_scaling) = rope(config, max_seq_len)?;
        let config = Config {
            dim,
            n_layers: size(config, "num_hidden_layers")?.ok_or("num_hidden_layers is missing")?,
            n_heads,
            n_kv_heads: size(config, "num_key_value_heads")?.unwrap_or(n_heads),
            head_dim: size(config, "head_dim")?.unwrap_or(dim / n_heads),
            ffn_dim: size(config, "intermediate_size")?.ok_or("intermediate_size is missing")?,
            vocab_size: size(config, "vocab_size")?.ok_or("vocab_size is missing")?,
            max_seq_len: stretched(max_seq_len, &rope_scaling),
            norm_eps: number(config, "rms_norm_eps")?.unwrap_or(1e-6) as f32,
            rope_theta,
            rope_scaling,
            rope_layout: RopeLayout::HalfSplit,
            tied: flag(config, "tie_word_embeddings")?,
        };
        config.check()?;
        Ok(config)
    }
}

/// A whole number, if the key is there and not null.
fn size(config: &Value, key: &str) -> Result<Option<usize>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
            size.map(Some).ok_or_else(|| format!("{key} is {value}; expected a whole number"))
        }
    }
}

fn number(config: &Value, key: &str) -> Result<Option<f64>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| format!("{key} is {value}; expected a number")),
    }
}

fn text<'a>(config: &'a Value, key: &str) -> Result<Option<&'a str>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| format!("{key} is {value}; expected a string")),
    }
}

/// A truth value; false if the key is not there.
pub(super) fn flag(config: &Value, key: &str) -> Result<bool, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| format!("{key} is {value}; expected true or false")),
    }
}

/// The object under a key, if it is there.
fn object<'a>(config: &'a Value, key: &str) -> Result<Option<&'a Value>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) if value.is_object() => Ok(Some(value)),
        Some(value) => Err(format!("{key} is {value}; expected an object")),
    }
}

/// Theta and scaling: `rope_parameters` (transformers 5) replaces `rope_theta` and `rope_scaling`.
fn rope(config: &Value, max_seq_len: usize) -> Result<(f64, RopeScaling), String> {
    let parameters = object(config, "rope_parameters")?;
    let theta = match parameters.map(|p| number(p, "rope_theta")).transpose()?.flatten() {
        Some(theta) => theta,
        None => number(config, "rope_theta")?.unwrap_or(10_000.0),
    };
    let new_style = parameters.map(|p| scaling(p, max_seq_len)).transpose()?;
    let scaling = match new_style {
        Some(found) if found != RopeScaling::None => found,
        _ => match object(config, "rope_scaling")? {
            Some(old_style) => scaling(old_style, max_seq_len)?,
            None => RopeScaling::None,
        },
    };
    Ok((theta, scaling))
}

/// One scaling object, old (`type`) or new (`rope_type`).
fn scaling(object: &Value, max_seq_len: usize) -> Result<RopeScaling, String> {
    let kind = match text(object, "rope_type")? {
        Some(kind) => Some(kind),
        None => text(object, "type")?,
    };
    let required = |key: &str| number(object, key)?.ok_or_else(|| format!("rope scaling: {key} is missing"));
    match kind {
        None if object.get("factor").is_some_and(|f| !f.is_null()) => {
            Err("rope scaling has a factor but no rope_type".into())
        }
        None | Some("default") => Ok(RopeScaling::None),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: required("factor")?,
            low_freq_factor: required("low_freq_factor")?,
            high_freq_factor: required("high_freq_factor")?,
            original: required("original_max_position_embeddings")?,
        }),
        Some("linear") => Ok(RopeScaling::Linear { factor: required("factor")? }),
        // Transformers takes `max_position_embeddings` here, whatever else the object says.
        Some("dynamic") => {
            Ok(RopeScaling::Dynamic { factor: required("factor")?, original: max_seq_len as f64 })
        }
        Some(other) => {
            Err(format!("rope type `{other}` is not supported; supported: default, llama3, linear, dynamic"))
        }
    }
}

/// The context with its scaling. Linear and dynamic scaling stretch `max_position_embeddings`, which stays the length the
/// model was first trained for; llama3 scaling is included in it.
fn stretched(max_seq_len: usize, scaling: &RopeScaling) -> usize {
    match scaling {
        RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } if *factor > 1.0 => {
            (max_seq_len as f64 * factor) as usize
        }
        _ => max_seq_len,
    }
}

/// `config.json` for a model, in the style that transformers 4 and 5 both read. Weights are stored as `dtype`.
///
/// A model whose scaling only GGUF can say (frequency divisors) has no such file: `None`.
pub fn to_hf(config: &Config, dtype: &str) -> Option<Value> {
    let rope_scaling = match &config.rope_scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Dynamic { factor, .. } => json!({"rope_type": "dynamic", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor, "original_max_position_embeddings": *original as u64,
        }),
        RopeScaling::Divisors(_) => return None,
    };
    Some(json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.dim,
        "initializer_range": 0.02,
        "intermediate_size": config.ffn_dim,
        "max_position_embeddings": unstretched(config),
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": config.n_heads,
        "num_hidden_layers": config.n_layers,
        "num_key_value_heads": config.n_kv_heads,
        "rms_norm_eps": short(config.norm_eps),
        "rope_scaling": rope_scaling,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tied,
        "torch_dtype": dtype,
        "vocab_size": config.vocab_size,
    }))
}

/// What [`stretched`] makes the context from.
fn unstretched(config: &Config) -> usize {
    match &config.rope_scaling {
        RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } if *factor > 1.0 => {
            (config.max_seq_len as f64 / factor) as usize
        }
        _ => config.max_seq_len,
    }
}

/// The shortest decimal that reads back as this f32, so that 1e-5 is not written as 9.999999747378752e-6.
fn short(x: f32) -> f64 {
    format!("{x}").parse().unwrap_or(x as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Value {
        json!({"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 128,
               "vocab_size": 100})
    }

    #[test]
    fn absent_keys_have_their_defaults() {
        let config = Config::from_hf(&base()).unwrap();
        assert_eq!((config.n_kv_heads, config.head_dim, config.max_seq_len), (4, 16, 2048));
        assert_eq!((config.norm_eps, config.rope_theta, config.tied), (1e-6, 1e4, false));
    }

    #[test]
    fn both_rope_styles_are_read() {
        let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 8192, "rope_theta": 5e5});
        let (mut old, mut new) = (base(), base());
        old["rope_theta"] = json!(5e5);
        old["rope_scaling"] = scaling.clone();
        new["rope_parameters"] = scaling;
        let (old, new) = (Config::from_hf(&old).unwrap(), Config::from_hf(&new).unwrap());
        assert_eq!(old, new);
        assert_eq!(old.rope_theta, 5e5);
        let mut linear = base();
        linear["rope_scaling"] = json!({"type": "linear", "factor": 2.0});
        let linear = Config::from_hf(&linear).unwrap();
        assert_eq!(linear.rope_scaling, RopeScaling::Linear { factor: 2.0 });
        assert_eq!(linear.max_seq_len, 2 * 2048);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (key, value, word) in [
            ("model_type", json!("mamba"), "mamba"),
            ("attention_bias", json!(true), "attention_bias"),
            ("hidden_act", json!("gelu"), "gelu"),
            ("rope_scaling", json!({"rope_type": "yarn", "factor": 2.0}), "yarn"),
            ("num_attention_heads", json!(0), "num_attention_heads"),
            ("num_attention_heads", json!("four"), "four"),
            ("num_key_value_heads", json!(3), "3"),
            ("head_dim", json!(15), "15"),
            ("vocab_size", json!(u64::MAX), "vocab_size"),
            ("quantization_config", json!({"quant_method": "gptq"}), "gptq"),
            ("tie_word_embeddings", json!("true"), "tie_word_embeddings"),
            ("rope_scaling", json!("linear"), "rope_scaling"),
            ("rope_scaling", json!({"factor": 8.0}), "rope_type"),
            ("model_type", json!(5), "model_type"),
        ] {
            let mut config = base();
            config[key] = value;
            let error = Config::from_hf(&config).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut config = Config::from_hf(&base()).unwrap();
        config.norm_eps = 1e-5;
        config.max_seq_len *= 4;
        config.rope_scaling = RopeScaling::Linear { factor: 4.0 };
        assert_eq!(Config::from_hf(&to_hf(&config, "float32").unwrap()).unwrap(), config);
    }
}
