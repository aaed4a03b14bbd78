//! Llamas with the keys that Meta's releases do not use, beside what transformers computes with them
//! (`tests/make_variants.py`).

mod common;

use std::path::PathBuf;

use common::{Golden, assert_within, cpus, largest_difference, load};
use puna_formats::gguf::Metadata;
use puna_model::rope::RopeScaling;
use puna_model::{CachedSequence, Model, Sequences};
use puna_tensor::{DType, Graph, Workspace};

fn variants() -> Vec<PathBuf> {
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/variants");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 6);
    folders
}

/// The golden sequences: ids and logits.
fn sequences(folder: &std::path::Path) -> Vec<(Vec<u32>, Vec<f32>)> {
    let golden = Golden::open(&folder.join("logits.safetensors"));
    let one = |i: usize| (golden.ids(&format!("seq{i}.ids")), golden.f32s(&format!("seq{i}.logits")));
    (0..).take_while(|i| golden.has(&format!("seq{i}.ids"))).map(one).collect()
}

/// Weights are in F16, which is exact in f32: what differs is the order of sums, and the last bit of an angle.
const TOLERANCE: f64 = 2e-4;

#[test]
fn logits_are_those_of_transformers() {
    for folder in variants() {
        let model = load(&folder);
        let sequences = sequences(&folder);
        assert_eq!(sequences.len(), 2);
        for (ids, want) in sequences {
            for cpu in cpus() {
                let got = model.logits_of(&cpu, &ids).unwrap();
                assert_within(&got, &want, TOLERANCE, &format!("{} {}", folder.display(), cpu.isa.name()));
            }
        }
    }
}

#[test]
fn pieces_have_the_bits_of_the_whole() {
    for folder in variants() {
        let model = load(&folder);
        if model.config.rope_scaling.is_dynamic() {
            continue; // What is turned depends on how long the sequence is.
        }
        let cpu = cpus().last().unwrap();
        let (ids, _) = sequences(&folder).pop().unwrap();
        let whole = model.logits_of(&cpu, &ids).unwrap();
        let mut cache = model.new_cache(DType::F32);
        let mut pieces = Vec::new();
        for part in ids.chunks(7) {
            let mut graph = Graph::inference(&cpu, &Workspace::default());
            let mut cached = [CachedSequence { cache: &mut cache, n_tokens: part.len() }];
            let logits = model.forward(&mut graph, part, Sequences::Cached(&mut cached), None, None).unwrap();
            pieces.extend_from_slice(logits.values());
        }
        assert!(pieces == whole, "{}", folder.display());
    }
}

/// Every form that can say a variant says it; one that cannot names what it is.
#[test]
fn other_forms_compute_the_same() {
    for folder in variants() {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let model = load(&folder);
        let (ids, want) = sequences(&folder).pop().unwrap();
        let cpu = cpus().last().unwrap();
        let check = |read: &Model, form: &str| {
            let got = read.logits_of(&cpu, &ids).unwrap();
            assert_within(&got, &want, TOLERANCE, &format!("{name} as {form}"));
        };
        let dir = tempfile::tempdir().unwrap();
        model.save_hf(dir.path(), DType::F32).unwrap();
        let read = load(dir.path());
        assert_eq!(read.config, model.config, "{name}");
        check(&read, "a folder");

        let file = dir.path().join("model.gguf");
        match model.save_gguf(&file, Metadata::default(), DType::F32) {
            Ok(()) => check(&load(&file), "GGUF"),
            Err(error) => {
                let said = error.to_string();
                assert!(matches!(&*name, "dynamic" | "longrope" | "yarn-mscale"), "{name}: {said}");
                assert!(said.contains("cannot express"), "{name}: {said}");
            }
        }

        match model.save_meta(dir.path(), DType::F32) {
            Ok(()) => assert_eq!(name, "partial"), // An ordinary Llama: the key is not heeded.
            Err(error) => assert!(error.to_string().contains("params.json cannot"), "{name}: {error}"),
        }
    }
}

/// GGUF files may say that only the beginning of each head rotates.
#[test]
fn heads_that_rotate_in_part_survive_gguf() {
    for folder in variants() {
        let mut model = load(&folder);
        model.config.unrotated_dim = 4;
        model.config.rope_scaling = RopeScaling::None;
        let (ids, whole) = sequences(&folder).pop().unwrap();
        let cpu = cpus().last().unwrap();
        let want = model.logits_of(&cpu, &ids).unwrap();
        assert!(largest_difference(&want, &whole) > 0.1);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.gguf");
        model.save_gguf(&file, Metadata::default(), DType::F32).unwrap();
        let read = load(&file);
        assert_eq!(read.config.rotary_dim(), 4);
        assert_within(&read.logits_of(&cpu, &ids).unwrap(), &want, TOLERANCE, &folder.display().to_string());
        assert!(model.save_hf(dir.path(), DType::F32).unwrap_err().to_string().contains("does not rotate"));
    }
}
