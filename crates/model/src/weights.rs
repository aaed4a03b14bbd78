//! A model's parameters, bound once at load and checked against the shapes that its configuration asks for.

mod vision;

use std::collections::HashMap;

use puna_tensor::{Activations, Cpu, ParamId, RunOptions, Weight};

use crate::config::{Biases, Config, LayerSizes, Routing, Sublayer, Vision};
use crate::names::{LayerPart, Naming, Part};

pub use vision::{Linear, TileWeights, VisionLayer, VisionWeights};

/// The parameters of one decoder layer, by the names of Meta's reference code.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LayerWeights {
    /// `None` where a layer attends to nothing.
    pub attention: Option<AttentionWeights>,
    /// `None` where a layer has no such block.
    pub feed_forward: Option<FeedForwardWeights>,
    /// Of a layer that attends to images.
    pub cross: Option<CrossWeights>,
}

/// A layer's attention.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct AttentionWeights {
    pub norm: Weight, // [dim]
    /// `None` where `wo` alone, `[dim, dim]`, stands in its place.
    pub qkv: Option<QkvWeights>,
    pub wo: Weight, // [dim, n_heads * head_dim]
    pub bias: Option<Weight>,
}

/// What makes queries, keys and values. A bias is `[rows of its matrix]`, and `None` where nothing is added.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct QkvWeights {
    pub wq: Weight, // [n_heads * head_dim, dim]
    pub wk: Weight, // [n_kv_heads * head_dim, dim]
    pub wv: Weight, // [n_kv_heads * head_dim, dim]
    pub bias_q: Option<Weight>,
    pub bias_k: Option<Weight>,
    pub bias_v: Option<Weight>,
}

/// A layer's feed-forward block.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct FeedForwardWeights {
    pub norm: Weight, // [dim]
    /// What every token meets: all of the block, or the expert that all tokens share.
    pub mlp: Option<MlpWeights>,
    /// The experts that tokens are routed to.
    pub experts: Option<ExpertWeights>,
}

/// Gate, up and down.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct MlpWeights {
    /// `None` where `w2` alone, `[dim, dim]`, stands in their place.
    pub gated: Option<GatedWeights>,
    pub w2: Weight, // [dim, ffn_dim], down
    pub bias: Option<Weight>,
}

/// Gate and up.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GatedWeights {
    pub w1: Weight, // [ffn_dim, dim], gate
    pub w3: Weight, // [ffn_dim, dim], up
    pub bias_1: Option<Weight>,
    pub bias_3: Option<Weight>,
}

/// What a layer that attends to images has besides.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CrossWeights {
    pub q_norm: Weight,    // [head_dim]
    pub k_norm: Weight,    // [head_dim]
    pub gate_attn: Weight, // [1]
    pub gate_ffwd: Weight, // [1]
}

impl CrossWeights {
    fn all(&self) -> [&Weight; 4] {
        [&self.q_norm, &self.k_norm, &self.gate_attn, &self.gate_ffwd]
    }
}

/// The routed experts of a layer.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ExpertWeights {
    pub router: Weight, // [n_experts, dim]
    pub experts: Vec<Expert>,
}

/// A routed expert.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Expert {
    pub w1: Weight, // [ffn_dim, dim], gate
    pub w3: Weight, // [ffn_dim, dim], up
    pub w2: Weight, // [dim, ffn_dim], down
}

impl LayerWeights {
    /// What makes queries, keys and values; `None` where nothing does.
    pub fn qkv(&self) -> Option<&QkvWeights> {
        self.attention.as_ref()?.qkv.as_ref()
    }

    /// The matrices that every token meets, in the order of the pass.
    pub fn matrices(&self) -> impl Iterator<Item = &Weight> {
        self.before_attention().chain(self.after_attention())
    }

    /// Those that make queries, keys and values.
    pub fn before_attention(&self) -> impl Iterator<Item = &Weight> {
        self.qkv().into_iter().flat_map(|w| [&w.wq, &w.wk, &w.wv])
    }

