//! The decoder: one forward pass for running, training and evaluating every generation.
//!
//! The equations are those of Meta's reference `model.py` (llama-models), in f32: x + attention(norm(x)),
//! then x + feed_forward(norm(x)), per layer; RMSNorm and the output matrix at the end.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use puna_formats::{MappedFile, SpillFile};
use puna_tensor::{
    AttentionShape, AttentionSpan, Cpu, DType, Gate, Graph, KeyValues, KvLayout, Queries, RopeTable, Sees,
    Var, Weight, Workspace,
};

use crate::config::{Heads, Routing};
use crate::error::ModelError;
use crate::image_attention::{SeenImages, attend_to_images, see_images, store_images};
use crate::input::{CachedSequence, Input, PlacedImage, Sequences};
use crate::kv_cache::{KvCache, VisibleKeys};
use crate::rope::inv_freq;
use crate::weights::{
    CrossWeights, ExpertWeights, FeedForwardWeights, GatedWeights, LayerWeights, QkvWeights,
};
use crate::{Config, Weights};

/// A Llama: immutable while it runs, shared by all its sequences.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its sizes and constants.
    pub config: Config,
    /// Its parameters.
    pub weights: Weights,
    /// The files that they are views of.
    files: Vec<MappedFile>,
}

/// A point of the forward pass that an observer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The embedded tokens.
    Embedded,
    /// The output of a decoder layer; of the last one, the rows whose logits are wanted.
    Layer(usize),
    /// The output of the last norm, of the rows whose logits are wanted.
    FinalNorm,
}

/// Sees intermediate values of a pass.
pub type Observer<'a> = &'a mut dyn FnMut(Point, &Var);

/// What a layer needs besides its weights and input.
pub(crate) struct At<'a, 'b> {
    rope: Arc<RopeTable>,
    /// What queries of layers without rotation are multiplied with, by token.
    temperature: Option<Vec<f32>>,
    pub sequences: Sequences<'a, 'b>,
    /// What layers that attend to images need; `None` if no token sees one.
    images: Option<SeenImages>,
}

impl<'a, 'b> At<'a, 'b> {
    /// Of a plain model's layers, and tokens that see no images.
    pub fn text(model: &Model, sequences: Sequences<'a, 'b>) -> At<'a, 'b> {
        let rope = Arc::new(model.rope_table(sequences.positions()));
        At { rope, temperature: None, sequences, images: None }
    }
}

/// The part of a pass that one machine of a pipeline computes. [`Model::hidden`] runs all layers as one
/// stage.
pub struct Stage {
    /// The layers.
    pub layers: Range<usize>,
    /// What the layers before made of the tokens, `[tokens, dim]`; `None` where the stage begins with the
    /// tokens.
    pub hidden: Option<Var>,
}

impl Model {
    /// A model of these parameters, which are in memory of our own.
    pub fn new(config: Config, weights: Weights) -> Model {
        Model { config, weights, files: Vec::new() }
    }

    /// The model, some of whose parameters are views of these files.
    pub(crate) fn of_files(self, files: Vec<MappedFile>) -> Model {
        Model { files, ..self }
    }

    /// The files that parameters are views of.
    pub fn files(&self) -> &[MappedFile] {
        &self.files
    }

    /// An error if a file has lost bytes, so that what was computed with them is worth nothing.
    pub(crate) fn check_files(&self) -> Result<(), ModelError> {
        Ok(self.files.iter().try_for_each(MappedFile::check)?)
    }

    /// The logits `[rows, vocab_size]` of the tokens, or of those at `wanted` (indices into `tokens`):
    /// [`Model::hidden`], then [`Model::logits`].
    ///
    /// A token's logits have the same bits whole, cached in any chunks, and beside any other sequences (with
    /// a cache in f32), except under dynamic rope scaling, which by definition looks at how long the sequence
    /// is in this pass.
    ///
    /// Caches grow by the new tokens. Fails if a file of the model became shorter, and without changing
    /// anything if a token is outside the vocabulary, the counts disagree, a sequence would grow beyond the
    /// model's context, or there is no room for its keys and values.
    pub fn forward<'m, 'i>(
        &'m self,
        graph: &mut Graph<'m>,
        input: impl Into<Input<'i>>,
        sequences: Sequences,
        wanted: Option<&[usize]>,
        observer: Option<Observer>,
    ) -> Result<Var, ModelError> {
        let hidden = self.hidden(graph, input, sequences, wanted, observer)?;
        let logits = self.logits(graph, &hidden);
        self.check_files()?;
        Ok(logits)
    }

