//! The metadata of a GGUF file of architecture `llama`, `llama4`, `mllama`, `deci` or `llama-embed`.

use puna_formats::FormatError;
use puna_formats::gguf::{Array, Metadata, Value};

use super::{
    Biases, Config, Experts, Heads, LayerKind, LayerSizes, MAX_LAYERS, Routing, Sublayer, Temperature, Vision,
};
use crate::rope::{RopeScaling, yarn_attention_factor};

impl Config {
    /// Reads the metadata. `vocab_rows` are the rows of the embedding, `tables` the tensors that rotary scaling
    /// needs, `biases` those that there are, and `output_rows` those of the output matrix, if there is one. The inner error names a key that is not
    /// supported.
    pub(crate) fn from_gguf(
        metadata: &Metadata,
        vocab_rows: usize,
        tables: RopeTables,
        biases: Biases,
        output_rows: Option<usize>,
    ) -> Result<Result<Config, String>, FormatError> {
        let architecture = metadata.str("general.architecture")?;
        let (is_llama4, sees) = match architecture {
            // Pruned layers, some of which lack a block.
            "llama" | "deci" | "llama-embed" => (false, false),
            "llama4" => (true, false),
            "mllama" => (false, true),
            _ => {
                return Ok(Err(format!(
                    "general.architecture is `{architecture}`; supported are `llama`, `mllama`, `llama4`, `deci` \
                     and `llama-embed`"
                )));
            }
        };
        let vocab_size = output_rows.filter(|_| sees).unwrap_or(vocab_rows);
        let (mut cross_layers, mut vision) = (Vec::new(), None);
        if sees {
            const KEY: &str = "mllama.attention.cross_attention_layers";
            let layers = metadata.opt_i32s(KEY)?.ok_or_else(|| metadata.missing(KEY))?;
            cross_layers =
                layers.into_iter().map(|layer| usize::try_from(layer).unwrap_or(usize::MAX)).collect();
            // The encoder may be in a file of its own.
            if metadata.get("mllama.vision.block_count").is_some() {
                vision = match Vision::from_mllama(metadata, vocab_size as u32)? {
                    Ok(vision) => Some(vision),
                    Err(fact) => return Ok(Err(fact)),
                };
            }
        }
        let key = |rest: &str| format!("{architecture}.{rest}");
        let size = |rest: &str| Ok::<_, FormatError>(metadata.u32(&key(rest))? as usize);
        let n_layers = size("block_count")?;
        if n_layers == 0 || n_layers > MAX_LAYERS {
            return Ok(Err(format!("{architecture}.block_count is {n_layers}; expected 1 to {MAX_LAYERS}")));
        }
        let per_layer = |rest: &str| metadata.opt_u32_per_layer(&key(rest), n_layers);
        let required = |rest: &str| per_layer(rest)?.ok_or_else(|| metadata.missing(&key(rest)));
        let (all_heads, widths) = (required("attention.head_count")?, required("feed_forward_length")?);
        let all_kv_heads = per_layer("attention.head_count_kv")?.unwrap_or_else(|| all_heads.clone());
        for (rest, counts) in [
            ("attention.head_count", &all_heads),
            ("attention.head_count_kv", &all_kv_heads),
            ("feed_forward_length", &widths),
        ] {
            if architecture != "deci" && counts.contains(&0) {
                return Ok(Err(format!("{} is 0", key(rest))));
            }
        }
        let sizes = all_heads.iter().zip(&all_kv_heads).zip(&widths);
        let sizes = sizes.map(|((n_heads, n_kv_heads), width)| LayerSizes {
            attention: match (*n_heads as usize, *n_kv_heads as usize) {
                (0, _) => Sublayer::Absent,
                (_, 0) => Sublayer::Linear,
                (n_heads, n_kv_heads) => Sublayer::Whole(Heads { n_heads, n_kv_heads }),
            },
            ffn_dim: match *width as usize {
                0 => Sublayer::Absent,
                width => Sublayer::Whole(width),
            },
        });
        let sized = Config::default().with_layer_sizes(sizes.collect());
        let Config { n_heads, n_kv_heads, ffn_dim, .. } = sized;
        if n_heads == 0 {
            return Ok(Err(format!("{architecture}.attention.head_count is 0 in all layers")));
        }
        let dim = size("embedding_length")?;
        let head_dim = match metadata.opt_u32(&key("attention.key_length"))? {
            Some(n) => n as usize,
            None => dim / n_heads,
        };
        let value_length = key("attention.value_length");
        if let Some(found) = metadata.opt_u32(&value_length)?.filter(|n| *n as usize != head_dim) {
            return Ok(Err(format!("{value_length} is {found}; supported is {head_dim}")));
        }
        let n_experts = metadata.opt_u32(&key("expert_count"))?.unwrap_or(0) as usize;
        let (mut experts, mut layer_kinds) = (Experts::default(), Vec::new());
        if n_experts > 0 && !is_llama4 {
            let n_used = size("expert_used_count")?;
            experts = Experts { n: n_experts, n_used, ffn_dim, routing: Routing::Outputs };
            layer_kinds = vec![LayerKind { experts: true, ..LayerKind::default() }; n_layers];
        }
        let rotary_dim = metadata.opt_u32(&key("rope.dimension_count"))?.map_or(head_dim, |n| n as usize);
        let rope_scaling = match scaling(metadata, architecture, tables)? {
            Ok(scaling) => scaling,
            Err(fact) => return Ok(Err(fact)),
        };
        let max_seq_len = size("context_length")?;
        // Of `llama4` the key says something else, and only that it is 0.
        let window = metadata.opt_u32(&key("attention.sliding_window"))?.filter(|_| !is_llama4);
        let window = window.map(|n| n as usize).filter(|n| (1..max_seq_len).contains(n));
        let plain = Config {
            dim,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            unrotated_dim: head_dim.wrapping_sub(rotary_dim),
            ffn_dim,
            layer_sizes: sized.layer_sizes,
            vocab_size,
            max_seq_len,
            norm_eps: metadata.f32(&key("attention.layer_norm_rms_epsilon"))?,
            rope_theta: metadata.opt_f32(&key("rope.freq_base"))?.unwrap_or(10_000.0) as f64,
            rope_scaling,
            tied: output_rows.is_none(),
            biases,
            experts,
            layer_kinds,
            sliding_window: window,
            causal: metadata.opt_bool(&key("attention.causal"))?.unwrap_or(architecture != "llama-embed"),
            cross_layers,
            n_extra_embeddings: vocab_rows.saturating_sub(vocab_size),
            vision,
            ..Config::default()
        };
        let config = if is_llama4 { llama4(plain, metadata)? } else { plain };
        Ok(config.check().map(|()| config))
    }
}

