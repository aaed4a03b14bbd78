//! Cross-entropy of next-token logits, and its gradient by the logits, row by row.
//!
//! For a row of logits z and its target t: loss = log Σ e^z − z_t; gradient = (softmax(z) − onehot(t)) ·
//! scale.

use crate::cpu::{Cpu, SharedMut};
use crate::isa::Kernel;
use crate::simd::{Simd, vectors};

/// Writes each row's loss (0 where the target is `None`) to `losses`. With `gradient_scale`, `logits: [rows,
/// vocab]` is replaced by the gradient of the sum of the losses times that scale (rows without a target:
/// zeros).
///
/// # Panics
/// If the sizes disagree or a target is not an index into its row.
pub fn cross_entropy(
    cpu: &Cpu,
    logits: &mut [f32],
    targets: &[Option<u32>],
    gradient_scale: Option<f32>,
    losses: &mut [f64],
) {
    assert_eq!(targets.len(), losses.len());
    if targets.is_empty() {
        return;
    }
    let vocab_size = logits.len() / targets.len();
    assert!(vocab_size > 0 && logits.len() == vocab_size * targets.len());
    assert!(targets.iter().flatten().all(|&t| (t as usize) < vocab_size));
    let (logits, losses) = (SharedMut::new(logits), SharedMut::new(losses));
    cpu.for_rows(targets.len(), vocab_size, |rows| {
        for row in rows {
            // SAFETY: tasks have disjoint rows.
            let (logits, loss) = unsafe {
                (logits.range(row * vocab_size..(row + 1) * vocab_size), losses.range(row..row + 1))
            };
            loss[0] = one_row(cpu, logits, targets[row], gradient_scale);
        }
    });
}

fn one_row(cpu: &Cpu, logits: &mut [f32], target: Option<u32>, gradient_scale: Option<f32>) -> f64 {
    let Some(target) = target.map(|t| t as usize) else {
        if gradient_scale.is_some() {
            logits.fill(0.0);
        }
        return 0.0;
    };
    let max = match cpu.isa.is_scalar() {
        true => logits.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        false => cpu.isa.run_vectors(Largest(logits)),
    };
    let at_target = logits[target];
    let sum = if cpu.isa.is_scalar() {
        logits.iter().map(|z| (z - max).exp() as f64).sum()
    } else {
        cpu.isa.run_vectors(SumExp { logits, max })
    };
    let loss = sum.ln() + (max - at_target) as f64;
    if let Some(scale) = gradient_scale {
        cpu.isa.run(Gradient { logits, max, factor: (scale as f64 / sum) as f32 });
        logits[target] -= scale;
    }
    loss
}

/// The largest of some logits.
struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (p, whole) = (self.0.as_ptr(), self.0.len() - self.0.len() % S::LANES);
        // Four that do not wait for each other.
        let mut max = [s.splat(f32::NEG_INFINITY); 4];
        for (i, (at, _)) in vectors(s, whole).enumerate() {
            // SAFETY: whole vectors inside the row.
            max[i % 4] = s.max(max[i % 4], unsafe { s.load(p.add(at)) });
        }
        let max = s.max_lane(s.max(s.max(max[0], max[1]), s.max(max[2], max[3])));
        self.0[whole..].iter().copied().fold(max, f32::max)
    }
}

/// Σ e^(z − max), the lanes added in f64.
struct SumExp<'a> {
    logits: &'a [f32],
    max: f32,
}

impl Kernel for SumExp<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut total = 0.0;
        // Parts short enough that a lane's f32 sum stays exact to a few ulp.
        for part in self.logits.chunks(4096) {
            let (p, max) = (part.as_ptr(), s.splat(self.max));
            let mut acc = s.splat(0.0);
            let whole = part.len() - part.len() % S::LANES;
            for (i, _) in vectors(s, whole) {
                // SAFETY: whole vectors inside the part.
                acc = unsafe { s.add(acc, s.exp(s.sub(s.load(p.add(i)), max))) };
            }
            let rest: f32 = part[whole..].iter().map(|z| (z - self.max).exp()).sum();
            total += (s.sum(acc) + rest) as f64;
        }
        total
    }
}

/// z = e^(z − max) · factor in place; zero where e^(z − max) is below 2^-100, because gradients near the smallest
/// float would slow down the products that they enter.
struct Gradient<'a> {
    logits: &'a mut [f32],
    max: f32,
    factor: f32,
}

impl Kernel for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = self.logits.as_mut_ptr();
        let (max, factor, log2_e) =
            (s.splat(self.max), s.splat(self.factor), s.splat(std::f32::consts::LOG2_E));
        for (i, n) in vectors(s, self.logits.len()) {
            // SAFETY: `i + n` is at most the row's length.
            unsafe {
                let e = s.exp2(s.mul(s.sub(s.load_n(p.add(i), n), max), log2_e));
                s.store_n(p.add(i), s.mul(e, factor), n);
            }
        }
    }
}
