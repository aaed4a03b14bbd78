//! How weights follow their gradients: AdamW, for all of them or for those that Muon does not take.

use puna_tensor::{AdamwStep, Cpu, Gradients, Weight};

use crate::schedule::Schedule;
use crate::trained::{Kind, Parameter};

/// The settings of the optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// Decoupled weight decay of matrices; vectors do not decay.
    pub weight_decay: f64,
    /// Whether the embedding and the output matrix decay as well.
    pub decays_tables: bool,
    /// Adam's decay rates.
    pub betas: (f64, f64),
    /// Adam's epsilon.
    pub eps: f64,
    /// Largest norm of all gradients together; infinite to leave them as they are.
    pub max_grad_norm: f64,
}

impl Default for Optimizer {
    /// The figures reported for the Llama family: AdamW (0.9, 0.95), decay 0.1, clip 1.
    fn default() -> Optimizer {
        Optimizer {
            weight_decay: 0.1,
            decays_tables: true,
            betas: (0.9, 0.95),
            eps: 1e-8,
            max_grad_norm: 1.0,
        }
    }
}

/// What the optimizer remembers of a weight's gradients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Mean of the gradient.
    pub m: Vec<f32>,
    /// Mean of its square.
    pub v: Vec<f32>,
}

impl Moments {
    /// Of a weight that has no past.
    pub fn new(len: usize) -> Moments {
        Moments { m: vec![0.0; len], v: vec![0.0; len] }
    }

    /// Its parts and their names, as a checkpoint stores them.
    pub fn parts(&self) -> [(&'static str, &Vec<f32>); 2] {
        [("m", &self.m), ("v", &self.v)]
    }

    /// The same, to be replaced.
    pub fn parts_mut(&mut self) -> [(&'static str, &mut Vec<f32>); 2] {
        [("m", &mut self.m), ("v", &mut self.v)]
    }
}

/// Where in a run a step is.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The step's number, from 1.
    pub step: u64,
    /// Of all.
    pub n_steps: u64,
    /// The norm of the gradients, which may be too large.
    pub grad_norm: f64,
}

impl Optimizer {
    /// Moves the weights along their gradients.
    ///
    /// # Panics
    /// If a parameter has no gradient or no moments: the trainer made both.
    pub fn step(
        &self,
        cpu: &Cpu,
        schedule: &Schedule,
        at: At,
        weights: Vec<(&Parameter, &mut Weight, &mut Moments)>,
        gradients: &Gradients,
    ) {
        let clip = if at.grad_norm > self.max_grad_norm { self.max_grad_norm / at.grad_norm } else { 1.0 };
        for (parameter, weight, Moments { m, v }) in weights {
            let decays = match parameter.kind {
                Kind::Matrix => true,
                Kind::Table => self.decays_tables,
                Kind::Vector => false,
            };
            let step = AdamwStep {
                lr: schedule.lr_at(at.step, at.n_steps) as f32,
                beta1: self.betas.0 as f32,
                beta2: self.betas.1 as f32,
                eps: self.eps as f32,
                weight_decay: if decays { self.weight_decay as f32 } else { 0.0 },
                step: at.step.min(u32::MAX as u64) as u32,
                gradient_scale: clip as f32,
            };
            let gradient = gradients.get(parameter.id).expect("every trained parameter has one");
            weight.adamw_step(cpu, &step, gradient, [m, v]);
        }
    }
}
