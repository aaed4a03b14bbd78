//! What each tensor is called in each checkpoint form, and the one place that re-orders rotary pairs.
//!
//! Inside Puna a tensor has the name of Meta's reference code. [`Part`] is the list of them; the table below
//! says the other two names.

mod vision;

use puna_tensor::RopeLayout;

use crate::Config;
use crate::config::{Experts, Routing, Sublayer};

pub use vision::{Affine, Edge, Stage, VisionLayerPart, VisionPart};

/// The tensors of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Their names are Meta's.
pub enum LayerPart {
    AttentionNorm,
    Wq,
    Wk,
    Wv,
    Wo,
    FfnNorm,
    W1,
    W2,
    W3,
    /// Scores of the experts. Where a layer has it, `W1`, `W2` and `W3` are those of the shared expert.
    Router,
    /// A routed expert's.
    ExpertW1(u16),
    ExpertW2(u16),
    ExpertW3(u16),
    /// Of a layer that attends to images: norms of its heads, and how much of what it finds is added.
    QNorm,
    KNorm,
    GateAttn,
    GateFfwd,
    /// What a linear layer adds.
    BiasQ,
    BiasK,
    BiasV,
    BiasO,
    Bias1,
    Bias2,
    Bias3,
}

/// A tensor of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    TokEmbeddings,
    Layer(usize, LayerPart),
    Norm,
    Output,
    Vision(VisionPart),
}

/// What precedes the names of a language model that is inside a model that sees images, in Meta's form.
pub(crate) const META_TEXT_MODEL: &str = "text_model.";
/// Where Meta keeps the rows of the embedding that are not of the vocabulary.
pub(crate) const EXTRA_EMBEDDINGS: &str = "text_model.learnable_embedding.weight";
/// Divisors of the rotary frequencies, in GGUF.
pub(crate) const ROPE_FREQS: &str = "rope_freqs.weight";
/// The same of LongRoPE, within the original context and beyond it.
pub(crate) const ROPE_FACTORS: [&str; 2] = ["rope_factors_short.weight", "rope_factors_long.weight"];
/// The matrices of Llama 4's adapter in projector files (`mmproj`).
pub(crate) const GGUF_ADAPTER: [&str; 2] = ["mm.model.mlp.1.weight", "mm.model.mlp.2.weight"];

/// What an EAGLE-3 head's names of its layer begin with: the authors', and those of speculators.
pub(crate) const EAGLE_LAYERS: [&str; 2] = ["midlayer", "layers.0"];
/// What makes one of three features, in such a head.
pub(crate) const EAGLE_FC: &str = "fc.weight";
/// The norm of that, inside its layer.
pub(crate) const EAGLE_HIDDEN_NORM: &str = "hidden_norm.weight";
/// What is added to each of its tokens' ids to have the target's.
pub(crate) const DRAFT_TO_TARGET: &str = "d2t";
/// Which of the target's tokens it has: the same the other way round, which nobody needs.
pub(crate) const TARGET_TO_DRAFT: &str = "t2d";

/// What an EAGLE-3 head calls a part of its decoder, whose layer's names begin with `layer`.
pub(crate) fn eagle_name(part: Part, layer: &str) -> String {
    let name = part.name(Naming::HuggingFace);
    let name = name.strip_prefix("model.").unwrap_or(&name);
    match (part, name.strip_prefix("layers.0.")) {
        (Part::Layer(..), Some(rest)) => format!("{layer}.{rest}"),
        _ => name.to_owned(),
    }
}

/// Whether a tensor is one that old conversions write and nobody needs: rotary tables, and state of other
/// programs.
pub(crate) fn is_ignored(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
        || name.ends_with("rotary_emb.cos_cached")
        || name.ends_with("rotary_emb.sin_cached")
        || name.ends_with("attn_rot_embd.weight")
        || name.ends_with("_extra_state")
        || ROPE_FACTORS.contains(&name)
        || matches!(name, "rope.freqs" | ROPE_FREQS | "output.weight" | "lm_head.weight")
        || name == "v.position_embd.gate"
}

