//! Llamas with the keys that Meta's releases do not use, beside what transformers computes with them
//! (`tests/make_variants.py`).

mod common;

use std::ops::Range;
use std::path::{Path, PathBuf};

use common::{Golden, assert_within, cpus, largest_difference, load};
use puna_formats::gguf::{Array, Metadata, Value};
use puna_formats::{Bytes, TensorInfo, TensorView, gguf, safetensors};
use puna_model::rope::RopeScaling;
use puna_model::{
    CachedSequence, Config, Heads, LayerSizes, LoadOptions, Model, Sequences, Stage, Sublayer, Weights,
};
use puna_tensor::{Cpu, DType, Gradients, Graph, KvLayout, Weight, Workspace};

fn variants() -> Vec<PathBuf> {
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/variants");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 8);
    folders
}

/// The golden sequences: ids and logits.
fn sequences(folder: &Path) -> Vec<(Vec<u32>, Vec<f32>)> {
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
                let cannot = matches!(&*name, "dynamic" | "longrope" | "yarn-mscale" | "pruned");
                assert!(cannot, "{name}: {said}");
                assert!(said.contains("cannot express"), "{name}: {said}");
            }
        }

        match model.save_meta(dir.path(), DType::F32) {
            Ok(()) => assert_eq!(name, "partial"), // An ordinary Llama: the key is not heeded.
            Err(error) => assert!(error.to_string().contains("params.json cannot"), "{name}: {error}"),
        }
    }
}

/// The mean loss of a sequence, each token of which is to predict the next.
fn loss(model: &Model, ids: &[u32], gradients: Option<&mut Gradients>) -> f64 {
    let cpu = cpus().last().unwrap();
    let mut graph = match gradients {
        None => Graph::inference(&cpu, &Workspace::default()),
        Some(_) => Graph::training(&cpu, &Workspace::default()),
    };
    let whole = 0..ids.len();
    let logits = model.forward(&mut graph, ids, Sequences::Whole(&[whole]), None, None).unwrap();
    let targets: Vec<Option<u32>> = ids[1..].iter().copied().map(Some).chain([None]).collect();
    let scale = 1.0 / (ids.len() - 1) as f32;
    let (loss, losses) = graph.cross_entropy(logits, &targets, scale);
    if let Some(gradients) = gradients {
        graph.backward(&loss, gradients);
    }
    losses.iter().sum::<f64>() * f64::from(scale)
}

/// Each parameter is moved a little along its gradient: the loss grows as the gradient is long.
#[test]
fn gradients_are_those_of_differences() {
    for name in ["experts", "pruned"] {
        let folder = variants().into_iter().find(|folder| folder.ends_with(name)).unwrap();
        let mut model = load(&folder);
        model.weights.all_mut().into_iter().for_each(|w| w.make_trainable());
        let (ids, _) = sequences(&folder).pop().unwrap();
        let mut gradients = Gradients::new(model.weights.all().iter().map(|w| Some(w.len())));
        loss(&model, &ids, Some(&mut gradients));
        for (i, part) in model.config.parts().into_iter().enumerate() {
            let id = model.weights.all()[i].id();
            let gradient = gradients.get(id).unwrap();
            let length = gradient.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt();
            let at = |step: f64| {
                let mut moved = model.clone();
                let values = moved.weights.all_mut().swap_remove(i).values_mut().unwrap();
                values.iter_mut().zip(gradient).for_each(|(x, d)| *x += (step / length) as f32 * d);
                loss(&moved, &ids, None)
            };
            assert!(length > 1e-4, "{name}: {part:?} has no gradient");
            let difference = (at(2e-3) - at(-2e-3)) / 4e-3;
            assert!((difference / length - 1.0).abs() < 0.02, "{name}: {part:?} {difference} {length}");
        }
    }
}

