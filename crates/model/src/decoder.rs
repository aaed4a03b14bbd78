//! The decoder: one forward pass for running, training and evaluating every generation.
//!
//! The equations are those of Meta's reference `model.py` (llama-models), in f32: x + attention(norm(x)), then
//! x + feed_forward(norm(x)), per layer; RMSNorm and the output matrix at the end.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use puna_formats::SpillFile;
use puna_tensor::{
    AttentionShape, AttentionSpan, Cpu, DType, Gate, Graph, KeyValues, KvLayout, Queries, RopeTable, Sees,
    Var, Workspace,
};

use crate::config::Tower;
use crate::error::ModelError;
use crate::kv_cache::{KvCache, Seen};
use crate::rope::inv_freq;
use crate::weights::{CrossWeights, ExpertWeights, LayerWeights};
use crate::{Config, Weights};

/// A Llama: immutable while it runs, shared by all its sequences.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its sizes and constants.
    pub config: Config,
    /// Its parameters.
    pub weights: Weights,
}

/// New tokens of one sequence, and the cache of those before.
pub struct Piece<'a> {
    /// How many of the step's tokens belong to this sequence.
    pub n_tokens: usize,
    /// What the sequence has seen; the new tokens are added.
    pub cache: &'a mut KvCache,
}

/// What a pass computes: tokens, and the images that some of them stand for.
#[derive(Clone, Copy, Default)]
pub struct Input<'a> {
    /// Token ids.
    pub tokens: &'a [u32],
    /// In the order of their tokens.
    pub images: &'a [PlacedImage],
}

/// An image, or a part of one, among the tokens of a pass.
#[derive(Clone)]
pub struct PlacedImage {
    /// The tokens that stand for it, as indices into the pass's tokens, ascending: one where the decoder attends to images,
    /// one for each vector where vectors take the place of tokens.
    pub tokens: Vec<usize>,
    /// What [`Model::encode_image`] made of it.
    pub vectors: Var,
    /// The first vector that takes the place of a token, where this is not the image's beginning.
    pub first: usize,
}

impl<'a> From<&'a [u32]> for Input<'a> {
    fn from(tokens: &'a [u32]) -> Input<'a> {
        Input { tokens, images: &[] }
    }
}

