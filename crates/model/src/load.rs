//! From a checkpoint of any form to a model.
//!
//! Weights stay where they are stored: a matrix becomes a view of the memory map. Only norm vectors (a few kilobytes)
//! and matrices that lie in several model-parallel shards are copied.

use std::path::Path;

use puna_formats::{Checkpoint, GgufCheckpoint, HfCheckpoint, MetaCheckpoint, TensorMap, TensorView};
use puna_tensor::{Bytes, DType, ParamId, Weight};

use crate::error::ModelError;
use crate::names::{LayerPart, Naming, Part};
use crate::rope::RopeScaling;
use crate::{Config, Model, Weights};

/// What a caller knows better than the checkpoint.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Replaces the checkpoint's rotary scaling. Meta's `params.json` leaves its constants to the code, so a model
    /// trained with others needs this.
    pub rope_scaling: Option<RopeScaling>,
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
        let source = Source { path, checkpoint };
        let mut config = match checkpoint {
            Checkpoint::Gguf(gguf) => source.gguf_config(gguf)?,
            Checkpoint::HuggingFace(hf) => source.hf_config(hf)?,
            Checkpoint::Meta(meta) => source.meta_config(meta)?,
        };
        if let Some(scaling) = &options.rope_scaling {
            config.rope_scaling = scaling.clone();
            config.check().map_err(|fact| source.config_error(fact))?;
        }
        let weights = Weights::bind(&config, |id, part, shape| source.weight(&config, id, part, shape))?;
        Ok(Model { config, weights })
    }
}

struct Source<'a> {
    path: &'a Path,
    checkpoint: &'a Checkpoint,
}

