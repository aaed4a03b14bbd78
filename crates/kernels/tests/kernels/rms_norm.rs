use puna_kernels::rms_norm::{rms_norm, rms_norm_backward};
use puna_kernels::{Cpu, Isa};

use crate::test_data::{assert_close, random};

#[test]
fn micro_example() {
    let (mut y, mut r) = ([0.0; 4], [0.0; 1]);
    rms_norm(&Cpu::new(Isa::SCALAR, 1), &[1.0, 2.0, 3.0, 4.0], &[0.5, 1.0, 1.5, 2.0], 1e-5, &mut y, &mut r);
    assert_close(&r, &[0.365_148_13], 1e-7, "r");
    assert_close(&y, &[0.182_574_06, 0.730_296_25, 1.643_166_7, 2.921_185], 5e-7, "y");
}

#[test]
fn versions_agree_at_every_tail() {
    for isa in Isa::available() {
        for dim in 1..=3 * 16 + 1 {
            let (x, g) = (random(3 * dim, 1), random(dim, 2));
            let (mut want, mut got, mut r) = (vec![0.0; 3 * dim], vec![0.0; 3 * dim], vec![0.0; 3]);
            rms_norm(&Cpu::new(Isa::SCALAR, 1), &x, &g, 1e-5, &mut want, &mut r);
            rms_norm(&Cpu::new(isa, 2), &x, &g, 1e-5, &mut got, &mut r);
            // |y| < sqrt(dim); the relative error of a sum of squares is below dim * EPSILON.
            assert_close(&got, &want, (dim as f32).powf(1.5) * f32::EPSILON, isa.name());
        }
    }
}

#[test]
fn gradient_equals_finite_differences() {
    let (rows, dim, eps) = (2, 7, 1e-3);
    let (x, g, dy) = (random(rows * dim, 1), random(dim, 2), random(rows * dim, 3));
    let cpu = Cpu::new(Isa::best(), 1);
    let loss = |x: &[f32], g: &[f32]| -> f64 {
        let (mut y, mut r) = (vec![0.0; rows * dim], vec![0.0; rows]);
        rms_norm(&cpu, x, g, 1e-5, &mut y, &mut r);
        y.iter().zip(&dy).map(|(y, dy)| *y as f64 * *dy as f64).sum()
    };
    let (mut y, mut r) = (vec![0.0; rows * dim], vec![0.0; rows]);
    rms_norm(&cpu, &x, &g, 1e-5, &mut y, &mut r);
    let (mut dx, mut dg) = (vec![0.0; rows * dim], vec![0.0; dim]);
    rms_norm_backward(&cpu, &x, &g, &r, &dy, &mut dx, Some(&mut dg));
    let slope = |v: &[f32], i: usize, f: &dyn Fn(&[f32]) -> f64| {
        let (mut up, mut down) = (v.to_vec(), v.to_vec());
        up[i] += eps;
        down[i] -= eps;
        ((f(&up) - f(&down)) / (up[i] - down[i]) as f64) as f32
    };
    for (i, dx) in dx.iter().enumerate() {
        assert_close(&[*dx], &[slope(&x, i, &|x| loss(x, &g))], 2e-3, "dx");
    }
    for (i, dg) in dg.iter().enumerate() {
        assert_close(&[*dg], &[slope(&g, i, &|g| loss(&x, g))], 2e-3, "dg");
    }
}
