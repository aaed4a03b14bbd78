//! What a product of few rows costs, and what limits it: `cargo bench -p puna-kernels --bench few_rows -- [THREADS
//! [TYPE[,TYPE] [ROWS[,ROWS]]]]`.
//!
//! Repacked weights times 1 to 16 rows of activations in eight bits: picoseconds for each weight, of matrices larger than
//! caches and of one that stays in the second-level cache; beside them what reading a weight takes at memory's speed, what
//! its products take at the speed of a loop of nothing else ([`Ceilings::bytes_gop_per_s`]), and the share that the larger
//! of both is of the first. Medians of several runs, in turn.

mod ceilings;

use std::time::Instant;

use ceilings::Ceilings;
use puna_kernels::matmul::{Activations, Matrix, Repacked, matmul_nt};
use puna_kernels::{Cpu, DType, Isa, pool::Pool, quant};

const RUNS: usize = 9;
const LARGE_BYTES: usize = 200 << 20;

fn main() {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let n_threads = args.first().map_or(Pool::default_threads(), |n| n.parse().expect("a number of threads"));
    let types = args.get(1).map_or("Q4_K,Q5_K,Q6_K,Q8_0,Q4_0", String::as_str);
    let rows = args.get(2).map_or("1,2,3,4,6,8,12,16", String::as_str);
    let rows: Vec<usize> = rows.split(',').map(|m| m.parse().expect("numbers of rows")).collect();
    let isa = Isa::best();
    let ceilings = Ceilings::measure(isa, n_threads);
    let gop_per_s = ceilings.bytes_gop_per_s.or(ceilings.int8_gop_per_s);
    println!(
        "{}, {n_threads} threads: {:.1} GB/s, {:.0} GOP/s; picoseconds for each weight:",
        isa.name(),
        ceilings.gb_per_s,
        gop_per_s.unwrap_or(f64::NAN)
    );
    let cpu = Cpu::new(isa, n_threads);
    for name in types.split(',') {
        let dtype = DType::WEIGHTS.into_iter().find(|t| t.name().eq_ignore_ascii_case(name)).expect("a type");
        let [memory, cache] = [LARGE_BYTES, 0].map(|n_bytes| measure(&cpu, dtype, &rows, n_bytes));
        for (i, m) in rows.iter().enumerate() {
            let read = 1e3 * dtype.block_bytes() as f64 / dtype.block_len() as f64 / ceilings.gb_per_s;
            let multiplied = gop_per_s.map_or(0.0, |gop| 2e3 * *m as f64 / gop);
            println!(
                "{:6} {m:3} rows: {:6.1}, in cache {:6.1} ({read:5.1} read, {multiplied:5.1} multiplied, {:3.0} %)",
                dtype.name(),
                memory[i],
                cache[i],
                100.0 * read.max(multiplied) / memory[i],
            );
        }
    }
}

/// The picoseconds that a weight takes with each number of rows: of matrices of so many bytes, or of one that stays in
/// the cache.
fn measure(cpu: &Cpu, dtype: DType, rows: &[usize], n_bytes: usize) -> Vec<f64> {
    let k = 2048;
    let values =
        |len: usize| -> Vec<f32> { (0..len).map(|i| ((i * 7919) % 251) as f32 / 251.0 - 0.5).collect() };
    let row_bytes = dtype.bytes_of(k).expect("whole blocks");
    let n = if n_bytes > 0 { 2048 } else { (256 << 10) / row_bytes / 16 * 16 };
    let mut row = vec![0; row_bytes];
    quant::encode(dtype, &values(k), &mut row);
    let bytes = row.repeat(n);
    let weight = Matrix::new(dtype, n, k, &bytes);
    // As in a model: matrices of some thousand rows, one after the other.
    let n_copies = n_bytes.div_ceil(bytes.len()).max(1);
    let copies: Vec<Repacked> = (0..n_copies)
        .map(|_| Repacked::new(cpu, &weight, Activations::Int8, |_| ()).expect("memory for a copy"))
        .collect();
    let n_times = if n_bytes > 0 { 1 } else { 100 };
    let most = rows.iter().copied().max().unwrap_or(1);
    let (x, mut out) = (values(most * k), vec![0.0; most * n]);
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..RUNS {
        for (m, times) in rows.iter().zip(&mut times) {
            let start = Instant::now();
            for copy in std::iter::repeat_n(&copies, n_times).flatten() {
                let weight = weight.with(copy);
                matmul_nt(cpu, &x[..m * k], k, Activations::Int8, &[weight], &mut [&mut out[..m * n]]);
            }
            times.push(start.elapsed().as_secs_f64() * 1e12 / (n_times * n_copies * n * k) as f64);
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    times.into_iter().map(median).collect()
}
