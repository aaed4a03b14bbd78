//! From a checkpoint of any form to a model.
//!
//! Weights stay where they are stored: a matrix becomes a view of the memory map. Only norm vectors (a few kilobytes)
//! and matrices that lie in several model-parallel shards are copied.

mod packed;

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;

use puna_formats::{Checkpoint, GgufCheckpoint, HfCheckpoint, MetaCheckpoint, TensorMap, TensorView};
use puna_tensor::{Bytes, DType, ParamId, Weight};

use crate::error::ModelError;
use crate::load::packed::Packing;
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
        let mut source = Source { path, checkpoint, packing: None, copied_bytes: Cell::new(0) };
        if let Checkpoint::HuggingFace(hf) = checkpoint {
            source.packing = Packing::from_hf(&hf.config).map_err(|fact| source.config_error(fact))?;
        }
        let mut config = match checkpoint {
            Checkpoint::Gguf(gguf) => source.gguf_config(gguf)?,
            Checkpoint::HuggingFace(hf) => source.hf_config(hf)?,
            Checkpoint::Meta(meta) => source.meta_config(meta)?,
        };
        if let Some(scaling) = &options.rope_scaling {
            config.rope_scaling = scaling.clone();
            config.check().map_err(|fact| source.config_error(fact))?;
        }
        source.refuse_unknown(&config)?;
        let weights = Weights::bind(&config, |id, part, shape| source.weight(&config, id, part, shape))?;
        Ok(Model { config, weights })
    }
}

struct Source<'a> {
    path: &'a Path,
    checkpoint: &'a Checkpoint,
    /// How layers are packed, where they are.
    packing: Option<Packing>,
    /// Bytes copied out of `.pth` files so far. Their tensors may share storage, so a small file could ask for more copies
    /// than memory holds.
    copied_bytes: Cell<u64>,
}

/// Whether a tensor is one that old conversions write and nobody needs: rotary tables, and state of other programs.
fn is_ignored(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
        || name.ends_with("attn_rot_embd.weight")
        || name.ends_with("_extra_state")
        || matches!(name, "rope.freqs" | "rope_freqs.weight" | "output.weight" | "lm_head.weight")
}

