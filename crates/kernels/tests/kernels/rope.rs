use puna_kernels::rope::{RopeLayout, RopeTable, Turn, rope};
use puna_kernels::{Cpu, Isa};

use crate::test_data::{assert_close, random};

#[test]
fn micro_examples() {
    let table = RopeTable::new([(1, &[1.0, 0.01][..])]);
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 1);
        let mut x = [1.0, 2.0, 3.0, 4.0];
        rope(&cpu, &mut x, 1, &table, RopeLayout::Interleaved, Turn::Forward);
        assert_close(&x, &[-1.142_639_7, 1.922_075_6, 2.959_850_7, 4.029_799_5], 5e-7, isa.name());
        let mut x = [1.0, 2.0, 3.0, 4.0];
        rope(&cpu, &mut x, 1, &table, RopeLayout::HalfSplit, Turn::Forward);
        assert_close(&x, &[-1.984_110_6, 1.959_900_7, 2.462_377_9, 4.019_799_7], 5e-7, isa.name());
    }
}

#[test]
fn versions_agree_and_turning_back_returns() {
    for n_pairs in [1, 3, 6, 8, 32, 64, 65] {
        let freqs: Vec<f32> = (0..n_pairs).map(|j| 1e4f32.powf(-(j as f32) / n_pairs as f32)).collect();
        let table = RopeTable::new([0, 5, 1000].map(|p| (p, freqs.as_slice())));
        for layout in [RopeLayout::Interleaved, RopeLayout::HalfSplit] {
            let start = random(3 * 2 * 2 * n_pairs, 1);
            let mut want = start.clone();
            rope(&Cpu::new(Isa::SCALAR, 1), &mut want, 2, &table, layout, Turn::Forward);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                let mut x = start.clone();
                rope(&cpu, &mut x, 2, &table, layout, Turn::Forward);
                assert_eq!(x, want, "{}", isa.name());
                rope(&cpu, &mut x, 2, &table, layout, Turn::Back);
                assert_close(&x, &start, 1e-6, isa.name());
            }
        }
    }
}
