//! The numbers GGUF uses for tensor types, and our dtype for each of those we support.

use puna_tensor::DType;

use crate::error::Problem;

/// The types we read and write, with their numbers in the file.
const SUPPORTED: [(u32, DType); 33] = [
    (0, DType::F32),
    (1, DType::F16),
    (2, DType::Q4_0),
    (3, DType::Q4_1),
    (6, DType::Q5_0),
    (7, DType::Q5_1),
    (8, DType::Q8_0),
    (10, DType::Q2_K),
    (11, DType::Q3_K),
    (12, DType::Q4_K),
    (13, DType::Q5_K),
    (14, DType::Q6_K),
    (16, DType::IQ2_XXS),
    (17, DType::IQ2_XS),
    (18, DType::IQ3_XXS),
    (19, DType::IQ1_S),
    (20, DType::IQ4_NL),
    (21, DType::IQ3_S),
    (22, DType::IQ2_S),
    (23, DType::IQ4_XS),
    (24, DType::I8),
    (25, DType::I16),
    (26, DType::I32),
    (27, DType::I64),
    (28, DType::F64),
    (29, DType::IQ1_M),
    (30, DType::BF16),
    (34, DType::TQ1_0),
    (35, DType::TQ2_0),
    (39, DType::MXFP4),
    (40, DType::NVFP4),
    (41, DType::Q1_0),
    (42, DType::Q2_0),
];

/// Types that exist for activations alone, never for tensors in files.
const UNSUPPORTED: [(u32, &str); 2] = [(9, "Q8_1"), (15, "Q8_K")];

/// Numbers of types that GGML has removed.
const REMOVED: [u32; 8] = [4, 5, 31, 32, 33, 36, 37, 38];

/// The dtype behind a type number, or an error that says what the number stands for.
pub(super) fn dtype_of(type_id: u32) -> Result<DType, Problem> {
    if let Some((_, dtype)) = SUPPORTED.iter().find(|(id, _)| *id == type_id) {
        return Ok(*dtype);
    }
    let fact = match UNSUPPORTED.iter().find(|(id, _)| *id == type_id) {
        Some((_, name)) => {
            format!("has the type {name} (number {type_id}), which is for activations, not for files")
        }
        None if REMOVED.contains(&type_id) => format!("has type number {type_id}, which GGML has removed"),
        None => format!("has type number {type_id}, which we do not know; the file may be damaged or newer"),
    };
    let weights: Vec<&str> = DType::WEIGHTS.iter().map(|dtype| dtype.name()).collect();
    Err(Problem::unsupported(fact).hint(format!("supported weight types: {}", weights.join(", "))))
}

/// The number of a dtype, or `None` if GGUF has no such type.
pub(super) fn type_id_of(dtype: DType) -> Option<u32> {
    SUPPORTED.iter().find(|(_, supported)| *supported == dtype).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_type_has_its_number() {
        for dtype in DType::WEIGHTS {
            assert_eq!(dtype_of(type_id_of(dtype).unwrap()).unwrap(), dtype);
        }
    }

    #[test]
    fn other_numbers_are_explained() {
        assert!(dtype_of(9).unwrap_err().fact.contains("Q8_1"));
        assert!(dtype_of(5).unwrap_err().fact.contains("removed"));
        assert!(dtype_of(1000).unwrap_err().fact.contains("do not know"));
        assert!(dtype_of(43).unwrap_err().hint.unwrap().contains("Q4_K"));
    }
}
