//! The mean cross-entropy of next-token logits.

use puna_kernels::cross_entropy::cross_entropy;
use puna_kernels::elementwise::add_scaled;

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// The loss of `logits: [tokens, vocab]` against each token's target, summed over the tokens that have
    /// one and multiplied by `scale` (1 / their number for the mean; several passes of one batch share one
    /// scale). Returns the loss as a one-element value, and each token's own loss in nats (0 without a
    /// target).
    ///
    /// # Panics
    /// If there is not one target per row, or a target is outside the vocabulary.
    pub fn cross_entropy(&mut self, logits: Var, targets: &[Option<u32>], scale: f32) -> (Var, Vec<f64>) {
        assert_eq!(logits.rows(), targets.len());
        let cpu = self.cpu;
        let mut losses = vec![0.0; targets.len()];
        let gradient_scale = self.is_training().then_some(scale);
        let source = logits.place();
        // The gradient takes the place of the logits, the largest value of a training step.
        let gradient =
            self.change(logits, |values| cross_entropy(cpu, values, targets, gradient_scale, &mut losses));
        let total = losses.iter().sum::<f64>() as f32 * scale;
        let loss = self.make(1, 1, |loss| loss[0] = total);
        let loss = self.record_from(loss, &[source], &[], move |pass, dloss| {
            let cpu = pass.cpu;
            let Some(dlogits) = pass.of(source) else { return };
            add_scaled(cpu, dlogits, dloss[0], gradient.values());
        });
        (loss, losses)
    }
}
