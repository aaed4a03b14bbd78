//! Requests of real clients, as they were recorded: each is read.

use std::collections::BTreeMap;

use puna_wire::openai::{chat, completions, embeddings, rerank, tokenize};
use puna_wire::{Input, Problem};
use serde_json::Value;

/// Reads a body as its path has it; `None` where the path is another API's.
fn read(path: &str, body: &Value) -> Option<Result<(), Problem>> {
    Some(match path {
        "/v1/chat/completions" => chat::read(body).map(|(ask, shape)| {
            assert!(matches!(ask.input, Input::Chat(chat) if !chat.messages.is_empty()));
            assert_eq!(shape.stream, body["stream"] == true);
            let n_functions = body["tools"].as_array().into_iter().flatten();
            assert_eq!(
                ask.tools.offered.len(),
                n_functions.filter(|tool| tool["type"] == "function").count()
            );
        }),
        "/v1/completions" => completions::read(body).map(|(ask, _)| {
            assert!(matches!(ask.input, Input::Texts { texts, .. } if !texts.is_empty()));
            assert_eq!(ask.max_tokens, body["max_tokens"].as_u64().map(|n| n as usize));
        }),
        "/v1/embeddings" => embeddings::read(body).map(|ask| assert!(!ask.texts.is_empty())),
        "/rerank" | "/v1/rerank" | "/v2/rerank" => {
            rerank::read(body).map(|ask| assert_eq!(ask.documents.len(), 2))
        }
        "/tokenize" => tokenize::read(body).map(drop),
        _ => return None,
    })
}

#[test]
fn requests_of_real_clients_are_read() {
    let recordings = puna_conformance::recordings("requests_of_real_clients_are_read");
    if recordings.is_empty() {
        return;
    }
    let mut n_read: BTreeMap<String, usize> = BTreeMap::new();
    for (file, recording) in &recordings {
        for request in recording["requests"].as_array().unwrap() {
            let path = request["path"].as_str().unwrap().split('?').next().unwrap();
            if let Some(result) = read(path, &request["body"]) {
                result.unwrap_or_else(|problem| panic!("{file}: {path}: {problem:?}"));
                *n_read.entry(path.to_owned()).or_default() += 1;
            }
        }
    }
    // Every endpoint was met; the chat by many clients.
    assert_eq!(n_read.len(), 7, "{n_read:?}");
    assert!(n_read["/v1/chat/completions"] >= 50, "{n_read:?}");
}
