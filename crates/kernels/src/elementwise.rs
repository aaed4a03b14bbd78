//! Sums of slices: residual connections, biases and the accumulation of gradients.

use crate::cpu::{Cpu, SharedMut};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Elements a task takes at a time.
pub const PART: usize = 8192;

/// `y += x`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(cpu: &Cpu, y: &mut [f32], x: &[f32]) {
    assert_eq!(y.len(), x.len());
    let y = SharedMut::new(y);
    cpu.for_rows(x.len().div_ceil(PART), PART, |parts| {
        let at = parts.start * PART..(parts.end * PART).min(x.len());
        // SAFETY: tasks have disjoint parts.
        add_part(cpu.isa, unsafe { y.range(at.clone()) }, &x[at]);
    });
}

/// `y += a x`.
///
/// # Panics
/// If the lengths differ.
pub fn add_scaled(cpu: &Cpu, y: &mut [f32], a: f32, x: &[f32]) {
    assert_eq!(y.len(), x.len());
    let y = SharedMut::new(y);
    cpu.for_rows(x.len().div_ceil(PART), PART, |parts| {
        let at = parts.start * PART..(parts.end * PART).min(x.len());
        // SAFETY: tasks have disjoint parts.
        cpu.isa.run(AddScaled { y: unsafe { y.range(at.clone()) }, a, x: &x[at] });
    });
}

/// `x` times `factor`, in place.
pub fn scale(cpu: &Cpu, x: &mut [f32], factor: f32) {
    let (len, x) = (x.len(), SharedMut::new(x));
    cpu.for_rows(len.div_ceil(PART), PART, |parts| {
        // SAFETY: tasks have disjoint parts.
        scale_part(cpu.isa, unsafe { x.range(parts.start * PART..(parts.end * PART).min(len)) }, factor);
    });
}

/// [`scale`] on one thread.
pub(crate) fn scale_part(isa: Isa, x: &mut [f32], factor: f32) {
    isa.run(Scale { x, factor });
}

/// Adds `row` to each row of `y: [rows, row.len()]`.
///
/// # Panics
/// If `y` has no whole number of rows.
pub fn add_row(cpu: &Cpu, y: &mut [f32], row: &[f32]) {
    let dim = row.len();
    assert!(dim > 0 && y.len().is_multiple_of(dim));
    let n_rows = y.len() / dim;
    let y = SharedMut::new(y);
    cpu.for_rows(n_rows, dim, |rows| {
        // SAFETY: tasks have disjoint rows.
        let y = unsafe { y.range(rows.start * dim..rows.end * dim) };
        y.chunks_exact_mut(dim).for_each(|y| add_part(cpu.isa, y, row));
    });
}

/// Adds each row of `x: [rows, sum.len()]` to `sum`, one after the other.
///
/// # Panics
/// If `x` has no whole number of rows.
pub fn add_sum_of_rows(isa: Isa, sum: &mut [f32], x: &[f32]) {
    assert!(!sum.is_empty() && x.len().is_multiple_of(sum.len()));
    x.chunks_exact(sum.len()).for_each(|row| add_part(isa, sum, row));
}

/// [`add_assign`] on one thread.
pub(crate) fn add_part(isa: Isa, y: &mut [f32], x: &[f32]) {
    assert_eq!(y.len(), x.len());
    isa.run(Add { y, x });
}

/// The sum of squares, added up in f64 in a fixed order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    x.chunks(PART).map(part_sum_of_squares).sum()
}

/// Sums that do not wait for each other, which vectorise by themselves.
fn part_sum_of_squares(x: &[f32]) -> f64 {
    let mut sums = [0.0; 16];
    let (whole, rest) = x.as_chunks::<16>();
    for x in whole {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += *x as f64 * *x as f64);
    }
    let rest: f64 = rest.iter().map(|x| *x as f64 * *x as f64).sum();
    sums.iter().sum::<f64>() + rest
}

struct Add<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
}

impl Kernel for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y += x;
        }
    }
}

struct Scale<'a> {
    x: &'a mut [f32],
    factor: f32,
}

impl Kernel for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.x.iter_mut().for_each(|x| *x *= self.factor);
    }
}

struct AddScaled<'a> {
    y: &'a mut [f32],
    a: f32,
    x: &'a [f32],
}

impl Kernel for AddScaled<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y += self.a * x;
        }
    }
}
