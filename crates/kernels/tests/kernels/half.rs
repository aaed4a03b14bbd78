use puna_kernels::half::{bf16_to_f32, e4m3_to_f32, f16_to_f32, f32_to_bf16, f32_to_e4m3, f32_to_f16};

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

#[test]
fn fp8_rounds_to_the_nearest_code_and_ties_to_even() {
    for code in 0..0x7eu8 {
        let (x, next) = (e4m3_to_f32(code), e4m3_to_f32(code + 1));
        let middle = (x + next) / 2.0;
        for (x, want) in [
            (x, code),
            (middle, code + (code & 1)),
            (f32::from_bits(middle.to_bits() - 1), code),
            (f32::from_bits(middle.to_bits() + 1), code + 1),
        ] {
            assert_eq!((f32_to_e4m3(x), f32_to_e4m3(-x)), (want, want | 0x80), "{x}");
        }
    }
    for (x, want) in [(464.0, 0x7e), (464.1, 0x7f), (f32::INFINITY, 0x7f), (f32::MAX, 0x7f), (1e-40, 0)] {
        assert_eq!((f32_to_e4m3(x), f32_to_e4m3(-x)), (want, want | 0x80), "{x}");
    }
    assert_eq!(f32_to_e4m3(f32::NAN) & 0x7f, 0x7f);
}
