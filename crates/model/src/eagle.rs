//! A head that guesses the next tokens of a larger model from what that one computes: EAGLE-3 (Li et al. 2025,
//! arXiv 2503.01840), as published for Llama 3.1 and 3.3.
//!
//! It is a decoder of one layer beside its target. Row i reads the target's hidden states at position i, of three
//! layers, and the token at position i + 1; its logits are those of the token at position i + 2:
//!
//!   x = fc [f1, f2, f3]                                    fused features, `[dim]`
//!   h = [input_norm(embedding), hidden_norm(x)]            `[2 dim]`, what attention reads
//!   x = x + attention(h);  x = x + feed_forward(norm(x))   as in any layer
//!   logits = output norm(x)                                of a smaller vocabulary
//!
//! Where the target has not computed a position yet, the head's own x of the row before stands for its features: so one
//! guess follows another. The formula is that of the authors' `cnets.py`; heads that speculators saves may take the
//! residual after `hidden_norm`. Who owns caches and features, and when which rows are computed, is the engine's.

use puna_tensor::{Activations, DType, Graph, RunOptions, Var, Weight};

use crate::decoder::{At, Model, Point, with_bias};
use crate::error::ModelError;
use crate::input::{CachedSequence, Sequences};
use crate::kv_cache::KvCache;

/// An EAGLE-3 head.
#[derive(Clone, Debug)]
pub struct Eagle {
    /// Its embedding `[vocab_size, dim]` (the target's, where it has none of its own), its layer, norm and output
    /// `[draft_vocab_size, dim]`. The layer's `wq`, `wk` and `wv` have `2 dim` columns; its attention's norm is that of
    /// the embedded token.
    pub decoder: Model,
    /// `[dim, 3 target_dim]`.
    pub fc: Weight,
    /// The norm of the fused features, `[dim]`.
    pub hidden_norm: Weight,
    /// Whether what `hidden_norm` made is the residual, instead of what it was made of.
    pub norm_before_residual: bool,
    /// The target's layers whose inputs are the features.
    pub layers: [usize; 3],
    /// The target's id for each of the head's; the same if `None`.
    pub target_ids: Option<Vec<u32>>,
}

impl Eagle {
    /// Where the target's pass shows the three features of each token, `[tokens, target_dim]` each.
    pub fn points(&self) -> [Point; 3] {
        self.layers.map(|layer| layer.checked_sub(1).map_or(Point::Embedded, Point::Layer))
    }

    /// The three features of a token together: `3 target_dim`.
    pub fn n_features(&self) -> usize {
        self.fc.cols()
    }

    /// Bytes of its weights.
    pub fn weight_bytes(&self) -> usize {
        self.fc.n_bytes() + self.decoder.weights.n_bytes()
    }

    /// Bytes that copies of them in the order of products would take.
    pub fn repack_bytes(&self, activations: Activations) -> usize {
        self.fc.repack_bytes(activations) + self.decoder.weights.repack_bytes(activations)
    }

    /// Gives the memory of these copies back.
    pub fn drop_copies(&self, options: &RunOptions) {
        self.fc.drop_copy(options);
        self.decoder.weights.drop_copies(options);
    }

    /// An empty cache for a sequence.
    pub fn new_cache(&self, dtype: DType) -> KvCache {
        self.decoder.new_cache(dtype)
    }

    /// The target's id for one of the head's.
    ///
    /// # Panics
    /// If the head has no such id.
    pub fn target_id(&self, draft_id: u32) -> u32 {
        self.target_ids.as_ref().map_or(draft_id, |ids| ids[draft_id as usize])
    }

    /// What features `[tokens, 3 target_dim]` become for the layer, `[tokens, dim]`.
    pub fn fuse<'m>(&'m self, graph: &mut Graph<'m>, features: &Var) -> Var {
        graph.linear(features, &self.fc)
    }

    /// The layer's output `[wanted, dim]` of the `wanted` rows. Row i reads `hidden`'s row i, `[tokens, dim]`: fused
    /// features, or what the layer made of the row before; and `tokens[i]`, the token after it. Caches grow by the new
    /// rows. Fails as [`Model::forward`] does.
    pub fn forward<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        hidden: Var,
        tokens: &[u32],
        cached: &mut [CachedSequence],
        wanted: &[usize],
    ) -> Result<Var, ModelError> {
        let (config, weights) = (&self.decoder.config, &self.decoder.weights);
        let mut sequences = Sequences::Cached(cached);
        config.check_tokens(tokens, &sequences, Some(wanted), &(0..1))?;
        // The first layer may be given hidden states too.
        config.check_stage(&(0..1), Some([hidden.rows(), hidden.cols()]), tokens.len())?;
        let layer = &weights.layers[0];
        let (Some(attention), Some(qkv), Some(ffn)) = (&layer.attention, layer.qkv(), &layer.feed_forward)
        else {
            return Err(ModelError::Input(
                "a draft head's layer has attention and a feed-forward block".into(),
            ));
        };
        sequences.reserve(config, &[])?;
        let mut at = At::text(&self.decoder, sequences);
        let e = graph.embed(tokens, &weights.tok_embeddings);
        let e = graph.rms_norm(&e, &attention.norm, config.norm_eps);
        let h = graph.rms_norm(&hidden, &self.hidden_norm, config.norm_eps);
        let x = if self.norm_before_residual { h.clone() } else { hidden };
        let h = beside(graph, &e, &h); // [tokens, 2 * dim]
        let h = self.decoder.attention(graph, &h, 0, qkv, &mut at); // [tokens, n_heads * head_dim]
        let (x, h) = (graph.take_rows(&x, wanted), graph.take_rows(&h, wanted));
        let x = graph.add_linear(x, &h, &attention.wo); // [wanted, dim]
        let x = with_bias(graph, x, &attention.bias);
        let x = self.decoder.feed_forward(graph, x, ffn);
        self.decoder.check_files()?;
        at.sequences.advance();
        Ok(x)
    }

    /// The logits `[rows, draft_vocab_size]` of what [`Eagle::forward`] made, `[rows, dim]`.
    pub fn logits<'m>(&'m self, graph: &mut Graph<'m>, hidden: &Var) -> Var {
        let x = graph.rms_norm(hidden, &self.decoder.weights.norm, self.decoder.config.norm_eps);
        self.decoder.logits(graph, &x)
    }
}

/// Each row of `a` and, after it, that of `b`.
fn beside(graph: &mut Graph, a: &Var, b: &Var) -> Var {
    let n = a.rows();
    let both = graph.stack_rows(&[a.clone(), b.clone()]);
    let in_turn: Vec<usize> = (0..n).flat_map(|row| [row, n + row]).collect();
    let both = graph.take_rows(&both, &in_turn);
    graph.join_rows(&both, 2)
}