/// Files with the same tensors under other names, in the folder `dir`.
fn renamed(model: &Path, dir: &Path, rename: impl Fn(&TensorView) -> Vec<TensorView>) -> PathBuf {
    if model.is_dir() {
        std::fs::copy(model.join("config.json"), dir.join("config.json")).unwrap();
        let file = safetensors::open(&model.join("model.safetensors")).unwrap();
        let tensors: Vec<TensorView> = file.tensors.iter().flat_map(rename).collect();
        let mut writer = safetensors::Writer::new(Default::default());
        for tensor in &tensors {
            writer.declare(TensorInfo::new(tensor.name.clone(), tensor.dtype, tensor.shape.clone()));
        }
        let mut stream = writer.begin(&dir.join("model.safetensors")).unwrap();
        while let Some(info) = stream.expected().cloned() {
            let tensor = tensors.iter().find(|tensor| tensor.name == info.name).unwrap();
            stream.write(&info.name, &tensor.data).unwrap();
        }
        stream.finish().unwrap();
        return dir.to_owned();
    }
    let file = gguf::open(model).unwrap();
    let mut writer = gguf::Writer::new(file.metadata.clone());
    let tensors: Vec<TensorView> = file.tensors.iter().flat_map(rename).collect();
    for tensor in &tensors {
        writer.declare(TensorInfo::new(tensor.name.clone(), tensor.dtype, tensor.shape.clone()));
    }
    let path = dir.join("renamed.gguf");
    let mut stream = writer.begin(&path).unwrap();
    tensors.iter().for_each(|tensor| stream.write(&tensor.name, &tensor.data).unwrap());
    stream.finish().unwrap();
    path
}

/// Old GGUF files have a tensor for each expert, and transformers 5 may have one for all, with gate and up in
/// one; all types of weights.
#[test]
fn experts_apart_and_together_are_the_same() {
    let folder = variants().into_iter().find(|folder| folder.ends_with("experts")).unwrap();
    let (model, cpu) = (load(&folder), cpus().last().unwrap());
    let (ids, want) = sequences(&folder).pop().unwrap();
    let same = |path: &Path| {
        let read = load(path);
        assert_eq!(read.config.experts, model.config.experts);
        read.logits_of(&cpu, &ids).unwrap()
    };
    for dtype in [DType::F32, DType::Q8_0] {
        let [dir, apart] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let merged = dir.path().join("model.gguf");
        model.save_gguf(&merged, Metadata::default(), dtype).unwrap();
        let old = renamed(&merged, apart.path(), |tensor| {
            let Some((layer, part)) =
                tensor.name.strip_suffix("_exps.weight").and_then(|n| n.rsplit_once('.'))
            else {
                return vec![tensor.clone()];
            };
            let n_bytes = tensor.data.len() / tensor.shape[0];
            let alone = |e: usize| TensorView {
                name: format!("{layer}.{part}.{e}.weight"),
                shape: tensor.shape[1..].to_vec(),
                data: tensor.data.slice(e * n_bytes..(e + 1) * n_bytes).unwrap(),
                ..tensor.clone()
            };
            (0..tensor.shape[0]).map(alone).collect()
        });
        let whole = same(&merged);
        assert!(same(&old) == whole, "{dtype}");
        if dtype == DType::F32 {
            assert_within(&whole, &want, TOLERANCE, "GGUF");
        }
    }

    let fused = tempfile::tempdir().unwrap();
    let all = safetensors::open(&folder.join("model.safetensors")).unwrap().tensors;
    let joined = |layer: &str, to: &str, from: &[&str]| {
        let parts = (0..5).flat_map(|e| from.iter().map(move |w| format!("experts.{e}.{w}.weight")));
        let parts: Vec<&TensorView> =
            parts.map(|end| all.get(&format!("{layer}.block_sparse_moe.{end}")).unwrap()).collect();
        TensorView {
            name: format!("{layer}.mlp.experts.{to}"),
            dtype: parts[0].dtype,
            shape: vec![5, from.len() * parts[0].shape[0], parts[0].shape[1]],
            data: Bytes::new(parts.iter().flat_map(|part| part.data.to_vec()).collect::<Vec<u8>>()),
        }
    };
    let path = renamed(&folder, fused.path(), |tensor| match tensor.name.split_once(".block_sparse_moe.") {
        None => vec![tensor.clone()],
        Some((layer, "gate.weight")) => {
            vec![TensorView { name: format!("{layer}.mlp.gate.weight"), ..tensor.clone() }]
        }
        Some((layer, "experts.0.w1.weight")) => {
            vec![joined(layer, "gate_up_proj", &["w1", "w3"]), joined(layer, "down_proj", &["w2"])]
        }
        Some(_) => Vec::new(),
    });
    assert_within(&same(&path), &want, TOLERANCE, "fused");
}

