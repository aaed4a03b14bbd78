//! Which tokens go to an expert of a mixture, and what goes in.

use puna_kernels::routing::{route, scored_rows, scored_rows_backward};

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
        self.record(y, move |pass, dy| {
            let Some((x, scores, rows)) = inputs else { return };
            let taken = (&rows[..], &sigmas[..]);
            scored_rows_backward(x.values(), sizes, taken, dy, pass.of(x.place()), None);
            scored_rows_backward(x.values(), sizes, taken, dy, None, pass.of(scores));
        })
    }
}
