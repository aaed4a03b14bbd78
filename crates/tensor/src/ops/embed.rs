//! The embedding of tokens: rows of a matrix.

use crate::{Graph, Var, Weight};

impl<'m> Graph<'m> {
    /// Row `tokens[i]` of `weight: [vocab, dim]` for each i.
    ///
    /// # Panics
    /// If a token is outside the vocabulary.
    pub fn embed(&mut self, tokens: &[u32], weight: &'m Weight) -> Var {
        let (isa, dim) = (self.cpu.isa, weight.cols());
        let rows = self.make(tokens.len(), dim, |out| {
            for (token, row) in tokens.iter().zip(out.chunks_exact_mut(dim)) {
                assert!((*token as usize) < weight.rows());
                weight.matrix().decode_row(isa, *token as usize, row);
            }
        });
        let tokens = if self.is_training() { tokens.to_vec() } else { Vec::new() };
        self.record(rows, move |pass, drows| {
            let Some(dweight) = pass.params.get_mut(weight.id()) else { return };
            for (token, drow) in tokens.iter().zip(drows.chunks_exact(dim)) {
                let at = *token as usize * dim;
                dweight[at..at + dim].iter_mut().zip(drow).for_each(|(d, g)| *d += g);
            }
        })
    }
}
