//! Tokenizers against the official implementations: the vectors of `tokenizer/`, and every form of the
//! tokenizers in `models/`, `meta/` and `stories260K/` against each other.

mod common;
mod gguf_header;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{fixtures, ids, read_json, real_tokenizer};
use puna_conformance::skip;
use puna_text::{EncodeOptions, HfTokenizerConfig, Tokenizer, TokenizerHints};
use serde_json::Value;

const PLAIN: EncodeOptions = EncodeOptions { add_bos: false, add_eos: false, parse_special: false };
const SPECIAL: EncodeOptions = EncodeOptions { parse_special: true, ..PLAIN };

/// Every `tokenizer/NAME.vectors.json` with its tokenizer.
fn vector_files() -> Vec<(String, Value, Tokenizer)> {
    let Some(fixtures) = fixtures() else { return Vec::new() };
    let mut files = Vec::new();
    let entries = std::fs::read_dir(fixtures.join("tokenizer")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let file_name = path.file_name().unwrap().to_string_lossy().into_owned();
        if let Some(name) = file_name.strip_suffix(".vectors.json") {
            let tokenizer = real_tokenizer(&fixtures, name);
            files.push((name.to_owned(), read_json(&path), tokenizer));
        }
    }
    assert!(!files.is_empty(), "no vectors in {}", fixtures.display());
    files
}

fn list<'v>(vectors: &'v Value, key: &str) -> &'v [Value] {
    vectors[key].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn conformance_ids() {
    for (name, vectors, tokenizer) in vector_files() {
        assert!(!list(&vectors, "cases").is_empty());
        for case in list(&vectors, "cases") {
            let text = case["text"].as_str().unwrap();
            let expected = ids(&case["ids"]);
            assert_eq!(tokenizer.encode(text, PLAIN), expected, "{name}: {text:?}");
            let special =
                if case["ids_allow_special"].is_null() { expected } else { ids(&case["ids_allow_special"]) };
            // SentencePiece itself has no mode that parses control pieces, so there are no such vectors.
            if vectors["special_tokens"].is_object() {
                assert_eq!(tokenizer.encode(text, SPECIAL), special, "{name}, special: {text:?}");
            }
        }
    }
}

#[test]
fn conformance_decoded() {
    for (name, vectors, tokenizer) in vector_files() {
        for case in list(&vectors, "cases") {
            let text = case["text"].as_str().unwrap();
            let expected = case["decoded"].as_str().unwrap_or(text);
            assert_eq!(tokenizer.decode(&ids(&case["ids"])), expected, "{name}: {text:?}");
        }
    }
}

#[test]
fn conformance_bos_and_eos() {
    for (name, vectors, tokenizer) in vector_files() {
        for case in list(&vectors, "bos_eos_cases") {
            let options = EncodeOptions {
                add_bos: case["bos"].as_bool().unwrap(),
                add_eos: case["eos"].as_bool().unwrap(),
                ..PLAIN
            };
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text, options), ids(&case["ids"]), "{name}: {case}");
        }
    }
}

#[test]
fn conformance_streaming() {
    for (name, vectors, tokenizer) in vector_files() {
        for case in list(&vectors, "streaming").iter().chain(list(&vectors, "streaming_truncated")) {
            let mut stream = tokenizer.stream();
            let case_ids = ids(&case["ids"]);
            let emitted: Vec<String> = case_ids.iter().map(|id| stream.push(*id).to_owned()).collect();
            let expected: Vec<&str> =
                list(case, "emitted").iter().map(|text| text.as_str().unwrap()).collect();
            assert_eq!(emitted, expected, "{name}: {case_ids:?}");
            assert_eq!(stream.finish(), case["flush"].as_str().unwrap(), "{name}: {case_ids:?}");
            for (id, hex) in case_ids.iter().zip(list(case, "token_bytes_hex")) {
                let bytes = tokenizer.decode_bytes(*id);
                let found: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(found, hex.as_str().unwrap(), "{name}: token {id}");
            }
        }
    }
}

#[test]
fn conformance_special_tokens() {
    for (name, vectors, tokenizer) in vector_files() {
        let id = |key: &str| vectors[key].as_u64().map(|id| id as u32);
        assert_eq!(tokenizer.bos_id(), id("bos_id"), "{name}");
        assert_eq!(tokenizer.eos_id(), id("eos_id"), "{name}");
        let size = vectors["n_words"].as_u64().or(vectors["vocab_size"].as_u64()).unwrap();
        assert_eq!(tokenizer.vocab_size() as u64, size, "{name}");
        if !vectors["stop_tokens"].is_null() {
            assert_eq!(tokenizer.stop_ids(), ids(&vectors["stop_tokens"]), "{name}");
        }
        for key in ["special_tokens", "all_special_tokens"] {
            for (token, id) in vectors[key].as_object().into_iter().flatten() {
                let id = id.as_u64().unwrap() as u32;
                assert_eq!(tokenizer.id_of(token), Some(id), "{name}: {token}");
                assert!(tokenizer.is_special(id), "{name}: {token}");
            }
        }
    }
}

/// Folders that hold a tokenizer in some form.
fn tokenizer_folders(fixtures: &Path) -> Vec<PathBuf> {
    let mut folders = vec![fixtures.join("stories260K/hf")];
    for group in ["models", "meta", "gptq"] {
        let Ok(entries) = std::fs::read_dir(fixtures.join(group)) else { continue };
        folders.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
    }
    folders.sort();
    folders
}

