//! What Meta's `params.json` and tensors say of a vision encoder.

use serde_json::{Value, json};

use super::{
    CrossAttentionTower, EarlyFusionTower, GRIDS, INTERMEDIATE, PATCH_TOKEN, TileTables, Tower, Vision,
};
use crate::config::MAX_LAYERS;
use crate::config::json::{number, size};

impl Vision {
    /// What the files of a model of 3.2 in Meta's form say: `tile` is in `params.json`, sizes are in the
    /// tensors' shapes, which `shape` tells, and all else is in the code (llama-models,
    /// `models/llama3/multimodal/model.py`).
    pub(in crate::config) fn from_meta32(
        params: &Value,
        shape: impl Fn(&str) -> Option<Vec<usize>>,
        image_token: u32,
    ) -> Result<Option<Vision>, String> {
        let Some(tile) = size(params, "vision_chunk_size")?.filter(|tile| *tile > 0) else { return Ok(None) };
        let encoder = |name: &str| shape(&format!("vision_model.vision_encoder.{name}"));
        let dim = encoder("class_embedding").and_then(|s| s.first().copied()).unwrap_or(0);
        let patch_len = encoder("conv1._linear.weight").and_then(|s| s.last().copied()).unwrap_or(0);
        let n_layers = |stage: &str| {
            let has = |i: &usize| encoder(&format!("{stage}.resblocks.{i}.ln_1.weight")).is_some();
            (0..MAX_LAYERS).take_while(has).count()
        };
        let vision = Vision {
            tile,
            patch: (patch_len / 3).isqrt(),
            dim,
            n_heads: 16,
            ffn_dim: dim.saturating_mul(4),
            n_layers: n_layers("transformer"),
            norm_eps: 1e-5,
            image_token,
            tower: Tower::CrossAttention(CrossAttentionTower {
                max_tiles: size(params, "vision_max_num_chunks")?.unwrap_or(4),
                grids: GRIDS.to_vec(),
                n_global_layers: n_layers("global_transformer"),
                intermediate: INTERMEDIATE.to_vec(),
                tables: TileTables::ByPlace,
            }),
        };
        vision.check()?;
        Ok(Some(vision))
    }

    /// What `vision_args` of a `params.json` of Llama 4 say; `rows` tells those of a tensor in all shards
    /// that split it.
    pub(in crate::config) fn from_meta4(
        args: &Value,
        rows: impl Fn(&str) -> usize,
    ) -> Result<Vision, String> {
        // `{"height": 336, "width": 336}` or one number for both.
        let side = |key: &str| match args.get(key) {
            Some(both @ Value::Object(_)) => {
                let sides = [size(both, "height")?, size(both, "width")?];
                if sides[0] == sides[1] { Ok(sides[0]) } else { Err(format!("{key} is {both}: no square")) }
            }
            _ => size(args, key),
        };
        let need =
            |key: &str, value: Option<usize>| value.ok_or_else(|| format!("vision_args: {key} is missing"));
        let dim = need("dim", size(args, "dim")?)?;
        let ratio = number(args, "mlp_ratio")?.unwrap_or(4.0);
        let shuffle = number(args, "pixel_shuffle_ratio")?.unwrap_or(0.5);
        let hidden = rows("vision_embeddings.vision_adapter.mlp.c_fc.weight");
        let out = size(args, "output_dim")?.unwrap_or(hidden);
        let vision = Vision {
            tile: need("image_size", side("image_size")?)?,
            patch: need("patch_size", side("patch_size")?)?,
            dim,
            n_heads: need("n_heads", size(args, "n_heads")?)?,
            ffn_dim: (ratio * dim as f64).round().clamp(0.0, 1e12) as usize,
            n_layers: need("n_layers", size(args, "n_layers")?)?,
            norm_eps: 1e-5,
            image_token: PATCH_TOKEN,
            tower: Tower::EarlyFusion(EarlyFusionTower {
                shuffle: (1.0 / shuffle).round().clamp(0.0, 1e6) as usize,
                adapter: [hidden, out],
                rope_theta: 10_000.0,
            }),
        };
        vision.check()?;
        Ok(vision)
    }

    /// What `params.json` says of the encoder: in 3.2 a few keys, in Llama 4 an object.
    pub(in crate::config) fn add_to_meta(&self, params: &mut Value) {
        match &self.tower {
            Tower::CrossAttention(tower) => {
                params["vision_chunk_size"] = json!(self.tile);
                params["vision_max_num_chunks"] = json!(tower.max_tiles);
            }
            Tower::EarlyFusion(tower) => {
                params["vision_args"] = json!({
                    "image_size": {"height": self.tile, "width": self.tile},
                    "patch_size": {"height": self.patch, "width": self.patch},
                    "dim": self.dim,
                    "n_layers": self.n_layers,
                    "n_heads": self.n_heads,
                    "mlp_ratio": self.ffn_dim as f64 / self.dim as f64,
                    "output_dim": tower.adapter[1],
                    "pixel_shuffle_ratio": 1.0 / tower.shuffle as f64,
                });
            }
        }
    }
}
