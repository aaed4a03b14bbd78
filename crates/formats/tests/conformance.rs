//! Every checkpoint of the conformance folder is read, and forms of one model are compared byte for byte.

#[path = "common/fixtures.rs"]
mod fixtures;

use std::collections::BTreeSet;
use std::path::Path;

use puna_formats::{Checkpoint, DType, TensorMap, TensorView, gguf, open, safetensors};
use serde_json::Value;

use fixtures::{files_below, fixture_dir, read_manifest};

/// The name in Meta's convention for an HF tensor that both forms store alike. The rows of wq and wk are ordered
/// differently, so those have none.
fn meta_name(hf_name: &str) -> Option<String> {
    let fixed = match hf_name {
        "model.embed_tokens.weight" => Some("tok_embeddings.weight"),
        "model.norm.weight" => Some("norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(name) = fixed {
        return Some(name.into());
    }
    let (layer, part) = hf_name.strip_prefix("model.layers.")?.split_once('.')?;
    let part = match part {
        "input_layernorm.weight" => "attention_norm.weight",
        "post_attention_layernorm.weight" => "ffn_norm.weight",
        "self_attn.v_proj.weight" => "attention.wv.weight",
        "self_attn.o_proj.weight" => "attention.wo.weight",
        "mlp.gate_proj.weight" => "feed_forward.w1.weight",
        "mlp.up_proj.weight" => "feed_forward.w3.weight",
        "mlp.down_proj.weight" => "feed_forward.w2.weight",
        _ => return None,
    };
    Some(format!("layers.{layer}.{part}"))
}

fn assert_same(a: &TensorView, b: &TensorView) {
    assert_eq!((a.dtype, &a.shape), (b.dtype, &b.shape), "{} and {}", a.name, b.name);
    assert!(a.data[..] == b.data[..], "{} and {} differ", a.name, b.name);
}

fn assert_sound(tensors: &TensorMap, what: &Path) {
    assert!(!tensors.is_empty(), "{}", what.display());
    for tensor in tensors {
        assert_eq!(tensor.dtype.bytes_of(tensor.n_elements()), Some(tensor.data.len()), "{}", tensor.name);
    }
}

#[test]
fn conformance_every_gguf_is_read() {
    let Some(dir) = fixture_dir() else { return };
    let files = files_below(&dir, "gguf");
    for file in &files {
        let Checkpoint::Gguf(checkpoint) = open(file).unwrap() else { panic!("{} is GGUF", file.display()) };
        assert_sound(&checkpoint.tensors, file);
        let architecture = checkpoint.metadata.str("general.architecture").unwrap();
        let n_layers = checkpoint.metadata.u32(&format!("{architecture}.block_count")).unwrap();
        assert!(checkpoint.tensors.contains(&format!("blk.{}.attn_q.weight", n_layers - 1)));
    }
    println!("{} GGUF files", files.len());
}

#[test]
fn conformance_gguf_types_are_those_of_the_manifest() {
    let Some(dir) = fixture_dir() else { return };
    let manifest = read_manifest(&dir.join("gguf/manifest.json"));
    for (name, case) in manifest["quantised"].as_object().unwrap() {
        let file = dir.join(case["file"].as_str().unwrap());
        let checkpoint = gguf::open(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().len(), case["size"].as_u64().unwrap(), "{name}");
        for (type_name, count) in case["tensor_types"].as_object().unwrap() {
            let found = checkpoint.tensors.iter().filter(|tensor| tensor.dtype.name() == type_name).count();
            assert_eq!(found as u64, count.as_u64().unwrap(), "{name}: tensors of {type_name}");
        }
    }
}

#[test]
fn conformance_dequantised_values_name_a_tensor_of_each_file() {
    let Some(dir) = fixture_dir() else { return };
    let manifest = read_manifest(&dir.join("gguf/manifest.json"));
    let wanted = &manifest["dequant_tensor"];
    let values = safetensors::open(&dir.join(wanted["file"].as_str().unwrap())).unwrap().tensors;
    let name = wanted["tensor"].as_str().unwrap();
    for tensor in &values {
        let case = &manifest["quantised"][&tensor.name];
        let checkpoint = gguf::open(&dir.join(case["file"].as_str().unwrap())).unwrap();
        let stored = checkpoint.tensors.get(name).unwrap();
        assert_eq!((tensor.dtype, &tensor.shape), (DType::F32, &stored.shape), "{}", tensor.name);
        if stored.dtype == DType::F32 {
            assert_same(tensor, stored);
        }
    }
    assert!(!values.is_empty());
}

#[test]
fn conformance_gguf_conversions_hold_the_model_they_came_from() {
    let Some(dir) = fixture_dir() else { return };
    let manifest = read_manifest(&dir.join("gguf/manifest.json"));
    let mut compared = 0;
    for (name, case) in manifest["conversions"].as_object().unwrap() {
        let converted = gguf::open(&dir.join(case["file"].as_str().unwrap())).unwrap().tensors;
        let Checkpoint::HuggingFace(source) =
            open(&dir.join(case["source_model"].as_str().unwrap())).unwrap()
        else {
            panic!("the source of a conversion is a Hugging Face folder")
        };
        let (a, b) = (converted.get("token_embd.weight"), source.tensors.get("model.embed_tokens.weight"));
        let (Some(a), Some(b)) = (a, b) else {
            println!("{name}: skipped, its embedding has another name");
            continue;
        };
        assert_eq!(a.shape, b.shape, "{name}");
        compared += 1;
        match a.dtype == b.dtype {
            true => assert_same(a, b),
            false => println!("{name}: only shapes compared, {} became {}", b.dtype, a.dtype),
        }
    }
    assert!(compared > 0, "no conversion has a text model's embedding");
}

#[test]
fn conformance_every_safetensors_file_is_read() {
    let Some(dir) = fixture_dir() else { return };
    let files = files_below(&dir, "safetensors");
    for file in &files {
        assert_sound(&safetensors::open(file).unwrap().tensors, file);
    }
    println!("{} safetensors files", files.len());
}

#[test]
fn conformance_every_hugging_face_folder_opens() {
    let Some(dir) = fixture_dir() else { return };
    let mut n_folders = 0;
    for config in files_below(&dir, "json").iter().filter(|path| path.ends_with("config.json")) {
        let folder = config.parent().unwrap();
        let Checkpoint::HuggingFace(checkpoint) = open(folder).unwrap() else {
            panic!("{} is a Hugging Face folder", folder.display())
        };
        assert_sound(&checkpoint.tensors, folder);
        assert!(checkpoint.config["model_type"].is_string());
        let by_file = open(&checkpoint.files[0]).unwrap();
        let Checkpoint::HuggingFace(by_file) = by_file else { panic!("one file stands for its folder") };
        assert!(by_file.tensors.names().eq(checkpoint.tensors.names()));
        n_folders += 1;
    }
    assert!(n_folders > 0);
}

#[test]
fn conformance_sharded_folders_hold_what_their_index_lists() {
    let Some(dir) = fixture_dir() else { return };
    let indexes = files_below(&dir, "json");
    let mut n_sharded = 0;
    for path in indexes.iter().filter(|path| path.ends_with("model.safetensors.index.json")) {
        let index = read_manifest(path);
        let model = safetensors::open_folder(path.parent().unwrap()).unwrap();
        let listed: BTreeSet<&str> =
            index["weight_map"].as_object().unwrap().keys().map(String::as_str).collect();
        assert!(model.tensors.names().eq(listed));
        if let Some(total) = index["metadata"]["total_size"].as_u64() {
            assert_eq!(model.tensors.total_bytes(), total);
        }
        n_sharded += 1;
    }
    println!("{n_sharded} sharded folders");
}

#[test]
fn conformance_meta_folders_hold_the_tensors_of_their_hugging_face_form() {
    let Some(dir) = fixture_dir() else { return };
    let manifest = read_manifest(&dir.join("meta/manifest.json"));
    for (name, case) in manifest["models"].as_object().unwrap() {
        let Checkpoint::HuggingFace(hf) = open(&dir.join(case["hf_equivalent"].as_str().unwrap())).unwrap()
        else {
            panic!("{name}: the equivalent is a Hugging Face folder")
        };
        for folder in case["dirs"].as_array().unwrap().iter().map(|dir| dir.as_str().unwrap()) {
            let Checkpoint::Meta(meta) = open(&dir.join(folder)).unwrap() else {
                panic!("{folder} is Meta's form")
            };
            assert!(meta.params["dim"].is_u64(), "{folder}");
            assert!(meta.shards.iter().all(|shard| shard.names().eq(meta.shards[0].names())), "{folder}");
            compare_with_hf(&meta.shards, &hf.tensors, folder);
        }
    }
}

/// Compares a single file tensor by tensor; of several shards, the replicated vectors and the sizes together.
fn compare_with_hf(shards: &[TensorMap], hf: &TensorMap, folder: &str) {
    let mut compared = 0;
    for tensor in hf {
        let Some(name) = meta_name(&tensor.name) else { continue };
        for shard in shards {
            let stored = shard.get(&name).unwrap_or_else(|| panic!("{folder} has no {name}"));
            if shards.len() == 1 || tensor.shape.len() == 1 {
                assert_same(stored, tensor);
            } else {
                assert_eq!(stored.n_elements() * shards.len(), tensor.n_elements(), "{folder}: {name}");
            }
            compared += 1;
        }
    }
    assert!(compared > 0, "{folder}");
}

#[test]
fn conformance_rewritten_files_read_the_same() {
    let Some(dir) = fixture_dir() else { return };
    let out = tempfile::tempdir().unwrap();
    for file in files_below(&dir, "gguf") {
        let first = gguf::open(&file).unwrap();
        let copy = out.path().join("copy.gguf");
        gguf::Writer::write_all(first.metadata.clone(), &first.tensors, &copy).unwrap();
        let second = gguf::open(&copy).unwrap();
        assert!(first.metadata.iter().eq(second.metadata.iter()), "{}", file.display());
        assert_same_maps(&first.tensors, &second.tensors);
        assert_eq!(std::fs::metadata(&copy).unwrap().len(), std::fs::metadata(&file).unwrap().len());
    }
    for file in files_below(&dir, "safetensors") {
        let first = safetensors::open(&file).unwrap();
        let copy = out.path().join("copy.safetensors");
        safetensors::Writer::write_all(first.metadata.clone(), &first.tensors, &copy).unwrap();
        let second = safetensors::open(&copy).unwrap();
        assert_eq!(first.metadata, second.metadata);
        assert_same_maps(&first.tensors, &second.tensors);
    }
}

fn assert_same_maps(a: &TensorMap, b: &TensorMap) {
    assert!(a.names().eq(b.names()));
    a.iter().zip(b).for_each(|(a, b)| assert_same(a, b));
}

#[test]
fn conformance_models_list_agrees_with_the_folders() {
    let Some(dir) = fixture_dir() else { return };
    // The manifest lists every file; each model file among them must be recognised when it is given alone.
    let manifest = read_manifest(&dir.join("manifest.json"));
    let names: Vec<String> = match &manifest["files"] {
        Value::Object(files) => files.keys().cloned().collect(),
        Value::Array(files) => {
            files.iter().filter_map(|file| file["path"].as_str().map(String::from)).collect()
        }
        other => panic!("the list of files is {other}"),
    };
    let pths: Vec<&String> = names.iter().filter(|name| name.ends_with(".pth")).collect();
    for name in &pths {
        let Checkpoint::Meta(meta) = open(&dir.join(name)).unwrap() else { panic!("{name} is Meta's form") };
        assert!(meta.files.iter().any(|file| file.ends_with(Path::new(name).file_name().unwrap())));
    }
    assert!(!pths.is_empty());
}
