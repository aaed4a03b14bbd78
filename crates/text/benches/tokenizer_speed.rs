//! Measures how fast a tokenizer encodes a text file, in MB/s on one thread.
//!
//! `tokenizer_speed TOKENIZER TEXT [--documents BYTES] [--json] [--ids FILE]`: TOKENIZER is a
//! `tokenizer.json` or a `tokenizer.model`. The text is cut at blank lines into documents of about the
//! given size (65536), which are encoded one after another; best and median of five rounds are printed.
//! `--ids` writes all ids as a JSON array, for comparing with other tokenizers.
//!
//! `tokenizer_speed --train SIZE TEXT [OUT.json]` times the training of a vocabulary instead.

use std::time::{Duration, Instant};

use puna_text::train_bpe::train_bpe;
use puna_text::{EncodeOptions, Tokenizer};

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    if let (Some(size), Some(text)) = (option("--train"), arguments.get(2)) {
        return train(size.parse()?, text, arguments.get(3));
    }
    let (Some(tokenizer), Some(text)) = (arguments.first(), arguments.get(1)) else {
        return Err("usage: tokenizer_speed TOKENIZER TEXT [--documents BYTES] [--json] [--ids FILE]".into());
    };
    let bytes = std::fs::read(tokenizer)?;
    let started = Instant::now();
    let tokenizer = Tokenizer::from_file_bytes(&bytes, &Default::default())?;
    let load = started.elapsed();
    let text = std::fs::read_to_string(text)?;
    let documents = documents(&text, option("--documents").unwrap_or("65536").parse()?);
    let mut ids = Vec::new();
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            ids.clear();
            let started = Instant::now();
            for document in &documents {
                tokenizer.encode_into(document, EncodeOptions::default(), &mut ids);
            }
            started.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    let speed = |time: Duration| text.len() as f64 / 1e6 / time.as_secs_f64();
    let (best, median) = (speed(rounds[0]), speed(rounds[ROUNDS / 2]));
    if arguments.iter().any(|argument| argument == "--json") {
        let load_ms = load.as_secs_f64() * 1e3;
        println!(
            r#"{{"best_mb_s":{best:.2},"median_mb_s":{median:.2},"tokens":{},"load_ms":{load_ms:.1}}}"#,
            ids.len()
        );
    } else {
        println!("{best:.1} MB/s best, {median:.1} median; {} tokens; loaded in {load:.1?}", ids.len());
    }
    if let Some(path) = option("--ids") {
        std::fs::write(path, format!("{ids:?}"))?;
    }
    Ok(())
}

/// Cuts at the first blank line after every `size` bytes.
fn documents(text: &str, size: usize) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let from = rest.ceil_char_boundary(size);
        let end = rest[from..].find("\n\n").map_or(rest.len(), |at| from + at + 2);
        let (document, after) = rest.split_at(end);
        documents.push(document);
        rest = after;
    }
    documents
}

fn train(size: usize, path: &str, out: Option<&String>) -> Result<(), Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let started = Instant::now();
    let trained = train_bpe([&*text], size, &["<|begin_of_text|>", "<|end_of_text|>"])?;
    println!(
        "{} tokens from {:.1} MB in {:.1?}",
        trained.vocab_size(),
        text.len() as f64 / 1e6,
        started.elapsed()
    );
    if let Some(out) = out {
        std::fs::write(out, trained.to_hf_json())?;
    }
    Ok(())
}
