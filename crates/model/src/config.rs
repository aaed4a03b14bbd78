//! What a Llama is, in numbers. A generation is a value of [`Config`], never a branch in the code.
//!
//! Each checkpoint form says these numbers in its own words; `config/hf.rs`, `config/gguf.rs` and
//! `config/meta.rs` translate. Constants that a form cannot say stand in `config/meta.rs`, with their source.

mod eagle;
mod gguf;
mod hf;
mod json;
mod meta;
mod vision;

use puna_tensor::RopeLayout;

use crate::rope::RopeScaling;

pub(crate) use eagle::EagleConfig;
pub(crate) use gguf::RopeTables;
pub use gguf::to_gguf;
pub use hf::to_hf;
pub(crate) use meta::{MetaFacts, to_meta};
pub use vision::{CrossAttentionTower, EarlyFusionTower, TileTables, Tower, Vision};

/// The sizes and constants of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Width of the residual stream.
    pub dim: usize,
    /// Decoder layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Elements of a head; even.
    pub head_dim: usize,
    /// Inner width of the feed-forward block.
    pub ffn_dim: usize,
    /// The sizes of each layer, where they are not those of all; heads and width above are then the largest.
    pub layer_sizes: Vec<LayerSizes>,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Positions the model was made for.
    pub max_seq_len: usize,
    /// Added to the mean square in RMSNorm.
    pub norm_eps: f32,
    /// Elements at the end of a head that do not rotate.
    pub unrotated_dim: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the frequencies are changed for longer contexts.
    pub rope_scaling: RopeScaling,
    /// Which elements of a head rotate together in the checkpoint's wq and wk.
    pub rope_layout: RopeLayout,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
    /// Which linear layers of the decoder add a bias.
    pub biases: Biases,
    /// In what way each layer is special; empty where none is.
    pub layer_kinds: Vec<LayerKind>,
    /// Whether a token attends to itself and those before it alone; else to its whole text, as in models that make
    /// vectors of texts.
    pub causal: bool,
    /// Positions of a chunk, for the layers that attend to chunks.
    pub attention_chunk: Option<usize>,
    /// How many positions a token attends to at most, its own and those just before it; fewer than the context. Of
    /// Mistral's.
    pub sliding_window: Option<usize>,
    /// Whether queries and keys are divided by their root mean square after rotation.
    pub qk_norm: bool,
    /// How queries of layers without rotation grow with their position.
    pub attention_temperature: Option<Temperature>,
    /// The experts of the layers that have them.
    pub experts: Experts,
    /// Layers that attend to images instead of text, in ascending order.
    pub cross_layers: Vec<usize>,
    /// Rows of the embedding beyond the vocabulary: tokens that a prompt may hold, but no answer.
    pub n_extra_embeddings: usize,
    /// The part that sees images, if there is one.
    pub vision: Option<Vision>,
}

/// The plainest Llama, whose sizes are yet to be said.
impl Default for Config {
    fn default() -> Config {
        Config {
            dim: 0,
            n_layers: 0,
            n_heads: 0,
            n_kv_heads: 0,
            head_dim: 0,
            ffn_dim: 0,
            layer_sizes: Vec::new(),
            vocab_size: 0,
            max_seq_len: 0,
            norm_eps: 1e-5,
            unrotated_dim: 0,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            rope_layout: RopeLayout::Interleaved,
            tied: false,
            biases: Biases::default(),
            layer_kinds: Vec::new(),
            causal: true,
            attention_chunk: None,
            sliding_window: None,
            qk_norm: false,
            attention_temperature: None,
            experts: Experts::default(),
            cross_layers: Vec::new(),
            n_extra_embeddings: 0,
            vision: None,
        }
    }
}

/// Which linear layers add a bias: none in Meta's releases, but in models that others made of this
/// architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// The output of attention.
    pub o: bool,
    /// The three of the feed-forward block.
    pub ffn: bool,
}

/// The sizes of a layer of a pruned model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSizes {
    /// Its attention.
    pub attention: Sublayer<Heads>,
    /// The inner width of its feed-forward block.
    pub ffn_dim: Sublayer<usize>,
}