/// Whether a tensor of a Hugging Face folder belongs to the vision encoder or its projector.
pub(crate) fn is_vision(name: &str) -> bool {
    let name = name.strip_prefix("model.").unwrap_or(name);
    name.starts_with("vision_model.") || name.starts_with("multi_modal_projector.")
}

/// How Hugging Face folders name the language model inside a model that sees images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nesting {
    /// There is no other model around it.
    Alone,
    /// `layers.…` without `model.`: a model that was saved without its head.
    Bare,
    /// `language_model.model.…` beside `vision_model.…`.
    LanguageModel,
    /// `model.language_model.…` beside `model.vision_model.…`: the names of transformers 5.
    ModelLanguageModel,
}

impl Nesting {
    /// That of a folder, by the tensors that it has.
    pub fn of(has: impl Fn(&str) -> bool) -> Nesting {
        match () {
            () if has("language_model.model.embed_tokens.weight") => Nesting::LanguageModel,
            () if has("model.language_model.embed_tokens.weight") => Nesting::ModelLanguageModel,
            () if has("embed_tokens.weight") => Nesting::Bare,
            () => Nesting::Alone,
        }
    }

    /// The name of a tensor that is called `name` where its model is alone.
    pub fn name(self, part: Part, name: String) -> String {
        let is_vision = matches!(part, Part::Vision(_));
        match self {
            Nesting::Alone => name,
            Nesting::Bare => name.strip_prefix("model.").map_or(name.clone(), str::to_owned),
            Nesting::LanguageModel if is_vision => name,
            Nesting::LanguageModel => format!("language_model.{name}"),
            Nesting::ModelLanguageModel if is_vision => format!("model.{name}"),
            Nesting::ModelLanguageModel => match name.strip_prefix("model.") {
                Some(inner) => format!("model.language_model.{inner}"),
                None => name,
            },
        }
    }
}

/// A checkpoint form's way of naming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Meta's reference code.
    Meta,
    /// Hugging Face transformers.
    HuggingFace,
    /// llama.cpp.
    Gguf,
}

impl LayerPart {
    /// Those of a plain layer, in the order of the forward pass.
    pub const ALL: [LayerPart; 9] = {
        use LayerPart::*;
        [AttentionNorm, Wq, Wk, Wv, Wo, FfnNorm, W1, W3, W2]
    };

    /// What a layer that attends to images has besides.
    pub const CROSS: [LayerPart; 4] = {
        use LayerPart::*;
        [QNorm, KNorm, GateAttn, GateFfwd]
    };

    /// Whether it is held as f32: vectors and single numbers.
    pub(crate) const fn is_vector(self) -> bool {
        use LayerPart::*;
        matches!(self, AttentionNorm | FfnNorm | QNorm | KNorm | GateAttn | GateFfwd) || self.is_bias()
    }

    /// Whether a linear layer adds it.
    const fn is_bias(self) -> bool {
        use LayerPart::*;
        matches!(self, BiasQ | BiasK | BiasV | BiasO | Bias1 | Bias2 | Bias3)
    }

    /// Whether its rows, or the elements of a bias, are rotated.
    pub(crate) const fn is_rotated(self) -> bool {
        use LayerPart::*;
        matches!(self, Wq | Wk | BiasQ | BiasK)
    }

    /// The expert that it is a matrix of.
    const fn expert(self) -> Option<usize> {
        match self {
            LayerPart::ExpertW1(e) | LayerPart::ExpertW2(e) | LayerPart::ExpertW3(e) => Some(e as usize),
            _ => None,
        }
    }

