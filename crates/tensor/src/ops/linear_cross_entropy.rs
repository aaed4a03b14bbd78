//! The output matrix and the loss in one, some rows at a time, so that the logits of all tokens never exist.

use puna_kernels::cross_entropy::cross_entropy;
use puna_kernels::elementwise::add_scaled;
use puna_kernels::matmul::{Activations, Left, Matrix, matmul_nn, matmul_nt};

use crate::{Graph, Var, Weight, WeightInput};

/// Logits that exist at a time, about: 64 MiB.
const CHUNK_LEN: usize = 16 << 20;
/// The fewest rows of them: fewer would make products of few rows, and the gradient of the matrix be read and written
/// more often.
const MIN_ROWS: usize = 128;

impl<'m> Graph<'m> {
    /// [`Graph::cross_entropy`] of the logits `x weightᵀ` of `x: [tokens, dim]`, `weight: [vocab, dim]`, computed
    /// exactly in any graph. The gradients are made beside the logits, of which nothing stays: that of `x`, and, if
    /// the weight is trained, that of the weight, in memory of its own until it is added to the others.
    ///
    /// # Panics
    /// If the shapes disagree, there is not one target per row, or a target is outside the vocabulary.
    pub fn linear_cross_entropy(
        &mut self,
        x: &Var,
        weight: &'m Weight,
        targets: &[Option<u32>],
        scale: f32,
    ) -> (Var, Vec<f64>) {
        assert_eq!(x.rows(), targets.len());
        if !weight.is_plain() {
            let logits = self.linear(x, weight);
            return self.cross_entropy(logits, targets, scale);
        }
        if let Some(observer) = &mut self.observer {
            observer(weight.id(), WeightInput::Rows(x));
        }
        let (cpu, source, dim, vocab_size) = (self.cpu, x.place(), x.cols(), weight.rows());
        let buffer_of = |graph: &Graph, is_needed: bool, len| is_needed.then(|| graph.buffer(len));
        let mut dx = buffer_of(self, source.has_node(), x.values().len());
        let mut dweight = buffer_of(self, self.trains(weight), weight.len());
        let gradient_scale = (dx.is_some() || dweight.is_some()).then_some(scale);
        let n_rows = (CHUNK_LEN / vocab_size.max(1)).max(MIN_ROWS).min(x.rows());
        let mut logits = self.buffer(n_rows * vocab_size);
        let mut losses = vec![0.0; targets.len()];
        for first in (0..x.rows()).step_by(n_rows.max(1)) {
            let n = n_rows.min(x.rows() - first);
            let (rows, of_x) = (first..first + n, first * dim..(first + n) * dim);
            let (logits, x) = (&mut logits.values_mut()[..n * vocab_size], &x.values()[of_x.clone()]);
            matmul_nt(cpu, x, dim, Activations::F32, &[weight.matrix()], &mut [&mut *logits]);
            cross_entropy(cpu, logits, &targets[rows.clone()], gradient_scale, &mut losses[rows]);
            if let Some(dx) = &mut dx {
                let dx = &mut dx.values_mut()[of_x];
                matmul_nn(cpu, Left::new(n, vocab_size, logits), weight.matrix(), dx, false);
            }
            if let Some(dweight) = &mut dweight {
                let dlogits = Left::transposed(n, vocab_size, logits);
                matmul_nn(cpu, dlogits, Matrix::from_f32(n, dim, x), dweight.values_mut(), first > 0);
            }
        }
        let total = losses.iter().sum::<f64>() as f32 * scale;
        let loss = self.make(1, 1, |loss| loss[0] = total);
        let loss = self.record_from(loss, &[source], &[weight], move |pass, dloss| {
            let cpu = pass.cpu;
            if let (Some(dx), Some(d)) = (dx, pass.of(source)) {
                add_scaled(cpu, d, dloss[0], dx.values());
            }
            if let (Some(dweight), Some(d)) = (dweight, pass.params.get_mut(weight.id())) {
                add_scaled(cpu, d, dloss[0], dweight.values());
            }
        });
        (loss, losses)
    }
}
