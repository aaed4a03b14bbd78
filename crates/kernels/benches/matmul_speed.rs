//! How fast the matrix products are here: `cargo bench -p puna-kernels --bench matmul_speed -- [THREADS [TYPE
//! [ISA]]]`.
//!
//! First what the machine can do at most. Then, per stored type and instruction set, in billions of
//! operations per second: the forward product of 512 rows of activations as f32 and, of quantised weights, as
//! eight-bit numbers, with the share of the peak in f32 or int8; and both gradients. Last the weights read
//! per second for one row and for eight, as stored and repacked, from a matrix larger than caches, with the
//! share of what memory gives. Medians of several runs.

mod ceilings;

use std::time::Instant;

use ceilings::Ceilings;
use puna_kernels::matmul::{Activations, Left, Matrix, Repacked, matmul_nn, matmul_nt};
use puna_kernels::{Cpu, DType, Isa, pool::Pool, quant};

/// The middle of several times.
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

/// A figure and its share of a ceiling.
fn share(value: f64, ceiling: Option<f64>) -> String {
    match ceiling {
        Some(ceiling) => format!("{value:7.1} ({:3.0} %)", 100.0 * value / ceiling),
        None => format!("{value:7.1}        "),
    }
}

fn main() {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let n_threads = args.first().map_or(Pool::default_threads(), |n| n.parse().expect("a number of threads"));
    let wanted = |nth: usize, name: &str| args.get(nth).is_none_or(|arg| arg.eq_ignore_ascii_case(name));
    for isa in Isa::available().into_iter().filter(|isa| wanted(2, isa.name())) {
        let ceilings = Ceilings::measure(isa, n_threads);
        let shown = |x: Option<f64>| x.map_or("?".to_owned(), |x| format!("{x:.0}"));
        println!(
            "\n{}, {n_threads} threads: memory {:.1} GB/s; {} GFLOP/s in f32, {} in bf16, {} GOP/s in int8",
            isa.name(),
            ceilings.gb_per_s,
            shown(ceilings.f32_gop_per_s),
            shown(ceilings.bf16_gop_per_s),
            shown(ceilings.int8_gop_per_s),
        );
        println!(
            "type    y = x Wt in f32  in int8           dx = dy W  dW = dyt x   one row, GB/s    eight rows       one, repacked    eight, repacked"
        );
        for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
            let slow = isa.is_scalar() && dtype != DType::F32;
            if !slow && wanted(1, dtype.name()) {
                let cpu = Cpu::new(isa, n_threads);
                measure(&cpu, dtype, &ceilings);
            }
        }
    }
}

/// Prints the line of one type.
fn measure(cpu: &Cpu, dtype: DType, ceilings: &Ceilings) {
    const LARGE_BYTES: usize = 400 << 20;
    let (m, n, k) = (512, 2048, 2048);
    let values =
        |len: usize| -> Vec<f32> { (0..len).map(|i| ((i * 7919) % 251) as f32 / 251.0 - 0.5).collect() };
    let (x, dy) = (values(m * k), values(m * n));
    let (mut y, mut dx, mut dw) = (vec![0.0; m * n], vec![0.0; m * k], vec![0.0; n * k]);
    let row_bytes = dtype.bytes_of(k).expect("whole blocks");
    // Rows that are the same are read all the same.
    let rows = (LARGE_BYTES / row_bytes).next_multiple_of(n);
    let mut bytes = vec![0; rows * row_bytes];
    quant::encode(dtype, &values(k), &mut bytes[..row_bytes]);
    for r in 1..rows {
        bytes.copy_within(..row_bytes, r * row_bytes);
    }
    let weight = Matrix::new(dtype, n, k, &bytes[..n * row_bytes]);
    let gops = |seconds: f64| 2.0 * (m * n * k) as f64 / seconds / 1e9;
    let mut forward =
        |activations| gops(median_seconds(|| matmul_nt(cpu, &x, k, activations, &[weight], &mut [&mut y])));
    let in_f32 = share(forward(Activations::F32), ceilings.f32_gop_per_s);
    let in_int8 = match dtype.block_len() {
        1 => "      -        ".to_owned(),
        _ => share(forward(Activations::Int8), ceilings.int8_gop_per_s),
    };
    let by_x = gops(median_seconds(|| matmul_nn(cpu, Left::new(m, n, &dy), weight, &mut dx, false)));
    let left = Left::transposed(m, n, &dy);
    let by_w = gops(median_seconds(|| matmul_nn(cpu, left, Matrix::from_f32(m, k, &x), &mut dw, false)));
    // As in a model: matrices of some thousand rows, one after the other.
    let mut out = vec![0.0; 8 * n];
    let parts: Vec<Matrix> =
        bytes.chunks_exact(n * row_bytes).map(|part| Matrix::new(dtype, n, k, part)).collect();
    let copies: Vec<Option<Repacked>> =
        parts.iter().map(|part| Repacked::new(cpu, part, Activations::Int8, |_| ())).collect();
    let mut stream = |m: usize, repacked: bool| {
        let seconds = median_seconds(|| {
            for (part, copy) in parts.iter().zip(&copies) {
                let weight = match copy {
                    Some(copy) if repacked => part.with(copy),
                    _ => *part,
                };
                matmul_nt(cpu, &x[..m * k], k, Activations::Int8, &[weight], &mut [&mut out[..m * n]]);
            }
        });
        share(bytes.len() as f64 / seconds / 1e9, Some(ceilings.gb_per_s))
    };
    let (one, eight) = (stream(1, false), stream(8, false));
    let (one_repacked, eight_repacked) = (stream(1, true), stream(8, true));
    println!(
        "{:7} {in_f32}  {in_int8} {by_x:10.1} {by_w:11.1}   {one}  {eight}  {one_repacked}  {eight_repacked}",
        dtype.name()
    );
}