    /// How its name ends, unless it is a gate.
    const fn end(self) -> &'static str {
        if self.is_bias() { ".bias" } else { ".weight" }
    }

    /// Meta, Hugging Face, GGUF.
    const fn names(self) -> [&'static str; 3] {
        match self {
            LayerPart::AttentionNorm => ["attention_norm", "input_layernorm", "attn_norm"],
            LayerPart::Wq | LayerPart::BiasQ => ["attention.wq", "self_attn.q_proj", "attn_q"],
            LayerPart::Wk | LayerPart::BiasK => ["attention.wk", "self_attn.k_proj", "attn_k"],
            LayerPart::Wv | LayerPart::BiasV => ["attention.wv", "self_attn.v_proj", "attn_v"],
            LayerPart::Wo | LayerPart::BiasO => ["attention.wo", "self_attn.o_proj", "attn_output"],
            LayerPart::FfnNorm => ["ffn_norm", "post_attention_layernorm", "ffn_norm"],
            LayerPart::W1 | LayerPart::Bias1 => ["feed_forward.w1", "mlp.gate_proj", "ffn_gate"],
            LayerPart::W2 | LayerPart::Bias2 => ["feed_forward.w2", "mlp.down_proj", "ffn_down"],
            LayerPart::W3 | LayerPart::Bias3 => ["feed_forward.w3", "mlp.up_proj", "ffn_up"],
            LayerPart::Router => ["feed_forward.router", "feed_forward.router", "ffn_gate_inp"],
            LayerPart::ExpertW1(_) => {
                ["feed_forward.experts.w1", "feed_forward.experts.gate_proj", "ffn_gate_exps"]
            }
            LayerPart::ExpertW2(_) => {
                ["feed_forward.experts.w2", "feed_forward.experts.down_proj", "ffn_down_exps"]
            }
            LayerPart::ExpertW3(_) => {
                ["feed_forward.experts.w3", "feed_forward.experts.up_proj", "ffn_up_exps"]
            }
            LayerPart::QNorm => ["attention.q_norm", "cross_attn.q_norm", "cross_attn_q_norm"],
            LayerPart::KNorm => ["attention.k_norm", "cross_attn.k_norm", "cross_attn_k_norm"],
            LayerPart::GateAttn => ["gate_attn", "cross_attn_attn_gate", "cross_attn_attn_gate"],
            LayerPart::GateFfwd => ["gate_ffwd", "cross_attn_mlp_gate", "cross_attn_mlp_gate"],
        }
    }
}

impl Part {
    /// The tensor's name, of a model of text that has no experts; [`Config::stored`] knows the others.
    pub fn name(self, naming: Naming) -> String {
        let pick = |names: [&'static str; 3]| names[naming as usize];
        match self {
            Part::TokEmbeddings => {
                pick(["tok_embeddings", "model.embed_tokens", "token_embd"]).to_owned() + ".weight"
            }
            Part::Norm => pick(["norm", "model.norm", "output_norm"]).to_owned() + ".weight",
            Part::Output => pick(["output", "lm_head", "output"]).to_owned() + ".weight",
            Part::Layer(i, part) => {
                let gate = matches!(part, LayerPart::GateAttn | LayerPart::GateFfwd);
                let end = if gate { "" } else { part.end() };
                format!("{}.{i}.{}{end}", pick(["layers", "model.layers", "blk"]), pick(part.names()))
            }
            Part::Vision(part) => format!("vision {part:?}"),
        }
    }

    /// Whether it is held as f32: vectors and single numbers.
    pub(crate) fn is_vector(self) -> bool {
        match self {
            Part::Norm => true,
            Part::Layer(_, part) => part.is_vector(),
            Part::Vision(part) => part.is_vector(),
            Part::TokEmbeddings | Part::Output => false,
        }
    }

    /// Along which axis Meta's model-parallel shards split the tensor; `None` for one that every shard
    /// repeats. The embedding is split along axis 1 up to Llama 2 and along axis 0 since; its shape tells.
    pub(crate) const fn shard_axis(self) -> Option<usize> {
        match self {
            Part::TokEmbeddings | Part::Output => Some(0),
            Part::Norm => None,
            Part::Vision(part) => part.shard_axis(),
            Part::Layer(_, part) => match part {
                _ if part.is_vector() => None,
                LayerPart::Wo | LayerPart::W2 | LayerPart::ExpertW1(_) | LayerPart::ExpertW3(_) => Some(1),
                LayerPart::Router => None,
                _ => Some(0),
            },
        }
    }
}

/// Where a parameter is in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The tensor.
    pub name: String,
    /// Which part of the tensor along its first axis; `None` if all of it.
    pub slice: Option<Slice>,
    /// Where the matrix is stored column after column: which element of a stored column is the matrix's
    /// first, and how many elements a stored column has.
    pub by_columns: Option<[usize; 2]>,
    /// The tensor's shape in the file, where it is another than the parameter's.
    pub file_shape: Option<Vec<usize>>,
    /// Whether the tensor holds the hyperbolic tangent of the parameter.
    pub after_tanh: bool,
}

