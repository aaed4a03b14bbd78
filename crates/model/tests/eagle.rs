//! EAGLE-3 heads beside their formula (`tests/make_eagle.py`), and heads that are not for this model.

mod common;

use std::path::{Path, PathBuf};

use common::{Golden, argmax, assert_within, cpus, load};
use puna_formats::{Bytes, TensorView, safetensors};
use puna_model::{CachedSequence, Eagle, Model, Point, Sequences};
use puna_tensor::{Cpu, DType, Graph, Var, Workspace};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/eagle")).join(name)
}

fn head(name: &str, target: &Model) -> Eagle {
    Eagle::load(&fixture(name), target).unwrap_or_else(|error| panic!("{error}")).expect("it is a head")
}

/// As the models' own tests: weights are exact in f32.
const TOLERANCE: f64 = 2e-4;

/// The features of tokens, `[tokens, 3 dim]`, as the target's pass shows them.
fn features(cpu: &Cpu, target: &Model, head: &Eagle, tokens: &[u32]) -> Vec<f32> {
    let mut graph = Graph::inference(cpu, &Workspace::default());
    let mut seen = [None, None, None];
    let mut see = |point: Point, x: &Var| {
        for (_, seen) in head.points().iter().zip(&mut seen).filter(|(own, _)| **own == point) {
            *seen = Some(x.clone());
        }
    };
    let whole = 0..tokens.len();
    target
        .forward(
            &mut graph,
            tokens,
            Sequences::Whole(std::slice::from_ref(&whole)),
            Some(&[0]),
            Some(&mut see),
        )
        .unwrap();
    let seen: Vec<Var> = seen.into_iter().map(Option::unwrap).collect();
    let row = |i: usize| seen.iter().flat_map(move |x| &x.values()[i * x.cols()..(i + 1) * x.cols()]);
    (0..tokens.len()).flat_map(row).copied().collect()
}

/// Rows are read whole and in pieces, then a chain of guesses follows.
#[test]
fn logits_are_those_of_the_formula() {
    let target = load(&fixture("target"));
    for name in ["published", "speculators"] {
        let head = head(name, &target);
        let golden = Golden::open(&fixture(&format!("{name}.safetensors")));
        let ids = golden.ids("ids");
        let (n, n_draft) = (ids.len() - 1, golden.shape("logits")[1]);
        let cpus: Vec<Cpu> = cpus().collect();
        for (cpu, piece) in cpus.iter().flat_map(|cpu| [(cpu, n), (cpu, 7)]) {
            let what = format!("{name} {} in pieces of {piece}", cpu.isa.name());
            let features = features(cpu, &target, &head, &ids);
            let mut graph = Graph::inference(cpu, &Workspace::default());
            let mut cache = head.new_cache(DType::F32);
            let (mut logits, mut last) = (Vec::new(), None);
            for (features, tokens) in features[..n * head.n_features()]
                .chunks(piece * head.n_features())
                .zip(ids[1..].chunks(piece))
            {
                let features =
                    graph.constant(tokens.len(), head.n_features(), |out| out.copy_from_slice(features));
                let x = head.fuse(&mut graph, &features);
                let mut cached = [CachedSequence { n_tokens: tokens.len(), cache: &mut cache }];
                let all: Vec<usize> = (0..tokens.len()).collect();
                let x = head.forward(&mut graph, x, tokens, &mut cached, &all).unwrap();
                logits.extend_from_slice(head.logits(&mut graph, &x).values());
                last = Some(graph.take_rows(&x, &[tokens.len() - 1]));
            }
            assert_within(&logits, &golden.f32s("logits"), TOLERANCE, &what);
            let mut x = last.unwrap();
            let (want, mut guesses) = (golden.f32s("chain.logits"), Vec::new());
            for want in want.chunks(n_draft) {
                let logits = head.logits(&mut graph, &x);
                assert_within(logits.values(), want, TOLERANCE, &format!("{what}, chain"));
                let guess = head.target_id(argmax(logits.values()));
                guesses.push(guess);
                let mut cached = [CachedSequence { n_tokens: 1, cache: &mut cache }];
                x = head.forward(&mut graph, x, &[guess], &mut cached, &[0]).unwrap();
            }
            assert_eq!(guesses, golden.ids("chain.ids"), "{what}");
        }
    }
}

