//! The factor that a GGUF file may store beside a matrix: `blk.0.attn_q.scale` beside `blk.0.attn_q.weight`.
//!
//! NVFP4 has small floats as scales of its blocks, and a factor for the whole matrix puts these where they are
//! precise; a tensor of all experts has one for each of them. What activations would be divided by to be NVFP4
//! themselves (`input_scale`) goes unused, as in llama.cpp on processors.

use puna_formats::{TensorMap, TensorView};
use puna_tensor::{DType, Weight};

use crate::names::Slice;

/// The tensors beside a matrix, by their last names.
pub(crate) const NAMES: [&str; 2] = ["scale", "input_scale"];

/// The weight with the factor that is stored beside the tensor `name`, if there is one. The message is about the
/// tensor it names.
pub(crate) fn with_factor(
    tensors: &TensorMap,
    name: &str,
    slice: Option<Slice>,
    weight: Weight,
) -> Result<Weight, (String, String)> {
    match name.strip_suffix(".weight").and_then(|base| tensors.get(&format!("{base}.{}", NAMES[0]))) {
        Some(scale) => scaled(weight, scale, slice).map_err(|fact| (scale.name.clone(), fact)),
        None => Ok(weight),
    }
}

/// The weight times the number of `scale` that is its own.
fn scaled(weight: Weight, scale: &TensorView, slice: Option<Slice>) -> Result<Weight, String> {
    let Slice { begin, of, .. } = slice.unwrap_or(Slice::WHOLE);
    let values = scale.data.as_chunks::<4>().0;
    let value = match values.get(begin) {
        Some(value) if scale.dtype == DType::F32 && values.len() == of => f32::from_le_bytes(*value),
        _ => return Err(format!("expected {of} of F32, found {:?} of {}", scale.shape, scale.dtype)),
    };
    if !value.is_finite() {
        return Err(format!("it holds {value}; the file is damaged"));
    }
    let (dtype, factors) = (weight.dtype(), vec![value; weight.rows()]);
    let scaled = weight.with_row_scales(factors);
    scaled.ok_or_else(|| format!("it scales a matrix of {dtype}; supported are quantised types"))
}

#[cfg(test)]
mod tests {
    use puna_tensor::{Bytes, ParamId};

    use super::*;

    fn view(dtype: DType, shape: &[usize], data: Vec<u8>) -> TensorView {
        TensorView { name: "a.scale".into(), dtype, shape: shape.to_vec(), data: Bytes::new(data) }
    }

    /// The first element of a weight of ones that is scaled.
    fn first(scale: &TensorView, dtype: DType, slice: Option<Slice>) -> Result<f32, String> {
        let bytes = match dtype {
            DType::Q4_0 => [vec![0, 0x3c], vec![0x99; 16]].concat(),
            _ => [0x80, 0x3f].repeat(32),
        };
        let weight = Weight::stored(ParamId(0), dtype, 1, 32, Bytes::new(bytes)).unwrap();
        scaled(weight, scale, slice).map(|w| w.to_f32()[0])
    }

    #[test]
    fn factors_are_of_matrices_or_experts() {
        let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let scale = |values: &[f32]| view(DType::F32, &[values.len()], floats(values));
        let third = Some(Slice { begin: 2, end: 3, of: 4 });
        assert_eq!(first(&scale(&[0.25]), DType::Q4_0, None), Ok(0.25));
        assert_eq!(first(&scale(&[1.0, 2.0, -3.0, 4.0]), DType::Q4_0, third), Ok(-3.0));
        for (wrong, dtype, slice, fact) in [
            (scale(&[1.0, 2.0]), DType::Q4_0, None, "expected 1 of F32"),
            (scale(&[1.0]), DType::Q4_0, third, "expected 4 of F32"),
            (scale(&[]), DType::Q4_0, None, "expected 1 of F32"),
            (view(DType::F16, &[2], vec![0; 4]), DType::Q4_0, None, "of F16"),
            (scale(&[f32::NAN]), DType::Q4_0, None, "damaged"),
            (scale(&[1.0]), DType::BF16, None, "a matrix of BF16"),
        ] {
            let error = first(&wrong, dtype, slice).unwrap_err();
            assert!(error.contains(fact), "{error}");
        }
    }
}
