//! How fast one core decodes each weight type with each instruction set.
//!
//! `cargo bench -p puna-kernels --bench decode_speed` prints, per type, billions of weights and of encoded
//! bytes per second: from a cache-sized block of rows, and from a matrix far larger than the caches.

use puna_kernels::dtype::DType;
use puna_kernels::isa::Isa;
use puna_kernels::quant::{decode_with, encode_with};
use std::hint::black_box;
use std::time::Instant;

/// Weights decoded at once: their floats and bytes fit in a 48 KiB first-level cache.
const PART: usize = 8192;
/// Bytes of the large matrix.
const LARGE_BYTES: usize = 64 << 20;

fn main() {
    println!(
        "{:7} {:8} {:>12} {:>8}   {:>12} {:>8}",
        "type", "isa", "cached Gw/s", "GB/s", "memory Gw/s", "GB/s"
    );
    let noise = noise(LARGE_BYTES);
    for dtype in DType::WEIGHTS {
        let part_bytes = dtype.bytes_of(PART).expect("whole blocks");
        let bytes_per_weight = part_bytes as f64 / PART as f64;
        for isa in Isa::available() {
            let mut out = Aligned([0.0; PART]);
            let mut decode = |bytes: &[u8]| decode_with(isa, dtype, black_box(bytes), black_box(&mut out.0));
            let cached = best_rate(200, || {
                for _ in 0..64 {
                    decode(&noise[..part_bytes]);
                }
                64 * PART
            });
            let memory = best_rate(3, || {
                let parts = noise.chunks_exact(part_bytes);
                let n = parts.len() * PART;
                parts.for_each(&mut decode);
                n
            });
            println!(
                "{:7} {:8} {:12.2} {:8.2}   {:12.2} {:8.2}",
                dtype.name(),
                isa.name(),
                cached,
                cached * bytes_per_weight,
                memory,
                memory * bytes_per_weight
            );
        }
    }
    println!("\nencoding, cached");
    let mut x = Aligned([0.0; PART]);
    for (x, b) in x.0.iter_mut().zip(&noise) {
        *x = *b as f32 - 100.0;
    }
    for dtype in DType::WEIGHTS {
        for isa in Isa::available() {
            let mut bytes = vec![0; dtype.bytes_of(PART).expect("whole blocks")];
            let rate = best_rate(20, || {
                encode_with(isa, dtype, black_box(&x.0), black_box(&mut bytes));
                PART
            });
            println!("{:7} {:8} {:12.4} Gw/s", dtype.name(), isa.name(), rate);
        }
    }
}

/// Vectors that straddle cache lines are stored at half the speed.
#[repr(align(64))]
struct Aligned([f32; PART]);

/// The best of some runs, in billions of weights per second; `run` returns how many it did.
fn best_rate(n_runs: usize, mut run: impl FnMut() -> usize) -> f64 {
    (0..n_runs)
        .map(|_| {
            let start = Instant::now();
            run() as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .fold(0.0, f64::max)
}

/// Arbitrary bytes, none of them the same for long (a xorshift generator).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state | 0x2020_2020_2020_2020).to_le_bytes() // No scale of MXFP4 is subnormal.
        })
        .collect()
}
