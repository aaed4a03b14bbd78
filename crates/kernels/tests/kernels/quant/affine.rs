//! Codes with a scale and an offset: where each bit is, and what the halves mean.

use puna_kernels::DType;
use puna_kernels::half::f32_to_f16;
use puna_kernels::quant::{decode, put_codes};

#[test]
fn codes_are_at_their_places() {
    let types = [
        (DType::Q3_Z, 3, true),
        (DType::Q4_Z, 4, true),
        (DType::Q8_Z, 8, true),
        (DType::Q3_M, 3, false),
        (DType::Q6_M, 6, false),
        (DType::Q8_M, 8, false),
    ];
    for (dtype, bits, is_zero) in types {
        let codes: [u8; 32] = std::array::from_fn(|j| ((j * 37 + 11) % (1 << bits)) as u8);
        let mut block = vec![0; dtype.block_bytes()];
        block[..2].copy_from_slice(&f32_to_f16(0.75).to_le_bytes());
        block[2..4].copy_from_slice(&f32_to_f16(2.5).to_le_bytes());
        put_codes(bits, &codes, &mut block[4..]);
        let mut values = [0.0; 32];
        decode(dtype, &block, &mut values);
        for (value, q) in values.iter().zip(codes) {
            let want = if is_zero { 0.75 * (q as f32 - 2.5) } else { 0.75 * q as f32 + 2.5 };
            assert_eq!(*value, want, "{dtype}");
        }
    }
}
