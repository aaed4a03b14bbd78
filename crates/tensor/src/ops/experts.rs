//! Which tokens go to an expert of a mixture, what goes in, and how much of what comes out counts.

use puna_kernels::routing::{
    chosen_softmax, chosen_softmax_backward, route, scored_rows, scored_rows_backward, weighted_rows_backward,
};
use puna_kernels::rows;

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// For each expert the rows of `scores: [rows, n_experts]` that have it among their `n_used` highest
    /// scores; of equal ones the expert with the lower index comes first. The choice itself has no gradient.
    ///
    /// # Panics
    /// If there are fewer experts than are used.
    pub fn route(&self, scores: &Var, n_used: usize) -> Vec<Vec<usize>> {
        route(scores.values(), scores.cols(), n_used)
    }

    /// The input of an expert: rows `rows` of `x: [tokens, dim]`, each times the sigmoid of its score for the
    /// expert in `scores: [tokens, experts]`.
    ///
    /// # Panics
    /// If there are no such rows, or no such expert.
    pub fn scored_rows(&mut self, x: &Var, scores: &Var, expert: usize, rows: &[usize]) -> Var {
        let (cpu, cols, sizes) = (self.cpu, x.cols(), [scores.cols(), expert]);
        assert_eq!(x.rows(), scores.rows());
        let mut sigmas = vec![0.0; rows.len()];
        let y = self.make(rows.len(), cols, |y| {
            scored_rows(cpu, [x.values(), scores.values()], sizes, rows, &mut sigmas, y);
        });
        let inputs = self.is_training().then(|| (x.clone(), scores.place(), rows.to_vec()));
        let places = [x.place(), scores.place()];
        self.record_from(y, &places, &[], move |pass, dy| {
            let Some((x, scores, rows)) = inputs else { return };
            let taken = (&rows[..], &sigmas[..]);
            scored_rows_backward(x.values(), sizes, taken, dy, pass.of(x.place()), None);
            scored_rows_backward(x.values(), sizes, taken, dy, None, pass.of(scores));
        })
    }

    /// Of each row of `scores: [rows, experts]` the softmax of the chosen ones, and zeros for the others;
    /// `chosen` is what [`Graph::route`] made of them.
    ///
    /// # Panics
    /// If there are no such rows, or as many experts.
    pub fn chosen_softmax(&mut self, scores: &Var, chosen: &[Vec<usize>]) -> Var {
        let (n_experts, source) = (scores.cols(), scores.place());
        let p =
            self.make(scores.rows(), n_experts, |p| chosen_softmax(scores.values(), n_experts, chosen, p));
        let result = self.is_training().then(|| p.clone());
        self.record_from(p, &[source], &[], move |pass, dp| {
            if let (Some(p), Some(dscores)) = (result, pass.of(source)) {
                chosen_softmax_backward(p.values(), n_experts, dp, dscores);
            }
        })
    }

    /// Row i of `y` times the weight of row `rows[i]` for an expert in `weights: [_, experts]`; in place where
    /// nobody else holds it.
    ///
    /// # Panics
    /// If there are no such rows, or no such expert.
    pub fn weighted_rows(&mut self, y: Var, weights: &Var, expert: usize, rows: &[usize]) -> Var {
        let (cpu, source, cols, n_experts) = (self.cpu, y.place(), y.cols(), weights.cols());
        assert!(expert < n_experts && y.rows() == rows.len());
        let factors: Vec<f32> = rows.iter().map(|row| weights.values()[row * n_experts + expert]).collect();
        let inputs = self.is_training().then(|| (y.clone(), weights.place(), rows.to_vec(), factors.clone()));
        let out = self.change(y, |y| rows::scale_rows(cpu, y, cols, &factors));
        self.record_from(out, &[source, weights.place()], &[], move |pass, dout| {
            let (cpu, Some((y, weights, rows, factors))) = (pass.cpu, inputs) else { return };
            if let Some(dy) = pass.of(source) {
                rows::add_scaled_rows(cpu, dout, cols, &factors, dy);
            }
            if let Some(dweights) = pass.of(weights) {
                weighted_rows_backward(y.values(), [n_experts, expert], &rows, dout, dweights);
            }
        })
    }
}
