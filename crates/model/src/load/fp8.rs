//! FP8: linear layers of one byte a weight, with a factor for each output, one for all, or one for each block of
//! weights, as released for Llama 3.1 405B (`fbgemm_fp8`) and Llama 4 Maverick (`compressed-tensors`), and by
//! others (`fp8`, `modelopt`).
//!
//! The codes stay where they are stored, with the factors as a vector beside them, but for blocks, which are put
//! together with theirs. Which layers are converted is told by their tensors, so lists of exceptions are not
//! read. Activations are not rounded to FP8: their factors (`input_scale`) go unused.

use puna_formats::TensorView;
use puna_tensor::{DType, Weight};
use serde_json::Value;

use super::blocks;
use super::grouped::floats;
use super::layer::{Layer, Misfit};

/// A layer's factors, by their last name. The second is that of blocks.
const SCALES: [&str; 2] = ["weight_scale", "weight_scale_inv"];

/// The factor of a whole matrix of NVFP4.
const WHOLE: &str = "weight_scale_2";

/// The tensors of a layer beside `weight`, by their last names.
pub(super) const NAMES: [&str; 3] = [SCALES[0], SCALES[1], WHOLE];

/// How many rows and columns share a factor, where blocks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSize(Option<[usize; 2]>);

impl BlockSize {
    /// There are no blocks.
    pub(super) const NONE: BlockSize = BlockSize(None);

    /// The sizes that a configuration has, if it has any.
    pub(super) fn of(said: Option<&Value>) -> Result<BlockSize, String> {
        let Some(said) = said.filter(|said| !said.is_null()) else { return Ok(BlockSize::NONE) };
        let size = |i: usize| {
            let n = usize::try_from(said.get(i)?.as_u64()?).ok()?;
            (n > 0).then_some(n)
        };
        match (size(0), size(1), said.get(2)) {
            (Some(rows), Some(cols), None) if cols.is_multiple_of(32) => Ok(BlockSize(Some([rows, cols]))),
            _ => Err(format!(
                "FP8 weights have a scale for each block of {said}; supported are blocks of rows and columns whose \
                 columns are a multiple of 32"
            )),
        }
    }
}

/// Reads what NVIDIA's tool says, in `quantization_config` or a file of its own. The message names what is not
/// supported.
pub(super) fn modelopt(said: &Value) -> Result<BlockSize, String> {
    match said.get("quant_algo").and_then(Value::as_str) {
        Some("FP8" | "FP8_PER_CHANNEL_PER_TOKEN" | "NVFP4") => Ok(BlockSize::NONE),
        other => Err(format!(
            "modelopt's quant_algo is `{}`; supported are FP8, FP8_PER_CHANNEL_PER_TOKEN and NVFP4",
            other.unwrap_or("missing")
        )),
    }
}

/// Whether a tensor is about activations and cached keys and values, which stay floats here.
pub(crate) fn is_ignored(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(
        last,
        "input_scale"
            | "input_global_scale"
            | "input_scale_ub"
            | "output_scale"
            | "k_scale"
            | "v_scale"
            | "kv_scale"
    )
}

/// Puts together a layer; `None` if it is not in FP8.
pub(super) fn weight(layer: &Layer, BlockSize(blocks): BlockSize) -> Option<Result<Weight, Misfit>> {
    let codes = layer.get("weight")?;
    let scale = SCALES.into_iter().find_map(|last| Some((last, layer.get(last)?)));
    match (codes.dtype, scale) {
        (DType::F8_E4M3, Some((last, scale))) => Some(match blocks {
            Some(blocks) if !is_of_rows(scale, layer.shape[0]) => {
                of_blocks(layer, codes, last, scale, blocks)
            }
            _ => of_rows(layer, codes, last, scale),
        }),
        (DType::F8_E4M3, None) => {
            let missing = format!("`{}.{}`", layer.base, SCALES[0]);
            Some(Err(
                layer.misfit("weight", format!("its type is F8_E4M3, but its scale {missing} is missing"))
            ))
        }
        (DType::F8_E5M2, _) => Some(Err(
            layer.misfit("weight", "its type F8_E5M2 is not supported; the FP8 type that is: F8_E4M3")
        )),
        (DType::U8, Some((last, _))) if layer.get(WHOLE).is_some() => Some(of_four_bits(layer, codes, last)),
        (_, None) => None,
        (dtype, Some((last, _))) => {
            Some(Err(layer.misfit(last, format!("the weights that it scales are {dtype}; expected F8_E4M3"))))
        }
    }
}

fn check_shape(layer: &Layer, codes: &TensorView) -> Result<(), Misfit> {
    let [rows, cols] = layer.shape;
    match codes.shape == [rows, cols] {
        true => Ok(()),
        false => {
            let found = &codes.shape;
            let fact = format!("expected shape [{rows}, {cols}] from the configuration, found {found:?}");
            Err(layer.misfit("weight", fact))
        }
    }
}

