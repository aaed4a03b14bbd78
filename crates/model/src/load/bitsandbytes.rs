//! bitsandbytes: NF4 and FP4, whose scales may be quantised once more, and eight bits with a scale for each
//! output (LLM.int8).
//!
//! A layer of four bits is its codes, two a byte with the first in the high nibble, row after row; the
//! largest magnitude of each block of them (`absmax`); the sixteen values; and a text of JSON. Where the
//! magnitudes are quantised, they are bytes that stand for one of 256 values times the magnitude of *their*
//! blocks, plus a mean. Layers of eight bits keep their outliers: what the program computes with them in
//! floats at run time is the same product.

use puna_formats::TensorView;
use puna_tensor::{DType, Weight, quant};
use serde_json::Value;

use super::blocks::{join, put_nibbles};
use super::grouped::{Codes, Grouped, Groups, Offsets, floats};
use super::layer::{Layer, Misfit};

const NF4_STATE: &str = "weight.quant_state.bitsandbytes__nf4";
const FP4_STATE: &str = "weight.quant_state.bitsandbytes__fp4";

/// The tensors of a layer beside `weight`, by their last names.
pub(super) const NAMES: [&str; 8] = [
    "weight.absmax",
    "weight.quant_map",
    "weight.nested_absmax",
    "weight.nested_quant_map",
    NF4_STATE,
    FP4_STATE,
    "SCB",
    "weight_format",
];

/// Puts together a layer; `None` if it is plain.
pub(super) fn weight(layer: &Layer) -> Option<Result<Weight, Misfit>> {
    if let Some(scales) = layer.get("SCB") {
        return Some(eight_bits(layer, scales));
    }
    let states = [(NF4_STATE, DType::NF4), (FP4_STATE, DType::FP4)];
    let (name, dtype, state) =
        states.into_iter().find_map(|(name, dtype)| Some((name, dtype, layer.get(name)?)))?;
    Some(
        State::read(state)
            .map_err(|fact| layer.misfit(name, fact))
            .and_then(|state| four_bits(layer, dtype, &state)),
    )
}

/// What the JSON text of a layer says.
struct State {
    block: usize,
    nested_block: usize,
    nested_offset: f32,
}

impl State {
    fn read(state: &TensorView) -> Result<State, String> {
        const MOST_BYTES: usize = 1 << 16;
        if state.data.len() > MOST_BYTES {
            return Err(format!("its {} bytes are too many for a text of JSON", state.data.len()));
        }
        let json: Value =
            serde_json::from_slice(&state.data).map_err(|error| format!("it is not JSON: {error}"))?;
        let size = |key: &str| json.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let block = size("blocksize").filter(|block| *block > 0 && block.is_multiple_of(32));
        Ok(State {
            block: block.ok_or_else(|| {
                format!("its blocksize is {}; supported are multiples of 32", json["blocksize"])
            })?,
            nested_block: size("nested_blocksize").filter(|block| *block > 0).unwrap_or(256),
            nested_offset: json.get("nested_offset").and_then(Value::as_f64).unwrap_or(0.0) as f32,
        })
    }
}

fn four_bits(layer: &Layer, dtype: DType, state: &State) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    check_map(layer, dtype)?;
    let scales = magnitudes(layer, state)?;
    // Blocks go on from row to row.
    let n_blocks = rows.saturating_mul(cols).div_ceil(state.block);
    if scales.len() != n_blocks {
        let fact =
            format!("expected {n_blocks} for blocks of {} weights, found {}", state.block, scales.len());
        return Err(layer.misfit("weight.absmax", fact));
    }
    // Their type is that of the storage, which may be any.
    let codes = layer.get_or_missing("weight")?;
    join(layer, "weight", dtype, &codes.data, 16, |i, codes, block| {
        block[..4].copy_from_slice(&scales[32 * i / state.block].to_le_bytes());
        put_nibbles(|j| codes[j / 2] >> (4 - 4 * (j % 2)) & 15, &mut block[4..]);
    })
}

/// The sixteen values must be those of the type.
fn check_map(layer: &Layer, dtype: DType) -> Result<(), Misfit> {
    let Some(map) = layer.get("weight.quant_map") else { return Ok(()) };
    let found = floats(map).map_err(|fact| layer.misfit("weight.quant_map", fact))?;
    let mut block = 1f32.to_le_bytes().to_vec();
    block.extend(0..16u8);
    let mut expected = [0.0; 32];
    quant::decode(dtype, &block, &mut expected);
    match found == expected[..16] {
        true => Ok(()),
        false => Err(layer.misfit("weight.quant_map", format!("its values are not those of {dtype}"))),
    }
}

/// The largest magnitude of each block.
fn magnitudes(layer: &Layer, state: &State) -> Result<Vec<f32>, Misfit> {
    let absmax = layer.get_or_missing("weight.absmax")?;
    if absmax.dtype != DType::U8 {
        return floats(absmax).map_err(|fact| layer.misfit("weight.absmax", fact));
    }
    let values = |last: &str| -> Result<Vec<f32>, Misfit> {
        floats(layer.get_or_missing(last)?).map_err(|fact| layer.misfit(last, fact))
    };
    let map = values("weight.nested_quant_map")?;
    let nested = values("weight.nested_absmax")?;
    if map.len() != 256 || nested.len() != absmax.data.len().div_ceil(state.nested_block) {
        let fact =
            format!("{} values and {} do not fit {} bytes", map.len(), nested.len(), absmax.data.len());
        return Err(layer.misfit("weight.nested_absmax", fact));
    }
    let value = |(i, code): (usize, &u8)| {
        map[usize::from(*code)] * nested[i / state.nested_block] + state.nested_offset
    };
    let values: Vec<f32> = absmax.data.iter().enumerate().map(value).collect();
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(layer.misfit("weight.absmax", format!("it stands for {x}; the file is damaged"))),
        None => Ok(values),
    }
}

/// Signed bytes; `scales` are the largest magnitude of each row, which 127 stands for.
fn eight_bits(layer: &Layer, scales: &TensorView) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    if layer.matrix("weight", DType::I8)? != (rows, cols) {
        return Err(layer.misfit("weight", format!("expected shape [{rows}, {cols}] from the configuration")));
    }
    if let Some(format) = layer.get("weight_format")
        && format.data.iter().any(|byte| *byte != 0)
    {
        return Err(layer.misfit(
            "weight_format",
            "the weights are in the order of one GPU kernel; supported is 0, row after row",
        ));
    }
    if scales.shape != [rows] {
        return Err(layer.misfit("SCB", format!("expected {rows} scales, found shape {:?}", scales.shape)));
    }
    let scales = floats(scales).map_err(|fact| layer.misfit("SCB", fact))?;
    let scales = scales.iter().map(|scale| scale / 127.0).collect();
    let groups = Groups::even(1, cols).map_err(|fact| layer.misfit("weight", fact))?;
    let codes = SignedBytes { bytes: &layer.get_or_missing("weight")?.data, cols };
    layer.join("SCB", Grouped { rows, cols, codes, groups, scales, offsets: Offsets::Middle })
}

/// Signed bytes row after row; as codes they are 128 more.
pub(super) struct SignedBytes<'a> {
    pub bytes: &'a [u8],
    pub cols: usize,
}

impl Codes for SignedBytes<'_> {
    fn bits(&self) -> usize {
        8
    }

    #[inline]
    fn code(&self, row: usize, col: usize) -> u8 {
        self.bytes[row * self.cols + col] ^ 128
    }
}
