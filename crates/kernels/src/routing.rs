//! Which experts of a mixture a token is routed to, and how strongly.
//!
//! A token is routed to the experts of its highest scores. In Llama 4 what enters an expert is the token's row
//! times the sigmoid of its score (llama-models, `models/llama4/moe.py`); in Mixtral what an expert makes of
//! the row is multiplied with the softmax of the chosen scores (Jiang et al. 2024, section 2.1). Scores are few
//! beside the rows, so these loops are plain Rust, which is their definition on every instruction set.

use crate::cpu::{Cpu, SharedMut};

/// For each expert the rows of `scores: [rows, n_experts]` that have it among their `n_used` highest scores,
/// ascending. Of equal scores the expert with the lower index comes first.
///
/// # Panics
/// If `scores` are not whole rows or `n_used` is more than `n_experts`.
pub fn route(scores: &[f32], n_experts: usize, n_used: usize) -> Vec<Vec<usize>> {
    assert!(n_experts > 0 && n_used <= n_experts && scores.len().is_multiple_of(n_experts));
    let (mut rows, mut order) = (vec![Vec::new(); n_experts], Vec::with_capacity(n_experts));
    for (row, scores) in scores.chunks_exact(n_experts).enumerate() {
        order.clear();
        order.extend(0..n_experts);
        order.sort_by(|a: &usize, b| scores[*b].total_cmp(&scores[*a]));
        order[..n_used].iter().for_each(|expert| rows[*expert].push(row));
    }
    rows
}

/// Row i of `out` is row `rows[i]` of `x: [_, cols]` times the sigmoid of that row's score for the expert,
/// which `sigmas[i]` receives: `1 / (1 + e^-score)`.
///
/// # Panics
/// If a size disagrees, or there is no such row or expert.
pub fn scored_rows(
    cpu: &Cpu,
    [x, scores]: [&[f32]; 2],
    [n_experts, expert]: [usize; 2],
    rows: &[usize],
    sigmas: &mut [f32],
    out: &mut [f32],
) {
    assert!(expert < n_experts && scores.len().is_multiple_of(n_experts));
    let cols = x.len() / (scores.len() / n_experts).max(1);
    assert!(sigmas.len() == rows.len() && out.len() == rows.len() * cols);
    for (row, sigma) in rows.iter().zip(sigmas.iter_mut()) {
        *sigma = 1.0 / (1.0 + (-scores[row * n_experts + expert]).exp());
    }
    let (sigmas, out) = (&*sigmas, SharedMut::new(out));
    cpu.for_rows(rows.len(), cols, |part| {
        for i in part {
            // SAFETY: `for_rows` gives each row to one task.
            let y = unsafe { out.range(i * cols..(i + 1) * cols) };
            let x = &x[rows[i] * cols..(rows[i] + 1) * cols];
            y.iter_mut().zip(x).for_each(|(y, x)| *y = sigmas[i] * x);
        }
    });
}

/// The gradients of [`scored_rows`] by `x` and by the scores, added to `dx` and `dscores` where they are
/// wanted.
///
/// # Panics
/// If a size disagrees.
pub fn scored_rows_backward(
    x: &[f32],
    [n_experts, expert]: [usize; 2],
    (rows, sigmas): (&[usize], &[f32]),
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dscores: Option<&mut [f32]>,
) {
    let cols = dy.len() / rows.len().max(1);
    assert!(sigmas.len() == rows.len() && dy.len() == rows.len() * cols);
    let taken = || rows.iter().zip(sigmas).zip(dy.chunks_exact(cols.max(1)));
    if let Some(dx) = dx {
        for ((row, sigma), dy) in taken() {
            let dx = &mut dx[row * cols..(row + 1) * cols];
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += sigma * dy);
        }
    }
    if let Some(dscores) = dscores {
        for ((row, sigma), dy) in taken() {
            let x = &x[row * cols..(row + 1) * cols];
            let dsigma: f32 = x.iter().zip(dy).map(|(x, dy)| x * dy).sum();
            dscores[row * n_experts + expert] += dsigma * sigma * (1.0 - sigma);
        }
    }
}

/// Of each row of `scores: [rows, n_experts]` the softmax of the chosen ones, and zeros for the others. `chosen`
/// says for each expert which rows have chosen it, as [`route`] does.
///
/// # Panics
/// If a size disagrees, or there is no such row.
pub fn chosen_softmax(scores: &[f32], n_experts: usize, chosen: &[Vec<usize>], out: &mut [f32]) {
    assert!(n_experts > 0 && scores.len().is_multiple_of(n_experts));
    assert!(chosen.len() == n_experts && out.len() == scores.len());
    let each = || chosen.iter().enumerate().flat_map(|(e, rows)| rows.iter().map(move |row| (*row, e)));
    let n_rows = scores.len() / n_experts;
    let (mut max, mut sum) = (vec![f32::NEG_INFINITY; n_rows], vec![0.0; n_rows]);
    each().for_each(|(row, e)| max[row] = max[row].max(scores[row * n_experts + e]));
    out.fill(0.0);
    for (row, e) in each() {
        let p = (scores[row * n_experts + e] - max[row]).exp();
        out[row * n_experts + e] = p;
        sum[row] += p;
    }
    each().for_each(|(row, e)| out[row * n_experts + e] /= sum[row]);
}

/// The gradient of [`chosen_softmax`], whose result was `p`: added to `dscores`.
///
/// # Panics
/// If a size disagrees.
pub fn chosen_softmax_backward(p: &[f32], n_experts: usize, dp: &[f32], dscores: &mut [f32]) {
    assert!(n_experts > 0 && p.len() == dp.len() && p.len() == dscores.len());
    let rows = p.chunks_exact(n_experts).zip(dp.chunks_exact(n_experts));
    for ((p, dp), dscores) in rows.zip(dscores.chunks_exact_mut(n_experts)) {
        let mean: f32 = p.iter().zip(dp).map(|(p, dp)| p * dp).sum();
        for ((p, dp), dscore) in p.iter().zip(dp).zip(dscores) {
            *dscore += p * (dp - mean);
        }
    }
}

/// Where row i of `y` was multiplied with the weight of row `rows[i]` for the expert in
/// `[_, n_experts]`: the gradient by the weights, added to `dweights`; `dout` is that by the product.
///
/// # Panics
/// If a size disagrees.
pub fn weighted_rows_backward(
    y: &[f32],
    [n_experts, expert]: [usize; 2],
    rows: &[usize],
    dout: &[f32],
    dweights: &mut [f32],
) {
    let cols = y.len() / rows.len().max(1);
    assert!(expert < n_experts && y.len() == dout.len() && y.len() == rows.len() * cols);
    let both = y.chunks_exact(cols.max(1)).zip(dout.chunks_exact(cols.max(1)));
    for (row, (y, dout)) in rows.iter().zip(both) {
        dweights[row * n_experts + expert] += y.iter().zip(dout).map(|(y, d)| y * d).sum::<f32>();
    }
}
