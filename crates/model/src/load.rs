//! From a checkpoint of any form to a model.
//!
//! Weights stay where they are stored: a matrix becomes a view of the memory map. Only norm vectors (a few
//! kilobytes) and matrices that lie in several model-parallel shards are copied.

mod bitsandbytes;
mod blocks;
mod compressed;
mod eagle;
mod factor;
mod fp8;
mod grouped;
mod hqq;
mod layer;
mod meta;
mod meta_int4;
mod mlx;
mod packed;
mod quantized;

use std::cell::Cell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use puna_formats::{Checkpoint, GgufCheckpoint, HfCheckpoint, MetaCheckpoint, TensorMap, TensorView};
use puna_formats::{visible, visible_path};
use puna_tensor::{DType, ParamId, Weight};

use crate::config::{Biases, MetaFacts, RopeTables, Vision};
use crate::error::ModelError;
use crate::load::quantized::Quantized;
use crate::names::{
    EXTRA_EMBEDDINGS, GGUF_ADAPTER, LayerPart, META_TEXT_MODEL, Naming, Nesting, Part, ROPE_FACTORS,
    ROPE_FREQS, Stored, VisionPart, is_ignored, is_vision,
};
use crate::rope::RopeScaling;
use crate::{Config, Model, Weights};

/// What a caller knows better than the checkpoint.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Replaces the checkpoint's rotary scaling. Meta's `params.json` leaves its constants to the code, so a
    /// model trained with others needs this.
    pub rope_scaling: Option<RopeScaling>,
    /// Replaces what is known of the part that sees images. Meta's `params.json` leaves most of it to the
    /// code.
    pub vision: Option<Vision>,
    /// The projector file (`mmproj`) that holds this part, beside a GGUF file.
    pub mmproj: Option<PathBuf>,
}

impl Model {
    /// Opens the checkpoint at `path`, in any form, and binds its weights.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Model, ModelError> {
        Model::from_checkpoint(&puna_formats::open(path)?, path, options)
    }

    /// The same for a checkpoint that is already open; `path` is for messages.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        path: &Path,
        options: &LoadOptions,
    ) -> Result<Model, ModelError> {
        checkpoint.check_is_model(path)?;
        let mmproj = options.mmproj.as_deref().map(open_mmproj).transpose()?;
        let mut source = Source { path, checkpoint, mmproj, quantized: None, copied_bytes: Cell::new(0) };
        let quantized = match checkpoint {
            Checkpoint::HuggingFace(hf) => Quantized::from_hf(hf),
            Checkpoint::Meta(meta) => Quantized::from_params(&meta.params).and_then(|quantized| {
                match quantized.is_some() && meta.shards.len() > 1 {
                    true => Err("it is quantised and in several shards, which is not supported".into()),
                    false => Ok(quantized),
                }
            }),
            Checkpoint::Gguf(_) => Ok(None),
        };
        source.quantized = quantized.map_err(|fact| source.config_error(fact))?;
        let mut config = match checkpoint {
            Checkpoint::Gguf(gguf) => source.gguf_config(gguf)?,
            Checkpoint::HuggingFace(hf) => source.hf_config(hf)?,
            Checkpoint::Meta(meta) => source.meta_config(meta, options)?,
        };
        if let Some((path, mmproj)) = &source.mmproj {
            config.vision = Some(source.mmproj_config(path, mmproj, config.vocab_size)?);
        } else if let Some(vision) = &options.vision {
            config.vision = Some(vision.clone());
        }
        if let Some(scaling) = &options.rope_scaling {
            config.rope_scaling = scaling.clone();
            config.check().map_err(|fact| source.config_error(fact))?;
        }
        config.check().map_err(|fact| source.config_error(fact))?;
        source.refuse_unknown(&config)?;
        let weights = Weights::bind(&config, |id, part, shape| source.weight(&config, id, part, shape))?;
        let mmproj = source.mmproj.iter().flat_map(|(_, mmproj)| mmproj.tensors.mapped_files());
        let files = checkpoint.mapped_files().chain(mmproj).cloned().collect();
        let model = Model::new(config, weights).of_files(files);
        // What was copied is not looked at again.
        model.check_files()?;
        Ok(model)
    }
}

fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// Whether a tensor of floats holds nothing but zeros, of either sign.
fn is_all_zeros(tensor: &TensorView) -> bool {
    let element = tensor.dtype.block_bytes();
    let is_zero = |bytes: &[u8]| match bytes.split_last() {
        Some((last, rest)) => last & 0x7f == 0 && rest.iter().all(|byte| *byte == 0),
        None => true,
    };
    matches!(tensor.dtype, DType::F32 | DType::F16 | DType::BF16) && tensor.data.chunks(element).all(is_zero)
}

struct Source<'a> {
    path: &'a Path,
    checkpoint: &'a Checkpoint,
    /// The file that holds the part that sees images, if it is one of its own.
    mmproj: Option<(PathBuf, GgufCheckpoint)>,
    /// How layers are stored in several tensors, where they are.
    quantized: Option<Quantized>,
    /// Bytes copied out of `.pth` files so far. Their tensors may share storage, so a small file could ask
    /// for more copies than memory holds.
    copied_bytes: Cell<u64>,
}

fn open_mmproj(path: &Path) -> Result<(PathBuf, GgufCheckpoint), ModelError> {
    match puna_formats::open(path)? {
        Checkpoint::Gguf(gguf) => Ok((path.to_owned(), gguf)),
        _ => Err(ModelError::Config {
            path: visible_path(path),
            fact: "it is not a GGUF file, as a vision projector (mmproj) is".into(),
        }),
    }
}

