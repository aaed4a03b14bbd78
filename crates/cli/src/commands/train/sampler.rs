//! Texts that a model makes while it is trained.

use std::sync::Arc;

use puna::{Engine, EngineOptions, FinishReason, Request, SamplingParams, Tokenizer};
use puna_engine::sampling::Sampler;
use puna_model::Model;
use puna_tensor::Cpu;

/// What samples are made with.
#[derive(Clone)]
pub struct SampleMaker {
    pub cpu: Arc<Cpu>,
    pub tokenizer: Arc<Tokenizer>,
    pub max_tokens: usize,
    pub temperature: f64,
    pub seed: u64,
}

impl SampleMaker {
    /// What the model writes after each prompt. The same model, step and prompts give the same texts.
    pub fn make(&self, model: &Arc<Model>, step: u64, prompts: &[String]) -> Result<Vec<String>, String> {
        let engine = Engine::new(model.clone(), self.cpu.clone(), EngineOptions::default());
        let engine = engine.map_err(|error| error.to_string())?;
        let of_prompt = |(i, prompt): (usize, &String)| {
            let seed = self.seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i as u64;
            self.complete(&engine, prompt, seed).map_err(|error| error.to_string())
        };
        prompts.iter().enumerate().map(of_prompt).collect()
    }

    fn complete(&self, engine: &Engine, prompt: &str, seed: u64) -> Result<String, puna::EngineError> {
        let mut ids = self.tokenizer.encode(prompt, self.tokenizer.default_options());
        if ids.is_empty() {
            ids.extend(self.tokenizer.bos_id().or(self.tokenizer.eos_id()).or(Some(0)));
        }
        let params =
            SamplingParams { temperature: self.temperature, seed: Some(seed), ..SamplingParams::default() };
        let request = Request {
            stop_ids: self.tokenizer.stop_ids().to_vec(),
            max_new_tokens: Some(self.max_tokens),
            ..Request::new(ids, Sampler::new(&params)?)
        };
        let mut sequence = engine.begin(request)?;
        while sequence.finish_reason().is_none() {
            let mut failed = None;
            engine.step(&mut [&mut sequence], |_, token| failed = failed.take().or(token.err()))?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        // The id that ends an answer is no text.
        let made = sequence.completion();
        let made = match (sequence.finish_reason(), made) {
            (Some(FinishReason::StopId(_)), [text @ .., _]) => text,
            _ => made,
        };
        Ok(self.tokenizer.decode_continuation(made))
    }
}
