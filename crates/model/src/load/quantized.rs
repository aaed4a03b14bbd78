//! Linear layers that a checkpoint stores in several tensors each, as its configuration says.
//!
//! Which layers are quantised, and how finely, is told by their tensors: lists of exceptions are not read.

use puna_formats::{HfCheckpoint, TensorMap};
use puna_tensor::{ParamId, Weight};
use serde_json::Value;

use super::bitsandbytes;
use super::compressed::{self, Compressed};
use super::fp8::{self, BlockSize};
use super::hqq;
use super::layer::{Layer, Misfit};
use super::meta_int4::{self, MetaInt4};
use super::mlx;
use super::packed::{self, Packing};

/// Whose form a tensor of this name belongs to, where the configuration says nothing of quantisation.
pub(crate) fn form_of(name: &str) -> Option<&'static str> {
    let ends = [
        ("GPTQ or AWQ", &["qweight", "qzeros", "g_idx"][..]),
        ("bitsandbytes", &["absmax", "quant_map", "bitsandbytes__nf4", "bitsandbytes__fp4", "SCB"]),
        ("compressed-tensors", &["weight_packed", "weight_zero_point", "weight_g_idx"]),
        ("compressed-tensors or FP8", &["weight_scale", "weight_scale_inv", "input_scale"]),
        ("HQQ", &["W_q", "nbits", "axis"]),
        ("MLX", &["scales", "biases"]),
    ];
    let last = name.rsplit('.').next()?;
    ends.iter().find(|(_, ends)| ends.contains(&last)).map(|(form, _)| *form)
}

/// In which way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Quantized {
    /// GPTQ and AWQ: codes, zeros and scales of groups.
    Packed(Packing),
    /// FP8 and scales of rows or blocks.
    Fp8(BlockSize),
    /// Integers or FP8, packed or not.
    Compressed(Compressed),
    /// NF4, FP4 or eight bits.
    BitsAndBytes,
    /// Codes, scales and biases of groups.
    Mlx,
    /// Codes, zeros that are no whole numbers, and scales of groups.
    Hqq,
    /// Meta's own, of Llama 3.2.
    MetaInt4(MetaInt4),
}

impl Quantized {
    /// Reads what the folder says of quantisation; `None` where it says nothing. The message names what is
    /// not supported.
    pub(crate) fn from_hf(hf: &HfCheckpoint) -> Result<Option<Quantized>, String> {
        // Its name in the first folders of compressed-tensors is another. A model that sees images may have it
        // for its language model alone.
        let keys = ["/quantization_config", "/compression_config", "/text_config/quantization_config"];
        let said = keys.iter().filter_map(|key| hf.config.pointer(key)).find(|said| !said.is_null());
        let method = |said: &Value| said.get("quant_method").and_then(Value::as_str).map(str::to_owned);
        if let Some(said) = said
            && let Some(method) = method(said)
        {
            return Quantized::of_method(&method, said).map(Some);
        }
        // MLX says it under this key, and under the others' without a method.
        if hf.config.get("quantization").or(said).is_some_and(mlx::is_said) {
            return Ok(Some(Quantized::Mlx));
        }
        match (&hf.beside, said) {
            (Some((file, beside)), None) => Quantized::of_file(file, beside).map(Some),
            (_, Some(_)) => Quantized::of_method("unknown", &Value::Null).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The same of Meta's `params.json`.
    pub(crate) fn from_params(params: &Value) -> Result<Option<Quantized>, String> {
        Ok(MetaInt4::from_params(params)?.map(Quantized::MetaInt4))
    }

    fn of_method(method: &str, said: &Value) -> Result<Quantized, String> {
        match method {
            "gptq" => Packing::gptq(said).map(Quantized::Packed),
            "awq" => Packing::awq(said).map(Quantized::Packed),
            "fbgemm_fp8" | "fp8" => BlockSize::of(said.get("weight_block_size")).map(Quantized::Fp8),
            "auto-round" => Packing::auto_round(said).map(Quantized::Packed),
            "quark" => Compressed::quark(said).map(Quantized::Compressed),
            "compressed-tensors" => Compressed::from_hf(said).map(Quantized::Compressed),
            "modelopt" => fp8::modelopt(said).map(Quantized::Fp8),
            "bitsandbytes" => Ok(Quantized::BitsAndBytes),
            "hqq" => Ok(Quantized::Hqq),
            other => Err(format!(
                "weights quantised by `{other}` are not supported yet; supported are gptq, awq, auto-round, \
                 bitsandbytes, compressed-tensors, fbgemm_fp8, fp8, modelopt (FP8 and NVFP4), quark, hqq and MLX's"
            )),
        }
    }

    /// What a file beside the configuration says.
    fn of_file(file: &str, said: &Value) -> Result<Quantized, String> {
        match file {
            "hf_quant_config.json" => {
                let said = said.get("quantization").unwrap_or(&Value::Null);
                fp8::modelopt(said).map(Quantized::Fp8).map_err(|fact| format!("{file}: {fact}"))
            }
            "quant_config.json" => Packing::awq(said).map(Quantized::Packed),
            _ => match said.get("quant_method").and_then(Value::as_str) {
                None | Some("gptq") => Packing::gptq(said).map(Quantized::Packed),
                Some(method) => Quantized::of_method(method, said),
            },
        }
    }

    /// What tensors of a layer are called in place of `weight`, or beside it.
    pub(crate) fn names(&self) -> &'static [&'static str] {
        match self {
            Quantized::Packed(_) => &packed::NAMES,
            Quantized::Fp8(_) => &fp8::NAMES,
            Quantized::Compressed(_) => &compressed::NAMES,
            Quantized::BitsAndBytes => &bitsandbytes::NAMES,
            Quantized::Mlx => &mlx::NAMES,
            Quantized::Hqq => &hqq::NAMES,
            Quantized::MetaInt4(_) => &meta_int4::NAMES,
        }
    }

    /// Whether a tensor is for other ways to compute than ours.
    pub(crate) fn is_ignored(&self, name: &str) -> bool {
        matches!(self, Quantized::Fp8(_) | Quantized::Compressed(_)) && fp8::is_ignored(name)
    }

    /// Puts together the layer whose plain tensor would be `name`, as a weight of that shape; `None` if it is
    /// plain.
    pub(crate) fn weight(
        &self,
        tensors: &TensorMap,
        name: &str,
        id: ParamId,
        shape: [usize; 2],
    ) -> Option<Result<Weight, Misfit>> {
        let base = name.strip_suffix(".weight").unwrap_or(name);
        let layer = Layer { tensors, base, id, shape };
        match self {
            Quantized::Packed(packing) => packed::weight(&layer, *packing),
            Quantized::Fp8(blocks) => fp8::weight(&layer, *blocks),
            Quantized::Compressed(compressed) => compressed::weight(&layer, compressed),
            Quantized::BitsAndBytes => bitsandbytes::weight(&layer),
            Quantized::Mlx => mlx::weight(&layer),
            Quantized::Hqq => hqq::weight(&layer),
            Quantized::MetaInt4(about) => meta_int4::weight(&layer, *about),
        }
    }
}
