//! The whole state of a run in one file: weights, moments, step, place in the data. Resuming continues bit for bit.

use std::collections::BTreeMap;
use std::path::Path;

use puna_formats::{TensorInfo, safetensors};
use puna_model::names::Naming;
use puna_tensor::DType;
use serde_json::{Value, json};

use crate::data::Cursor;
use crate::trainer::{TrainError, Trainer};

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
            stream.write(&name, puna_kernels::matmul::f32_bytes(tensors[&name]))?;
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
        let read = |name: &str, out: &mut [f32]| {
            let tensor = file.tensors.get(name).filter(|t| t.dtype == DType::F32 && t.shape == [out.len()]);
            let tensor =
                tensor.ok_or_else(|| state_error(format!("tensor `{name}` is missing or misshapen")))?;
            for (x, bytes) in out.iter_mut().zip(tensor.data.chunks_exact(4)) {
                *x = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            Ok::<_, TrainError>(())
        };
        let names = self.parameter_names();
        let weights = self.model.weights.all_mut();
        for ((name, weight), moments) in names.iter().zip(weights).zip(&mut self.moments) {
            read(name, weight.values_mut().expect("made trainable"))?;
            read(&format!("m.{name}"), &mut moments.m)?;
            read(&format!("v.{name}"), &mut moments.v)?;
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
