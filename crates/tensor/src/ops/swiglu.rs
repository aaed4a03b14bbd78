//! The gate of the feed-forward block.

use puna_kernels::elementwise::add_assign;
use puna_kernels::matmul::matmul_nt_swiglu;
use puna_kernels::swiglu::{swiglu, swiglu_backward};

use crate::{Graph, Var, Weight};

impl<'m> Graph<'m> {
    /// `silu(x gateᵀ) ∘ (x upᵀ)`: what a feed-forward block does before its last matrix.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn gated(&mut self, x: &Var, gate: &'m Weight, up: &'m Weight) -> Var {
        if self.is_training() || !gate.is_plain() || !up.is_plain() {
            let [gate, up] = self.linears(x, [gate, up]);
            return self.swiglu(&gate, &up);
        }
        let cpu = self.cpu;
        let matrices = [gate, up].map(|weight| weight.matrix_for(cpu, x.rows()));
        self.make(x.rows(), gate.rows(), |z| {
            matmul_nt_swiglu(cpu, x.values(), x.cols(), cpu.activations, matrices, z);
        })
    }

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
