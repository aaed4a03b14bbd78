//! From a model to files others can read: a Hugging Face folder's weights and configuration, a GGUF file, or
//! a folder in Meta's form.
//!
//! Tensors are converted and written one at a time. A tensor may hold several parameters, such as all experts
//! of a layer; each is put where [`Config::stored`] says that a reader finds it. Rows of wq and wk are put
//! into the rotary layout of the form.

use std::collections::BTreeMap;
use std::path::Path;

use puna_formats::gguf::{self, Metadata};
use puna_formats::pth::PthWriter;
use puna_formats::{TensorInfo, safetensors, write_file};
use puna_tensor::{DType, RopeLayout, Weight, quant};
use serde_json::Value;

use crate::config::{CrossAttentionTower, TileTables, Tower, Vision, to_gguf, to_hf, to_meta};
use crate::error::ModelError;
use crate::names::{
    EXTRA_EMBEDDINGS, LayerPart, Naming, Part, ROPE_FREQS, Slice, Stored, VisionPart, reorder_rotary,
};
use crate::{Config, Model};

/// A tensor of a file, and the parameters that it holds.
struct Tensor<'m> {
    shape: Vec<usize>,
    pieces: Vec<Piece<'m>>,
}

/// A parameter in a tensor.
struct Piece<'m> {
    part: Part,
    weight: &'m Weight,
    stored: Stored,
}

/// What a file is first, its vocabulary last: who looks at many files reads the beginning of each.
fn in_reading_order(metadata: &Metadata) -> Metadata {
    let mut ordered = Metadata::new(metadata.path());
    let place = |key: &str| match key {
        "general.architecture" => 0,
        key if key.starts_with("general.") => 1,
        key if key.starts_with("tokenizer.") => 3,
        _ => 2,
    };
    for wanted in 0..4 {
        for (key, value) in metadata.iter().filter(|(key, _)| place(key) == wanted) {
            ordered.set(key, value.clone());
        }
    }
    ordered
}

impl Model {
    /// Writes `model.safetensors` and `config.json` into the folder `dir`, which must exist. `dtype` is F32,
    /// F16 or BF16.
    pub fn save_hf(&self, dir: &Path, dtype: DType) -> Result<(), ModelError> {
        let name = plain_type(dtype, "a Hugging Face folder")?;
        let config = self.config_for(Naming::HuggingFace);
        let json = to_hf(&config, name).map_err(ModelError::Input)?;
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut writer = safetensors::Writer::new(metadata);
        let tensors = self.tensors(&config, Naming::HuggingFace);
        for (name, tensor) in &tensors {
            writer.declare(TensorInfo::new(name.clone(), dtype, tensor.shape.clone()));
        }
        let mut stream = writer.begin(&dir.join("model.safetensors"))?;
        while let Some(name) = stream.expected().map(|info| info.name.clone()) {
            let bytes = self.bytes_of(&tensors[&name], &config, dtype, RopeLayout::HalfSplit)?;
            stream.write(&name, &bytes)?;
        }
        self.check_files()?;
        stream.finish()?;
        Ok(write_json(&dir.join("config.json"), &json)?)
    }

    /// Writes a GGUF file. `metadata` brings what this floor does not know (name, tokenizer); the
    /// architecture's keys are added. Matrices are stored as `dtype` where their rows are whole blocks, else
    /// as F16; vectors as F32. A model that sees images cannot be said in one file.
    pub fn save_gguf(&self, path: &Path, mut metadata: Metadata, dtype: DType) -> Result<(), ModelError> {
        let config = self.config_for(Naming::Gguf);
        let rope_freqs = to_gguf(&config, &mut metadata).map_err(ModelError::Input)?;
        let metadata = in_reading_order(&metadata);
        let tensors = self.tensors(&config, Naming::Gguf);
        let stored = |tensor: &Tensor| match tensor.shape[..] {
            [_] => DType::F32,
            _ if matches!(tensor.pieces[0].part, Part::Layer(_, LayerPart::Router)) => DType::F32,
            [.., cols] if cols.is_multiple_of(dtype.block_len()) => dtype,
            _ => DType::F16,
        };
        let mut writer = gguf::Writer::new(metadata);
        for (name, tensor) in &tensors {
            writer.declare(TensorInfo::new(name.clone(), stored(tensor), tensor.shape.clone()));
        }
        if let Some(divisors) = &rope_freqs {
            writer.declare(TensorInfo::new(ROPE_FREQS, DType::F32, [divisors.len()]));
        }
        let mut stream = writer.begin(path)?;
        for (name, tensor) in &tensors {
            let bytes = self.bytes_of(tensor, &config, stored(tensor), RopeLayout::Interleaved)?;
            stream.write(name, &bytes)?;
        }
        if let Some(divisors) = &rope_freqs {
            let bytes: Vec<u8> = divisors.iter().flat_map(|x| x.to_le_bytes()).collect();
            stream.write(ROPE_FREQS, &bytes)?;
        }
        self.check_files()?;
        Ok(stream.finish()?)
    }

