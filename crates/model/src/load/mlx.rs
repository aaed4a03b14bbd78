//! MLX: matrices whose codes of 2 to 8 bits lie in words row after row, with a scale and a bias for each
//! group, embeddings too. Bits and groups are told by sizes, so that a layer may have its own.
//!
//! Of the newer modes, `mxfp4` and `mxfp8` have one byte as scale: a power of two.

use puna_tensor::{DType, Weight};
use serde_json::Value;

use super::blocks;
use super::grouped::{Dense, Grouped, Groups, Offsets, floats};
use super::layer::{Layer, Misfit};

/// The tensors of a layer beside `weight`, by their last names.
pub(super) const NAMES: [&str; 2] = ["scales", "biases"];

/// Whether a part of a configuration is how MLX says it: sizes for all layers, no method.
pub(super) fn is_said(quantization: &Value) -> bool {
    ["group_size", "bits"].iter().all(|key| quantization.get(key).is_some_and(Value::is_u64))
}

/// Puts together a layer; `None` if it is not quantised.
pub(super) fn weight(layer: &Layer) -> Option<Result<Weight, Misfit>> {
    layer.get("scales")?;
    Some(joined(layer))
}

fn joined(layer: &Layer) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    let (found_rows, words) = layer.matrix("weight", DType::U32)?;
    let bits = words.saturating_mul(32).checked_div(cols).unwrap_or(0);
    if found_rows != rows || !(2..=8).contains(&bits) || words.saturating_mul(32) != bits * cols {
        let fact = format!("MLX's words [{found_rows}, {words}] do not hold {rows} x {cols} weights");
        return Err(layer.misfit("weight", fact));
    }
    let codes = layer.get_or_missing("weight")?;
    let scales = layer.get_or_missing("scales")?;
    let n_groups = match scales.shape[..] {
        [n, n_groups] if n == rows && n_groups > 0 => n_groups,
        _ => {
            return Err(
                layer.misfit("scales", format!("its shape {:?} does not fit {rows} rows", scales.shape))
            );
        }
    };
    let Some(biases) = layer.get("biases") else {
        return match (bits, scales.dtype, cols / n_groups) {
            (4, DType::U8, 32) => blocks::mxfp4(layer, &codes.data, "scales"),
            (8, DType::U8, 32) => blocks::mxfp8(layer, &codes.data, "scales"),
            _ => Err(layer.misfit(
                "scales",
                "it has no biases beside it; of MLX's modes, affine, mxfp4 and mxfp8 are supported",
            )),
        };
    };
    if biases.shape != scales.shape {
        let fact = format!("its shape {:?} is not that of the scales, {:?}", biases.shape, scales.shape);
        return Err(layer.misfit("biases", fact));
    }
    let minima = floats(biases).map_err(|fact| layer.misfit("biases", fact))?;
    let scales = floats(scales).map_err(|fact| layer.misfit("scales", fact))?;
    let groups = Groups::even(n_groups, cols).map_err(|fact| layer.misfit("scales", fact))?;
    let codes = Dense { bytes: &codes.data, row_bytes: 4 * words, bits };
    layer.join("scales", Grouped { rows, cols, codes, groups, scales, offsets: Offsets::Minima(minima) })
}