    /// The hidden states `[rows, dim]` of the tokens, or of those at `wanted`, after the last norm: what
    /// [`Model::logits`] are made of, and what texts are compared by. Conditions and failures are those of
    /// [`Model::forward`].
    pub fn hidden<'m, 'i>(
        &'m self,
        graph: &mut Graph<'m>,
        input: impl Into<Input<'i>>,
        sequences: Sequences,
        wanted: Option<&[usize]>,
        mut observer: Option<Observer>,
    ) -> Result<Var, ModelError> {
        let all = Stage { layers: 0..self.config.n_layers, hidden: None };
        // Reborrowed for the time that the layers take.
        let of_layers: Option<Observer> = match &mut observer {
            Some(observer) => Some(&mut **observer),
            None => None,
        };
        let x = self.run_layers(graph, all, input, sequences, wanted, of_layers)?;
        let x = graph.rms_norm(&x, &self.weights.norm, self.config.norm_eps);
        if let Some(observer) = observer {
            observer(Point::FinalNorm, &x);
        }
        Ok(x)
    }

    /// The logits `[rows, vocab_size]` of hidden states `[rows, dim]`.
    pub fn logits<'m>(&'m self, graph: &mut Graph<'m>, hidden: &Var) -> Var {
        graph.linear(hidden, self.weights.output.as_ref().unwrap_or(&self.weights.tok_embeddings))
    }

    /// The cross-entropy of whole sequences against the `targets` of their tokens, summed over those that have one and
    /// multiplied by `scale` (1 / their number for the mean), as a value to go back from; and each token's own in nats, 0
    /// without a target. The logits of all tokens never exist at once ([`Graph::linear_cross_entropy`]), nor, where an
    /// eighth or more of the tokens have no target, those of these.
    ///
    /// Conditions and failures are those of [`Model::forward`]; also fails unless there is a target of the vocabulary,
    /// or none, for each token.
    pub fn loss<'m, 'i>(
        &'m self,
        graph: &mut Graph<'m>,
        input: impl Into<Input<'i>>,
        sequences: Sequences,
        targets: &[Option<u32>],
        scale: f32,
    ) -> Result<(Var, Vec<f64>), ModelError> {
        let input = input.into();
        let output = self.weights.output.as_ref().unwrap_or(&self.weights.tok_embeddings);
        if targets.len() != input.tokens.len() {
            let (n_targets, n_tokens) = (targets.len(), input.tokens.len());
            return Err(ModelError::Input(format!("{n_targets} targets for {n_tokens} tokens")));
        }
        if let Some(target) = targets.iter().flatten().find(|target| **target as usize >= output.rows()) {
            let vocab_size = output.rows();
            return Err(ModelError::Input(format!(
                "target {target}: the vocabulary has {vocab_size} tokens"
            )));
        }
        let rows: Vec<usize> = (0..targets.len()).filter(|row| targets[*row].is_some()).collect();
        if 8 * rows.len() > 7 * targets.len() || rows.is_empty() {
            let hidden = self.hidden(graph, input, sequences, None, None)?;
            return Ok(graph.linear_cross_entropy(&hidden, output, targets, scale));
        }
        let hidden = self.hidden(graph, input, sequences, Some(&rows), None)?;
        let wanted: Vec<_> = rows.iter().map(|row| targets[*row]).collect();
        let (loss, of_rows) = graph.linear_cross_entropy(&hidden, output, &wanted, scale);
        let mut losses = vec![0.0; targets.len()];
        rows.into_iter().zip(of_rows).for_each(|(row, loss)| losses[row] = loss);
        Ok((loss, losses))
    }

    /// Some of the decoder's layers: the residual stream `[tokens, dim]` after them; where the last layer is
    /// among them, that of the `wanted` tokens alone. Stages one after the other have the bits of a whole
    /// pass. Each has caches of its own ([`Model::new_cache_of`]) and is given the same tokens and images.
    /// Conditions and failures are those of [`Model::forward`].
    pub fn run_layers<'m, 'i>(
        &'m self,
        graph: &mut Graph<'m>,
        Stage { layers, hidden }: Stage,
        input: impl Into<Input<'i>>,
        mut sequences: Sequences,
        wanted: Option<&[usize]>,
        mut observer: Option<Observer>,
    ) -> Result<Var, ModelError> {
        let config = &self.config;
        let input = input.into();
        let Input { tokens, images } = input;
        config.check_tokens(tokens, &sequences, wanted, &layers)?;
        config.check_images(tokens, images)?;
        config.check_stage(&layers, hidden.as_ref().map(|x| [x.rows(), x.cols()]), tokens.len())?;
        if !config.causal && matches!(sequences, Sequences::Cached(_)) {
            return Err(ModelError::Input(
                "this model's tokens attend to later ones: it makes vectors of whole texts, and continues none".into(),
            ));
        }
        if graph.is_training() && matches!(sequences, Sequences::Cached(_)) {
            return Err(ModelError::Input(
                "cached attention has no gradient; train on whole sequences".into(),
            ));
        }
        sequences.reserve(config, images)?;
        let mut observe = |point, x: &Var| {
            if let Some(observer) = &mut observer {
                observer(point, x);
            }
        };
        let positions = sequences.positions();
        let temperature = config.attention_temperature.map(|temperature| {
            positions.iter().cloned().flatten().map(|position| temperature.factor(position)).collect()
        });
        let images = match config.cross_layers.is_empty() {
            true => None,
            false => see_images(graph, &sequences, images),
        };
        let mut x = match hidden {
            Some(x) => x,
            None => {
                let x = self.embed(graph, input); // [tokens, dim]
                observe(Point::Embedded, &x);
                x
            }
        };
        let mut at = At { rope: Arc::new(self.rope_table(positions)), temperature, sequences, images };
        for i in layers {
            // After the last layer's attention nothing depends on tokens whose logits nobody wants.
            let wanted = wanted.filter(|_| i + 1 == config.n_layers);
            x = match &at.sequences {
                Sequences::Whole(sequences) if graph.is_recomputing() && at.images.is_none() => {
                    self.recomputed_layer(graph, x, i, &at, sequences, wanted)
                }
                _ => self.layer(graph, x, i, &self.weights.layers[i], &mut at, wanted), // at last [rows, dim]
            };
            observe(Point::Layer(i), &x);
        }
        self.check_files()?;
        at.sequences.advance();
        Ok(x)
    }

    /// [`Model::layer`] of whole sequences, which is run again when its gradient is wanted.
    fn recomputed_layer<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        x: Var,
        layer: usize,
        at: &At,
        sequences: &[Range<usize>],
        wanted: Option<&[usize]>,
    ) -> Var {
        let (rope, temperature) = (at.rope.clone(), at.temperature.clone());
        let (sequences, wanted) = (sequences.to_vec(), wanted.map(<[usize]>::to_vec));
        let weights: Vec<_> = self.weights.layers[layer].all().collect();
        graph.recomputed(x, &weights, move |graph, x| {
            let (rope, temperature) = (rope.clone(), temperature.clone());
            let mut at = At { rope, temperature, sequences: Sequences::Whole(&sequences), images: None };
            self.layer(graph, x, layer, &self.weights.layers[layer], &mut at, wanted.as_deref())
        })
    }

    /// The embedded tokens, `[tokens, dim]`, with the vectors of images in their places where they are fused
    /// early.
    fn embed<'m>(&'m self, graph: &mut Graph<'m>, Input { tokens, images }: Input) -> Var {
        let mut x = graph.embed(tokens, &self.weights.tok_embeddings);
        if self.config.cross_layers.is_empty() {
            for image in images {
                let rows: Vec<usize> = (image.first..image.first + image.tokens.len()).collect();
                let vectors = graph.take_rows(&image.vectors, &rows);
                x = graph.replace_rows(x, &vectors, &image.tokens);
            }
        }
        x
    }

    /// One decoder layer: a pre-norm residual block. The two sums are where a split model adds up its parts.
    /// With `wanted`, only those rows of the result are computed.
    fn layer<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        mut x: Var,
        layer: usize,
        w: &'m LayerWeights,
        at: &mut At,
        wanted: Option<&[usize]>,
    ) -> Var {
        if let Some(cross) = &w.cross {
            x = self.cross_layer(graph, x, layer, w, cross, at);
            return wanted.map_or(x.clone(), |wanted| graph.take_rows(&x, wanted));
        }
        let h = w.attention.as_ref().map(|w| {
            let h = graph.rms_norm(&x, &w.norm, self.config.norm_eps);
            match &w.qkv {
                Some(qkv) => self.attention(graph, &h, layer, qkv, at),
                None => h,
            }
        });
        let h = match wanted {
            None => h,
            Some(wanted) => {
                x = graph.take_rows(&x, wanted);
                h.map(|h| graph.take_rows(&h, wanted))
            }
        };
        if let (Some(h), Some(w)) = (h, &w.attention) {
            x = graph.add_linear(x, &h, &w.wo); // [rows, dim]
            x = with_bias(graph, x, &w.bias);
        }
        match &w.feed_forward {
            Some(w) => self.feed_forward(graph, x, w),
            None => x,
        }
    }

    /// The second half of a layer: what every token meets, and the experts that it is routed to.
    pub(crate) fn feed_forward<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        mut x: Var,
        w: &'m FeedForwardWeights,
    ) -> Var {
        let h = graph.rms_norm(&x, &w.norm, self.config.norm_eps);
        if let Some(mlp) = &w.mlp {
            let z = match &mlp.gated {
                Some(gated) => self.gated(graph, &h, gated), // [rows, ffn_dim]
                None => h.clone(),
            };
            x = graph.add_linear(x, &z, &mlp.w2);
            x = with_bias(graph, x, &mlp.bias);
        }
        match &w.experts {
            Some(experts) => self.add_experts(graph, x, &h, experts),
            None => x,
        }
    }

    /// silu(w1 h) times w3 h, `[rows, ffn_dim]`.
    fn gated<'m>(&'m self, graph: &mut Graph<'m>, h: &Var, w: &'m GatedWeights) -> Var {
        match (&w.bias_1, &w.bias_3) {
            (None, None) => graph.gated(h, &w.w1, &w.w3),
            (b1, b3) => {
                let [gate, up] = graph.linears(h, [&w.w1, &w.w3]);
                let (gate, up) = (with_bias(graph, gate, b1), with_bias(graph, up, b3));
                graph.swiglu(&gate, &up)
            }
        }
    }

    /// A layer that attends to images, of those tokens that see one; the others pass it as they are.
    fn cross_layer<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        x: Var,
        layer: usize,
        w: &'m LayerWeights,
        cross: &'m CrossWeights,
        at: &mut At,
    ) -> Var {
        let Some(images) = &at.images else { return x };
        let (Some(attention), Some(qkv)) = (&w.attention, w.qkv()) else {
            unreachable!("it attends to images")
        };
        let eps = self.config.norm_eps;
        let shape = self.attention_shape(layer);
        let new = images.vectors.as_ref().map(|vectors| {
            let [k, v] = graph.linears(vectors, [&qkv.wk, &qkv.wv]); // [vectors, n_kv_heads * head_dim]
            [graph.rms_norm(&k, &cross.k_norm, eps), v] // of each head
        });
        if let (Some([k, v]), Sequences::Cached(cached)) = (&new, &mut at.sequences) {
            store_images(graph, cached, layer, images, [k, v]);
        }
        let all_see = images.rows.len() == x.rows();
        let mut own = if all_see { x.clone() } else { graph.take_rows(&x, &images.rows) };
        let h = graph.rms_norm(&own, &attention.norm, eps);
        let q = graph.linear(&h, &qkv.wq);
        let q = graph.rms_norm(&q, &cross.q_norm, eps);
        let o = match (&at.sequences, new) {
            (Sequences::Whole(_), Some([k, v])) => graph.attention([q, k, v], shape, &images.spans),
            (Sequences::Cached(cached), _) => attend_to_images(graph, cached, layer, &q, shape),
            (Sequences::Whole(_), None) => unreachable!("without a cache all images are new"),
        };
        let y = graph.linear(&o, &attention.wo);
        own = graph.add_gated(own, &y, Gate::Tanh(&cross.gate_attn));
        if let (Some(w), Some(mlp)) = (&w.feed_forward, w.mlp()) {
            let h = graph.rms_norm(&own, &w.norm, eps);
            let z = mlp.gated.as_ref().map_or(h.clone(), |gated| self.gated(graph, &h, gated));
            let y = graph.linear(&z, &mlp.w2);
            own = graph.add_gated(own, &y, Gate::Tanh(&cross.gate_ffwd));
        }
        if all_see { own } else { graph.replace_rows(x, &own, &images.rows) }
    }

    /// Adds to each row of `x` what its experts make of the row of `h`: those of the highest scores, which
    /// count as [`Routing`] says. Only experts that are chosen are read.
    fn add_experts<'m>(&'m self, graph: &mut Graph<'m>, mut x: Var, h: &Var, w: &'m ExpertWeights) -> Var {
        let scores = graph.linear(h, &w.router); // [rows, n_experts]
        let rows = graph.route(&scores, self.config.experts.n_used);
        let weights = match self.config.experts.routing {
            Routing::Inputs => None,
            Routing::Outputs => Some(graph.chosen_softmax(&scores, &rows)),
        };
        for (e, (expert, rows)) in w.experts.iter().zip(&rows).enumerate().filter(|(_, (_, r))| !r.is_empty())
        {
            let h = match weights {
                None => graph.scored_rows(h, &scores, e, rows),
                Some(_) => graph.take_rows(h, rows),
            };
            let z = graph.gated(&h, &expert.w1, &expert.w3);
            let mut y = graph.linear(&z, &expert.w2);
            if let Some(weights) = &weights {
                y = graph.weighted_rows(y, weights, e, rows);
            }
            x = graph.add_rows(x, &y, rows);
        }
        x
    }

    /// What the heads attend to, side by side: `[tokens, n_heads * head_dim]`, before `wo`.
    pub(crate) fn attention<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        h: &Var,
        layer: usize,
        w: &'m QkvWeights,
        at: &mut At,
    ) -> Var {
        let Config { head_dim, rope_layout, .. } = self.config;
        let shape = self.attention_shape(layer);
        let AttentionShape { n_heads, n_kv_heads, .. } = shape;
        let [q, k, v] = graph.linears(h, [&w.wq, &w.wk, &w.wv]); // [tokens, heads * head_dim]
        let kind = self.config.layer_kind(layer);
        let v = with_bias(graph, v, &w.bias_v);
        let (mut q, mut k) = (with_bias(graph, q, &w.bias_q), with_bias(graph, k, &w.bias_k));
        if !kind.no_rope {
            q = graph.rope(q, n_heads, &at.rope, rope_layout);
            k = graph.rope(k, n_kv_heads, &at.rope, rope_layout);
            if self.config.qk_norm {
                [q, k] = [q, k].map(|x| graph.rms_norm_parts(&x, head_dim, self.config.norm_eps));
            }
        } else if let Some(factors) = &at.temperature {
            q = graph.scale_rows(q, factors);
        }
        match &mut at.sequences {
            Sequences::Whole(sequences) => {
                let chunk = self.config.attention_chunk.filter(|_| kind.chunked).unwrap_or(usize::MAX);
                let window = self.config.sliding_window;
                let parts = |rows: &Range<usize>| {
                    let Range { start, end } = *rows;
                    let starts = (start..end).step_by(chunk);
                    starts.map(move |start| {
                        let rows = start..end.min(start.saturating_add(chunk));
                        window.map_or_else(
                            || AttentionSpan::causal(rows.clone()),
                            |n| AttentionSpan::window(rows.clone(), n),
                        )
                    })
                };
                let spans: Vec<_> = match self.config.causal {
                    true => sequences.iter().flat_map(parts).collect(),
                    false => {
                        sequences.iter().map(|rows| AttentionSpan::all(rows.clone(), rows.clone())).collect()
                    }
                };
                graph.attention([q, k, v], shape, &spans)
            }
            Sequences::Cached(cached) => {
                store(graph, cached, layer, &k, &v);
                attend(graph, cached, layer, &q, shape, self.config.sliding_window)
            }
        }
    }

    fn attention_shape(&self, layer: usize) -> AttentionShape {
        let (head_dim, Heads { n_heads, n_kv_heads }) = (self.config.head_dim, self.config.heads(layer));
        AttentionShape { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
    }

    fn rope_table(&self, spans: Vec<Range<usize>>) -> RopeTable {
        let Config { rope_theta, ref rope_scaling, .. } = self.config;
        let rotary_dim = self.config.rotary_dim();
        let factor = rope_scaling.attention_factor();
        if !rope_scaling.is_dynamic() {
            let freqs = inv_freq(rotary_dim, rope_theta, rope_scaling, 0);
            return RopeTable::new(spans.into_iter().flatten().map(|p| (p, freqs.as_slice()))).times(factor);
        }
        // Each sequence has frequencies of its own, after its length.
        let freqs: Vec<_> =
            spans.iter().map(|span| inv_freq(rotary_dim, rope_theta, rope_scaling, span.end)).collect();
        let both = spans.into_iter().zip(&freqs);
        RopeTable::new(both.flat_map(|(span, freqs)| span.map(move |p| (p, freqs.as_slice())))).times(factor)
    }

    /// Reserves what a sequence's cache needs for its part `own` of the tokens of a pass with these images,
    /// so that the pass cannot fail for want of room: see [`KvCache::reserve`].
    pub fn reserve(
        &self,
        cache: &mut KvCache,
        own: Range<usize>,
        images: &[PlacedImage],
    ) -> Result<(), ModelError> {
        self.config.reserve(cache, own, images)
    }

    /// The blocks that [`Model::reserve`] would take of the pool.
    pub fn blocks_needed(&self, cache: &KvCache, own: Range<usize>, images: &[PlacedImage]) -> usize {
        cache.blocks_needed(own.len(), &self.config.image_keys(&own, images))
    }

    /// How this model's cache is laid out if its entries are stored as `dtype`; of layers that differ, those of
    /// the most heads.
    pub fn kv_layout(&self, dtype: DType) -> KvLayout {
        KvLayout::new(dtype, self.config.n_kv_heads, self.config.head_dim)
    }

    /// An empty cache for a sequence.
    pub fn new_cache(&self, dtype: DType) -> KvCache {
        self.new_cache_of(dtype, 0..self.config.n_layers)
    }

    /// An empty cache for a sequence in a [`Stage`] of these layers.
    pub fn new_cache_of(&self, dtype: DType, layers: Range<usize>) -> KvCache {
        let layout = |layer| KvLayout::new(dtype, self.config.heads(layer).n_kv_heads, self.config.head_dim);
        let attention = self.config.layer_attention().enumerate().skip(layers.start).take(layers.len());
        let of_layers = attention.map(|(layer, attention)| (attention, layout(layer)));
        KvCache::of_layouts(self.kv_layout(dtype), of_layers).starting_at_layer(layers.start)
    }

    /// A temporary file in `folder` for the keys and values of layers that see all positions, for caches
    /// [`spilled_to`](KvCache::spilled_to) it; `None` if no layer does. Fails if the folder cannot be
    /// written.
    pub fn spill_file(&self, dtype: DType, folder: &Path) -> Result<Option<SpillFile>, ModelError> {
        let piece_bytes = self.new_cache(dtype).spilled_bytes();
        Ok((piece_bytes > 0).then(|| SpillFile::create(folder, piece_bytes)).transpose()?)
    }

    /// The logits of every token of one sequence, without a cache: `[tokens, vocab_size]`.
    pub fn logits_of(&self, cpu: &Cpu, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let mut graph = Graph::inference(cpu, &Workspace::default());
        let whole = 0..tokens.len();
        let logits = self.forward(&mut graph, tokens, Sequences::Whole(&[whole]), None, None)?;
        Ok(logits.values().to_vec())
    }
}

