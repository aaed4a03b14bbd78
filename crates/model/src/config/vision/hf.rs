//! What Hugging Face's `config.json` says of a vision encoder.

use serde_json::{Value, json};

use super::{
    CrossAttentionTower, EarlyFusionTower, GRIDS, INTERMEDIATE, PATCH_TOKEN, TileTables, Tower, Vision,
};
use crate::config::json::{list, number, object, short, size, sizes, text};

impl Vision {
    /// What `config.json` says, if it is that of a model that sees. Missing keys have the defaults of
    /// transformers.
    pub(in crate::config) fn from_hf(config: &Value) -> Result<Option<Vision>, String> {
        let Some(own) = object(config, "vision_config")? else { return Ok(None) };
        let get = |key: &str, default: usize| Ok::<_, String>(size(own, key)?.unwrap_or(default));
        let is_mllama = match text(config, "model_type")? {
            Some("mllama") => true,
            Some("llama4") => false,
            _ => return Ok(None),
        };
        let activation = text(own, "hidden_act")?.unwrap_or("gelu");
        if activation != "gelu" {
            return Err(format!("hidden_act of the vision encoder is `{activation}`; supported is gelu"));
        }
        if let Some(n) = size(own, "num_channels")?.filter(|n| *n != 3) {
            return Err(format!("images of {n} colours are not supported"));
        }
        let image_token = match size(config, "image_token_index")? {
            Some(id) => id,
            None => size(config, "image_token_id")?.unwrap_or(if is_mllama {
                128_256
            } else {
                PATCH_TOKEN as usize
            }),
        };
        let dim = get("hidden_size", if is_mllama { 1280 } else { 768 })?;
        let tower = if is_mllama {
            let tower = CrossAttentionTower {
                max_tiles: get("max_num_tiles", 4)?,
                grids: grids(own)?.unwrap_or(GRIDS.to_vec()),
                n_global_layers: get("num_global_layers", 8)?,
                intermediate: sizes(own, "intermediate_layers_indices")?.unwrap_or(INTERMEDIATE.to_vec()),
                tables: TileTables::ByGrid,
            };
            let width = dim.saturating_mul(1 + tower.intermediate.len());
            if let Some(found) = size(own, "vision_output_dim")?.filter(|found| *found != width) {
                return Err(format!("vision_output_dim is {found}; its layers give {width}"));
            }
            Tower::CrossAttention(tower)
        } else {
            let ratio = number(own, "pixel_shuffle_ratio")?.unwrap_or(0.5);
            let rope = object(own, "rope_parameters")?.unwrap_or(own);
            Tower::EarlyFusion(EarlyFusionTower {
                shuffle: (1.0 / ratio).round().clamp(0.0, 1e6) as usize,
                adapter: [get("projector_input_dim", 4096)?, get("projector_output_dim", 4096)?],
                rope_theta: number(rope, "rope_theta")?.or(number(own, "rope_theta")?).unwrap_or(10_000.0),
            })
        };
        let heads = if is_mllama { "attention_heads" } else { "num_attention_heads" };
        let vision = Vision {
            tile: get("image_size", 448)?,
            patch: get("patch_size", 14)?,
            dim,
            n_heads: get(heads, 16)?,
            ffn_dim: get("intermediate_size", if is_mllama { 5120 } else { 5632 })?,
            n_layers: get("num_hidden_layers", if is_mllama { 32 } else { 34 })?,
            norm_eps: number(own, "norm_eps")?.unwrap_or(1e-5) as f32,
            image_token: u32::try_from(image_token).map_err(|_| format!("image token {image_token}"))?,
            tower,
        };
        vision.check()?;
        Ok(Some(vision))
    }

    /// `vision_config` of a `config.json`.
    pub(in crate::config) fn to_hf(&self, dtype: &str) -> Value {
        let mut json = json!({
            "hidden_act": "gelu",
            "hidden_size": self.dim,
            "image_size": self.tile,
            "intermediate_size": self.ffn_dim,
            "norm_eps": short(self.norm_eps),
            "num_channels": 3,
            "num_hidden_layers": self.n_layers,
            "patch_size": self.patch,
            "torch_dtype": dtype,
            "vision_output_dim": self.feature_dim(),
        });
        let with = match &self.tower {
            Tower::CrossAttention(tower) => json!({
                "attention_heads": self.n_heads,
                "intermediate_layers_indices": tower.intermediate,
                "max_num_tiles": tower.max_tiles,
                "model_type": "mllama_vision_model",
                "num_global_layers": tower.n_global_layers,
                "supported_aspect_ratios": tower.grids,
            }),
            Tower::EarlyFusion(tower) => json!({
                "model_type": "llama4_vision_model",
                "num_attention_heads": self.n_heads,
                "pixel_shuffle_ratio": 1.0 / tower.shuffle as f64,
                "projector_input_dim": tower.adapter[0],
                "projector_output_dim": tower.adapter[1],
                "rope_theta": tower.rope_theta,
            }),
        };
        if let Value::Object(with) = with {
            with.into_iter().for_each(|(key, value)| json[key] = value);
        }
        json
    }
}

fn grids(config: &Value) -> Result<Option<Vec<[usize; 2]>>, String> {
    const KEY: &str = "supported_aspect_ratios";
    let Some(values) = list(config, KEY)? else { return Ok(None) };
    let pair = |value: &Value| {
        let sides: Option<Vec<u64>> = value.as_array().and_then(|v| v.iter().map(Value::as_u64).collect());
        match sides.as_deref() {
            Some([h, w]) => Ok([*h as usize, *w as usize]),
            _ => Err(format!("{KEY} has {value}; expected pairs of whole numbers")),
        }
    };
    values.iter().map(pair).collect::<Result<_, _>>().map(Some)
}
