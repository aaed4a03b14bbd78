//! The gate of the feed-forward block.

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
        self.record_from(z, &[gate.place(), up.place()], &[], move |pass, dz| {
            let Some([gate, up]) = inputs else { return };
            let [mut dgate, mut dup] = [(); 2].map(|()| pass.buffer(dz.len()));
            let [a, b] = [dgate.values_mut(), dup.values_mut()];
            swiglu_backward(pass.cpu, gate.values(), up.values(), dz, a, b);
            pass.give(gate.place(), dgate);
            pass.give(up.place(), dup);
        })
    }
}
