//! The optimizer's step of one parameter.

use puna_kernels::adamw::adamw;

use crate::{Cpu, Weight};

pub use puna_kernels::adamw::AdamwStep;

impl Weight {
    /// Updates the elements and their moments `[m, v]` by the gradient.
    ///
    /// # Panics
    /// If the elements are not ours to change ([`Weight::make_trainable`]), or a length differs.
    pub fn adamw_step(&mut self, cpu: &Cpu, step: &AdamwStep, gradient: &[f32], [m, v]: [&mut [f32]; 2]) {
        adamw(cpu, step, self.values_mut().expect("made trainable"), gradient, m, v);
    }
}