    /// The others.
    pub fn after_attention(&self) -> impl Iterator<Item = &Weight> {
        let wo = self.attention.iter().map(|w| &w.wo);
        let gated = self.mlp().and_then(|w| w.gated.as_ref()).into_iter().flat_map(|w| [&w.w1, &w.w3]);
        let w2 = self.mlp().map(|w| &w.w2);
        let router = self.routed().map(|experts| &experts.router);
        wo.chain(gated).chain(w2).chain(router)
    }

    /// The routed experts; none in a layer without.
    pub fn experts(&self) -> &[Expert] {
        self.routed().map_or(&[], |experts| &experts.experts)
    }

    /// What every token meets of its feed-forward block.
    pub fn mlp(&self) -> Option<&MlpWeights> {
        self.feed_forward.as_ref()?.mlp.as_ref()
    }

    fn routed(&self) -> Option<&ExpertWeights> {
        self.feed_forward.as_ref()?.experts.as_ref()
    }

    /// All its parameters, in the order of [`Config::parts`].
    pub(crate) fn all(&self) -> impl Iterator<Item = &Weight> {
        let (attention, qkv) = (self.attention.as_ref(), self.qkv());
        let (mlp, gated) = (self.mlp(), self.mlp().and_then(|w| w.gated.as_ref()));
        let always = [
            attention.map(|w| &w.norm),
            qkv.map(|w| &w.wq),
            qkv.map(|w| &w.wk),
            qkv.map(|w| &w.wv),
            attention.map(|w| &w.wo),
            self.feed_forward.as_ref().map(|w| &w.norm),
            gated.map(|w| &w.w1),
            gated.map(|w| &w.w3),
            mlp.map(|w| &w.w2),
            qkv.and_then(|w| w.bias_q.as_ref()),
            qkv.and_then(|w| w.bias_k.as_ref()),
            qkv.and_then(|w| w.bias_v.as_ref()),
            attention.and_then(|w| w.bias.as_ref()),
            gated.and_then(|w| w.bias_1.as_ref()),
            gated.and_then(|w| w.bias_3.as_ref()),
            mlp.and_then(|w| w.bias.as_ref()),
        ];
        let cross = self.cross.iter().flat_map(CrossWeights::all);
        let router = self.routed().map(|experts| &experts.router);
        let experts = self.experts().iter().flat_map(Expert::matrices);
        always.into_iter().flatten().chain(cross).chain(router).chain(experts)
    }

    /// The same, to change.
    fn all_mut(&mut self) -> Vec<&mut Weight> {
        let (mut norms, mut all, mut biases) = ([None, None], Vec::new(), Vec::new());
        let LayerWeights { attention, feed_forward, cross } = self;
        let (mut of_heads, mut of_ffn) = (Vec::new(), Vec::new());
        if let Some(AttentionWeights { norm, qkv, wo, bias }) = attention {
            norms[0] = Some(norm);
            if let Some(QkvWeights { wq, wk, wv, bias_q, bias_k, bias_v }) = qkv {
                of_heads.extend([wq, wk, wv]);
                biases.extend([bias_q, bias_k, bias_v].into_iter().flatten());
            }
            of_heads.push(wo);
            biases.extend(bias);
        }
        let mut routed = None;
        if let Some(FeedForwardWeights { norm, mlp, experts }) = feed_forward {
            norms[1] = Some(norm);
            if let Some(MlpWeights { gated, w2, bias }) = mlp {
                if let Some(GatedWeights { w1, w3, bias_1, bias_3 }) = gated {
                    of_ffn.extend([w1, w3]);
                    biases.extend([bias_1, bias_3].into_iter().flatten());
                }
                of_ffn.push(w2);
                biases.extend(bias);
            }
            routed = experts.as_mut();
        }
        let [attention_norm, ffn_norm] = norms;
        all.extend(attention_norm);
        all.extend(of_heads);
        all.extend(ffn_norm);
        all.extend(of_ffn);
        all.extend(biases);
        if let Some(w) = cross {
            all.extend([&mut w.q_norm, &mut w.k_norm, &mut w.gate_attn, &mut w.gate_ffwd]);
        }
        if let Some(ExpertWeights { router, experts }) = routed {
            all.push(router);
            all.extend(experts.iter_mut().flat_map(|e| [&mut e.w1, &mut e.w3, &mut e.w2]));
        }
        all
    }

