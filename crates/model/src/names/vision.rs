//! What each tensor of a vision encoder is called in each checkpoint form.

use super::{Naming, Stored};
use crate::config::{TileTables, Tower, Vision};

/// A tensor of the part that sees images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Their names are those of the published code.
pub enum VisionPart {
    PatchEmbedding,
    ClassEmbedding,
    Positions,
    /// How much of the positions are those in the tile, and how much those in the tile in its place.
    PositionsGate,
    TilePositions,
    TileEmbedding(Edge),
    TileEmbeddingGate(Edge),
    Norm(Edge, Affine),
    Layer(Stage, usize, VisionLayerPart),
    /// The adapter's matrices.
    Adapter1,
    Adapter2,
    Projection(Affine),
}

/// Before or after the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Edge {
    Pre,
    Post,
}

/// Which of the two stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stage {
    Local,
    Global,
}

/// What an input is multiplied with, or what is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Affine {
    Weight,
    Bias,
}

/// A tensor of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum VisionLayerPart {
    Norm1(Affine),
    Wq(Affine),
    Wk(Affine),
    Wv(Affine),
    Wo(Affine),
    Norm2(Affine),
    Fc1(Affine),
    Fc2(Affine),
    GateAttn,
    GateFfn,
}

use Affine::{Bias, Weight};
use VisionLayerPart::{Fc1, Fc2, GateAttn, GateFfn, Norm1, Norm2, Wk, Wo, Wq, Wv};

impl VisionPart {
    /// Whether it is held as f32: vectors and single numbers.
    pub(crate) fn is_vector(self) -> bool {
        use VisionPart::*;
        match self {
            ClassEmbedding | PositionsGate | TileEmbeddingGate(_) | Norm(..) | Projection(Bias) => true,
            Layer(_, _, part) => match part {
                Norm1(_) | Norm2(_) | GateAttn | GateFfn => true,
                Wq(a) | Wk(a) | Wv(a) | Wo(a) | Fc1(a) | Fc2(a) => a == Bias,
            },
            _ => false,
        }
    }

    /// Along which axis Meta's shards split it; `None` if each repeats it.
    pub(super) const fn shard_axis(self) -> Option<usize> {
        match self {
            VisionPart::PatchEmbedding | VisionPart::Projection(_) => Some(0),
            VisionPart::Layer(_, _, part) => match part {
                Wq(_) | Wk(_) | Wv(_) | Fc1(_) => Some(0),
                Wo(Weight) | Fc2(Weight) => Some(1),
                _ => None,
            },
            VisionPart::Adapter1 => Some(0),
            VisionPart::Adapter2 => Some(1),
            _ => None,
        }
    }
}

impl Affine {
    const fn name(self) -> &'static str {
        match self {
            Weight => "weight",
            Bias => "bias",
        }
    }
}

impl Vision {
    /// Rows and columns of a parameter; `dim` is the decoder's width.
    pub(crate) fn shape(&self, part: VisionPart, dim: usize) -> [usize; 2] {
        use VisionPart::*;
        let (n_entries, adapter, joined) = match &self.tower {
            Tower::CrossAttention(tower) => (tower.n_entries(), [1; 2], 1),
            Tower::EarlyFusion(tower) => (1, tower.adapter, tower.shuffle * tower.shuffle),
        };
        match part {
            PatchEmbedding => [self.dim, self.patch_len()],
            ClassEmbedding | Norm(..) => [1, self.dim],
            Positions => [self.tile_rows(), self.dim],
            TilePositions => [n_entries * self.tile_rows(), self.dim],
            TileEmbedding(_) => [n_entries, self.dim],
            PositionsGate | TileEmbeddingGate(_) => [1, 1],
            Layer(_, _, part) => match part {
                Norm1(_) | Norm2(_) | Wq(Bias) | Wk(Bias) | Wv(Bias) | Wo(Bias) | Fc2(Bias) => [1, self.dim],
                Wq(Weight) | Wk(Weight) | Wv(Weight) | Wo(Weight) => [self.dim, self.dim],
                Fc1(Weight) => [self.ffn_dim, self.dim],
                Fc1(Bias) => [1, self.ffn_dim],
                Fc2(Weight) => [self.dim, self.ffn_dim],
                GateAttn | GateFfn => [1, 1],
            },
            Adapter1 => [adapter[0], self.dim * joined],
            Adapter2 => [adapter[1], adapter[0]],
            Projection(Weight) => [dim, self.feature_dim()],
            Projection(Bias) => [1, dim],
        }
    }

