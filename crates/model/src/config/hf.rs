//! `config.json` of Hugging Face: the keys of transformers' `LlamaConfig`, in its old and new styles.

mod pruned;
mod rope;

use serde_json::{Value, json};

use super::json::{flag, list, number, object, short, size, sizes, text};
use super::{Biases, Config, Experts, LayerKind, MAX_LAYERS, Routing, Temperature, Vision};
use puna_tensor::RopeLayout;

impl Config {
    /// Reads `config.json`. The message names the key that is missing or not understood.
    pub fn from_hf(config: &Value) -> Result<Config, String> {
        // A model that sees images has its language model's configuration inside its own.
        let outer = config;
        let config = match object(config, "text_config")? {
            Some(inner) if matches!(text(config, "model_type")?, Some("llama4" | "mllama")) => inner,
            _ => config,
        };
        let model_type = text(config, "model_type")?.unwrap_or("llama");
        let is = |name: &str| model_type == name;
        let (llama4, mllama, mixtral) = (is("llama4_text"), is("mllama_text_model"), is("mixtral"));
        let (mistral, pruned) = (is("mistral"), is("nemotron-nas"));
        let sees_all = is("llama_bidirec");
        if !(llama4 || mllama || mixtral || mistral || pruned || sees_all || is("llama")) {
            return Err(format!(
                "model_type is `{model_type}`; supported are `llama`, `mllama`, `llama4`, `mistral`, \
                 `mixtral`, `nemotron-nas` and `llama_bidirec`"
            ));
        }
        let attention_bias = flag(config, "attention_bias")?;
        let biases = Biases { qkv: attention_bias, o: attention_bias, ffn: flag(config, "mlp_bias")? };
        let activation = text(config, "hidden_act")?.unwrap_or("silu");
        if !matches!(activation, "silu" | "swish") {
            return Err(format!("hidden_act is `{activation}`; Llama models use silu"));
        }
        let dim = size(config, "hidden_size")?.ok_or("hidden_size is missing")?;
        let n_heads = size(config, "num_attention_heads")?.ok_or("num_attention_heads is missing")?;
        if n_heads == 0 {
            return Err("num_attention_heads is 0".into());
        }
        let max_seq_len = size(config, "max_position_embeddings")?.unwrap_or(if mixtral || mistral {
            4096 * 32
        } else {
            2048
        });
        let default_theta = match () {
            () if llama4 => 500_000.0,
            () if mixtral => 1_000_000.0,
            () => 10_000.0,
        };
        let (rope_theta, rope_scaling) = rope::read(config, max_seq_len, default_theta)?;
        let n_layers = size(config, "num_hidden_layers")?.ok_or("num_hidden_layers is missing")?;
        let default_kv_heads =
            if (mixtral || mistral) && config.get("num_key_value_heads").is_none() { 8 } else { n_heads };
        // A class that has none overlooks the key, as transformers does.
        let sliding_window = match config.get("sliding_window") {
            None if mistral => Some(4096),
            Some(_) if mistral || mixtral => size(config, "sliding_window")?,
            _ => None,
        };
        let width = if llama4 { "intermediate_size_mlp" } else { "intermediate_size" };
        let plain = Config {
            dim,
            n_layers,
            n_heads,
            n_kv_heads: size(config, "num_key_value_heads")?.unwrap_or(default_kv_heads),
            head_dim: size(config, "head_dim")?.unwrap_or(dim / n_heads),
            ffn_dim: match size(config, width)? {
                Some(width) => width,
                None if pruned => 0, // Each layer says its own.
                None => return Err(format!("{width} is missing")),
            },
            vocab_size: size(config, "vocab_size")?.ok_or("vocab_size is missing")?,
            max_seq_len: rope::stretched(max_seq_len, &rope_scaling),
            norm_eps: number(config, "rms_norm_eps")?.unwrap_or(if llama4 || mixtral { 1e-5 } else { 1e-6 })
                as f32,
            rope_theta,
            rope_scaling,
            rope_layout: if llama4 { RopeLayout::Interleaved } else { RopeLayout::HalfSplit },
            tied: flag(config, "tie_word_embeddings")?,
            biases,
            causal: !sees_all && is_causal(config)?,
            sliding_window: sliding_window.filter(|window| *window < max_seq_len),
            cross_layers: match sizes(config, "cross_attention_layers")? {
                Some(layers) if mllama => layers,
                None if mllama => vec![3, 8, 13, 18, 23, 28, 33, 38],
                _ => Vec::new(),
            },
            // `<|image|>` and seven that nothing uses.
            n_extra_embeddings: if mllama { 8 } else { 0 },
            vision: Vision::from_hf(outer)?,
            ..Config::default()
        };
        let config = match () {
            () if llama4 => self::llama4(plain, config)?,
            () if mixtral => self::mixtral(plain, config)?,
            () if pruned => pruned::read(plain, config)?,
            () => plain,
        };
        config.check()?;
        Ok(config)
    }
}

