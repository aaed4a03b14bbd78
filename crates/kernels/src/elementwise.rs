//! Sums of equally long slices: residual connections and the accumulation of gradients.

use crate::cpu::{Cpu, SharedMut};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Elements a task takes at a time.
const PART: usize = 8192;

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

/// The same on one thread.
pub(crate) fn add_part(isa: Isa, y: &mut [f32], x: &[f32]) {
    assert_eq!(y.len(), x.len());
    isa.run(Add { y, x });
}

/// The sum of squares, added up in f64 in a fixed order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    x.chunks(PART).map(|part| part.iter().map(|x| *x as f64 * *x as f64).sum::<f64>()).sum()
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

#[cfg(test)]
mod tests {
    use super::*;
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
}