/// The parts from `begin` to before `end` of `of` equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Slice {
    pub begin: usize,
    pub end: usize,
    pub of: usize,
}

impl Slice {
    /// All of it.
    pub const WHOLE: Slice = Slice { begin: 0, end: 1, of: 1 };

    /// The `i`-th of `n`.
    fn nth(i: usize, n: usize) -> Slice {
        Slice { begin: i, end: i + 1, of: n }
    }

    /// Its range among `len` elements; `None` if `of` does not divide `len`.
    pub fn of_len(self, len: usize) -> Option<std::ops::Range<usize>> {
        let part = len.checked_div(self.of).filter(|_| len.is_multiple_of(self.of))?;
        Some(part * self.begin..part * self.end)
    }
}

impl Stored {
    /// A tensor that is the parameter.
    pub(crate) fn whole(name: String) -> Stored {
        Stored { name, slice: None, by_columns: None, file_shape: None, after_tanh: false }
    }
}

impl Config {
    /// Where a parameter is in a checkpoint of a form.
    pub fn stored(&self, part: Part, naming: Naming) -> Stored {
        let whole = Stored::whole;
        let (i, layer_part) = match (part, &self.vision) {
            (Part::Vision(part), Some(vision)) => return vision.stored(part, naming),
            (Part::Layer(i, part), _) => (i, part),
            (Part::TokEmbeddings | Part::Norm | Part::Output | Part::Vision(_), _) => {
                let inner = naming == Naming::Meta && !self.cross_layers.is_empty();
                return whole(if inner { META_TEXT_MODEL } else { "" }.to_owned() + &part.name(naming));
            }
        };
        if !self.cross_layers.is_empty() {
            return self.stored_beside_cross(i, layer_part, naming);
        }
        if let Some(e) = layer_part.expert().filter(|_| naming == Naming::Gguf) {
            return self.stored_among_all(part.name(naming), layer_part, e);
        }
        if self.experts.routing == Routing::Outputs && naming == Naming::HuggingFace {
            return whole(mixtral_name(i, layer_part).unwrap_or_else(|| part.name(naming)));
        }
        if !self.is_llama4() {
            let sizes = self.sizes(i);
            let linear = match layer_part {
                LayerPart::Wo if sizes.attention == Sublayer::Linear => Some("self_attn.linear_attn"),
                LayerPart::W2 if sizes.ffn_dim == Sublayer::Linear => Some("mlp.linear_mlp"),
                _ => None,
            };
            return whole(match linear.filter(|_| naming == Naming::HuggingFace) {
                Some(name) => format!("model.layers.{i}.{name}.weight"),
                None => part.name(naming),
            });
        }
        let Experts { n, ffn_dim, .. } = self.experts;
        let prefix = match naming {
            Naming::Meta => return self.stored_by_meta4(i, layer_part),
            Naming::HuggingFace => format!("model.layers.{i}.feed_forward."),
            Naming::Gguf => format!("blk.{i}."),
        };
        let shared = self.layer_kind(i).experts;
        let (place, expert) = match layer_part {
            LayerPart::W1 => (0, None),
            LayerPart::W2 => (1, None),
            LayerPart::W3 => (2, None),
            LayerPart::ExpertW1(e) => (0, Some(e)),
            LayerPart::ExpertW2(e) => (1, Some(e)),
            LayerPart::ExpertW3(e) => (2, Some(e)),
            _ => return whole(part.name(naming)),
        };
        match (naming, expert) {
            (Naming::Gguf, None) => {
                let name = ["ffn_gate", "ffn_down", "ffn_up"][place];
                whole(format!("{prefix}{name}{}.weight", if shared { "_shexp" } else { "" }))
            }
            (_, None) => {
                let name = ["gate_proj", "down_proj", "up_proj"][place];
                whole(format!("{prefix}{}{name}.weight", if shared { "shared_expert." } else { "" }))
            }
            (_, Some(e)) => {
                let name = ["gate_up_proj", "down_proj", "gate_up_proj"][place];
                let by_columns = [[0, 2 * ffn_dim], [0, self.dim], [ffn_dim, 2 * ffn_dim]][place];
                let name = format!("{prefix}experts.{name}");
                let inputs = if place == 1 { ffn_dim } else { self.dim };
                Stored {
                    slice: Some(Slice::nth(e as usize, n)),
                    by_columns: Some(by_columns),
                    file_shape: Some(vec![n, inputs, by_columns[1]]),
                    ..whole(name)
                }
            }
        }
    }

