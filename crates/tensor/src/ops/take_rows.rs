//! A selection of rows: the tokens whose logits are wanted.

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// Rows `rows[i]` of `x`, in that order.
    ///
    /// # Panics
    /// If `x` has no such row.
    pub fn take_rows(&mut self, x: &Var, rows: &[usize]) -> Var {
        let cols = x.cols();
        let taken = self.make(rows.len(), cols, |out| {
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(cols)) {
                out.copy_from_slice(&x.values()[row * cols..(row + 1) * cols]);
            }
        });
        let (source, rows) = (x.place(), rows.to_vec());
        self.record(taken, move |pass, dtaken| {
            let Some(dx) = pass.of(source) else { return };
            for (row, d) in rows.iter().zip(dtaken.chunks_exact(cols)) {
                dx[row * cols..(row + 1) * cols].iter_mut().zip(d).for_each(|(dx, d)| *dx += d);
            }
        })
    }
}
