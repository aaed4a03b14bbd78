//! GELU, the nonlinearity of vision encoders.

use puna_kernels::gelu::{gelu, gelu_backward};

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// `x Φ(x)` of each element, in place where nobody else holds it and no gradient will ask for `x`.
    pub fn gelu(&mut self, x: Var) -> Var {
        let cpu = self.cpu;
        let input = self.is_training().then(|| x.clone());
        let y = self.change(x, |x| gelu(cpu, x));
        let source = input.as_ref().map(Var::place);
        self.record_from(y, source.as_slice(), &[], move |pass, dy| {
            let Some(x) = input else { return };
            let cpu = pass.cpu;
            if let Some(dx) = pass.of(x.place()) {
                gelu_backward(cpu, x.values(), dy, dx);
            }
        })
    }
}
