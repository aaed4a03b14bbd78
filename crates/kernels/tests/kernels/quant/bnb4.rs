//! NF4 and FP4 against the values that bitsandbytes publishes.

use puna_kernels::DType;
use puna_kernels::quant::{decode, decode_rounded};

#[test]
fn codes_are_those_of_bitsandbytes() {
    // bitsandbytes 0.50.2, functional.get_4bit_type.
    let nf4 = [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0f64,
    ];
    let half = [
        0.0,
        0.0052083334885537624,
        0.6666666865348816,
        1.0,
        0.3333333432674408,
        0.5,
        0.1666666716337204,
        0.25f64,
    ];
    let fp4: [f64; 16] = std::array::from_fn(|i| if i < 8 { half[i] } else { -half[i - 8] });
    for (dtype, want) in [(DType::NF4, nf4), (DType::FP4, fp4)] {
        let mut block = [0; 20];
        block[..4].copy_from_slice(&0.5f32.to_le_bytes());
        for j in 0..16 {
            block[4 + j] = j as u8 | (15 - j as u8) << 4;
        }
        let mut values = [0.0; 32];
        decode(dtype, &block, &mut values);
        for j in 0..16 {
            assert_eq!((values[j], values[j + 16]), ((0.5 * want[j]) as f32, (0.5 * want[15 - j]) as f32));
        }
    }
}

/// Products in whole numbers round the sixteen values by no more than half a unit.
#[test]
fn products_have_values_near_the_codes() {
    for (dtype, most, in_square) in [(DType::NF4, 0.0039, 0.00172), (DType::FP4, 0.0032, 0.00111)] {
        let mut block = [0; 20];
        block[..4].copy_from_slice(&1f32.to_le_bytes());
        for j in 0..16 {
            block[4 + j] = j as u8 | (15 - j as u8) << 4;
        }
        let (mut values, mut rounded) = ([0.0; 32], [0.0; 32]);
        decode(dtype, &block, &mut values);
        decode_rounded(dtype, &block, &mut rounded);
        let errors = std::array::from_fn::<f32, 16, _>(|i| (values[i] - rounded[i]).abs());
        let mean_square = errors.iter().map(|e| e * e).sum::<f32>() / 16.0;
        assert!(errors.iter().all(|&e| e <= most), "{dtype}: {errors:?}");
        assert!(mean_square.sqrt() <= in_square, "{dtype}: {mean_square}");
        assert_eq!(rounded[..16], std::array::from_fn::<f32, 16, _>(|i| rounded[31 - i]));
    }
}
