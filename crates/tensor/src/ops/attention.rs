//! Attention, over the tokens of this pass alone or over cached keys and values.

use std::ops::Range;

use puna_kernels::attention::{AttentionShape, AttentionSpan, Queries, Saved, attention, attention_backward};
use puna_kernels::kv::{KvKind, KvLayout};

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// Attention of each span's queries to its keys. `q` is `[tokens, n_heads * head_dim]`, `k` and `v`
    /// `[keys, n_kv_heads * head_dim]`, rotated. Spans' queries lie in order and apart, and spans that share
    /// keys follow each other; queries in no span get zeros.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn attention(&mut self, [q, k, v]: [Var; 3], shape: AttentionShape, spans: &[AttentionSpan]) -> Var {
        let cpu = self.cpu;
        let queries: Vec<_> = spans.iter().map(|span| span.queries(k.values(), v.values())).collect();
        let mut lse = vec![0.0; q.rows() * shape.n_heads];
        let out = self.make(q.rows(), q.cols(), |out| {
            out.fill(0.0);
            attention(cpu, &shape, q.values(), &queries, out, Some(&mut lse));
        });
        let (spans, result) = (spans.to_vec(), out.clone());
        let places = [q.place(), k.place(), v.place()];
        self.record_from(out, &places, &[], move |pass, dout| {
            let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(|x| pass.buffer(x.values().len()));
            for d in [&mut dq, &mut dk, &mut dv] {
                d.values_mut().fill(0.0);
            }
            let saved =
                Saved { q: q.values(), k: k.values(), v: v.values(), out: result.values(), lse: &lse };
            let grads = [dq.values_mut(), dk.values_mut(), dv.values_mut()];
            attention_backward(pass.cpu, &shape, &spans, &saved, dout, grads);
            for (place, d) in places.into_iter().zip([dq, dk, dv]) {
                pass.give(place, d);
            }
        })
    }

    /// Stores keys and values, `[tokens, n_kv_heads * head_dim]` each, in blocks of a cache. It has no
    /// gradient.
    ///
    /// # Panics
    /// If a size disagrees or the graph is training.
    pub fn store_kv(&mut self, k: &Var, v: &Var, slots: Vec<KvSlot>) {
        assert!(!self.is_training(), "a cache has no gradient");
        for KvSlot { layout, rows, block, position } in slots {
            let at = rows.start * k.cols()..rows.end * k.cols();
            layout.store(self.cpu.isa, block, KvKind::Key, position, &k.values()[at.clone()]);
            layout.store(self.cpu.isa, block, KvKind::Value, position, &v.values()[at]);
        }
    }

    /// Attention of `q: [tokens, n_heads * head_dim]` over cached keys and values, which include those of the
    /// tokens themselves. It has no gradient.
    ///
    /// # Panics
    /// If the shapes disagree or the graph is training.
    pub fn attention_cached(&mut self, q: &Var, shape: AttentionShape, queries: &[Queries]) -> Var {
        assert!(!self.is_training(), "cached attention has no gradient");
        let cpu = self.cpu;
        self.make(q.rows(), q.cols(), |out| attention(cpu, &shape, q.values(), queries, out, None))
    }
}

/// Some rows of keys and values, and the block of a layer's cache that they go to.
pub struct KvSlot<'a> {
    /// How they are stored.
    pub layout: KvLayout,
    /// The rows, one for each position.
    pub rows: Range<usize>,
    /// The layer's block.
    pub block: &'a mut [u8],
    /// The place of the first row in the block.
    pub position: usize,
}
