use puna_kernels::cross_entropy::cross_entropy;
use puna_kernels::{Cpu, Isa};

use crate::test_data::{assert_close, random};

#[test]
fn loss_and_gradient_equal_the_formula() {
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 2);
        for vocab_size in [1, 5, 16, 33, 5000] {
            let logits: Vec<f32> = random(3 * vocab_size, 1).iter().map(|z| 20.0 * z).collect();
            let targets = [Some(0), None, Some(vocab_size as u32 - 1)];
            let (mut grad, mut losses) = (logits.clone(), [9.0; 3]);
            cross_entropy(&cpu, &mut grad, &targets, Some(0.5), &mut losses);
            for (row, target) in targets.into_iter().enumerate() {
                let at = row * vocab_size..(row + 1) * vocab_size;
                let Some(target) = target else {
                    assert!(losses[row] == 0.0 && grad[at].iter().all(|g| *g == 0.0));
                    continue;
                };
                let sum: f64 = logits[at.clone()].iter().map(|z| (*z as f64).exp()).sum();
                let want = sum.ln() - logits[at.start + target as usize] as f64;
                assert!((losses[row] - want).abs() < 2e-5, "{} {} {want}", isa.name(), losses[row]);
                let want: Vec<f32> = (0..vocab_size)
                    .map(|i| {
                        let p = (logits[at.start + i] as f64).exp() / sum;
                        0.5 * (p - f64::from(i == target as usize)) as f32
                    })
                    .collect();
                assert_close(&grad[at], &want, 1e-5, isa.name());
            }
        }
    }
}
