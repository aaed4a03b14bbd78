//! What a machine can do at most, measured: shared by the examples that say what share of it they reach.

use std::hint::black_box;
use std::time::Instant;

use memmap2::MmapMut;
use puna_kernels::Isa;

/// Longer than any cache, for each thread.
const READ_BYTES: usize = 512 << 20;
const RUNS: usize = 7;
/// Accumulators that do not wait for each other: enough to hide the latency of a product.
const CHAINS: usize = 12;
const STEPS: usize = 4_000_000;

/// What all threads together reach. Operations are two for each product that is added, in billions per
/// second; `None` where the processor has no instruction for them that we know.
#[allow(dead_code)] // Not every program that measures shows all of them.
pub struct Ceilings {
    /// Bytes read from memory, in billions per second.
    pub gb_per_s: f64,
    pub f32_gop_per_s: Option<f64>,
    pub int8_gop_per_s: Option<f64>,
    /// Of bytes whose sums stay in sixteen bits, where that takes fewer instructions.
    pub bytes_gop_per_s: Option<f64>,
    pub bf16_gop_per_s: Option<f64>,
}

impl Ceilings {
    /// Measures; takes some seconds. Each is the best of several runs.
    pub fn measure(isa: Isa, n_threads: usize) -> Ceilings {
        let memory: Vec<MmapMut> = (0..n_threads).map(|_| written_memory()).collect();
        let seconds = best_seconds(&memory, |bytes| read(bytes));
        drop(memory);
        let gop_per_s = |product: Option<Product>| {
            let Product { run, ops } = product?;
            // SAFETY: `products` gives what the instruction set, which this CPU has, can do.
            let seconds = best_seconds(&vec![(); n_threads], |()| unsafe { run() });
            Some((n_threads * STEPS * CHAINS * ops) as f64 / seconds / 1e9)
        };
        let [f32_gop_per_s, int8_gop_per_s, bytes_gop_per_s, bf16_gop_per_s] = products(isa).map(gop_per_s);
        let gb_per_s = (n_threads * READ_BYTES) as f64 / seconds / 1e9;
        Ceilings { gb_per_s, f32_gop_per_s, int8_gop_per_s, bytes_gop_per_s, bf16_gop_per_s }
    }
}

/// The least time of several in which all threads do `work`, each with its own item.
fn best_seconds<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) -> f64 {
    let run = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for item in items {
                let work = &work;
                scope.spawn(move || work(item));
            }
        });
        start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// Memory in large pages, if the system has them. Written, because untouched memory is one page of zeros.
fn written_memory() -> MmapMut {
    let mut memory = MmapMut::map_anon(READ_BYTES).expect("the machine has this memory");
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    memory.fill(1);
    memory
}

/// Reads memory once, as fast as it comes.
fn read(bytes: &[u8]) {
    // SAFETY: any bytes are numbers.
    let (_, words, _) = unsafe { bytes.align_to::<u64>() };
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { x86::read_avx2(words) };
    }
    let mut sums = [0u64; 64];
    for words in words.chunks_exact(64) {
        sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
    }
    black_box(sums);
}

/// `STEPS` products of vectors on each of `CHAINS` accumulators, and the operations of one.
#[derive(Clone, Copy)]
struct Product {
    run: unsafe fn(),
    ops: usize,
}

