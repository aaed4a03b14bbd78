//! Matrix products of every type against their definitions, and against each other bit for bit.

mod nn;

use puna_kernels::elementwise::add_assign;
use puna_kernels::matmul::{
    Activations, Left, Matrix, Repacked, matmul_nn, matmul_nt, matmul_nt_add, matmul_nt_swiglu,
};
use puna_kernels::swiglu::swiglu;
use puna_kernels::{Cpu, DType, Isa, half, quant};

use crate::test_data::{Random, assert_close, random};

fn encoded(dtype: DType, rows: usize, cols: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; dtype.bytes_of(rows * cols).unwrap()];
    quant::encode(dtype, &random(rows * cols, seed), &mut bytes);
    bytes
}

/// Every type, instruction set and thread count against the scalar definition, for sizes that reach every
/// tail.
#[test]
fn products_equal_the_definition() {
    let scalar = Cpu::new(Isa::SCALAR, 1);
    for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
        for (m, n, cols) in [(1, 9, 1), (2, 70, 2), (7, 13, 1), (70, 67, 5), (13, 130, 9), (780, 70, 1)] {
            let k = if dtype.block_len() == 1 { cols * 131 } else { cols * dtype.block_len() };
            let bytes = encoded(dtype, n, k, 3);
            let weight = Matrix::new(dtype, n, k, &bytes);
            let (x, dy) = (random(m * k, 4), random(m * n, 5));
            let (mut want, mut want_dx) = (vec![0.0; m * n], random(m * k, 6));
            matmul_nt(&scalar, &x, k, Activations::F32, &[weight], &mut [&mut want]);
            matmul_nn(&scalar, Left::new(m, n, &dy), weight, &mut want_dx, true);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                let mut got = vec![1.0; m * n];
                matmul_nt(&cpu, &x, k, Activations::F32, &[weight], &mut [&mut got]);
                // |x|, |w| <= 1: the rounding of a sum of k products.
                assert_close(&got, &want, k as f32 * f32::EPSILON, &format!("nt {dtype} {}", isa.name()));
                let (mut got, bound) = (random(m * k, 6), 2.0 * n as f32 * f32::EPSILON);
                matmul_nn(&cpu, Left::new(m, n, &dy), weight, &mut got, true);
                assert_close(&got, &want_dx, bound, &format!("nn {dtype} {}", isa.name()));
            }
        }
    }
}

/// Every size of both tiles and every tail of the shared dimension.
#[test]
fn tiles_of_every_size_equal_the_definition() {
    let scalar = Cpu::new(Isa::SCALAR, 1);
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 1);
        for (m, n) in (1..=8).flat_map(|m| (1..=9).map(move |n| (m, n))) {
            for k in 1..=3 * isa.f32_lanes() + 1 {
                let (x, w, dy) = (random(m * k, 1), random(n * k, 2), random(m * n, 3));
                let weight = Matrix::from_f32(n, k, &w);
                let what = format!("{} {m} x {n} x {k}", isa.name());
                let (mut want, mut got) = (vec![0.0; m * n], vec![1.0; m * n]);
                matmul_nt(&scalar, &x, k, Activations::F32, &[weight], &mut [&mut want]);
                matmul_nt(&cpu, &x, k, Activations::F32, &[weight], &mut [&mut got]);
                assert_close(&got, &want, k as f32 * f32::EPSILON, &what);
                let (mut want, mut got) = (vec![0.0; m * k], vec![1.0; m * k]);
                matmul_nn(&scalar, Left::new(m, n, &dy), weight, &mut want, false);
                matmul_nn(&cpu, Left::new(m, n, &dy), weight, &mut got, false);
                assert_close(&got, &want, n as f32 * f32::EPSILON, &what);
            }
        }
    }
}

#[test]
fn the_transposed_left_side_gives_the_weight_gradient() {
    let (m, n, k) = (37, 19, 83);
    let (dy, x) = (random(m * n, 1), random(m * k, 2));
    let mut want = vec![0.0; n * k];
    for i in 0..m {
        for r in 0..n {
            for c in 0..k {
                want[r * k + c] += dy[i * n + r] * x[i * k + c];
            }
        }
    }
    for isa in Isa::available() {
        let mut got = vec![7.0; n * k];
        let left = Left::transposed(m, n, &dy);
        matmul_nn(&Cpu::new(isa, 2), left, Matrix::from_f32(m, k, &x), &mut got, false);
        assert_close(&got, &want, 2.0 * m as f32 * f32::EPSILON, isa.name());
    }
}

