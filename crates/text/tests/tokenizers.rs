//! Tokenizers of every composition against `tokenizers` and `sentencepiece`: the ids and texts in `tokenizers.json`,
//! which `tests/make_tokenizers.py` made. `PUNA_TOKENIZERS=FILE` reads another file of that form.

use std::path::PathBuf;

use puna_text::{EncodeOptions, Tokenizer, TokenizerHints};
use serde_json::{Value, json};

fn fixture() -> Value {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tokenizers.json");
    let path = std::env::var_os("PUNA_TOKENIZERS").map_or(own, PathBuf::from);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The `tokenizer.json` of a case.
fn file_of(fixture: &Value, case: &Value) -> Value {
    let base = case["model"].as_str().unwrap();
    let mut model = fixture["models"][base].clone();
    for (key, value) in case["settings"].as_object().unwrap() {
        model[key] = value.clone();
    }
    let mut added = fixture["added"][base].clone();
    if case["raw_added"] == true {
        added.as_array_mut().unwrap().iter_mut().for_each(|token| token["normalized"] = json!(false));
    }
    let mut file = case["parts"].clone();
    (file["added_tokens"], file["model"]) = (added, model);
    file
}

fn tokenizer_of(fixture: &Value, case: &Value) -> Tokenizer {
    let file = file_of(fixture, case).to_string();
    Tokenizer::from_hf_json(file.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", case["name"]))
}

fn ids_of(row: &Value) -> Vec<u32> {
    row[0].as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// Compares all texts of a case; gives what differs.
fn differences(tokenizer: &Tokenizer, texts: &Value, case: &Value, options: EncodeOptions) -> Vec<String> {
    let mut found = Vec::new();
    let rows = case["rows"].as_array().unwrap();
    for (text, row) in texts.as_array().unwrap().iter().zip(rows) {
        let (text, expected) = (text.as_str().unwrap(), ids_of(row));
        let ids = tokenizer.encode(text, options);
        if ids != expected {
            found.push(format!("{} {text:?}\n  expected {expected:?}\n  got      {ids:?}", case["name"]));
        }
        let decoded = tokenizer.decode(&expected);
        let expected = row[1].as_str().unwrap_or(text);
        if decoded != expected {
            found.push(format!("{} decoded\n  expected {expected:?}\n  got      {decoded:?}", case["name"]));
        }
    }
    found
}

#[test]
fn every_composition_gives_the_ids_and_texts_of_tokenizers() {
    let fixture = fixture();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 40);
    let mut found = Vec::new();
    for case in cases {
        let tokenizer = tokenizer_of(&fixture, case);
        let options = EncodeOptions { parse_special: true, ..tokenizer.default_options() };
        found.extend(differences(&tokenizer, &fixture["texts"], case, options));
    }
    assert!(found.is_empty(), "{} differ\n{}", found.len(), found.join("\n"));
}

#[test]
fn sentencepiece_models_give_the_ids_and_texts_of_sentencepiece() {
    let fixture = fixture();
    let mut found = Vec::new();
    for case in fixture["sentencepiece"].as_array().unwrap() {
        let model = base64(case["model"].as_str().unwrap());
        let tokenizer = Tokenizer::from_file_bytes(&model, &TokenizerHints::default())
            .unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
        found.extend(differences(&tokenizer, &fixture["texts"], case, EncodeOptions::default()));
    }
    assert!(found.is_empty(), "{} differ\n{}", found.len(), found.join("\n"));
}

/// What is streamed token by token is the text of all tokens that continue something.
#[test]
fn streams_equal_whole_texts() {
    let fixture = fixture();
    for case in fixture["cases"].as_array().unwrap() {
        let tokenizer = tokenizer_of(&fixture, case);
        for row in case["rows"].as_array().unwrap() {
            let ids: Vec<u32> = ids_of(row).into_iter().filter(|id| !tokenizer.is_special(*id)).collect();
            let mut stream = tokenizer.stream();
            let mut streamed: String = ids.iter().map(|id| stream.push(*id).to_owned()).collect();
            streamed.push_str(stream.finish());
            assert_eq!(streamed, tokenizer.decode_continuation(&ids), "{}", case["name"]);
        }
    }
}

/// Without control tokens in the text no id is one, whatever the text says.
#[test]
fn ordinary_text_gives_no_control_tokens() {
    let fixture = fixture();
    for case in fixture["cases"].as_array().unwrap() {
        let tokenizer = tokenizer_of(&fixture, case);
        for text in fixture["texts"].as_array().unwrap() {
            let ids = tokenizer.encode(text.as_str().unwrap(), EncodeOptions::default());
            assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "{}: {text}", case["name"]);
        }
    }
}

/// Standard base64.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text
        .bytes()
        .filter(|digit| *digit != b'=')
        .map(|digit| DIGITS.iter().position(|other| *other == digit).unwrap() as u32)
        .collect();
    let groups = digits.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    groups.collect()
}
