use puna_kernels::swiglu::{PART, swiglu, swiglu_backward};
use puna_kernels::{Cpu, Isa};

use crate::test_data::{assert_close, random};

#[test]
fn versions_agree_at_every_tail() {
    let scalar = Cpu::new(Isa::SCALAR, 1);
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 2);
        for len in (0..=3 * 16 + 1).chain([3 * PART + 5]) {
            let a: Vec<f32> = random(len, 1).iter().map(|x| 30.0 * x).collect();
            let (b, dz) = (random(len, 2), random(len, 3));
            let (mut want, mut got) = (vec![0.0; len], vec![0.0; len]);
            swiglu(&scalar, &a, &b, &mut want);
            swiglu(&cpu, &a, &b, &mut got);
            // |a| <= 30 and a handful of roundings.
            assert_close(&got, &want, 30.0 * 8.0 * f32::EPSILON, isa.name());
            let mut grads = [(); 4].map(|_| vec![0.0; len]);
            let [da, db, ga, gb] = &mut grads;
            swiglu_backward(&scalar, &a, &b, &dz, da, db);
            swiglu_backward(&cpu, &a, &b, &dz, ga, gb);
            assert_close(ga, da, 30.0 * 16.0 * f32::EPSILON, isa.name());
            assert_close(gb, db, 30.0 * 16.0 * f32::EPSILON, isa.name());
        }
    }
}

#[test]
fn extreme_gates_stay_finite() {
    for isa in Isa::available() {
        let (a, b) = ([1e4, -1e4, 90.0, -90.0, 0.0], [1.0; 5]);
        let mut z = [f32::NAN; 5];
        swiglu(&Cpu::new(isa, 1), &a, &b, &mut z);
        assert_close(&z, &[1e4, 0.0, 90.0, 0.0, 0.0], 1e-3, isa.name());
    }
}

#[test]
fn gradient_equals_finite_differences() {
    let (a, b, dz, eps) = (random(9, 1), random(9, 2), random(9, 3), 1e-3);
    let cpu = Cpu::new(Isa::best(), 1);
    let (mut da, mut db) = (vec![0.0; 9], vec![0.0; 9]);
    swiglu_backward(&cpu, &a, &b, &dz, &mut da, &mut db);
    for i in 0..9 {
        let z = |a: f32, b: f32| (a as f64 / (1.0 + (-a as f64).exp()) * b as f64 * dz[i] as f64) as f32;
        let slope_a = (z(a[i] + eps, b[i]) - z(a[i] - eps, b[i])) / (2.0 * eps);
        let slope_b = (z(a[i], b[i] + eps) - z(a[i], b[i] - eps)) / (2.0 * eps);
        assert_close(&[da[i], db[i]], &[slope_a, slope_b], 1e-3, "swiglu");
    }
}
