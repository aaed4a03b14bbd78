//! Attention, over the tokens of this pass alone or over cached keys and values.

use std::ops::Range;

use puna_kernels::attention::{AttentionShape, KeyValues, Queries, Saved, attention, attention_backward};
use puna_kernels::elementwise::add_assign;

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// Causal attention within each of `sequences` (ranges of rows, in order, apart). `q` is
    /// `[tokens, n_heads * head_dim]`, `k` and `v` `[tokens, n_kv_heads * head_dim]`, rotated.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn attention(
        &mut self,
        [q, k, v]: [Var; 3],
        shape: AttentionShape,
        sequences: &[Range<usize>],
    ) -> Var {
        let cpu = self.cpu;
        let queries: Vec<_> = sequences
            .iter()
            .map(|rows| Queries {
                first_row: rows.start,
                n_rows: rows.len(),
                first_position: 0,
                keys: KeyValues::Dense { k: k.values(), v: v.values(), first: rows.start },
            })
            .collect();
        let mut lse = vec![0.0; q.rows() * shape.n_heads];
        let out = self.make(q.rows(), q.cols(), |out| {
            out.fill(0.0);
            attention(cpu, &shape, q.values(), &queries, out, Some(&mut lse));
        });
        let (sequences, result) = (sequences.to_vec(), out.clone());
        self.record(out, move |pass, dout| {
            let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(|x| vec![0.0; x.values().len()]);
            let saved =
                Saved { q: q.values(), k: k.values(), v: v.values(), out: result.values(), lse: &lse };
            attention_backward(pass.cpu, &shape, &sequences, &saved, dout, [&mut dq, &mut dk, &mut dv]);
            let cpu = pass.cpu;
            for (input, d) in [(&q, dq), (&k, dk), (&v, dv)] {
                if let Some(dx) = pass.of(input.place()) {
                    add_assign(cpu, dx, &d);
                }
            }
        })
    }

    /// Attention of `q: [tokens, n_heads * head_dim]` over cached keys and values, which include those of the tokens
    /// themselves. It has no gradient.
    ///
    /// # Panics
    /// If the shapes disagree or the graph is training.
    pub fn attention_cached(&mut self, q: &Var, shape: AttentionShape, queries: &[Queries]) -> Var {
        assert!(!self.is_training(), "cached attention has no gradient");
        let cpu = self.cpu;
        self.make(q.rows(), q.cols(), |out| attention(cpu, &shape, q.values(), queries, out, None))
    }
}
