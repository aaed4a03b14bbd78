//! The sizes of the part of a model that sees images.

use puna_formats::FormatError;
use puna_formats::gguf::Metadata;
use serde_json::{Value, json};

use super::hf::{list, number, object, short, size, text};
use super::{MAX_DIM, MAX_LAYERS};

/// A vision encoder: a transformer over the patches of an image's tiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Vision {
    /// Pixels of a tile's side.
    pub tile: usize,
    /// Pixels of a patch's side; divides `tile`.
    pub patch: usize,
    /// Width of the encoder's residual stream.
    pub dim: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Inner width of its feed-forward blocks.
    pub ffn_dim: usize,
    /// Layers, of the first stage where there are two.
    pub n_layers: usize,
    /// Added to the variance in LayerNorm.
    pub norm_eps: f32,
    /// The token that stands for an image, or for a vector of one.
    pub image_token: u32,
    /// How tiles are encoded, and what becomes of them.
    pub tower: Tower,
}

/// The two ways of seeing.
#[derive(Clone, Debug, PartialEq)]
pub enum Tower {
    /// Llama 3.2: all tiles of an image see each other; some layers of the decoder attend to the result.
    Together(Together),
    /// Llama 4: every tile by itself; the result takes the place of tokens.
    Apart(Apart),
}

/// Tiles that see each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Together {
    /// Tiles of an image, real ones and padding.
    pub max_tiles: usize,
    /// The arrangements of tiles, `[rows, columns]`; an arrangement's number in the tables is its place here, plus one.
    pub grids: Vec<[usize; 2]>,
    /// Layers of the second, gated stage.
    pub n_global_layers: usize,
    /// Layers of the first stage whose inputs are part of the result.
    pub intermediate: Vec<usize>,
    /// What an entry of the tables of tiles is for.
    pub tables: TileTables,
}

/// How tables of tiles are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileTables {
    /// By the arrangement's number, then by the tile's: Hugging Face's.
    ByGrid,
    /// By the row, then by the column of the tile: Meta's.
    ByPlace,
}

/// Tiles by themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    /// So many patches, along each side, become one vector.
    pub shuffle: usize,
    /// Widths of the adapter's hidden layer and of its result.
    pub adapter: [usize; 2],
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
}

/// The largest tile, in pixels of a side.
const MAX_TILE: usize = 4096;
const MAX_TILES: usize = 64;

/// What stands for a vector of an image in Llama 4.
const PATCH_TOKEN: u32 = 200_092;

/// The layers of the released models of 3.2 whose inputs are part of the result.
const INTERMEDIATE: [usize; 5] = [3, 7, 15, 23, 30];

/// The arrangements of the released models of 3.2.
const GRIDS: [[usize; 2]; 8] = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]];

