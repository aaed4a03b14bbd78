use puna_kernels::elementwise::{PART, add_assign, add_row, add_scaled};
use puna_kernels::{Cpu, Isa};

use crate::test_data::random;

#[test]
fn adds_every_element_once() {
    for isa in Isa::available() {
        for len in [0, 1, 17, 3 * PART + 5] {
            let (mut y, x) = (random(len, 1), random(len, 2));
            let want: Vec<f32> = y.iter().zip(&x).map(|(y, x)| y + x).collect();
            add_assign(&Cpu::new(isa, 3), &mut y, &x);
            assert_eq!(y, want);
        }
    }
}

#[test]
fn adds_a_multiple_and_a_row() {
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 3);
        for len in [1, 17, 3 * PART + 5] {
            let (before, x) = (random(len, 1), random(len, 2));
            let mut y = before.clone();
            add_scaled(&cpu, &mut y, 0.5, &x);
            assert!(y.iter().zip(&before).zip(&x).all(|((y, b), x)| *y == b + 0.5 * x));
            let mut rows = [before.clone(), before.clone()].concat();
            add_row(&cpu, &mut rows, &x);
            let want: Vec<f32> = before.iter().zip(&x).map(|(b, x)| b + x).collect();
            assert_eq!(rows, [want.clone(), want].concat());
        }
    }
}
