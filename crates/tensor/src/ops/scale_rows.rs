//! Rows times constants.

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// Row i of `x` times `factors[i]`, in place where nobody else holds it.
    ///
    /// # Panics
    /// If there is not one factor for each row.
    pub fn scale_rows(&mut self, x: Var, factors: &[f32]) -> Var {
        assert_eq!(x.rows(), factors.len());
        let (source, cols) = (x.place(), x.cols());
        let scaled = self.change(x, |x| {
            for (row, factor) in x.chunks_exact_mut(cols).zip(factors) {
                row.iter_mut().for_each(|x| *x *= factor);
            }
        });
        let factors = if self.is_training() { factors.to_vec() } else { Vec::new() };
        self.record(scaled, move |pass, dy| {
            let Some(dx) = pass.of(source) else { return };
            let rows = dx.chunks_exact_mut(cols).zip(dy.chunks_exact(cols));
            for ((dx, dy), factor) in rows.zip(&factors) {
                dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += factor * dy);
            }
        })
    }
}
