//! What is decoded and encoded, against ggml's own library through hashes (`make_ggml_blocks.py`).

use puna_kernels::{DType, Isa};
use serde_json::Value;

use super::{decoded, encoded};
use crate::test_data::Random;

/// 64-bit FNV-1a.
fn hash(bytes: impl Iterator<Item = u8>) -> String {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// Random bytes reach every point of every lattice, every scale, and scales that are no numbers.
#[test]
fn types_have_ggmls_values_and_blocks() {
    let text = include_str!("../../data/ggml_blocks.json");
    let about: Value = serde_json::from_str(text).unwrap();
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap() as usize;
    let (n_blocks, n_encoded) = (number(&about, "n_blocks"), number(&about, "n_encoded"));
    let mut n = 0;
    for dtype in DType::WEIGHTS.into_iter().filter(|dtype| *dtype != DType::F32) {
        let about = &about["types"][dtype.name()];
        let (block_len, seed) = (dtype.block_len(), number(about, "number") as u64);
        assert_eq!(
            (block_len, dtype.block_bytes()),
            (number(about, "block_len"), number(about, "block_bytes"))
        );
        let blocks = Random(seed).bytes(n_blocks * dtype.block_bytes());
        let values = decoded(Isa::SCALAR, dtype, &blocks);
        let bits = values.iter().map(|x| if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() });
        assert_eq!(about["decoded"], hash(bits.flat_map(u32::to_le_bytes)), "decoding {dtype}");
        let Some(want) = about["encoded"].as_str() else { continue };
        // Of each block another size, and a block of zeros.
        let mut random = Random(1000 + seed);
        let mut x: Vec<f32> = (0..n_encoded * block_len)
            .map(|i| ((random.next() >> 32) as i32) as f32 * 2f32.powi((i / block_len % 24) as i32 - 47))
            .collect();
        x[..block_len].fill(0.0);
        assert_eq!(want, hash(encoded(dtype, &x).into_iter()), "encoding {dtype}");
        n += 1;
    }
    assert_eq!(n, 6, "types whose encoder is ggml's");
}