    /// Where a parameter is in a checkpoint of a form.
    pub(crate) fn stored(&self, part: VisionPart, naming: Naming) -> Stored {
        let name = match (&self.tower, naming) {
            (Tower::CrossAttention(_), Naming::Meta) => meta32(part),
            (Tower::CrossAttention(_), Naming::HuggingFace) => hf32(part),
            (Tower::CrossAttention(_), Naming::Gguf) => gguf32(part),
            (Tower::EarlyFusion(_), Naming::HuggingFace) => hf4(part),
            (Tower::EarlyFusion(_), Naming::Meta) => meta4(part),
            (Tower::EarlyFusion(_), Naming::Gguf) => gguf4(part),
        };
        // Ollama's files hold what gates of the encoder let through.
        let is_gate = matches!(
            part,
            VisionPart::PositionsGate
                | VisionPart::TileEmbeddingGate(_)
                | VisionPart::Layer(_, _, GateAttn | GateFfn)
        );
        let after_tanh = is_gate && naming == Naming::Gguf;
        Stored { file_shape: self.file_shape(part, naming), after_tanh, ..Stored::whole(name) }
    }

    /// The shape in the file, where it is not rows and columns.
    fn file_shape(&self, part: VisionPart, naming: Naming) -> Option<Vec<usize>> {
        let [rows, dim] = [self.tile_rows(), self.dim];
        let Tower::CrossAttention(tower) = &self.tower else { return None };
        if part == VisionPart::PatchEmbedding && naming != Naming::Meta {
            return Some(vec![dim, 3, self.patch, self.patch]);
        }
        let per_tile = match part {
            VisionPart::TilePositions => rows,
            VisionPart::TileEmbedding(_) => 1,
            _ => return None,
        };
        let max_tiles = tower.max_tiles;
        Some(match tower.tables {
            TileTables::ByGrid => vec![tower.grids.len() + 1, max_tiles * per_tile * dim],
            TileTables::ByPlace => vec![max_tiles, max_tiles, per_tile, dim],
        })
    }
}

/// Names are asked for of the parts that `Vision::parts` lists.
const OTHER_TOWER: &str = "a part of the other tower";

/// Hugging Face's names of Llama 3.2.
fn hf32(part: VisionPart) -> String {
    use VisionPart::*;
    let edge = |edge| if edge == Edge::Pre { "pre" } else { "post" };
    let name = match part {
        PatchEmbedding => "patch_embedding.weight".to_owned(),
        ClassEmbedding => "class_embedding".to_owned(),
        Positions => "gated_positional_embedding.embedding".to_owned(),
        PositionsGate => "gated_positional_embedding.gate".to_owned(),
        TilePositions => "gated_positional_embedding.tile_embedding.weight".to_owned(),
        TileEmbedding(e) => format!("{}_tile_positional_embedding.embedding.weight", edge(e)),
        TileEmbeddingGate(e) => format!("{}_tile_positional_embedding.gate", edge(e)),
        Norm(e, a) => format!("layernorm_{}.{}", edge(e), a.name()),
        Layer(stage, i, part) => {
            let stage = if stage == Stage::Local { "transformer" } else { "global_transformer" };
            format!("{stage}.layers.{i}.{}", hf_layer(part))
        }
        Projection(a) => return format!("multi_modal_projector.{}", a.name()),
        Adapter1 | Adapter2 => unreachable!("{OTHER_TOWER}"),
    };
    format!("vision_model.{name}")
}

