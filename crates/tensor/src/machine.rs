//! What this machine can do, measured in a moment.

use std::hint::black_box;
use std::time::Instant;

use puna_kernels::isa::Kernel;
use puna_kernels::simd::{Rows16, Simd, Wide};

use crate::Cpu;

/// How many bytes a second so many threads read from memory together: the best of several tries, since others can
/// only lower it.
pub fn read_speed(n_threads: usize) -> f64 {
    const WORDS: usize = (128 << 20) / 8;
    const TRIES: usize = 3;
    let n_threads = n_threads.max(1);
    // More than any cache holds, written so that the pages are there.
    let words = vec![1u64; WORDS * n_threads];
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in words.chunks(WORDS) {
                scope.spawn(|| std::hint::black_box(sum(part)));
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (words.len() * 8) as f64 / best
}

/// Sums that do not wait for each other.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    for part in words.as_chunks::<32>().0 {
        for (sum, word) in sums.iter_mut().zip(part) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// How many multiplications and additions of f32 a second the threads of `cpu` do together where they do nothing
/// else: what no product of matrices can exceed. The best of several tries of a few milliseconds.
pub fn multiply_add_speed(cpu: &Cpu) -> f64 {
    const STEPS: usize = 200_000;
    const TRIES: usize = 5;
    let n_tasks = 2 * cpu.pool.n_threads();
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let start = Instant::now();
        cpu.pool.run(n_tasks, |_, _| {
            black_box(cpu.isa.run(MultiplyAdds { x: black_box(0.5), n_steps: STEPS }));
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (2 * ACCUMULATORS * LANES * STEPS * n_tasks) as f64 / best
}

/// As many sums as hide the latency of each, in vectors as wide as any instruction set has.
const ACCUMULATORS: usize = 12;
const LANES: usize = 16;

/// Sums that do not wait for each other; the loop vectorises by itself.
struct MultiplyAdds {
    x: f32,
    n_steps: usize,
}

impl Kernel for MultiplyAdds {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd + Rows16 + Wide>(self, _: S) -> f32 {
        let mut sums = [[self.x; LANES]; ACCUMULATORS];
        for _ in 0..self.n_steps {
            for sum in &mut sums {
                for lane in sum {
                    *lane = self.x.mul_add(*lane, self.x);
                }
            }
        }
        sums.iter().flatten().sum()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_threads_multiply_at_some_speed() {
        use crate::{Cpu, Isa};
        let speed = super::multiply_add_speed(&Cpu::new(Isa::best(), 1));
        println!("{:.1} GFLOP/s", speed / 1e9);
        assert!(speed > 1e8 && speed.is_finite(), "{speed}");
    }

    #[test]
    fn memory_is_read_at_some_speed() {
        let speed = super::read_speed(1);
        assert!(speed > 1e8 && speed.is_finite(), "{speed}");
    }
}