/// Whole-number products against their definition in f64: the rounded activations times the decoded weights.
#[test]
fn whole_number_products_equal_the_definition() {
    for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
        let Some(group) = Activations::Int8.group(dtype) else { continue };
        for (m, n, cols) in [(1, 1, 1), (2, 70, 2), (7, 33, 3), (13, 64, 9), (5, 16, 17), (800, 40, 1)] {
            let k = cols * dtype.block_len();
            let bytes = encoded(dtype, n, k, 3);
            let weight = Matrix::new(dtype, n, k, &bytes);
            let x = random(m * k, 4);
            let rounded: Vec<f64> = x
                .chunks_exact(group)
                .flat_map(|x| {
                    let largest = x.iter().fold(0f32, |max, x| max.max(x.abs()));
                    let (scale, inverse) = (largest / 127.0, 127.0 / largest);
                    x.iter().map(move |x| (x * inverse).round() as f64 * scale as f64)
                })
                .collect();
            // What each output is, and the sum of the magnitudes it is made of.
            let (mut want, mut row) = (vec![(0.0, 0.0); m * n], vec![0.0; k]);
            for j in 0..n {
                let row_bytes = &bytes[j * bytes.len() / n..(j + 1) * bytes.len() / n];
                quant::decode_rounded(dtype, row_bytes, &mut row);
                for i in 0..m {
                    let products = rounded[i * k..][..k].iter().zip(&row).map(|(x, &w)| x * w as f64);
                    want[i * n + j] = products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
                }
            }
            for isa in Isa::available() {
                let mut got = vec![7.0; m * n];
                let cpu = Cpu::new(isa, 2);
                matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut got]);
                for (got, (want, size)) in got.iter().zip(&want) {
                    // Sub-blocks and groups are added in f32, minima apart from the rest, which may be larger.
                    let bound = (k as f64 / 16.0 + 8.0) * f32::EPSILON as f64 * (4.0 * size + 1e-30);
                    let difference = (*got as f64 - want).abs();
                    let what = format!("{dtype} {} {m} x {n} x {k}", isa.name());
                    assert!(difference <= bound, "{what}: {difference}, {bound}");
                }
            }
        }
    }
}

/// Rounding activations leaves an error like that of rounding weights to Q8_0, and a value that is no number
/// shows.
#[test]
fn whole_number_products_are_near_the_exact_ones() {
    let (m, n, k) = (3, 20, 512);
    let cpu = Cpu::new(Isa::best(), 1);
    for dtype in [DType::Q8_0, DType::Q4_K, DType::Q6_K, DType::NF4, DType::FP4] {
        let bytes = encoded(dtype, n, k, 1);
        let weight = Matrix::new(dtype, n, k, &bytes);
        let mut x = random(m * k, 2);
        let (mut exact, mut rounded) = (vec![0.0; m * n], vec![0.0; m * n]);
        matmul_nt(&cpu, &x, k, Activations::F32, &[weight], &mut [&mut exact]);
        matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut rounded]);
        // Each activation is off by at most 1/254, each weight at most 1 or so; errors are independent.
        assert_close(&rounded, &exact, 4.0 * (k as f32).sqrt() / 254.0, dtype.name());
        assert_ne!(rounded, exact);
        x[k] = f32::NAN;
        x[2 * k] = f32::INFINITY;
        matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut rounded]);
        assert!(rounded[..n].iter().all(|y| y.is_finite()) && rounded[n..].iter().all(|y| y.is_nan()));
        x.fill(0.0);
        x[0] = 1e-38;
        matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut rounded]);
        assert!(rounded.iter().all(|&y| y == 0.0));
    }
}

