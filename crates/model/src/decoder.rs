//! The decoder: one forward pass for running, training and evaluating every generation.
//!
//! The equations are those of Meta's reference `model.py` (llama-models), in f32: x + attention(norm(x)), then
//! x + feed_forward(norm(x)), per layer; RMSNorm and the output matrix at the end.

use std::ops::Range;
use std::sync::Arc;

use puna_tensor::{
    AttentionShape, Cpu, DType, Graph, KeyValues, KvLayout, Queries, RopeTable, Var, Workspace,
};

use crate::error::ModelError;
use crate::kv_cache::{KvCache, Seen};
use crate::rope::inv_freq;
use crate::weights::{ExpertWeights, LayerWeights};
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
}

impl Model {
    /// The logits `[rows, vocab_size]` of the tokens, or of those at `wanted` (indices into `tokens`).
    ///
    /// A token's logits have the same bits whole, cached in any chunks, and beside any other sequences (with a cache in
    /// f32), except under dynamic rope scaling, which by definition looks at how long the sequence is in this pass.
    ///
    /// Caches grow by the new tokens. Fails without changing anything if a token is outside the vocabulary, the counts
    /// disagree, or a sequence would grow beyond the model's context.
    pub fn forward<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        tokens: &[u32],
        mut context: Context,
        wanted: Option<&[usize]>,
        mut observer: Option<Observer>,
    ) -> Result<Var, ModelError> {
        self.check(tokens, &context, wanted)?;
        if graph.is_training() && matches!(context, Context::Cached(_)) {
            return Err(ModelError::Input(
                "cached attention has no gradient; train on whole sequences".into(),
            ));
        }
        if let Context::Cached(pieces) = &mut context {
            pieces.iter_mut().for_each(|piece| piece.cache.reserve(piece.n_tokens));
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
        let mut at = At { rope: Arc::new(self.rope_table(spans)), temperature: factors, context };
        let mut x = graph.embed(tokens, &self.weights.tok_embeddings); // [tokens, dim]
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
        let shape = AttentionShape { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() };
        match &mut at.context {
            Context::Whole(sequences) => match self.config.llama4.chunk.filter(|_| kind.chunked) {
                None => graph.attention([q, k, v], shape, sequences),
                Some(chunk) => {
                    let parts = |rows: &Range<usize>| {
                        let Range { start, end } = *rows;
                        (start..end)
                            .step_by(chunk)
                            .map(move |start| start..end.min(start.saturating_add(chunk)))
                    };
                    let parts: Vec<_> = sequences.iter().flat_map(parts).collect();
                    graph.attention([q, k, v], shape, &parts)
                }
            },
            Context::Cached(pieces) => {
                store(graph.cpu, pieces, layer, &k, &v);
                attend(graph, pieces, layer, &q, shape)
            }
        }
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
        if let Some(token) = tokens.iter().find(|t| **t as usize >= self.config.vocab_size) {
            return input(format!(
                "token id {token} is outside the vocabulary of {}",
                self.config.vocab_size
            ));
        }
        if let Some(row) = wanted.into_iter().flatten().find(|row| **row >= tokens.len()) {
            return input(format!("logits of token {row} were asked for, but there are {}", tokens.len()));
        }
        let layout_fits = |cache: &KvCache| {
            let layout = cache.layout();
            layout.n_kv_heads() == self.config.n_kv_heads
                && layout.head_dim() == self.config.head_dim
                && cache.chunks().eq(self.config.chunks())
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

    /// How this model's cache is laid out if its entries are stored as `dtype`.
    pub fn kv_layout(&self, dtype: DType) -> KvLayout {
        KvLayout::new(dtype, self.config.n_kv_heads, self.config.head_dim)
    }

    /// An empty cache for a sequence.
    pub fn new_cache(&self, dtype: DType) -> KvCache {
        KvCache::new(self.kv_layout(dtype), self.config.chunks())
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
            Queries { first_row, n_rows: *n_rows, first_position: *first_position, keys }
        })
        .collect();
    graph.attention_cached(q, shape, &queries)
}