/// Classes whose name says that tokens attend to later ones: of LLM2Vec, and of models by NVIDIA.
const SEE_ALL: [&str; 4] = ["LlamaEncoderModel", "LlamaBiModel", "LlamaBiForMNTP", "LlamaBidirectionalModel"];

/// Whether tokens attend to those before them alone.
fn is_causal(config: &Value) -> Result<bool, String> {
    let classes = list(config, "architectures")?.into_iter().flatten().filter_map(Value::as_str);
    let named = classes.into_iter().any(|class| SEE_ALL.contains(&class));
    let said = config.get("is_causal").is_none_or(Value::is_null) || flag(config, "is_causal")?;
    Ok(said && !named)
}

/// Adds what `MixtralConfig` says of experts, which all layers have; its defaults are Mixtral-8x7B's.
fn mixtral(plain: Config, config: &Value) -> Result<Config, String> {
    let Config { n_layers, ffn_dim, .. } = plain;
    if n_layers > MAX_LAYERS {
        return Err(format!("num_hidden_layers is {n_layers}; expected 1 to {MAX_LAYERS}"));
    }
    let experts = Experts {
        n: size(config, "num_local_experts")?.unwrap_or(8),
        n_used: size(config, "num_experts_per_tok")?.unwrap_or(2),
        ffn_dim,
        routing: Routing::Outputs,
    };
    Ok(Config {
        layer_kinds: vec![LayerKind { experts: true, ..LayerKind::default() }; n_layers],
        experts,
        ..plain
    })
}

/// Adds what `Llama4TextConfig` says of layers; its defaults are Scout's.
fn llama4(plain: Config, config: &Value) -> Result<Config, String> {
    let n_layers = plain.n_layers;
    if n_layers > MAX_LAYERS {
        return Err(format!("num_hidden_layers is {n_layers}; expected 1 to {MAX_LAYERS}"));
    }
    let per_layer = |key: &str| match list(config, key)?.filter(|list| !list.is_empty()) {
        Some(list) if list.len() != n_layers => {
            Err(format!("{key} has {} entries for {n_layers} layers", list.len()))
        }
        list => Ok(list),
    };
    let every = |key: &str, default| Ok::<_, String>(size(config, key)?.unwrap_or(default).max(1));
    let (interval, step) = (every("no_rope_layer_interval", 4)?, every("interleave_moe_layer_step", 1)?);
    let n_experts = size(config, "num_local_experts")?.unwrap_or(16);
    let (rotate, types, moe) =
        (per_layer("no_rope_layers")?, per_layer("layer_types")?, list(config, "moe_layers")?);
    let layers = (0..n_layers).map(|i| {
        // Despite its name, a 1 in the list is a layer that rotates.
        let no_rope = match rotate.map(|list| &list[i]) {
            None => (i + 1) % interval == 0,
            Some(value) => match value.as_u64().or(value.as_bool().map(u64::from)) {
                Some(n @ (0 | 1)) => n == 0,
                _ => return Err(format!("no_rope_layers has {value}; expected 0 or 1")),
            },
        };
        let chunked = match types.map(|list| &list[i]) {
            None => !no_rope,
            Some(value) => match value.as_str() {
                Some("chunked_attention") => true,
                Some("full_attention") => false,
                _ => {
                    return Err(format!(
                        "layer_types has {value}; supported are chunked_attention and full_attention"
                    ));
                }
            },
        };
        let experts = match moe {
            None => n_experts > 0 && (i + 1) % step == 0,
            Some(list) => list.iter().any(|layer| layer.as_u64() == Some(i as u64)),
        };
        Ok(LayerKind { no_rope, chunked, experts })
    });
    // Some releases count in place of saying true.
    let tuned = match config.get("attn_temperature_tuning") {
        None | Some(Value::Null) => true,
        Some(value) => match value.as_bool().or(value.as_f64().map(|n| n != 0.0)) {
            Some(tuned) => tuned,
            None => return Err(format!("attn_temperature_tuning is {value}; expected true or false")),
        },
    };
    let temperature = Temperature {
        floor: number(config, "floor_scale")?.unwrap_or(8192.0) as f32,
        scale: number(config, "attn_scale")?.unwrap_or(0.1) as f32,
    };
    let chunk = match config.get("attention_chunk_size") {
        None => Some(8192),
        Some(_) => size(config, "attention_chunk_size")?,
    };
    let required = |key: &str| size(config, key)?.ok_or_else(|| format!("{key} is missing"));
    let layers: Vec<LayerKind> = layers.collect::<Result<_, String>>()?;
    let experts = match layers.iter().any(|layer| layer.experts) {
        false => Experts::default(),
        true => Experts {
            n: n_experts,
            n_used: size(config, "num_experts_per_tok")?.unwrap_or(1),
            ffn_dim: required("intermediate_size")?,
            routing: Routing::Inputs,
        },
    };
    Ok(Config {
        layer_kinds: layers,
        attention_chunk: chunk,
        qk_norm: config.get("use_qk_norm").is_none_or(Value::is_null) || flag(config, "use_qk_norm")?,
        attention_temperature: tuned.then_some(temperature),
        experts,
        ..plain
    })
}

