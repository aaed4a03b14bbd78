//! LayerNorm: y = g ∘ (x − μ) r + b with r = 1 / sqrt(var(x) + eps), per row, all in f32 (Ba, Kiros and
//! Hinton 2016).

use crate::cpu::{Cpu, SharedMut};
use crate::isa::Kernel;
use crate::simd::Simd;

/// Elements that are summed apart, so that sums vectorise by themselves in an order of their own.
const PARTS: usize = 16;

/// Normalises each row of `x: [rows, dim]` into `y`; `mean` and `inv_std`, `[rows]` each, receive μ and r for
/// the backward pass.
///
/// # Panics
/// If the sizes disagree.
pub fn layer_norm(
    cpu: &Cpu,
    x: &[f32],
    [weight, bias]: [&[f32]; 2],
    eps: f32,
    y: &mut [f32],
    [mean, inv_std]: [&mut [f32]; 2],
) {
    let dim = weight.len();
    assert!(dim > 0 && bias.len() == dim && x.len() == y.len() && x.len() == mean.len() * dim);
    assert_eq!(mean.len(), inv_std.len());
    let n_rows = mean.len();
    let (y, mean, inv_std) = (SharedMut::new(y), SharedMut::new(mean), SharedMut::new(inv_std));
    cpu.for_rows(n_rows, dim, |rows| {
        for row in rows {
            let at = row * dim..(row + 1) * dim;
            // SAFETY: tasks have disjoint rows.
            let (y, mean, inv_std) =
                unsafe { (y.range(at.clone()), mean.range(row..row + 1), inv_std.range(row..row + 1)) };
            let x = &x[at];
            [mean[0], inv_std[0]] = cpu.isa.run(Moments { x, eps });
            cpu.isa.run(Apply { x, weight, bias, moments: [mean[0], inv_std[0]], y });
        }
    });
}

/// The gradient. `dx: [rows, dim]`, `dweight` and `dbias`, `[dim]` each, are added to.
///
/// With x̂ = (x − μ) r and u = dy ∘ g: dx = r (u − mean(u) − x̂ mean(u ∘ x̂)), dg = Σ rows dy ∘ x̂, db = Σ
/// rows dy.
///
/// # Panics
/// If the sizes disagree.
pub fn layer_norm_backward(
    cpu: &Cpu,
    x: &[f32],
    weight: &[f32],
    [mean, inv_std]: [&[f32]; 2],
    dy: &[f32],
    dx: &mut [f32],
    [dweight, dbias]: [Option<&mut [f32]>; 2],
) {
    let dim = weight.len();
    assert!(dim > 0 && x.len() == mean.len() * dim && inv_std.len() == mean.len());
    assert!([dy.len(), dx.len()] == [x.len(); 2]);
    let dx = SharedMut::new(dx);
    cpu.for_rows(mean.len(), dim, |rows| {
        for row in rows {
            let at = row * dim..(row + 1) * dim;
            // SAFETY: tasks have disjoint rows.
            let dx = unsafe { dx.range(at.clone()) };
            let (x, dy, moments) = (&x[at.clone()], &dy[at], [mean[row], inv_std[row]]);
            cpu.isa.run(BackwardRow { x, weight, moments, dy, dx });
        }
    });
    let rows = || x.chunks_exact(dim).zip(dy.chunks_exact(dim)).zip(mean.iter().zip(inv_std));
    if let Some(dweight) = dweight {
        assert_eq!(dweight.len(), dim);
        for ((x, dy), (mean, inv_std)) in rows() {
            for ((dw, x), dy) in dweight.iter_mut().zip(x).zip(dy) {
                *dw += dy * (x - mean) * inv_std;
            }
        }
    }
    if let Some(dbias) = dbias {
        assert_eq!(dbias.len(), dim);
        rows().for_each(|((_, dy), _)| dbias.iter_mut().zip(dy).for_each(|(db, dy)| *db += dy));
    }
}

/// μ and r of a row.
struct Moments<'a> {
    x: &'a [f32],
    eps: f32,
}

/// The sum of `f(i)` for all i below `n`.
#[inline(always)]
fn sum_of(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut parts = [0.0; PARTS];
    let whole = n - n % PARTS;
    for first in (0..whole).step_by(PARTS) {
        for (j, part) in parts.iter_mut().enumerate() {
            *part += f(first + j);
        }
    }
    for i in whole..n {
        parts[i % PARTS] += f(i);
    }
    parts.iter().sum()
}

impl Kernel for Moments<'_> {
    type Output = [f32; 2];
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> [f32; 2] {
        let (x, n) = (self.x, self.x.len());
        let mean = sum_of(n, |i| x[i]) / n as f32;
        let variance = sum_of(n, |i| (x[i] - mean) * (x[i] - mean)) / n as f32;
        [mean, 1.0 / (variance + self.eps).sqrt()]
    }
}

struct Apply<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    moments: [f32; 2],
    y: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let [mean, inv_std] = self.moments;
        for (((y, x), g), b) in self.y.iter_mut().zip(self.x).zip(self.weight).zip(self.bias) {
            *y = (x - mean) * inv_std * g + b;
        }
    }
}

struct BackwardRow<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    moments: [f32; 2],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for BackwardRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let BackwardRow { x, weight, moments: [mean, inv_std], dy, dx } = self;
        let n = x.len();
        let (weight, dy, dx) = (&weight[..n], &dy[..n], &mut dx[..n]);
        let normal = |i: usize| (x[i] - mean) * inv_std;
        let mean_u = sum_of(n, |i| dy[i] * weight[i]) / n as f32;
        let mean_ux = sum_of(n, |i| dy[i] * weight[i] * normal(i)) / n as f32;
        for i in 0..n {
            dx[i] += inv_std * (dy[i] * weight[i] - mean_u - normal(i) * mean_ux);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
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
                // Where all elements are nearly equal, their differences carry the rounding of the mean,
                // times up to 316.
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
}
