use puna_kernels::routing::{route, scored_rows, scored_rows_backward};
use puna_kernels::{Cpu, Isa};

use crate::test_data::{assert_close, random};

#[test]
fn rows_go_to_their_highest_scores() {
    let scores = [0.5, 2.0, -1.0, 3.0, 3.0, 3.0, f32::NAN, 0.0, -0.0];
    assert_eq!(route(&scores, 3, 1), [vec![1, 2], vec![0], vec![]]);
    assert_eq!(route(&scores, 3, 2), [vec![0, 1, 2], vec![0, 1, 2], vec![]]);
    assert_eq!(route(&scores, 3, 3), vec![vec![0, 1, 2]; 3]);
    assert_eq!(route(&[], 3, 2), vec![Vec::<usize>::new(); 3]);
}

/// The gradients against differences of the function.
#[test]
fn gradients_are_those_of_the_rows() {
    let (n, cols, n_experts, expert) = (5, 6, 3, 1);
    let (x, scores, rows) = (random(n * cols, 1), random(n * n_experts, 2), [4, 0, 3]);
    let (cpu, dy) = (Cpu::new(Isa::best(), 2), random(rows.len() * cols, 3));
    let value = |x: &[f32], scores: &[f32]| -> f64 {
        let (mut sigmas, mut y) = ([0.0; 3], vec![0.0; dy.len()]);
        scored_rows(&cpu, [x, scores], [n_experts, expert], &rows, &mut sigmas, &mut y);
        y.iter().zip(&dy).map(|(y, d)| *y as f64 * *d as f64).sum()
    };
    let (mut sigmas, mut y) = ([0.0; 3], vec![0.0; dy.len()]);
    scored_rows(&cpu, [&x, &scores], [n_experts, expert], &rows, &mut sigmas, &mut y);
    let (mut dx, mut dscores) = (vec![0.0; x.len()], vec![0.0; scores.len()]);
    let taken = (&rows[..], &sigmas[..]);
    scored_rows_backward(&x, [n_experts, expert], taken, &dy, Some(&mut dx), Some(&mut dscores));
    let difference = |values: &[f32], i: usize, value: &dyn Fn(&[f32]) -> f64| {
        let at = |by: f32| {
            let mut moved = values.to_vec();
            moved[i] += by;
            value(&moved)
        };
        ((at(1e-2) - at(-1e-2)) / 2e-2) as f32
    };
    let want: Vec<f32> = (0..x.len()).map(|i| difference(&x, i, &|x| value(x, &scores))).collect();
    assert_close(&dx, &want, 1e-3, "x");
    let want: Vec<f32> = (0..scores.len()).map(|i| difference(&scores, i, &|s| value(&x, s))).collect();
    assert_close(&dscores, &want, 1e-3, "scores");
}