/// `config.json` for a model, in the style that transformers 4 and 5 both read. Weights are stored as
/// `dtype`.
///
/// The message says why a model has no such file.
pub fn to_hf(config: &Config, dtype: &str) -> Result<Value, String> {
    let rope_scaling = rope::scaling_to_hf(config)?;
    if config.unrotated_dim > 0 {
        return Err("config.json of a Llama cannot say that a part of each head does not rotate".into());
    }
    if config.biases.qkv != config.biases.o {
        return Err(
            "config.json cannot say that queries have a bias and the output of attention has none, or \
                    the other way round"
                .into(),
        );
    }
    let mut text = json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": config.biases.qkv,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.dim,
        "initializer_range": 0.02,
        "intermediate_size": config.ffn_dim,
        "max_position_embeddings": rope::unstretched(config),
        "mlp_bias": config.biases.ffn,
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
    });
    if !config.causal {
        text["is_causal"] = json!(false);
    }
    if !config.layer_sizes.is_empty() {
        pruned::write(&mut text, config)?;
        return Ok(text);
    }
    if config.experts.routing == Routing::Outputs {
        text["model_type"] = json!("mixtral");
        text["architectures"] = json!(["MixtralForCausalLM"]);
        text["num_local_experts"] = json!(config.experts.n);
        text["num_experts_per_tok"] = json!(config.experts.n_used);
        text["sliding_window"] = json!(config.sliding_window);
        return Ok(text);
    }
    if config.sliding_window.is_some() {
        if config.biases != Biases::default() {
            return Err("config.json cannot say a window beside biases".into());
        }
        text["model_type"] = json!("mistral");
        text["architectures"] = json!(["MistralForCausalLM"]);
        text["sliding_window"] = json!(config.sliding_window);
        return Ok(text);
    }
    let outer = if config.is_llama4() {
        add_llama4(&mut text, config);
        ["llama4", "Llama4ForConditionalGeneration"]
    } else if !config.cross_layers.is_empty() {
        text["model_type"] = json!("mllama_text_model");
        text["architectures"] = json!(["MllamaForCausalLM"]);
        text["cross_attention_layers"] = json!(config.cross_layers);
        ["mllama", "MllamaForConditionalGeneration"]
    } else {
        return Ok(text);
    };
    let Some(vision) = &config.vision else { return Ok(text) };
    Ok(json!({
        "architectures": [outer[1]],
        "image_token_index": vision.image_token,
        "model_type": outer[0],
        "text_config": text,
        "tie_word_embeddings": config.tied,
        "torch_dtype": dtype,
        "vision_config": vision.to_hf(dtype),
    }))
}

