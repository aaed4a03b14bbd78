//! What this machine can do, measured in a moment.

use std::time::Instant;

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

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_read_at_some_speed() {
        let speed = super::read_speed(1);
        assert!(speed > 1e8 && speed.is_finite(), "{speed}");
    }
}
