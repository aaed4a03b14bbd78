//! Tests over all formats: published vectors, every instruction set against the scalar definition, error bounds.

use super::half::*;
use super::{decode, decode_with, encode, encode_with};
use crate::dtype::DType;
use crate::isa::Isa;

/// Random words, by the SplitMix64 generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// Roughly normal with unit deviation.
    fn floats(&mut self, len: usize) -> Vec<f32> {
        let mut uniform = || (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        (0..len).map(|_| (0..12).map(|_| uniform()).sum()).collect()
    }
}

/// Equal bits, or both NaN.
#[track_caller]
fn assert_same(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g.to_bits() == w.to_bits() || g.is_nan() && w.is_nan();
        assert!(same, "{what}: element {i} is {g:e}, expected {w:e}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn encoded(dtype: DType, x: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0xa5; dtype.bytes_of(x.len()).unwrap()];
    encode(dtype, x, &mut bytes);
    bytes
}

fn decoded(isa: Isa, dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut x = vec![f32::NAN; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    decode_with(isa, dtype, bytes, &mut x);
    x
}

/// The blocks that ggml's reference encoders make of two short ramps.
#[test]
fn encoders_give_the_reference_blocks() {
    let ramp: Vec<f32> = (0..32).map(|i| (i as f32 - 20.0) / 4.0).collect();
    let scattered: Vec<f32> = (0..256).map(|i| ((37 * i) % 256 - 128) as f32 / 64.0).collect();
    let whole = [
        (DType::Q4_0, "00396070718182829293a3a4a4b4b5c5c6c6"),
        (DType::Q4_1, "223800c580809191a2a2b3b3c4c4d5d5e6e6f7f7"),
        (DType::Q5_0, "00350000f0ffd0e1e2f203142526364758696a7a8b9c"),
        (DType::Q5_1, "003400c50000ffff00112233445566778899aabbccddeeff"),
        (DType::Q8_0, "0a2981878e949aa1a7adb4bac0c7cdd4dae0e7edf3fa00060d131920262c33394046"),
        (DType::IQ4_NL, "e22860607071818192a2a2b3b3c3c4c4d5d5"),
        (DType::MXFP4, "7fae9e9e0e0e0e1d1d2d2d3c3c4c4b4b5a"),
    ];
    for (dtype, want) in whole {
        assert_eq!(hex(&encoded(dtype, &ramp)), want, "{dtype}");
    }
    let ends = [
        (DType::Q2_K, "ffefdfdfbfceefdfdfcfdeffefdfcfbf", "66768b9b002d4430"),
        (DType::Q3_K, "dec6062039f9ffdec6062139f9dfdec6", "a5b53cfcc0c391a4"),
        (DType::Q4_K, "9c1c1c28f4f4fff5fef7fffb44df9423", "d3f5183a6d8fb1d3"),
        (DType::Q5_K, "21181028fafafffafff7fefd5aefaa29", "a6fb1065ba0f52a7"),
        (DType::Q6_K, "0079d34ca51e97016ad33da60f88f25b", "7f7b758d8b811010"),
        (DType::IQ4_XS, "1910c33c4ed0f33c4071a4d6fa0c2e40", ""),
    ];
    for (dtype, start, end) in ends {
        let block = hex(&encoded(dtype, &scattered));
        assert!(block.starts_with(start) && block.ends_with(end), "{dtype}: {block}");
    }
}

#[test]
fn f16_conversions_are_exact_and_round_to_even() {
    for bits in 0..=u16::MAX {
        let x = f16_to_f32(bits);
        let (exponent, mantissa) = ((bits >> 10 & 31) as i32, (bits & 1023) as f64);
        let magnitude = match exponent {
            0 => mantissa * 2f64.powi(-24),
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
        };
        if magnitude.is_nan() {
            assert!(x.is_nan() && f16_to_f32(f32_to_f16(x)).is_nan());
            continue;
        }
        assert_eq!(x as f64, if bits >> 15 == 1 { -magnitude } else { magnitude });
        assert_eq!(f32_to_f16(x), bits);
        if magnitude < 65504.0 {
            // The next half away from zero, and the point half way to it, belongs to the even one of the two.
            let next = f16_to_f32(bits + 1);
            let middle = ((x as f64 + next as f64) / 2.0) as f32;
            assert_eq!(f32_to_f16(middle), bits + (bits & 1));
            let (below, above) = (f32::from_bits(middle.to_bits() - 1), f32::from_bits(middle.to_bits() + 1));
            assert_eq!((f32_to_f16(below), f32_to_f16(above)), (bits, bits + 1));
        }
    }
    assert_eq!(f32_to_f16(65519.99), 0x7bff);
    assert_eq!(f32_to_f16(65520.0), 0x7c00);
    assert_eq!(f32_to_f16(f32::MIN), 0xfc00);
    assert_eq!(f32_to_f16(f32::MIN_POSITIVE), 0);
}

#[test]
fn bf16_rounds_to_even_and_keeps_nan() {
    for bits in 0..=u16::MAX {
        let x = bf16_to_f32(bits);
        if x.is_nan() {
            assert!(bf16_to_f32(f32_to_bf16(x)).is_nan());
            continue;
        }
        assert_eq!(f32_to_bf16(x), bits);
        if x.is_finite() {
            let middle = x.to_bits() | 0x8000;
            assert_eq!(f32_to_bf16(f32::from_bits(middle)), bits + (bits & 1));
            assert_eq!(f32_to_bf16(f32::from_bits(middle - 1)), bits);
            assert_eq!(f32_to_bf16(f32::from_bits(middle + 1)), bits + 1);
        }
    }
    // A NaN whose payload lies in the lower half only.
    assert!(bf16_to_f32(f32_to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
    assert!(bf16_to_f32(f32_to_bf16(f32::from_bits(0xffff_ffff))).is_nan());
}

/// Random bytes are valid blocks: all codes, scales of every size, infinite and NaN ones among them.
#[test]
fn every_instruction_set_decodes_the_same_bits() {
    let mut random = Random(1);
    for isa in Isa::available() {
        for dtype in DType::WEIGHTS {
            let what = format!("{dtype} with {}", isa.name());
            for blocks in (0..=50).chain([300]) {
                let bytes = random.bytes(blocks * dtype.block_bytes());
                let want = decoded(Isa::SCALAR, dtype, &bytes);
                assert_same(&decoded(isa, dtype, &bytes), &want, &what);
            }
        }
    }
}

/// Each byte pair of a block in turn takes all 65536 values: scales, minima, codes and fields alike.
#[test]
fn every_instruction_set_decodes_every_scale() {
    let mut random = Random(2);
    for dtype in DType::WEIGHTS.into_iter().filter(|dtype| dtype.block_len() > 1) {
        let mut starts: Vec<usize> = vec![0, 2, dtype.block_bytes() - 4, dtype.block_bytes() - 2];
        starts.dedup();
        for start in starts {
            let block = random.bytes(dtype.block_bytes());
            for bits in (0..=u16::MAX).step_by(if start == 0 || dtype.block_len() == 32 { 1 } else { 7 }) {
                let mut block = block.clone();
                block[start..start + 2].copy_from_slice(&bits.to_le_bytes());
                let want = decoded(Isa::SCALAR, dtype, &block);
                for isa in Isa::available() {
                    assert_same(&decoded(isa, dtype, &block), &want, &format!("{dtype} with {}", isa.name()));
                }
            }
        }
    }
    let all_halves: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for dtype in [DType::F16, DType::BF16] {
        let want = decoded(Isa::SCALAR, dtype, &all_halves);
        for isa in Isa::available() {
            assert_same(&decoded(isa, dtype, &all_halves), &want, &format!("{dtype} with {}", isa.name()));
        }
    }
}

/// Rows of every number of blocks, and values of every kind.
#[test]
fn every_instruction_set_encodes_the_same_bytes() {
    let mut random = Random(3);
    for dtype in DType::WEIGHTS {
        for blocks in 0..=35 {
            if blocks > 4 && dtype.block_len() == 256 {
                continue;
            }
            let len = blocks * dtype.block_len();
            let scale = 2f32.powi((random.next() % 60) as i32 - 30);
            let mut x: Vec<f32> = random.floats(len).iter().map(|x| x * scale).collect();
            if blocks % 3 == 2 {
                x[len / 2..].fill(0.0);
            }
            if dtype.block_len() == 1 && blocks % 4 == 3 {
                x = (0..len).map(|_| f32::from_bits(random.next() as u32)).collect();
            }
            let want = encoded(dtype, &x);
            for isa in Isa::available() {
                let mut got = vec![0x5a; want.len()];
                encode_with(isa, dtype, &x, &mut got);
                assert_eq!(got, want, "{blocks} blocks of {dtype} with {}", isa.name());
            }
        }
    }
}

/// Root mean square error of a format over the deviation of normal values, as measured, with a little room.
#[test]
fn encoding_loses_what_the_format_must() {
    let x = Random(4).floats(64 * 256);
    let bounds = [
        (DType::F32, 0.0),
        (DType::F16, 0.0002),
        (DType::BF16, 0.002),
        (DType::Q8_0, 0.0062),
        (DType::Q6_K, 0.018),
        (DType::Q5_0, 0.045),
        (DType::Q5_1, 0.042),
        (DType::Q5_K, 0.036),
        (DType::Q4_0, 0.092),
        (DType::Q4_1, 0.085),
        (DType::Q4_K, 0.076),
        (DType::IQ4_NL, 0.080),
        (DType::IQ4_XS, 0.083),
        (DType::MXFP4, 0.13),
        (DType::Q3_K, 0.17),
        (DType::Q2_K, 0.32),
    ];
    assert_eq!(bounds.len(), DType::WEIGHTS.len());
    for (dtype, bound) in bounds {
        let mut y = vec![0.0; x.len()];
        decode(dtype, &encoded(dtype, &x), &mut y);
        let square: f64 = x.iter().zip(&y).map(|(x, y)| (*x as f64 - *y as f64).powi(2)).sum();
        let error = (square / x.len() as f64).sqrt();
        println!("{dtype} {error:.5}");
        assert!(error <= bound, "{dtype}: {error}");
        assert!(error >= bound * 0.7, "{dtype}: {error} is surprisingly good");
    }
}

/// Constant, tiny, huge and non-finite rows do not panic, and zeros stay zeros.
#[test]
fn odd_rows_encode_without_panic() {
    let odd = [0.0, -0.0, 1.0, -3.5, 1e-40, -1e-40, 1e-20, 7e4, 3e38, -3e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    for dtype in DType::WEIGHTS {
        for a in odd {
            for b in odd {
                let x: Vec<f32> = (0..256).map(|i| if i % 7 == 3 { b } else { a }).collect();
                let y = decoded(Isa::SCALAR, dtype, &encoded(dtype, &x));
                if a == 0.0 && b == 0.0 {
                    assert!(y.iter().all(|y| *y == 0.0), "{dtype}");
                }
            }
        }
    }
}

/// A NaN in a row stored in a KV cache's types is not hidden.
#[test]
fn nan_survives_in_the_types_of_the_cache() {
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::Q8_0] {
        for isa in Isa::available() {
            let mut x = vec![1.0; 64];
            x[37] = f32::NAN;
            let mut bytes = vec![0; dtype.bytes_of(64).unwrap()];
            encode_with(isa, dtype, &x, &mut bytes);
            assert!(decoded(isa, dtype, &bytes)[37].is_nan(), "{dtype} with {}", isa.name());
        }
    }
}

#[test]
#[should_panic(expected = "elements of Q4_0")]
fn lengths_must_agree() {
    decode(DType::Q4_0, &[0; 17], &mut [0.0; 32]);
}
