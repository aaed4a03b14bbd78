//! The optimizers' steps of one parameter.

use puna_kernels::adamw::adamw;
use puna_kernels::muon::muon;

use crate::{Cpu, Weight};

pub use puna_kernels::adamw::AdamwStep;
pub use puna_kernels::muon::{MuonRate, MuonStep};

impl Weight {
    /// Updates the elements and their moments `[m, v]` by the gradient.
    ///
    /// # Panics
    /// If the elements are not ours to change ([`Weight::make_trainable`]), or a length differs.
    pub fn adamw_step(&mut self, cpu: &Cpu, step: &AdamwStep, gradient: &[f32], [m, v]: [&mut [f32]; 2]) {
        adamw(cpu, step, self.values_mut().expect("made trainable"), gradient, m, v);
    }

    /// Updates a matrix and its `momentum`, of as many elements, by the gradient. For the matrices inside layers;
    /// vectors, embeddings and output matrices are for [`Weight::adamw_step`].
    ///
    /// # Panics
    /// If the elements are not ours to change ([`Weight::make_trainable`]), or a length differs.
    pub fn muon_step(&mut self, cpu: &Cpu, step: &MuonStep, gradient: &[f32], momentum: &mut [f32]) {
        let shape = [self.rows(), self.cols()];
        muon(cpu, step, shape, self.values_mut().expect("made trainable"), gradient, momentum);
    }
}
