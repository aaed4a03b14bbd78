//! How many instructions the main kernels take, so that a regression shows without timing anything.
//!
//! The test runs itself under callgrind, once per kernel, and compares with the counts below: those of the
//! AVX2 versions, since valgrind knows no AVX-512. Compilers differ a little, and an improvement is welcome:
//! a count may be up to [`TOLERANCE`] more than noted, and one that is much less asks to be noted. Without
//! valgrind (or AVX2) it is skipped, and where kernels are optimised a little only, as in a plain `cargo test`;
//! under `CI=true` valgrind must be there.

use std::hint::black_box;
use std::process::Command;

use puna_kernels::attention::{AttentionShape, KeyValues, Queries, Sees, attention};
use puna_kernels::kv::KvLayout;
use puna_kernels::matmul::{Activations, Matrix, Repacked, matmul_nt};
use puna_kernels::rms_norm::rms_norm;
use puna_kernels::swiglu::swiglu;
use puna_kernels::{Cpu, DType, Isa, quant};

/// Of the count noted.
const TOLERANCE: f64 = 0.1;

/// Kernels and their thousands of instructions. A product is of `m` rows with 64 x 1024 weights.
const NOTED: [(&str, f64); 37] = [
    ("product f32 m=1", 79.3),
    ("product f32 m=48", 1423.0),
    ("product bf16 m=1", 62.2),
    ("product f16 m=1", 124.3),
    ("product q4_0 m=1", 38.6),
    ("product q4_0 m=48", 886.0),
    ("product q8_0 m=1", 46.9),
    ("product q8_0 m=48", 1153.9),
    ("product q4_k m=1", 39.6),
    ("product q4_k m=48", 835.5),
    ("product q6_k m=1", 59.9),
    ("product q6_k m=48", 952.8),
    ("product bf16 m=8", 293.6),
    ("product bf16 m=1 repacked", 34.8),
    ("product f16 m=1 repacked", 41.4),
    ("product f8_e4m3 m=1", 135.3),
    ("product f8_e4m3 m=1 repacked", 76.6),
    ("product q4_0 m=8", 163.8),
    ("product q4_0 m=1 repacked", 29.3),
    ("product q4_k m=8", 156.8),
    ("product q4_k m=1 repacked", 33.4),
    ("product q4_k m=8 repacked", 151.6),
    ("product q4_k m=48 repacked", 828.9),
    ("product q6_k m=1 repacked", 51.8),
    ("product nvfp4 m=1 repacked", 39.1),
    ("product q1_0 m=1 repacked", 37.9),
    ("product tq1_0 m=1 repacked", 32.0),
    ("product iq1_m m=1 repacked", 42.7),
    ("product iq2_xxs m=1 repacked", 45.9),
    ("product iq3_s m=1", 77.2),
    ("product iq3_s m=1 repacked", 34.1),
    ("product iq3_s m=48", 942.5),
    ("attention f16 n=1", 252.8),
    ("attention q8_0 n=1", 331.9),
    ("attention f16 n=96", 19463.8),
    ("rms_norm", 9.3),
    ("swiglu", 26.4),
];

/// The variable that tells the child which kernel to run.
const KERNEL: &str = "PUNA_COUNTED_KERNEL";

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 251) as f32 / 251.0 - 0.5).collect()
}

/// What callgrind counts: it collects inside functions of this name.
#[inline(never)]
fn counted_region(run: &mut dyn FnMut()) {
    run();
}

