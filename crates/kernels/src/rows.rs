//! Moves of rows of f32 matrices, and sums and multiples of rows: what stands between the larger operations.
//!
//! Moves are copies, so every instruction set gives the same bits; sums and multiples are element-wise and
//! vectorise by themselves, which gives the same bits too. Functions ending in `_backward` add a gradient to
//! what is there.

use crate::cpu::{Cpu, SharedMut};
use crate::elementwise::{add_part, scale_part};
use crate::isa::{Isa, Kernel};
use crate::matmul::Matrix;
use crate::simd::Simd;

/// Row `rows[i]` of `x: [_, cols]` as row i of `out`.
///
/// # Panics
/// If a size disagrees or `x` has no such row.
pub fn gather_rows(cpu: &Cpu, x: &[f32], cols: usize, rows: &[usize], out: &mut [f32]) {
    assert_eq!(out.len(), rows.len() * cols);
    for_own_rows(cpu, cols, out, |i, out| out.copy_from_slice(row(x, cols, rows[i])));
}

/// Row i of `y` in place of row `rows[i]` of `x: [_, cols]`.
///
/// # Panics
/// If a size disagrees or `x` has no such row.
pub fn replace_rows(x: &mut [f32], cols: usize, rows: &[usize], y: &[f32]) {
    assert_eq!(y.len(), rows.len() * cols);
    for (i, y) in rows.iter().zip(y.chunks_exact(cols)) {
        row_mut(x, cols, *i).copy_from_slice(y);
    }
}

/// Row i of `y` added to row `rows[i]` of `x: [_, cols]`, in the order of `rows`, which may name a row again.
///
/// # Panics
/// If a size disagrees or `x` has no such row.
pub fn add_rows(isa: Isa, x: &mut [f32], cols: usize, rows: &[usize], y: &[f32]) {
    assert_eq!(y.len(), rows.len() * cols);
    for (i, y) in rows.iter().zip(y.chunks_exact(cols)) {
        add_part(isa, row_mut(x, cols, *i), y);
    }
}

/// Row `rows[i]` of `x: [_, cols]` added to row i of `y`.
///
/// # Panics
/// If a size disagrees or `x` has no such row.
pub fn add_gathered_rows(cpu: &Cpu, x: &[f32], cols: usize, rows: &[usize], y: &mut [f32]) {
    assert_eq!(y.len(), rows.len() * cols);
    for_own_rows(cpu, cols, y, |i, y| add_part(cpu.isa, y, row(x, cols, rows[i])));
}

/// Row i of `x: [factors, cols]` times `factors[i]`.
///
/// # Panics
/// If a size disagrees.
pub fn scale_rows(cpu: &Cpu, x: &mut [f32], cols: usize, factors: &[f32]) {
    assert_eq!(x.len(), factors.len() * cols);
    for_own_rows(cpu, cols, x, |i, x| scale_part(cpu.isa, x, factors[i]));
}

/// Row i of `x: [factors, cols]` times `factors[i]`, added to row i of `y`.
///
/// # Panics
/// If a size disagrees.
pub fn add_scaled_rows(cpu: &Cpu, x: &[f32], cols: usize, factors: &[f32], y: &mut [f32]) {
    assert!(x.len() == y.len() && x.len() == factors.len() * cols);
    for_own_rows(cpu, cols, y, |i, y| cpu.isa.run(AddScaled { y, factor: factors[i], x: row(x, cols, i) }));
}

/// Column `columns[j]` of `x: [_, columns.len()]` as column j of `out`.
///
/// # Panics
/// If a size disagrees or `x` has no such column.
pub fn gather_columns(cpu: &Cpu, x: &[f32], columns: &[u32], out: &mut [f32]) {
    let cols = columns.len();
    assert_eq!(x.len(), out.len());
    for_own_rows(cpu, cols, out, |i, out| {
        let x = row(x, cols, i);
        out.iter_mut().zip(columns).for_each(|(out, col)| *out = x[*col as usize]);
    });
}

