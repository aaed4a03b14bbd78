//! The whole state of a run in one file: weights, moments, step, place in the data. Resuming continues bit
//! for bit.

use std::collections::BTreeMap;
use std::path::Path;

use puna_formats::{TensorInfo, safetensors};
use puna_model::names::Naming;
use puna_tensor::{DType, f32_bytes};
use serde_json::{Value, json};

use crate::data::Cursor;
use crate::trainer::{Moments, TrainError, Trainer};

const KEY: &str = "puna.training_state";

impl Trainer {
    /// Writes the state to `path`, completely or not at all.
    pub fn save_state(&self, path: &Path) -> Result<(), TrainError> {
        let metadata = BTreeMap::from([(KEY.to_owned(), self.description().to_string())]);
        let mut writer = safetensors::Writer::new(metadata);
        let tensors = self.state_tensors();
        for (name, values) in &tensors {
            writer.declare(TensorInfo::new(name.clone(), DType::F32, [values.len()]));
        }
        let mut stream = writer.begin(path)?;
        while let Some(name) = stream.expected().map(|info| info.name.clone()) {
            stream.write(&name, f32_bytes(tensors[&name]))?;
        }
        Ok(stream.finish()?)
    }

    /// Takes over the state saved at `path` by a run of the same model.
    pub fn load_state(&mut self, path: &Path) -> Result<(), TrainError> {
        let state_error = |fact: String| TrainError::State { path: path.display().to_string(), fact };
        let file = safetensors::open(path)?;
        let description = file.metadata.get(KEY).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let description =
            description.ok_or_else(|| state_error("it is not the state of a training run".into()))?;
        if description["model"] != self.description()["model"] {
            let fact = format!("it belongs to a model of another shape: {}", description["model"]);
            return Err(state_error(fact));
        }
        let number = |key: &str| {
            description[key].as_u64().ok_or_else(|| state_error(format!("it does not say `{key}`")))
        };
        let (step, epoch, taken) = (number("step")?, number("epoch")?, number("taken")?);
        let read = |name: &str, len: usize| {
            let tensor = file.tensors.get(name).filter(|t| t.dtype == DType::F32 && t.shape == [len]);
            let tensor =
                tensor.ok_or_else(|| state_error(format!("tensor `{name}` is missing or misshapen")))?;
            let floats = tensor.data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Ok::<Vec<f32>, TrainError>(floats.collect())
        };
        // All is read before anything is changed.
        let weights = self.parameter_names().into_iter().zip(self.model.weights.all());
        let loaded = weights.map(|(name, weight)| {
            let len = weight.len();
            let moments =
                Moments { m: read(&format!("m.{name}"), len)?, v: read(&format!("v.{name}"), len)? };
            Ok((read(&name, len)?, moments))
        });
        let loaded = loaded.collect::<Result<Vec<_>, TrainError>>()?;
        for ((weight, moments), (values, loaded)) in
            self.model.weights.all_mut().into_iter().zip(&mut self.moments).zip(loaded)
        {
            weight.values_mut().expect("made trainable").copy_from_slice(&values);
            *moments = loaded;
        }
        self.step = step;
        self.cursor = Cursor { epoch, taken: taken as usize };
        Ok(())
    }

    fn parameter_names(&self) -> Vec<String> {
        self.model.config.parts().into_iter().map(|part| part.name(Naming::Meta)).collect()
    }

    fn state_tensors(&self) -> BTreeMap<String, &[f32]> {
        let mut tensors = BTreeMap::new();
        let weights = self.model.weights.all();
        for ((name, weight), moments) in self.parameter_names().into_iter().zip(weights).zip(&self.moments) {
            tensors.insert(format!("m.{name}"), moments.m.as_slice());
            tensors.insert(format!("v.{name}"), moments.v.as_slice());
            tensors.insert(name, weight.values().expect("made trainable"));
        }
        tensors
    }

    fn description(&self) -> Value {
        json!({
            "model": format!("{:?}", self.model.config),
            "step": self.step,
            "epoch": self.cursor.epoch,
            "taken": self.cursor.taken,
        })
    }
}