impl Source<'_> {
    fn config_error(&self, fact: String) -> ModelError {
        ModelError::Config { path: self.path.display().to_string(), fact }
    }

    fn tensor_error(&self, tensor: &str, fact: String) -> ModelError {
        ModelError::Tensor { path: self.path.display().to_string(), tensor: tensor.to_owned(), fact }
    }

    /// A tensor that we would leave out is part of a model we would compute wrongly.
    fn refuse_unknown(&self, config: &Config) -> Result<(), ModelError> {
        let (naming, maps): (_, Vec<&TensorMap>) = match self.checkpoint {
            Checkpoint::Gguf(gguf) => (Naming::Gguf, vec![&gguf.tensors]),
            Checkpoint::HuggingFace(hf) => (Naming::HuggingFace, vec![&hf.tensors]),
            Checkpoint::Meta(meta) => (Naming::Meta, meta.shards.iter().collect()),
        };
        let mut known: HashSet<String> = HashSet::new();
        for part in config.parts() {
            let name = self.prefixed(config.stored(part, naming).name);
            if let Some(base) = name.strip_suffix(".weight").filter(|_| self.packing.is_some()) {
                known.extend(packed::NAMES.map(|last| format!("{base}.{last}")));
            }
            known.insert(name);
        }
        let names = maps.iter().flat_map(|map| map.names());
        let is_known = |name: &str| known.contains(name) || is_ignored(name) || self.is_of_vision(name);
        let Some(name) = names.into_iter().find(|name| !is_known(name)) else {
            return Ok(());
        };
        let fact = if name.ends_with(".bias") {
            "linear layers with a bias are not supported"
        } else {
            "it is no part of a Llama text model of this configuration"
        };
        Err(self.tensor_error(name, fact.into()))
    }

    /// What comes before a tensor's name: a model that sees images has its language model inside.
    fn prefix(&self) -> &'static str {
        const INNER: &str = "language_model.";
        match self.checkpoint {
            Checkpoint::HuggingFace(hf)
                if hf.tensors.contains("language_model.model.embed_tokens.weight") =>
            {
                INNER
            }
            _ => "",
        }
    }

    fn prefixed(&self, name: String) -> String {
        self.prefix().to_owned() + &name
    }

    /// Whether a tensor is of the part that sees images, which text alone does not need.
    fn is_of_vision(&self, name: &str) -> bool {
        !self.prefix().is_empty()
            && (name.starts_with("vision_model.") || name.starts_with("multi_modal_projector."))
    }

    /// Counts bytes about to be copied from the files of a Meta checkpoint: twice their size, for norms that widen to f32,
    /// is more than a sound one needs.
    fn count_copy(&self, tensor: &str, bytes: usize) -> Result<(), ModelError> {
        let Checkpoint::Meta(meta) = self.checkpoint else { return Ok(()) };
        let file_bytes = |path: &std::path::PathBuf| std::fs::metadata(path).map_or(0, |about| about.len());
        let limit = 2 * meta.files.iter().map(file_bytes).sum::<u64>();
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
        config.tied |= !hf.tensors.contains(&self.prefixed(Part::Output.name(Naming::HuggingFace)));
        Ok(config)
    }

    /// Old files do not say the size of the vocabulary: it is the rows of the output matrix, which all shards split by
    /// rows. Without one the model is tied, and the embedding tells, split by rows if its rows are whole.
    fn meta_config(&self, meta: &MetaCheckpoint) -> Result<Config, ModelError> {
        let shapes = |part: Part| -> Option<Vec<&[usize]>> {
            let name = part.name(Naming::Meta);
            meta.shards.iter().map(|shard| Some(shard.get(&name)?.shape.as_slice())).collect()
        };
        let output = shapes(Part::Output);
        let tied =
            output.is_none() && !meta.shards.iter().any(|s| s.contains(&Part::Output.name(Naming::Meta)));
        let Some(found) = output.or_else(|| shapes(Part::TokEmbeddings)) else {
            let missing = if tied { Part::TokEmbeddings } else { Part::Output };
            return Err(self.tensor_error(&missing.name(Naming::Meta), "it is missing".into()));
        };
        let dim = meta.params.get("dim").and_then(|dim| dim.as_u64()).unwrap_or(0);
        let rows = |shape: &&[usize]| shape.first().copied().unwrap_or(0);
        let split_by_columns =
            tied && found.iter().any(|shape| shape.last().is_some_and(|n| *n as u64 != dim));
        let vocab_rows = if split_by_columns {
            found.first().map_or(0, rows)
        } else {
            found.iter().map(rows).fold(0usize, usize::saturating_add)
        };
        Config::from_meta(&meta.params, vocab_rows, tied).map_err(|fact| self.config_error(fact))
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
        let (naming, tensors) = match self.checkpoint {
            Checkpoint::Gguf(gguf) => (Naming::Gguf, Some(&gguf.tensors)),
            Checkpoint::HuggingFace(hf) => (Naming::HuggingFace, Some(&hf.tensors)),
            Checkpoint::Meta(_) => (Naming::Meta, None),
        };
        let stored = config.stored(part, naming);
        if let (Some(packing), Some(tensors)) = (self.packing, tensors) {
            let name = self.prefixed(stored.name.clone());
            let base = name.strip_suffix(".weight").unwrap_or(&name);
            if let Some(weight) = packed::weight(tensors, packing, base, id, shape) {
                return weight.map_err(|(tensor, fact)| self.tensor_error(&tensor, fact));
            }
        }
        let tensor = match (tensors, self.checkpoint) {
            (Some(tensors), _) => self.named(tensors, &self.prefixed(stored.name.clone()))?.clone(),
            (None, Checkpoint::Meta(meta)) => self.merged(config, &meta.shards, part, shape)?,
            _ => unreachable!("other forms have one map of tensors"),
        };
        // As it lies in the file: columns as rows where they are stored so, and all slices one after the other.
        let mut expected = match stored.by_columns {
            Some([_, row_len]) => vec![shape[1], row_len],
            None if shape[0] == 1 && tensor.shape.len() == 1 => vec![shape[1]],
            None => shape.to_vec(),
        };
        if let Some([_, n]) = stored.slice {
            expected.insert(0, n);
        }
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
        let data = match stored.slice {
            None => Some(tensor.data.clone()),
            Some([i, n]) => {
                let len = tensor.data.len() / n;
                tensor.data.slice(i * len..(i + 1) * len).filter(|_| tensor.data.len().is_multiple_of(n))
            }
        };
        let weight = data.and_then(|data| match stored.by_columns {
            None => Weight::stored(id, tensor.dtype, shape[0], shape[1], data),
            Some([first, row_len]) => {
                Weight::stored_by_columns(id, tensor.dtype, shape, data, first, row_len)
            }
        });
        weight.ok_or_else(|| {
            let fact = format!("{} bytes are not {expected:?} of {}", tensor.data.len(), tensor.dtype);
            self.tensor_error(&tensor.name, fact)
        })
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
        // The embedding is split by columns up to Llama 2 and by rows since.
        let by_columns = axis == 1 || (part == Part::TokEmbeddings && rows == shape[0]);
        let kept = if by_columns { parts } else { distinct_heads(config, part, &parts, shape[0]) };
        let merged = if by_columns {
            [rows, cols.saturating_mul(kept.len())]
        } else {
            [rows.saturating_mul(kept.len()), cols]
        };
        if merged != shape {
            let fact = format!(
                "expected shape {shape:?} from the configuration, found {merged:?} in {} shards",
                shards.len()
            );
            return Err(self.tensor_error(&first.name, fact));
        }
        let n_bytes = kept.iter().map(|part| part.data.len()).sum();
        self.count_copy(&first.name, n_bytes)?;
        let mut data = Vec::with_capacity(n_bytes);
        if by_columns {
            let row_bytes = first.data.len() / rows;
            for row in 0..rows {
                kept.iter()
                    .for_each(|part| data.extend_from_slice(&part.data[row * row_bytes..][..row_bytes]));
            }
        } else {
            kept.iter().for_each(|part| data.extend_from_slice(&part.data));
        }
        let (name, dtype, shape) = (first.name.clone(), first.dtype, merged.to_vec());
        Ok(TensorView { name, dtype, shape, data: Bytes::new(data) })
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
