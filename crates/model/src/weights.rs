//! A model's parameters, bound once at load and checked against the shapes that its configuration asks for.

mod vision;

use puna_tensor::{Activations, Cpu, ParamId, RunOptions, Weight};

use crate::config::{Biases, Config, Vision};
use crate::names::{LayerPart, Naming, Part};

pub use vision::{Linear, TileWeights, VisionLayer, VisionWeights};

/// The parameters of one decoder layer, by the names of Meta's reference code.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LayerWeights {
    pub attention_norm: Weight, // [dim]
    pub wq: Weight,             // [n_heads * head_dim, dim]
    pub wk: Weight,             // [n_kv_heads * head_dim, dim]
    pub wv: Weight,             // [n_kv_heads * head_dim, dim]
    pub wo: Weight,             // [dim, n_heads * head_dim]
    pub ffn_norm: Weight,       // [dim]
    pub w1: Weight,             // [ffn_dim, dim], gate
    pub w3: Weight,             // [ffn_dim, dim], up
    pub w2: Weight,             // [dim, ffn_dim], down
    pub biases: LayerBiases,
    /// The experts that tokens are routed to; w1, w2 and w3 are then those of the expert that all share.
    pub experts: Option<ExpertWeights>,
    /// Of a layer that attends to images.
    pub cross: Option<CrossWeights>,
}

/// What the linear layers of a layer add, each `[rows of its matrix]`; `None` where nothing is added.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct LayerBiases {
    pub q: Option<Weight>,
    pub k: Option<Weight>,
    pub v: Option<Weight>,
    pub o: Option<Weight>,
    pub b1: Option<Weight>,
    pub b3: Option<Weight>,
    pub b2: Option<Weight>,
}

impl LayerBiases {
    fn all(&self) -> impl Iterator<Item = &Weight> {
        [&self.q, &self.k, &self.v, &self.o, &self.b1, &self.b3, &self.b2].into_iter().flatten()
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Weight> {
        let LayerBiases { q, k, v, o, b1, b3, b2 } = self;
        [q, k, v, o, b1, b3, b2].into_iter().flatten()
    }
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
    /// The matrices that every token meets.
    pub fn matrices(&self) -> impl Iterator<Item = &Weight> {
        let router = self.experts.as_ref().map(|experts| &experts.router);
        [&self.wq, &self.wk, &self.wv, &self.wo, &self.w1, &self.w3, &self.w2].into_iter().chain(router)
    }

    /// The routed experts; none in a layer without.
    pub fn experts(&self) -> &[Expert] {
        self.experts.as_ref().map_or(&[], |experts| &experts.experts)
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
            parts.extend(LayerPart::ALL.map(|part| Part::Layer(layer, part)));
            parts.extend(self.bias_parts().map(|part| Part::Layer(layer, part)));
            if self.is_cross_layer(layer) {
                parts.extend(LayerPart::CROSS.map(|part| Part::Layer(layer, part)));
            }
            if self.layer_kind(layer).experts {
                parts.push(Part::Layer(layer, LayerPart::Router));
                for e in 0..self.experts.n as u16 {
                    use LayerPart::{ExpertW1, ExpertW2, ExpertW3};
                    parts
                        .extend([ExpertW1(e), ExpertW3(e), ExpertW2(e)].map(|part| Part::Layer(layer, part)));
                }
            }
        }
        parts.push(Part::Norm);
        if !self.tied {
            parts.push(Part::Output);
        }
        parts.extend(self.vision.iter().flat_map(Vision::parts).map(Part::Vision));
        parts
    }

    /// The biases of each layer.
    fn bias_parts(&self) -> impl Iterator<Item = LayerPart> {
        use LayerPart::*;
        let Biases { qkv, o, ffn } = self.biases;
        let all = [(qkv, &[BiasQ, BiasK, BiasV][..]), (o, &[BiasO]), (ffn, &[Bias1, Bias3, Bias2])];
        all.into_iter().filter(|(has, _)| *has).flat_map(|(_, parts)| parts.iter().copied())
    }

