//! How fast the matrix products are here: `cargo run --release -p puna-kernels --example matmul_speed [THREADS [TYPE [ISA]]]`.
//!
//! Prints, per stored type and instruction set, GFLOP/s of the forward product for 512 activations and of both its
//! gradients, and GB/s of weights for one activation. Medians of several runs.

use puna_kernels::matmul::{Left, Matrix, matmul_nn, matmul_nt};
use puna_kernels::{Cpu, DType, Isa, pool::Pool, quant};
use std::time::Instant;

fn median_seconds(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[3]
}

fn main() {
    let n_threads =
        std::env::args().nth(1).map_or(Pool::default_threads(), |n| n.parse().expect("a number of threads"));
    let wanted =
        |nth: usize, name: &str| std::env::args().nth(nth).is_none_or(|arg| arg.eq_ignore_ascii_case(name));
    let (m, n, k) = (512, 2048, 2048);
    let values =
        |len: usize| -> Vec<f32> { (0..len).map(|i| ((i * 7919) % 251) as f32 / 251.0 - 0.5).collect() };
    let (x, dy) = (values(m * k), values(m * n));
    let (mut y, mut dx, mut dw) = (vec![0.0; m * n], vec![0.0; m * k], vec![0.0; n * k]);
    println!("{n_threads} threads, {m} x {n} x {k}");
    println!("type    isa      y = x Wt   dx = dy W   dW = dyt x   GFLOP/s   one row: GB/s");
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, n_threads);
        for dtype in DType::WEIGHTS {
            let slow = isa.is_scalar() && dtype != DType::F32;
            if slow || !wanted(2, dtype.name()) || !wanted(3, isa.name()) {
                continue;
            }
            // Enough rows that one pass does not fit a cache.
            let rows = 16 * n;
            let mut bytes = vec![0; dtype.bytes_of(rows * k).expect("whole blocks")];
            let row_bytes = bytes.len() / rows;
            quant::encode(dtype, &values(k), &mut bytes[..row_bytes]);
            for r in 1..rows {
                bytes.copy_within(..row_bytes, r * row_bytes);
            }
            let all = Matrix::new(dtype, rows, k, &bytes);
            let weight = Matrix::new(dtype, n, k, &bytes[..n * row_bytes]);
            let gflops = |seconds: f64| 2.0 * (m * n * k) as f64 / seconds / 1e9;
            let forward = median_seconds(|| matmul_nt(&cpu, &x, k, &[weight], &mut [&mut y]));
            let by_x = median_seconds(|| matmul_nn(&cpu, Left::new(m, n, &dy), weight, &mut dx, false));
            let left = Left::transposed(m, n, &dy);
            let by_w = median_seconds(|| matmul_nn(&cpu, left, Matrix::from_f32(m, k, &x), &mut dw, false));
            let mut one = vec![0.0; rows];
            let stream = median_seconds(|| matmul_nt(&cpu, &x[..k], k, &[all], &mut [&mut one]));
            println!(
                "{:7} {:7} {:9.1}   {:9.1}   {:10.1}             {:10.2}",
                dtype.name(),
                isa.name(),
                gflops(forward),
                gflops(by_x),
                gflops(by_w),
                bytes.len() as f64 / stream / 1e9
            );
        }
    }
}
