//! Vectors of texts, beside those of transformers (`tests/make_variants.py`).

use std::path::{Path, PathBuf};

use puna::{EmbedOptions, Llama, Pooling};
use puna_formats::gguf::{Metadata, Value};
use puna_formats::safetensors;
use puna_tensor::DType;
use puna_text::train_bpe::train_bpe;

fn fixture() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/embedding")).to_owned()
}

/// Ids and vectors of the sequences, each of length 1.
fn golden() -> Vec<(Vec<u32>, Vec<f32>)> {
    let file = safetensors::open(&fixture().join("golden.safetensors")).unwrap();
    let bytes = |name: &str| file.tensors.get(name).unwrap().data.to_vec();
    let ids =
        |name: &str| bytes(name).as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect();
    let floats = |name: &str| bytes(name).as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    (0..2).map(|i| (ids(&format!("seq{i}.ids")), floats(&format!("seq{i}.vector")))).collect()
}

fn assert_near(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len());
    let largest = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-4, "{what}: {largest}");
}

/// A folder like the fixture, with these files changed; `None` leaves one out.
fn changed(changes: &[(&str, Option<&str>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    for name in ["config.json", "model.safetensors", "modules.json", "1_Pooling/config.json"] {
        let to = dir.path().join(name);
        match changes.iter().find(|(changed, _)| *changed == name) {
            None => std::fs::copy(fixture().join(name), to).map(|_| ()).unwrap(),
            Some((_, Some(text))) => std::fs::write(to, text).unwrap(),
            Some((_, None)) => {}
        }
    }
    dir
}

/// A model of whole texts: from the folder, with its names without `model.`, and as a GGUF file.
#[test]
fn vectors_are_those_of_transformers() {
    let folder = Llama::load(fixture()).unwrap();
    assert!(!folder.config().causal);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.gguf");
    let mut metadata = Metadata::default();
    metadata.set("llama.pooling_type", Value::U32(1));
    folder.engine().model().save_gguf(&file, metadata, DType::F32).unwrap();
    folder.engine().model().save_hf(dir.path(), DType::F32).unwrap();
    std::fs::create_dir(dir.path().join("hf")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::rename(dir.path().join(name), dir.path().join("hf").join(name)).unwrap();
    }
    for path in [fixture(), file, dir.path().join("hf")] {
        let llama = Llama::load(&path).unwrap();
        assert_eq!(llama.pooling().unwrap(), Pooling::Mean);
        for (ids, want) in golden() {
            let got = llama.engine().embed(&ids, Pooling::Mean).unwrap();
            assert_near(&got, &want, &path.display().to_string());
        }
    }
    // Such a model continues nothing.
    let (ids, _) = golden().remove(0);
    let error = folder.score_ids(&ids).unwrap_err().to_string();
    assert!(error.contains("attend to later ones"), "{error}");
}

#[test]
fn files_say_how_states_are_pooled() {
    let pooling = |changes: &[(&str, Option<&str>)]| {
        let dir = changed(changes);
        Llama::load(dir.path()).unwrap().pooling().map_err(|error| error.to_string())
    };
    let config = std::fs::read_to_string(fixture().join("config.json")).unwrap();
    let with = |more: &str| config.replacen('{', &format!("{{{more},"), 1);
    let (module, none) = ("1_Pooling/config.json", ("1_Pooling/config.json", None));
    assert_eq!(pooling(&[]), Ok(Pooling::Mean));
    assert_eq!(pooling(&[(module, Some(r#"{"pooling_mode_cls_token": true}"#))]), Ok(Pooling::First));
    assert_eq!(pooling(&[(module, Some(r#"{"pooling_mode": "lasttoken"}"#))]), Ok(Pooling::Last));
    // Without such a file: by config.json's word, else by what tokens see.
    assert_eq!(pooling(&[none]), Ok(Pooling::Mean));
    assert_eq!(pooling(&[none, ("config.json", Some(&with(r#""pooling": "cls""#)))]), Ok(Pooling::First));
    let causal = config.replace("\"is_causal\": false", "\"is_causal\": true");
    assert_ne!(causal, config);
    assert_eq!(pooling(&[none, ("config.json", Some(&causal))]), Ok(Pooling::Last));
    for (name, text, word) in [
        (module, r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#, "and"),
        (module, r#"{"pooling_mode": "weightedmean"}"#, "weightedmean"),
        ("modules.json", r#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#, "Dense"),
    ] {
        let error = pooling(&[(name, Some(text))]).unwrap_err();
        assert!(error.contains(word) && error.contains(name), "{error}");
    }
    // A path that leads elsewhere is not followed.
    let elsewhere = r#"[{"type": "sentence_transformers.models.Pooling", "path": "../elsewhere"}]"#;
    assert_eq!(pooling(&[("modules.json", Some(elsewhere))]), Ok(Pooling::Mean));
}

/// A model that continues texts makes vectors too, of its last token.
#[test]
fn any_llama_makes_vectors() {
    let llama = Llama::builtin().unwrap();
    assert_eq!(llama.pooling().unwrap(), Pooling::Last);
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let text = "The dog ran to the park.";
    let vector = llama.embed(text).unwrap();
    assert!((near(&vector, &vector) - 1.0).abs() < 1e-5);
    let long = EmbedOptions { normalize: false, ..EmbedOptions::default() };
    let long = llama.embed_with(text, &long).unwrap();
    let length = near(&long, &long).sqrt();
    assert!((length - 1.0).abs() > 0.01);
    assert_near(&long.iter().map(|x| x / length).collect::<Vec<_>>(), &vector, "divided by its length");
    let mean = EmbedOptions { pooling: Some(Pooling::Mean), ..EmbedOptions::default() };
    assert!(near(&llama.embed_with(text, &mean).unwrap(), &vector) < 0.999);
}

/// Instructions come from sentence-transformers' files: the default one where none is named. A mean may leave them out.
#[test]
fn instructions_stand_before_texts() {
    let dir = tempfile::tempdir().unwrap();
    let builtin = Llama::builtin().unwrap();
    builtin.engine().model().save_hf(dir.path(), DType::F32).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let vocab = train_bpe(["Once upon a time: The dog ran."], 280, &["<s>", "</s>"]).unwrap();
    write("tokenizer.json", &vocab.to_hf_json());
    let mean = EmbedOptions { pooling: Some(Pooling::Mean), ..EmbedOptions::default() };
    let named = |name: &str| EmbedOptions { prompt_name: Some(name.to_owned()), ..mean.clone() };
    let embed =
        |text: &str, options: &EmbedOptions| Llama::load(dir.path()).unwrap().embed_with(text, options);
    let plain = embed("The dog ran.", &mean).unwrap();
    let begun = embed("Once upon a time: The dog ran.", &mean).unwrap();
    assert_ne!(plain, begun);
    let error = embed("The dog ran.", &named("query")).unwrap_err().to_string();
    assert!(error.contains("`query`") && error.contains("none"), "{error}");

    let prompts = r#""prompts": {"query": "Once upon a time: ", "document": ""}"#;
    write("config_sentence_transformers.json", &format!("{{{prompts}, \"default_prompt_name\": null}}"));
    assert_eq!(embed("The dog ran.", &mean).unwrap(), plain);
    assert_eq!(embed("The dog ran.", &named("query")).unwrap(), begun);
    assert_eq!(embed("The dog ran.", &named("document")).unwrap(), plain);
    let error = embed("The dog ran.", &named("title")).unwrap_err().to_string();
    assert!(error.contains("`title`") && error.contains("`query`"), "{error}");
    write("config_sentence_transformers.json", &format!("{{{prompts}, \"default_prompt_name\": \"query\"}}"));
    assert_eq!(embed("The dog ran.", &mean).unwrap(), begun);

    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    write("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true, "include_prompt": false}"#);
    let without = embed("The dog ran.", &mean).unwrap();
    assert!(without != begun && without != plain);
    // The mean of the text's own tokens, which have seen the instruction.
    let llama = Llama::load(dir.path()).unwrap();
    let tokenizer = llama.tokenizer().unwrap();
    let ids = |text: &str| tokenizer.encode(text, tokenizer.default_options());
    let (all, own) = (ids("Once upon a time: The dog ran."), ids("Once upon a time: "));
    let pooled = llama.engine().pooled(&all, Pooling::Mean, own.len()).unwrap();
    let length = pooled.iter().map(|x| x * x).sum::<f64>().sqrt();
    let want: Vec<f32> = pooled.iter().map(|x| (x / length) as f32).collect();
    assert_near(&without, &want, "the text's own tokens");
    assert!(embed("", &mean).unwrap_err().to_string().contains("the text after the instruction"));
}
