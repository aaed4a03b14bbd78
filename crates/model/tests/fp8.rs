//! FP8 checkpoints of every form, against the same model with the values that codes and scales stand for, in
//! f32.

use std::collections::BTreeMap;
use std::path::Path;

use puna_conformance::{fixtures, read_json};
use puna_formats::{DType, TensorInfo, safetensors, write_file};
use puna_model::names::{LayerPart, Naming, Part};
use puna_model::{Config, LoadOptions, Model, Sequences, Weights};
use puna_tensor::{Cpu, Gradients, Graph, Isa, RepackBudget, RunOptions, Weight, Workspace, quant};
use serde_json::{Value, json};

/// Name, type, shape and bytes of the tensors of a file.
type Tensors = BTreeMap<String, (DType, Vec<usize>, Vec<u8>)>;

fn write(dir: &Path, config: &Value, tensors: &Tensors) {
    write_file(&dir.join("config.json"), config.to_string().as_bytes()).unwrap();
    let mut writer = safetensors::Writer::new(Default::default());
    for (name, (dtype, shape, _)) in tensors {
        writer.declare(TensorInfo::new(name.clone(), *dtype, shape.clone()));
    }
    let mut stream = writer.begin(&dir.join("model.safetensors")).unwrap();
    while let Some(name) = stream.expected().map(|info| info.name.clone()) {
        stream.write(&name, &tensors[&name].2).unwrap();
    }
    stream.finish().unwrap();
}

fn encoded(dtype: DType, values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; dtype.bytes_of(values.len()).unwrap()];
    quant::encode(dtype, values, &mut bytes);
    bytes
}

fn decoded(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / dtype.block_bytes()];
    quant::decode(dtype, bytes, &mut values);
    values
}

/// How the layers of a checkpoint are converted.
struct Form {
    quantization: Value,
    /// How scales are stored, and in which shape; `None` for one of each row.
    scale_dtype: DType,
    scale_shape: Option<&'static [usize]>,
    /// Whether there are scales of activations.
    input_scales: bool,
    /// Whether a matrix is converted.
    converts: fn(Part) -> bool,
}

fn is_linear(part: Part) -> bool {
    use LayerPart::{AttentionNorm, FfnNorm, Router};
    matches!(part, Part::Layer(_, part) if !matches!(part, AttentionNorm | FfnNorm | Router))
}

/// The three forms, each with other layers and scales.
fn forms() -> [Form; 3] {
    let weights = json!({"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": true});
    [
        Form {
            quantization: json!({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0,
                                 "modules_to_not_convert": ["lm_head", "model.layers.0.self_attn.q_proj"]}),
            scale_dtype: DType::F32,
            scale_shape: None,
            input_scales: false,
            converts: |part| matches!(part, Part::Layer(_, LayerPart::W1 | LayerPart::W2 | LayerPart::W3)),
        },
        Form {
            quantization: json!({"quant_method": "compressed-tensors", "format": "float-quantized",
                                 "ignore": ["re:.*lm_head", "re:.*router"],
                                 "config_groups": {"group_0": {"weights": weights}}}),
            scale_dtype: DType::BF16,
            scale_shape: None,
            input_scales: false,
            // An expert that is left as it was is a tensor of its own too.
            converts: |part| is_linear(part) && !matches!(part, Part::Layer(1, LayerPart::ExpertW2(2))),
        },
        Form {
            quantization: json!({"quant_method": "fp8", "activation_scheme": "static"}),
            scale_dtype: DType::F32,
            scale_shape: Some(&[]),
            input_scales: true,
            converts: |part| is_linear(part) || part == Part::Output,
        },
    ]
}

/// What a matrix is called, experts apart.
fn name_of(config: &Config, part: Part) -> String {
    let name = config.stored(part, Naming::HuggingFace).name;
    let (e, last) = match part {
        Part::Layer(_, LayerPart::ExpertW1(e)) => (e, "gate_proj"),
        Part::Layer(_, LayerPart::ExpertW2(e)) => (e, "down_proj"),
        Part::Layer(_, LayerPart::ExpertW3(e)) => (e, "up_proj"),
        _ => return name,
    };
    format!("{}.{e}.{last}.weight", name.rsplit_once('.').unwrap().0)
}

