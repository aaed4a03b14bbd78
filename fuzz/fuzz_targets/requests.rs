//! Bodies of requests through every API's reader.

#![no_main]

use libfuzzer_sys::fuzz_target;
use puna_wire::{anthropic, ollama, openai, responses};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return };
    let _ = openai::chat::read(&body);
    let _ = openai::completions::read(&body);
    let _ = openai::embeddings::read(&body);
    let _ = openai::rerank::read(&body);
    let _ = openai::tokenize::read(&body);
    let _ = openai::tokenize::read_detokenize(&body);
    let _ = openai::tokenize::read_template(&body);
    let _ = responses::read(&body, &());
    let _ = anthropic::messages::read(&body);
    let _ = ollama::generate::read(&body);
    let _ = ollama::chat::read(&body);
    let _ = ollama::embed::read(&body);
    let _ = ollama::embed::read_old(&body);
    let _ = ollama::manage::read_about(&body);
    let _ = ollama::manage::read_copy(&body);
    let _ = ollama::manage::read_create(&body);
    if let Some(text) = body.as_str() {
        let _ = ollama::modelfile::parse(text);
        let _ = ollama::duration::parse(text);
    }
});
