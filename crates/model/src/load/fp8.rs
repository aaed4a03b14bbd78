//! FP8: linear layers of one byte a weight, with a factor for each output or one for all, as released for
//! Llama 3.1 405B (`fbgemm_fp8`) and Llama 4 Maverick (`compressed-tensors`), and by others (`fp8`).
//!
//! The codes stay where they are stored; the factors become a vector beside them. Which layers are converted
//! is told by their tensors, so lists of exceptions are not read. Activations are not rounded to FP8: their
//! factors (`input_scale`) go unused.

use puna_formats::{TensorMap, TensorView};
use puna_tensor::{DType, ParamId, Weight};
use serde_json::Value;

/// A layer's factors, by their last name: of rows or the matrix, and of blocks.
pub(crate) const NAMES: [&str; 2] = ["weight_scale", "weight_scale_inv"];

/// Checks what `quantization_config` says of such a `method`. The message names what is not supported.
pub(crate) fn check(method: &str, quantization: &Value) -> Result<(), String> {
    match method {
        "compressed-tensors" => check_compressed(quantization),
        _ => match quantization.get("weight_block_size").filter(|size| !size.is_null()) {
            Some(size) => Err(format!(
                "FP8 weights have a scale for each block of {size} (weight_block_size); supported are one for each row \
                 and one for a matrix"
            )),
            None => Ok(()),
        },
    }
}

/// Of compressed-tensors' many forms, the one for FP8 weights.
fn check_compressed(quantization: &Value) -> Result<(), String> {
    let refuse = |what: &str, found: &str| {
        Err(format!(
            "compressed-tensors' {what} is `{found}`; supported is float-quantized: weights of type float with 8 bits, \
             strategy channel or tensor"
        ))
    };
    let format = |of: &Value| of.get("format").and_then(Value::as_str).map(str::to_owned);
    match format(quantization).as_deref() {
        Some("float-quantized") => (),
        other => return refuse("format", other.unwrap_or("missing")),
    }
    let sparsity = quantization.get("sparsity_config").and_then(format);
    if let Some(other) = sparsity.filter(|format| format != "dense") {
        return refuse("sparsity format", &other);
    }
    let groups = quantization.get("config_groups").and_then(Value::as_object);
    for group in groups.into_iter().flat_map(|groups| groups.values()) {
        if let Some(other) = format(group).filter(|format| format != "float-quantized") {
            return refuse("format", &other);
        }
        let Some(weights) = group.get("weights").filter(|weights| !weights.is_null()) else { continue };
        let (kind, bits) = (weights.get("type"), weights.get("num_bits"));
        if kind.and_then(Value::as_str) != Some("float") || bits.and_then(Value::as_u64) != Some(8) {
            let say = |value: Option<&Value>| value.map_or("none".into(), Value::to_string);
            return refuse("weight type", &format!("{} of {} bits", say(kind), say(bits)));
        }
        match weights.get("strategy").and_then(Value::as_str) {
            Some("channel" | "tensor") => (),
            other => return refuse("weight strategy", other.unwrap_or("missing")),
        }
    }
    Ok(())
}

/// Whether a tensor is about activations and cached keys and values, which stay floats here.
pub(crate) fn is_ignored(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(last, "input_scale" | "input_scale_ub" | "output_scale" | "k_scale" | "v_scale" | "kv_scale")
}

