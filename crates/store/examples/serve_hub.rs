//! A hub on this machine with one model of so many bytes, for measuring: `serve_hub BYTES`. Prints its address, and runs
//! until standard input ends.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Read;
use std::sync::Arc;

use common::{Files, Server, State, noise};

fn main() {
    let n_bytes = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1 << 30);
    let text = |text: &str| Arc::new(text.as_bytes().to_vec());
    let files = Files::from([
        ("config.json".to_owned(), text("{\"model_type\": \"llama\"}")),
        ("model.safetensors".to_owned(), noise(n_bytes, 1)),
        ("tokenizer.json".to_owned(), noise(9_000_000, 2)),
    ]);
    let mut state = State::default();
    state.repositories.insert("o/llama".into(), files);
    let server = Server::start(state);
    println!("{}", server.url());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
