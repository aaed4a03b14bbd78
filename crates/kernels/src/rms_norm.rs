//! RMSNorm: y = g ∘ (x r) with r = 1 / sqrt(mean(x²) + eps), per row, all in f32.
//!
//! Formula and gradient: Zhang and Sennrich 2019, in the order of Meta's reference `RMSNorm`. The reference
//! rounds x r to the model's dtype before the product with g; we stay in f32 throughout, which is at least as
//! exact.

use crate::cpu::{Cpu, SharedMut};
use crate::isa::Kernel;
use crate::simd::{Simd, vectors};

/// Normalises each row of `x: [rows, dim]` into `y`; `inv_rms: [rows]` receives r for the backward pass.
///
/// # Panics
/// If the sizes disagree.
pub fn rms_norm(cpu: &Cpu, x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], inv_rms: &mut [f32]) {
    let dim = weight.len();
    assert!(dim > 0 && x.len() == y.len() && x.len() == inv_rms.len() * dim);
    let (y, inv_rms) = (SharedMut::new(y), SharedMut::new(inv_rms));
    cpu.for_rows(x.len() / dim, dim, |rows| {
        // SAFETY: tasks have disjoint rows.
        let (y, inv_rms) =
            unsafe { (y.range(rows.start * dim..rows.end * dim), inv_rms.range(rows.clone())) };
        let x = &x[rows.start * dim..rows.end * dim];
        for ((x, y), r) in x.chunks_exact(dim).zip(y.chunks_exact_mut(dim)).zip(inv_rms) {
            let sum_of_squares = if cpu.isa.is_scalar() {
                x.iter().map(|x| x * x).sum()
            } else {
                cpu.isa.run_vectors(Dot(x, x))
            };
            *r = 1.0 / (sum_of_squares / dim as f32 + eps).sqrt();
            cpu.isa.run(Scale { x, weight, r: *r, y });
        }
    });
}

/// The gradient. `dx: [rows, dim]` and `dweight: [dim]` are added to.
///
/// With u = dy ∘ g: dx = r (u − x r² mean(u ∘ x)), dg = Σ rows dy ∘ x r.
///
/// # Panics
/// If the sizes disagree.
pub fn rms_norm_backward(
    cpu: &Cpu,
    x: &[f32],
    weight: &[f32],
    inv_rms: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dweight: Option<&mut [f32]>,
) {
    let dim = weight.len();
    assert!(dim > 0 && x.len() == dy.len() && x.len() == dx.len() && x.len() == inv_rms.len() * dim);
    let dx = SharedMut::new(dx);
    cpu.for_rows(inv_rms.len(), dim, |rows| {
        for row in rows {
            let at = row * dim..(row + 1) * dim;
            // SAFETY: tasks have disjoint rows.
            let dx = unsafe { dx.range(at.clone()) };
            let (x, dy, r) = (&x[at.clone()], &dy[at], inv_rms[row]);
            cpu.isa.run(BackwardRow { x, weight, r, dy, dx });
        }
    });
    let Some(dweight) = dweight else { return };
    assert_eq!(dweight.len(), dim);
    for ((x, dy), r) in x.chunks_exact(dim).zip(dy.chunks_exact(dim)).zip(inv_rms) {
        cpu.isa.run(BackwardWeight { x, dy, r: *r, dweight });
    }
}

/// dx of one row. The sum is taken in parts that vectorise by themselves, in an order of its own.
struct BackwardRow<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    r: f32,
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for BackwardRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let BackwardRow { x, weight, r, dy, dx } = self;
        let dim = x.len();
        let (weight, dy, dx) = (&weight[..dim], &dy[..dim], &mut dx[..dim]);
        let mut parts = [0.0; 16];
        for i in 0..dim {
            parts[i % 16] += dy[i] * weight[i] * x[i];
        }
        let mean = parts.iter().sum::<f32>() / dim as f32;
        let pull = r * r * mean;
        for i in 0..dim {
            dx[i] += r * (dy[i] * weight[i] - x[i] * pull);
        }
    }
}

/// dg += dy ∘ x r for one row.
struct BackwardWeight<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    r: f32,
    dweight: &'a mut [f32],
}

impl Kernel for BackwardWeight<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((dw, dy), x) in self.dweight.iter_mut().zip(self.dy).zip(self.x) {
            *dw += dy * x * self.r;
        }
    }
}

/// The dot product of two equally long rows.
pub(crate) struct Dot<'a>(pub &'a [f32], pub &'a [f32]);

impl Kernel for Dot<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        assert_eq!(self.0.len(), self.1.len());
        let (a, b) = (self.0.as_ptr(), self.1.as_ptr());
        let mut acc = s.splat(0.0);
        for (i, n) in vectors(s, self.0.len()) {
            // SAFETY: `i + n` is at most both lengths, which are equal.
            acc = unsafe { s.fma(s.load_n(a.add(i), n), s.load_n(b.add(i), n), acc) };
        }
        s.sum(acc)
    }
}

/// y = g ∘ (x r). The loop vectorises by itself; each product is rounded once, so every version gives the
/// same bits.
struct Scale<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    r: f32,
    y: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((y, x), g) in self.y.iter_mut().zip(self.x).zip(self.weight) {
            *y = g * (x * self.r);
        }
    }
}