    /// An expert's matrix in a tensor of all experts', row after row.
    fn stored_among_all(&self, name: String, part: LayerPart, expert: usize) -> Stored {
        let Experts { n, ffn_dim, .. } = self.experts;
        let is_down = matches!(part, LayerPart::ExpertW2(_));
        let file_shape = if is_down { [n, self.dim, ffn_dim] } else { [n, ffn_dim, self.dim] };
        Stored {
            slice: Some(Slice::nth(expert, n)),
            file_shape: Some(file_shape.to_vec()),
            ..Stored::whole(name)
        }
    }

    /// Another place where a form may have a parameter of a layer with experts: each expert's matrix in a
    /// tensor of its own, or all in one.
    pub(crate) fn stored_otherwise(&self, part: Part, naming: Naming) -> Option<Stored> {
        use LayerPart::{ExpertW1, ExpertW2, Router};
        let Part::Layer(i, layer_part) = part else { return None };
        if (layer_part, naming, self.experts.routing) == (Router, Naming::HuggingFace, Routing::Outputs) {
            return Some(Stored::whole(format!("model.layers.{i}.mlp.gate.weight")));
        }
        let e = layer_part.expert()?;
        let place = match layer_part {
            ExpertW1(_) => 0,
            ExpertW2(_) => 1,
            _ => 2,
        };
        match (naming, self.experts.routing) {
            (Naming::Gguf, Routing::Outputs) => {
                let name = ["ffn_gate", "ffn_down", "ffn_up"][place];
                Some(Stored::whole(format!("blk.{i}.{name}.{e}.weight")))
            }
            (Naming::HuggingFace, Routing::Inputs) => {
                let name = ["gate_proj", "down_proj", "up_proj"][place];
                Some(Stored::whole(format!("model.layers.{i}.feed_forward.experts.{e}.{name}.weight")))
            }
            // What transformers 5 has in memory: gate and up are in one tensor, one after the other for each
            // expert.
            (Naming::HuggingFace, Routing::Outputs) => {
                let Experts { n, ffn_dim, .. } = self.experts;
                let name = ["gate_up_proj", "down_proj", "gate_up_proj"][place];
                let name = format!("model.layers.{i}.mlp.experts.{name}");
                if place == 1 {
                    return Some(self.stored_among_all(name, layer_part, e));
                }
                Some(Stored {
                    slice: Some(Slice::nth(2 * e + place / 2, 2 * n)),
                    file_shape: Some(vec![n, 2 * ffn_dim, self.dim]),
                    ..Stored::whole(name)
                })
            }
            (Naming::Meta, _) | (Naming::Gguf, Routing::Inputs) => None,
        }
    }