impl Source<'_> {
    fn config_error(&self, fact: String) -> ModelError {
        ModelError::Config { path: self.path.display().to_string(), fact }
    }

    fn tensor_error(&self, tensor: &str, fact: String) -> ModelError {
        ModelError::Tensor { path: self.path.display().to_string(), tensor: tensor.to_owned(), fact }
    }

    fn gguf_config(&self, gguf: &GgufCheckpoint) -> Result<Config, ModelError> {
        let embedding = self.find(&gguf.tensors, Part::TokEmbeddings, Naming::Gguf)?;
        let vocab_rows = embedding.shape.first().copied().unwrap_or(0);
        let rope_freqs = match gguf.tensors.get("rope_freqs.weight") {
            Some(tensor) => Some(self.vector(tensor)?),
            None => None,
        };
        let tied = !gguf.tensors.contains(&Part::Output.name(Naming::Gguf));
        Config::from_gguf(&gguf.metadata, vocab_rows, rope_freqs, tied)?
            .map_err(|fact| self.config_error(fact))
    }

    /// A checkpoint without an output matrix is tied, whatever its configuration says.
    fn hf_config(&self, hf: &HfCheckpoint) -> Result<Config, ModelError> {
        let mut config = Config::from_hf(&hf.config).map_err(|fact| self.config_error(fact))?;
        config.tied |= !hf.tensors.contains(&Part::Output.name(Naming::HuggingFace));
        let bias = hf.tensors.names().find(|name| name.ends_with("_proj.bias"));
        match bias {
            Some(name) => Err(self.tensor_error(name, "linear layers with a bias are not supported".into())),
            None => Ok(config),
        }
    }

    fn meta_config(&self, meta: &MetaCheckpoint) -> Result<Config, ModelError> {
        // Old files say -1; the output matrix is split by rows in all of them.
        let rows = |shard: &TensorMap| {
            let output = shard.get(&Part::Output.name(Naming::Meta))?;
            output.shape.first().copied()
        };
        let name = Part::Output.name(Naming::Meta);
        let vocab_rows = meta.shards.iter().map(rows).sum::<Option<usize>>();
        let vocab_rows = vocab_rows.ok_or_else(|| self.tensor_error(&name, "it is missing".into()))?;
        Config::from_meta(&meta.params, vocab_rows).map_err(|fact| self.config_error(fact))
    }

    fn find<'t>(
        &self,
        tensors: &'t TensorMap,
        part: Part,
        naming: Naming,
    ) -> Result<&'t TensorView, ModelError> {
        let name = part.name(naming);
        tensors.get(&name).ok_or_else(|| {
            let fact = format!("it is missing; the file has {} other tensors", tensors.len());
            self.tensor_error(&name, fact)
        })
    }

    fn weight(
        &self,
        config: &Config,
        id: ParamId,
        part: Part,
        shape: [usize; 2],
    ) -> Result<Weight, ModelError> {
        let tensor = match self.checkpoint {
            Checkpoint::Gguf(gguf) => self.find(&gguf.tensors, part, Naming::Gguf)?.clone(),
            Checkpoint::HuggingFace(hf) => self.find(&hf.tensors, part, Naming::HuggingFace)?.clone(),
            Checkpoint::Meta(meta) => self.merged(config, &meta.shards, part, shape)?,
        };
        let expected: &[usize] = if shape[0] == 1 && tensor.shape.len() == 1 { &shape[1..] } else { &shape };
        if tensor.shape != expected {
            let fact =
                format!("expected shape {expected:?} from the configuration, found {:?}", tensor.shape);
            return Err(self.tensor_error(&tensor.name, fact));
        }
        if !tensor.dtype.is_weight() {
            let types = DType::WEIGHTS.map(DType::name).join(", ");
            let fact = format!("its type {} is not supported; supported are {types}", tensor.dtype);
            return Err(self.tensor_error(&tensor.name, fact));
        }
        if is_norm(part) {
            return Ok(Weight::owned(id, 1, shape[1], self.vector(&tensor)?));
        }
        Weight::stored(id, tensor.dtype, shape[0], shape[1], tensor.data.clone()).ok_or_else(|| {
            let fact = format!("{} bytes are not {shape:?} of {}", tensor.data.len(), tensor.dtype);
            self.tensor_error(&tensor.name, fact)
        })
    }

    /// A small tensor as f32, all values finite.
    fn vector(&self, tensor: &TensorView) -> Result<Vec<f32>, ModelError> {
        let len = tensor.n_elements();
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

    /// A tensor of Meta's shards, put together.
    fn merged(
        &self,
        config: &Config,
        shards: &[TensorMap],
        part: Part,
        shape: [usize; 2],
    ) -> Result<TensorView, ModelError> {
        let parts: Vec<&TensorView> =
            shards.iter().map(|shard| self.find(shard, part, Naming::Meta)).collect::<Result<_, _>>()?;
        let first = parts[0];
        let Some(axis) = part.shard_axis().filter(|_| parts.len() > 1) else { return Ok(first.clone()) };
        let same = parts.iter().all(|p| p.dtype == first.dtype && p.shape == first.shape);
        let [rows, cols] = match first.shape[..] {
            [rows, cols] if same => [rows, cols],
            _ => {
                let shapes: Vec<_> = parts.iter().map(|p| &p.shape).collect();
                return Err(self.tensor_error(&first.name, format!("the shards disagree: {shapes:?}")));
            }
        };
        let row_bytes = first.dtype.bytes_of(cols).unwrap_or(0);
        // The embedding is split by columns up to Llama 2 and by rows since.
        let by_columns = axis == 1 || (part == Part::TokEmbeddings && rows == shape[0]);
        let data = if by_columns {
            let mut data = Vec::with_capacity(parts.iter().map(|p| p.data.len()).sum());
            for row in 0..rows {
                parts.iter().for_each(|p| data.extend_from_slice(&p.data[row * row_bytes..][..row_bytes]));
            }
            data
        } else {
            let kept = distinct_heads(config, part, &parts, shape[0]);
            kept.iter().flat_map(|p| p.data.iter().copied()).collect()
        };
        let merged =
            if by_columns { [rows, cols * parts.len()] } else { [data.len() / row_bytes.max(1), cols] };
        Ok(TensorView {
            name: first.name.clone(),
            dtype: first.dtype,
            shape: merged.to_vec(),
            data: Bytes::new(data),
        })
    }
}

/// With more shards than key-value heads, as in the 16-way 405B, neighbouring shards repeat a head: one of each is kept.
fn distinct_heads<'t>(
    config: &Config,
    part: Part,
    parts: &[&'t TensorView],
    rows: usize,
) -> Vec<&'t TensorView> {
    let is_kv = matches!(part, Part::Layer(_, LayerPart::Wk | LayerPart::Wv));
    let shard_rows = parts[0].shape[0];
    let repeats =
        if is_kv && shard_rows == config.head_dim { parts.len() * shard_rows / rows.max(1) } else { 1 };
    parts.iter().copied().step_by(repeats.max(1)).collect()
}

fn is_norm(part: Part) -> bool {
    matches!(part, Part::Norm | Part::Layer(_, LayerPart::AttentionNorm | LayerPart::FfnNorm))
}
