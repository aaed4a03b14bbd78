//! The layers of pruned Llamas (Nemotron-NAS), each of a size of its own.

use serde_json::{Value, json};

use crate::config::json::{flag, list, number, object, size};
use crate::config::{Config, Heads, LayerSizes, MAX_DIM, Sublayer};

/// Adds the sizes that the `block_configs` of Nemotron-NAS say of each layer.
pub(super) fn read(plain: Config, config: &Value) -> Result<Config, String> {
    let blocks = list(config, "block_configs")?.ok_or("block_configs is missing")?;
    if blocks.len() != plain.n_layers {
        return Err(format!("block_configs has {} entries for {} layers", blocks.len(), plain.n_layers));
    }
    let layer = |block: &Value| {
        let part = |key: &str| object(block, key)?.ok_or_else(|| format!("{key} is missing"));
        let (attention, ffn) = (part("attention")?, part("ffn")?);
        let others = ["window_length", "num_sink_tokens", "sparsify", "mamba", "llama4", "moe"];
        let set = |part: &Value, key: &str| part.get(key).is_some_and(|value| !value.is_null());
        if let Some(key) = others.into_iter().find(|key| set(attention, key) || set(ffn, key)) {
            return Err(format!("{key} is not supported"));
        }
        let required = |key: &str| size(attention, key)?.ok_or_else(|| format!("{key} is missing"));
        let n_heads = plain.n_heads;
        let attention = match (flag(attention, "no_op")?, flag(attention, "replace_with_linear")?) {
            (true, _) => Sublayer::Absent,
            (false, true) => Sublayer::Linear,
            (false, false) => match required("n_heads_in_group")? {
                group if group > 0 && n_heads.is_multiple_of(group) => {
                    Sublayer::Whole(Heads { n_heads, n_kv_heads: n_heads / group })
                }
                group => return Err(format!("{n_heads} query heads are not groups of {group}")),
            },
        };
        let ffn_dim = match (flag(ffn, "no_op")?, flag(ffn, "replace_with_linear")?) {
            (true, _) => Sublayer::Absent,
            (false, true) => Sublayer::Linear,
            (false, false) => {
                let multiplier = number(ffn, "ffn_mult")?.ok_or("ffn_mult is missing")?;
                let width = width_of(multiplier, plain.dim);
                Sublayer::Whole(width.ok_or_else(|| format!("ffn_mult is {multiplier}"))?)
            }
        };
        Ok(LayerSizes { attention, ffn_dim })
    };
    let sizes: Vec<LayerSizes> = blocks
        .iter()
        .enumerate()
        .map(|(i, block)| layer(block).map_err(|fact| format!("block_configs of layer {i}: {fact}")))
        .collect::<Result<_, _>>()?;
    Ok(Config { n_heads: plain.n_heads, ..plain.with_layer_sizes(sizes) })
}

/// The width that a multiplier, rounded to six digits, stands for: 2/3 of that many `dim`, up to a multiple of
/// 256 (`_ffn_mult_to_intermediate_size` of the models' code).
pub(super) fn width_of(multiplier: f64, dim: usize) -> Option<usize> {
    let width = 2.0 * ((multiplier * 1e6).round() / 1e6) * dim as f64 / 3.0;
    (width.is_finite() && (1.0..=MAX_DIM as f64).contains(&width))
        .then(|| (width as usize).next_multiple_of(256))
}

/// What [`read`] reads. The message says what it cannot say.
pub(super) fn write(text: &mut Value, config: &Config) -> Result<(), String> {
    let block = |(i, LayerSizes { attention, ffn_dim }): (usize, &LayerSizes)| {
        let group = match attention {
            Sublayer::Whole(heads) if heads.n_heads == config.n_heads => {
                Some(heads.n_heads / heads.n_kv_heads)
            }
            Sublayer::Whole(_) => {
                return Err("config.json cannot say that layers differ in query heads".to_owned());
            }
            Sublayer::Linear | Sublayer::Absent => None,
        };
        let multiplier = match *ffn_dim {
            Sublayer::Whole(width) => {
                let multiplier = width as f64 * 1.5 / config.dim as f64;
                // Rounding may be to a width below, and the next multiple above.
                let fits = |by: &f64| width_of(multiplier + by, config.dim) == Some(width);
                let by = [0.0, -1e-6, 1e-6].into_iter().find(fits);
                let by = by.ok_or_else(|| {
                    format!("config.json cannot say that layer {i} has ffn_dim {width}, no multiple of 256")
                })?;
                Some(((multiplier + by) * 1e6).round() / 1e6)
            }
            Sublayer::Linear | Sublayer::Absent => None,
        };
        Ok(json!({
            "attention": {
                "n_heads_in_group": group,
                "no_op": *attention == Sublayer::Absent,
                "replace_with_linear": *attention == Sublayer::Linear,
            },
            "ffn": {
                "ffn_mult": multiplier,
                "no_op": *ffn_dim == Sublayer::Absent,
                "replace_with_linear": *ffn_dim == Sublayer::Linear,
            },
        }))
    };
    let blocks: Vec<Value> = config.layer_sizes.iter().enumerate().map(block).collect::<Result<_, _>>()?;
    text["model_type"] = json!("nemotron-nas");
    text["architectures"] = json!(["DeciLMForCausalLM"]);
    text["block_configs"] = json!(blocks);
    text["intermediate_size"] = Value::Null;
    text["num_key_value_heads"] = Value::Null;
    Ok(())
}
