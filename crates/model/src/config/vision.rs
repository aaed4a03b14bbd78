//! The sizes of the part of a model that sees images. Each checkpoint form says them in its own words;
//! `vision/hf.rs`, `vision/gguf.rs` and `vision/meta.rs` translate.

mod gguf;
mod hf;
mod meta;

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
    /// How tiles are encoded, and how the decoder uses the result.
    pub tower: Tower,
}

/// The two ways of seeing.
#[derive(Clone, Debug, PartialEq)]
pub enum Tower {
    /// Llama 3.2: all tiles of an image see each other; some layers of the decoder attend to the result.
    CrossAttention(CrossAttentionTower),
    /// Llama 4: every tile by itself; the result takes the place of tokens.
    EarlyFusion(EarlyFusionTower),
}

/// Tiles that see each other.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossAttentionTower {
    /// Tiles of an image, real ones and padding.
    pub max_tiles: usize,
    /// The arrangements of tiles, `[rows, columns]`; an arrangement's number in the tables is its place here,
    /// plus one.
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
pub struct EarlyFusionTower {
    /// How many patches along each side become one vector.
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

    /// Vectors that the encoder makes of a tile.
    pub fn vectors_per_tile(&self) -> usize {
        match &self.tower {
            Tower::CrossAttention(_) => self.tile_rows(),
            Tower::EarlyFusion(tower) => (self.side() / tower.shuffle).pow(2),
        }
    }

    /// Width of these vectors before they are projected into the decoder's.
    pub fn feature_dim(&self) -> usize {
        match &self.tower {
            Tower::CrossAttention(tower) => self.dim * (1 + tower.intermediate.len()),
            Tower::EarlyFusion(tower) => tower.adapter[1],
        }
    }

    /// The most tiles of an image, that of the whole image not counted.
    pub fn max_tiles(&self) -> usize {
        match &self.tower {
            Tower::CrossAttention(tower) => tower.max_tiles,
            Tower::EarlyFusion(_) => MAX_TILES,
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
            return Err(format!("tiles of {tile} pixels are not a whole number of patches of {patch}"));
        }
        if !dim.is_multiple_of(n_heads) {
            return Err(format!("a vision encoder of width {dim} has no {n_heads} heads"));
        }
        if !(norm_eps.is_finite() && norm_eps >= 0.0) {
            return Err(format!("norm_eps of the vision encoder is {norm_eps}"));
        }
        match &self.tower {
            Tower::CrossAttention(CrossAttentionTower {
                max_tiles,
                grids,
                n_global_layers,
                intermediate,
                ..
            }) => {
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
                    return Err(format!(
                        "intermediate layers {intermediate:?} are not among the {n_layers} layers"
                    ));
                }
            }
            Tower::EarlyFusion(EarlyFusionTower { shuffle, adapter, rope_theta }) => {
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
}

impl CrossAttentionTower {
    /// The row of a tile in a table with `rows` rows for each tile; `None` for padding where tables have none
    /// for it.
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