/// What `Llama4TextConfig` has beyond its predecessors.
fn add_llama4(text: &mut Value, config: &Config) {
    let Config { layer_kinds: layers, attention_temperature: temperature, experts, .. } = config;
    let moe_layers: Vec<usize> = (0..layers.len()).filter(|i| layers[*i].experts).collect();
    let types: Vec<&str> =
        layers.iter().map(|l| if l.chunked { "chunked_attention" } else { "full_attention" }).collect();
    // Despite its name, a 1 in the list is a layer that rotates.
    let rotates: Vec<u8> = layers.iter().map(|layer| u8::from(!layer.no_rope)).collect();
    let with = json!({
        "architectures": ["Llama4ForCausalLM"],
        "attention_chunk_size": config.attention_chunk,
        "attn_scale": short(temperature.map_or(0.1, |t| t.scale)),
        "attn_temperature_tuning": temperature.is_some(),
        "floor_scale": short(temperature.map_or(8192.0, |t| t.floor)),
        "intermediate_size": if experts.n > 0 { experts.ffn_dim } else { config.ffn_dim },
        "intermediate_size_mlp": config.ffn_dim,
        "layer_types": types,
        "model_type": "llama4_text",
        "moe_layers": moe_layers,
        "no_rope_layers": rotates,
        "num_experts_per_tok": experts.n_used.max(1),
        "num_local_experts": experts.n,
        "use_qk_norm": config.qk_norm,
    });
    let Value::Object(with) = with else { return };
    for (key, value) in with {
        text[key] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Heads, LayerAttention, LayerSizes, Sublayer};
    use super::*;
    use crate::rope::RopeScaling;

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

    /// As transformers 5.24.0 resolves them.
    #[test]
    fn an_old_rope_key_counts_before_the_new_one() {
        let new = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 32, "rope_theta": 7e4});
        let read = |old: Value| {
            let mut config = base();
            config["rope_theta"] = json!(3e4);
            config["rope_scaling"] = old;
            config["rope_parameters"] = new.clone();
            let config = Config::from_hf(&config).unwrap();
            (config.rope_theta, config.rope_scaling)
        };
        let linear = RopeScaling::Linear { factor: 2.0 };
        assert_eq!(read(json!({"type": "linear", "factor": 2.0})), (3e4, linear.clone()));
        let with_theta = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 9e4});
        assert_eq!(read(with_theta), (9e4, linear));
        assert_eq!(read(json!({"rope_type": "default"})), (3e4, RopeScaling::None));
        for nothing in [Value::Null, json!({})] {
            let (theta, scaling) = read(nothing);
            assert!(theta == 7e4 && matches!(scaling, RopeScaling::Llama3 { .. }));
        }
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
            ("hidden_act", json!("gelu"), "gelu"),
            ("rope_scaling", json!({"rope_type": "su", "factor": 2.0}), "`su`"),
            ("num_attention_heads", json!(0), "num_attention_heads"),
            ("num_attention_heads", json!("four"), "four"),
            ("num_key_value_heads", json!(3), "3"),
            ("head_dim", json!(15), "15"),
            ("vocab_size", json!(u64::MAX), "vocab_size"),
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

    #[test]
    fn what_mixtral_leaves_away_is_that_of_8x7b() {
        let mut config = base();
        config["model_type"] = json!("mixtral");
        config["num_attention_heads"] = json!(16);
        let read = Config::from_hf(&config).unwrap();
        assert_eq!((read.n_kv_heads, read.max_seq_len, read.rope_theta), (8, 131_072, 1e6));
        assert_eq!((read.experts.n, read.experts.n_used, read.experts.ffn_dim), (8, 2, 128));
        assert!(!read.is_llama4() && read.n_active_params() < read.n_params());
        for (key, value, word) in [
            ("sliding_window", json!(0), "window"),
            ("num_experts_per_tok", json!(9), "9 of 8"),
            ("num_local_experts", json!(1 << 15), "experts"),
            ("attention_bias", json!(true), "bias"),
            ("num_hidden_layers", json!(1u64 << 40), "num_hidden_layers"),
        ] {
            let mut config = config.clone();
            config[key] = value;
            let error = Config::from_hf(&config).unwrap_err();
            assert!(error.contains(word), "{key}: {error}");
        }
        // One that nobody meets.
        config["sliding_window"] = json!(131_072);
        assert_eq!(Config::from_hf(&config), Ok(read));
    }

    #[test]
    fn windows_are_those_of_the_class() {
        let window = |model_type: &str, window: Option<Value>| {
            let mut config = base();
            config["model_type"] = json!(model_type);
            config["max_position_embeddings"] = json!(32_768);
            config["num_attention_heads"] = json!(16);
            if let Some(window) = window {
                config["sliding_window"] = window;
            }
            Config::from_hf(&config).unwrap().sliding_window
        };
        for (model_type, absent, said) in
            [("mistral", Some(4096), Some(512)), ("mixtral", None, Some(512)), ("llama", None, None)]
        {
            assert_eq!(window(model_type, None), absent, "{model_type}");
            assert_eq!(window(model_type, Some(json!(512))), said, "{model_type}");
            assert_eq!(window(model_type, Some(Value::Null)), None, "{model_type}");
            assert_eq!(window(model_type, Some(json!(32_768))), None, "{model_type}: nobody meets it");
        }
    }

    #[test]
    fn who_sees_later_tokens() {
        let causal = |key: &str, value: Value| {
            let mut config = base();
            config[key] = value;
            Config::from_hf(&config).map(|config| config.causal)
        };
        assert_eq!(causal("is_causal", json!(true)), Ok(true));
        assert_eq!(causal("is_causal", json!(false)), Ok(false));
        assert_eq!(causal("model_type", json!("llama_bidirec")), Ok(false));
        assert_eq!(causal("architectures", json!(["LlamaModel"])), Ok(true));
        for class in SEE_ALL {
            assert_eq!(causal("architectures", json!([class])), Ok(false));
        }
        assert!(causal("is_causal", json!("no")).unwrap_err().contains("is_causal"));
        let config = Config { causal: false, ..Config::from_hf(&base()).unwrap() };
        assert_eq!(Config::from_hf(&to_hf(&config, "float32").unwrap()), Ok(config));
    }

    #[test]
    fn pruned_layers_say_what_they_have() {
        // Widths of Llama-3.1-Nemotron-51B and 253B.
        for (multiplier, dim, want) in [
            (5.25, 8192, 28_672),
            (1.3125, 8192, 7168),
            (2.625, 8192, 14_336),
            (0.5, 8192, 2816),
            (4.875, 16384, 53_248),
        ] {
            assert_eq!(pruned::width_of(multiplier, dim), Some(want));
        }
        let whole = json!({"attention": {"n_heads_in_group": 2, "no_op": false, "replace_with_linear": false},
                           "ffn": {"ffn_mult": 4.0, "no_op": false, "replace_with_linear": false}});
        let mut config = base();
        config["model_type"] = json!("nemotron-nas");
        config["intermediate_size"] = Value::Null;
        config["block_configs"] =
            json!([whole, {"attention": {"no_op": true}, "ffn": {"replace_with_linear": true}}]);
        let read = Config::from_hf(&config).unwrap();
        let heads = Heads { n_heads: 4, n_kv_heads: 2 };
        let sizes = [
            LayerSizes { attention: Sublayer::Whole(heads), ffn_dim: Sublayer::Whole(256) },
            LayerSizes { attention: Sublayer::Absent, ffn_dim: Sublayer::Linear },
        ];
        assert_eq!((read.n_heads, read.n_kv_heads, read.ffn_dim), (4, 2, 256));
        assert_eq!(read.layer_sizes, sizes);
        let attention: Vec<_> = read.layer_attention().collect();
        assert_eq!(attention, [LayerAttention::Full, LayerAttention::Nothing]);
        assert_eq!(Config::from_hf(&to_hf(&read, "float32").unwrap()), Ok(read));
        // All alike, they are a plain Llama's.
        config["block_configs"] = json!([whole, whole]);
        assert!(Config::from_hf(&config).unwrap().layer_sizes.is_empty());
        for (pointer, value, word) in [
            ("/block_configs", json!([whole]), "1 entries for 2 layers"),
            ("/block_configs/1/attention/n_heads_in_group", json!(3), "layer 1"),
            ("/block_configs/0/attention/n_heads_in_group", json!(0), "groups of 0"),
            ("/block_configs/0/attention/n_heads_in_group", Value::Null, "n_heads_in_group is missing"),
            ("/block_configs/0/ffn/ffn_mult", json!(1e300), "ffn_mult"),
            ("/block_configs/0/ffn/ffn_mult", json!(-1.0), "ffn_mult"),
            ("/block_configs/0/ffn", Value::Null, "ffn is missing"),
        ] {
            let mut config = config.clone();
            *config.pointer_mut(pointer).unwrap() = value;
            let error = Config::from_hf(&config).unwrap_err();
            assert!(error.contains(word), "{pointer}: {error}");
        }
        config["block_configs"][1]["attention"]["window_length"] = json!(512);
        assert!(Config::from_hf(&config).unwrap_err().contains("window_length"));
    }

    fn llama4() -> Value {
        json!({
            "model_type": "llama4_text", "hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 2,
            "head_dim": 8, "num_hidden_layers": 8, "vocab_size": 512, "intermediate_size": 48,
            "intermediate_size_mlp": 96,
        })
    }

    #[test]
    fn what_llama_4_leaves_away_is_scouts() {
        let config = Config::from_hf(&llama4()).unwrap();
        let Config { layer_kinds: ref layers, attention_chunk: chunk, qk_norm, experts, .. } = config;
        let temperature = config.attention_temperature;
        assert_eq!((chunk, qk_norm), (Some(8192), true));
        assert_eq!(temperature, Some(Temperature { floor: 8192.0, scale: 0.1 }));
        assert_eq!(experts, Experts { n: 16, n_used: 1, ffn_dim: 48, routing: Routing::Inputs });
        let kind = |no_rope| LayerKind { no_rope, chunked: !no_rope, experts: true };
        assert_eq!(*layers, [3, 7].iter().fold([kind(false); 8], |mut all, i| (all[*i] = kind(true), all).1));
        assert_eq!((config.rope_layout, config.rope_theta), (RopeLayout::Interleaved, 500_000.0));
        // Factors of the reference at some positions.
        let factor = |position| temperature.unwrap().factor(position);
        for (position, want) in
            [(8190, 1.0), (8191, 1.069_314_7), (131_071, 1.283_321_3), (10_485_759, 1.715_539_6)]
        {
            assert!((factor(position) - want).abs() < 1e-6, "{position}");
        }
        // Llama Guard 4: no experts, all layers see everything. As part of a model with images.
        let mut guard = llama4();
        guard["moe_layers"] = json!([]);
        guard["attention_chunk_size"] = Value::Null;
        let config = Config::from_hf(&json!({"model_type": "llama4", "text_config": guard})).unwrap();
        assert!(config.layer_kinds.iter().all(|layer| !layer.experts) && config.attention_chunk.is_none());
        assert!(config.layer_attention().all(|attention| attention == LayerAttention::Full));
    }

    #[test]
    fn what_does_not_fit_llama_4_is_named() {
        for (key, value, word) in [
            ("no_rope_layers", json!([1, 1]), "2 entries for 8 layers"),
            ("no_rope_layers", json!([1, 1, 1, 0, 1, 1, 1, 2]), "expected 0 or 1"),
            ("layer_types", json!(vec!["sliding_attention"; 8]), "sliding_attention"),
            ("moe_layers", json!(3), "moe_layers"),
            ("num_experts_per_tok", json!(17), "17 of 16"),
            ("num_experts_per_tok", json!(0), "0 of 16"),
            ("num_local_experts", json!(1u64 << 40), "experts"),
            ("attention_chunk_size", json!(0), "chunk"),
            ("num_hidden_layers", json!(4096), "65536 experts in all layers"),
            ("attn_temperature_tuning", json!("yes"), "attn_temperature_tuning"),
            ("floor_scale", json!(0.0), "temperature"),
            ("intermediate_size_mlp", Value::Null, "intermediate_size_mlp is missing"),
        ] {
            let mut config = llama4();
            config[key] = value;
            let error = Config::from_hf(&config).unwrap_err();
            assert!(error.contains(word), "{key}: {error}");
        }
    }
}
