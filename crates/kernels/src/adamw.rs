//! One step of AdamW (Loshchilov and Hutter 2019): Adam with decoupled weight decay.

use crate::cpu::{Cpu, SharedMut};
use crate::isa::Kernel;
use crate::simd::Simd;

/// The constants of a step, bias corrections included.
#[derive(Clone, Copy, Debug)]
pub struct AdamwStep {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// The step's number, from 1: moments are divided by 1 − beta^step.
    pub step: u32,
    /// Factor of the gradient: 1, or less where its norm is clipped.
    pub gradient_scale: f32,
}

/// Elements a task takes at a time.
pub const PART: usize = 4096;

/// Updates `w` and its moments `m` and `v` by the gradient `g`.
///
/// # Panics
/// If the lengths differ.
pub fn adamw(cpu: &Cpu, step: &AdamwStep, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let len = w.len();
    assert!([g.len(), m.len(), v.len()] == [len; 3]);
    let (w, m, v) = (SharedMut::new(w), SharedMut::new(m), SharedMut::new(v));
    cpu.for_rows(len.div_ceil(PART), PART, |parts| {
        let at = parts.start * PART..(parts.end * PART).min(len);
        // SAFETY: tasks have disjoint parts.
        let (w, m, v) = unsafe { (w.range(at.clone()), m.range(at.clone()), v.range(at.clone())) };
        cpu.isa.run(Update { step, w, g: &g[at], m, v });
    });
}

/// Plain element-wise arithmetic: the loop vectorises by itself and every version gives the same bits.
struct Update<'a> {
    step: &'a AdamwStep,
    w: &'a mut [f32],
    g: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl Kernel for Update<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let AdamwStep { lr, beta1, beta2, eps, weight_decay, step, gradient_scale } = *self.step;
        let correct1 = (1.0 - (beta1 as f64).powi(step as i32)) as f32;
        let correct2 = (1.0 - (beta2 as f64).powi(step as i32)).sqrt() as f32;
        let (rate, decay) = (lr / correct1, 1.0 - lr * weight_decay);
        for (((w, g), m), v) in self.w.iter_mut().zip(self.g).zip(self.m).zip(self.v) {
            let g = g * gradient_scale;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *w = *w * decay - rate * *m / (v.sqrt() / correct2 + eps);
        }
    }
}