/// The best products in f32, int8, int8 with short sums and bf16.
#[cfg(target_arch = "x86_64")]
fn products(isa: Isa) -> [Option<Product>; 4] {
    let has_vnni = is_x86_feature_detected!("avx512vnni");
    match isa.name() {
        "avx512" | "amx" if has_vnni => {
            let int8 = match isa.name() {
                "amx" => Product { run: x86::int8_amx, ops: 2 * 16 * 16 * 64 },
                _ => Product { run: x86::int8_vnni, ops: 128 },
            };
            let bf16 = Product { run: x86::bf16_avx512, ops: 64 };
            let bf16 = Some(bf16).filter(|_| is_x86_feature_detected!("avx512bf16"));
            [Some(Product { run: x86::f32_avx512, ops: 32 }), Some(int8), None, bf16]
        }
        // Skylake-X alone; its 512-bit form would be twice as fast.
        "avx512" => [
            Some(Product { run: x86::f32_avx512, ops: 32 }),
            Some(Product { run: x86::int8_avx2, ops: 64 }),
            None,
            None,
        ],
        "avx2" => [
            Some(Product { run: x86::f32_avx2, ops: 16 }),
            Some(Product { run: x86::int8_avx2, ops: 64 }),
            Some(Product { run: x86::bytes_avx2, ops: 64 }),
            None,
        ],
        _ => [None; 4],
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn products(_: Isa) -> [Option<Product>; 4] {
    [None; 4]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS, STEPS};
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    #[target_feature(enable = "avx512f")]
    pub fn f32_avx512() {
        let (a, b) = black_box((_mm512_set1_ps(1.0), _mm512_set1_ps(0.5)));
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn int8_vnni() {
        let (a, b) = black_box((_mm512_set1_epi8(3), _mm512_set1_epi8(5)));
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        black_box(sums);
    }

    /// Products of whole tiles, which an `Isa` with them has allowed to be used. What they hold does not matter.
    pub fn int8_amx() {
        let mut shapes = [0u8; 64];
        shapes[0] = 1;
        shapes[16..32].copy_from_slice(&[64, 0].repeat(8));
        shapes[48..56].fill(16);
        // SAFETY: the shapes are allowed, and nobody else uses tiles here.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) shapes.as_ptr(), options(nostack));
            for _ in 0..STEPS * CHAINS / 4 {
                asm!(
                    "tdpbssd tmm0, tmm4, tmm5",
                    "tdpbssd tmm1, tmm4, tmm5",
                    "tdpbssd tmm2, tmm4, tmm5",
                    "tdpbssd tmm3, tmm4, tmm5",
                    options(nostack),
                );
            }
            asm!("tilerelease", options(nostack));
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn bf16_avx512() {
        let one = black_box(_mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0), _mm512_set1_ps(0.5)));
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, one, one);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn f32_avx2() {
        let (a, b) = black_box((_mm256_set1_ps(1.0), _mm256_set1_ps(0.5)));
        let mut sums = [_mm256_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(a, b, *sum);
            }
        }
        black_box(sums);
    }

    /// Bytes to sums of two, to sums of four, added up: three instructions for 32 products.
    #[target_feature(enable = "avx2")]
    pub fn int8_avx2() {
        const WIDE: usize = 4; // More would not fit the registers; only the sums are chains, and an addition is quick.
        let ones = black_box(_mm256_set1_epi16(1));
        let b = black_box([_mm256_set1_epi8(5); WIDE]);
        let mut a = black_box(_mm256_set1_epi8(3));
        let mut sums = [_mm256_setzero_si256(); WIDE];
        for _ in 0..STEPS * CHAINS / WIDE {
            a = _mm256_add_epi8(a, ones); // Another in each step, or the products would be computed once.
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
            }
        }
        black_box(sums);
    }

    /// Bytes to sums of two, added up in sixteen bits: two instructions for 32 products, as long as the sums fit.
    #[target_feature(enable = "avx2")]
    pub fn bytes_avx2() {
        const WIDE: usize = 6;
        let mut b = black_box([_mm256_set1_epi8(5); WIDE]);
        let a = black_box(_mm256_set1_epi8(3));
        let mut sums = [_mm256_setzero_si256(); WIDE];
        for _ in 0..STEPS * CHAINS / WIDE {
            for (sum, b) in sums.iter_mut().zip(&mut b) {
                // SAFETY: no instruction: others in each step, or the products would be computed once.
                unsafe {
                    asm!("/* {} */", inout(ymm_reg) * b, options(pure, nomem, nostack, preserves_flags))
                };
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(a, *b));
            }
        }
        black_box(sums);
    }

    /// Asks for lines far ahead, without which one core does not keep enough of them under way.
    #[target_feature(enable = "avx2")]
    pub fn read_avx2(words: &[u64]) {
        const AHEAD: usize = 4096 / 8;
        let mut sums = [_mm256_setzero_si256(); 4];
        for line in words.chunks_exact(16) {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().wrapping_add(AHEAD).cast());
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().wrapping_add(AHEAD + 8).cast());
            for (sum, part) in sums.iter_mut().zip(line.chunks_exact(4)) {
                // SAFETY: a part has four words, 32 bytes.
                *sum = _mm256_add_epi64(*sum, unsafe { _mm256_loadu_si256(part.as_ptr().cast()) });
            }
        }
        black_box(sums);
    }
}
