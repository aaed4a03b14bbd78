//! Requests of real clients, as they were recorded: each is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use puna_wire::openai::{chat, completions, embeddings, rerank, tokenize};
use puna_wire::{Input, Problem};
use serde_json::Value;

/// The recordings: `PUNA_CLIENTS`, or a folder beside the repository. A clone has none; under `CI=true` they must be
/// there.
fn recordings() -> Option<Vec<(PathBuf, Value)>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/clients/recorded");
    let dir = std::env::var_os("PUNA_CLIENTS").map_or(beside, PathBuf::from);
    let Ok(files) = std::fs::read_dir(&dir) else {
        let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!is_ci, "the recorded requests are not there: `{}`", dir.display());
        println!("SKIPPED requests of real clients: no folder `{}`", dir.display());
        return None;
    };
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, serde_json::from_str(&text).unwrap())
    };
    let paths = files.map(|file| file.unwrap().path());
    Some(paths.filter(|path| path.extension().is_some_and(|e| e == "json")).map(read).collect())
}

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
            assert_eq!(ask.max_tokens, body["max_tokens"].as_u64().map(|n| n as usize).or(Some(16)));
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
    let Some(recordings) = recordings() else { return };
    let mut n_read: BTreeMap<String, usize> = BTreeMap::new();
    for (file, recording) in &recordings {
        for request in recording["requests"].as_array().unwrap() {
            let path = request["path"].as_str().unwrap().split('?').next().unwrap();
            if let Some(result) = read(path, &request["body"]) {
                result.unwrap_or_else(|problem| panic!("{}: {path}: {problem:?}", file.display()));
                *n_read.entry(path.to_owned()).or_default() += 1;
            }
        }
    }
    // Every endpoint was met; the chat by many clients.
    assert_eq!(n_read.len(), 7, "{n_read:?}");
    assert!(n_read["/v1/chat/completions"] >= 50, "{n_read:?}");
}
