//! compressed-tensors: integers of 1 to 8 bits, packed into words or a byte each, FP8, MXFP4, MXFP8 and NVFP4; with
//! scales for the matrix, its outputs or groups of inputs, and maybe zeros. AMD's Quark stores the same with fewer
//! names.
//!
//! What a layer is, is told by its tensors; of the configuration, which bits there are, the size of blocks, and
//! the name of what is not supported. Activations are not rounded as it says.

use puna_formats::TensorView;
use puna_tensor::{DType, Weight};
use serde_json::Value;

use super::bitsandbytes::SignedBytes;
use super::blocks;
use super::fp8::{self, BlockSize};
use super::grouped::{Codes, Dense, Grouped, Groups, Offsets, floats, transposed};
use super::layer::{Layer, Misfit};

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compressed {
    /// The bits that integers have.
    bits: Vec<usize>,
    /// Rows and columns that share a scale, of FP8.
    blocks: BlockSize,
}

/// The tensors of a layer beside `weight`, by their last names.
pub(super) const NAMES: [&str; 6] = [
    "weight_packed",
    "weight_scale",
    "weight_global_scale",
    "weight_zero_point",
    "weight_shape",
    "weight_g_idx",
];

/// The forms that are supported.
const FORMATS: [&str; 8] = [
    "pack-quantized",
    "int-quantized",
    "naive-quantized",
    "float-quantized",
    "mxfp4-pack-quantized",
    "nvfp4-pack-quantized",
    "mxfp8-quantized",
    "mixed-precision",
];

impl Compressed {
    /// Reads `quantization_config`. The message names what is not supported.
    pub(super) fn from_hf(quantization: &Value) -> Result<Compressed, String> {
        let refuse = |what: &str, found: &str| {
            Err(format!("compressed-tensors' {what} is `{found}`; supported are {}", FORMATS.join(", ")))
        };
        let format = |of: &Value| of.get("format").and_then(Value::as_str).map(str::to_owned);
        match format(quantization).as_deref() {
            Some(known) if FORMATS.contains(&known) => (),
            other => return refuse("format", other.unwrap_or("missing")),
        }
        let sparsity = quantization.get("sparsity_config").and_then(format);
        if let Some(other) = sparsity.filter(|format| format != "dense") {
            return refuse("sparsity format", &other);
        }
        let mut compressed = Compressed { bits: Vec::new(), blocks: BlockSize::NONE };
        let groups = quantization.get("config_groups").and_then(Value::as_object);
        for group in groups.into_iter().flat_map(|groups| groups.values()) {
            if let Some(other) = format(group).filter(|format| !FORMATS.contains(&format.as_str())) {
                return refuse("format", &other);
            }
            let Some(weights) = group.get("weights").filter(|weights| !weights.is_null()) else { continue };
            let kind = weights.get("type").and_then(Value::as_str).unwrap_or("int");
            match (kind, weights.get("num_bits").and_then(Value::as_u64)) {
                ("int", Some(bits @ 1..=8)) => compressed.bits.push(bits as usize),
                ("float", Some(4 | 8)) => (),
                (kind, bits) => {
                    let bits = bits.map_or("none".into(), |bits| bits.to_string());
                    return refuse("weight type", &format!("{kind} of {bits} bits"));
                }
            }
            if weights.get("strategy").and_then(Value::as_str) == Some("block") {
                compressed.blocks = BlockSize::of(weights.get("block_structure"))?;
            }
        }
        Ok(compressed)
    }
}

