//! Products of rows with a Hadamard matrix, which some quantised models apply to activations: it spreads what is
//! in a few of them over all (Liu et al., SpinQuant, 2024).
//!
//! ```text
//! y = x H, H[i, j] = (-1)^(ones of i & j) / √n
//! ```
//! H is symmetric and its own inverse. The product takes log n steps: in each, pairs of elements become their
//! sum and their difference.

use crate::cpu::{Cpu, SharedMut};
use crate::isa::{Isa, Kernel};
use crate::simd::Wide;

/// Each row of `x: [_, n]` times the matrix, in place.
///
/// # Panics
/// If `n` is no power of two, or `x` no whole rows.
pub fn hadamard(cpu: &Cpu, x: &mut [f32], n: usize) {
    assert!(n.is_power_of_two() && x.len().is_multiple_of(n));
    let n_rows = x.len() / n;
    let shared = SharedMut::new(x);
    cpu.for_rows(n_rows, n * n.ilog2() as usize, |rows| {
        for row in rows {
            // SAFETY: each row is one task's.
            hadamard_row(cpu.isa, unsafe { shared.range(row * n..(row + 1) * n) });
        }
    });
}

/// The same of one row.
///
/// # Panics
/// If its length is no power of two.
pub fn hadamard_row(isa: Isa, row: &mut [f32]) {
    assert!(row.len().is_power_of_two());
    isa.run(Row(row));
}

struct Row<'a>(&'a mut [f32]);

impl Kernel for Row<'_> {
    type Output = ();

    /// What the compiler makes of it for an instruction set is good enough, and rounds alike.
    #[inline(always)]
    fn run<W: Wide>(self, _: W) {
        let Row(x) = self;
        let n = x.len();
        let mut half = 1;
        while half < n {
            for pair in x.chunks_exact_mut(2 * half) {
                let (first, second) = pair.split_at_mut(half);
                for (a, b) in first.iter_mut().zip(second) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        let scale = 1.0 / (n as f32).sqrt();
        for x in x {
            *x *= scale;
        }
    }
}
