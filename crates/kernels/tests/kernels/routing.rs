use puna_kernels::routing::{
    chosen_softmax, chosen_softmax_backward, route, scored_rows, scored_rows_backward, weighted_rows_backward,
};
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

/// How fast `value` grows with the i-th of `values`.
fn difference(values: &[f32], i: usize, value: &dyn Fn(&[f32]) -> f64) -> f32 {
    let at = |by: f32| {
        let mut moved = values.to_vec();
        moved[i] += by;
        value(&moved)
    };
    ((at(1e-2) - at(-1e-2)) / 2e-2) as f32
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
    let want: Vec<f32> = (0..x.len()).map(|i| difference(&x, i, &|x| value(x, &scores))).collect();
    assert_close(&dx, &want, 1e-3, "x");
    let want: Vec<f32> = (0..scores.len()).map(|i| difference(&scores, i, &|s| value(&x, s))).collect();
    assert_close(&dscores, &want, 1e-3, "scores");
}

#[test]
fn chosen_scores_have_the_softmax_of_all_made_one_again() {
    let (n, n_experts, n_used) = (7, 5, 2);
    let scores = random(n * n_experts, 4);
    let (chosen, mut p) = (route(&scores, n_experts, n_used), vec![f32::NAN; scores.len()]);
    chosen_softmax(&scores, n_experts, &chosen, &mut p);
    for (row, (p, scores)) in p.chunks_exact(n_experts).zip(scores.chunks_exact(n_experts)).enumerate() {
        let all: f32 = scores.iter().map(|score| score.exp()).sum();
        let softmax = |e: usize| if chosen[e].contains(&row) { scores[e].exp() / all } else { 0.0 };
        let kept: f32 = (0..n_experts).map(softmax).sum();
        let want: Vec<f32> = (0..n_experts).map(|e| softmax(e) / kept).collect();
        assert_close(p, &want, 1e-6, "softmax");
        assert_eq!(p.iter().filter(|p| **p > 0.0).count(), n_used);
    }
    // Scores that alone would overflow.
    chosen_softmax(&[200.0, 200.0, 0.0], 3, &route(&[200.0, 200.0, 0.0], 3, 2), &mut p[..3]);
    assert_eq!(p[..3], [0.5, 0.5, 0.0]);
}

#[test]
fn gradients_of_weighted_outputs() {
    let (n, n_experts, expert, cols) = (4, 3, 2, 5);
    let scores = random(n * n_experts, 5);
    let chosen = route(&scores, n_experts, 2);
    let weights = |scores: &[f32]| {
        let mut p = vec![0.0; scores.len()];
        chosen_softmax(scores, n_experts, &chosen, &mut p);
        p
    };
    let (p, dp) = (weights(&scores), random(scores.len(), 6));
    let mut dscores = vec![0.0; scores.len()];
    chosen_softmax_backward(&p, n_experts, &dp, &mut dscores);
    let value = |scores: &[f32]| weights(scores).iter().zip(&dp).map(|(p, d)| *p as f64 * *d as f64).sum();
    let want: Vec<f32> = (0..scores.len()).map(|i| difference(&scores, i, &value)).collect();
    assert_close(&dscores, &want, 1e-3, "scores");

    let rows = &chosen[expert];
    assert!(!rows.is_empty());
    let (y, dout) = (random(rows.len() * cols, 7), random(rows.len() * cols, 8));
    let mut dweights = vec![0.0; p.len()];
    weighted_rows_backward(&y, [n_experts, expert], rows, &dout, &mut dweights);
    let value = |p: &[f32]| {
        let factor = |i: usize| p[rows[i / cols] * n_experts + expert] as f64;
        (0..y.len()).map(|i| factor(i) * y[i] as f64 * dout[i] as f64).sum()
    };
    let want: Vec<f32> = (0..p.len()).map(|i| difference(&p, i, &value)).collect();
    assert_close(&dweights, &want, 1e-3, "weights");
}