/// A row's bits do not depend on the rows multiplied with it, on the number of threads, nor on whether
/// weights were repacked. 27 and 29 rows have tiles of every size; up to eight go another way.
#[test]
fn a_batch_gives_the_bits_of_its_members() {
    for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
        // Where blocks allow it, their number is odd.
        let (n, k) = (70, 1024 + if dtype.block_len() > 32 { 256 } else { 96 });
        let bytes = encoded(dtype, n, k, 1);
        let weight = Matrix::new(dtype, n, k, &bytes);
        for (isa, activations) in
            Isa::available().into_iter().flat_map(|isa| [(isa, Activations::F32), (isa, Activations::Int8)])
        {
            let x = random(29 * k, 2);
            let three = Cpu::new(isa, 3);
            let (alone, mut want) = (Cpu::new(isa, 1), vec![0.0; 29 * n]);
            for (x, want) in x.chunks_exact(k).zip(want.chunks_exact_mut(n)) {
                matmul_nt(&alone, x, k, activations, &[weight], &mut [want]);
            }
            let copy = Repacked::new(&three, &weight, activations, |_| ());
            let coded = dtype.block_len() > 1;
            use DType::*;
            let has_copies = dtype != F8_B;
            let can = if coded { activations == Activations::Int8 && has_copies } else { true };
            assert_eq!(copy.is_some(), can, "{dtype} {activations:?}");
            if let Some(copy) = &copy {
                // A copy for other activations is left alone.
                let (mut with, mut without) = (vec![7.0; 3 * n], vec![7.0; 3 * n]);
                let x = &x[..3 * k];
                matmul_nt(&three, x, k, Activations::F32, &[weight], &mut [&mut without]);
                matmul_nt(&three, x, k, Activations::F32, &[weight.with(copy)], &mut [&mut with]);
                assert!(with == without, "{dtype} {}", isa.name());
            }
            for weight in [Some(weight), copy.as_ref().map(|copy| weight.with(copy))].into_iter().flatten() {
                for m in [1, 2, 3, 4, 5, 6, 7, 8, 9, 27, 29] {
                    let mut all = vec![7.0; m * n];
                    matmul_nt(&three, &x[..m * k], k, activations, &[weight], &mut [&mut all]);
                    let repacked = weight.is_repacked();
                    let what = format!("{dtype} {} {activations:?} {m} {repacked}", isa.name());
                    assert!(all == want[..m * n], "{what}");
                }
            }
        }
    }
}

/// Rows of FP8 with a factor each, against sums in f64 of the values they stand for: whole and partial
/// panels, repacked or not, alone, added and gated, and the gradient. The same bits in every batch.
#[test]
fn fp8_products_equal_the_definition() {
    let dtype = DType::F8_E4M3;
    for (n, k) in [(1, 1), (16, 32), (70, 33), (33, 600), (96, 1280)] {
        let values: Vec<f32> = random(n * k, 1).iter().map(|x| 448.0 * x).collect();
        let mut bytes = vec![0; n * k];
        quant::encode(dtype, &values, &mut bytes);
        // Subnormal codes too.
        bytes.iter_mut().step_by(7).for_each(|code| *code &= 0x87);
        let scales: Vec<f32> = random(n, 2).iter().map(|x| x / 300.0).collect();
        let weight = Matrix::new(dtype, n, k, &bytes).with_row_scales(&scales);
        let x = random(29 * k, 3);
        let value = |r: usize, c: usize| half::e4m3_to_f32(bytes[r * k + c]) as f64 * scales[r] as f64;
        let want: Vec<f64> =
            (0..29 * n).map(|i| (0..k).map(|c| x[i / n * k + c] as f64 * value(i % n, c)).sum()).collect();
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 3);
            let copy = Repacked::new(&cpu, &weight, Activations::F32, |_| ());
            assert_eq!(copy.is_some(), k % 4 == 0);
            let product = |weight, m: usize| {
                let mut y = vec![7.0; m * n];
                matmul_nt(&cpu, &x[..m * k], k, Activations::Int8, &[weight], &mut [&mut y]);
                y
            };
            let all = product(weight, 29);
            for (got, want) in all.iter().zip(&want) {
                // |x| <= 1, |w| <= 1.5.
                let bound = 1.5 * k as f64 * f32::EPSILON as f64;
                assert!((*got as f64 - want).abs() <= bound, "{n} x {k} {}: {got}, {want}", isa.name());
            }
            for m in [1, 2, 7, 8, 9, 29] {
                assert!(product(weight, m) == all[..m * n], "{n} x {k} {m} {}", isa.name());
                if let Some(copy) = &copy {
                    assert!(product(weight.with(copy), m) == all[..m * n], "{m} {}", isa.name());
                }
            }
            let (mut sum, mut want_sum) = (vec![1.0; 3 * n], vec![1.0; 3 * n]);
            matmul_nt_add(&cpu, &x[..3 * k], k, Activations::Int8, weight, &mut sum);
            add_assign(&cpu, &mut want_sum, &all[..3 * n]);
            let (mut gated, mut want_gated) = (vec![1.0; 3 * n], vec![1.0; 3 * n]);
            matmul_nt_swiglu(&cpu, &x[..3 * k], k, Activations::Int8, [weight, weight], &mut gated);
            swiglu(&cpu, &all[..3 * n], &all[..3 * n], &mut want_gated);
            assert!(sum == want_sum && gated == want_gated, "{n} x {k} {}", isa.name());
            let dy = random(5 * n, 4);
            let mut dx = vec![7.0; 5 * k];
            matmul_nn(&cpu, Left::new(5, n, &dy), weight, &mut dx, false);
            for (i, got) in dx.iter().enumerate() {
                let want: f64 = (0..n).map(|r| dy[i / k * n + r] as f64 * value(r, i % k)).sum();
                let bound = 1.5 * (n + 1) as f64 * f32::EPSILON as f64;
                assert!((*got as f64 - want).abs() <= bound, "{n} x {k} {}: {got}, {want}", isa.name());
            }
        }
    }
}

