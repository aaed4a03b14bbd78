//! What goes into an expert of a mixture, and what comes out.

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// The input of an expert: rows `rows` of `x: [tokens, dim]`, each times the sigmoid of its score for the expert in
    /// `scores: [tokens, experts]`.
    ///
    /// # Panics
    /// If there are no such rows, or no such expert.
    pub fn scored_rows(&mut self, x: &Var, scores: &Var, expert: usize, rows: &[usize]) -> Var {
        let (cols, n_experts) = (x.cols(), scores.cols());
        assert!(expert < n_experts && x.rows() == scores.rows());
        let sigmoid = |row: usize| 1.0 / (1.0 + (-scores.values()[row * n_experts + expert]).exp());
        let sigmas: Vec<f32> = rows.iter().map(|row| sigmoid(*row)).collect();
        let y = self.make(rows.len(), cols, |y| {
            for ((row, sigma), y) in rows.iter().zip(&sigmas).zip(y.chunks_exact_mut(cols)) {
                let x = &x.values()[row * cols..(row + 1) * cols];
                y.iter_mut().zip(x).for_each(|(y, x)| *y = sigma * x);
            }
        });
        let inputs = self.is_training().then(|| (x.clone(), scores.place(), rows.to_vec()));
        self.record(y, move |pass, dy| {
            let Some((x, scores, rows)) = inputs else { return };
            let taken = || rows.iter().zip(&sigmas).zip(dy.chunks_exact(cols));
            if let Some(dx) = pass.of(x.place()) {
                for ((row, sigma), dy) in taken() {
                    let dx = &mut dx[row * cols..(row + 1) * cols];
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += sigma * dy);
                }
            }
            if let Some(dscores) = pass.of(scores) {
                for ((row, sigma), dy) in taken() {
                    let x = &x.values()[row * cols..(row + 1) * cols];
                    let dsigma: f32 = x.iter().zip(dy).map(|(x, dy)| x * dy).sum();
                    dscores[row * n_experts + expert] += dsigma * sigma * (1.0 - sigma);
                }
            }
        })
    }

    /// `x` with the rows of `y` added to its rows `rows`, in place where nobody else holds it.
    ///
    /// # Panics
    /// If `x` has no such rows, or `y` not as many.
    pub fn add_rows(&mut self, x: Var, y: &Var, rows: &[usize]) -> Var {
        let cols = x.cols();
        assert!(y.cols() == cols && y.rows() == rows.len());
        let places = (x.place(), y.place());
        let sum = self.change(x, |x| {
            for (row, y) in rows.iter().zip(y.values().chunks_exact(cols)) {
                x[row * cols..(row + 1) * cols].iter_mut().zip(y).for_each(|(x, y)| *x += y);
            }
        });
        let rows = if self.is_training() { rows.to_vec() } else { Vec::new() };
        self.record(sum, move |pass, dsum| {
            if let Some(dx) = pass.of(places.0) {
                dx.iter_mut().zip(dsum).for_each(|(dx, d)| *dx += d);
            }
            if let Some(dy) = pass.of(places.1) {
                for (row, dy) in rows.iter().zip(dy.chunks_exact_mut(cols)) {
                    dy.iter_mut().zip(&dsum[row * cols..(row + 1) * cols]).for_each(|(dy, d)| *dy += d);
                }
            }
        })
    }
}
