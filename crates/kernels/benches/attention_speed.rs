//! How fast attention is here: `cargo bench -p puna-kernels --bench attention_speed -- [THREADS [TYPE
//! [ISA]]]`.
//!
//! Prints, for the shapes of two Llamas and every type of cache: GFLOP/s of a prompt's 512 tokens, alone and
//! after 8192 others (four operations per head element and visible key), beside what the same threads reach
//! with nothing but multiply-adds; and GB/s of keys and values read when one token, or one token of each of
//! four sequences, attends to 8192 others, beside what the threads reach when they only add those bytes up.
//! Medians and quartiles; each is measured in turn with its ceiling, because other work on the machine moves
//! both.

use puna_kernels::attention::{AttentionShape, KeyValues, Queries, Sees, attention};
use puna_kernels::kv::{KvKind, KvLayout};
use puna_kernels::{Cpu, DType, Isa, pool::Pool};
use std::hint::black_box;
use std::time::Instant;

const DEPTH: usize = 8192;
/// Tokens of a prompt's piece.
const PIECE: usize = 512;
/// Bytes of cache that decoding goes through before it comes back to the first: no cache of a processor holds
/// them.
const FAR_BYTES: usize = 600 << 20;
const RUNS: usize = 9;

fn main() {
    // Cargo adds `--bench`.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let n_threads = args.next().map_or(Pool::default_threads(), |n| n.parse().expect("a number of threads"));
    let (wanted_type, isa) = (args.next(), args.next());
    let isa =
        isa.map_or(Isa::best(), |name| Isa::by_name(&name).expect("an instruction set of this machine"));
    let cpu = Cpu::new(isa, n_threads);
    println!("{n_threads} threads, {}", isa.name());
    for (name, n_heads, n_kv_heads, head_dim) in [("1B", 32, 8, 64), ("8B", 32, 8, 128)] {
        let shape = AttentionShape { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() };
        for dtype in KvLayout::DTYPES {
            if wanted_type.as_ref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(dtype.name())) {
                continue;
            }
            let caches = Caches::new(isa, dtype, &shape);
            for depth in [0, DEPTH] {
                prefill(&cpu, &shape, &caches, depth, &format!("{name} {dtype:5} 512 tokens at {depth:4}"));
            }
            for n_sequences in [1, 4] {
                let what = format!("{name} {dtype:5} {n_sequences} x 1 token at {DEPTH}");
                decode(&cpu, &shape, &caches, n_sequences, &what);
            }
        }
    }
}

/// One piece of a prompt after `depth` other tokens.
fn prefill(cpu: &Cpu, shape: &AttentionShape, caches: &Caches, depth: usize, what: &str) {
    let blocks = caches.blocks(0);
    let keys = KeyValues::Paged { layout: caches.layout, blocks: &blocks };
    let queries = [Queries { first_row: 0, n_rows: PIECE, sees: Sees::Before(depth), keys }];
    let q = values(PIECE * shape.n_heads * shape.head_dim, 3);
    let mut out = vec![0.0; q.len()];
    let n_visible: usize = (depth + 1..=depth + PIECE).sum();
    let flops = 4.0 * (shape.head_dim * shape.n_heads * n_visible) as f64;
    let (mut rates, mut peaks) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let peak = peak_gflops(cpu);
        let start = Instant::now();
        attention(cpu, shape, &q, &queries, &mut out, None);
        let rate = flops / start.elapsed().as_secs_f64() / 1e9;
        black_box(&out);
        if run > 0 {
            rates.push(rate);
            peaks.push(peak);
        }
    }
    report(what, "GFLOP/s", rates, peaks);
}

