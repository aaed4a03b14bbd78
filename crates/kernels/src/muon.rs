//! One step of Muon (Jordan 2024, kellerjordan.github.io/posts/muon): the momentum of a matrix, made nearly
//! orthogonal, is what is subtracted from it.
//!
//! The order of operations is that of `torch.optim.Muon` in its defaults: the momentum is a running mean (a lerp),
//! looked ahead once as Nesterov does, and five Newton-Schulz steps X ← a X + (b A + c A²) X with A = X Xᵀ bring its
//! singular values to between 0.7 and 1.2. PyTorch rounds X to bf16 for that; we stay in f32, which is nearer to the
//! formula. Only for matrices; vectors, embeddings and output matrices are AdamW's.

use crate::cpu::{Cpu, SharedMut};
use crate::elementwise::{PART, add_scaled, scale, sum_of_squares};
use crate::isa::Kernel;
use crate::matmul::{Activations, Left, Matrix, matmul_nn, matmul_nt};
use crate::simd::Simd;

/// How the learning rate follows a matrix's shape, under the names of `torch.optim.Muon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuonRate {
    /// times sqrt(max(1, rows / cols)), as Jordan published it: `original`.
    Original,
    /// times 0.2 sqrt(max(rows, cols)), so that elements move about as far as AdamW's (Liu et al. 2025), and one
    /// learning rate serves both: `match_rms_adamw`.
    MatchRmsAdamw,
}

impl MuonRate {
    fn factor(self, rows: usize, cols: usize) -> f32 {
        let (rows, cols) = (rows as f64, cols as f64);
        let factor = match self {
            MuonRate::Original => (rows / cols).max(1.0).sqrt(),
            MuonRate::MatchRmsAdamw => 0.2 * rows.max(cols).sqrt(),
        };
        factor as f32
    }
}

/// The constants of a step.
#[derive(Clone, Copy, Debug)]
pub struct MuonStep {
    /// Learning rate of this step, before `rate`.
    pub lr: f32,
    /// What it is multiplied with.
    pub rate: MuonRate,
    /// Decay of the momentum.
    pub momentum: f32,
    /// Decoupled weight decay, by `lr` as it is.
    pub weight_decay: f32,
    /// Factor of the gradient: 1, or less where its norm is clipped.
    pub gradient_scale: f32,
}

/// a, b and c of the Newton-Schulz steps.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
const N_STEPS: usize = 5;
/// The least norm that momentum is divided by.
const EPS: f64 = 1e-7;
/// Updates the matrix `w: [rows, cols]` and its momentum `m` by the gradient `g`.
///
/// # Panics
/// If the sizes disagree.
pub fn muon(cpu: &Cpu, step: &MuonStep, [rows, cols]: [usize; 2], w: &mut [f32], g: &[f32], m: &mut [f32]) {
    let len = w.len();
    assert!(Some(len) == rows.checked_mul(cols) && [g.len(), m.len()] == [len; 2]);
    if len == 0 {
        return;
    }
    let mut update = cpu.buffers.take::<f32>(len);
    follow(cpu, step, g, m, &mut update);
    // The products are cheaper, and those of PyTorch, if there are no more rows than columns.
    if rows > cols {
        let mut turned = cpu.buffers.take::<f32>(len);
        transpose(cpu, [rows, cols], &update, &mut turned);
        orthogonalise(cpu, [cols, rows], &mut turned);
        transpose(cpu, [cols, rows], &turned, &mut update);
    } else {
        orthogonalise(cpu, [rows, cols], &mut update);
    }
    let decay = 1.0 - step.lr * step.weight_decay;
    scale(cpu, w, decay);
    add_scaled(cpu, w, -step.lr * step.rate.factor(rows, cols), &update);
}

/// The momentum follows the gradient; `update` is the gradient on its way to it.
fn follow(cpu: &Cpu, step: &MuonStep, g: &[f32], m: &mut [f32], update: &mut [f32]) {
    let (len, m, update) = (g.len(), SharedMut::new(m), SharedMut::new(update));
    cpu.for_rows(len.div_ceil(PART), PART, |parts| {
        let at = parts.start * PART..(parts.end * PART).min(len);
        // SAFETY: tasks have disjoint parts.
        let (m, update) = unsafe { (m.range(at.clone()), update.range(at.clone())) };
        cpu.isa.run(Follow { step, g: &g[at], m, update });
    });
}

/// `x: [rows, cols]` over its norm, then with all singular values near 1. `rows` are at most `cols`.
fn orthogonalise(cpu: &Cpu, [rows, cols]: [usize; 2], x: &mut [f32]) {
    let [a, b, c] = COEFFICIENTS;
    scale(cpu, x, (1.0 / sum_of_squares(x).sqrt().max(EPS)) as f32);
    let mut gram = cpu.buffers.take::<f32>(rows * rows);
    let mut polynomial = cpu.buffers.take::<f32>(rows * rows);
    let mut next = cpu.buffers.take::<f32>(x.len());
    for _ in 0..N_STEPS {
        let itself = Matrix::from_f32(rows, cols, x);
        matmul_nt(cpu, x, cols, Activations::F32, &[itself], &mut [&mut gram[..]]);
        let of_gram = Matrix::from_f32(rows, rows, &gram);
        matmul_nn(cpu, Left::new(rows, rows, &gram), of_gram, &mut polynomial, false);
        scale(cpu, &mut polynomial, c);
        add_scaled(cpu, &mut polynomial, b, &gram);
        matmul_nn(cpu, Left::new(rows, rows, &polynomial), itself, &mut next, false);
        add_scaled(cpu, &mut next, a, x);
        x.copy_from_slice(&next);
    }
}

/// `x: [rows, cols]` as `[cols, rows]`.
fn transpose(cpu: &Cpu, [rows, cols]: [usize; 2], x: &[f32], out: &mut [f32]) {
    // Of a cache line of each row at a time.
    const COLUMNS: usize = 16;
    let out = SharedMut::new(out);
    cpu.for_rows(cols.div_ceil(COLUMNS), COLUMNS * rows, |parts| {
        for part in parts {
            let columns = part * COLUMNS..((part + 1) * COLUMNS).min(cols);
            // SAFETY: tasks have disjoint columns of `x`, which are rows of `out`.
            let out = unsafe { out.range(columns.start * rows..columns.end * rows) };
            for (r, row) in x.chunks_exact(cols).enumerate() {
                for (c, x) in row[columns.clone()].iter().enumerate() {
                    out[c * rows + r] = *x;
                }
            }
        }
    });
}

/// Plain element-wise arithmetic: the loop vectorises by itself and every version gives the same bits.
struct Follow<'a> {
    step: &'a MuonStep,
    g: &'a [f32],
    m: &'a mut [f32],
    update: &'a mut [f32],
}

impl Kernel for Follow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let MuonStep { momentum, gradient_scale, .. } = *self.step;
        for ((update, g), m) in self.update.iter_mut().zip(self.g).zip(self.m) {
            let g = g * gradient_scale;
            *m += (1.0 - momentum) * (g - *m);
            *update = g + momentum * (*m - g);
        }
    }
}
