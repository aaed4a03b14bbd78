use puna_kernels::adamw::{AdamwStep, PART, adamw};
use puna_kernels::{Cpu, Isa};

use crate::test_data::random;

#[test]
fn versions_give_the_same_bits_and_the_first_step_moves_by_lr() {
    let step = AdamwStep {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.0,
        step: 1,
        gradient_scale: 1.0,
    };
    let (w0, g) = (random(PART + 77, 1), random(PART + 77, 2));
    let mut results = Vec::new();
    for isa in Isa::available() {
        let (mut w, mut m, mut v) = (w0.clone(), vec![0.0; w0.len()], vec![0.0; w0.len()]);
        adamw(&Cpu::new(isa, 2), &step, &mut w, &g, &mut m, &mut v);
        for i in 0..w.len() {
            assert!((w0[i] - w[i] - 1e-3 * g[i].signum()).abs() < 1e-6, "{} {i}", isa.name());
        }
        results.push(w);
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}
