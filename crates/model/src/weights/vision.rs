//! The parameters of a vision encoder.

use puna_tensor::Weight;

use crate::config::{Tower, Vision};
use crate::names::{Affine, Edge, Stage, VisionLayerPart, VisionPart};

/// What an input is multiplied with, and what is added: a LayerNorm's, or a linear layer's whose bias may be
/// missing.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Linear {
    pub weight: Weight,
    pub bias: Option<Weight>,
}

/// A layer of the encoder.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct VisionLayer {
    pub norm1: [Weight; 2], // [dim] each: weight and bias
    pub wq: Linear,         // [dim, dim]
    pub wk: Linear,
    pub wv: Linear,
    pub wo: Linear,
    pub norm2: [Weight; 2],
    pub fc1: Linear, // [ffn_dim, dim]
    pub fc2: Linear, // [dim, ffn_dim]
    /// How much of attention and of the feed-forward block is added, in the gated stage.
    pub gates: Option<[Weight; 2]>,
}

/// What is added to the patches of a tile because of its place in the image.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TileWeights {
    pub positions_gate: Weight, // [1]
    pub positions: Weight,      // [entries * tile_rows, dim]
    pub pre: [Weight; 2],       // [entries, dim] and its gate
    pub post: [Weight; 2],      // likewise
    pub global: Vec<VisionLayer>,
}

/// All parameters of the part that sees images.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct VisionWeights {
    pub patch_embedding: Weight, // [dim, 3 * patch * patch]
    pub class_embedding: Weight, // [dim]
    pub positions: Weight,       // [tile_rows, dim]
    pub norm_pre: [Weight; 2],
    pub norm_post: [Weight; 2],
    pub layers: Vec<VisionLayer>,
    /// Of tiles that see each other.
    pub tiles: Option<TileWeights>,
    /// Of tiles by themselves.
    pub adapter: Option<[Weight; 2]>,
    pub projection: Linear, // [decoder's dim, feature_dim]
}

const BOTH: [Affine; 2] = [Affine::Weight, Affine::Bias];

/// The parameters of a layer, in order.
fn layer_parts(stage: Stage, layer: usize, biases: bool) -> Vec<VisionPart> {
    use VisionLayerPart::*;
    let linear = |part: fn(Affine) -> VisionLayerPart, bias: bool| {
        BOTH.into_iter().take(if bias { 2 } else { 1 }).map(part).collect::<Vec<_>>()
    };
    let mut parts = linear(Norm1, true);
    [Wq, Wk, Wv, Wo].into_iter().for_each(|part| parts.extend(linear(part, biases)));
    [Norm2, Fc1, Fc2].into_iter().for_each(|part| parts.extend(linear(part, true)));
    if stage == Stage::Global {
        parts.extend([GateAttn, GateFfn]);
    }
    parts.into_iter().map(|part| VisionPart::Layer(stage, layer, part)).collect()
}

impl Vision {
    /// Every parameter, in order.
    pub(crate) fn parts(&self) -> Vec<VisionPart> {
        use VisionPart::*;
        let norm = |edge| BOTH.map(|affine| Norm(edge, affine));
        let layers = |stage, n: usize, biases| (0..n).flat_map(move |i| layer_parts(stage, i, biases));
        let mut parts = vec![PatchEmbedding, ClassEmbedding, Positions];
        parts.extend(norm(Edge::Pre).into_iter().chain(norm(Edge::Post)));
        match &self.tower {
            Tower::CrossAttention(tower) => {
                parts.extend(layers(Stage::Local, self.n_layers, false));
                parts.extend([PositionsGate, TilePositions]);
                for edge in [Edge::Pre, Edge::Post] {
                    parts.extend([TileEmbedding(edge), TileEmbeddingGate(edge)]);
                }
                parts.extend(layers(Stage::Global, tower.n_global_layers, false));
                parts.extend(BOTH.map(Projection));
            }
            Tower::EarlyFusion(_) => {
                parts.extend(layers(Stage::Local, self.n_layers, true));
                parts.extend([Adapter1, Adapter2, Projection(Affine::Weight)]);
            }
        }
        parts
    }
}

impl Linear {
    fn bind<P, E>(
        part: impl Fn(Affine) -> P,
        bias: bool,
        get: &mut impl FnMut(P) -> Result<Weight, E>,
    ) -> Result<Linear, E> {
        let weight = get(part(Affine::Weight))?;
        Ok(Linear { weight, bias: if bias { Some(get(part(Affine::Bias))?) } else { None } })
    }
}

impl VisionLayer {
    fn bind<E>(
        stage: Stage,
        layer: usize,
        biases: bool,
        get: &mut impl FnMut(VisionPart) -> Result<Weight, E>,
    ) -> Result<VisionLayer, E> {
        use VisionLayerPart::*;
        let mut get = |part| get(VisionPart::Layer(stage, layer, part));
        let get = &mut get;
        let norm1 = [get(Norm1(Affine::Weight))?, get(Norm1(Affine::Bias))?];
        let [wq, wk] = [Linear::bind(Wq, biases, get)?, Linear::bind(Wk, biases, get)?];
        let [wv, wo] = [Linear::bind(Wv, biases, get)?, Linear::bind(Wo, biases, get)?];
        let norm2 = [get(Norm2(Affine::Weight))?, get(Norm2(Affine::Bias))?];
        let [fc1, fc2] = [Linear::bind(Fc1, true, get)?, Linear::bind(Fc2, true, get)?];
        let gates = if stage == Stage::Global { Some([get(GateAttn)?, get(GateFfn)?]) } else { None };
        Ok(VisionLayer { norm1, wq, wk, wv, wo, norm2, fc1, fc2, gates })
    }