/// Puts together the layer whose codes are the tensor `name`, as a weight of shape `[rows, cols]`; `None` if
/// it is not in FP8. The message is about the tensor it names.
pub(crate) fn weight(
    tensors: &TensorMap,
    name: &str,
    id: ParamId,
    [rows, cols]: [usize; 2],
) -> Option<Result<Weight, (String, String)>> {
    let (codes, base) = (tensors.get(name)?, name.strip_suffix(".weight")?);
    let [scale_name, block_scale_name] = NAMES.map(|last| format!("{base}.{last}"));
    let fail = |name: &str, fact: String| Some(Err((name.to_owned(), fact)));
    if tensors.contains(&block_scale_name) {
        let fact =
            "FP8 scales of blocks are not supported; supported are one for each row and one for a matrix";
        return fail(&block_scale_name, fact.into());
    }
    let scale = match (codes.dtype, tensors.get(&scale_name)) {
        (DType::F8_E4M3, Some(scale)) => scale,
        (DType::F8_E4M3, None) => {
            return fail(name, format!("its type is F8_E4M3, but its scale `{scale_name}` is missing"));
        }
        (DType::F8_E5M2, _) => {
            return fail(name, "its type F8_E5M2 is not supported; the FP8 type that is: F8_E4M3".into());
        }
        (_, None) => return None,
        (dtype, Some(_)) => {
            return fail(&scale_name, format!("the weights that it scales are {dtype}; expected F8_E4M3"));
        }
    };
    if codes.shape != [rows, cols] {
        let found = &codes.shape;
        return fail(
            name,
            format!("expected shape [{rows}, {cols}] from the configuration, found {found:?}"),
        );
    }
    let scales = match row_scales(scale, rows) {
        Ok(scales) => scales,
        Err(fact) => return fail(&scale_name, fact),
    };
    let weight = Weight::stored(id, codes.dtype, rows, cols, codes.data.clone());
    let weight = weight.and_then(|weight| weight.with_row_scales(scales));
    let fact = || format!("{} bytes are not [{rows}, {cols}]", codes.data.len());
    Some(weight.ok_or_else(|| (name.to_owned(), fact())))
}

/// A factor for each of `rows` rows, from as many or one for all.
fn row_scales(scale: &TensorView, rows: usize) -> Result<Vec<f32>, String> {
    let for_all = scale.shape.len() <= 2 && scale.n_elements() == 1;
    if !(for_all || scale.shape == [rows] || scale.shape == [rows, 1]) {
        let found = &scale.shape;
        return Err(format!(
            "expected a scale for each of {rows} rows, or one for all, found shape {found:?}"
        ));
    }
    let is_float = matches!(scale.dtype, DType::F32 | DType::F16 | DType::BF16);
    let stored = Weight::stored(ParamId(0), scale.dtype, 1, scale.n_elements(), scale.data.clone());
    let values = stored.filter(|_| is_float).map(|stored| stored.to_f32());
    let values =
        values.ok_or_else(|| format!("expected scales of F32, F16 or BF16, found {}", scale.dtype))?;
    match values.iter().find(|scale| !scale.is_finite()) {
        Some(scale) => Err(format!("it holds {scale}; the file is damaged")),
        None if for_all => Ok(vec![values[0]; rows]),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_tensor::Bytes;
    use serde_json::json;

    fn compressed(change: impl Fn(&mut Value)) -> Result<(), String> {
        let weights = json!({"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": true});
        let mut config = json!({"quant_method": "compressed-tensors", "format": "float-quantized",
            "config_groups": {"group_0": {"weights": weights, "input_activations": {"strategy": "token"}}}});
        change(&mut config);
        check("compressed-tensors", &config)
    }

    #[test]
    fn forms_are_told_apart() {
        assert_eq!(compressed(|_| ()), Ok(()));
        assert_eq!(compressed(|c| c["sparsity_config"] = json!({"format": "dense"})), Ok(()));
        assert_eq!(
            compressed(|c| c["config_groups"]["group_0"]["weights"]["strategy"] = json!("tensor")),
            Ok(())
        );
        assert_eq!(check("fbgemm_fp8", &json!({"activation_scale_ub": 1200.0})), Ok(()));
        assert_eq!(check("fp8", &json!({"activation_scheme": "static", "weight_block_size": null})), Ok(()));
        let weights = |c: &mut Value, key: &str, value: Value| {
            c["config_groups"]["group_0"]["weights"][key] = value;
        };
        for (result, word) in [
            (check("fp8", &json!({"weight_block_size": [128, 128]})), "[128,128]"),
            (compressed(|c| c["format"] = json!("pack-quantized")), "format is `pack-quantized`"),
            (compressed(|c| c["format"] = Value::Null), "format is `missing`"),
            (compressed(|c| c["sparsity_config"] = json!({"format": "sparse-24"})), "sparse-24"),
            (
                compressed(|c| c["config_groups"]["group_0"]["format"] = json!("int-quantized")),
                "int-quantized",
            ),
            (compressed(|c| weights(c, "type", json!("int"))), "\"int\" of 8 bits"),
            (compressed(|c| weights(c, "num_bits", json!(4))), "of 4 bits"),
            (compressed(|c| weights(c, "strategy", json!("block"))), "strategy is `block`"),
        ] {
            let error = result.unwrap_err();
            assert!(error.contains(word) && error.contains("supported"), "{word}: {error}");
        }
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