/// A matrix as codes and scales, and the values that these stand for.
fn converted(values: &[f32], cols: usize, form: &Form) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
    let scale_len = if form.scale_shape.is_some() { values.len() } else { cols };
    let (mut codes, mut scales, mut stands_for) = (Vec::new(), Vec::new(), Vec::new());
    for values in values.chunks_exact(scale_len) {
        let largest = values.iter().fold(0f32, |max, x| max.max(x.abs()));
        let scale = decoded(form.scale_dtype, &encoded(form.scale_dtype, &[1.01 * largest / 448.0]))[0];
        let scaled: Vec<f32> = values.iter().map(|x| x / scale).collect();
        let row = encoded(DType::F8_E4M3, &scaled);
        stands_for.extend(decoded(DType::F8_E4M3, &row).into_iter().map(|x| x * scale));
        codes.extend(row);
        scales.push(scale);
    }
    (codes, scales, stands_for)
}

/// The tensors of a model's FP8 checkpoint, and the model that they stand for.
fn quantised(model: &Model, form: &Form) -> (Tensors, Model) {
    let mut tensors = Tensors::new();
    let mut all = model.weights.all().into_iter();
    let weights = Weights::bind(&model.config, |id, part, [rows, cols]| {
        let mut values = all.next().unwrap().to_f32();
        let name = name_of(&model.config, part);
        if (form.converts)(part) {
            let (codes, scales, stands_for) = converted(&values, cols, form);
            let base = name.strip_suffix(".weight").unwrap();
            let shape = form.scale_shape.map_or(vec![rows, 1], <[usize]>::to_vec);
            let scales = encoded(form.scale_dtype, &scales);
            tensors.insert(format!("{base}.weight_scale"), (form.scale_dtype, shape, scales));
            if form.input_scales {
                let scale = (DType::F32, vec![1], encoded(DType::F32, &[0.25]));
                tensors.insert(format!("{base}.input_scale"), scale);
            }
            tensors.insert(name, (DType::F8_E4M3, vec![rows, cols], codes));
            values = stands_for;
        } else {
            let shape = if rows == 1 { vec![cols] } else { vec![rows, cols] };
            tensors.insert(name, (DType::F32, shape, encoded(DType::F32, &values)));
        }
        Ok::<_, ()>(Weight::owned(id, rows, cols, values))
    });
    (tensors, Model::new(model.config.clone(), weights.unwrap()))
}

/// The largest difference over the largest value.
#[track_caller]
fn assert_near(got: &[f32], want: &[f32], rtol: f32, what: &str) -> f32 {
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(0f32, |max, x| max.max(x.abs()));
    let differences =
        got.iter().zip(want).map(|(got, want)| (got - want).abs() / size.max(f32::MIN_POSITIVE));
    let largest = differences.fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max });
    assert!(largest <= rtol, "{what}: differs by {largest}");
    largest
}

fn gradients(cpu: &Cpu, model: &Model, tokens: &[u32]) -> Vec<Vec<f32>> {
    let workspace = Workspace::default();
    let mut graph = Graph::training(cpu, &workspace);
    let whole = 0..tokens.len();
    let logits = model.forward(&mut graph, tokens, Sequences::Whole(&[whole]), None, None).unwrap();
    let targets: Vec<Option<u32>> = tokens.iter().map(|token| Some(token / 2)).collect();
    let (loss, _) = graph.cross_entropy(logits, &targets, 1.0 / tokens.len() as f32);
    let mut gradients = Gradients::new(model.weights.all().iter().map(|w| Some(w.len())));
    graph.backward(&loss, &mut gradients);
    model.weights.all().iter().map(|w| gradients.get(w.id()).unwrap().to_vec()).collect()
}