    /// The same of a layer of Llama 4 in Meta's form, of which each shard has a part: queries, keys and
    /// values are in one tensor, all experts are in one, and so are gate and up of a layer without them.
    fn stored_by_meta4(&self, layer: usize, part: LayerPart) -> Stored {
        use LayerPart::*;
        let Experts { n, ffn_dim, .. } = self.experts;
        let (n_q, n_kv) = (self.n_heads, self.n_kv_heads);
        let shared = self.layer_kind(layer).experts;
        let in_qkv = |begin, end| Some(Slice { begin, end, of: n_q + 2 * n_kv });
        let half = |begin| if shared { None } else { Some(Slice::nth(begin, 2)) };
        let expert = |e: u16| Some(Slice::nth(e as usize, n));
        let (name, slice, by_columns) = match part {
            AttentionNorm => ("attention.wqkv.layer_norm_weight", None, None),
            Wq => ("attention.wqkv.weight", in_qkv(0, n_q), None),
            Wk => ("attention.wqkv.weight", in_qkv(n_q, n_q + n_kv), None),
            Wv => ("attention.wqkv.weight", in_qkv(n_q + n_kv, n_q + 2 * n_kv), None),
            Wo => ("attention.wo.weight", None, None),
            FfnNorm if shared => ("feed_forward.norm.weight", None, None),
            FfnNorm => ("feed_forward.mlp.layer_norm_weight", None, None),
            W1 if shared => ("feed_forward.w_in_shared_FD.weight", None, None),
            W3 if shared => ("feed_forward.w_swiglu_FD.weight", None, None),
            W2 if shared => ("feed_forward.w_out_shared_DF.weight", None, None),
            W1 => ("feed_forward.mlp.fc1_weight", half(0), None),
            W3 => ("feed_forward.mlp.fc1_weight", half(1), None),
            W2 => ("feed_forward.mlp.fc2_weight", None, None),
            Router => ("feed_forward.router_DE", None, Some([0, n])),
            ExpertW1(e) => ("feed_forward.experts.moe_w_in_eD_F", expert(e), Some([0, ffn_dim])),
            ExpertW3(e) => ("feed_forward.experts.moe_w_swiglu_eD_F", expert(e), Some([0, ffn_dim])),
            ExpertW2(e) => ("feed_forward.experts.moe_w_out_eF_D", expert(e), Some([0, self.dim])),
            QNorm | KNorm | GateAttn | GateFfwd => unreachable!("Llama 4 has no cross-attention"),
            BiasQ | BiasK | BiasV | BiasO | Bias1 | Bias2 | Bias3 => unreachable!("Llama 4 has no biases"),
        };
        let name = format!("layers.{layer}.{name}");
        Stored { slice, by_columns, ..Stored::whole(name) }
    }

    /// The same of a model some of whose layers attend to images. Meta counts both kinds of layers apart.
    fn stored_beside_cross(&self, layer: usize, part: LayerPart, naming: Naming) -> Stored {
        let is_cross = self.is_cross_layer(layer);
        let name = Part::Layer(layer, part).name(naming);
        if naming != Naming::Meta {
            let own =
                if naming == Naming::Gguf { ["attn_", "cross_attn_"] } else { ["self_attn.", "cross_attn."] };
            let attends = matches!(part, LayerPart::Wq | LayerPart::Wk | LayerPart::Wv | LayerPart::Wo);
            let name = match (is_cross && attends, naming) {
                (false, _) => name,
                (true, Naming::Gguf) => {
                    let name = name.replace("attn_output", "attn_o").replace(own[0], own[1]);
                    name.replace(".weight", "_proj.weight")
                }
                (true, _) => name.replace(own[0], own[1]),
            };
            return Stored::whole(name);
        }
        let before = self.cross_layers.iter().filter(|cross| **cross < layer).count();
        let rest =
            name.split_once('.').and_then(|(_, rest)| rest.split_once('.')).map_or("", |(_, rest)| rest);
        Stored::whole(match is_cross {
            true => format!("text_model.cross_attention_layers.{before}.{rest}"),
            false => format!("text_model.layers.{}.{rest}", layer - before),
        })
    }
}

