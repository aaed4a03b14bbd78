//! SwiGLU's gate: z = silu(a) ∘ b with silu(a) = a σ(a) (Shazeer 2020), element by element.

use crate::cpu::{Cpu, SharedMut};
use crate::isa::{Isa, Kernel};
use crate::simd::{Simd, vectors};

/// Elements a task takes at a time.
pub const PART: usize = 4096;

/// `z = silu(a) ∘ b`.
///
/// # Panics
/// If the lengths differ.
pub fn swiglu(cpu: &Cpu, a: &[f32], b: &[f32], z: &mut [f32]) {
    assert!(a.len() == b.len() && a.len() == z.len());
    let z = SharedMut::new(z);
    cpu.for_rows(a.len().div_ceil(PART), PART, |parts| {
        let at = parts.start * PART..(parts.end * PART).min(a.len());
        // SAFETY: tasks have disjoint parts.
        let z = unsafe { z.range(at.clone()) };
        swiglu_part(cpu.isa, &a[at.clone()], &b[at], z);
    });
}

/// The same on one thread.
pub(crate) fn swiglu_part(isa: Isa, a: &[f32], b: &[f32], z: &mut [f32]) {
    assert!(a.len() == b.len() && a.len() == z.len());
    if isa.is_scalar() {
        for i in 0..z.len() {
            z[i] = a[i] * sigmoid(a[i]) * b[i];
        }
    } else {
        isa.run_vectors(Forward { a, b, z });
    }
}

/// The gradient: da = dz ∘ b ∘ σ(a) (1 + a (1 − σ(a))), db = dz ∘ a σ(a), both overwritten.
///
/// # Panics
/// If the lengths differ.
pub fn swiglu_backward(cpu: &Cpu, a: &[f32], b: &[f32], dz: &[f32], da: &mut [f32], db: &mut [f32]) {
    let len = a.len();
    assert!([b.len(), dz.len(), da.len(), db.len()] == [len; 4]);
    let (da, db) = (SharedMut::new(da), SharedMut::new(db));
    cpu.for_rows(len.div_ceil(PART), PART, |parts| {
        let at = parts.start * PART..(parts.end * PART).min(len);
        // SAFETY: tasks have disjoint parts.
        let (da, db) = unsafe { (da.range(at.clone()), db.range(at.clone())) };
        let (a, b, dz) = (&a[at.clone()], &b[at.clone()], &dz[at]);
        if cpu.isa.is_scalar() {
            for i in 0..a.len() {
                let sigma = sigmoid(a[i]);
                da[i] = dz[i] * b[i] * sigma * (1.0 + a[i] * (1.0 - sigma));
                db[i] = dz[i] * a[i] * sigma;
            }
        } else {
            cpu.isa.run_vectors(Backward { a, b, dz, da, db });
        }
    });
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[inline(always)]
fn sigmoid_vector<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, s.exp(s.sub(s.splat(0.0), x))))
}

struct Forward<'a> {
    a: &'a [f32],
    b: &'a [f32],
    z: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (a, b, z) = (self.a.as_ptr(), self.b.as_ptr(), self.z.as_mut_ptr());
        for (i, n) in vectors(s, self.z.len()) {
            // SAFETY: `i + n` is at most the length of the three slices (asserted by the caller).
            unsafe {
                let (va, vb) = (s.load_n(a.add(i), n), s.load_n(b.add(i), n));
                s.store_n(z.add(i), s.mul(s.mul(va, sigmoid_vector(s, va)), vb), n);
            }
        }
    }
}

struct Backward<'a> {
    a: &'a [f32],
    b: &'a [f32],
    dz: &'a [f32],
    da: &'a mut [f32],
    db: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (a, b, dz) = (self.a.as_ptr(), self.b.as_ptr(), self.dz.as_ptr());
        let (da, db) = (self.da.as_mut_ptr(), self.db.as_mut_ptr());
        let one = s.splat(1.0);
        for (i, n) in vectors(s, self.a.len()) {
            // SAFETY: `i + n` is at most the length of the five slices (asserted by the caller).
            unsafe {
                let (va, vb, vz) = (s.load_n(a.add(i), n), s.load_n(b.add(i), n), s.load_n(dz.add(i), n));
                let sigma = sigmoid_vector(s, va);
                let slope = s.mul(sigma, s.fma(va, s.sub(one, sigma), one));
                s.store_n(da.add(i), s.mul(s.mul(vz, vb), slope), n);
                s.store_n(db.add(i), s.mul(vz, s.mul(va, sigma)), n);
            }
        }
    }
}
