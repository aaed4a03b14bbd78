//! GELU in its exact form: gelu(x) = x Φ(x), with Φ the normal distribution (Hendrycks and Gimpel 2016).
//!
//! Vectors compute the upper tail Q(|x|) = 1 − Φ(|x|) by Abramowitz and Stegun 7.1.26, whose error is below
//! 1.5e-7, and gelu(x) = max(x, 0) − |x| Q(|x|), which needs no choice by sign.

use crate::cpu::{Cpu, SharedMut};
use crate::isa::Kernel;
use crate::simd::{Simd, vectors};

/// Elements a task takes at a time.
pub const PART: usize = 4096;

/// `x = gelu(x)`.
pub fn gelu(cpu: &Cpu, x: &mut [f32]) {
    let len = x.len();
    let x = SharedMut::new(x);
    cpu.for_rows(len.div_ceil(PART), PART, |parts| {
        // SAFETY: tasks have disjoint parts.
        let x = unsafe { x.range(parts.start * PART..(parts.end * PART).min(len)) };
        if cpu.isa.is_scalar() {
            x.iter_mut().for_each(|x| *x = (*x as f64 * normal(*x as f64)) as f32);
        } else {
            cpu.isa.run_vectors(Forward(x));
        }
    });
}

/// The gradient: `dx += dy ∘ (Φ(x) + x φ(x))`.
///
/// # Panics
/// If the lengths differ.
pub fn gelu_backward(cpu: &Cpu, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(x.len() == dy.len() && x.len() == dx.len());
    let dx = SharedMut::new(dx);
    cpu.for_rows(x.len().div_ceil(PART), PART, |parts| {
        let at = parts.start * PART..(parts.end * PART).min(x.len());
        // SAFETY: tasks have disjoint parts.
        let dx = unsafe { dx.range(at.clone()) };
        let (x, dy) = (&x[at.clone()], &dy[at]);
        if cpu.isa.is_scalar() {
            for i in 0..x.len() {
                dx[i] += dy[i] * slope(x[i] as f64) as f32;
            }
        } else {
            cpu.isa.run_vectors(Backward { x, dy, dx });
        }
    });
}

/// φ, the density of the normal distribution.
fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Φ by Marsaglia's series (2004): 1/2 + φ(x) (x + x³/3 + x⁵/(3·5) + …).
pub fn normal(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() > 9.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term, mut n) = (x, x, 1.0);
    while term != 0.0 && sum + term != sum {
        n += 2.0;
        term *= x * x / n;
        sum += term;
    }
    0.5 + density(x) * sum
}

/// The derivative of gelu: Φ(x) + x φ(x).
pub fn slope(x: f64) -> f64 {
    normal(x) + x * density(x)
}

/// |x|, Q(|x|) and e^(−x²/2).
#[inline(always)]
fn tail<S: Simd>(s: S, x: S::V) -> [S::V; 3] {
    let size = s.max(x, s.sub(s.splat(0.0), x));
    let one = s.splat(1.0);
    let t = s.div(one, s.fma(s.splat(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2), size, one));
    let mut poly = s.splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        poly = s.fma(poly, t, s.splat(c));
    }
    let e = s.exp(s.mul(s.splat(-0.5), s.mul(x, x)));
    [size, s.mul(s.mul(s.splat(0.5), s.mul(poly, t)), e), e]
}

struct Forward<'a>(&'a mut [f32]);

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = self.0.as_mut_ptr();
        for (i, n) in vectors(s, self.0.len()) {
            // SAFETY: `i + n` is at most the slice's length.
            unsafe {
                let x = s.load_n(p.add(i), n);
                let [size, tail, _] = tail(s, x);
                s.store_n(p.add(i), s.sub(s.max(x, s.splat(0.0)), s.mul(size, tail)), n);
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, dy, dx) = (self.x.as_ptr(), self.dy.as_ptr(), self.dx.as_mut_ptr());
        let half = s.splat(0.5);
        let density = s.splat(1.0 / (2.0 * std::f32::consts::PI).sqrt());
        for (i, n) in vectors(s, self.x.len()) {
            // SAFETY: `i + n` is at most the length of the three slices (asserted by the caller).
            unsafe {
                let x = s.load_n(x.add(i), n);
                let [_, tail, e] = tail(s, x);
                // Q(|x|) is 1/2 at zero, so the sign of numbers too small to have one does not matter.
                let sign = s.max(s.min(s.mul(x, s.splat(1e30)), s.splat(1.0)), s.splat(-1.0));
                let normal = s.fma(sign, s.sub(half, tail), half);
                let slope = s.fma(s.mul(x, density), e, normal);
                let d = s.fma(s.load_n(dy.add(i), n), slope, s.load_n(dx.add(i), n));
                s.store_n(dx.add(i), d, n);
            }
        }
    }
}
