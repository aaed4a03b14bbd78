//! The gate of the feed-forward block.

use puna_kernels::elementwise::add_assign;
use puna_kernels::swiglu::{swiglu, swiglu_backward};

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// `silu(gate) ∘ up`.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn swiglu(&mut self, gate: &Var, up: &Var) -> Var {
        assert_eq!((gate.rows(), gate.cols()), (up.rows(), up.cols()));
        let cpu = self.cpu;
        let z = self.make(gate.rows(), gate.cols(), |z| swiglu(cpu, gate.values(), up.values(), z));
        let inputs = self.is_training().then(|| [gate.clone(), up.clone()]);
        self.record(z, move |pass, dz| {
            let Some([gate, up]) = inputs else { return };
            let (mut dgate, mut dup) = (vec![0.0; dz.len()], vec![0.0; dz.len()]);
            swiglu_backward(pass.cpu, gate.values(), up.values(), dz, &mut dgate, &mut dup);
            let cpu = pass.cpu;
            for (input, d) in [(&gate, dgate), (&up, dup)] {
                if let Some(dx) = pass.of(input.place()) {
                    add_assign(cpu, dx, &d);
                }
            }
        })
    }
}