/// Copies of the types with lattices hold other bytes, and give the same bits for whatever is stored.
#[test]
fn copies_of_lattices_give_the_bits_of_what_is_stored() {
    let (n, k) = (70, 768);
    let mut random_bytes = Random(8);
    for dtype in DType::WEIGHTS.into_iter().filter(|dtype| dtype.name().starts_with("IQ")) {
        for seed in 0..4 {
            let mut bytes = encoded(dtype, n, k, 1);
            let block_bytes = dtype.block_bytes();
            for block in bytes.chunks_exact_mut(block_bytes) {
                // All but the block's scale, which random bits would often make no number.
                let scale = if dtype == DType::IQ1_M { block_bytes - 8..block_bytes } else { 0..2 };
                let kept: Vec<u8> = block[scale.clone()].to_vec();
                block.copy_from_slice(&random_bytes.bytes(block_bytes));
                block[scale].copy_from_slice(&kept);
            }
            let weight = Matrix::new(dtype, n, k, &bytes);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                let copy = Repacked::new(&cpu, &weight, Activations::Int8, |_| ()).unwrap();
                for m in [1, 3, 8, 13] {
                    let x = random(m * k, seed);
                    let (mut want, mut got) = (vec![7.0; m * n], vec![8.0; m * n]);
                    matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut want]);
                    matmul_nt(&cpu, &x, k, Activations::Int8, &[weight.with(&copy)], &mut [&mut got]);
                    assert!(want.iter().all(|y| y.is_finite()));
                    assert!(got == want, "{dtype} {} {m}", isa.name());
                }
            }
        }
    }
}

/// Factors of rows that are powers of two change the exponents of products with codes, and nothing else.
#[test]
fn factors_of_rows_multiply_products_with_codes() {
    let (n, k) = (70, 320);
    let scales: Vec<f32> = (0..n).map(|r| 2f32.powi(r as i32 % 9 - 4)).collect();
    for dtype in [DType::Q4_0, DType::Q8_0, DType::Q4_Z, DType::Q6_M, DType::Q8_M, DType::NF4] {
        let bytes = encoded(dtype, n, k, 1);
        let plain = Matrix::new(dtype, n, k, &bytes);
        let scaled = plain.with_row_scales(&scales);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            for (activations, m) in
                [Activations::F32, Activations::Int8].into_iter().flat_map(|a| [1, 5, 9, 29].map(|m| (a, m)))
            {
                let x = random(m * k, 3);
                let product = |weight| {
                    let mut y = vec![7.0; m * n];
                    matmul_nt(&cpu, &x, k, activations, &[weight], &mut [&mut y]);
                    y
                };
                let want: Vec<f32> =
                    product(plain).iter().zip(scales.iter().cycle()).map(|(y, s)| y * s).collect();
                let what = format!("{dtype} {} {activations:?} {m}", isa.name());
                assert!(product(scaled) == want, "{what}");
                if let Some(copy) = Repacked::new(&cpu, &scaled, activations, |_| ()) {
                    assert!(product(scaled.with(&copy)) == want, "{what} repacked");
                }
            }
            let (mut row, mut want) = (vec![0.0; k], vec![0.0; k]);
            scaled.decode_row(isa, 8, &mut row);
            plain.decode_row(isa, 8, &mut want);
            assert!(row.iter().zip(&want).all(|(x, want)| *x == want * 16.0));
        }
    }
}

