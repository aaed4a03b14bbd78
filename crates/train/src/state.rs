//! The whole state of a run in one file: weights, moments, step, place in the data, and what the run adds.
//! Resuming continues bit for bit.
//!
//! It is a safetensors file, written whole or not at all. Its metadata has a description in JSON and a CRC-32 of
//! each tensor, since what a disk or a copy damaged must not be trained on. Numbers that are not whole stand there
//! as their bits. Of weights that are not trained nothing is stored.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use puna_formats::{TensorInfo, safetensors, visible_path};
use puna_tensor::{DType, f32_bytes};
use serde_json::{Value, json};

use crate::data::Cursor;
use crate::error::TrainError;
use crate::spikes::Usual;
use crate::trainer::Trainer;

const KEY: &str = "puna.training_state";
const SUMS: &str = "puna.crc32";

impl Trainer {
    /// Writes the state to `path`, completely or not at all, with what the caller wants to find again.
    pub fn save_state(&self, path: &Path, extra: &Value) -> Result<(), TrainError> {
        let tensors = self.state_tensors();
        let sums: BTreeMap<&str, u32> = tensors
            .iter()
            .map(|(name, values)| (name.as_str(), crc32fast::hash(f32_bytes(values))))
            .collect();
        let mut description = self.description();
        description["extra"] = extra.clone();
        let description = description.to_string();
        let sums = json!({ "tensors": sums, "description": crc32fast::hash(description.as_bytes()) });
        let metadata = BTreeMap::from([(KEY.to_owned(), description), (SUMS.to_owned(), sums.to_string())]);
        let mut writer = safetensors::Writer::new(metadata);
        for (name, values) in &tensors {
            writer.declare(TensorInfo::new(name.clone(), DType::F32, [values.len()]));
        }
        let mut stream = writer.begin(path)?;
        while let Some(name) = stream.expected().map(|info| info.name.clone()) {
            stream.write(&name, f32_bytes(tensors[&name]))?;
        }
        Ok(stream.finish()?)
    }

    /// Takes over the state saved at `path` by a run of the same model, and returns what was saved with it. Where
    /// it fails, nothing has changed.
    pub fn load_state(&mut self, path: &Path) -> Result<Value, TrainError> {
        let fail = |fact: String| TrainError::State { path: visible_path(path).to_string(), fact };
        let file = safetensors::open(path)?;
        let read_json = |key: &str| {
            let text = file.metadata.get(key)?;
            Some((serde_json::from_str::<Value>(text).ok()?, crc32fast::hash(text.as_bytes())))
        };
        let described = read_json(KEY).zip(read_json(SUMS));
        let ((description, sum), (sums, _)) =
            described.ok_or_else(|| fail("it is not the state of a training run".into()))?;
        if sums["description"].as_u64() != Some(u64::from(sum)) {
            return Err(fail("its description is damaged: the checksum differs".into()));
        }
        if description["model"] != self.description()["model"] {
            let fact = format!("it belongs to a model of another shape: {}", description["model"]);
            return Err(fail(fact));
        }
        let number = |key: &str| {
            let value = description[key].as_u64();
            value.ok_or_else(|| fail(format!("it does not say `{key}`")))
        };
        let cursor = Cursor { epoch: number("epoch")?, taken: number("taken")? as usize };
        let step = number("step")?;
        let bits = |key: &str| number(key).map(f64::from_bits);
        let usual = Usual {
            n: number("usual_n")?,
            loss: [bits("usual_loss")?, bits("usual_loss_variance")?],
            log_norm: [bits("usual_norm")?, bits("usual_norm_variance")?],
        };
        let read = |name: &str, len: usize| {
            let tensor = file.tensors.get(name).filter(|t| t.dtype == DType::F32 && t.shape == [len]);
            let tensor = tensor.ok_or_else(|| fail(format!("tensor `{name}` is missing or misshapen")))?;
            if sums["tensors"][name].as_u64() != Some(u64::from(crc32fast::hash(&tensor.data))) {
                return Err(fail(format!("tensor `{name}` is damaged: its checksum differs")));
            }
            let floats = tensor.data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Ok::<Vec<f32>, TrainError>(floats.collect())
        };
        // All is read before anything is changed.
        let mut loaded = Vec::new();
        let weights = self.trained.weights(&self.model);
        for ((parameter, weight), moments) in self.trained.0.iter().zip(weights).zip(&self.moments) {
            let name = &parameter.name;
            let parts = moments.parts().map(|(part, values)| read(&format!("{part}.{name}"), values.len()));
            let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
            loaded.push((read(name, weight.len())?, parts));
        }
        let model = Arc::get_mut(&mut self.model).ok_or(TrainError::InUse)?;
        let weights = self.trained.weights_mut(model);
        for ((weight, moments), (values, parts)) in weights.into_iter().zip(&mut self.moments).zip(loaded) {
            weight.values_mut().expect("made trainable").copy_from_slice(&values);
            moments.parts_mut().into_iter().zip(parts).for_each(|((_, old), new)| *old = new);
        }
        (self.step, self.cursor, self.usual) = (step, cursor, usual);
        Ok(description["extra"].clone())
    }

    fn state_tensors(&self) -> BTreeMap<String, &[f32]> {
        let mut tensors = BTreeMap::new();
        let weights = self.trained.weights(&self.model);
        for ((parameter, weight), moments) in self.trained.0.iter().zip(weights).zip(&self.moments) {
            for (part, values) in moments.parts() {
                tensors.insert(format!("{part}.{}", parameter.name), values.as_slice());
            }
            tensors.insert(parameter.name.clone(), weight.values().expect("made trainable"));
        }
        tensors
    }

    fn description(&self) -> Value {
        // The context may grow in the middle of a run; nothing else of the shape changes.
        let config = puna_model::Config {
            max_seq_len: 0,
            rope_theta: 0.0,
            rope_scaling: puna_model::rope::RopeScaling::None,
            ..self.model.config.clone()
        };
        let Usual { n, loss, log_norm } = self.usual;
        json!({
            "model": format!("{config:?}"),
            "step": self.step,
            "epoch": self.cursor.epoch,
            "taken": self.cursor.taken,
            "usual_n": n,
            "usual_loss": loss[0].to_bits(),
            "usual_loss_variance": loss[1].to_bits(),
            "usual_norm": log_norm[0].to_bits(),
            "usual_norm_variance": log_norm[1].to_bits(),
        })
    }
}