/// What is missing is named as the file would name it.
#[test]
fn experts_that_do_not_fit_are_named() {
    let folder = variants().into_iter().find(|folder| folder.ends_with("experts")).unwrap();
    let [dir, broken] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let merged = dir.path().join("model.gguf");
    load(&folder).save_gguf(&merged, Metadata::default(), DType::F32).unwrap();
    let refused = |path: &Path| match Model::load(path, &LoadOptions::default()) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    };
    let path = renamed(&merged, broken.path(), |tensor| match &*tensor.name {
        "blk.1.ffn_up_exps.weight" => Vec::new(),
        _ => vec![tensor.clone()],
    });
    let said = refused(&path);
    assert!(said.contains("blk.1.ffn_up_exps.weight") && said.contains("missing"), "{said}");
    let path = renamed(&folder, broken.path(), |tensor| {
        let is_last = tensor.name.ends_with("layers.1.block_sparse_moe.experts.4.w2.weight");
        if is_last { Vec::new() } else { vec![tensor.clone()] }
    });
    let said = refused(&path);
    assert!(said.contains("experts.4.w2.weight") && said.contains("missing"), "{said}");
}

/// Layers without attention have no keys, and others as many heads of them as they have.
#[test]
fn pruned_layers_keep_what_they_attend_to() {
    let folder = variants().into_iter().find(|folder| folder.ends_with("pruned")).unwrap();
    let model = load(&folder);
    let kv_heads = model.config.layer_sizes.iter().map(|sizes| match sizes.attention {
        Sublayer::Whole(heads) => heads.n_kv_heads,
        Sublayer::Linear | Sublayer::Absent => 0,
    });
    assert_eq!(kv_heads.collect::<Vec<_>>(), [2, 0, 1, 0, 4, 2, 0]);
    let (ids, want) = sequences(&folder).pop().unwrap();
    let cpu = cpus().last().unwrap();
    let files = tempfile::tempdir().unwrap();
    for (dtype, spilled) in [(DType::F32, false), (DType::F16, false), (DType::F32, true)] {
        let mut cache = model.new_cache(dtype);
        if spilled {
            cache = cache.spilled_to(&model.spill_file(dtype, files.path()).unwrap().unwrap());
        }
        let mut logits = Vec::new();
        for part in ids.chunks(11) {
            let mut graph = Graph::inference(&cpu, &Workspace::default());
            let mut cached = [CachedSequence { cache: &mut cache, n_tokens: part.len() }];
            let part = model.forward(&mut graph, part, Sequences::Cached(&mut cached), None, None).unwrap();
            logits.extend_from_slice(part.values());
        }
        let tolerance = if dtype == DType::F32 { TOLERANCE } else { 0.02 };
        assert_within(&logits, &want, tolerance, dtype.name());
        let of_head = KvLayout::new(dtype, 1, 4).block_bytes();
        assert_eq!(cache.bytes(), (2 + 1 + 4 + 2) * of_head);
    }
    // Layers one after the other, as on several machines.
    let mut graph = Graph::inference(&cpu, &Workspace::default());
    let (mut hidden, whole) = (None, 0..ids.len());
    for layers in [0..1, 1..2, 2..5, 5..7] {
        let stage = Stage { layers, hidden };
        let sequences = Sequences::Whole(std::slice::from_ref(&whole));
        hidden = Some(model.run_layers(&mut graph, stage, &ids, sequences, None, None).unwrap());
    }
    let hidden = graph.rms_norm(&hidden.unwrap(), &model.weights.norm, model.config.norm_eps);
    assert_within(model.logits(&mut graph, &hidden).values(), &want, TOLERANCE, "stages");
}

