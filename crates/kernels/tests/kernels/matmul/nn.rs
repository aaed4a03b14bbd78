use puna_kernels::matmul::{Left, Matrix, matmul_nn};
use puna_kernels::{Cpu, DType, Isa, quant};

use crate::test_data::random;

/// Few rows take another way through a matrix that is stored by columns, and give the same bits.
#[test]
fn few_rows_have_the_bits_of_many() {
    for (k, n) in [(1, 1usize), (5, 70), (130, 600), (300, 2113)] {
        for dtype in [DType::F32, DType::BF16, DType::Q8_0] {
            let n = n.next_multiple_of(dtype.block_len());
            let mut bytes = vec![0; dtype.bytes_of(k * n).unwrap()];
            quant::encode(dtype, &random(k * n, 1), &mut bytes);
            let x = random(9 * k, 2);
            for isa in Isa::available() {
                let product = |m: usize, add: bool| {
                    let mut y = vec![0.5; m * n];
                    let b = Matrix::new(dtype, k, n, &bytes);
                    matmul_nn(&Cpu::new(isa, 3), Left::new(m, k, &x[..m * k]), b, &mut y, add);
                    y
                };
                for add in [false, true] {
                    let many = product(9, add);
                    for m in 1..=5 {
                        assert!(product(m, add) == many[..m * n], "{k} x {n} {dtype} {m} {}", isa.name());
                    }
                }
            }
        }
    }
}