/// A block of a layer, or what pruning left in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sublayer<T> {
    /// The block, of this size.
    Whole(T),
    /// A matrix, `[dim, dim]`, after the norm.
    Linear,
    /// Nothing: what enters the block leaves it.
    Absent,
}

/// Heads of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads; divides `n_heads`.
    pub n_kv_heads: usize,
}

/// What a layer attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerAttention {
    /// All positions up to the query's own.
    Full,
    /// The last of these, this many with the query's own.
    Window(usize),
    /// Those of the query's own chunk; a chunk has this many positions.
    Chunked(usize),
    /// Images.
    Images,
    /// Nothing.
    Nothing,
}

/// In what way a layer is special: those of Llama 4 are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerKind {
    /// It does not rotate queries and keys.
    pub no_rope: bool,
    /// It sees the keys of the query's chunk alone.
    pub chunked: bool,
    /// Its feed-forward block is several experts that tokens are routed to, and what [`Routing`] says beside them.
    pub experts: bool,
}

/// Queries are multiplied with `ln(floor((position + 1) / floor) + 1) * scale + 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// Positions before it begins.
    pub floor: f32,
    /// How fast it grows.
    pub scale: f32,
}

impl Temperature {
    /// The factor of a query at `position`, in f32 as the reference computes it.
    pub fn factor(&self, position: usize) -> f32 {
        (((position as f32 + 1.0) / self.floor).floor() + 1.0).ln() * self.scale + 1.0
    }
}

/// The routed experts of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Experts {
    /// How many there are.
    pub n: usize,
    /// How many a token is routed to.
    pub n_used: usize,
    /// The inner width of each, and of the shared one.
    pub ffn_dim: usize,
    /// How their scores count.
    pub routing: Routing,
}

/// How the score of an expert that a token is routed to counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// Its sigmoid is a factor of what enters the expert; all tokens share one more expert. Llama 4's.
    #[default]
    Inputs,
    /// The softmax of the chosen scores are factors of what the experts make; nothing is shared. Mixtral's.
    Outputs,
}

/// Bounds that every real model keeps by far; a configuration beyond them is refused before anything is
/// allocated.
const MAX_DIM: usize = 1 << 20;
pub(crate) const MAX_LAYERS: usize = 4096;
const MAX_LAYER_EXPERTS: usize = 4096;
/// Of all layers, so that a few bytes cannot ask for millions of names.
const MAX_EXPERTS: usize = 1 << 15;
const MAX_VOCAB: usize = 1 << 24;
const MAX_SEQ_LEN: usize = 1 << 32;