    fn all(&self) -> Vec<&Weight> {
        let mut all: Vec<&Weight> = self.norm1.iter().collect();
        for linear in [&self.wq, &self.wk, &self.wv, &self.wo] {
            all.extend([Some(&linear.weight), linear.bias.as_ref()].into_iter().flatten());
        }
        all.extend(&self.norm2);
        for linear in [&self.fc1, &self.fc2] {
            all.extend([Some(&linear.weight), linear.bias.as_ref()].into_iter().flatten());
        }
        all.extend(self.gates.iter().flatten());
        all
    }

    fn all_mut(&mut self) -> Vec<&mut Weight> {
        let mut all: Vec<&mut Weight> = self.norm1.iter_mut().collect();
        for linear in [&mut self.wq, &mut self.wk, &mut self.wv, &mut self.wo] {
            all.extend([Some(&mut linear.weight), linear.bias.as_mut()].into_iter().flatten());
        }
        all.extend(&mut self.norm2);
        for linear in [&mut self.fc1, &mut self.fc2] {
            all.extend([Some(&mut linear.weight), linear.bias.as_mut()].into_iter().flatten());
        }
        all.extend(self.gates.iter_mut().flatten());
        all
    }

    /// Its matrices.
    pub fn matrices(&self) -> [&Weight; 6] {
        [&self.wq, &self.wk, &self.wv, &self.wo, &self.fc1, &self.fc2].map(|linear| &linear.weight)
    }
}

impl VisionWeights {
    /// Binds every parameter, in order.
    pub(super) fn bind<E>(
        vision: &Vision,
        mut get: impl FnMut(VisionPart) -> Result<Weight, E>,
    ) -> Result<VisionWeights, E> {
        use VisionPart::*;
        let patch_embedding = get(PatchEmbedding)?;
        let class_embedding = get(ClassEmbedding)?;
        let positions = get(Positions)?;
        let mut norm = |edge| Ok::<_, E>([get(Norm(edge, Affine::Weight))?, get(Norm(edge, Affine::Bias))?]);
        let [norm_pre, norm_post] = [norm(Edge::Pre)?, norm(Edge::Post)?];
        let biases = matches!(vision.tower, Tower::EarlyFusion(_));
        let layers = |stage, n: usize, get: &mut dyn FnMut(VisionPart) -> Result<Weight, E>| {
            (0..n)
                .map(|i| VisionLayer::bind(stage, i, biases, &mut |part| get(part)))
                .collect::<Result<_, _>>()
        };
        let local = layers(Stage::Local, vision.n_layers, &mut get)?;
        let (mut tiles, mut adapter) = (None, None);
        match &vision.tower {
            Tower::CrossAttention(tower) => {
                tiles = Some(TileWeights {
                    positions_gate: get(PositionsGate)?,
                    positions: get(TilePositions)?,
                    pre: [get(TileEmbedding(Edge::Pre))?, get(TileEmbeddingGate(Edge::Pre))?],
                    post: [get(TileEmbedding(Edge::Post))?, get(TileEmbeddingGate(Edge::Post))?],
                    global: layers(Stage::Global, tower.n_global_layers, &mut get)?,
                });
            }
            Tower::EarlyFusion(_) => adapter = Some([get(Adapter1)?, get(Adapter2)?]),
        }
        let projection = Linear::bind(Projection, tiles.is_some(), &mut get)?;
        Ok(VisionWeights {
            patch_embedding,
            class_embedding,
            positions,
            norm_pre,
            norm_post,
            layers: local,
            tiles,
            adapter,
            projection,
        })
    }

    /// All parameters, in order.
    pub fn all(&self) -> Vec<&Weight> {
        let mut all = vec![&self.patch_embedding, &self.class_embedding, &self.positions];
        all.extend(self.norm_pre.iter().chain(&self.norm_post));
        all.extend(self.layers.iter().flat_map(VisionLayer::all));
        if let Some(tiles) = &self.tiles {
            all.extend([&tiles.positions_gate, &tiles.positions]);
            all.extend(tiles.pre.iter().chain(&tiles.post));
            all.extend(tiles.global.iter().flat_map(VisionLayer::all));
        }
        all.extend(self.adapter.iter().flatten());
        all.push(&self.projection.weight);
        all.extend(&self.projection.bias);
        all
    }

    /// All parameters, to change.
    pub fn all_mut(&mut self) -> Vec<&mut Weight> {
        let mut all = vec![&mut self.patch_embedding, &mut self.class_embedding, &mut self.positions];
        all.extend(self.norm_pre.iter_mut().chain(&mut self.norm_post));
        all.extend(self.layers.iter_mut().flat_map(VisionLayer::all_mut));
        if let Some(tiles) = &mut self.tiles {
            all.extend([&mut tiles.positions_gate, &mut tiles.positions]);
            all.extend(tiles.pre.iter_mut().chain(&mut tiles.post));
            all.extend(tiles.global.iter_mut().flat_map(VisionLayer::all_mut));
        }
        all.extend(self.adapter.iter_mut().flatten());
        all.push(&mut self.projection.weight);
        all.extend(&mut self.projection.bias);
        all
    }
}
