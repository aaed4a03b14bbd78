//! Checkpoints that are sound as files but no models: each an error that names the file, the tensor or key,
//! and the fact.

use std::path::Path;

use puna_formats::{DType, TensorInfo, safetensors, write_file};
use puna_model::names::Naming;
use puna_model::{CachedSequence, Config, LoadOptions, Model, Sequences};
use puna_tensor::{Cpu, Graph, Isa, Workspace};
use serde_json::{Value, json};

fn config() -> Value {
    json!({"model_type": "llama", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
           "intermediate_size": 24, "vocab_size": 10, "max_position_embeddings": 32})
}

/// Writes a model of `config`'s shape with every value `0.1`, after `change` has seen each tensor's shape and
/// bytes; a tensor it returns `None` for is left out.
fn write(
    dir: &Path,
    config: &Value,
    change: impl Fn(&str, Vec<usize>, Vec<u8>) -> Option<(Vec<usize>, DType, Vec<u8>)>,
) {
    write_file(&dir.join("config.json"), config.to_string().as_bytes()).unwrap();
    let sizes = Config::from_hf(&self::config()).unwrap();
    let mut writer = safetensors::Writer::new(Default::default());
    let mut data = std::collections::BTreeMap::new();
    for part in sizes.parts() {
        let (name, [rows, cols]) = (part.name(Naming::HuggingFace), sizes.shape(part));
        let shape = if rows == 1 { vec![cols] } else { vec![rows, cols] };
        let bytes = 0.1f32.to_le_bytes().repeat(rows * cols);
        if let Some((shape, dtype, bytes)) = change(&name, shape, bytes) {
            writer.declare(TensorInfo::new(name.clone(), dtype, shape));
            data.insert(name, bytes);
        }
    }
    let mut stream = writer.begin(&dir.join("model.safetensors")).unwrap();
    while let Some(name) = stream.expected().map(|info| info.name.clone()) {
        stream.write(&name, &data[&name]).unwrap();
    }
    stream.finish().unwrap();
}

fn unchanged(_: &str, shape: Vec<usize>, bytes: Vec<u8>) -> Option<(Vec<usize>, DType, Vec<u8>)> {
    Some((shape, DType::F32, bytes))
}

#[track_caller]
fn assert_refused(dir: &Path, words: &[&str]) {
    let error = Model::load(dir, &LoadOptions::default()).map(|_| ()).unwrap_err().to_string();
    for word in words.iter().chain([&dir.to_str().unwrap()]) {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let wk = "model.layers.0.self_attn.k_proj.weight";
    write(dir.path(), &config(), unchanged);
    Model::load(dir.path(), &LoadOptions::default()).unwrap();

    write(
        dir.path(),
        &config(),
        |name, shape, bytes| if name == wk { None } else { unchanged(name, shape, bytes) },
    );
    assert_refused(dir.path(), &[wk, "missing"]);

    write(dir.path(), &config(), |name, shape, bytes| {
        if name == wk { Some((vec![4, 64], DType::F32, bytes)) } else { unchanged(name, shape, bytes) }
    });
    assert_refused(dir.path(), &[wk, "[16, 16]", "[4, 64]"]);

    write(dir.path(), &config(), |name, shape, bytes| {
        if name == wk { Some((shape, DType::I32, bytes)) } else { unchanged(name, shape, bytes) }
    });
    assert_refused(dir.path(), &[wk, "I32"]);

    write(dir.path(), &config(), |name, shape, mut bytes| {
        if name == "model.norm.weight" {
            bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        unchanged(name, shape, bytes)
    });
    assert_refused(dir.path(), &["model.norm.weight", "NaN"]);
}

/// What would be left out of the computation is refused.
#[test]
fn tensors_of_other_models_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (extra, word) in
        [("model.layers.0.self_attn.q_proj.bias", "bias"), ("model.layers.0.mlp.gate.weight", "not a part")]
    {
        write(dir.path(), &config(), unchanged);
        let file = safetensors::open(&dir.path().join("model.safetensors")).unwrap();
        let mut writer = safetensors::Writer::new(Default::default());
        file.tensors.iter().for_each(|tensor| writer.declare(tensor.info()));
        writer.declare(TensorInfo::new(extra, DType::F32, [1]));
        let mut stream = writer.begin(&dir.path().join("model.safetensors")).unwrap();
        while let Some(name) = stream.expected().map(|info| info.name.clone()) {
            let data = file.tensors.get(&name).map_or(vec![1; 4], |tensor| tensor.data.to_vec());
            stream.write(&name, &data).unwrap();
        }
        stream.finish().unwrap();
        assert_refused(dir.path(), &[extra, word]);
    }
}

/// Scaled contexts reach beyond what the model was first trained for.
#[test]
fn dynamic_scaling_takes_effect() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config();
    config["rope_scaling"] = json!({"type": "dynamic", "factor": 4.0});
    write(dir.path(), &config, unchanged);
    let model = Model::load(dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!(model.config.max_seq_len, 128);
    assert!(model.logits_of(&Cpu::new(Isa::best(), 1), &[1; 40]).is_ok());
}

#[test]
fn configurations_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (key, value, words) in [
        ("hidden_size", json!(0), &["dim"][..]),
        ("num_hidden_layers", json!(1u64 << 40), &["n_layers"]),
        ("num_key_value_heads", json!(0), &["n_kv_heads"]),
        ("vocab_size", json!(11), &["embed_tokens", "[11, 16]"]),
        ("num_hidden_layers", json!(2), &["model.layers.1", "missing"]),
        ("model_type", json!("gpt2"), &["gpt2"]),
        ("rms_norm_eps", json!(-1.0), &["norm_eps"]),
        ("rope_theta", json!(0), &["rope_theta"]),
    ] {
        let mut config = config();
        config[key] = value;
        write(dir.path(), &config, unchanged);
        assert_refused(dir.path(), words);
    }
}