/// Adds what the file says of Llama 4's layers, and what llama.cpp knows without being told (llama.cpp,
/// `llama-model.cpp`): the chunk, the temperature, which layers rotate, and that Maverick, told by its number
/// of experts, has no norm of queries and keys.
fn llama4(plain: Config, metadata: &Metadata) -> Result<Config, FormatError> {
    let size =
        |rest: &str| Ok::<_, FormatError>(metadata.opt_u32(&format!("llama4.{rest}"))?.map(|n| n as usize));
    let n_experts = size("expert_count")?.unwrap_or(0);
    let step = size("interleave_moe_layer_step")?.unwrap_or(1);
    // A derivative says so where all its layers see and rotate everything.
    let all_alike = size("attention.sliding_window")? == Some(0);
    let layers = (1..=plain.n_layers).map(|i| LayerKind {
        no_rope: !all_alike && i % 4 == 0,
        chunked: !all_alike && i % 4 != 0,
        experts: n_experts > 0 && step > 0 && i % step == 0,
    });
    let experts = Experts {
        n: n_experts,
        n_used: size("expert_used_count")?.unwrap_or(1),
        ffn_dim: size("expert_feed_forward_length")?.unwrap_or(0),
        routing: Routing::Inputs,
    };
    Ok(Config {
        layer_kinds: layers.collect(),
        attention_chunk: Some(8192),
        qk_norm: n_experts != 128,
        attention_temperature: Some(Temperature { floor: 8192.0, scale: 0.1 }),
        experts: if n_experts > 0 { experts } else { Experts::default() },
        ..plain
    })
}