/// A linear layer's result with what it adds, if it adds something.
pub(crate) fn with_bias<'m>(graph: &mut Graph<'m>, x: Var, bias: &'m Option<Weight>) -> Var {
    match bias {
        Some(bias) => graph.add_bias(x, bias),
        None => x,
    }
}

/// Adds the new keys and values of each sequence to its cache.
fn store(graph: &mut Graph, cached: &mut [CachedSequence], layer: usize, k: &Var, v: &Var) {
    let (mut row, mut slots) = (0, Vec::new());
    for sequence in cached {
        slots.extend(sequence.cache.slots(layer, row..row + sequence.n_tokens));
        row += sequence.n_tokens;
    }
    graph.store_kv(k, v, slots);
}

/// Attends from the new tokens of each sequence to all its keys, or to those in a window.
fn attend(
    graph: &mut Graph,
    cached: &[CachedSequence],
    layer: usize,
    q: &Var,
    shape: AttentionShape,
    window: Option<usize>,
) -> Var {
    let visible: Vec<_> =
        cached.iter().map(|sequence| sequence.cache.visible_keys(layer, sequence.n_tokens)).collect();
    let mut row = 0;
    let queries: Vec<_> = cached
        .iter()
        .zip(&visible)
        .flat_map(|(sequence, visible)| visible.iter().map(|keys| (sequence.cache.layer_layout(layer), keys)))
        .map(|(layout, VisibleKeys { n_rows, first_position, blocks })| {
            let first_row = row;
            row += n_rows;
            let keys = KeyValues::Paged { layout, blocks };
            let first = *first_position;
            let sees = window.map_or(Sees::Before(first), |n| Sees::Window { first, n });
            Queries { first_row, n_rows: *n_rows, sees, keys }
        })
        .collect();
    graph.attention_cached(q, shape, &queries)
}
