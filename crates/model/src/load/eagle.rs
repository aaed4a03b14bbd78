//! EAGLE-3 heads: a folder of Hugging Face's form with `fc`, one layer and tables of tokens.

use std::cell::Cell;
use std::path::Path;

use puna_formats::{Checkpoint, HfCheckpoint, TensorMap};
use puna_tensor::{DType, ParamId, Weight};

use super::Source;
use super::quantized::Quantized;
use crate::config::EagleConfig;
use crate::eagle::Eagle;
use crate::error::ModelError;
use crate::names::{
    DRAFT_TO_TARGET, EAGLE_FC, EAGLE_HIDDEN_NORM, EAGLE_LAYERS, LayerPart, Part, TARGET_TO_DRAFT, eagle_name,
    is_ignored,
};
use crate::{Config, Model, Weights};

impl Eagle {
    /// The head at `path`, which is to guess for `target`; `None` if what is there is no EAGLE-3 head. Fails if it was
    /// made for a model of another width or vocabulary, or has what is not understood.
    pub fn load(path: &Path, target: &Model) -> Result<Option<Eagle>, ModelError> {
        let checkpoint = puna_formats::open(path)?;
        let Checkpoint::HuggingFace(hf) = &checkpoint else { return Ok(None) };
        let Some(prefix) = EAGLE_LAYERS.into_iter().find(|prefix| is_head(hf, prefix)) else {
            return Ok(None);
        };
        let source = Source {
            path,
            checkpoint: &checkpoint,
            mmproj: None,
            quantized: None,
            copied_bytes: Cell::new(0),
        };
        source.head(hf, prefix, target).map(Some)
    }
}

/// Whether a folder holds a head whose layer's names begin so.
fn is_head(hf: &HfCheckpoint, prefix: &str) -> bool {
    let class = hf.config["architectures"][0].as_str().unwrap_or_default();
    let is_said = class.contains("Eagle3") || hf.config["speculators_model_type"] == "eagle3";
    // Earlier EAGLEs have no such norm.
    let has_norm = hf.tensors.contains(&format!("{prefix}.{EAGLE_HIDDEN_NORM}"));
    has_norm || is_said && hf.tensors.names().any(|name| name.starts_with(&format!("{prefix}.")))
}