/// `factor` times row `entries[i]` of `table` added to row i of `x: [entries, table's columns]`; nothing
/// where there is none.
///
/// # Panics
/// If a size disagrees or the table has no such row.
pub fn add_entries(cpu: &Cpu, x: &mut [f32], table: &Matrix, entries: &[Option<usize>], factor: f32) {
    let cols = table.cols();
    assert_eq!(x.len(), entries.len() * cols);
    let x = SharedMut::new(x);
    cpu.for_rows(entries.len(), cols, |rows| {
        let mut entry = vec![0.0; cols];
        for i in rows {
            let Some(at) = entries[i] else { continue };
            table.decode_row(cpu.isa, at, &mut entry);
            // SAFETY: `for_rows` gives each row to one task.
            let y = unsafe { x.range(i * cols..(i + 1) * cols) };
            cpu.isa.run(AddScaled { y, factor, x: &entry });
        }
    });
}

/// The columns of `parts[0]: [rows, cols]`, and after them, for each column, that of each of the other parts.
///
/// # Panics
/// If a size disagrees.
pub fn interleave_columns(cpu: &Cpu, cols: usize, parts: &[&[f32]], out: &mut [f32]) {
    let (first, more) = parts.split_first().expect("at least one part");
    assert!(parts.iter().all(|part| part.len() == first.len()) && out.len() == parts.len() * first.len());
    for_own_rows(cpu, cols * parts.len(), out, |i, out| {
        let (own, others) = out.split_at_mut(cols);
        own.copy_from_slice(row(first, cols, i));
        for (part, x) in more.iter().enumerate() {
            let out = others[part..].iter_mut().step_by(more.len());
            out.zip(row(x, cols, i)).for_each(|(out, x)| *out = *x);
        }
    });
}

/// The gradient of [`interleave_columns`] by its part `part` of `n_parts`: adds the columns of `d` that came
/// from it to `dx`.
///
/// # Panics
/// If a size disagrees or there is no such part.
pub fn interleave_columns_backward(
    cpu: &Cpu,
    cols: usize,
    n_parts: usize,
    part: usize,
    d: &[f32],
    dx: &mut [f32],
) {
    assert!(part < n_parts && d.len() == n_parts * dx.len());
    for_own_rows(cpu, cols, dx, |i, dx| {
        let (first, more) = row(d, cols * n_parts, i).split_at(cols);
        match part.checked_sub(1) {
            None => add_part(cpu.isa, dx, first),
            Some(part) => {
                let d = more[part..].iter().step_by(n_parts - 1);
                dx.iter_mut().zip(d).for_each(|(dx, d)| *dx += d);
            }
        }
    });
}

fn row(x: &[f32], cols: usize, i: usize) -> &[f32] {
    &x[i * cols..(i + 1) * cols]
}

fn row_mut(x: &mut [f32], cols: usize, i: usize) -> &mut [f32] {
    &mut x[i * cols..(i + 1) * cols]
}

/// `each(i, row i)` for the rows of `out: [_, cols]`, spread over the threads.
fn for_own_rows(cpu: &Cpu, cols: usize, out: &mut [f32], each: impl Fn(usize, &mut [f32]) + Sync) {
    assert!(cols > 0 && out.len().is_multiple_of(cols));
    let n_rows = out.len() / cols;
    let out = SharedMut::new(out);
    cpu.for_rows(n_rows, cols, |rows| {
        for i in rows {
            // SAFETY: `for_rows` gives each row to one task.
            each(i, unsafe { out.range(i * cols..(i + 1) * cols) });
        }
    });
}

struct AddScaled<'a> {
    y: &'a mut [f32],
    factor: f32,
    x: &'a [f32],
}

impl Kernel for AddScaled<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.y.iter_mut().zip(self.x).for_each(|(y, x)| *y += self.factor * x);
    }
}