    /// Writes `consolidated.00.pth` and `params.json` into the folder `dir`, which must exist. `dtype` is
    /// F32, F16 or BF16.
    ///
    /// `params.json` leaves some numbers to Meta's code: the context, and most of a vision encoder of Llama
    /// 3.2. Where a model has others than the released ones, a reader needs to be told
    /// ([`LoadOptions`](crate::LoadOptions)).
    pub fn save_meta(&self, dir: &Path, dtype: DType) -> Result<(), ModelError> {
        plain_type(dtype, "a .pth file")?;
        let config = self.config_for(Naming::Meta);
        let params = to_meta(&config).map_err(ModelError::Input)?;
        let tensors = self.tensors(&config, Naming::Meta);
        let mut infos: Vec<TensorInfo> = tensors
            .iter()
            .map(|(name, tensor)| TensorInfo::new(name.clone(), dtype, tensor.shape.clone()))
            .collect();
        // The rows of the embedding beyond the vocabulary are a tensor of their own.
        let embedding = config.stored(Part::TokEmbeddings, Naming::Meta).name;
        if config.n_extra_embeddings > 0 {
            infos.push(TensorInfo::new(EXTRA_EMBEDDINGS, dtype, [config.n_extra_embeddings, config.dim]));
            if let Some(info) = infos.iter_mut().find(|info| info.name == embedding) {
                info.shape[0] = config.vocab_size;
            }
        }
        let mut writer = PthWriter::begin(&dir.join("consolidated.00.pth"), infos)?;
        while let Some(name) = writer.expected().map(|info| info.name.clone()) {
            let is_extra = name == EXTRA_EMBEDDINGS;
            let tensor = &tensors[if is_extra { &embedding } else { &name }];
            let bytes = self.bytes_of(tensor, &config, dtype, RopeLayout::Interleaved)?;
            let own = dtype.bytes_of(config.dim).unwrap_or(0) * config.vocab_size;
            match () {
                _ if is_extra => writer.write(&bytes[own..])?,
                _ if name == embedding => writer.write(&bytes[..own])?,
                _ => writer.write(&bytes)?,
            }
        }
        self.check_files()?;
        writer.finish()?;
        Ok(write_json(&dir.join("params.json"), &params)?)
    }

    /// The configuration that the tensors have in a form: its tables of tiles may be ordered otherwise.
    fn config_for(&self, naming: Naming) -> Config {
        let mut config = self.config.clone();
        if let Some(Vision { tower: Tower::CrossAttention(tower), .. }) = &mut config.vision {
            tower.tables = if naming == Naming::Meta { TileTables::ByPlace } else { TileTables::ByGrid };
        }
        config
    }