fn of_blocks(
    layer: &Layer,
    codes: &TensorView,
    last: &str,
    scale: &TensorView,
    block: [usize; 2],
) -> Result<Weight, Misfit> {
    check_shape(layer, codes)?;
    let [rows, cols] = layer.shape;
    let expected = [rows.div_ceil(block[0]), cols.div_ceil(block[1])];
    if scale.shape != expected {
        let found = &scale.shape;
        let fact = format!("expected {expected:?} scales for blocks of {block:?}, found shape {found:?}");
        return Err(layer.misfit(last, fact));
    }
    let scales = floats(scale).map_err(|fact| layer.misfit(last, fact))?;
    blocks::fp8(layer, &codes.data, &scales, block)
}

fn of_rows(layer: &Layer, codes: &TensorView, last: &str, scale: &TensorView) -> Result<Weight, Misfit> {
    check_shape(layer, codes)?;
    let [rows, cols] = layer.shape;
    let scales = row_scales(scale, rows).map_err(|fact| layer.misfit(last, fact))?;
    let weight = Weight::stored(layer.id, codes.dtype, rows, cols, codes.data.clone());
    let weight = weight.and_then(|weight| weight.with_row_scales(scales));
    let fact = || format!("{} bytes are not [{rows}, {cols}]", codes.data.len());
    weight.ok_or_else(|| layer.misfit("weight", fact()))
}

/// NVFP4, as NVIDIA's tool stores it.
fn of_four_bits(layer: &Layer, codes: &TensorView, last: &str) -> Result<Weight, Misfit> {
    let whole = number(layer.get_or_missing(WHOLE)?).map_err(|fact| layer.misfit(WHOLE, fact))?;
    blocks::nvfp4(layer, &codes.data, last, whole)
}

/// The only number of a tensor, which is not zero.
pub(super) fn number(view: &TensorView) -> Result<f32, String> {
    match floats(view)?[..] {
        [x] if x.is_normal() => Ok(x),
        _ => Err(format!("expected one number other than zero, found shape {:?}", view.shape)),
    }
}

fn is_of_rows(scale: &TensorView, rows: usize) -> bool {
    let for_all = scale.shape.len() <= 2 && scale.n_elements() == 1;
    for_all || scale.shape == [rows] || scale.shape == [rows, 1]
}

/// A factor for each of `rows` rows, from as many or one for all.
fn row_scales(scale: &TensorView, rows: usize) -> Result<Vec<f32>, String> {
    if !is_of_rows(scale, rows) {
        let found = &scale.shape;
        return Err(format!(
            "expected a scale for each of {rows} rows, or one for all, found shape {found:?}; those of blocks need a \
             weight_block_size in the configuration"
        ));
    }
    let values = floats(scale)?;
    Ok(if values.len() == 1 { vec![values[0]; rows] } else { values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_tensor::Bytes;
    use serde_json::json;

    #[test]
    fn sizes_of_blocks_are_read() {
        let of = |value: Value| BlockSize::of(Some(&value));
        assert_eq!(of(json!(null)), Ok(BlockSize::NONE));
        assert_eq!(of(json!([128, 64])), Ok(BlockSize(Some([128, 64]))));
        for bad in [json!([128, 100]), json!([0, 32]), json!([128]), json!([1, 32, 1]), json!(128)] {
            assert!(of(bad.clone()).unwrap_err().contains(&bad.to_string()), "{bad}");
        }
        assert_eq!(modelopt(&json!({"quant_algo": "FP8"})), Ok(BlockSize::NONE));
        assert_eq!(modelopt(&json!({"quant_algo": "NVFP4"})), Ok(BlockSize::NONE));
        assert!(modelopt(&json!({"quant_algo": "W4A8_AWQ"})).unwrap_err().contains("`W4A8_AWQ`"));
        assert!(modelopt(&json!({})).unwrap_err().contains("`missing`"));
    }

    #[test]
    fn scales_are_for_each_row_or_for_all() {
        let view = |dtype: DType, shape: &[usize], value: &[u8]| {
            let data = Bytes::new(value.repeat(shape.iter().product()));
            TensorView { name: String::new(), dtype, shape: shape.to_vec(), data }
        };
        let half = 0.5f32.to_le_bytes();
        for shape in [&[][..], &[1], &[1, 1], &[6], &[6, 1]] {
            assert_eq!(row_scales(&view(DType::F32, shape, &half), 6), Ok(vec![0.5; 6]), "{shape:?}");
        }
        assert_eq!(row_scales(&view(DType::BF16, &[6, 1], &[0x80, 0x3f]), 6), Ok(vec![1.0; 6]));
        for shape in [&[5][..], &[1, 6], &[6, 2], &[0], &[3, 2], &[1, 1, 1]] {
            let error = row_scales(&view(DType::F32, shape, &half), 6).unwrap_err();
            assert!(error.contains("each of 6 rows") && error.contains(&format!("{shape:?}")), "{error}");
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let error = row_scales(&view(DType::F32, &[6, 1], &bad.to_le_bytes()), 6).unwrap_err();
            assert!(error.contains("damaged"), "{error}");
        }
        assert!(row_scales(&view(DType::I32, &[6], &half), 6).unwrap_err().contains("I32"));
    }
}
