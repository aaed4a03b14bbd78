//! `generation_config.json`: what a checkpoint's makers recommend for generating with it.

use std::path::Path;

use puna_engine::sampling::SamplingParams;
use puna_formats::{MAX_CONFIG_BYTES, read_json};
use serde_json::Value;

use crate::Error;

/// The settings we use. `None` where the file says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Ids that end an answer.
    pub eos_ids: Vec<u32>,
    /// `temperature`; 0 where `do_sample` is false.
    pub temperature: Option<f64>,
    /// `top_k`
    pub top_k: Option<usize>,
    /// `top_p`
    pub top_p: Option<f64>,
    /// `min_p`
    pub min_p: Option<f64>,
    /// `typical_p`
    pub typical_p: Option<f64>,
    /// `repetition_penalty`
    pub repetition_penalty: Option<f64>,
}

impl GenerationConfig {
    /// Of a Hugging Face folder; empty where there is no such file. Where it is missing, `config.json` may
    /// still name the ids that end a text.
    pub fn of_folder(dir: &Path) -> Result<GenerationConfig, Error> {
        let path = dir.join("generation_config.json");
        if path.is_file() {
            return Ok(GenerationConfig::from_json(&read_json(&path, MAX_CONFIG_BYTES)?));
        }
        let path = dir.join("config.json");
        let config: Value = if path.is_file() { read_json(&path, MAX_CONFIG_BYTES)? } else { Value::Null };
        Ok(GenerationConfig { eos_ids: ids(&config["eos_token_id"]), ..GenerationConfig::default() })
    }

    /// Reads the values that are there; what is no number of the right kind counts as absent, since a wrong
    /// default must not keep a model from running.
    pub fn from_json(config: &Value) -> GenerationConfig {
        let number = |key: &str| config[key].as_f64();
        let greedy = config["do_sample"].as_bool() == Some(false);
        GenerationConfig {
            eos_ids: ids(&config["eos_token_id"]),
            temperature: if greedy { Some(0.0) } else { number("temperature").filter(|t| *t >= 0.0) },
            top_k: config["top_k"].as_u64().and_then(|k| k.try_into().ok()),
            top_p: number("top_p").filter(|p| (0.0..=1.0).contains(p)),
            min_p: number("min_p").filter(|p| (0.0..=1.0).contains(p)),
            typical_p: number("typical_p").filter(|p| *p > 0.0 && *p <= 1.0),
            repetition_penalty: number("repetition_penalty").filter(|p| *p > 0.0),
        }
    }

    /// The recommended sampling. The two given values stand in where the file recommends neither of them.
    pub(crate) fn sampling(&self, temperature: f64, top_p: f64) -> SamplingParams {
        let neutral = SamplingParams::default();
        let says_something = self.temperature.is_some() || self.top_p.is_some();
        let fallback =
            if says_something { (neutral.temperature, neutral.top_p) } else { (temperature, top_p) };
        SamplingParams {
            temperature: self.temperature.unwrap_or(fallback.0),
            top_p: self.top_p.unwrap_or(fallback.1),
            top_k: self.top_k.unwrap_or(neutral.top_k),
            min_p: self.min_p.unwrap_or(neutral.min_p),
            typical_p: self.typical_p.unwrap_or(neutral.typical_p),
            repeat_penalty: self.repetition_penalty.unwrap_or(neutral.repeat_penalty),
            ..neutral
        }
    }
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_eos_or_several() {
        assert_eq!(GenerationConfig::from_json(&json!({"eos_token_id": 2})).eos_ids, [2]);
        assert_eq!(GenerationConfig::from_json(&json!({"eos_token_id": [1, 9, -1, "x"]})).eos_ids, [1, 9]);
        assert_eq!(GenerationConfig::from_json(&json!({"eos_token_id": null})), GenerationConfig::default());
    }

    #[test]
    fn sampling_values() {
        let config = json!({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 0, "min_p": 7});
        let config = GenerationConfig::from_json(&config);
        assert_eq!((config.temperature, config.top_p, config.top_k), (Some(0.6), Some(0.9), Some(0)));
        assert_eq!(config.min_p, None);
        let sampling = config.sampling(0.8, 0.95);
        assert_eq!((sampling.temperature, sampling.top_p), (0.6, 0.9));
        let sampling = GenerationConfig::default().sampling(0.8, 0.95);
        assert_eq!((sampling.temperature, sampling.top_p), (0.8, 0.95));
        let greedy = GenerationConfig::from_json(&json!({"do_sample": false, "temperature": 0.6}));
        assert_eq!(greedy.temperature, Some(0.0));
    }
}
