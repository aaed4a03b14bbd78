//! RMSNorm over rows.

use puna_kernels::rms_norm::{rms_norm, rms_norm_backward};

use crate::{Graph, Var, Weight};

impl<'m> Graph<'m> {
    /// Each row of `x: [rows, dim]` divided by its root mean square, times `weight: [dim]`; each part of a
    /// row where it has several of that length, such as heads.
    ///
    /// # Panics
    /// If the shapes disagree or the weight is not f32.
    pub fn rms_norm(&mut self, x: &Var, weight: &'m Weight, eps: f32) -> Var {
        let cpu = self.cpu;
        let gain = weight.values().expect("norm weights are held as f32");
        let mut inv_rms = vec![0.0; x.values().len() / gain.len()];
        let y = self.make(x.rows(), x.cols(), |y| rms_norm(cpu, x.values(), gain, eps, y, &mut inv_rms));
        let x = self.is_training().then(|| x.clone());
        let source = x.as_ref().map(Var::place);
        self.record_from(y, source.as_slice(), &[weight], move |pass, dy| {
            let Some(x) = x else { return };
            let mut dx = pass.take(x.place());
            let dweight = pass.params.get_mut(weight.id());
            rms_norm_backward(pass.cpu, x.values(), gain, &inv_rms, dy, dx.values_mut(), dweight);
            pass.set(x.place(), dx);
        })
    }

    /// Each `dim` elements of a row of `x` divided by their root mean square.
    ///
    /// # Panics
    /// If `dim` does not divide the columns.
    pub fn rms_norm_parts(&mut self, x: &Var, dim: usize, eps: f32) -> Var {
        assert!(dim > 0 && x.cols().is_multiple_of(dim));
        let (cpu, ones) = (self.cpu, vec![1.0; dim]);
        let mut inv_rms = vec![0.0; x.values().len() / dim];
        let y = self.make(x.rows(), x.cols(), |y| rms_norm(cpu, x.values(), &ones, eps, y, &mut inv_rms));
        let x = self.is_training().then(|| x.clone());
        let source = x.as_ref().map(Var::place);
        self.record_from(y, source.as_slice(), &[], move |pass, dy| {
            let Some(x) = x else { return };
            let mut dx = pass.take(x.place());
            rms_norm_backward(pass.cpu, x.values(), &ones, &inv_rms, dy, dx.values_mut(), None);
            pass.set(x.place(), dx);
        })
    }
}