impl Compressed {
    /// Reads `quantization_config` of Quark. The message names what is not supported.
    pub(super) fn quark(quantization: &Value) -> Result<Compressed, String> {
        let of_layers = quantization.get("layer_quant_config").and_then(Value::as_object);
        let layers = of_layers.into_iter().flat_map(|layers| layers.values());
        for of in quantization.get("global_quant_config").into_iter().chain(layers) {
            let Some(weight) = of.get("weight").filter(|weight| !weight.is_null()) else { continue };
            let text = |key: &str| weight.get(key).and_then(Value::as_str).unwrap_or("missing");
            match (text("dtype"), text("qscheme"), text("scale_format")) {
                ("fp8_e4m3" | "int8", "per_tensor" | "per_channel", _) | ("fp4", "per_group", "e8m0") => (),
                (dtype, scheme, _) => {
                    return Err(format!(
                        "Quark's weights are {dtype} with scales {scheme}; supported are fp8_e4m3 and int8 per_tensor \
                         and per_channel, and fp4 per_group with e8m0"
                    ));
                }
            }
        }
        Ok(Compressed { bits: vec![8], blocks: BlockSize::NONE })
    }
}

/// Puts together a layer; `None` if it is plain.
pub(super) fn weight(layer: &Layer, compressed: &Compressed) -> Option<Result<Weight, Misfit>> {
    let scale = layer.get("weight_scale");
    match (layer.get("weight_packed"), layer.get("weight")) {
        (Some(packed), _) if packed.dtype == DType::U8 => Some(four_bit_floats(layer, packed)),
        (Some(packed), _) => Some(packed_integers(layer, packed, compressed)),
        (None, Some(codes)) if codes.dtype == DType::I8 && scale.is_some() => Some(integers(layer, codes)),
        (None, Some(codes)) if scale.is_some_and(|scale| scale.dtype == DType::U8) => match codes.dtype {
            DType::U8 => Some(blocks::mxfp4(layer, &codes.data, "weight_scale")),
            DType::F8_E4M3 => Some(blocks::mxfp8(layer, &codes.data, "weight_scale")),
            other => {
                Some(Err(layer.misfit("weight", format!("its type {other} has no exponents as scales"))))
            }
        },
        _ => fp8::weight(layer, compressed.blocks),
    }
}

fn four_bit_floats(layer: &Layer, packed: &TensorView) -> Result<Weight, Misfit> {
    if let Some(whole) = layer.get("weight_global_scale") {
        // What weights were multiplied with.
        let factor = fp8::number(whole).map_err(|fact| layer.misfit("weight_global_scale", fact))?;
        return blocks::nvfp4(layer, &packed.data, "weight_scale", 1.0 / factor);
    }
    blocks::mxfp4(layer, &packed.data, "weight_scale")
}

/// Codes in words, row after row, as many bits as the configuration says. The library's first versions left
/// the bits over that do not fill a code.
fn packed_integers(layer: &Layer, packed: &TensorView, compressed: &Compressed) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    let (found_rows, words) = layer.matrix("weight_packed", DType::I32)?;
    let candidates = || compressed.bits.iter().copied().filter(|_| found_rows == rows);
    let dense = candidates().find(|bits| cols.saturating_mul(*bits).div_ceil(32) == words);
    let apart = candidates().find(|bits| cols.div_ceil(32 / bits) == words);
    let zeros = |bits: usize, dense: bool| zeros(layer, bits, dense);
    match (dense, apart) {
        (Some(bits), _) => {
            let codes = Dense { bytes: &packed.data, row_bytes: 4 * words, bits };
            grouped(layer, codes, zeros(bits, true)?)
        }
        (None, Some(bits)) => {
            let codes = Apart { words: packed.data.as_chunks::<4>().0, per_row: words, bits };
            grouped(layer, codes, zeros(bits, false)?)
        }
        (None, None) => {
            let bits = &compressed.bits;
            let fact = format!(
                "its shape [{found_rows}, {words}] does not hold {rows} x {cols} codes of {bits:?} bits, which the \
                 configuration names"
            );
            Err(layer.misfit("weight_packed", fact))
        }
    }
}

