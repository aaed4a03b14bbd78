use puna_kernels::quant::decode_with;
use puna_kernels::{DType, Isa};

/// The value of a code by the formula.
fn definition(code: u8) -> f64 {
    let (exponent, mantissa) = ((code >> 3 & 15) as i32, (code & 7) as f64);
    let magnitude = match exponent {
        15 if mantissa == 7.0 => f64::NAN,
        0 => mantissa * 2f64.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
    };
    if code < 0x80 { magnitude } else { -magnitude }
}

/// At every place of a vector and in every tail.
#[test]
fn fp8_codes_have_the_values_of_the_definition() {
    let codes: Vec<u8> = (0..=255).chain(0..=255).collect();
    assert_eq!((definition(0x7e), definition(1)), (448.0, 2f64.powi(-9)));
    for isa in Isa::available() {
        for start in 0..17 {
            for len in (0..40).chain([256, 271]) {
                let codes = &codes[start..start + len];
                let mut values = vec![7.0; len];
                decode_with(isa, DType::F8_E4M3, codes, &mut values);
                for (code, got) in codes.iter().zip(values) {
                    let want = definition(*code);
                    let same = got as f64 == want && got.is_sign_negative() == want.is_sign_negative();
                    assert!(same || got.is_nan() && want.is_nan(), "{code:#x} {}: {got}", isa.name());
                }
            }
        }
    }
}
