//! LayerNorm over rows.

use puna_kernels::layer_norm::{layer_norm, layer_norm_backward};

use crate::{Graph, Var, Weight};

impl<'m> Graph<'m> {
    /// Each row of `x: [rows, dim]` less its mean, divided by its standard deviation, times `weight`, plus
    /// `bias`.
    ///
    /// # Panics
    /// If the shapes disagree or the weights are not f32.
    pub fn layer_norm(&mut self, x: &Var, [weight, bias]: [&'m Weight; 2], eps: f32) -> Var {
        let cpu = self.cpu;
        let gains = [weight, bias].map(|w| w.values().expect("norm weights are held as f32"));
        let [mut mean, mut inv_std] = [(); 2].map(|_| vec![0.0; x.rows()]);
        let y = self.make(x.rows(), x.cols(), |y| {
            layer_norm(cpu, x.values(), gains, eps, y, [&mut mean, &mut inv_std]);
        });
        let x = self.is_training().then(|| x.clone());
        let source = x.as_ref().map(Var::place);
        self.record_from(y, source.as_slice(), &[weight, bias], move |pass, dy| {
            let Some(x) = x else { return };
            let mut dx = pass.take(x.place());
            let [mut dweight, mut dbias] = [weight, bias].map(|w| vec![0.0; w.cols()]);
            let grads = [Some(&mut dweight[..]), Some(&mut dbias[..])];
            layer_norm_backward(
                pass.cpu,
                x.values(),
                gains[0],
                [&mean, &inv_std],
                dy,
                dx.values_mut(),
                grads,
            );
            pass.set(x.place(), dx);
            pass.add_to_param(weight, &dweight);
            pass.add_to_param(bias, &dbias);
        })
    }
}