impl Vision {
    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.dim / self.n_heads
    }

    /// Patches along a tile's side.
    pub fn side(&self) -> usize {
        self.tile / self.patch
    }

    /// Rows of a tile in the encoder: its patches and the class token.
    pub fn tile_rows(&self) -> usize {
        self.side() * self.side() + 1
    }

    /// Values of a patch: three colours.
    pub fn patch_len(&self) -> usize {
        3 * self.patch * self.patch
    }

    /// Vectors that become of a tile.
    pub fn vectors_per_tile(&self) -> usize {
        match &self.tower {
            Tower::Together(_) => self.tile_rows(),
            Tower::Apart(apart) => (self.side() / apart.shuffle).pow(2),
        }
    }

    /// Width of these vectors before they are projected into the decoder's.
    pub fn feature_dim(&self) -> usize {
        match &self.tower {
            Tower::Together(together) => self.dim * (1 + together.intermediate.len()),
            Tower::Apart(apart) => apart.adapter[1],
        }
    }

    /// The most tiles of an image, that of the whole image not counted.
    pub fn max_tiles(&self) -> usize {
        match &self.tower {
            Tower::Together(together) => together.max_tiles,
            Tower::Apart(_) => MAX_TILES,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let Vision { tile, patch, dim, n_heads, ffn_dim, n_layers, norm_eps, .. } = *self;
        let sizes = [
            ("image_size", tile, MAX_TILE),
            ("patch_size", patch, MAX_TILE),
            ("hidden_size", dim, MAX_DIM),
            ("heads", n_heads, MAX_DIM),
            ("intermediate_size", ffn_dim, MAX_DIM),
            ("num_hidden_layers", n_layers, MAX_LAYERS),
        ];
        for (name, value, max) in sizes {
            if value == 0 || value > max {
                return Err(format!("{name} of the vision encoder is {value}; expected 1 to {max}"));
            }
        }
        if !tile.is_multiple_of(patch) {
            return Err(format!("tiles of {tile} pixels are no whole number of patches of {patch}"));
        }
        if !dim.is_multiple_of(n_heads) {
            return Err(format!("a vision encoder of width {dim} has no {n_heads} heads"));
        }
        if !(norm_eps.is_finite() && norm_eps >= 0.0) {
            return Err(format!("norm_eps of the vision encoder is {norm_eps}"));
        }
        match &self.tower {
            Tower::Together(Together { max_tiles, grids, n_global_layers, intermediate, .. }) => {
                if *max_tiles == 0 || *max_tiles > MAX_TILES {
                    return Err(format!("images of {max_tiles} tiles are not supported"));
                }
                let fits = |[h, w]: &[usize; 2]| *h > 0 && *w > 0 && h.saturating_mul(*w) <= *max_tiles;
                if grids.is_empty() || grids.len() > MAX_DIM || !grids.iter().all(fits) {
                    return Err(format!("arrangements {grids:?} do not fit {max_tiles} tiles"));
                }
                if *n_global_layers > MAX_LAYERS {
                    return Err(format!("{n_global_layers} global layers are not supported"));
                }
                let in_order = intermediate.windows(2).all(|pair| pair[0] < pair[1]);
                if !in_order || intermediate.last().is_some_and(|last| *last >= n_layers) {
                    return Err(format!("intermediate layers {intermediate:?} are no layers of {n_layers}"));
                }
            }
            Tower::Apart(Apart { shuffle, adapter, rope_theta }) => {
                if *shuffle == 0 || !self.side().is_multiple_of(*shuffle) || *shuffle > 16 {
                    return Err(format!("{} patches a side cannot be joined by {shuffle}", self.side()));
                }
                if adapter.iter().any(|width| *width == 0 || *width > MAX_DIM) {
                    return Err(format!("a vision adapter of widths {adapter:?} is not supported"));
                }
                let turns = self.head_dim().is_multiple_of(4) && rope_theta.is_finite() && *rope_theta > 0.0;
                if !turns {
                    return Err(format!(
                        "heads of {} cannot rotate by rows and columns with base {rope_theta}",
                        self.head_dim()
                    ));
                }
            }
        }
        Ok(())
    }

    /// What `config.json` says, if it is that of a model that sees. Keys that it leaves away have the defaults of transformers.
    pub(super) fn from_hf(config: &Value) -> Result<Option<Vision>, String> {
        let Some(own) = object(config, "vision_config")? else { return Ok(None) };
        let get = |key: &str, default: usize| Ok::<_, String>(size(own, key)?.unwrap_or(default));
        let together = match text(config, "model_type")? {
            Some("mllama") => true,
            Some("llama4") => false,
            _ => return Ok(None),
        };
        let activation = text(own, "hidden_act")?.unwrap_or("gelu");
        if activation != "gelu" {
            return Err(format!("hidden_act of the vision encoder is `{activation}`; supported is gelu"));
        }
        if let n @ Some(_) = size(own, "num_channels")?.filter(|n| *n != 3) {
            return Err(format!("images of {n:?} colours are not supported"));
        }
        let image_token = match size(config, "image_token_index")? {
            Some(id) => id,
            None => size(config, "image_token_id")?.unwrap_or(if together {
                128_256
            } else {
                PATCH_TOKEN as usize
            }),
        };
        let dim = get("hidden_size", if together { 1280 } else { 768 })?;
        let tower = if together {
            let together = Together {
                max_tiles: get("max_num_tiles", 4)?,
                grids: grids(own)?.unwrap_or(GRIDS.to_vec()),
                n_global_layers: get("num_global_layers", 8)?,
                intermediate: sizes(own, "intermediate_layers_indices")?.unwrap_or(INTERMEDIATE.to_vec()),
                tables: TileTables::ByGrid,
            };
            let width = dim.saturating_mul(1 + together.intermediate.len());
            if let Some(found) = size(own, "vision_output_dim")?.filter(|found| *found != width) {
                return Err(format!("vision_output_dim is {found}; its layers give {width}"));
            }
            Tower::Together(together)
        } else {
            let ratio = number(own, "pixel_shuffle_ratio")?.unwrap_or(0.5);
            let rope = object(own, "rope_parameters")?.unwrap_or(own);
            Tower::Apart(Apart {
                shuffle: (1.0 / ratio).round().clamp(0.0, 1e6) as usize,
                adapter: [get("projector_input_dim", 4096)?, get("projector_output_dim", 4096)?],
                rope_theta: number(rope, "rope_theta")?.or(number(own, "rope_theta")?).unwrap_or(10_000.0),
            })
        };
        let heads = if together { "attention_heads" } else { "num_attention_heads" };
        let vision = Vision {
            tile: get("image_size", 448)?,
            patch: get("patch_size", 14)?,
            dim,
            n_heads: get(heads, 16)?,
            ffn_dim: get("intermediate_size", if together { 5120 } else { 5632 })?,
            n_layers: get("num_hidden_layers", if together { 32 } else { 34 })?,
            norm_eps: number(own, "norm_eps")?.unwrap_or(1e-5) as f32,
            image_token: u32::try_from(image_token).map_err(|_| format!("image token {image_token}"))?,
            tower,
        };
        vision.check()?;
        Ok(Some(vision))
    }

    /// `vision_config` of a `config.json`.
    pub(super) fn to_hf(&self, dtype: &str) -> Value {
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
            Tower::Together(together) => json!({
                "attention_heads": self.n_heads,
                "intermediate_layers_indices": together.intermediate,
                "max_num_tiles": together.max_tiles,
                "model_type": "mllama_vision_model",
                "num_global_layers": together.n_global_layers,
                "supported_aspect_ratios": together.grids,
            }),
            Tower::Apart(apart) => json!({
                "model_type": "llama4_vision_model",
                "num_attention_heads": self.n_heads,
                "pixel_shuffle_ratio": 1.0 / apart.shuffle as f64,
                "projector_input_dim": apart.adapter[0],
                "projector_output_dim": apart.adapter[1],
                "rope_theta": apart.rope_theta,
            }),
        };
        if let Value::Object(with) = with {
            with.into_iter().for_each(|(key, value)| json[key] = value);
        }
        json
    }

    /// What `params.json` says of the encoder: in 3.2 a few keys, in Llama 4 an object.
    pub(super) fn add_to_meta(&self, params: &mut Value) {
        match &self.tower {
            Tower::Together(together) => {
                params["vision_chunk_size"] = json!(self.tile);
                params["vision_max_num_chunks"] = json!(together.max_tiles);
            }
            Tower::Apart(apart) => {
                params["vision_args"] = json!({
                    "image_size": {"height": self.tile, "width": self.tile},
                    "patch_size": {"height": self.patch, "width": self.patch},
                    "dim": self.dim,
                    "n_layers": self.n_layers,
                    "n_heads": self.n_heads,
                    "mlp_ratio": self.ffn_dim as f64 / self.dim as f64,
                    "output_dim": apart.adapter[1],
                    "pixel_shuffle_ratio": 1.0 / apart.shuffle as f64,
                });
            }
        }
    }

    /// What the metadata of Ollama's files of Llama 3.2 say.
    pub(super) fn from_mllama(
        metadata: &Metadata,
        image_token: u32,
    ) -> Result<Result<Vision, String>, FormatError> {
        const PREFIX: &str = "mllama.vision";
        let size = |key: &str| Ok::<_, FormatError>(metadata.u32(&format!("{PREFIX}.{key}"))? as usize);
        let intermediate = match metadata.opt_i32s("mllama.vision.intermediate_layers_indices")? {
            Some(layers) => layers.into_iter().map(|i| usize::try_from(i).unwrap_or(usize::MAX)).collect(),
            None => INTERMEDIATE.to_vec(),
        };
        let tower = Tower::Together(Together {
            max_tiles: size("max_num_tiles")?,
            grids: GRIDS.to_vec(),
            n_global_layers: size("global.block_count")?,
            intermediate,
            tables: TileTables::ByGrid,
        });
        Vision::from_gguf(metadata, PREFIX, image_token, tower)
    }

    /// The sizes that GGUF files have under a prefix.
    fn from_gguf(
        metadata: &Metadata,
        prefix: &str,
        image_token: u32,
        tower: Tower,
    ) -> Result<Result<Vision, String>, FormatError> {
        let size = |key: &str| Ok::<_, FormatError>(metadata.u32(&format!("{prefix}.{key}"))? as usize);
        let vision = Vision {
            tile: size("image_size")?,
            patch: size("patch_size")?,
            dim: size("embedding_length")?,
            n_heads: size("attention.head_count")?,
            ffn_dim: size("feed_forward_length")?,
            n_layers: size("block_count")?,
            norm_eps: metadata.opt_f32(&format!("{prefix}.attention.layer_norm_epsilon"))?.unwrap_or(1e-5),
            image_token,
            tower,
        };
        Ok(vision.check().map(|()| vision))
    }

    /// What the metadata of a projector file (`mmproj`) say: of Llama 4, where `adapter` are the widths that its tensors have,
    /// or of Llama 3.2 in Ollama's form, where the token of images is the first after the vocabulary.
    pub(crate) fn from_mmproj(
        metadata: &Metadata,
        adapter: [usize; 2],
        vocab_size: usize,
    ) -> Result<Result<Vision, String>, FormatError> {
        match metadata.str("general.architecture")? {
            "clip" => {}
            "mllama" => return Vision::from_mllama(metadata, vocab_size as u32),
            other => {
                return Ok(Err(format!("its architecture is `{other}`; a vision projector's is `clip`")));
            }
        }
        let kind = match metadata.opt_str("clip.projector_type")? {
            Some(kind) => Some(kind),
            None => metadata.opt_str("clip.vision.projector_type")?,
        };
        if kind != Some("llama4") {
            let kind = kind.unwrap_or("not said");
            return Ok(Err(format!("its projector type is {kind}; supported is llama4")));
        }
        let shuffle = metadata.opt_u32("clip.vision.projector.scale_factor")?.unwrap_or(2) as usize;
        let tower = Tower::Apart(Apart { shuffle, adapter, rope_theta: 10_000.0 });
        Vision::from_gguf(metadata, "clip.vision", PATCH_TOKEN, tower)
    }

    /// What the files of a model of 3.2 in Meta's form say: `tile` is in `params.json`, sizes are in the tensors' shapes, which
    /// `shape` tells, and all else is in the code (llama-models, `models/llama3/multimodal/model.py`).
    pub(super) fn from_meta32(
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
            tower: Tower::Together(Together {
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

    /// What `vision_args` of a `params.json` of Llama 4 say; `rows` tells those of a tensor in all shards that split it.
    pub(super) fn from_meta4(args: &Value, rows: impl Fn(&str) -> usize) -> Result<Vision, String> {
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
            tower: Tower::Apart(Apart {
                shuffle: (1.0 / shuffle).round().clamp(0.0, 1e6) as usize,
                adapter: [hidden, out],
                rope_theta: 10_000.0,
            }),
        };
        vision.check()?;
        Ok(vision)
    }
}

impl Together {
    /// The row of a tile in a table with `rows` rows for each tile; `None` for padding where tables have none for it.
    pub fn entry(&self, grid: [usize; 2], tile: usize) -> Option<usize> {
        match self.tables {
            TileTables::ByGrid => {
                let number = self.grids.iter().position(|g| *g == grid)? + 1;
                Some(number * self.max_tiles + tile)
            }
            TileTables::ByPlace => {
                let (row, col) = (tile / grid[1], tile % grid[1]);
                (row < grid[0]).then_some(row * self.max_tiles + col)
            }
        }
    }

    /// Entries of a table of tiles.
    pub fn n_entries(&self) -> usize {
        match self.tables {
            TileTables::ByGrid => (self.grids.len() + 1) * self.max_tiles,
            TileTables::ByPlace => self.max_tiles * self.max_tiles,
        }
    }
}

/// A list of whole numbers, if the key is there and not null.
pub(super) fn sizes(config: &Value, key: &str) -> Result<Option<Vec<usize>>, String> {
    let Some(values) = list(config, key)? else { return Ok(None) };
    let size = |value: &Value| {
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
        size.ok_or_else(|| format!("{key} has {value}; expected whole numbers"))
    };
    values.iter().map(size).collect::<Result<_, _>>().map(Some)
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
