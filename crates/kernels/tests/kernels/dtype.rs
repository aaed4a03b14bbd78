use puna_kernels::DType;

#[test]
fn lists_have_the_types_that_rows_say() {
    assert_eq!((DType::WEIGHTS[0], DType::WEIGHTS[27]), (DType::F32, DType::MXFP4));
    assert_eq!(DType::JOINED, [DType::F8_E4M3, DType::Q4_Z, DType::Q8_Z]);
    assert!(DType::WEIGHTS.into_iter().chain(DType::JOINED).all(DType::is_weight));
    assert!(!DType::F64.is_weight() && !DType::F8_E5M2.is_weight());
}