fn load(dir: &Path) -> Model {
    Model::load(dir, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Every matrix is in the type that it was written in, and holds exactly the values of `want`.
fn check_values(model: &Model, want: &Model, form: &Form) {
    let both = model.weights.all().into_iter().zip(want.weights.all());
    for (part, (got, want)) in model.config.parts().into_iter().zip(both) {
        assert!(got.to_f32() == want.values().unwrap(), "{part:?}");
        assert_eq!(got.dtype() == DType::F8_E4M3, (form.converts)(part), "{part:?}");
    }
    assert!(model.weights.all().iter().any(|w| w.dtype() == DType::F8_E4M3));
    assert!(model.weights.damaged(&model.config).is_none());
}

/// Logits of passes of several lengths and gradients are those of `want`, and a repacked model has the bits
/// of one that is not. The largest relative difference of both.
fn check_passes(model: &Model, repacked: &Model, want: &Model, isa: Isa, what: &str) -> [f32; 2] {
    let cpu = Cpu::new(isa, 2);
    let vocab_size = model.config.vocab_size as u32;
    let tokens: Vec<u32> = (0..40).map(|i| (i * 37 + i * i) % vocab_size).collect();
    let mut largest = [0f32; 2];
    for tokens in [&tokens[..1], &tokens[..7], &tokens] {
        let got = model.logits_of(&cpu, tokens).unwrap();
        largest[0] = largest[0].max(assert_near(&got, &want.logits_of(&cpu, tokens).unwrap(), 1e-5, what));
        assert!(repacked.logits_of(&cpu, tokens).unwrap() == got, "{what}, repacked");
    }
    for (got, want) in gradients(&cpu, model, &tokens).iter().zip(gradients(&cpu, want, &tokens)) {
        largest[1] = largest[1].max(assert_near(got, &want, 1e-4, what));
    }
    largest
}

#[test]
fn conformance_fp8_checkpoints() {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("golden/manifest.text.json") else { return };
    for (name, entry) in manifest.as_object().unwrap() {
        let source = fixtures.path(entry["model_dir"].as_str().unwrap());
        let (original, config) = (load(&source), read_json(&source.join("config.json")));
        for form in forms() {
            let what = format!("{name} {}", form.quantization["quant_method"]);
            let (tensors, want) = quantised(&original, &form);
            let (dir, mut config) = (tempfile::tempdir().unwrap(), config.clone());
            // As released: inside a model that sees images.
            let is_llama4 = original.config.is_llama4();
            let released = is_llama4 && form.scale_dtype == DType::BF16;
            let prefix = if released { "language_model." } else { "" };
            if released {
                config = json!({"model_type": "llama4", "text_config": config});
            }
            config["quantization_config"] = form.quantization.clone();
            let tensors = tensors.into_iter().map(|(name, tensor)| (prefix.to_owned() + &name, tensor));
            write(dir.path(), &config, &tensors.collect());
            let model = load(dir.path());
            check_values(&model, &want, &form);
            for isa in Isa::available() {
                let what = format!("{what} on {}", isa.name());
                let repacked = load(dir.path());
                let options = RunOptions { repack: RepackBudget::new(usize::MAX), ..RunOptions::default() };
                repacked.weights.repack(&Cpu::new(isa, 2), &options);
                let [logits, gradients] = check_passes(&model, &repacked, &want, isa, &what);
                println!("ok {what}: logits differ by {logits:e}, gradients by {gradients:e}");
            }
        }
    }
}

/// A copy in BF16 holds the values of codes and scales, rounded.
#[test]
fn fp8_is_saved_as_what_it_stands_for() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(dir.path(), &small_config("fp8"), &small());
    let model = load(dir.path());
    model.save_hf(copy.path(), DType::BF16).unwrap();
    for (got, want) in load(copy.path()).weights.all().into_iter().zip(model.weights.all()) {
        let rounded = decoded(DType::BF16, &encoded(DType::BF16, &want.to_f32()));
        assert!(got.to_f32() == rounded);
    }
}

fn small_config(method: &str) -> Value {
    json!({"model_type": "llama", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
           "intermediate_size": 24, "vocab_size": 10, "max_position_embeddings": 32,
           "quantization_config": {"quant_method": method}})
}

/// A small model whose matrices are all in FP8 with a scale for each row.
fn small() -> Tensors {
    let config = Config::from_hf(&small_config("fp8")).unwrap();
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        let values = (0..rows * cols).map(|i| ((i * 7919) % 251) as f32 / 251.0 - 0.4);
        Ok::<_, ()>(Weight::owned(id, rows, cols, values.collect()))
    });
    quantised(&Model::new(config, weights.unwrap()), &forms()[1]).0
}