/// The tokenizer of a folder in every form it has there.
fn forms(folder: &Path) -> BTreeMap<&'static str, Tokenizer> {
    let mut forms = BTreeMap::new();
    let config = std::fs::read(folder.join("tokenizer_config.json")).ok();
    let config = config.map(|bytes| HfTokenizerConfig::parse(&bytes).unwrap());
    let params = std::fs::read(folder.join("params.json")).ok();
    let vocab_size = params.and_then(|bytes| {
        serde_json::from_slice::<Value>(&bytes).unwrap()["vocab_size"].as_u64().map(|size| size as usize)
    });
    let hints = TokenizerHints {
        vocab_size,
        added_tokens: config.as_ref().map_or_else(Vec::new, |config| config.added_tokens.clone()),
        ..TokenizerHints::default()
    };
    for form in ["tokenizer.json", "tokenizer.model", "original/tokenizer.model"] {
        let path = folder.join(form);
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let tokenizer = Tokenizer::from_file_bytes(&bytes, &hints);
        let mut tokenizer = tokenizer.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if let Some(config) = &config {
            tokenizer.configure(config).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        forms.insert(form, tokenizer);
    }
    forms
}

#[test]
fn conformance_forms_of_one_tokenizer_agree() {
    let Some(fixtures) = fixtures() else { return };
    let mut texts = vec![
        "Hello world, it's   1234567 tests.\n\n  \tfn main() {}".to_owned(),
        "naïve 你好 🙂 ▁ \u{a0}x <s> </s> <|eot_id|> text".to_owned(),
        String::new(),
        " ".to_owned(),
    ];
    for (_, vectors, _) in vector_files() {
        texts.extend(list(&vectors, "cases").iter().map(|case| case["text"].as_str().unwrap().to_owned()));
    }
    texts.sort();
    texts.dedup();
    let mut n_compared = 0;
    for folder in tokenizer_folders(&fixtures) {
        let forms = forms(&folder);
        let Some((first_form, first)) = forms.first_key_value() else { continue };
        for (form, tokenizer) in forms.iter().skip(1) {
            n_compared += 1;
            check_sizes(&folder, first, tokenizer);
            assert_eq!(tokenizer.stop_ids(), first.stop_ids(), "{form} of {}", folder.display());
            for text in &texts {
                let options = EncodeOptions { add_bos: true, ..PLAIN };
                let (a, b) = (first.encode(text, options), tokenizer.encode(text, options));
                assert_eq!(a, b, "{first_form} and {form} of {}: {text:?}", folder.display());
                assert_eq!(first.decode(&a), tokenizer.decode(&a), "{text:?}");
            }
        }
    }
    assert!(n_compared > 0);
}

/// Tokens that were added to a vocabulary may be unknown to the file of the vocabulary alone; no other may.
fn check_sizes(folder: &Path, a: &Tokenizer, b: &Tokenizer) {
    let config = std::fs::read(folder.join("tokenizer_config.json")).ok();
    let added = config.map_or_else(Vec::new, |bytes| HfTokenizerConfig::parse(&bytes).unwrap().added_tokens);
    let sizes = [a.vocab_size(), b.vocab_size()];
    for id in sizes.into_iter().min().unwrap()..sizes.into_iter().max().unwrap() {
        let is_added = added.iter().any(|added| added.id == Some(id as u32));
        assert!(is_added, "the forms in {} have {sizes:?} tokens", folder.display());
    }
}

/// The ids that llama.cpp gave for a text with the converted models, which come with their sources.
#[test]
fn conformance_gguf_manifest() {
    let Some(fixtures) = puna_conformance::fixtures().with(&["gguf"]).map(Path::to_owned) else { return };
    let manifest = read_json(&fixtures.join("gguf/manifest.json"));
    let mut n_compared = 0;
    for (name, conversion) in manifest["conversions"].as_object().unwrap() {
        let (Some(text), Some(source)) =
            (conversion["tokenize"]["text"].as_str(), conversion["source_model"].as_str())
        else {
            skip(name, "the manifest has no tokenized text of this conversion");
            continue;
        };
        let mut forms = forms(&fixtures.join(source));
        let gguf = fixtures.join(conversion["file"].as_str().unwrap());
        forms.insert("GGUF", Tokenizer::from_gguf(gguf_header::vocab(&gguf)).unwrap());
        for (form, tokenizer) in forms {
            let options = EncodeOptions { add_bos: true, ..PLAIN };
            assert_eq!(
                tokenizer.encode(text, options),
                ids(&conversion["tokenize"]["ids"]),
                "{name}, {form}"
            );
            n_compared += 1;
        }
    }
    assert!(n_compared > 0);
}

/// Every GGUF file against the other forms of its tokenizer, where its source says which that is.
#[test]
fn conformance_gguf_vocabularies() {
    let Some(fixtures) = puna_conformance::fixtures().with(&["gguf", "stories260K"]).map(Path::to_owned)
    else {
        return;
    };
    let files = [fixtures.join("gguf"), fixtures.join("stories260K")]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    let sources = forms(&fixtures.join("stories260K/hf"));
    let mut n_read = 0;
    for path in files {
        let tokenizer = Tokenizer::from_gguf(gguf_header::vocab(&path));
        let tokenizer = tokenizer.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        n_read += 1;
        let text = "Once upon a time, naïve  Lily \u{2581} 12!\n\n\tEnd. <s>";
        let ids = tokenizer.encode(text, PLAIN);
        if path.parent().is_some_and(|parent| parent.ends_with("stories260K")) {
            for (form, source) in &sources {
                assert_eq!(ids, source.encode(text, PLAIN), "{form} and {}", path.display());
                assert_eq!(tokenizer.stop_ids(), source.stop_ids(), "{form} and {}", path.display());
            }
        }
    }
    assert!(n_read > 0);
}