/// A code that is no number makes its row's outputs none, and nobody else's, on every way through a product.
#[test]
fn fp8_nan_reaches_the_product() {
    let (n, k) = (35, 68);
    for (row, col, code) in [(0, 0, 0x7f), (17, 33, 0xff), (34, 67, 0x7f), (31, 66, 0xff)] {
        let mut bytes = vec![0x38; n * k];
        bytes[row * k + col] = code;
        let scales = vec![0.5; n];
        let weight = Matrix::new(DType::F8_E4M3, n, k, &bytes).with_row_scales(&scales);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 1);
            let copy = Repacked::new(&cpu, &weight, Activations::F32, |_| ()).unwrap();
            for weight in [weight, weight.with(&copy)] {
                for m in [1, 9] {
                    let (x, mut y) = (vec![1.0; m * k], vec![7.0; m * n]);
                    matmul_nt(&cpu, &x, k, Activations::F32, &[weight], &mut [&mut y]);
                    let fits = |(i, y): (usize, &f32)| if i % n == row { y.is_nan() } else { *y == 34.0 };
                    assert!(y.iter().enumerate().all(fits), "{row} {col} {m} {}", isa.name());
                }
            }
        }
    }
}

#[test]
fn several_matrices_share_one_input() {
    let (m, k) = (3, 40);
    let (x, w1, w2) = (random(m * k, 1), random(5 * k, 2), random(11 * k, 3));
    let cpu = Cpu::new(Isa::best(), 2);
    let (w1, w2) = (Matrix::from_f32(5, k, &w1), Matrix::from_f32(11, k, &w2));
    let (mut a, mut b, mut c) = (vec![0.0; m * 5], vec![0.0; m * 11], vec![0.0; m * 11]);
    matmul_nt(&cpu, &x, k, Activations::F32, &[w1, w2], &mut [&mut a, &mut b]);
    matmul_nt(&cpu, &x, k, Activations::F32, &[w2], &mut [&mut c]);
    assert_eq!(b, c);
}

/// Products that go on to SwiGLU or a sum have the bits of the steps one by one.
#[test]
fn joined_products_have_the_bits_of_their_steps() {
    let (n, k) = (70, 256);
    let dtypes = [DType::F32, DType::BF16, DType::Q8_0, DType::Q4_K, DType::Q6_K];
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 2);
        for (a, b) in dtypes.into_iter().flat_map(|a| dtypes.map(|b| (a, b))) {
            let (gate, up) = (encoded(a, n, k, 1), encoded(b, n, k, 2));
            let (gate, up) = (Matrix::new(a, n, k, &gate), Matrix::new(b, n, k, &up));
            for (m, activations) in
                [1, 5, 8, 9, 780].into_iter().flat_map(|m| [(m, Activations::F32), (m, Activations::Int8)])
            {
                let (x, before) = (random(m * k, 3), random(m * n, 4));
                let (mut g, mut u, mut want) = (vec![0.0; m * n], vec![0.0; m * n], vec![0.0; m * n]);
                matmul_nt(&cpu, &x, k, activations, &[gate, up], &mut [&mut g, &mut u]);
                swiglu(&cpu, &g, &u, &mut want);
                let mut got = vec![7.0; m * n];
                matmul_nt_swiglu(&cpu, &x, k, activations, [gate, up], &mut got);
                assert!(got == want, "{a} {b} {m} {activations:?} {}", isa.name());
                let (mut want, mut got) = (before.clone(), before);
                add_assign(&cpu, &mut want, &g);
                matmul_nt_add(&cpu, &x, k, activations, gate, &mut got);
                assert!(got == want, "{a} {m} {activations:?} {}", isa.name());
            }
        }
    }
}

/// A product of sizes that wraps to zero must not pass for an empty matrix.
#[test]
#[should_panic]
fn sizes_that_overflow_are_refused() {
    Left::new(1 << (usize::BITS - 1), 2, &[]);
}