    /// Rows and columns of a parameter; a vector is one row.
    pub fn shape(&self, part: Part) -> [usize; 2] {
        match part {
            Part::TokEmbeddings => [self.n_embeddings(), self.dim],
            Part::Output => [self.vocab_size, self.dim],
            Part::Vision(part) => self.vision.as_ref().map_or([0, 0], |vision| vision.shape(part, self.dim)),
            Part::Norm => [1, self.dim],
            Part::Layer(layer, part) => match part {
                LayerPart::AttentionNorm | LayerPart::FfnNorm => [1, self.dim],
                LayerPart::Wq => [self.q_dim(), self.dim],
                LayerPart::Wk | LayerPart::Wv => [self.kv_dim(), self.dim],
                LayerPart::Wo => [self.dim, self.q_dim()],
                LayerPart::W1 | LayerPart::W3 => [self.layer_ffn_dim(layer), self.dim],
                LayerPart::W2 => [self.dim, self.layer_ffn_dim(layer)],
                LayerPart::Router => [self.experts.n, self.dim],
                LayerPart::ExpertW1(_) | LayerPart::ExpertW3(_) => [self.experts.ffn_dim, self.dim],
                LayerPart::ExpertW2(_) => [self.dim, self.experts.ffn_dim],
                LayerPart::QNorm | LayerPart::KNorm => [1, self.head_dim],
                LayerPart::GateAttn | LayerPart::GateFfwd => [1, 1],
                LayerPart::BiasQ => [1, self.q_dim()],
                LayerPart::BiasK | LayerPart::BiasV => [1, self.kv_dim()],
                LayerPart::BiasO | LayerPart::Bias2 => [1, self.dim],
                LayerPart::Bias1 | LayerPart::Bias3 => [1, self.layer_ffn_dim(layer)],
            },
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
        let layers = (0..config.n_layers)
            .map(|i| {
                let mut get = |part| get(Part::Layer(i, part));
                Ok(LayerWeights {
                    attention_norm: get(LayerPart::AttentionNorm)?,
                    wq: get(LayerPart::Wq)?,
                    wk: get(LayerPart::Wk)?,
                    wv: get(LayerPart::Wv)?,
                    wo: get(LayerPart::Wo)?,
                    ffn_norm: get(LayerPart::FfnNorm)?,
                    w1: get(LayerPart::W1)?,
                    w3: get(LayerPart::W3)?,
                    w2: get(LayerPart::W2)?,
                    biases: {
                        let Biases { qkv, o, ffn } = config.biases;
                        let mut get = |has: bool, part| has.then(|| get(part)).transpose();
                        LayerBiases {
                            q: get(qkv, LayerPart::BiasQ)?,
                            k: get(qkv, LayerPart::BiasK)?,
                            v: get(qkv, LayerPart::BiasV)?,
                            o: get(o, LayerPart::BiasO)?,
                            b1: get(ffn, LayerPart::Bias1)?,
                            b3: get(ffn, LayerPart::Bias3)?,
                            b2: get(ffn, LayerPart::Bias2)?,
                        }
                    },
                    cross: match config.is_cross_layer(i) {
                        false => None,
                        true => Some(CrossWeights {
                            q_norm: get(LayerPart::QNorm)?,
                            k_norm: get(LayerPart::KNorm)?,
                            gate_attn: get(LayerPart::GateAttn)?,
                            gate_ffwd: get(LayerPart::GateFfwd)?,
                        }),
                    },
                    experts: match config.layer_kind(i).experts {
                        false => None,
                        true => Some(ExpertWeights {
                            router: get(LayerPart::Router)?,
                            experts: (0..config.experts.n as u16)
                                .map(|e| {
                                    Ok(Expert {
                                        w1: get(LayerPart::ExpertW1(e))?,
                                        w3: get(LayerPart::ExpertW3(e))?,
                                        w2: get(LayerPart::ExpertW2(e))?,
                                    })
                                })
                                .collect::<Result<_, E>>()?,
                        }),
                    },
                })
            })
            .collect::<Result<_, E>>()?;
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
        for w in &self.layers {
            all.extend([&w.attention_norm, &w.wq, &w.wk, &w.wv, &w.wo, &w.ffn_norm, &w.w1, &w.w3, &w.w2]);
            all.extend(w.biases.all());
            all.extend(w.cross.iter().flat_map(CrossWeights::all));
            if let Some(ExpertWeights { router, experts }) = &w.experts {
                all.push(router);
                all.extend(experts.iter().flat_map(Expert::matrices));
            }
        }
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
        for w in &mut self.layers {
            all.extend([&mut w.attention_norm, &mut w.wq, &mut w.wk, &mut w.wv, &mut w.wo]);
            all.extend([&mut w.ffn_norm, &mut w.w1, &mut w.w3, &mut w.w2]);
            all.extend(w.biases.all_mut());
            if let Some(w) = &mut w.cross {
                all.extend([&mut w.q_norm, &mut w.k_norm, &mut w.gate_attn, &mut w.gate_ffwd]);
            }
            if let Some(ExpertWeights { router, experts }) = &mut w.experts {
                all.push(router);
                all.extend(
                    experts.iter_mut().flat_map(|expert| [&mut expert.w1, &mut expert.w3, &mut expert.w2]),
                );
            }
        }
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

    /// Copies matrices into the order in which products read them, as far as the options have memory for
    /// that.
    pub fn repack(&self, cpu: &Cpu, options: &RunOptions) {
        self.matrices().for_each(|weight| weight.repack(cpu, options));
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