const WK: &str = "model.layers.0.self_attn.k_proj.weight";
const WK_SCALE: &str = "model.layers.0.self_attn.k_proj.weight_scale";

#[test]
fn layers_that_do_not_fit_are_named() {
    let refused = |method: &str, change: fn(&mut Tensors), words: &[&str]| {
        let (dir, mut tensors) = (tempfile::tempdir().unwrap(), small());
        change(&mut tensors);
        write(dir.path(), &small_config(method), &tensors);
        let error = Model::load(dir.path(), &LoadOptions::default()).map(|_| ()).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
    };
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &small_config("fp8"), &small());
    load(dir.path());

    refused("fp8", |t| drop(t.remove(WK_SCALE)), &[WK, "F8_E4M3", WK_SCALE, "missing"]);
    refused("fp8", |t| t.get_mut(WK_SCALE).unwrap().1 = vec![4, 4], &[WK_SCALE, "each of 16 rows", "[4, 4]"]);
    refused("fp8", |t| t.get_mut(WK).unwrap().1 = vec![4, 64], &[WK, "[16, 16]", "[4, 64]"]);
    refused("fp8", |t| t.get_mut(WK_SCALE).unwrap().0 = DType::I16, &[WK_SCALE, "I16"]);
    let nan = |t: &mut Tensors| t.get_mut(WK_SCALE).unwrap().2[..2].copy_from_slice(&[0xc0, 0x7f]);
    refused("fp8", nan, &[WK_SCALE, "NaN", "damaged"]);
    let inf = |t: &mut Tensors| t.get_mut(WK_SCALE).unwrap().2[30..].copy_from_slice(&[0x80, 0x7f]);
    refused("fp8", inf, &[WK_SCALE, "inf", "damaged"]);
    refused("fbgemm_fp8", |t| t.get_mut(WK).unwrap().0 = DType::F8_E5M2, &[WK, "F8_E5M2", "F8_E4M3"]);
    refused("fp8", |t| t.get_mut(WK).unwrap().0 = DType::I8, &[WK_SCALE, "I8", "F8_E4M3"]);
    let norm = |t: &mut Tensors| {
        let (dtype, shape, bytes) = t.get_mut("model.norm.weight").unwrap();
        (*dtype, *bytes) = (DType::F8_E4M3, vec![0x38; shape[0]]);
    };
    refused("fp8", norm, &["model.norm.weight", "F8_E4M3", "linear layers"]);
    let blocks = |t: &mut Tensors| {
        let (dtype, _, bytes) = t.remove(WK_SCALE).unwrap();
        t.insert(format!("{WK_SCALE}_inv"), (dtype, vec![4, 4], bytes));
    };
    refused("fp8", blocks, &["k_proj.weight_scale_inv", "[4, 4]", "weight_block_size"]);
    refused("compressed-tensors", |_| (), &["config", "format is `missing`", "float-quantized"]);
    refused("quip", |_| (), &["quip", "compressed-tensors"]);
}

/// Codes that stand for no number show in the logits, and are found.
#[test]
fn nan_codes_are_not_hidden() {
    let (dir, mut tensors) = (tempfile::tempdir().unwrap(), small());
    tensors.get_mut(WK).unwrap().2[16 * 3 + 5] = 0xff;
    write(dir.path(), &small_config("fbgemm_fp8"), &tensors);
    let model = load(dir.path());
    for isa in Isa::available() {
        let logits = model.logits_of(&Cpu::new(isa, 1), &[1, 2]).unwrap();
        assert!(logits.iter().all(|x| x.is_nan()), "{}", isa.name());
    }
    assert!(model.weights.damaged(&model.config).unwrap().contains("NaN in row 3"));
}

/// Without a configuration that says what scales mean, FP8 is refused.
#[test]
fn fp8_without_a_configuration_is_refused() {
    let (dir, mut tensors) = (tempfile::tempdir().unwrap(), small());
    tensors.retain(|name, _| !name.ends_with("_scale"));
    let mut config = small_config("fp8");
    config["quantization_config"] = Value::Null;
    write(dir.path(), &config, &tensors);
    let error = Model::load(dir.path(), &LoadOptions::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("F8_E4M3") && error.contains("quantization_config"), "{error}");
}
