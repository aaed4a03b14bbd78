//! What this machine can do at most: `cargo bench -p puna-kernels --bench ceiling -- [THREADS [ISA]]`.
//!
//! Prints a JSON object: GB/s that the threads read from memory together, and billions of operations per
//! second (two for each product that is added) in f32, int8, bytes whose sums stay in sixteen bits, and bf16, from
//! registers alone. A program that runs a model has to read its weights and do its products, so these bound its
//! speed. Each is the best of several runs; what the processor has no instruction for that we know is `null`.

mod ceilings;

use ceilings::Ceilings;
use puna_kernels::{Isa, pool::Pool};

fn main() {
    // Cargo adds `--bench`.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let n_threads = args.next().map_or(Pool::default_threads(), |n| n.parse().expect("a number of threads"));
    let isa =
        args.next().map_or(Isa::best(), |name| Isa::by_name(&name).expect("an instruction set of this CPU"));
    let found = Ceilings::measure(isa, n_threads);
    let number = |x: Option<f64>| x.map_or("null".to_owned(), |x| format!("{x:.1}"));
    println!(
        "{{\"threads\":{n_threads},\"isa\":\"{}\",\"gb_per_s\":{:.1},\"f32_gop_per_s\":{},\"int8_gop_per_s\":{},\"bytes_gop_per_s\":{},\"bf16_gop_per_s\":{}}}",
        isa.name(),
        found.gb_per_s,
        number(found.f32_gop_per_s),
        number(found.int8_gop_per_s),
        number(found.bytes_gop_per_s),
        number(found.bf16_gop_per_s),
    );
}
