//! The names safetensors has for element types.

use puna_tensor::DType;

use crate::error::Problem;
use crate::visible::quote;

const NAMES: [(&str, DType); 15] = [
    ("F64", DType::F64),
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("F8_E4M3", DType::F8_E4M3),
    ("F8_E5M2", DType::F8_E5M2),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("I8", DType::I8),
    ("U64", DType::U64),
    ("U32", DType::U32),
    ("U16", DType::U16),
    ("U8", DType::U8),
    ("BOOL", DType::Bool),
];

/// The dtype of a name in a header.
pub(super) fn dtype_of(name: &str) -> Result<DType, Problem> {
    let found = NAMES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype);
    found.ok_or_else(|| {
        let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
        let problem = Problem::unsupported(format!("has the type {}, which is not supported", quote(name)));
        problem.hint(format!("supported types: {}", known.join(", ")))
    })
}

/// The name of a dtype, or `None` if safetensors has no such type.
pub(super) fn name_of(dtype: DType) -> Option<&'static str> {
    NAMES.iter().find(|(_, known)| *known == dtype).map(|(name, _)| *name)
}
