use puna_kernels::layer_norm::{layer_norm, layer_norm_backward};
use puna_kernels::{Cpu, Isa};

use crate::test_data::{assert_close, random};

fn forward(cpu: &Cpu, x: &[f32], g: &[f32], b: &[f32]) -> (Vec<f32>, [Vec<f32>; 2]) {
    let n_rows = x.len() / g.len();
    let (mut y, mut mean, mut inv_std) = (vec![0.0; x.len()], vec![0.0; n_rows], vec![0.0; n_rows]);
    layer_norm(cpu, x, [g, b], 1e-5, &mut y, [&mut mean, &mut inv_std]);
    (y, [mean, inv_std])
}

#[test]
fn every_version_equals_the_definition_at_every_tail() {
    for isa in Isa::available() {
        for dim in 1..=3 * 16 + 1 {
            let x: Vec<f32> = random(3 * dim, 1).iter().map(|x| x + 0.5).collect();
            let (g, b) = (random(dim, 2), random(dim, 3));
            let (got, _) = forward(&Cpu::new(isa, 2), &x, &g, &b);
            let mut want = Vec::new();
            for x in x.chunks(dim) {
                let mean = x.iter().map(|x| *x as f64).sum::<f64>() / dim as f64;
                let variance = x.iter().map(|x| (*x as f64 - mean).powi(2)).sum::<f64>() / dim as f64;
                let normal = |x: f32| (x as f64 - mean) / (variance + 1e-5).sqrt();
                want.extend((0..dim).map(|i| (normal(x[i]) * g[i] as f64 + b[i] as f64) as f32));
            }
            // Where all elements are nearly equal, their differences carry the rounding of the mean, times
            // up to 316.
            let bound = if dim < 4 { 1e-4 } else { (dim as f32).powf(1.5) * 8.0 * f32::EPSILON };
            assert_close(&got, &want, bound, isa.name());
        }
    }
}

#[test]
fn gradient_equals_finite_differences() {
    let (rows, dim, eps) = (2, 19, 1e-3);
    let (x, g, b, dy) = (random(rows * dim, 1), random(dim, 2), random(dim, 3), random(rows * dim, 4));
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 1);
        let loss = |x: &[f32], g: &[f32], b: &[f32]| -> f64 {
            let (y, _) = forward(&cpu, x, g, b);
            y.iter().zip(&dy).map(|(y, dy)| *y as f64 * *dy as f64).sum()
        };
        let (_, [mean, inv_std]) = forward(&cpu, &x, &g, &b);
        let (mut dx, mut dg, mut db) = (vec![0.0; rows * dim], vec![0.0; dim], vec![0.0; dim]);
        let grads = [Some(&mut dg[..]), Some(&mut db[..])];
        layer_norm_backward(&cpu, &x, &g, [&mean, &inv_std], &dy, &mut dx, grads);
        let slope = |v: &[f32], i: usize, f: &dyn Fn(&[f32]) -> f64| {
            let (mut up, mut down) = (v.to_vec(), v.to_vec());
            up[i] += eps;
            down[i] -= eps;
            ((f(&up) - f(&down)) / (up[i] - down[i]) as f64) as f32
        };
        for (i, dx) in dx.iter().enumerate() {
            assert_close(&[*dx], &[slope(&x, i, &|x| loss(x, &g, &b))], 3e-3, "dx");
        }
        for (i, (dg, db)) in dg.iter().zip(&db).enumerate() {
            assert_close(&[*dg], &[slope(&g, i, &|g| loss(&x, g, &b))], 3e-3, "dg");
            assert_close(&[*db], &[slope(&b, i, &|b| loss(&x, &g, b))], 3e-3, "db");
        }
    }
}