impl<'a> From<&'a Vec<u32>> for Input<'a> {
    fn from(tokens: &'a Vec<u32>) -> Input<'a> {
        tokens.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Input<'a> {
    fn from(tokens: &'a [u32; N]) -> Input<'a> {
        tokens.as_slice().into()
    }
}

/// Where the tokens of a pass stand.
pub enum Context<'a, 'b> {
    /// Whole sequences, given as ranges of the tokens, in order and covering all of them; positions begin at 0 in each.
    Whole(&'a [Range<usize>]),
    /// Continuations of cached sequences, in the order of the tokens.
    Cached(&'a mut [Piece<'b>]),
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
struct At<'a, 'b> {
    rope: Arc<RopeTable>,
    /// What queries of layers without rotation are multiplied with, by token.
    temperature: Option<Vec<f32>>,
    context: Context<'a, 'b>,
    /// What layers that attend to images need; `None` if no token sees one.
    images: Option<SeenImages>,
}

/// The images that tokens of a pass see.
struct SeenImages {
    /// The vectors of those that are new in this pass, one after the other; `None` if none is.
    vectors: Option<Var>,
    /// Of each new one, its token and its rows among these.
    new: Vec<(usize, Range<usize>)>,
    /// The tokens that see an image. To all others the layer does nothing.
    rows: Vec<usize>,
    /// Without a cache: which of those rows see which vectors.
    spans: Vec<AttentionSpan>,
}

impl Model {
    /// The logits `[rows, vocab_size]` of the tokens, or of those at `wanted` (indices into `tokens`).
    ///
    /// A token's logits have the same bits whole, cached in any chunks, and beside any other sequences (with a cache in
    /// f32), except under dynamic rope scaling, which by definition looks at how long the sequence is in this pass.
    ///
    /// Caches grow by the new tokens. Fails without changing anything if a token is outside the vocabulary, the counts
    /// disagree, a sequence would grow beyond the model's context, or the disk that its keys and values are on is full.
    pub fn forward<'m, 'i>(
        &'m self,
        graph: &mut Graph<'m>,
        input: impl Into<Input<'i>>,
        mut context: Context,
        wanted: Option<&[usize]>,
        mut observer: Option<Observer>,
    ) -> Result<Var, ModelError> {
        let Input { tokens, images } = input.into();
        self.check(tokens, &context, wanted)?;
        self.check_images(tokens, images)?;
        if graph.is_training() && matches!(context, Context::Cached(_)) {
            return Err(ModelError::Input(
                "cached attention has no gradient; train on whole sequences".into(),
            ));
        }
        if let Context::Cached(pieces) = &mut context {
            let reserved = pieces.iter_mut().try_for_each(|piece| piece.cache.reserve(piece.n_tokens));
            if let Err(error) = reserved {
                pieces.iter_mut().for_each(|piece| piece.cache.release_reserved());
                return Err(error.into());
            }
        }
        let mut observe = |point, x: &Var| {
            if let Some(observer) = &mut observer {
                observer(point, x);
            }
        };
        let spans = spans(&context);
        let factors = self.config.llama4.temperature.map(|temperature| {
            spans.iter().cloned().flatten().map(|position| temperature.factor(position)).collect()
        });
        let mut x = graph.embed(tokens, &self.weights.tok_embeddings); // [tokens, dim]
        let mut seen = None;
        if self.config.cross_layers.is_empty() {
            for image in images {
                let rows: Vec<usize> = (image.first..image.first + image.tokens.len()).collect();
                let vectors = graph.take_rows(&image.vectors, &rows);
                x = graph.replace_rows(x, &vectors, &image.tokens);
            }
        } else {
            seen = see_images(graph, &mut context, images);
        }
        let mut at =
            At { rope: Arc::new(self.rope_table(spans)), temperature: factors, context, images: seen };
        observe(Point::Embedded, &x);
        for (i, w) in self.weights.layers.iter().enumerate() {
            // After the last layer's attention nothing depends on tokens whose logits nobody wants.
            let wanted = wanted.filter(|_| i + 1 == self.config.n_layers);
            x = self.layer(graph, x, i, w, &mut at, wanted); // [tokens, dim], at last [rows, dim]
            observe(Point::Layer(i), &x);
        }
        let x = graph.rms_norm(&x, &self.weights.norm, self.config.norm_eps);
        observe(Point::FinalNorm, &x);
        let logits = graph.linear(&x, self.output()); // [rows, vocab_size]
        if let Context::Cached(pieces) = &mut at.context {
            pieces.iter_mut().for_each(|piece| piece.cache.advance(piece.n_tokens));
        }
        Ok(logits)
    }

    /// One decoder layer: a pre-norm residual block. The two sums are where a split model adds up its parts. With `wanted`,
    /// only those rows of the result are computed.
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
        let h = graph.rms_norm(&x, &w.attention_norm, self.config.norm_eps);
        let mut h = self.attention(graph, &h, layer, w, at);
        if let Some(wanted) = wanted {
            (x, h) = (graph.take_rows(&x, wanted), graph.take_rows(&h, wanted));
        }
        let x = graph.add_linear(x, &h, &w.wo); // [rows, dim]
        let h = graph.rms_norm(&x, &w.ffn_norm, self.config.norm_eps);
        let z = graph.gated(&h, &w.w1, &w.w3); // [rows, ffn_dim]
        let x = graph.add_linear(x, &z, &w.w2);
        match &w.experts {
            Some(experts) => self.add_experts(graph, x, &h, experts),
            None => x,
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
        let eps = self.config.norm_eps;
        let shape = self.attention_shape();
        let new = images.vectors.as_ref().map(|vectors| {
            let [k, v] = graph.linears(vectors, [&w.wk, &w.wv]); // [vectors, n_kv_heads * head_dim]
            [graph.rms_norm(&k, &cross.k_norm, eps), v] // of each head
        });
        if let (Some([k, v]), Context::Cached(pieces)) = (&new, &mut at.context) {
            store_images(graph.cpu, pieces, layer, images, k, v);
        }
        let all_see = images.rows.len() == x.rows();
        let mut own = if all_see { x.clone() } else { graph.take_rows(&x, &images.rows) };
        let h = graph.rms_norm(&own, &w.attention_norm, eps);
        let q = graph.linear(&h, &w.wq);
        let q = graph.rms_norm(&q, &cross.q_norm, eps);
        let o = match (&at.context, new) {
            (Context::Whole(_), Some([k, v])) => graph.attention([q, k, v], shape, &images.spans),
            (Context::Cached(pieces), _) => attend_to_images(graph, pieces, layer, &q, shape),
            (Context::Whole(_), None) => unreachable!("without a cache all images are new"),
        };
        let y = graph.linear(&o, &w.wo);
        own = graph.add_gated(own, &y, Gate::Tanh(&cross.gate_attn));
        let h = graph.rms_norm(&own, &w.ffn_norm, eps);
        let z = graph.gated(&h, &w.w1, &w.w3);
        let y = graph.linear(&z, &w.w2);
        own = graph.add_gated(own, &y, Gate::Tanh(&cross.gate_ffwd));
        if all_see { own } else { graph.replace_rows(x, &own, &images.rows) }
    }

    /// Adds to each row of `x` what its experts make of the row of `h`: those of the highest scores, each with its input
    /// times the sigmoid of its score. Only experts that are chosen are read.
    fn add_experts<'m>(&'m self, graph: &mut Graph<'m>, mut x: Var, h: &Var, w: &'m ExpertWeights) -> Var {
        let scores = graph.linear(h, &w.router); // [rows, n_experts]
        let rows = rows_by_expert(scores.values(), w.experts.len(), self.config.llama4.experts.n_used);
        for (e, (expert, rows)) in w.experts.iter().zip(&rows).enumerate().filter(|(_, (_, r))| !r.is_empty())
        {
            let h = graph.scored_rows(h, &scores, e, rows);
            let z = graph.gated(&h, &expert.w1, &expert.w3);
            let y = graph.linear(&z, &expert.w2);
            x = graph.add_rows(x, &y, rows);
        }
        x
    }

    /// What the heads attend to, side by side: `[tokens, n_heads * head_dim]`, before `wo`.
    fn attention<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        h: &Var,
        layer: usize,
        w: &'m LayerWeights,
        at: &mut At,
    ) -> Var {
        let Config { n_heads, n_kv_heads, head_dim, rope_layout, .. } = self.config;
        let shape = self.attention_shape();
        let [q, k, v] = graph.linears(h, [&w.wq, &w.wk, &w.wv]); // [tokens, heads * head_dim]
        let kind = self.config.layer_kind(layer);
        let (mut q, mut k) = (q, k);
        if !kind.no_rope {
            q = graph.rope(q, n_heads, &at.rope, rope_layout);
            k = graph.rope(k, n_kv_heads, &at.rope, rope_layout);
            if self.config.llama4.qk_norm {
                [q, k] = [q, k].map(|x| graph.rms_norm_parts(&x, head_dim, self.config.norm_eps));
            }
        } else if let Some(factors) = &at.temperature {
            q = graph.scale_rows(q, factors);
        }
        match &mut at.context {
            Context::Whole(sequences) => {
                let chunk = self.config.llama4.chunk.filter(|_| kind.chunked).unwrap_or(usize::MAX);
                let parts = |rows: &Range<usize>| {
                    let Range { start, end } = *rows;
                    let starts = (start..end).step_by(chunk);
                    starts
                        .map(move |start| AttentionSpan::causal(start..end.min(start.saturating_add(chunk))))
                };
                let spans: Vec<_> = sequences.iter().flat_map(parts).collect();
                graph.attention([q, k, v], shape, &spans)
            }
            Context::Cached(pieces) => {
                store(graph.cpu, pieces, layer, &k, &v);
                attend(graph, pieces, layer, &q, shape)
            }
        }
    }

    fn attention_shape(&self) -> AttentionShape {
        let Config { n_heads, n_kv_heads, head_dim, .. } = self.config;
        AttentionShape { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
    }

    fn output(&self) -> &puna_tensor::Weight {
        self.weights.output.as_ref().unwrap_or(&self.weights.tok_embeddings)
    }

    fn rope_table(&self, spans: Vec<Range<usize>>) -> RopeTable {
        let Config { head_dim, rope_theta, ref rope_scaling, .. } = self.config;
        if !rope_scaling.is_dynamic() {
            let freqs = inv_freq(head_dim, rope_theta, rope_scaling, 0);
            return RopeTable::new(spans.into_iter().flatten().map(|p| (p, freqs.as_slice())));
        }
        // Each sequence has frequencies of its own, after its length.
        let freqs: Vec<_> =
            spans.iter().map(|span| inv_freq(head_dim, rope_theta, rope_scaling, span.end)).collect();
        let both = spans.into_iter().zip(&freqs);
        RopeTable::new(both.flat_map(|(span, freqs)| span.map(move |p| (p, freqs.as_slice()))))
    }

    fn check(&self, tokens: &[u32], context: &Context, wanted: Option<&[usize]>) -> Result<(), ModelError> {
        let input = |fact: String| Err(ModelError::Input(fact));
        if tokens.is_empty() {
            return input("there are no tokens to compute".into());
        }
        let n_tokens = self.config.n_embeddings();
        if let Some(token) = tokens.iter().find(|t| **t as usize >= n_tokens) {
            return input(format!("token id {token} is outside the vocabulary of {n_tokens}"));
        }
        if let Some(row) = wanted.into_iter().flatten().find(|row| **row >= tokens.len()) {
            return input(format!("logits of token {row} were asked for, but there are {}", tokens.len()));
        }
        let layout_fits = |cache: &KvCache| {
            let layout = cache.layout();
            layout.n_kv_heads() == self.config.n_kv_heads
                && layout.head_dim() == self.config.head_dim
                && cache.sights().eq(self.config.sights())
        };
        let lens: Vec<(usize, usize)> = match context {
            Context::Whole(sequences) => {
                let in_order = sequences.windows(2).all(|pair| pair[0].end == pair[1].start);
                let ends = sequences.first().map(|s| s.start) == Some(0);
                if !(in_order && ends && sequences.iter().all(|s| s.start < s.end)) {
                    return input("sequences must be non-empty, in order and without gaps".into());
                }
                sequences.iter().map(|rows| (0, rows.len())).collect()
            }
            Context::Cached(pieces) => {
                if let Some(piece) = pieces.iter().find(|p| !layout_fits(p.cache) || p.n_tokens == 0) {
                    return input(format!(
                        "a piece of {} tokens does not fit the model's cache",
                        piece.n_tokens
                    ));
                }
                pieces.iter().map(|p| (p.cache.len(), p.n_tokens)).collect()
            }
        };
        let total = lens.iter().fold(0usize, |sum, (_, new)| sum.saturating_add(*new));
        if total != tokens.len() {
            return input(format!("there are {} tokens, but the sequences count {total}", tokens.len()));
        }
        let max = self.config.max_seq_len;
        if let Some((past, new)) = lens.iter().find(|(past, new)| past + new > max) {
            return input(format!(
                "a sequence of {} tokens ({past} cached and {new} new) is longer than the model's context of {max}",
                past + new
            ));
        }
        Ok(())
    }

    fn check_images(&self, tokens: &[u32], images: &[PlacedImage]) -> Result<(), ModelError> {
        let input = |fact: String| Err(ModelError::Input(fact));
        let Some(vision) = &self.config.vision else {
            return if images.is_empty() { Ok(()) } else { input("the model does not see images".into()) };
        };
        let mut next = 0;
        for PlacedImage { tokens: at, vectors, first } in images {
            if vectors.cols() != self.config.dim || vectors.rows() == 0 || at.is_empty() {
                return input(format!(
                    "an image of {} vectors of {} is none",
                    vectors.rows(),
                    vectors.cols()
                ));
            }
            for token in at {
                if *token < next || tokens.get(*token) != Some(&vision.image_token) {
                    return input(format!("token {token} does not stand for an image"));
                }
                next = token + 1;
            }
            let fits = match vision.tower {
                Tower::Together(_) => at.len() == 1 && *first == 0,
                Tower::Apart(_) => first.saturating_add(at.len()) <= vectors.rows(),
            };
            if !fits {
                return input(format!(
                    "{} tokens do not fit an image of {} vectors",
                    at.len(),
                    vectors.rows()
                ));
            }
        }
        Ok(())
    }

    /// How this model's cache is laid out if its entries are stored as `dtype`.
    pub fn kv_layout(&self, dtype: DType) -> KvLayout {
        KvLayout::new(dtype, self.config.n_kv_heads, self.config.head_dim)
    }

    /// An empty cache for a sequence.
    pub fn new_cache(&self, dtype: DType) -> KvCache {
        KvCache::new(self.kv_layout(dtype), self.config.sights())
    }

    /// A temporary file in `folder` for the keys and values of layers that see all positions, for caches
    /// [`spilled_to`](KvCache::spilled_to) it; `None` if no layer does. Fails if the folder cannot be written.
    pub fn spill_file(&self, dtype: DType, folder: &Path) -> Result<Option<SpillFile>, ModelError> {
        let piece_bytes = KvCache::spilled_bytes(self.kv_layout(dtype), self.config.sights());
        Ok((piece_bytes > 0).then(|| SpillFile::create(folder, piece_bytes)).transpose()?)
    }

    /// The logits of every token of one sequence, without a cache: `[tokens, vocab_size]`.
    pub fn logits(&self, cpu: &Cpu, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let mut graph = Graph::inference(cpu, &Workspace::default());
        let whole = 0..tokens.len();
        let logits = self.forward(&mut graph, tokens, Context::Whole(&[whole]), None, None)?;
        Ok(logits.values().to_vec())
    }
}

/// The positions of each sequence's tokens.
fn spans(context: &Context) -> Vec<Range<usize>> {
    match context {
        Context::Whole(sequences) => sequences.iter().map(|rows| 0..rows.len()).collect(),
        Context::Cached(pieces) => pieces.iter().map(|p| p.cache.len()..p.cache.len() + p.n_tokens).collect(),
    }
}

/// What tokens see of images: those that are new in this pass, whose keys get room in the caches, and those in the caches.
/// A token sees the images at and before it that follow each other without anything between them.
fn see_images<'m>(
    graph: &mut Graph<'m>,
    context: &mut Context,
    images: &[PlacedImage],
) -> Option<SeenImages> {
    let mut end = 0;
    let new: Vec<(usize, Range<usize>)> = images
        .iter()
        .map(|image| {
            let start = end;
            end += image.vectors.rows();
            (image.tokens[0], start..end)
        })
        .collect();
    let vectors: Vec<Var> = images.iter().map(|image| image.vectors.clone()).collect();
    let vectors = match &vectors[..] {
        [] => None,
        [only] => Some(only.clone()),
        several => Some(graph.stack_rows(several)),
    };
    let (mut rows, mut spans) = (Vec::new(), Vec::new());
    match context {
        Context::Whole(sequences) => {
            for sequence in sequences.iter() {
                let own: Vec<_> = new.iter().filter(|(token, _)| sequence.contains(token)).collect();
                let mut first_key = 0;
                for (i, (token, keys)) in own.iter().enumerate() {
                    if i == 0 || own[i - 1].0 + 1 < *token {
                        first_key = keys.start;
                    }
                    let end = own.get(i + 1).map_or(sequence.end, |(next, _)| *next);
                    let first_row = rows.len();
                    rows.extend(*token..end);
                    spans.push(AttentionSpan::all(first_row..rows.len(), first_key..keys.end));
                }
            }
        }
        Context::Cached(pieces) => {
            let mut start = 0;
            for piece in pieces.iter_mut() {
                let own = start..start + piece.n_tokens;
                for (token, keys) in new.iter().filter(|(token, _)| own.contains(token)) {
                    piece.cache.reserve_image(piece.cache.len() + token - start, keys.len());
                }
                rows.extend(piece.cache.rows_that_see_images(piece.n_tokens).map(|row| start + row));
                start = own.end;
            }
        }
    }
    (!rows.is_empty()).then_some(SeenImages { vectors, new, rows, spans })
}

/// Adds the keys and values of new images to the caches of their sequences.
fn store_images(cpu: &Cpu, pieces: &mut [Piece], layer: usize, images: &SeenImages, k: &Var, v: &Var) {
    let mut start = 0;
    for piece in pieces {
        let own = start..start + piece.n_tokens;
        for (token, rows) in images.new.iter().filter(|(token, _)| own.contains(token)) {
            let at = rows.start * k.cols()..rows.end * k.cols();
            let position = piece.cache.len() + token - start;
            piece.cache.store_image(cpu.isa, layer, position, &k.values()[at.clone()], &v.values()[at]);
        }
        start = own.end;
    }
}

/// Attends from the tokens that see images to what they see; `q` are these tokens' alone.
fn attend_to_images(
    graph: &mut Graph,
    pieces: &[Piece],
    layer: usize,
    q: &Var,
    shape: AttentionShape,
) -> Var {
    let seen: Vec<_> = pieces.iter().map(|piece| piece.cache.seen_images(layer, piece.n_tokens)).collect();
    let mut row = 0;
    let queries: Vec<_> = pieces
        .iter()
        .zip(&seen)
        .flat_map(|(piece, seen)| seen.iter().map(|seen| (piece.cache.layout(), seen)))
        .map(|(layout, seen)| {
            let first_row = row;
            row += seen.rows.len();
            let keys = KeyValues::Paged { layout, blocks: &seen.blocks };
            Queries { first_row, n_rows: seen.rows.len(), sees: Sees::All(seen.n_keys), keys }
        })
        .collect();
    graph.attention_cached(q, shape, &queries)
}

/// For each expert the rows of `scores: [rows, n_experts]` that have it among their `n_used` highest; of equal scores the
/// lower expert's is higher.
fn rows_by_expert(scores: &[f32], n_experts: usize, n_used: usize) -> Vec<Vec<usize>> {
    let (mut rows, mut order) = (vec![Vec::new(); n_experts], Vec::with_capacity(n_experts));
    for (row, scores) in scores.chunks_exact(n_experts).enumerate() {
        order.clear();
        order.extend(0..n_experts);
        order.sort_by(|a: &usize, b| scores[*b].total_cmp(&scores[*a]));
        order[..n_used].iter().for_each(|expert| rows[*expert].push(row));
    }
    rows
}

/// Adds the new keys and values of each sequence to its cache.
fn store(cpu: &Cpu, pieces: &mut [Piece], layer: usize, k: &Var, v: &Var) {
    let mut row = 0;
    for piece in pieces {
        let at = row * k.cols()..(row + piece.n_tokens) * k.cols();
        piece.cache.store(cpu.isa, layer, &k.values()[at.clone()], &v.values()[at]);
        row += piece.n_tokens;
    }
}

/// Attends from the new tokens of each sequence to all its keys.
fn attend(graph: &mut Graph, pieces: &[Piece], layer: usize, q: &Var, shape: AttentionShape) -> Var {
    let seen: Vec<_> = pieces.iter().map(|piece| piece.cache.seen(layer, piece.n_tokens)).collect();
    let mut row = 0;
    let queries: Vec<_> = pieces
        .iter()
        .zip(&seen)
        .flat_map(|(piece, seen)| seen.iter().map(|seen| (piece.cache.layout(), seen)))
        .map(|(layout, Seen { n_rows, first_position, blocks })| {
            let first_row = row;
            row += n_rows;
            let keys = KeyValues::Paged { layout, blocks };
            Queries { first_row, n_rows: *n_rows, sees: Sees::Before(*first_position), keys }
        })
        .collect();
    graph.attention_cached(q, shape, &queries)
}
