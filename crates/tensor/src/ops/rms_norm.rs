//! RMSNorm over rows.

use puna_kernels::rms_norm::{rms_norm, rms_norm_backward};

use crate::{Graph, Var, Weight};

impl<'m> Graph<'m> {
    /// Each row of `x: [rows, dim]` divided by its root mean square, times `weight: [dim]`.
    ///
    /// # Panics
    /// If the shapes disagree or the weight is not f32.
    pub fn rms_norm(&mut self, x: &Var, weight: &'m Weight, eps: f32) -> Var {
        let cpu = self.cpu;
        let gain = weight.values().expect("norm weights are held as f32");
        let mut inv_rms = vec![0.0; x.rows()];
        let y = self.make(x.rows(), x.cols(), |y| rms_norm(cpu, x.values(), gain, eps, y, &mut inv_rms));
        let x = self.is_training().then(|| x.clone());
        self.record(y, move |pass, dy| {
            let Some(x) = x else { return };
            let mut dx = pass.take(x.place());
            let dweight = pass.params.get_mut(weight.id());
            rms_norm_backward(pass.cpu, x.values(), gain, &inv_rms, dy, &mut dx, dweight);
            pass.set(x.place(), dx);
        })
    }
}
