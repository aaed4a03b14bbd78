//! Linear layers that a Hugging Face folder stores in several tensors each, as its `quantization_config`
//! says.

use puna_formats::TensorMap;
use puna_tensor::{ParamId, Weight};
use serde_json::Value;

use super::fp8;
use super::packed::{self, Packing};

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantized {
    /// Codes, zeros and scales of groups.
    Packed(Packing),
    /// FP8 and scales of rows.
    Fp8,
}

impl Quantized {
    /// Reads `quantization_config`; `None` where there is none. The message names what is not supported.
    pub(crate) fn from_hf(config: &Value) -> Result<Option<Quantized>, String> {
        // Its name in the first folders of compressed-tensors is another.
        let quantization = ["quantization_config", "compression_config"].map(|key| config.get(key));
        if let Some(quantization) = quantization.into_iter().flatten().find(|q| !q.is_null()) {
            let method = quantization.get("quant_method").and_then(Value::as_str).unwrap_or("unknown");
            if matches!(method, "fbgemm_fp8" | "fp8" | "compressed-tensors") {
                return fp8::check(method, quantization).map(|()| Some(Quantized::Fp8));
            }
        }
        Ok(Packing::from_hf(config)?.map(Quantized::Packed))
    }

    /// What tensors of a layer are called in place of `weight`, or beside it.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Quantized::Packed(_) => &packed::NAMES,
            Quantized::Fp8 => &fp8::NAMES,
        }
    }

    /// Whether a tensor is for other ways to compute than ours.
    pub(crate) fn is_ignored(self, name: &str) -> bool {
        self == Quantized::Fp8 && fp8::is_ignored(name)
    }

    /// Puts together the layer whose plain tensor would be `name`, as a weight of that shape; `None` if it is
    /// plain. The message is about the tensor it names.
    pub(crate) fn weight(
        self,
        tensors: &TensorMap,
        name: &str,
        id: ParamId,
        shape: [usize; 2],
    ) -> Option<Result<Weight, (String, String)>> {
        match self {
            Quantized::Packed(packing) => {
                let base = name.strip_suffix(".weight").unwrap_or(name);
                packed::weight(tensors, packing, base, id, shape)
            }
            Quantized::Fp8 => fp8::weight(tensors, name, id, shape),
        }
    }
}