fn hf_layer(part: VisionLayerPart) -> String {
    let (name, affine) = match part {
        Norm1(a) => ("input_layernorm", a),
        Wq(a) => ("self_attn.q_proj", a),
        Wk(a) => ("self_attn.k_proj", a),
        Wv(a) => ("self_attn.v_proj", a),
        Wo(a) => ("self_attn.o_proj", a),
        Norm2(a) => ("post_attention_layernorm", a),
        Fc1(a) => ("mlp.fc1", a),
        Fc2(a) => ("mlp.fc2", a),
        GateAttn => return "gate_attn".to_owned(),
        GateFfn => return "gate_ffn".to_owned(),
    };
    format!("{name}.{}", affine.name())
}

/// Meta's names of Llama 3.2.
fn meta32(part: VisionPart) -> String {
    use VisionPart::*;
    let edge = |edge| if edge == Edge::Pre { "pre" } else { "post" };
    let name = match part {
        PatchEmbedding => "conv1._linear.weight".to_owned(),
        ClassEmbedding => "class_embedding".to_owned(),
        Positions => "positional_embedding".to_owned(),
        PositionsGate => "gated_positional_embedding_gate".to_owned(),
        TilePositions => "gated_positional_embedding".to_owned(),
        TileEmbedding(e) => format!("{}_tile_pos_embed.embedding", edge(e)),
        TileEmbeddingGate(e) => format!("{}_tile_pos_embed.gate", edge(e)),
        Norm(e, a) => format!("ln_{}.{}", edge(e), a.name()),
        Layer(stage, i, part) => {
            let stage = if stage == Stage::Local { "transformer" } else { "global_transformer" };
            format!("{stage}.resblocks.{i}.{}", meta_layer(part))
        }
        Projection(a) => return format!("vision_model.vision_projection.{}", a.name()),
        Adapter1 | Adapter2 => unreachable!("{OTHER_TOWER}"),
    };
    format!("vision_model.vision_encoder.{name}")
}

fn meta_layer(part: VisionLayerPart) -> String {
    let (name, affine) = match part {
        Norm1(a) => ("ln_1", a),
        Wq(a) => ("attn.wq", a),
        Wk(a) => ("attn.wk", a),
        Wv(a) => ("attn.wv", a),
        Wo(a) => ("attn.wo", a),
        Norm2(a) => ("ln_2", a),
        Fc1(a) => ("mlp.c_fc", a),
        Fc2(a) => ("mlp.c_proj", a),
        GateAttn => return "gate_attn".to_owned(),
        GateFfn => return "gate_ffn".to_owned(),
    };
    format!("{name}.{}", affine.name())
}

/// Hugging Face's names of Llama 4.
fn hf4(part: VisionPart) -> String {
    use VisionPart::*;
    let name = match part {
        PatchEmbedding => "patch_embedding.linear.weight".to_owned(),
        Positions => "positional_embedding_vlm".to_owned(),
        Layer(_, i, part) => format!("model.layers.{i}.{}", hf_layer(part)),
        Adapter1 => "vision_adapter.mlp.fc1.weight".to_owned(),
        Adapter2 => "vision_adapter.mlp.fc2.weight".to_owned(),
        Projection(a) => return format!("multi_modal_projector.linear_1.{}", a.name()),
        other => return hf32(other),
    };
    format!("vision_model.{name}")
}

