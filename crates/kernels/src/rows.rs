//! Moves of rows of f32 matrices, and sums and multiples of rows: what stands between the larger operations.
//!
//! Moves are copies, so every instruction set gives the same bits; sums and multiples are element-wise and
//! vectorise by themselves, which gives the same bits too. Functions ending in `_backward` add a gradient to
//! what is there.

use crate::cpu::{Cpu, SharedMut};
use crate::elementwise::add_part;
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
    for_own_rows(cpu, cols, x, |i, x| cpu.isa.run(Scale { x, factor: factors[i] }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::random;

    /// Every function against its formula, element by element, on every instruction set and for every tail.
    #[test]
    fn rows_go_where_they_should() {
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 3);
            for cols in [1, 2, 7, 16, 33, 5000] {
                let x = random(5 * cols, 1);
                let rows = [3, 0, 4, 3];
                let picked: Vec<f32> = rows.iter().flat_map(|i| row(&x, cols, *i).to_vec()).collect();
                let mut y = vec![9.0; 4 * cols];
                gather_rows(&cpu, &x, cols, &rows, &mut y);
                assert_eq!(y, picked);

                let before = random(4 * cols, 2);
                let mut y = before.clone();
                add_gathered_rows(&cpu, &x, cols, &rows, &mut y);
                let want: Vec<f32> = before.iter().zip(&picked).map(|(y, x)| y + x).collect();
                assert_eq!(y, want);

                let mut sums = x.clone();
                add_rows(isa, &mut sums, cols, &rows, &before);
                let mut want = x.clone();
                for (i, r) in rows.iter().enumerate() {
                    (0..cols).for_each(|c| want[r * cols + c] += before[i * cols + c]);
                }
                assert_eq!(sums, want);

                let mut replaced = x.clone();
                replace_rows(&mut replaced, cols, &rows[..3], &before[..3 * cols]);
                let new = |i: usize| rows[..3].iter().position(|r| *r == i);
                let want: Vec<f32> = (0..5 * cols)
                    .map(|at| new(at / cols).map_or(x[at], |i| before[i * cols + at % cols]))
                    .collect();
                assert_eq!(replaced, want);

                let factors = [0.5, -3.0, 1.0 / 3.0, 0.0];
                let mut scaled = before.clone();
                scale_rows(&cpu, &mut scaled, cols, &factors);
                let want: Vec<f32> =
                    before.iter().enumerate().map(|(at, x)| x * factors[at / cols]).collect();
                assert_eq!(scaled, want);
                let mut sums = picked.clone();
                add_scaled_rows(&cpu, &before, cols, &factors, &mut sums);
                let want: Vec<f32> = picked.iter().zip(&want).map(|(y, x)| y + x).collect();
                assert_eq!(sums, want);
            }
        }
    }

    #[test]
    fn columns_and_entries_are_found() {
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 3);
            for cols in [1, 5, 40, 5000] {
                let (x, table) = (random(3 * cols, 1), random(4 * cols, 2));
                let columns: Vec<u32> = (0..cols as u32).rev().collect();
                let mut turned = vec![9.0; 3 * cols];
                gather_columns(&cpu, &x, &columns, &mut turned);
                let want = x.chunks_exact(cols).flat_map(|row| row.iter().rev().copied());
                assert_eq!(turned, want.collect::<Vec<f32>>());

                let entries = [Some(2), None, Some(0)];
                let mut y = x.clone();
                add_entries(&cpu, &mut y, &Matrix::from_f32(4, cols, &table), &entries, -0.75);
                let added = |at: usize| entries[at / cols].map(|e| -0.75 * table[e * cols + at % cols]);
                let want = x.iter().enumerate().map(|(at, x)| added(at).map_or(*x, |a| x + a));
                assert_eq!(y, want.collect::<Vec<f32>>());
            }
        }
    }

    /// Interleaving is undone by its gradient, part by part.
    #[test]
    fn columns_interleave() {
        let cpu = Cpu::new(Isa::best(), 2);
        let (rows, cols) = (3, 4);
        for n_parts in [1, 2, 4] {
            let parts: Vec<Vec<f32>> = (0..n_parts as u64).map(|i| random(rows * cols, i)).collect();
            let slices: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
            let mut all = vec![9.0; n_parts * rows * cols];
            interleave_columns(&cpu, cols, &slices, &mut all);
            for r in 0..rows {
                for c in 0..cols {
                    let out = row(&all, n_parts * cols, r);
                    assert_eq!(out[c], parts[0][r * cols + c]);
                    for part in 1..n_parts {
                        assert_eq!(out[cols + c * (n_parts - 1) + part - 1], parts[part][r * cols + c]);
                    }
                }
            }
            for (i, part) in parts.iter().enumerate() {
                let mut dx = vec![0.0; rows * cols];
                interleave_columns_backward(&cpu, cols, n_parts, i, &all, &mut dx);
                assert_eq!(&dx, part);
            }
        }
    }
}