/// GGUF says pruned layers as architecture `deci`, unless a matrix stands in the place of a feed-forward block.
#[test]
fn pruned_layers_survive_gguf() {
    let folder = variants().into_iter().find(|folder| folder.ends_with("pruned")).unwrap();
    let whole = load(&folder);
    let mut config = whole.config.clone();
    config.layer_sizes[5].ffn_dim = Sublayer::Whole(256);
    let weights = Weights::bind(&config, |id, part, [rows, cols]| {
        let known = whole.config.parts().iter().position(|known| *known == part);
        let values = known.map(|i| whole.weights.all()[i].to_f32()).filter(|v| v.len() == rows * cols);
        let pseudo_random = |i: usize| ((i * 7919) % 1000) as f32 / 2000.0 - 0.25;
        let values = values.unwrap_or_else(|| (0..rows * cols).map(pseudo_random).collect());
        Ok::<_, ()>(Weight::owned(id, rows, cols, values))
    });
    let model = Model::new(config, weights.unwrap());
    let (ids, cpu) = (sequences(&folder).pop().unwrap().0, cpus().last().unwrap());
    let want = model.logits_of(&cpu, &ids).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.gguf");
    model.save_gguf(&file, Metadata::default(), DType::F32).unwrap();
    let metadata = gguf::open(&file).unwrap().metadata;
    assert_eq!(metadata.str("general.architecture").unwrap(), "deci");
    for (key, counts) in [
        ("attention.head_count", [4, 0, 4, 4, 4, 4, 0]),
        ("attention.head_count_kv", [2, 0, 1, 0, 4, 2, 0]),
        ("feed_forward_length", [256, 512, 0, 256, 0, 256, 0]),
    ] {
        assert_eq!(metadata.opt_u32_per_layer(&format!("deci.{key}"), 7).unwrap().unwrap(), counts, "{key}");
    }
    let read = load(&file);
    assert_eq!(read.config.layer_sizes, model.config.layer_sizes);
    assert_within(&read.logits_of(&cpu, &ids).unwrap(), &want, TOLERANCE, "GGUF");
}

/// A GGUF file whose architecture is called otherwise.
fn of_architecture(path: &Path, name: &str) -> Metadata {
    let old = gguf::open(path).unwrap().metadata;
    let before = old.str("general.architecture").unwrap().to_owned() + ".";
    let mut metadata = Metadata::new(path);
    for (key, value) in old.iter() {
        match key.strip_prefix(&before) {
            Some(rest) => metadata.set(format!("{name}.{rest}"), value.clone()),
            None => metadata.set(key, value.clone()),
        }
    }
    metadata.set("general.architecture", Value::String(name.into()));
    metadata
}

/// Layers that have all their parts, but not the same sizes, are known under architecture `llama` too; one that
/// lacks a part is not.
#[test]
fn sizes_may_differ_between_layers_of_gguf() {
    let heads = |n_heads, n_kv_heads| Sublayer::Whole(Heads { n_heads, n_kv_heads });
    let sizes = [(heads(4, 2), 24), (heads(2, 1), 40), (heads(3, 3), 16)];
    let sizes = sizes.map(|(attention, width)| LayerSizes { attention, ffn_dim: Sublayer::Whole(width) });
    let config = Config {
        dim: 24,
        n_layers: 3,
        n_heads: 4,
        n_kv_heads: 3,
        head_dim: 6,
        ffn_dim: 40,
        layer_sizes: sizes.to_vec(),
        vocab_size: 30,
        max_seq_len: 64,
        ..Config::default()
    };
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        let value = |i: usize| ((i * 7919 + id.0 * 31) % 1009) as f32 / 2018.0 - 0.25;
        Ok::<_, ()>(Weight::owned(id, rows, cols, (0..rows * cols).map(value).collect()))
    });
    let model = Model::new(config, weights.unwrap());
    let (ids, cpu): (Vec<u32>, _) = ((0..20).collect(), cpus().last().unwrap());
    let want = model.logits_of(&cpu, &ids).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [file, renamed] = ["deci.gguf", "llama.gguf"].map(|name| dir.path().join(name));
    model.save_gguf(&file, Metadata::default(), DType::F32).unwrap();
    let write = |metadata: Metadata| {
        gguf::Writer::write_all(metadata, &gguf::open(&file).unwrap().tensors, &renamed).unwrap();
        Model::load(&renamed, &LoadOptions::default())
    };
    let mut metadata = of_architecture(&file, "llama");
    let read = write(metadata.clone()).unwrap();
    assert_eq!(read.config.layer_sizes, model.config.layer_sizes);
    assert!(read.logits_of(&cpu, &ids).unwrap() == want);
    let mut cache = read.new_cache(DType::F32);
    let mut cached = [CachedSequence { cache: &mut cache, n_tokens: ids.len() }];
    let mut graph = Graph::inference(&cpu, &Workspace::default());
    let logits = read.forward(&mut graph, &ids, Sequences::Cached(&mut cached), None, None).unwrap();
    assert!(logits.values() == want);
    // config.json knows one number of query heads, and widths of 256.
    assert!(
        model.save_hf(dir.path(), DType::F32).unwrap_err().to_string().contains("config.json cannot say")
    );
    for (key, counts, word) in [
        ("attention.head_count_kv", [2, 0, 3], "head_count_kv is 0"),
        ("attention.head_count", [4, 2, 4], "4 query heads cannot share 3"),
        ("feed_forward_length", [24, 40, 0], "feed_forward_length is 0"),
        ("feed_forward_length", [24, 40, 1 << 30], "ffn_dim"),
    ] {
        let old = metadata.get(&format!("llama.{key}")).unwrap().clone();
        metadata.set(format!("llama.{key}"), Value::Array(Array::U32(counts.to_vec())));
        let error = write(metadata.clone()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(word), "{key}: {error}");
        metadata.set(format!("llama.{key}"), old);
    }
}