/// Meta's names of Llama 4.
fn meta4(part: VisionPart) -> String {
    use VisionPart::*;
    let name = match part {
        PatchEmbedding => "conv1._linear.weight".to_owned(),
        ClassEmbedding => "class_embedding".to_owned(),
        Positions => "positional_embedding_vlm".to_owned(),
        Norm(Edge::Pre, a) => format!("ln_pre.{}", a.name()),
        Norm(Edge::Post, a) => format!("ln_post.{}", a.name()),
        Layer(_, i, part) => format!("transformer.resblocks.{i}.{}", meta_layer(part)),
        Adapter1 => return "vision_embeddings.vision_adapter.mlp.c_fc.weight".to_owned(),
        Adapter2 => return "vision_embeddings.vision_adapter.mlp.c_proj.weight".to_owned(),
        Projection(a) => return format!("vision_projection.{}", a.name()),
        PositionsGate | TilePositions | TileEmbedding(_) | TileEmbeddingGate(_) => {
            unreachable!("{OTHER_TOWER}")
        }
    };
    format!("vision_embeddings.vision_encoder.{name}")
}

/// The names in Ollama's files of Llama 3.2.
fn gguf32(part: VisionPart) -> String {
    use VisionPart::*;
    let edge = |edge| if edge == Edge::Pre { "pre" } else { "post" };
    match part {
        PatchEmbedding => "v.patch_embd.weight".to_owned(),
        ClassEmbedding => "v.class_embd".to_owned(),
        Positions => "v.position_embd.weight".to_owned(),
        // Beside it is `v.position_embd.gate`, one minus this.
        PositionsGate => "v.tile_position_embd.gate".to_owned(),
        TilePositions => "v.tile_position_embd.weight".to_owned(),
        TileEmbedding(e) => format!("v.{}_tile_position_embd.weight", edge(e)),
        TileEmbeddingGate(e) => format!("v.{}_tile_position_embd.gate", edge(e)),
        Norm(e, a) => format!("v.{}_ln.{}", edge(e), a.name()),
        Projection(a) => format!("mm.0.{}", a.name()),
        Adapter1 | Adapter2 => unreachable!("{OTHER_TOWER}"),
        Layer(stage, i, part) => {
            let stage = if stage == Stage::Local { "" } else { "global." };
            let (name, affine) = match part {
                Norm1(a) => ("attn_norm", a),
                Wq(a) => ("attn_q", a),
                Wk(a) => ("attn_k", a),
                Wv(a) => ("attn_v", a),
                Wo(a) => ("attn_output", a),
                Norm2(a) => ("ffn_norm", a),
                Fc1(a) => ("ffn_up", a),
                Fc2(a) => ("ffn_down", a),
                GateAttn => return format!("v.{stage}blk.{i}.attn_gate"),
                GateFfn => return format!("v.{stage}blk.{i}.ffn_gate"),
            };
            format!("v.{stage}blk.{i}.{name}.{}", affine.name())
        }
    }
}

/// The names in projector files of Llama 4.
fn gguf4(part: VisionPart) -> String {
    use VisionPart::*;
    match part {
        PatchEmbedding => "v.patch_embd.weight".to_owned(),
        ClassEmbedding => "v.class_embd".to_owned(),
        Positions => "v.position_embd.weight".to_owned(),
        Norm(Edge::Pre, a) => format!("v.pre_ln.{}", a.name()),
        Norm(Edge::Post, a) => format!("v.post_ln.{}", a.name()),
        Adapter1 => "mm.model.mlp.1.weight".to_owned(),
        Adapter2 => "mm.model.mlp.2.weight".to_owned(),
        Projection(a) => format!("mm.model.fc.{}", a.name()),
        Layer(_, i, part) => {
            let (name, affine) = match part {
                Norm1(a) => ("ln1", a),
                Wq(a) => ("attn_q", a),
                Wk(a) => ("attn_k", a),
                Wv(a) => ("attn_v", a),
                Wo(a) => ("attn_out", a),
                Norm2(a) => ("ln2", a),
                Fc1(a) => ("ffn_up", a),
                Fc2(a) => ("ffn_down", a),
                GateAttn | GateFfn => unreachable!("{OTHER_TOWER}"),
            };
            format!("v.blk.{i}.{name}.{}", affine.name())
        }
        PositionsGate | TilePositions | TileEmbedding(_) | TileEmbeddingGate(_) => {
            unreachable!("{OTHER_TOWER}")
        }
    }
}