impl Config {
    /// Checks that the numbers fit each other; the message names the first that does not.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            ("dim", self.dim, MAX_DIM),
            ("n_layers", self.n_layers, MAX_LAYERS),
            ("n_heads", self.n_heads, MAX_DIM),
            ("n_kv_heads", self.n_kv_heads, MAX_DIM),
            ("head_dim", self.head_dim, MAX_DIM),
            ("ffn_dim", self.ffn_dim, MAX_DIM),
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("max_seq_len", self.max_seq_len, MAX_SEQ_LEN),
        ];
        for (name, value, max) in sizes {
            if value == 0 || value > max {
                return Err(format!("{name} is {value}; expected 1 to {max}"));
            }
        }
        self.check_layer_sizes()?;
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!("head_dim is {}; rotary pairs need an even number", self.head_dim));
        }
        if self.unrotated_dim >= self.head_dim || !self.unrotated_dim.is_multiple_of(2) {
            let (n, head) = (self.unrotated_dim, self.head_dim);
            return Err(format!(
                "{n} elements of a head of {head} do not rotate; rotary pairs need the others"
            ));
        }
        if self.n_heads * self.head_dim > MAX_DIM {
            return Err(format!("{} heads of {} are too wide", self.n_heads, self.head_dim));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(format!("norm_eps is {}", self.norm_eps));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(format!("rope_theta is {}", self.rope_theta));
        }
        let is_plain =
            self.layer_kinds.is_empty() && self.cross_layers.is_empty() && self.layer_sizes.is_empty();
        if self.biases != Biases::default() && !is_plain {
            return Err(
                "linear layers with a bias are not supported in Llama 4, 3.2 Vision, beside experts and in layers of several sizes"
                    .into(),
            );
        }
        self.check_layer_kinds()?;
        if !self.causal && (self.attention_chunk.is_some() || !self.cross_layers.is_empty()) {
            return Err("attention to later tokens is not supported beside chunks and images".into());
        }
        if let Some(window) = self.sliding_window {
            if window == 0 || window > MAX_SEQ_LEN {
                return Err(format!("a window has {window} positions; expected 1 to {MAX_SEQ_LEN}"));
            }
            if !self.causal || self.attention_chunk.is_some() || !self.cross_layers.is_empty() {
                return Err(
                    "a window is not supported beside chunks, images and attention to later tokens".into()
                );
            }
        }
        let in_order = self.cross_layers.windows(2).all(|pair| pair[0] < pair[1]);
        if !in_order || self.cross_layers.last().is_some_and(|last| *last >= self.n_layers) {
            return Err(format!(
                "cross-attention layers {:?} are not among the {} layers",
                self.cross_layers, self.n_layers
            ));
        }
        if self.n_extra_embeddings > MAX_VOCAB {
            return Err(format!("{} extra embeddings are too many", self.n_extra_embeddings));
        }
        if let Some(vision) = &self.vision {
            vision.check()?;
            if vision.image_token as usize >= self.n_embeddings() {
                return Err(format!("image token {} is outside the vocabulary", vision.image_token));
            }
        }
        self.rope_scaling.check(self.rotary_dim())
    }

    fn check_layer_sizes(&self) -> Result<(), String> {
        let check = |Heads { n_heads, n_kv_heads }| match n_kv_heads > 0 && n_heads.is_multiple_of(n_kv_heads)
        {
            true => Ok(()),
            false => Err(format!("{n_heads} query heads cannot share {n_kv_heads} key-value heads")),
        };
        if self.layer_sizes.is_empty() {
            return check(Heads { n_heads: self.n_heads, n_kv_heads: self.n_kv_heads });
        }
        if self.layer_sizes.len() != self.n_layers {
            return Err(format!(
                "{} sizes of layers do not fit {} layers",
                self.layer_sizes.len(),
                self.n_layers
            ));
        }
        if !(self.layer_kinds.is_empty() && self.cross_layers.is_empty()) {
            return Err("layers of several sizes are not supported beside experts, chunks and images".into());
        }
        for (i, LayerSizes { attention, ffn_dim }) in self.layer_sizes.iter().enumerate() {
            if let Sublayer::Whole(heads) = *attention {
                check(heads).map_err(|fact| format!("layer {i}: {fact}"))?;
                if heads.n_heads == 0 || heads.n_heads > self.n_heads || heads.n_kv_heads > self.n_kv_heads {
                    let most = (self.n_heads, self.n_kv_heads);
                    return Err(format!("layer {i} has {heads:?}; no layer has more heads than {most:?}"));
                }
            }
            if let Sublayer::Whole(width) = *ffn_dim
                && !(1..=self.ffn_dim).contains(&width)
            {
                return Err(format!("layer {i} has ffn_dim {width}; expected 1 to {}", self.ffn_dim));
            }
        }
        Ok(())
    }

    fn check_layer_kinds(&self) -> Result<(), String> {
        let Config { layer_kinds: layers, attention_chunk: chunk, experts, .. } = self;
        let temperature = &self.attention_temperature;
        if !layers.is_empty() && layers.len() != self.n_layers {
            return Err(format!("{} kinds of layers do not fit {} layers", layers.len(), self.n_layers));
        }
        if let Some(chunk) = chunk.filter(|chunk| *chunk == 0 || *chunk > MAX_SEQ_LEN) {
            return Err(format!("chunks of attention have {chunk} positions; expected 1 to {MAX_SEQ_LEN}"));
        }
        let sound =
            |t: &Temperature| t.floor.is_finite() && t.floor >= 1.0 && t.scale.is_finite() && t.scale >= 0.0;
        if let Some(temperature) = temperature.as_ref().filter(|t| !sound(t)) {
            return Err(format!("attention temperature of {temperature:?} is not supported"));
        }
        if layers.iter().any(|layer| layer.experts) {
            let Experts { n, n_used, ffn_dim, .. } = *experts;
            if n == 0 || n > MAX_LAYER_EXPERTS || ffn_dim == 0 || ffn_dim > MAX_DIM {
                return Err(format!("{n} experts of width {ffn_dim} are not supported"));
            }
            let in_all = layers.iter().filter(|layer| layer.experts).count() * n;
            if in_all > MAX_EXPERTS {
                return Err(format!("{in_all} experts in all layers are more than {MAX_EXPERTS}"));
            }
            if n_used == 0 || n_used > n {
                return Err(format!("a token cannot be routed to {n_used} of {n} experts"));
            }
        }
        Ok(())
    }

    /// The kind of a layer.
    pub fn layer_kind(&self, layer: usize) -> LayerKind {
        self.layer_kinds.get(layer).copied().unwrap_or_default()
    }

    /// Whether its layers are Llama 4's, which forms name in words of their own: of several kinds, and where
    /// they have experts, with one that is shared.
    pub fn is_llama4(&self) -> bool {
        !self.layer_kinds.is_empty() && self.experts.routing == Routing::Inputs
    }

    /// What each layer attends to.
    pub fn layer_attention(&self) -> impl Iterator<Item = LayerAttention> {
        (0..self.n_layers).map(|layer| match self.attention_chunk {
            _ if self.is_cross_layer(layer) => LayerAttention::Images,
            _ if !matches!(self.sizes(layer).attention, Sublayer::Whole(_)) => LayerAttention::Nothing,
            Some(chunk) if self.layer_kind(layer).chunked => LayerAttention::Chunked(chunk),
            _ => self.sliding_window.map_or(LayerAttention::Full, LayerAttention::Window),
        })
    }

    /// Whether a layer attends to images.
    pub fn is_cross_layer(&self, layer: usize) -> bool {
        self.cross_layers.binary_search(&layer).is_ok()
    }

    /// Rows of the embedding.
    pub fn n_embeddings(&self) -> usize {
        self.vocab_size + self.n_extra_embeddings
    }

    /// Whether a kind of tokens stands for images that come with them.
    pub fn sees_images(&self) -> bool {
        self.vision.is_some()
    }

    /// The sizes of a layer. The width is that of the shared expert where it has one.
    pub fn sizes(&self, layer: usize) -> LayerSizes {
        self.layer_sizes.get(layer).copied().unwrap_or_else(|| LayerSizes {
            attention: Sublayer::Whole(Heads { n_heads: self.n_heads, n_kv_heads: self.n_kv_heads }),
            ffn_dim: Sublayer::Whole(match self.layer_kind(layer).experts {
                true => self.experts.ffn_dim,
                false => self.ffn_dim,
            }),
        })
    }

    /// The heads of a layer; those of all where it has none.
    pub(crate) fn heads(&self, layer: usize) -> Heads {
        match self.sizes(layer).attention {
            Sublayer::Whole(heads) => heads,
            Sublayer::Linear | Sublayer::Absent => {
                Heads { n_heads: self.n_heads, n_kv_heads: self.n_kv_heads }
            }
        }
    }

    /// The configuration with these sizes of its layers, the largest of which are those of all.
    fn with_layer_sizes(mut self, sizes: Vec<LayerSizes>) -> Config {
        (self.n_heads, self.n_kv_heads, self.ffn_dim) = (0, 0, 0);
        for LayerSizes { attention, ffn_dim } in &sizes {
            if let Sublayer::Whole(Heads { n_heads, n_kv_heads }) = *attention {
                self.n_heads = self.n_heads.max(n_heads);
                self.n_kv_heads = self.n_kv_heads.max(n_kv_heads);
            }
            if let Sublayer::Whole(width) = *ffn_dim {
                self.ffn_dim = self.ffn_dim.max(width);
            }
        }
        let differ = sizes.windows(2).any(|pair| pair[0] != pair[1]);
        Config { layer_sizes: if differ { sizes } else { Vec::new() }, ..self }
    }

    /// Elements of a head that rotate, from its beginning.
    pub fn rotary_dim(&self) -> usize {
        self.head_dim - self.unrotated_dim
    }

    /// Rows of wq: all query heads.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Rows of wk and wv: all key-value heads.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }
}
