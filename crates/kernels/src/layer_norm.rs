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
