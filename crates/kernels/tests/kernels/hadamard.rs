//! Rows times a Hadamard matrix, against sums in f64.

use puna_kernels::hadamard::{hadamard, hadamard_row};
use puna_kernels::{Cpu, Isa};

use crate::test_data::random;

#[test]
fn rows_are_multiplied_with_the_matrix() {
    for n in [1, 2, 4, 8, 64, 512] {
        let x = random(3 * n, 1);
        let sign = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        let want: Vec<f64> = (0..3 * n)
            .map(|at| {
                let (row, j) = (at / n, at % n);
                let sum: f64 = (0..n).map(|i| x[row * n + i] as f64 * sign(i, j)).sum();
                sum / (n as f64).sqrt()
            })
            .collect();
        let mut first = x.clone();
        first.chunks_exact_mut(n).for_each(|row| hadamard_row(Isa::SCALAR, row));
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            let mut got = x.clone();
            hadamard(&cpu, &mut got, n);
            assert!(got == first, "{n} {}", isa.name());
            for (got, want) in got.iter().zip(&want) {
                let bound = (n.ilog2() + 2) as f64 * (n as f64).sqrt() * f32::EPSILON as f64;
                assert!((*got as f64 - want).abs() <= bound, "{n} {}: {got}, {want}", isa.name());
            }
            hadamard(&cpu, &mut got, n);
            assert!(got.iter().zip(&x).all(|(a, b)| (a - b).abs() <= 1e-5), "{n}: it is its own inverse");
        }
    }
}