    /// All tensors of a form, by name.
    fn tensors(&self, config: &Config, naming: Naming) -> BTreeMap<String, Tensor<'_>> {
        // A model that sees images has its language model inside.
        let inner =
            naming == Naming::HuggingFace && (config.vision.is_some() || !config.cross_layers.is_empty());
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for (part, weight) in config.parts().into_iter().zip(self.weights.all()) {
            let stored = config.stored(part, naming);
            let prefix = if inner && !matches!(part, Part::Vision(_)) { "language_model." } else { "" };
            let name = format!("{prefix}{}", stored.name);
            let shape = stored.file_shape.clone().unwrap_or_else(|| {
                let [rows, cols] = config.shape(part);
                let [rows, cols] = match stored.by_columns {
                    Some([_, row_len]) => [cols, row_len],
                    None => [rows, cols],
                };
                let Slice { begin, end, of } = stored.slice.unwrap_or(Slice::WHOLE);
                let is_vector = rows == 1 && stored.slice.is_none() && stored.by_columns.is_none();
                if is_vector && part.is_vector() { vec![cols] } else { vec![rows * of / (end - begin), cols] }
            });
            let tensor = tensors.entry(name).or_insert(Tensor { shape, pieces: Vec::new() });
            tensor.pieces.push(Piece { part, weight, stored });
        }
        tensors
    }

    /// A tensor's bytes as `dtype`; rotary rows in `layout`, unless the model knows one alone.
    fn bytes_of(
        &self,
        tensor: &Tensor,
        config: &Config,
        dtype: DType,
        layout: RopeLayout,
    ) -> Result<Vec<u8>, ModelError> {
        let n_elements = tensor.shape.iter().product();
        let n_bytes = dtype.bytes_of(n_elements).expect("the caller chose a type that fits the rows");
        let mut bytes = vec![0; n_bytes];
        for Piece { part, weight, stored } in &tensor.pieces {
            let own = stored.slice.unwrap_or(Slice::WHOLE).of_len(n_bytes);
            let own = &mut bytes[own.expect("tensors are made of whole pieces")];
            let values = self.table_for(*part, weight, config)?;
            match stored.by_columns {
                None => own.copy_from_slice(&converted(config, *part, weight, values, dtype, layout)),
                Some([first, row_len]) => {
                    let size = dtype.bytes_of(1).expect("only plain types are stored by columns");
                    let rows = converted(config, *part, weight, values, dtype, layout);
                    for (r, row) in rows.chunks_exact(size * weight.cols()).enumerate() {
                        for (c, x) in row.chunks_exact(size).enumerate() {
                            own[(c * row_len + first + r) * size..][..size].copy_from_slice(x);
                        }
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// A table of tiles in the order that `config` has; `None` where it is in that order, or no such table.
    fn table_for(
        &self,
        part: Part,
        weight: &Weight,
        config: &Config,
    ) -> Result<Option<Vec<f32>>, ModelError> {
        let is_table = matches!(part, Part::Vision(VisionPart::TilePositions | VisionPart::TileEmbedding(_)));
        let tower = |config: &Config| match &config.vision {
            Some(Vision { tower: Tower::CrossAttention(tower), .. }) if is_table => Some(tower.clone()),
            _ => None,
        };
        match (tower(&self.config), tower(config)) {
            (Some(from), Some(to)) if from.tables != to.tables => {
                retabled(&weight.to_f32(), &from, &to).map(Some).map_err(ModelError::Input)
            }
            _ => Ok(None),
        }
    }
}

fn write_json(path: &Path, json: &Value) -> Result<(), puna_formats::FormatError> {
    write_file(path, &serde_json::to_vec_pretty(json).expect("plain JSON"))
}

/// The name of a type that a form of plain numbers has.
fn plain_type(dtype: DType, form: &str) -> Result<&'static str, ModelError> {
    match dtype {
        DType::F32 => Ok("float32"),
        DType::F16 => Ok("float16"),
        DType::BF16 => Ok("bfloat16"),
        other => Err(ModelError::Input(format!("{form} cannot store weights as {other}"))),
    }
}

/// A table of tiles, `[entries, …]`, in another order: `to`'s.
fn retabled(
    values: &[f32],
    from: &CrossAttentionTower,
    to: &CrossAttentionTower,
) -> Result<Vec<f32>, String> {
    let len = values.len() / from.n_entries();
    let mut out = vec![0.0; len * to.n_entries()];
    let mut known = vec![false; to.n_entries()];
    for grid in &from.grids {
        for tile in 0..grid[0] * grid[1] {
            let (Some(source), Some(target)) = (from.entry(*grid, tile), to.entry(*grid, tile)) else {
                continue;
            };
            let value = &values[source * len..(source + 1) * len];
            let place = &mut out[target * len..(target + 1) * len];
            if std::mem::replace(&mut known[target], true) && place != value {
                return Err(
                    "its tables of tiles differ between arrangements, which Meta's form cannot say".into()
                );
            }
            place.copy_from_slice(value);
        }
    }
    Ok(out)
}

/// A parameter's rows as `dtype`: its own or the `values` in their place; rotary rows in `layout`.
fn converted(
    config: &Config,
    part: Part,
    weight: &Weight,
    values: Option<Vec<f32>>,
    dtype: DType,
    layout: RopeLayout,
) -> Vec<u8> {
    let row_bytes = dtype.bytes_of(weight.cols()).expect("the caller chose a type that fits the rows");
    let own = weight.bytes().filter(|_| dtype == weight.dtype() && values.is_none());
    let bytes = if let Some(bytes) = own {
        bytes.to_vec()
    } else {
        let all = values.or_else(|| (!weight.is_plain()).then(|| weight.to_f32()));
        let n_rows = all.as_ref().map_or(weight.rows(), |all| all.len() / weight.cols());
        let mut bytes = vec![0; n_rows * row_bytes];
        let mut row = vec![0.0; weight.cols()];
        for (i, out) in bytes.chunks_exact_mut(row_bytes).enumerate() {
            match &all {
                Some(all) => row.copy_from_slice(&all[i * weight.cols()..(i + 1) * weight.cols()]),
                None => weight.decode_stored_row(i, &mut row),
            }
            quant::encode(dtype, &row, out);
        }
        bytes
    };
    // Llama 4 has one layout everywhere, and what attends to images is not rotated.
    match part {
        Part::Layer(i, part) if part.is_rotated() && !config.is_llama4() && !config.is_cross_layer(i) => {
            let dims = [config.head_dim, config.rotary_dim()];
            // The elements of a bias lie as the rows of its matrix do.
            let row_bytes = if part.is_vector() { row_bytes / weight.cols() } else { row_bytes };
            reorder_rotary(&bytes, row_bytes, dims, config.rope_layout, layout)
        }
        _ => bytes,
    }
}