#[test]
fn other_folders_are_no_heads() {
    let target = load(&fixture("target"));
    assert!(Eagle::load(&fixture("target"), &target).unwrap().is_none());
    // A head is no model.
    let error = Model::load(&fixture("published"), &Default::default()).unwrap_err().to_string();
    assert!(error.contains("draft head") && error.contains("as its draft"), "{error}");
}

/// The published head with another configuration and other tensors.
fn changed(config: &[(&str, Value)], change: impl Fn(&mut Vec<TensorView>)) -> String {
    let target = load(&fixture("target"));
    let source = fixture("published");
    let mut own: Value =
        serde_json::from_str(&std::fs::read_to_string(source.join("config.json")).unwrap()).unwrap();
    for (key, value) in config {
        own[key] = value.clone();
    }
    let puna_formats::Checkpoint::HuggingFace(hf) = puna_formats::open(&source).unwrap() else { panic!() };
    let mut tensors: Vec<TensorView> =
        hf.tensors.names().filter_map(|name| hf.tensors.get(name).cloned()).collect();
    change(&mut tensors);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), own.to_string()).unwrap();
    let mut writer = safetensors::Writer::new(Default::default());
    tensors.iter().for_each(|tensor| writer.declare(tensor.info()));
    let mut stream = writer.begin(&dir.path().join("model.safetensors")).unwrap();
    while let Some(name) = stream.expected().map(|info| info.name.clone()) {
        let tensor = tensors.iter().find(|tensor| tensor.name == name).unwrap();
        stream.write(&name, &tensor.data).unwrap();
    }
    stream.finish().unwrap();
    Eagle::load(dir.path(), &target).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn what_does_not_fit_is_named() {
    let same = |_: &mut Vec<TensorView>| ();
    assert_eq!(changed(&[], same), "");
    let of = |name: &'static str, change: fn(&mut TensorView)| {
        move |tensors: &mut Vec<TensorView>| {
            tensors.iter_mut().filter(|tensor| tensor.name == name).for_each(change);
        }
    };
    for (config, words) in [
        (("vocab_size", json!(41)), ["vocabulary is 41", "is 40"]),
        (("target_hidden_size", json!(32)), ["width is 32", "is 16"]),
        (("hidden_size", json!(32)), ["width is 32", "has 16"]),
        (("num_hidden_layers", json!(2)), ["num_hidden_layers is 2", "one plain layer"]),
        (("draft_vocab_size", json!(23)), ["[23, 16]", "[24, 16]"]),
        (("draft_vocab_size", json!(41)), ["draft_vocab_size is 41", "1 to 40"]),
        (("eagle_aux_hidden_state_layer_ids", json!([1, 2, 7])), ["[1, 2, 7]", "three of the model's 7"]),
        (("eagle_aux_hidden_state_layer_ids", json!([1, 2])), ["[1, 2]", "three of the model's 7"]),
        (("eagle_config", json!({"use_aux_hidden_state": false})), ["eagle_config", "not supported"]),
        (("quantization_config", json!({"quant_method": "gptq", "bits": 4})), ["quantised", "original"]),
        (("model_type", json!("qwen3")), ["model_type is `qwen3`", "supported"]),
    ] {
        let said = changed(std::slice::from_ref(&config), same);
        assert!(words.iter().all(|word| said.contains(word)), "{config:?}: {said}");
    }
    for (said, words) in [
        (changed(&[], of("norm.weight", |t| t.name = "extra.weight".into())), ["extra.weight", "not a part"]),
        (changed(&[], |all| all.retain(|t| t.name != "d2t")), ["d2t", "missing"]),
        (changed(&[], |all| all.retain(|t| t.name != "norm.weight")), ["norm.weight", "missing"]),
        (
            changed(&[], of("d2t", |t| t.data = Bytes::new(vec![99u8; t.data.len()]))),
            ["d2t", "vocabulary of 40"],
        ),
        (
            changed(&[], of("d2t", |t| t.data = Bytes::new(39i64.to_le_bytes().repeat(24)))),
            ["adds 39 to token 1", "40"],
        ),
        (changed(&[], of("d2t", |t| t.dtype = DType::U64)), ["24 of I64", "U64"]),
        (changed(&[], of("fc.weight", |t| t.shape.reverse())), ["width is 5", "is 16"]),
    ] {
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    }
}
