//! From a model to files others can read: a Hugging Face folder's weights and configuration, or a GGUF file.
//!
//! Tensors are converted and written one at a time. Rows of wq and wk are put into the rotary layout of the form.

use std::collections::BTreeMap;
use std::path::Path;

use puna_formats::gguf::{self, Metadata};
use puna_formats::{TensorInfo, safetensors, write_file};
use puna_tensor::{DType, Isa, RopeLayout, Weight, quant};

use crate::config::{to_gguf, to_hf};
use crate::error::ModelError;
use crate::names::{LayerPart, Naming, Part, reorder_rotary};
use crate::{Config, Model};

impl Model {
    /// Writes `model.safetensors` and `config.json` into the folder `dir`, which must exist. `dtype` is F32, F16 or BF16.
    pub fn save_hf(&self, dir: &Path, dtype: DType) -> Result<(), ModelError> {
        let name = match dtype {
            DType::F32 => "float32",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            other => {
                return Err(ModelError::Input(format!(
                    "a Hugging Face folder cannot store weights as {other}"
                )));
            }
        };
        let config = to_hf(&self.config, name).map_err(ModelError::Input)?;
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut writer = safetensors::Writer::new(metadata);
        let tensors = self.named(Naming::HuggingFace);
        for (info, ..) in tensors.values() {
            writer.declare(TensorInfo::new(info.name.clone(), dtype, info.shape.clone()));
        }
        let mut stream = writer.begin(&dir.join("model.safetensors"))?;
        while let Some(name) = stream.expected().map(|info| info.name.clone()) {
            let (_, part, weight) = &tensors[&name];
            stream.write(&name, &converted(&self.config, *part, weight, dtype, RopeLayout::HalfSplit))?;
        }
        stream.finish()?;
        let text = serde_json::to_vec_pretty(&config).expect("plain JSON");
        Ok(write_file(&dir.join("config.json"), &text)?)
    }

    /// Writes a GGUF file. `metadata` brings what this floor does not know (name, tokenizer); the architecture's keys are
    /// added. Matrices are stored as `dtype` where their rows are whole blocks, else as F16; vectors as F32.
    pub fn save_gguf(&self, path: &Path, mut metadata: Metadata, dtype: DType) -> Result<(), ModelError> {
        let rope_freqs = to_gguf(&self.config, &mut metadata).map_err(ModelError::Input)?;
        let stored = |info: &TensorInfo| match info.shape[..] {
            [_, cols] if cols.is_multiple_of(dtype.block_len()) => dtype,
            [_, _] => DType::F16,
            _ => DType::F32,
        };
        let mut writer = gguf::Writer::new(metadata);
        let tensors = self.named(Naming::Gguf);
        for (info, ..) in tensors.values() {
            writer.declare(TensorInfo::new(info.name.clone(), stored(info), info.shape.clone()));
        }
        if let Some(divisors) = &rope_freqs {
            writer.declare(TensorInfo::new(ROPE_FREQS, DType::F32, [divisors.len()]));
        }
        let mut stream = writer.begin(path)?;
        for (info, part, weight) in tensors.values() {
            let bytes = converted(&self.config, *part, weight, stored(info), RopeLayout::Interleaved);
            stream.write(&info.name, &bytes)?;
        }
        if let Some(divisors) = &rope_freqs {
            let bytes: Vec<u8> = divisors.iter().flat_map(|x| x.to_le_bytes()).collect();
            stream.write(ROPE_FREQS, &bytes)?;
        }
        Ok(stream.finish()?)
    }

    /// All parameters with their description in another naming (its dtype is the one held now).
    fn named(&self, naming: Naming) -> BTreeMap<String, (TensorInfo, Part, &Weight)> {
        let all = self.config.parts().into_iter().zip(self.weights.all());
        all.map(|(part, weight)| {
            let [rows, cols] = self.config.shape(part);
            let shape = if weight.rows() == 1 && rows == 1 { vec![cols] } else { vec![rows, cols] };
            let info = TensorInfo::new(part.name(naming), weight.dtype(), shape);
            (info.name.clone(), (info, part, weight))
        })
        .collect()
    }
}

const ROPE_FREQS: &str = "rope_freqs.weight";

/// A parameter's bytes as `dtype`, its rotary rows in `layout`.
fn converted(config: &Config, part: Part, weight: &Weight, dtype: DType, layout: RopeLayout) -> Vec<u8> {
    let row_bytes = dtype.bytes_of(weight.cols()).expect("the caller chose a type that fits the rows");
    let bytes = if let Some(bytes) = weight.bytes().filter(|_| dtype == weight.dtype()) {
        bytes.to_vec()
    } else {
        let mut bytes = vec![0; weight.rows() * row_bytes];
        let all = (!weight.is_plain()).then(|| weight.to_f32());
        let mut row = vec![0.0; weight.cols()];
        for (i, out) in bytes.chunks_exact_mut(row_bytes).enumerate() {
            match &all {
                Some(all) => row.copy_from_slice(&all[i * weight.cols()..(i + 1) * weight.cols()]),
                None => weight.matrix().decode_row(Isa::best(), i, &mut row),
            }
            quant::encode(dtype, &row, out);
        }
        bytes
    };
    match part {
        Part::Layer(_, LayerPart::Wq | LayerPart::Wk) => {
            reorder_rotary(&bytes, row_bytes, config.head_dim, config.rope_layout, layout)
        }
        _ => bytes,
    }
}
