use puna_kernels::DType;
use puna_kernels::quant::decode;

/// Every scale times every code, from the definition in f64: E2M1 numbers times 2^(e - 127).
#[test]
fn every_code_has_its_value() {
    const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    for e in 0..=255u8 {
        for code in 0..16u8 {
            let mut block = [code | code << 4; 17];
            block[0] = e;
            let mut out = [f32::NAN; 32];
            decode(DType::MXFP4, &block, &mut out);
            let sign = if code < 8 { 1.0 } else { -1.0 };
            let want = sign * E2M1[(code % 8) as usize] * 2f64.powi(e as i32 - 127);
            assert!(out.iter().all(|x| *x == want as f32), "e {e}, code {code}: {}, {want}", out[0]);
        }
    }
}