impl Source<'_> {
    fn head(&self, hf: &HfCheckpoint, prefix: &str, target: &Model) -> Result<Eagle, ModelError> {
        let error = |fact: String| self.config_error(fact);
        if Quantized::from_hf(hf).map_err(error)?.is_some() {
            return Err(error(
                "it is quantised, which is not supported in draft heads; use the original".into(),
            ));
        }
        let EagleConfig { mut decoder, draft_vocab_size, target_dim, layers, norm_before_residual } =
            EagleConfig::from_hf(&hf.config).map_err(error)?;
        let (tensors, of_target) = (&hf.tensors, &target.config);
        let made_for = |what: &str, own: usize, targets: usize| {
            error(format!(
                "it was made to guess for a model whose {what} is {own}, but that of the model here is {targets}\n  \
                 take the head that was made for this model"
            ))
        };
        if decoder.vocab_size != of_target.vocab_size {
            return Err(made_for("vocabulary", decoder.vocab_size, of_target.vocab_size));
        }
        let columns = self.named(tensors, EAGLE_FC)?.shape.last().copied().unwrap_or(0);
        let dim = target_dim.unwrap_or(columns / 3);
        if dim != of_target.dim {
            return Err(made_for("width", dim, of_target.dim));
        }
        // Positions turn on beyond those that it was trained with, as the authors' code lets them.
        decoder.max_seq_len = of_target.max_seq_len;
        let layers = layers_of(layers, of_target.n_layers).map_err(error)?;
        let has_embedding = tensors.contains(&eagle_name(Part::TokEmbeddings, prefix));
        if !has_embedding {
            if decoder.dim != of_target.dim {
                return Err(error(format!(
                    "its width is {}, but the embedding of the model here, which it is to use, has {}",
                    decoder.dim, of_target.dim
                )));
            }
            decoder.n_extra_embeddings = of_target.n_extra_embeddings;
        }
        decoder.check().map_err(error)?;
        self.refuse_unknown_in_head(tensors, prefix, &decoder)?;
        let weights = Weights::bind(&decoder, |id, part, [rows, cols]| {
            let shape = match part {
                Part::TokEmbeddings if !has_embedding => return Ok(target.weights.tok_embeddings.clone()),
                Part::Output => [draft_vocab_size, cols],
                // They read the token beside the features.
                Part::Layer(_, LayerPart::Wq | LayerPart::Wk | LayerPart::Wv) => [rows, 2 * cols],
                _ => [rows, cols],
            };
            self.part_of_head(tensors, &eagle_name(part, prefix), id, shape, part.is_vector())
        })?;
        let n_parts = decoder.parts().len();
        let [fc, hidden_norm] = [
            (EAGLE_FC.to_owned(), [decoder.dim, 3 * dim], false),
            (format!("{prefix}.{EAGLE_HIDDEN_NORM}"), [1, decoder.dim], true),
        ]
        .map(|(name, shape, is_vector)| {
            let id = ParamId(n_parts + usize::from(is_vector));
            self.part_of_head(tensors, &name, id, shape, is_vector)
        });
        let target_ids = self.target_ids(tensors, draft_vocab_size, decoder.vocab_size)?;
        let files = self.checkpoint.mapped_files().chain(target.files()).cloned().collect();
        let decoder = Model::new(decoder, weights).of_files(files);
        decoder.check_files()?;
        Ok(Eagle { decoder, fc: fc?, hidden_norm: hidden_norm?, norm_before_residual, layers, target_ids })
    }

    /// A tensor that we would leave out is part of a head we would compute wrongly.
    fn refuse_unknown_in_head(
        &self,
        tensors: &TensorMap,
        prefix: &str,
        decoder: &Config,
    ) -> Result<(), ModelError> {
        let mut known: Vec<String> =
            decoder.parts().into_iter().map(|part| eagle_name(part, prefix)).collect();
        known.extend([EAGLE_FC, DRAFT_TO_TARGET, TARGET_TO_DRAFT].map(str::to_owned));
        known.push(format!("{prefix}.{EAGLE_HIDDEN_NORM}"));
        match tensors.names().find(|name| !known.iter().any(|known| known == name) && !is_ignored(name)) {
            None => Ok(()),
            Some(name) => Err(self.tensor_error(name, "it is not a part of an EAGLE-3 head".into())),
        }
    }

    fn part_of_head(
        &self,
        tensors: &TensorMap,
        name: &str,
        id: ParamId,
        [rows, cols]: [usize; 2],
        is_vector: bool,
    ) -> Result<Weight, ModelError> {
        let tensor = self.named(tensors, name)?;
        let expected = if is_vector { vec![cols] } else { vec![rows, cols] };
        self.check_tensor(tensor, &expected)?;
        if is_vector {
            return Ok(Weight::owned(id, 1, cols, self.vector(tensor)?));
        }
        let weight = Weight::stored(id, tensor.dtype, rows, cols, tensor.data.clone());
        weight.ok_or_else(|| {
            let fact = format!("{} bytes are not {rows} rows of {cols}", tensor.data.len());
            self.tensor_error(name, fact)
        })
    }

    /// The target's id for each of the head's: its own, and what the table adds to it.
    fn target_ids(
        &self,
        tensors: &TensorMap,
        n_draft: usize,
        vocab_size: usize,
    ) -> Result<Option<Vec<u32>>, ModelError> {
        if n_draft == vocab_size && !tensors.contains(DRAFT_TO_TARGET) {
            return Ok(None);
        }
        let tensor = self.named(tensors, DRAFT_TO_TARGET)?;
        if tensor.shape != [n_draft] || tensor.dtype != DType::I64 {
            let fact = format!("expected {n_draft} of I64, found {:?} of {}", tensor.shape, tensor.dtype);
            return Err(self.tensor_error(DRAFT_TO_TARGET, fact));
        }
        let ids = tensor.data.as_chunks::<8>().0.iter().enumerate().map(|(id, bytes)| {
            let offset = i64::from_le_bytes(*bytes);
            let target = offset.checked_add(id as i64).and_then(|id| u32::try_from(id).ok());
            target.filter(|id| (*id as usize) < vocab_size).ok_or_else(|| {
                let fact = format!(
                    "it adds {offset} to token {id}, which is outside the vocabulary of {vocab_size}"
                );
                self.tensor_error(DRAFT_TO_TARGET, fact)
            })
        });
        ids.collect::<Result<_, _>>().map(Some)
    }
}

/// The layers of the target whose inputs a head reads: those that it says, or a low, a middle and a high one, as the
/// authors take them.
fn layers_of(said: Option<Vec<usize>>, n_layers: usize) -> Result<[usize; 3], String> {
    if let Some(said) = said {
        let layers = <[usize; 3]>::try_from(said.as_slice()).ok();
        return layers.filter(|layers| layers.iter().all(|layer| *layer < n_layers)).ok_or_else(|| {
            format!("it reads the inputs of layers {said:?}; expected three of the model's {n_layers}")
        });
    }
    let layers = [2, n_layers / 2, n_layers.saturating_sub(3)];
    match layers.is_sorted_by(|a, b| a < b) {
        true => Ok(layers),
        false => Err(format!("it reads three layers of a model; the one here has too few, {n_layers}")),
    }
}