/// One token of each of some sequences, layer after layer.
fn decode(cpu: &Cpu, shape: &AttentionShape, caches: &Caches, n_sequences: usize, what: &str) {
    let layers: Vec<Vec<&[u8]>> =
        (0..caches.n_layers / n_sequences * n_sequences).map(|i| caches.blocks(i)).collect();
    let row = shape.n_heads * shape.head_dim;
    let q = values(n_sequences * row, 4);
    let mut out = vec![0.0; q.len()];
    let n_bytes = layers.len() * (DEPTH / KvLayout::BLOCK) * caches.layout.block_bytes();
    let (mut rates, mut ceilings) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let ceiling = read_rate(cpu, &layers);
        let start = Instant::now();
        for group in layers.chunks(n_sequences) {
            let queries: Vec<_> = group
                .iter()
                .enumerate()
                .map(|(i, blocks)| Queries {
                    first_row: i,
                    n_rows: 1,
                    sees: Sees::Before(DEPTH - 1),
                    keys: KeyValues::Paged { layout: caches.layout, blocks },
                })
                .collect();
            attention(cpu, shape, &q, &queries, &mut out, None);
        }
        let rate = n_bytes as f64 / start.elapsed().as_secs_f64() / 1e9;
        black_box(&out);
        if run > 0 {
            rates.push(rate);
            ceilings.push(ceiling);
        }
    }
    report(what, "GB/s", rates, ceilings);
}

fn report(what: &str, unit: &str, rates: Vec<f64>, ceilings: Vec<f64>) {
    let mut shares: Vec<f64> =
        rates.iter().zip(&ceilings).map(|(rate, ceiling)| 100.0 * rate / ceiling).collect();
    let [mut rates, mut ceilings] = [rates, ceilings];
    for x in [&mut rates, &mut ceilings, &mut shares] {
        x.sort_by(f64::total_cmp);
    }
    let n = rates.len();
    println!(
        "{what:28} {:7.1} {unit:7} ({:.1} to {:.1})  ceiling {:6.1}  {:3.0} %",
        rates[n / 2],
        rates[n / 4],
        rates[n - 1 - n / 4],
        ceilings[n / 2],
        shares[n / 2]
    );
}

/// Layers of a cache filled to [`DEPTH`] and a piece more.
struct Caches {
    layout: KvLayout,
    n_layers: usize,
    /// `[n_layers, n_blocks, block_bytes]`, from the first cache line's start.
    bytes: Vec<u8>,
    start: usize,
}

impl Caches {
    fn new(isa: Isa, dtype: DType, shape: &AttentionShape) -> Caches {
        let layout = KvLayout::new(dtype, shape.n_kv_heads, shape.head_dim);
        let layer_bytes = Self::N_BLOCKS * layout.block_bytes();
        let n_layers = FAR_BYTES.div_ceil(layer_bytes).next_multiple_of(4);
        let mut bytes = vec![0; n_layers * layer_bytes + 64];
        let start = bytes.as_ptr().align_offset(64);
        let (first, rest) = bytes[start..start + n_layers * layer_bytes].split_at_mut(layer_bytes);
        let row_len = shape.n_kv_heads * shape.head_dim;
        let n = KvLayout::BLOCK;
        for (i, block) in first.chunks_exact_mut(layout.block_bytes()).enumerate() {
            for (kind, seed) in [(KvKind::Key, 1), (KvKind::Value, 2)] {
                layout.store(isa, block, kind, 0, &values(n * row_len, 10 * i as u64 + seed));
            }
        }
        rest.chunks_exact_mut(layer_bytes).for_each(|layer| layer.copy_from_slice(first));
        Caches { layout, n_layers, bytes, start }
    }

    const N_BLOCKS: usize = (DEPTH + PIECE) / KvLayout::BLOCK;

    fn blocks(&self, layer: usize) -> Vec<&[u8]> {
        let block_bytes = self.layout.block_bytes();
        let start = self.start + layer * Self::N_BLOCKS * block_bytes;
        self.bytes[start..start + Self::N_BLOCKS * block_bytes].chunks_exact(block_bytes).collect()
    }
}

