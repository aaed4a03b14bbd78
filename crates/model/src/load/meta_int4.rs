//! Meta's quantised Llama 3.2: layers of four bits with a scale for each group of inputs, embedding and output
//! of eight with one for each row. Codes lie in a byte each.
//!
//! SpinQuant rotated the activations before each `w2`, so products must rotate them too. QLoRA trained adapters
//! beside the layers, which stay beside them: they are too fine for four bits.

use puna_formats::TensorView;
use puna_tensor::{DType, ParamId, Weight};
use serde_json::Value;

use super::bitsandbytes::SignedBytes;
use super::grouped::{Codes, Grouped, Groups, Offsets, floats};
use super::layer::{Layer, Misfit};

/// What `params.json` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct MetaInt4 {
    is_rotated: bool,
    adapter_scale: f32,
}

/// The tensors of a layer beside `weight`, by their last names.
pub(super) const NAMES: [&str; 4] = ["scales", "zeros", ADAPTER[0], ADAPTER[1]];

const ADAPTER: [&str; 2] = ["adaptor.A.weight", "adaptor.B.weight"];

impl MetaInt4 {
    /// Reads `params.json`; `None` if it says nothing of quantisation. The message names what is not
    /// supported.
    pub(super) fn from_params(params: &Value) -> Result<Option<MetaInt4>, String> {
        let said = |key: &str| params.get(key).filter(|said| !said.is_null());
        let adapter = said("lora_args");
        let Some(quantization) = said("quantization_args") else {
            return match adapter {
                Some(_) => {
                    Err("params.json has `lora_args` without `quantization_args`, which is not supported"
                        .into())
                }
                None => Ok(None),
            };
        };
        const SCHEME: &str = "int4_weight_int8_dynamic_activation";
        match quantization.get("scheme").and_then(Value::as_str) {
            Some(SCHEME) => (),
            other => {
                let other = other.unwrap_or("missing");
                return Err(format!("quantization_args.scheme is `{other}`; supported is {SCHEME}"));
            }
        }
        let scale = adapter.map(|adapter| adapter.get("scale").and_then(Value::as_f64));
        Ok(Some(MetaInt4 {
            is_rotated: quantization.get("spinquant").and_then(Value::as_bool).unwrap_or(false),
            adapter_scale: scale.unwrap_or(Some(1.0)).ok_or("lora_args.scale is not a number")? as f32,
        }))
    }
}

/// Puts together a layer; `None` if it is plain.
pub(super) fn weight(layer: &Layer, about: MetaInt4) -> Option<Result<Weight, Misfit>> {
    layer.get("scales").map(|scales| joined(layer, scales, about))
}

fn joined(layer: &Layer, scales: &TensorView, about: MetaInt4) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    let mut weight = stored(layer, scales)?;
    if about.is_rotated && layer.base.ends_with("feed_forward.w2") {
        let fact = format!("SpinQuant rotates its inputs, but there are {cols}, which is no power of two");
        weight = weight.with_rotated_inputs().ok_or_else(|| layer.misfit("weight", fact))?;
    }
    let [Some(down), Some(up)] = ADAPTER.map(|last| layer.get(last)) else {
        return match ADAPTER.into_iter().find(|last| layer.get(last).is_some()) {
            Some(last) => Err(layer.misfit(last, "the other half of the adapter is missing")),
            None => Ok(weight),
        };
    };
    let plain = |view: &TensorView| match view.shape[..] {
        [rows, cols] => Weight::stored(ParamId(layer.id.0), view.dtype, rows, cols, view.data.clone()),
        _ => None,
    };
    let both = plain(down).zip(plain(up));
    let weight = both.and_then(|(down, up)| weight.with_low_rank(down, up, about.adapter_scale));
    weight.ok_or_else(|| {
        let fact = format!("shapes {:?} and {:?} are no adapter of [{rows}, {cols}]", down.shape, up.shape);
        layer.misfit(ADAPTER[0], fact)
    })
}

fn stored(layer: &Layer, scales: &TensorView) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    if layer.matrix("weight", DType::I8)? != (rows, cols) {
        return Err(layer.misfit("weight", format!("expected shape [{rows}, {cols}] from the configuration")));
    }
    let codes = &layer.get_or_missing("weight")?.data;
    let n_groups = match scales.shape[..] {
        [n] if n == rows => 1,
        [n, n_groups] if n == rows && n_groups > 0 => n_groups,
        _ => {
            return Err(
                layer.misfit("scales", format!("its shape {:?} does not fit {rows} rows", scales.shape))
            );
        }
    };
    let values = floats(scales).map_err(|fact| layer.misfit("scales", fact))?;
    let groups = Groups::even(n_groups, cols).map_err(|fact| layer.misfit("scales", fact))?;
    // The configuration does not say which layers have eight.
    let has_four_bits = codes.iter().all(|code| (-8..8).contains(&(*code as i8)));
    let offsets = match layer.get("zeros") {
        None => Offsets::Middle,
        Some(zeros) if zeros.shape == scales.shape => {
            let zeros = floats(zeros).map_err(|fact| layer.misfit("zeros", fact))?;
            let middle = if has_four_bits { 8.0 } else { 128.0 };
            Offsets::Zeros(zeros.iter().map(|zero| zero + middle).collect())
        }
        Some(zeros) => {
            let fact = format!("its shape {:?} is not that of the scales, {:?}", zeros.shape, scales.shape);
            return Err(layer.misfit("zeros", fact));
        }
    };
    let scales = values;
    match has_four_bits {
        true => {
            let codes = SignedNibbles { bytes: codes, cols };
            layer.join("scales", Grouped { rows, cols, codes, groups, scales, offsets })
        }
        false => {
            let codes = SignedBytes { bytes: codes, cols };
            layer.join("scales", Grouped { rows, cols, codes, groups, scales, offsets })
        }
    }
}

/// Signed codes of four bits, a byte each, row after row; as codes they are eight more.
struct SignedNibbles<'a> {
    bytes: &'a [u8],
    cols: usize,
}

impl Codes for SignedNibbles<'_> {
    fn bits(&self) -> usize {
        4
    }

    #[inline]
    fn code(&self, row: usize, col: usize) -> u8 {
        self.bytes[row * self.cols + col].wrapping_add(8) & 15
    }
}