/// The child: runs the kernel named in the environment. Elsewhere it does nothing.
#[test]
fn counted_kernel() {
    let Ok(kernel) = std::env::var(KERNEL) else { return };
    let cpu = Cpu::new(Isa::by_name("avx2").expect("the parent looked"), 1);
    let words: Vec<&str> = kernel.split(' ').collect();
    match words[..] {
        ["product", dtype, m, ref form @ ..] => {
            let m: usize = m.trim_start_matches("m=").parse().unwrap();
            let mut dtypes = DType::WEIGHTS.into_iter().chain(DType::JOINED);
            let dtype = dtypes.find(|t| t.name().eq_ignore_ascii_case(dtype)).unwrap();
            let (rows, k) = (64, 1024);
            let mut bytes = vec![0; dtype.bytes_of(rows * k).unwrap()];
            quant::encode(dtype, &values(rows * k), &mut bytes);
            let (mut weight, x) = (Matrix::new(dtype, rows, k, &bytes), values(m * k));
            let repacked = Repacked::new(&cpu, &weight, Activations::Int8, |_| ()).unwrap();
            if form == ["repacked"] {
                weight = weight.with(&repacked);
            }
            let mut y = vec![0.0; m * rows];
            let mut run = || matmul_nt(&cpu, &x, k, Activations::Int8, &[weight], &mut [&mut y]);
            run(); // Memory is taken the first time.
            counted_region(&mut run);
            black_box(y);
        }
        ["attention", dtype, n] => {
            // Queries of that many tokens, the last of 512, with 8 heads of 64 over 2 of keys.
            let n: usize = n.trim_start_matches("n=").parse().unwrap();
            let dtype = if dtype == "f16" { DType::F16 } else { DType::Q8_0 };
            let layout = KvLayout::new(dtype, 2, 64);
            let blocks = vec![vec![0; layout.block_bytes()]; 512 / KvLayout::BLOCK];
            let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            let shape = AttentionShape { n_heads: 8, n_kv_heads: 2, head_dim: 64, scale: 0.125 };
            let (q, mut out) = (values(n * 8 * 64), vec![0.0; n * 8 * 64]);
            let keys = KeyValues::Paged { layout, blocks: &blocks };
            let queries = [Queries { first_row: 0, n_rows: n, sees: Sees::Before(512 - n), keys }];
            let mut run = || attention(&cpu, &shape, &q, &queries, &mut out, None);
            run();
            counted_region(&mut run);
            black_box(out);
        }
        ["rms_norm"] => {
            let (x, weight) = (values(4096), values(4096));
            let (mut y, mut inv_rms) = (vec![0.0; 4096], [0.0]);
            counted_region(&mut || rms_norm(&cpu, &x, &weight, 1e-5, &mut y, &mut inv_rms));
            black_box(y);
        }
        ["swiglu"] => {
            let (a, b, mut z) = (values(4096), values(4096), vec![0.0; 4096]);
            counted_region(&mut || swiglu(&cpu, &a, &b, &mut z));
            black_box(z);
        }
        _ => panic!("no kernel `{kernel}`"),
    }
}

/// The instructions of a kernel, in thousands.
fn count(kernel: &str) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted_region*")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "counted_kernel", "--test-threads=1"])
        .env(KERNEL, kernel)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kernel}: {text}\n{}", String::from_utf8_lossy(&output.stdout));
    let collected = text.lines().find_map(|line| line.split("Collected :").nth(1));
    collected.unwrap_or_else(|| panic!("{kernel}: {text}")).trim().parse::<f64>().unwrap() / 1e3
}

#[test]
fn counts_are_as_noted() {
    let missing = match (Isa::by_name("avx2"), Command::new("valgrind").arg("--version").output()) {
        (None, _) => Some("this CPU has no AVX2"),
        (_, Err(_)) => Some("valgrind is not installed"),
        _ => None,
    };
    if puna_conformance::IS_DEVELOPMENT_BUILD {
        return puna_conformance::skip("instruction counts", "they are of kernels that are fully optimised");
    }
    if let Some(missing) = missing {
        assert!(std::env::var("CI").is_err(), "{missing}, which CI needs");
        puna_conformance::skip("instruction counts", missing);
        return;
    }
    let mut wrong = Vec::new();
    for (kernel, noted) in NOTED {
        let found = count(kernel);
        println!("    (\"{kernel}\", {found:.1}),");
        if found > noted * (1.0 + TOLERANCE) || found < noted * (1.0 - 2.0 * TOLERANCE) {
            wrong.push(format!("{kernel}: {found:.1} thousand instructions, noted {noted}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nif that is meant to be, note the new counts in {}",
        wrong.join("\n"),
        file!()
    );
}
