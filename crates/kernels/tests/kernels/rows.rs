use puna_kernels::matmul::Matrix;
use puna_kernels::rows::{
    add_entries, add_gathered_rows, add_rows, add_scaled_rows, gather_columns, gather_rows,
    interleave_columns, interleave_columns_backward, replace_rows, scale_rows,
};
use puna_kernels::{Cpu, Isa};

use crate::test_data::random;

fn row(x: &[f32], cols: usize, i: usize) -> &[f32] {
    &x[i * cols..][..cols]
}

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
            let want: Vec<f32> = before.iter().enumerate().map(|(at, x)| x * factors[at / cols]).collect();
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
