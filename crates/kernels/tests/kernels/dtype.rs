use puna_kernels::DType;

#[test]
fn lists_have_the_types_that_rows_say() {
    assert_eq!((DType::WEIGHTS[0], DType::WEIGHTS[27]), (DType::F32, DType::MXFP4));
    let joined = DType::JOINED.map(DType::name).join(" ");
    assert_eq!(joined, "F8_E4M3 Q3_Z Q4_Z Q8_Z Q3_M Q6_M Q8_M Q4_F F8_B NF4 FP4");
    assert!(DType::WEIGHTS.into_iter().chain(DType::JOINED).all(DType::is_weight));
    assert!(!DType::F64.is_weight() && !DType::F8_E5M2.is_weight());
}