    /// A layer of these parameters.
    fn of(mut bound: HashMap<LayerPart, Weight>, n_experts: usize) -> LayerWeights {
        use LayerPart::*;
        let mut get = |part| bound.remove(&part);
        let both = |a: Option<Weight>, b: Option<Weight>| Some([a?, b?]);
        let qkv = both(get(Wq), get(Wk)).zip(get(Wv)).map(|([wq, wk], wv)| QkvWeights {
            wq,
            wk,
            wv,
            bias_q: get(BiasQ),
            bias_k: get(BiasK),
            bias_v: get(BiasV),
        });
        let attention = both(get(AttentionNorm), get(Wo));
        let attention = attention.map(|[norm, wo]| AttentionWeights { norm, qkv, wo, bias: get(BiasO) });
        let gated = both(get(W1), get(W3));
        let gated = gated.map(|[w1, w3]| GatedWeights { w1, w3, bias_1: get(Bias1), bias_3: get(Bias3) });
        let mlp = get(W2).map(|w2| MlpWeights { gated, w2, bias: get(Bias2) });
        let expert = |get: &mut dyn FnMut(LayerPart) -> Option<Weight>, e| {
            Some(Expert { w1: get(ExpertW1(e))?, w3: get(ExpertW3(e))?, w2: get(ExpertW2(e))? })
        };
        let experts = get(Router).map(|router| ExpertWeights {
            router,
            experts: (0..n_experts as u16).filter_map(|e| expert(&mut get, e)).collect(),
        });
        let feed_forward = get(FfnNorm).map(|norm| FeedForwardWeights { norm, mlp, experts });
        let cross = both(get(QNorm), get(KNorm)).zip(both(get(GateAttn), get(GateFfwd))).map(
            |([q_norm, k_norm], [gate_attn, gate_ffwd])| CrossWeights {
                q_norm,
                k_norm,
                gate_attn,
                gate_ffwd,
            },
        );
        LayerWeights { attention, feed_forward, cross }
    }
}

impl Expert {
    /// Its matrices.
    pub fn matrices(&self) -> [&Weight; 3] {
        [&self.w1, &self.w3, &self.w2]
    }
}

/// All parameters.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Weights {
    pub tok_embeddings: Weight, // [n_embeddings, dim]
    pub layers: Vec<LayerWeights>,
    pub norm: Weight, // [dim]
    /// `[vocab_size, dim]`; `None` where the embedding serves.
    pub output: Option<Weight>,
    /// Of a model that sees images.
    pub vision: Option<VisionWeights>,
}

impl Config {
    /// Parameters, counted once where the output is tied.
    pub fn n_params(&self) -> u64 {
        self.count_params(self.experts.n)
    }

    /// Parameters that a token meets: those of the experts it is routed to, and all others.
    pub fn n_active_params(&self) -> u64 {
        self.count_params(self.experts.n_used)
    }

    fn count_params(&self, n_experts: usize) -> u64 {
        let counts = |part: &Part| match part {
            Part::Layer(_, LayerPart::ExpertW1(e) | LayerPart::ExpertW2(e) | LayerPart::ExpertW3(e)) => {
                (*e as usize) < n_experts
            }
            _ => true,
        };
        let size = |part: Part| self.shape(part).iter().map(|n| *n as u64).product::<u64>();
        self.parts().into_iter().filter(counts).map(size).sum()
    }