/// What Hugging Face's Mixtral calls the parts of its experts; `None` for the others.
fn mixtral_name(layer: usize, part: LayerPart) -> Option<String> {
    let name = match part {
        LayerPart::Router => "gate".to_owned(),
        LayerPart::ExpertW1(e) => format!("experts.{e}.w1"),
        LayerPart::ExpertW2(e) => format!("experts.{e}.w2"),
        LayerPart::ExpertW3(e) => format!("experts.{e}.w3"),
        _ => return None,
    };
    Some(format!("model.layers.{layer}.block_sparse_moe.{name}.weight"))
}

/// Re-orders the rows of wq or wk (`rows` rows of `row_bytes` bytes, heads of `head_dim` rows, of which the first
/// `rotary_dim` rotate) from one rotary layout to the other. Of R rotating rows, row r R/2 + j of a half-split
/// head is row 2j + r of an interleaved one.
///
/// Running a model never needs this, since both layouts are rotated in place; writing one in another form
/// does.
pub fn reorder_rotary(
    bytes: &[u8],
    row_bytes: usize,
    [head_dim, rotary_dim]: [usize; 2],
    from: RopeLayout,
    to: RopeLayout,
) -> Vec<u8> {
    assert!(row_bytes > 0 && head_dim > 0 && bytes.len().is_multiple_of(row_bytes * head_dim));
    if from == to {
        return bytes.to_vec();
    }
    let half = rotary_dim / 2;
    let source = |row: usize| match to {
        _ if row >= rotary_dim => row,
        RopeLayout::HalfSplit => 2 * (row % half) + row / half,
        RopeLayout::Interleaved => (row % 2) * half + row / 2,
    };
    let mut out = Vec::with_capacity(bytes.len());
    for head in bytes.chunks_exact(row_bytes * head_dim) {
        for row in 0..head_dim {
            out.extend_from_slice(&head[source(row) * row_bytes..][..row_bytes]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotary_rows_go_there_and_back() {
        let meta: Vec<u8> = (0..16).collect();
        let hf = reorder_rotary(&meta, 1, [8, 8], RopeLayout::Interleaved, RopeLayout::HalfSplit);
        assert_eq!(hf, [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]);
        assert_eq!(reorder_rotary(&hf, 1, [8, 8], RopeLayout::HalfSplit, RopeLayout::Interleaved), meta);
        let partly = reorder_rotary(&meta, 1, [8, 4], RopeLayout::Interleaved, RopeLayout::HalfSplit);
        assert_eq!(partly, [0, 2, 1, 3, 4, 5, 6, 7, 8, 10, 9, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn names_of_the_three_forms() {
        let part = Part::Layer(3, LayerPart::W2);
        assert_eq!(part.name(Naming::Meta), "layers.3.feed_forward.w2.weight");
        assert_eq!(part.name(Naming::HuggingFace), "model.layers.3.mlp.down_proj.weight");
        assert_eq!(part.name(Naming::Gguf), "blk.3.ffn_down.weight");
        assert_eq!(Part::Output.name(Naming::HuggingFace), "lm_head.weight");
        let part = Part::Layer(3, LayerPart::BiasO);
        assert_eq!(part.name(Naming::HuggingFace), "model.layers.3.self_attn.o_proj.bias");
        assert_eq!(part.name(Naming::Gguf), "blk.3.attn_output.bias");
    }
}