#[test]
fn damaged_matrices_are_found_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let w2 = "model.layers.0.mlp.down_proj.weight";
    write(dir.path(), &config(), unchanged);
    let whole = Model::load(dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!(whole.weights.damaged(&whole.config), None);
    write(dir.path(), &config(), |name, shape, mut bytes| {
        if name == w2 {
            bytes[400..404].copy_from_slice(&f32::INFINITY.to_le_bytes());
        }
        unchanged(name, shape, bytes)
    });
    let model = Model::load(dir.path(), &LoadOptions::default()).unwrap();
    let found = model.weights.damaged(&model.config).unwrap();
    assert!(found.contains("layers.0.feed_forward.w2") && found.contains("row 4"), "{found}");
}

#[test]
fn requests_that_do_not_fit_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &config(), unchanged);
    let model = Model::load(dir.path(), &LoadOptions::default()).unwrap();
    let cpu = Cpu::new(Isa::best(), 1);
    let mut cache = model.new_cache(DType::F32);
    let mut run = |tokens: &[u32], n_tokens: usize, wanted: Option<&[usize]>| {
        let mut graph = Graph::inference(&cpu, &Workspace::default());
        let mut pieces = [CachedSequence { n_tokens, cache: &mut cache }];
        let result = model.forward(&mut graph, tokens, Sequences::Cached(&mut pieces), wanted, None);
        let held = cache.len();
        result.map(|_| held).map_err(|error| (error.to_string(), held))
    };
    assert_eq!(run(&[1, 2, 3], 3, None), Ok(3));
    for (tokens, n_tokens, wanted, words) in [
        (&[][..], 0, None, &["no tokens"][..]),
        (&[10], 1, None, &["10", "vocabulary"]),
        (&[1, 2], 1, None, &["2 tokens", "1"]),
        (&[1], 1, Some(&[1usize][..]), &["token 1"]),
        (&[1; 30], 30, None, &["33", "32"]),
    ] {
        let (error, held) = run(tokens, n_tokens, wanted).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert_eq!(held, 3);
    }
}

/// A count is checked before anything of its size is made, and a bias is no detail to leave out.
#[test]
fn gguf_files_that_do_not_fit_are_named() {
    use puna_formats::gguf::{Metadata, Value, Writer};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    for (n_layers, extra, words) in [
        (u32::MAX, None, &["block_count", "4294967295"][..]),
        (0, None, &["block_count is 0"]),
        (1, Some("blk.0.attn_norm.bias"), &["blk.0.attn_norm.bias", "bias"]),
    ] {
        let mut metadata = Metadata::new(&path);
        metadata.set("general.architecture", Value::String("llama".into()));
        for (key, n) in [
            ("block_count", n_layers),
            ("attention.head_count", 2),
            ("feed_forward_length", 24),
            ("embedding_length", 16),
            ("context_length", 32),
        ] {
            metadata.set(format!("llama.{key}"), Value::U32(n));
        }
        metadata.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        let names = ["token_embd.weight"].into_iter().chain(extra);
        let mut writer = Writer::new(metadata);
        names.clone().for_each(|name| writer.declare(TensorInfo::new(name, DType::F32, [10, 16])));
        let mut stream = writer.begin(&path).unwrap();
        names.for_each(|name| stream.write(name, &[1; 640]).unwrap());
        stream.finish().unwrap();
        let error = Model::load(&path, &LoadOptions::default()).map(|_| ()).unwrap_err().to_string();
        assert!(words.iter().chain(&["model.gguf"]).all(|word| error.contains(word)), "{error}");
    }
}