    /// Every parameter of the model, in order; a parameter's place in this list is its id.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::TokEmbeddings];
        for layer in 0..self.n_layers {
            parts.extend(self.layer_parts(layer).into_iter().map(|part| Part::Layer(layer, part)));
        }
        parts.push(Part::Norm);
        if !self.tied {
            parts.push(Part::Output);
        }
        parts.extend(self.vision.iter().flat_map(Vision::parts).map(Part::Vision));
        parts
    }

    /// Those of a layer, in order.
    pub(crate) fn layer_parts(&self, layer: usize) -> Vec<LayerPart> {
        use LayerPart::*;
        let has_experts = self.layer_kind(layer).experts;
        let has_mlp = !has_experts || self.experts.routing == Routing::Inputs;
        let LayerSizes { attention, ffn_dim } = self.sizes(layer);
        let mut parts = LayerPart::ALL.to_vec();
        parts.retain(|part| match part {
            AttentionNorm | Wo => attention != Sublayer::Absent,
            Wq | Wk | Wv => matches!(attention, Sublayer::Whole(_)),
            FfnNorm => ffn_dim != Sublayer::Absent,
            W2 => has_mlp && ffn_dim != Sublayer::Absent,
            W1 | W3 => has_mlp && matches!(ffn_dim, Sublayer::Whole(_)),
            _ => true,
        });
        let Biases { qkv, o, ffn } = self.biases;
        let biases = [(qkv, &[BiasQ, BiasK, BiasV][..]), (o, &[BiasO]), (ffn, &[Bias1, Bias3, Bias2])];
        parts.extend(biases.into_iter().filter(|(has, _)| *has).flat_map(|(_, parts)| parts));
        if self.is_cross_layer(layer) {
            parts.extend(LayerPart::CROSS);
        }
        if has_experts {
            parts.push(Router);
            parts.extend((0..self.experts.n as u16).flat_map(|e| [ExpertW1(e), ExpertW3(e), ExpertW2(e)]));
        }
        parts
    }

    /// Rows and columns of a parameter; a vector is one row.
    pub fn shape(&self, part: Part) -> [usize; 2] {
        match part {
            Part::TokEmbeddings => [self.n_embeddings(), self.dim],
            Part::Output => [self.vocab_size, self.dim],
            Part::Vision(part) => self.vision.as_ref().map_or([0, 0], |vision| vision.shape(part, self.dim)),
            Part::Norm => [1, self.dim],
            Part::Layer(layer, part) => self.layer_shape(layer, part),
        }
    }

    fn layer_shape(&self, layer: usize, part: LayerPart) -> [usize; 2] {
        let (LayerSizes { attention, ffn_dim }, heads) = (self.sizes(layer), self.heads(layer));
        let [q_dim, kv_dim] = [heads.n_heads, heads.n_kv_heads].map(|n| n * self.head_dim);
        // A matrix that stands in the place of a block has as many columns as rows.
        let attended = if attention == Sublayer::Linear { self.dim } else { q_dim };
        let ffn_dim = if let Sublayer::Whole(width) = ffn_dim { width } else { self.dim };
        match part {
            LayerPart::AttentionNorm | LayerPart::FfnNorm => [1, self.dim],
            LayerPart::Wq => [q_dim, self.dim],
            LayerPart::Wk | LayerPart::Wv => [kv_dim, self.dim],
            LayerPart::Wo => [self.dim, attended],
            LayerPart::W1 | LayerPart::W3 => [ffn_dim, self.dim],
            LayerPart::W2 => [self.dim, ffn_dim],
            LayerPart::Router => [self.experts.n, self.dim],
            LayerPart::ExpertW1(_) | LayerPart::ExpertW3(_) => [self.experts.ffn_dim, self.dim],
            LayerPart::ExpertW2(_) => [self.dim, self.experts.ffn_dim],
            LayerPart::QNorm | LayerPart::KNorm => [1, self.head_dim],
            LayerPart::GateAttn | LayerPart::GateFfwd => [1, 1],
            LayerPart::BiasQ => [1, q_dim],
            LayerPart::BiasK | LayerPart::BiasV => [1, kv_dim],
            LayerPart::BiasO | LayerPart::Bias2 => [1, self.dim],
            LayerPart::Bias1 | LayerPart::Bias3 => [1, ffn_dim],
        }
    }
}