/// The tensors that rotary scaling needs, where a file has them.
#[derive(Debug, Default)]
pub(crate) struct RopeTables {
    /// `rope_freqs`
    pub divisors: Option<Vec<f32>>,
    /// `rope_factors_short`
    pub short: Option<Vec<f32>>,
    /// `rope_factors_long`
    pub long: Option<Vec<f32>>,
}

/// As llama.cpp reads it: a factor without a type is linear, `rope.scale_linear` is the old key of that
/// factor, and the frequencies of Llama 3.1 and later, and of LongRoPE, are in tensors.
fn scaling(
    metadata: &Metadata,
    architecture: &str,
    tables: RopeTables,
) -> Result<Result<RopeScaling, String>, FormatError> {
    let key = |rest: &str| format!("{architecture}.rope.{rest}");
    let number = |rest: &str| Ok::<_, FormatError>(metadata.opt_f32(&key(rest))?.map(f64::from));
    let factor = match number("scaling.factor")? {
        Some(factor) => Some(factor),
        None => number("scale_linear")?,
    };
    let context = metadata.opt_u32(&format!("{architecture}.context_length"))?.unwrap_or(0);
    let original = metadata.opt_u32(&key("scaling.original_context_length"))?.unwrap_or(context);
    let original = f64::from(original);
    let attention_factor = number("scaling.attn_factor")?;
    if let (Some(short), Some(long)) = (tables.short, tables.long) {
        return Ok(Ok(RopeScaling::LongRope {
            short,
            long,
            original,
            attention_factor: attention_factor.unwrap_or(1.0) as f32,
        }));
    }
    let kind = metadata.opt_str(&key("scaling.type"))?;
    let factor = match kind.unwrap_or("linear") {
        "none" => 1.0,
        "linear" => factor.unwrap_or(1.0),
        "yarn" => {
            let factor = factor.unwrap_or(1.0);
            if tables.divisors.is_some() {
                return Ok(Err("there are both rope_freqs and YaRN; supported is one of them".into()));
            }
            return Ok(Ok(RopeScaling::Yarn {
                factor,
                original,
                beta_fast: number("scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: number("scaling.yarn_beta_slow")?.unwrap_or(1.0),
                truncate: true,
                attention_factor: (attention_factor.unwrap_or(1.0) * yarn_attention_factor(factor, 1.0))
                    as f32,
            }));
        }
        other => {
            let key = key("scaling.type");
            return Ok(Err(format!("{key} is `{other}`; supported: none, linear, yarn")));
        }
    };
    Ok(match tables.divisors {
        Some(_) if factor != 1.0 => Err(format!(
            "there are both rope_freqs and linear rope scaling by {factor}; supported is one of them"
        )),
        Some(divisors) => Ok(RopeScaling::Divisors(divisors)),
        None if factor == 1.0 => Ok(RopeScaling::None),
        None => Ok(RopeScaling::Linear { factor }),
    })
}

/// The metadata of architecture `llama` or `llama4` for a model, and the `rope_freqs` tensor if its scaling
/// needs one. The message says what cannot be said in GGUF.
pub fn to_gguf(config: &Config, metadata: &mut Metadata) -> Result<Option<Vec<f32>>, String> {
    if config.vision.is_some() || !config.cross_layers.is_empty() {
        return Err("a GGUF file holds a language model alone, and this one sees images".into());
    }
    let is_llama4 = config.is_llama4();
    let architecture = match () {
        () if is_llama4 => "llama4",
        () if !config.layer_sizes.is_empty() => "deci",
        () => "llama",
    };
    let count = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    metadata.set("general.architecture", Value::String(architecture.into()));
    let mut set = |key: &str, value: Value| metadata.set(format!("{architecture}.{key}"), value);
    for (key, n) in [
        ("block_count", config.n_layers),
        ("context_length", config.max_seq_len),
        ("embedding_length", config.dim),
        ("feed_forward_length", config.ffn_dim),
        ("attention.head_count", config.n_heads),
        ("attention.head_count_kv", config.n_kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.rotary_dim()),
        ("vocab_size", config.vocab_size),
    ] {
        set(key, count(n));
    }
    set("attention.layer_norm_rms_epsilon", Value::F32(config.norm_eps));
    if let Some(window) = config.sliding_window {
        set("attention.sliding_window", count(window));
    }
    if !config.causal {
        set("attention.causal", Value::Bool(false));
    }
    set("rope.freq_base", Value::F32(config.rope_theta as f32));
    if !config.layer_sizes.is_empty() {
        let mut counts: [Vec<u32>; 3] = Default::default();
        for LayerSizes { attention, ffn_dim } in &config.layer_sizes {
            let (n_heads, n_kv_heads) = match attention {
                Sublayer::Whole(heads) => (heads.n_heads, heads.n_kv_heads),
                Sublayer::Linear => (config.n_heads, 0),
                Sublayer::Absent => (0, 0),
            };
            let width = match ffn_dim {
                Sublayer::Whole(width) => *width,
                Sublayer::Absent => 0,
                Sublayer::Linear => {
                    return Err("GGUF cannot express a matrix in the place of a feed-forward block".into());
                }
            };
            for (counts, n) in counts.iter_mut().zip([n_heads, n_kv_heads, width]) {
                counts.push(u32::try_from(n).unwrap_or(u32::MAX));
            }
        }
        let keys = ["attention.head_count", "attention.head_count_kv", "feed_forward_length"];
        for (key, counts) in keys.into_iter().zip(counts) {
            set(key, Value::Array(Array::U32(counts)));
        }
    }
    if config.experts.routing == Routing::Outputs {
        set("expert_count", count(config.experts.n));
        set("expert_used_count", count(config.experts.n_used));
    }
    if is_llama4 {
        let Experts { n, n_used, ffn_dim, .. } = config.experts;
        let step = config.layer_kinds.iter().position(|layer| layer.experts).map_or(1, |first| first + 1);
        for (key, n) in [
            ("expert_count", n),
            ("expert_used_count", n_used),
            ("expert_feed_forward_length", ffn_dim),
            ("interleave_moe_layer_step", step),
        ] {
            set(key, count(n));
        }
        // What llama.cpp knows without being told, a file cannot say otherwise.
        let said = llama4(config.clone(), metadata).map_err(|error| error.to_string())?;
        if said != *config {
            return Err(
                "GGUF cannot say the layers of this Llama 4: their chunk, order, norms or temperature".into(),
            );
        }
    }
    match &config.rope_scaling {
        RopeScaling::None => Ok(None),
        RopeScaling::Dynamic { .. } => Err("GGUF cannot express this model's dynamic rotary scaling".into()),
        RopeScaling::LongRope { .. } => Err("GGUF of architecture llama cannot express LongRoPE".into()),
        RopeScaling::Yarn { factor, original, beta_fast, beta_slow, truncate, attention_factor } => {
            if !truncate {
                return Err("GGUF cannot express YaRN whose transition is not at whole pairs".into());
            }
            let mut set =
                |key: &str, value| metadata.set(format!("{architecture}.rope.scaling.{key}"), value);
            set("type", Value::String("yarn".into()));
            set("factor", Value::F32(*factor as f32));
            set("original_context_length", count(*original as usize));
            set("yarn_beta_fast", Value::F32(*beta_fast as f32));
            set("yarn_beta_slow", Value::F32(*beta_slow as f32));
            set("attn_factor", Value::F32(attention_factor / yarn_attention_factor(*factor, 1.0) as f32));
            Ok(None)
        }
        RopeScaling::Divisors(divisors) => Ok(Some(divisors.clone())),
        RopeScaling::Linear { factor } => {
            metadata.set(format!("{architecture}.rope.scaling.type"), Value::String("linear".into()));
            metadata.set(format!("{architecture}.rope.scaling.factor"), Value::F32(*factor as f32));
            Ok(None)
        }
        scaled @ RopeScaling::Llama3 { .. } => {
            let plain = crate::rope::inv_freq(config.rotary_dim(), config.rope_theta, &RopeScaling::None, 1);
            let scaled = crate::rope::inv_freq(config.rotary_dim(), config.rope_theta, scaled, 1);
            Ok(Some(plain.iter().zip(scaled).map(|(f, s)| f / s).collect()))
        }
    }
}