/// A byte for each code, signed.
fn integers(layer: &Layer, codes: &TensorView) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    if codes.shape != [rows, cols] {
        let fact = format!("expected shape [{rows}, {cols}] from the configuration, found {:?}", codes.shape);
        return Err(layer.misfit("weight", fact));
    }
    let zeros = match layer.get("weight_zero_point") {
        Some(zeros) if zeros.dtype == DType::I8 => {
            Some(zeros.data.iter().map(|zero| f32::from(zero ^ 128)).collect())
        }
        Some(zeros) => {
            return Err(layer.misfit("weight_zero_point", format!("expected I8, found {}", zeros.dtype)));
        }
        None => None,
    };
    grouped(layer, SignedBytes { bytes: &codes.data, cols }, zeros)
}

/// The zeros of packed codes, which are packed down each column.
fn zeros(layer: &Layer, bits: usize, dense: bool) -> Result<Option<Vec<f32>>, Misfit> {
    let Some(zeros) = layer.get("weight_zero_point") else { return Ok(None) };
    let rows = layer.shape[0];
    let (words, n) = layer.matrix("weight_zero_point", DType::I32)?;
    let per_word = 32 / bits;
    let expected = if dense { rows.saturating_mul(bits).div_ceil(32) } else { rows.div_ceil(per_word) };
    if words != expected {
        let fact = format!("its shape [{words}, {n}] does not hold {rows} rows of {bits} bits");
        return Err(layer.misfit("weight_zero_point", fact));
    }
    let columns: Vec<u8> = transposed(zeros.data.as_chunks::<4>().0, [words, n]).as_flattened().to_vec();
    let zero = |group: usize, row: usize| match dense {
        true => Dense { bytes: &columns, row_bytes: 4 * words, bits }.code(group, row),
        false => Apart { words: columns.as_chunks::<4>().0, per_row: words, bits }.code(group, row),
    };
    let all = (0..rows).flat_map(|row| (0..n).map(move |group| (row, group)));
    Ok(Some(all.map(|(row, group)| f32::from(zero(group, row))).collect()))
}

/// The layer with its scales.
fn grouped<C: Codes>(layer: &Layer, codes: C, zeros: Option<Vec<f32>>) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    let scale = layer.get_or_missing("weight_scale")?;
    let values = floats(scale).map_err(|fact| layer.misfit("weight_scale", fact))?;
    let (n_groups, scales) = match scale.shape[..] {
        [] | [1] | [1, 1] if rows > 1 => (1, vec![values[0]; rows]),
        [n] if n == rows => (1, values),
        [n, n_groups] if n == rows && n_groups > 0 => (n_groups, values),
        _ => {
            let fact = format!("its shape {:?} does not fit {rows} rows", scale.shape);
            return Err(layer.misfit("weight_scale", fact));
        }
    };
    let offsets = match zeros {
        None => Offsets::Middle,
        Some(zeros) if zeros.len() == scales.len() => Offsets::Zeros(zeros),
        Some(zeros) if zeros.len() == 1 => Offsets::Zeros(vec![zeros[0]; scales.len()]),
        Some(zeros) => {
            let fact = format!("its {} zeros are not those of {} scales", zeros.len(), scales.len());
            return Err(layer.misfit("weight_zero_point", fact));
        }
    };
    let groups = match layer.get("weight_g_idx") {
        Some(index) => Groups::given(n_groups, cols, index),
        None => Groups::even(n_groups, cols),
    };
    let groups = groups.map_err(|fact| layer.misfit("weight_scale", fact))?;
    layer.join("weight_scale", Grouped { rows, cols, codes, groups, scales, offsets })
}

/// Codes row after row, as many as fit in each word.
struct Apart<'a> {
    words: &'a [[u8; 4]],
    per_row: usize,
    bits: usize,
}

impl Codes for Apart<'_> {
    fn bits(&self) -> usize {
        self.bits
    }

    #[inline]
    fn code(&self, row: usize, col: usize) -> u8 {
        let per_word = 32 / self.bits;
        let word = u32::from_le_bytes(self.words[row * self.per_row + col / per_word]);
        (word >> (col % per_word * self.bits)) as u8 & ((1u32 << self.bits) - 1) as u8
    }
}