/// Values between -1 and 1 (a linear congruential generator's high bits).
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
        })
        .collect()
}

/// Bytes per second at which the threads only read the blocks that decoding attends to, in billions.
fn read_rate(cpu: &Cpu, layers: &[Vec<&[u8]>]) -> f64 {
    let start = Instant::now();
    let n_parts = 8;
    cpu.pool.run(layers.len() * n_parts, |i, _| {
        let blocks = &layers[i / n_parts][..DEPTH / KvLayout::BLOCK];
        let part = blocks.len() / n_parts;
        for block in &blocks[i % n_parts * part..][..part] {
            black_box(sum(cpu.isa, block));
        }
    });
    let n_bytes: usize =
        layers.iter().flat_map(|blocks| &blocks[..DEPTH / KvLayout::BLOCK]).map(|b| b.len()).sum();
    n_bytes as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// The sum of the bytes' words.
fn sum(isa: Isa, bytes: &[u8]) -> u64 {
    #[inline(always)]
    fn words(bytes: &[u8]) -> u64 {
        let mut sums = [0u64; 32];
        for words in bytes.as_chunks::<256>().0 {
            for (sum, word) in sums.iter_mut().zip(words.as_chunks::<8>().0) {
                *sum = sum.wrapping_add(u64::from_le_bytes(*word));
            }
        }
        sums.iter().fold(0, |sum, x| sum.wrapping_add(*x))
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        unsafe fn wide(bytes: &[u8]) -> u64 {
            words(bytes)
        }
        if matches!(isa.name(), "avx2" | "avx512") {
            // SAFETY: the machine has the instruction set, or there would be no such `Isa`.
            return unsafe { wide(bytes) };
        }
    }
    let _ = isa;
    words(bytes)
}

/// GFLOP/s of multiply-adds that wait for nothing, on all threads.
fn peak_gflops(cpu: &Cpu) -> f64 {
    const STEPS: usize = 1_000_000;
    let n_tasks = 2 * cpu.pool.n_threads();
    let start = Instant::now();
    cpu.pool.run(n_tasks, |_, _| {
        black_box(multiply_adds(cpu.isa, black_box(0.5), STEPS));
    });
    let flops = 2 * ACCUMULATORS * cpu.isa.f32_lanes() * STEPS * n_tasks;
    flops as f64 / start.elapsed().as_secs_f64() / 1e9
}

const ACCUMULATORS: usize = 12;

fn multiply_adds(isa: Isa, x: f32, n_steps: usize) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512(x: f32, n_steps: usize) -> f32 {
            let x = _mm512_set1_ps(x);
            let mut acc = [x; ACCUMULATORS];
            for _ in 0..n_steps {
                acc.iter_mut().for_each(|acc| *acc = _mm512_fmadd_ps(x, *acc, x));
            }
            acc.iter().map(|acc| _mm512_reduce_add_ps(*acc)).sum()
        }
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(x: f32, n_steps: usize) -> f32 {
            let x = _mm256_set1_ps(x);
            let mut acc = [x; ACCUMULATORS];
            for _ in 0..n_steps {
                acc.iter_mut().for_each(|acc| *acc = _mm256_fmadd_ps(x, *acc, x));
            }
            acc.iter().map(|acc| _mm256_cvtss_f32(*acc)).sum()
        }
        match isa.name() {
            // SAFETY: the machine has the instruction set, or there would be no such `Isa`.
            "avx512" => return unsafe { avx512(x, n_steps) },
            // SAFETY: as above.
            "avx2" => return unsafe { avx2(x, n_steps) },
            _ => (),
        }
    }
    let lanes = isa.f32_lanes();
    let mut acc = [[x; 16]; ACCUMULATORS];
    for _ in 0..n_steps {
        acc.iter_mut().flat_map(|acc| &mut acc[..lanes]).for_each(|acc| *acc = x.mul_add(*acc, x));
    }
    acc.iter().flatten().sum()
}