impl Source<'_> {
    fn config_error(&self, fact: String) -> ModelError {
        ModelError::Config { path: visible_path(self.path), fact }
    }

    fn tensor_error(&self, tensor: &str, fact: String) -> ModelError {
        ModelError::Tensor { path: visible_path(self.path), tensor: visible(tensor).into_owned(), fact }
    }

    /// A tensor that we would leave out is part of a model we would compute wrongly.
    fn refuse_unknown(&self, config: &Config) -> Result<(), ModelError> {
        let (naming, maps): (_, Vec<&TensorMap>) = match self.checkpoint {
            Checkpoint::Gguf(gguf) => (Naming::Gguf, vec![&gguf.tensors]),
            Checkpoint::HuggingFace(hf) => (Naming::HuggingFace, vec![&hf.tensors]),
            Checkpoint::Meta(meta) => (Naming::Meta, meta.shards.iter().collect()),
        };
        let mut known: HashSet<String> = HashSet::new();
        if naming == Naming::Meta && config.n_extra_embeddings > 0 {
            known.insert(EXTRA_EMBEDDINGS.to_owned());
        }
        for part in config.parts() {
            if self.mmproj.is_some() && matches!(part, Part::Vision(_)) {
                continue;
            }
            let name = self.located(part, self.stored(config, part, naming).name);
            if let (Some(quantized), Some(base)) = (&self.quantized, name.strip_suffix(".weight")) {
                known.extend(quantized.names().iter().map(|last| format!("{base}.{last}")));
            }
            if let (Naming::Gguf, false, Some(base)) =
                (naming, part.is_vector(), name.strip_suffix(".weight"))
            {
                known.extend(factor::NAMES.map(|last| format!("{base}.{last}")));
            }
            if let Some(layer) = meta::FFN_NORMS.iter().find_map(|end| name.strip_suffix(end)) {
                known.extend(meta::FFN_NORMS.map(|end| format!("{layer}{end}")));
            }
            known.insert(name);
        }
        let names = maps.iter().flat_map(|map| map.names());
        let is_ignored = |name: &str| {
            is_ignored(name) || self.quantized.as_ref().is_some_and(|quantized| quantized.is_ignored(name))
        };
        // Text alone does not need the encoder.
        let is_vision = |name: &str| naming == Naming::HuggingFace && is_vision(name);
        let is_known = |name: &str| known.contains(name) || is_ignored(name) || is_vision(name);
        // Some converters write a bias to every layer.
        let is_zero_bias = |name: &str| {
            name.strip_suffix(".bias").is_some_and(|base| known.contains(&format!("{base}.weight")))
                && maps.iter().filter_map(|map| map.get(name)).all(is_all_zeros)
        };
        let Some(name) = names.into_iter().find(|name| !is_known(name) && !is_zero_bias(name)) else {
            return Ok(());
        };
        if naming == Naming::HuggingFace
            && self.quantized.is_none()
            && let Some(form) = quantized::form_of(name)
        {
            let fact = format!(
                "it is part of a layer that is quantised as {form} does it, but config.json has no \
                 quantization_config that says so"
            );
            return Err(self.tensor_error(name, fact));
        }
        let fact = if name.ends_with(".bias") {
            "the configuration does not say that this linear layer has a bias, and it is not zero"
        } else {
            "it is not a part of a Llama text model of this configuration"
        };
        Err(self.tensor_error(name, fact.into()))
    }

    /// The name that a tensor has in this checkpoint.
    fn located(&self, part: Part, name: String) -> String {
        match self.checkpoint {
            Checkpoint::HuggingFace(hf) => {
                let has = |name: &str| hf.tensors.contains(name);
                let name = Nesting::of(has).name(part, name);
                // Of two that are one, some writers keep this one.
                let output = Part::Output.name(Naming::HuggingFace);
                let is_output = part == Part::TokEmbeddings && !has(&name) && has(&output);
                if is_output { output } else { name }
            }
            _ => name,
        }
    }

    /// Where a parameter is in this checkpoint: an expert's matrix is among those of all experts, or a tensor
    /// of its own.
    fn stored(&self, config: &Config, part: Part, naming: Naming) -> Stored {
        let otherwise = config.stored_otherwise(part, naming).filter(|stored| match self.checkpoint {
            Checkpoint::HuggingFace(hf) => hf.tensors.contains(&self.located(part, stored.name.clone())),
            Checkpoint::Gguf(gguf) => gguf.tensors.contains(&stored.name),
            Checkpoint::Meta(_) => false,
        });
        otherwise.unwrap_or_else(|| config.stored(part, naming))
    }

    /// Counts bytes about to be copied out of PyTorch's files: twice their size, for norms that widen to f32
    /// and layers that are put together, is more than a sound one needs.
    fn count_copy(&self, tensor: &str, bytes: usize) -> Result<(), ModelError> {
        let files = match self.checkpoint {
            Checkpoint::Meta(meta) => &meta.files,
            // Tensors of safetensors do not share storage.
            Checkpoint::HuggingFace(hf) if !hf.files.iter().all(|file| is_safetensors(file)) => &hf.files,
            _ => return Ok(()),
        };
        let file_bytes = |path: &std::path::PathBuf| std::fs::metadata(path).map_or(0, |about| about.len());
        let limit = 2 * files.iter().map(file_bytes).sum::<u64>();
        let copied = self.copied_bytes.get().saturating_add(bytes as u64);
        self.copied_bytes.set(copied);
        if copied > limit {
            return Err(self.tensor_error(tensor, "its tensors share storage in a way no model does".into()));
        }
        Ok(())
    }

    fn gguf_config(&self, gguf: &GgufCheckpoint) -> Result<Config, ModelError> {
        let embedding = self.find(&gguf.tensors, Part::TokEmbeddings, Naming::Gguf)?;
        let vocab_rows = embedding.shape.first().copied().unwrap_or(0);
        let table = |name: &str| gguf.tensors.get(name).map(|tensor| self.vector(tensor)).transpose();
        let tables = RopeTables {
            divisors: table(ROPE_FREQS)?,
            short: table(ROPE_FACTORS[0])?,
            long: table(ROPE_FACTORS[1])?,
        };
        let output = gguf.tensors.get(&Part::Output.name(Naming::Gguf));
        let output_rows = output.map(|tensor| tensor.shape.first().copied().unwrap_or(0));
        let has = |part| gguf.tensors.contains(&Part::Layer(0, part).name(Naming::Gguf));
        let biases =
            Biases { qkv: has(LayerPart::BiasQ), o: has(LayerPart::BiasO), ffn: has(LayerPart::Bias2) };
        Config::from_gguf(&gguf.metadata, vocab_rows, tables, biases, output_rows)?
            .map_err(|fact| self.config_error(fact))
    }

    /// A checkpoint without an output matrix is tied, whatever its configuration says.
    fn hf_config(&self, hf: &HfCheckpoint) -> Result<Config, ModelError> {
        let mut config = Config::from_hf(&hf.config).map_err(|fact| self.config_error(fact))?;
        let has = |part: Part| {
            let name = self.located(part, config.stored(part, Naming::HuggingFace).name);
            let base = name.strip_suffix(".weight").unwrap_or(&name);
            let mut others = self.quantized.iter().flat_map(|quantized| quantized.names());
            hf.tensors.contains(&name) || others.any(|last| hf.tensors.contains(&format!("{base}.{last}")))
        };
        let (has_output, has_vision) = (has(Part::Output), has(Part::Vision(VisionPart::ClassEmbedding)));
        // A bias that is said to be there and is not adds nothing.
        let [qkv, o, ffn] =
            [LayerPart::BiasQ, LayerPart::BiasO, LayerPart::Bias1].map(|part| has(Part::Layer(0, part)));
        let said = config.biases;
        config.biases = Biases { qkv: said.qkv && qkv, o: said.o && o, ffn: said.ffn && ffn };
        config.tied = match has_output {
            // What is said to be the embedding may have been trained apart from it: then that counts.
            true => config.tied && self.output_is_embedding(hf, &config),
            false => true,
        };
        // Conversions for text alone leave out the encoder, but not its sizes.
        config.vision = config.vision.filter(|_| has_vision);
        Ok(config)
    }

    /// Whether the output matrix holds the same bytes as the embedding.
    fn output_is_embedding(&self, hf: &HfCheckpoint, config: &Config) -> bool {
        let find = |part: Part| {
            let name = self.located(part, config.stored(part, Naming::HuggingFace).name);
            hf.tensors.get(&name)
        };
        let (Some(output), Some(embedding)) = (find(Part::Output), find(Part::TokEmbeddings)) else {
            return false;
        };
        let is_alike = (output.dtype, &output.shape) == (embedding.dtype, &embedding.shape);
        is_alike && output.data[..] == embedding.data[..]
    }

    fn mmproj_config(
        &self,
        path: &Path,
        mmproj: &GgufCheckpoint,
        vocab_size: usize,
    ) -> Result<Vision, ModelError> {
        let width = |name: &str| mmproj.tensors.get(name).and_then(|t| t.shape.first().copied()).unwrap_or(0);
        let adapter = GGUF_ADAPTER.map(width);
        let error = |fact| ModelError::Config { path: visible_path(path), fact };
        Vision::from_mmproj(&mmproj.metadata, adapter, vocab_size)?.map_err(error)
    }

    /// Old files do not say the size of the vocabulary: it is the rows of the output matrix, which all shards
    /// split by rows. Without one the model is tied, and the embedding tells, split by rows if its rows are
    /// whole.
    fn meta_config(&self, meta: &MetaCheckpoint, options: &LoadOptions) -> Result<Config, ModelError> {
        let has = |name: &str| meta.shards.iter().any(|shard| shard.contains(name));
        // The language model of one that sees images is inside it.
        let inner = |part: Part| format!("{META_TEXT_MODEL}{}", part.name(Naming::Meta));
        let is_inside = has(&inner(Part::TokEmbeddings));
        let name = |part: Part| if is_inside { inner(part) } else { part.name(Naming::Meta) };
        let shapes = |name: &str| -> Option<Vec<&[usize]>> {
            meta.shards.iter().map(|shard| Some(shard.get(name)?.shape.as_slice())).collect()
        };
        let output = shapes(&name(Part::Output));
        let tied = output.is_none() && !has(&name(Part::Output));
        let Some(found) = output.or_else(|| shapes(&name(Part::TokEmbeddings))) else {
            let missing = if tied { Part::TokEmbeddings } else { Part::Output };
            return Err(self.tensor_error(&name(missing), "it is missing".into()));
        };
        let dim = meta.params.get("dim").and_then(|dim| dim.as_u64()).unwrap_or(0);
        meta::check_shards(meta, &name(Part::Layer(0, LayerPart::Wo)))?;
        let rows = |shape: &&[usize]| shape.first().copied().unwrap_or(0);
        let split_by_columns =
            tied && found.iter().any(|shape| shape.last().is_some_and(|n| *n as u64 != dim));
        let vocab_rows = if split_by_columns {
            found.first().map_or(0, rows)
        } else {
            found.iter().map(rows).fold(0usize, usize::saturating_add)
        };
        let extra = shapes(EXTRA_EMBEDDINGS).unwrap_or_default();
        let n_extra = extra.iter().map(rows).fold(0usize, usize::saturating_add);
        let files = MetaFacts {
            vocab_rows,
            tied,
            n_extra,
            n_shards: meta.shards.len(),
            shape: &|name| Some(meta.shards.first()?.get(name)?.shape.clone()),
        };
        Config::from_meta(&meta.params, &files, options.vision.as_ref())
            .map_err(|fact| self.config_error(fact))
    }

    fn find<'t>(
        &self,
        tensors: &'t TensorMap,
        part: Part,
        naming: Naming,
    ) -> Result<&'t TensorView, ModelError> {
        self.named(tensors, &part.name(naming))
    }

    fn named<'t>(&self, tensors: &'t TensorMap, name: &str) -> Result<&'t TensorView, ModelError> {
        tensors.get(name).ok_or_else(|| {
            let fact = format!("it is missing; the file has {} other tensors", tensors.len());
            self.tensor_error(name, fact)
        })
    }

    fn weight(
        &self,
        config: &Config,
        id: ParamId,
        part: Part,
        shape: [usize; 2],
    ) -> Result<Weight, ModelError> {
        let (naming, tensors) = match (self.checkpoint, &self.mmproj) {
            (_, Some((_, mmproj))) if matches!(part, Part::Vision(_)) => {
                (Naming::Gguf, Some(&mmproj.tensors))
            }
            (Checkpoint::Gguf(gguf), _) => (Naming::Gguf, Some(&gguf.tensors)),
            (Checkpoint::HuggingFace(hf), _) => (Naming::HuggingFace, Some(&hf.tensors)),
            (Checkpoint::Meta(_), _) => (Naming::Meta, None),
        };
        let stored = self.stored(config, part, naming);
        let name = self.located(part, stored.name.clone());
        let of_meta = match self.checkpoint {
            Checkpoint::Meta(meta) => meta.shards.first().filter(|_| meta.shards.len() == 1),
            _ => None,
        };
        if let (Some(quantized), Some(tensors), false) =
            (&self.quantized, tensors.or(of_meta), part.is_vector())
            && let Some(weight) = quantized.weight(tensors, &name, id, shape)
        {
            let weight = weight.map_err(|(tensor, fact)| self.tensor_error(&tensor, fact))?;
            self.count_copy(&name, weight.n_bytes())?;
            return Ok(weight);
        }
        let tensor = match (tensors, self.checkpoint) {
            (Some(tensors), _) => self.named(tensors, &name)?.clone(),
            (None, Checkpoint::Meta(meta)) => self.merged(config, &meta.shards, part)?,
            _ => unreachable!("other forms have one map of tensors"),
        };
        // As it lies in the file: columns as rows where they are stored so, and all slices one after the
        // other.
        let expected = match (stored.file_shape, stored.by_columns) {
            (Some(file_shape), _) => file_shape,
            (None, Some([_, row_len])) => vec![shape[1], row_len],
            _ if shape[0] == 1 && tensor.shape.len() == 1 => vec![shape[1]],
            _ => shape.to_vec(),
        };
        self.check_tensor(&tensor, &expected)?;
        if part.is_vector() {
            let mut values = self.vector(&tensor)?;
            if stored.after_tanh {
                // The inverse of ±1, which rounding makes of a gate that is nearly open, would be infinite.
                let inverse = |x: f32| f64::from(x.clamp(-1.0 + f32::EPSILON, 1.0 - f32::EPSILON)).atanh();
                values.iter_mut().for_each(|x| *x = inverse(*x) as f32);
            }
            return Ok(Weight::owned(id, 1, shape[1], values));
        }
        // Meta's are cut out of each shard before these are joined.
        let data = match stored.slice.filter(|_| naming != Naming::Meta) {
            None => Some(tensor.data.clone()),
            Some(slice) => slice.of_len(tensor.data.len()).and_then(|range| tensor.data.slice(range)),
        };
        let weight = data.and_then(|data| match stored.by_columns {
            None => Weight::stored(id, tensor.dtype, shape[0], shape[1], data),
            Some([first, row_len]) => {
                Weight::stored_by_columns(id, tensor.dtype, shape, data, first, row_len)
            }
        });
        let weight = weight.ok_or_else(|| {
            let fact = format!("{} bytes are not {expected:?} of {}", tensor.data.len(), tensor.dtype);
            self.tensor_error(&tensor.name, fact)
        })?;
        match tensors {
            Some(tensors) if naming == Naming::Gguf => {
                factor::with_factor(tensors, &name, stored.slice, weight)
                    .map_err(|(tensor, fact)| self.tensor_error(&tensor, fact))
            }
            _ => Ok(weight),
        }
    }

    /// Refuses a tensor of another shape than is expected, or of a type that weights do not have.
    fn check_tensor(&self, tensor: &TensorView, expected: &[usize]) -> Result<(), ModelError> {
        if tensor.shape != expected {
            let fact =
                format!("expected shape {expected:?} from the configuration, found {:?}", tensor.shape);
            return Err(self.tensor_error(&tensor.name, fact));
        }
        if !DType::WEIGHTS.contains(&tensor.dtype) {
            let types = DType::WEIGHTS.map(DType::name).join(", ");
            let fact = match tensor.dtype {
                DType::F8_E4M3 => {
                    "its type F8_E4M3 is supported in linear layers with a weight_scale, of a folder whose \
                     quantization_config says fbgemm_fp8, fp8 or compressed-tensors"
                        .to_owned()
                }
                other => format!("its type {other} is not supported; supported are {types}"),
            };
            return Err(self.tensor_error(&tensor.name, fact));
        }
        Ok(())
    }

    /// A small tensor as f32, all values finite.
    fn vector(&self, tensor: &TensorView) -> Result<Vec<f32>, ModelError> {
        let len = tensor.n_elements();
        self.count_copy(&tensor.name, len.saturating_mul(4))?;
        let weight = Weight::stored(ParamId(0), tensor.dtype, 1, len, tensor.data.clone());
        let values = weight.filter(|_| len > 0).map(|w| w.to_f32()).ok_or_else(|| {
            let fact = format!("its type {} or its {len} elements are not supported", tensor.dtype);
            self.tensor_error(&tensor.name, fact)
        })?;
        match values.iter().find(|x| !x.is_finite()) {
            Some(x) => Err(self.tensor_error(&tensor.name, format!("it holds {x}; the file is damaged"))),
            None => Ok(values),
        }
    }
}