impl Weights {
    /// Binds every parameter: `bind` is asked for each part in the order of [`Config::parts`].
    pub fn bind<E>(
        config: &Config,
        mut bind: impl FnMut(ParamId, Part, [usize; 2]) -> Result<Weight, E>,
    ) -> Result<Weights, E> {
        let parts = config.parts();
        let mut next = 0;
        let mut get = |part| {
            let id = ParamId(next);
            assert_eq!(parts.get(next), Some(&part), "parameters are bound in order");
            next += 1;
            bind(id, part, config.shape(part))
        };
        let tok_embeddings = get(Part::TokEmbeddings)?;
        let mut layers = Vec::with_capacity(config.n_layers);
        for i in 0..config.n_layers {
            let bound = config.layer_parts(i).into_iter().map(|part| Ok((part, get(Part::Layer(i, part))?)));
            layers.push(LayerWeights::of(bound.collect::<Result<_, E>>()?, config.experts.n));
        }
        let norm = get(Part::Norm)?;
        let output = if config.tied { None } else { Some(get(Part::Output)?) };
        let vision = match &config.vision {
            None => None,
            Some(vision) => Some(VisionWeights::bind(vision, |part| get(Part::Vision(part)))?),
        };
        Ok(Weights { tok_embeddings, layers, norm, output, vision })
    }

    /// All parameters, in the order of [`Config::parts`].
    pub fn all(&self) -> Vec<&Weight> {
        let mut all = vec![&self.tok_embeddings];
        all.extend(self.layers.iter().flat_map(LayerWeights::all));
        all.push(&self.norm);
        all.extend(&self.output);
        all.extend(self.vision.iter().flat_map(VisionWeights::all));
        all
    }

    /// The matrices of linear layers.
    pub fn matrices(&self) -> impl Iterator<Item = &Weight> {
        let layers = self
            .layers
            .iter()
            .flat_map(|w| w.matrices().chain(w.experts().iter().flat_map(Expert::matrices)));
        layers.chain([self.output.as_ref().unwrap_or(&self.tok_embeddings)])
    }

    /// All parameters, to change.
    pub fn all_mut(&mut self) -> Vec<&mut Weight> {
        let mut all = vec![&mut self.tok_embeddings];
        all.extend(self.layers.iter_mut().flat_map(LayerWeights::all_mut));
        all.push(&mut self.norm);
        all.extend(&mut self.output);
        all.extend(self.vision.iter_mut().flat_map(VisionWeights::all_mut));
        all
    }
}

impl Weights {
    /// The bytes that [`Weights::repack`] needs for products with such activations.
    pub fn repack_bytes(&self, activations: Activations) -> usize {
        self.matrices().map(|weight| weight.repack_bytes(activations)).sum()
    }

    /// Bytes of all weights, as they are stored.
    pub fn n_bytes(&self) -> usize {
        self.all().iter().map(|weight| weight.n_bytes()).sum()
    }

    /// Copies matrices into the order in which products read them, as far as the options have memory for
    /// that.
    pub fn repack(&self, cpu: &Cpu, options: &RunOptions) {
        self.matrices().for_each(|weight| weight.repack(cpu, options));
    }

    /// Gives the memory of these copies back.
    pub fn drop_copies(&self, options: &RunOptions) {
        self.matrices().for_each(|weight| weight.drop_copy(options));
    }

    /// The first matrix row that holds an infinity or NaN, in words, if any. It reads all weights, so it is
    /// for explaining bad logits rather than for loading.
    pub fn damaged(&self, config: &Config) -> Option<String> {
        config.parts().into_iter().zip(self.all()).find_map(|(part, weight)| {
            let line = if weight.is_by_columns() { "column" } else { "row" };
            let mut values = vec![0.0; weight.stored_row_len()];
            (0..weight.n_stored_rows()).find_map(|row| {
                weight.decode_stored_row(row, &mut values);
                let damaged = values.iter().find(|x| !x.is_finite())?;
                Some(format!("`{}` holds {damaged} in {line} {row}", part.name(Naming::Meta)))
            })
        })
    }
}