/// A model whose tokens see later ones computes whole texts alone, and its names lack `model.`.
#[test]
fn hidden_states_of_whole_texts_are_those_of_transformers() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/embedding"));
    let (mut model, golden) = (load(folder), Golden::open(&folder.join("golden.safetensors")));
    let hidden = |model: &Model, cpu: &Cpu, sequences: &[Range<usize>], ids: &[u32]| {
        let mut graph = Graph::inference(cpu, &Workspace::default());
        let hidden = model.hidden(&mut graph, ids, Sequences::Whole(sequences), None, None).unwrap();
        hidden.values().to_vec()
    };
    let ids = [0, 1].map(|i| golden.ids(&format!("seq{i}.ids")));
    let want = [0, 1].map(|i| golden.f32s(&format!("seq{i}.hidden")));
    for cpu in cpus() {
        // Both in one pass: they do not see each other.
        let (first, all) = (ids[0].len(), ids.concat());
        let got = hidden(&model, &cpu, &[0..first, first..all.len()], &all);
        assert_within(&got, &want.concat(), TOLERANCE, cpu.isa.name());
    }
    let (cpu, n_tokens) = (cpus().last().unwrap(), ids[0].len());
    let mut cache = model.new_cache(DType::F32);
    let mut cached = [CachedSequence { cache: &mut cache, n_tokens }];
    let mut graph = Graph::inference(&cpu, &Workspace::default());
    let error = model.hidden(&mut graph, &ids[0], Sequences::Cached(&mut cached), None, None).map(|_| ());
    assert!(error.unwrap_err().to_string().contains("attend to later ones"));
    drop(graph);
    let dir = tempfile::tempdir().unwrap();
    assert!(model.save_meta(dir.path(), DType::F32).unwrap_err().to_string().contains("later"));
    // llama.cpp has an architecture of its own for such models, which need not say it.
    let file = dir.path().join("model.gguf");
    model.save_gguf(&file, Metadata::default(), DType::F32).unwrap();
    let metadata = of_architecture(&file, "llama-embed");
    let mut silent = Metadata::new(&file);
    let said = metadata.iter().filter(|(key, _)| !key.ends_with("attention.causal"));
    said.for_each(|(key, value)| silent.set(key, value.clone()));
    assert_eq!(silent.len() + 1, metadata.len());
    let renamed = dir.path().join("embed.gguf");
    gguf::Writer::write_all(silent, &gguf::open(&file).unwrap().tensors, &renamed).unwrap();
    for path in [file, renamed] {
        let got = hidden(&load(&path), &cpu, std::slice::from_ref(&(0..n_tokens)), &ids[0]);
        assert_within(&got, &want[0], TOLERANCE, &path.display().to_string());
    }
    // What it would be otherwise: the last token alone sees the same.
    model.config.causal = true;
    let causal = hidden(&model, &cpu, std::slice::from_ref(&(0..n_tokens)), &ids[0]);
    assert!(largest_difference(&causal, &want[0]) > 0.1);
}

/// GGUF files may say that only the beginning of each head rotates.
#[test]
fn heads_that_rotate_in_part_survive_gguf() {
    for folder in variants().into_iter().filter(|folder| !folder.ends_with("pruned")) {
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
