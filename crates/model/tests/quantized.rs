//! Layers in every form in which quantised checkpoints of Hugging Face's form store them, against the values that
//! `tests/make_quantized.py` says they stand for, and logits of its forward pass.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Golden, assert_within, cpus, rounded_logits};
use puna_conformance::read_json;
use puna_formats::{TensorInfo, TensorView, pth, safetensors, write_file};
use puna_model::names::Naming;
use puna_model::{LoadOptions, Model};
use puna_tensor::{Bytes, DType};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tensors by name.
type Tensors = BTreeMap<String, TensorView>;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/quantized")
}

fn tensors(file: &str) -> Tensors {
    let file = safetensors::open(&fixtures().join(file)).unwrap();
    file.tensors.names().map(|name| (name.to_owned(), file.tensors.get(name).unwrap().clone())).collect()
}

/// A folder of the model with the tensors of a form in place of the plain ones.
struct Folder {
    dir: TempDir,
    form: String,
}

impl Folder {
    fn new(form: &str) -> Folder {
        Folder::changed(form, |_, _| ())
    }

    /// The same with other tensors or another configuration.
    fn changed(form: &str, change: impl FnOnce(&mut Tensors, &mut Value)) -> Folder {
        let manifest = read_json(&fixtures().join("manifest.json"));
        let (mut all, own) = (tensors("base.safetensors"), tensors(&format!("{form}.safetensors")));
        if let Value::Object(params) = &manifest["forms"][form]["params"] {
            let dir = meta_folder(&all, &own, &manifest["config"], params, change);
            return Folder { dir, form: form.to_owned() };
        }
        for name in own.keys().filter_map(|name| name.strip_prefix("expected.")) {
            all.remove(name);
        }
        all.extend(own.into_iter().filter(|(name, _)| !name.starts_with("expected.") && name != "logits"));
        let mut config = manifest["config"].clone();
        let about = &manifest["forms"][form];
        for (key, value) in about["config"].as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        change(&mut all, &mut config);
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (name, value) in about["beside"].as_object().into_iter().flatten() {
            write_file(&path(name), value.to_string().as_bytes()).unwrap();
        }
        write(dir.path(), &all, &config);
        Folder { dir, form: form.to_owned() }
    }

    fn load(&self) -> Result<Model, String> {
        Model::load(self.dir.path(), &LoadOptions::default()).map_err(|error| error.to_string())
    }

    fn model(&self) -> Model {
        self.load().unwrap_or_else(|error| panic!("{}: {error}", self.form))
    }

    #[track_caller]
    fn refused(&self, words: &[&str]) {
        let error = self.load().err().unwrap_or_else(|| panic!("{} should be refused", self.form));
        assert!(words.iter().all(|word| error.contains(word)), "{}: {words:?}: {error}", self.form);
    }
}

fn write(dir: &Path, all: &Tensors, config: &Value) {
    write_file(&dir.join("config.json"), config.to_string().as_bytes()).unwrap();
    let mut writer = safetensors::Writer::new(Default::default());
    for (name, tensor) in all {
        writer.declare(TensorInfo::new(name.clone(), tensor.dtype, tensor.shape.clone()));
    }
    let mut stream = writer.begin(&dir.join("model.safetensors")).unwrap();
    while let Some(name) = stream.expected().map(|info| info.name.clone()) {
        stream.write(&name, &all[&name].data).unwrap();
    }
    stream.finish().unwrap();
}

/// The model in Meta's form, with the tensors of a form in place of the plain ones.
fn meta_folder(
    base: &Tensors,
    own: &Tensors,
    config: &Value,
    params: &serde_json::Map<String, Value>,
    change: impl FnOnce(&mut Tensors, &mut Value),
) -> TempDir {
    let (hf, meta) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(hf.path(), base, config);
    let plain = Model::load(hf.path(), &LoadOptions::default()).unwrap();
    plain.save_meta(meta.path(), DType::F16).unwrap();
    let shard = meta.path().join("consolidated.00.pth");
    let map = pth::open(&shard).unwrap();
    let mut all: Tensors =
        map.names().map(|name| (name.to_owned(), map.get(name).unwrap().clone())).collect();
    all.extend(
        own.iter()
            .filter(|(name, _)| !name.starts_with("expected.") && *name != "logits")
            .map(|(name, tensor)| (name.clone(), tensor.clone())),
    );
    let mut about = read_json(&meta.path().join("params.json"));
    params.iter().for_each(|(key, value)| about[key] = value.clone());
    change(&mut all, &mut about);
    write_file(&meta.path().join("params.json"), about.to_string().as_bytes()).unwrap();
    let infos =
        all.iter().map(|(name, tensor)| TensorInfo::new(name.clone(), tensor.dtype, tensor.shape.clone()));
    let mut writer = pth::PthWriter::begin(&shard, infos.collect()).unwrap();
    while let Some(name) = writer.expected().map(|info| info.name.clone()) {
        writer.write(&all[&name].data).unwrap();
    }
    writer.finish().unwrap();
    meta
}

/// The type that each form is computed in: of the bits that are stored, not of floats.
fn stored_as(form: &str) -> DType {
    match form {
        "gptq-2bit" | "gptq-3bit" | "gptq-2bit-sym-v2" | "gptq-3bit-sym-v2" => DType::Q3_Z,
        "gptq-4bit" | "gptq-2023" | "auto-round" | "awq-gemm" | "awq-gemv" | "ct-pack-4bit-group-asym" => {
            DType::Q4_Z
        }
        "gptq-8bit" | "ct-pack-8bit-group-asym" | "ct-int8-group-asym" | "hqq-8bit" => DType::Q8_Z,
        "gptq-4bit-sym-v2"
        | "auto-round-sym"
        | "ct-pack-4bit-group"
        | "ct-pack-4bit-channel"
        | "ct-pack-4bit-actorder" => DType::Q4_0,
        "gptq-8bit-sym-v2" | "bnb-int8" | "ct-pack-8bit-group" | "ct-int8-channel" => DType::Q8_0,
        "awq-gemv-fast" | "mlx-4bit" | "mlx-embedding" => DType::Q4_1,
        "bnb-nf4" | "bnb-nf4-nested" => DType::NF4,
        "bnb-fp4" | "bnb-fp4-nested" => DType::FP4,
        "ct-pack-4bit-float-scales" => DType::Q4_F,
        "ct-mxfp4" | "mlx-mxfp4" | "quark-mxfp4" => DType::MXFP4,
        "ct-nvfp4" | "modelopt-nvfp4" => DType::NVFP4,
        "fp8-blocks" | "ct-fp8-block" | "mlx-mxfp8" | "ct-mxfp8" => DType::F8_B,
        "modelopt-fp8" | "quark-fp8" => DType::F8_E4M3,
        "mlx-2bit" | "mlx-3bit" => DType::Q3_M,
        "mlx-5bit" => DType::Q5_1,
        "mlx-6bit" => DType::Q6_M,
        "mlx-8bit" => DType::Q8_M,
        "hqq-4bit" => DType::Q4_Z,
        form if form.starts_with("hqq") || form.starts_with("ct-pack-3bit") => DType::Q3_Z,
        other => panic!("{other} is not in the list"),
    }
}

#[test]
fn every_form_stands_for_its_values() {
    let manifest = read_json(&fixtures().join("manifest.json"));
    let ids: Vec<u32> =
        manifest["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    for form in manifest["forms"].as_object().unwrap().keys() {
        let golden = Golden::open(&fixtures().join(format!("{form}.safetensors")));
        let model = Folder::new(form).model();
        let mut n_compared = 0;
        for (part, weight) in model.config.parts().into_iter().zip(model.weights.all()) {
            let name = format!("expected.{}", part.name(Naming::HuggingFace));
            if golden.has(&name) {
                let (got, want) = (weight.to_f32(), golden.f32s(&name));
                match form.as_str() {
                    // Sums of several numbers round.
                    "meta-spinquant" | "meta-qlora" => {
                        assert_within(&got, &want, 1e-6, &format!("{form}: {name}"))
                    }
                    // Zeros that are no whole numbers round once more in codes of eight bits.
                    "hqq-8bit" => assert_within(&got, &want, 1e-6, &format!("{form}: {name}")),
                    _ => assert!(got == want, "{form}: {name}"),
                }
                if !form.starts_with("meta") {
                    assert_eq!(weight.dtype(), stored_as(form), "{form}");
                }
                n_compared += 1;
            }
        }
        assert!(n_compared > 0, "{form}");
        let want = golden.f32s("logits");
        let largest = want.iter().fold(0f32, |max, x| max.max(x.abs())) as f64;
        for cpu in cpus() {
            let on = format!("{form} on {}", cpu.isa.name());
            assert_within(&model.logits_of(&cpu, &ids).unwrap(), &want, 2e-5 * largest, &on);
            assert_within(&rounded_logits(&cpu, &model, &ids), &want, 0.05 * largest, &on);
        }
    }
}

/// A tensor of the gate.
fn gate(last: &str) -> String {
    format!("model.layers.0.mlp.gate_proj.{last}")
}

/// The gate's tensor with other bytes, type or shape.
fn put(all: &mut Tensors, last: &str, dtype: DType, shape: &[usize], bytes: Vec<u8>) {
    assert_eq!(dtype.bytes_of(shape.iter().product()), Some(bytes.len()));
    let (name, shape) = (gate(last), shape.to_vec());
    all.insert(name.clone(), TensorView { name, dtype, shape, data: Bytes::new(bytes) });
}

/// Zeros of a type and shape.
fn put_zeros(all: &mut Tensors, last: &str, dtype: DType, shape: &[usize]) {
    let len = dtype.bytes_of(shape.iter().product()).unwrap();
    put(all, last, dtype, shape, vec![0; len]);
}

/// Each tensor of a layer, missing, of another type, or of another shape, is named in the message; nothing is
/// computed from it.
#[test]
fn parts_that_do_not_fit_are_named() {
    use DType::*;
    let wrong: &[(&str, &str, DType, &[usize], &str)] = &[
        ("gptq-4bit", "qweight", F32, &[8, 32], "matrix of I32"),
        ("gptq-4bit", "qweight", I32, &[8, 31], "does not hold 32 x 64"),
        ("gptq-4bit", "qweight", I32, &[10, 32], "2, 3, 4 and 8"),
        ("gptq-4bit", "qzeros", I32, &[2, 5], "32 outputs of 4 bits"),
        ("gptq-4bit", "qzeros", I32, &[0, 4], "32 outputs of 4 bits"),
        ("gptq-4bit", "scales", F16, &[3, 32], "expected shape [2, 32]"),
        ("gptq-4bit", "scales", I32, &[2, 32], "expected floats"),
        ("gptq-4bit", "g_idx", I32, &[63], "expected 64 of I32"),
        ("gptq-4bit", "g_idx", F32, &[64], "expected 64 of I32"),
        ("awq-gemm", "qweight", I32, &[64, 5], "AWQ's order"),
        ("awq-gemm", "qzeros", I32, &[2, 5], "32 outputs"),
        ("awq-gemv", "qweight", I32, &[32, 9], "AWQ's order"),
        ("awq-gemv", "qzeros", I32, &[32, 0], "do not fit"),
        ("awq-gemv", "scales", F16, &[32, 31], "do not fit"),
        ("awq-gemv-fast", "qweight", I16, &[8, 63], "AWQ's order"),
        ("awq-gemv-fast", "scales", F16, &[0, 32], "does not fit"),
        ("awq-gemv-fast", "qzeros", F16, &[8, 31], "does not fit"),
        ("bnb-nf4", "weight", U8, &[1023, 1], "1023 bytes"),
        ("bnb-nf4", "weight.absmax", F32, &[31], "expected 32"),
        ("bnb-nf4", "weight.quant_map", F32, &[16], "not those of NF4"),
        ("bnb-nf4", "weight.quant_state.bitsandbytes__nf4", U8, &[9], "not JSON"),
        ("bnb-nf4", "weight.quant_state.bitsandbytes__nf4", U8, &[70_000], "too many"),
        ("bnb-nf4-nested", "weight.nested_absmax", F32, &[1], "do not fit"),
        ("bnb-nf4-nested", "weight.nested_quant_map", F32, &[255], "do not fit"),
        ("bnb-int8", "weight", I8, &[32, 63], "expected shape [32, 64]"),
        ("bnb-int8", "SCB", F32, &[31], "expected 32 scales"),
        ("ct-pack-4bit-group", "weight_packed", I32, &[32, 9], "codes of [4] bits"),
        ("ct-pack-4bit-group", "weight_packed", I32, &[31, 8], "codes of [4] bits"),
        ("ct-pack-4bit-group", "weight_scale", F16, &[31, 2], "does not fit 32 rows"),
        ("ct-pack-4bit-group", "weight_scale", F16, &[32, 5], "not whole numbers of 32"),
        ("ct-pack-4bit-group", "weight_scale", F16, &[32, 0], "does not fit 32 rows"),
        ("ct-pack-4bit-group-asym", "weight_zero_point", I32, &[5, 2], "32 rows of 4 bits"),
        ("ct-pack-4bit-group-asym", "weight_zero_point", I32, &[4, 3], "are not those"),
        ("ct-int8-channel", "weight", I8, &[31, 64], "expected shape [32, 64]"),
        ("ct-int8-group-asym", "weight_zero_point", F32, &[32, 2], "expected I8"),
        ("ct-mxfp4", "weight_scale", U8, &[32, 1], "expected [32, 2] of U8"),
        ("ct-nvfp4", "weight_scale", F8_E4M3, &[32, 2], "expected [32, 4] of F8_E4M3"),
        ("ct-nvfp4", "weight_scale", U8, &[32, 4], "of U8"),
        ("ct-nvfp4", "weight_global_scale", F32, &[2], "expected one number"),
        ("modelopt-nvfp4", "weight_scale_2", F32, &[0], "expected one number"),
        ("modelopt-nvfp4", "weight", U8, &[32, 31], "in blocks of 64"),
        ("fp8-blocks", "weight_scale_inv", F32, &[2, 2], "expected [3, 2] scales"),
        ("fp8-blocks", "weight", F8_E4M3, &[31, 64], "expected shape [32, 64]"),
        ("mlx-4bit", "weight", U32, &[32, 7], "do not hold"),
        ("mlx-4bit", "weight", I32, &[32, 8], "matrix of U32"),
        ("mlx-4bit", "scales", F16, &[31, 2], "does not fit 32 rows"),
        ("mlx-4bit", "biases", F16, &[32, 1], "not that of the scales"),
        ("hqq-4bit", "W_q", U8, &[31, 32], "do not hold 32 x 64"),
        ("hqq-4bit", "zero", F16, &[63, 1], "do not fit 32 x 64"),
    ];
    for &(form, last, dtype, shape, fact) in wrong {
        let folder = Folder::changed(form, |all, _| put_zeros(all, last, dtype, shape));
        folder.refused(&[&gate(""), fact]);
    }
    for form in ["gptq-4bit", "awq-gemm", "bnb-nf4", "bnb-nf4-nested", "ct-pack-4bit-group", "hqq-4bit"] {
        let optional = [
            "g_idx",
            "weight_shape",
            "quant_map",
            "axis",
            "size",
            "offload",
            "quant_",
            "packing",
            "view_",
            "shape",
        ];
        let own = tensors(&format!("{form}.safetensors"));
        for name in own.keys().filter(|name| name.starts_with(&gate(""))) {
            if !optional.iter().any(|part| name.contains(part)) || name.contains("nested_quant_map") {
                Folder::changed(form, |all, _| drop(all.remove(name))).refused(&[]);
            }
        }
    }
}

/// Numbers that a sound file does not hold.
#[test]
fn values_that_cannot_be_are_named() {
    let f32s = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let i32s = |values: &[i32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let infinite = |form: &str, last: &str, shape: &[usize]| {
        let bytes = f32s(&vec![f32::INFINITY; shape.iter().product()]);
        Folder::changed(form, |all, _| put(all, last, DType::F32, shape, bytes))
            .refused(&[&gate(last), "damaged"]);
    };
    infinite("gptq-4bit", "scales", &[2, 32]);
    infinite("bnb-nf4", "weight.absmax", &[32]);
    infinite("bnb-nf4-nested", "weight.nested_absmax", &[2]);
    infinite("bnb-int8", "SCB", &[32]);
    infinite("ct-int8-channel", "weight_scale", &[32, 1]);
    infinite("fp8-blocks", "weight_scale_inv", &[3, 2]);
    infinite("modelopt-fp8", "weight_scale", &[]);
    infinite("mlx-8bit", "biases", &[32, 2]);
    infinite("hqq-8bit", "zero", &[64, 1]);

    let index = |form: &str, last: &str, groups: [i32; 64], fact: &str| {
        let bytes = i32s(&groups);
        Folder::changed(form, |all, _| put(all, last, DType::I32, &[64], bytes)).refused(&[fact]);
    };
    let of = |group: fn(i32) -> i32| std::array::from_fn(|i| group(i as i32));
    for (form, last) in [("gptq-4bit", "g_idx"), ("ct-pack-4bit-actorder", "weight_g_idx")] {
        index(form, last, of(|i| i / 16), "there is no group 2");
        index(form, last, of(|_| -1), "there is no group 4294967295");
        index(form, last, of(|i| i32::from(i > 40)), "not whole numbers of 32");
    }
    // Floats as scales are computed with, but not those of odd zeros.
    Folder::changed("gptq-4bit", |all, _| put(all, "scales", DType::F32, &[2, 32], f32s(&[0.1; 64])))
        .refused(&["more digits than halves"]);
    // A bias that is not zero.
    let bias = f32s(&[0.5; 32]);
    Folder::changed("gptq-2023", |all, _| put(all, "bias", DType::F32, &[32], bias))
        .refused(&["has a bias", "not zero"]);
    // Scales that blocks cannot have.
    for scale in [0x7f, 0x81, 0xff] {
        Folder::changed("ct-nvfp4", |all, _| {
            put(all, "weight_scale", DType::F8_E4M3, &[32, 4], vec![scale; 128])
        })
        .refused(&["below zero or no number"]);
    }
    Folder::changed("bnb-int8", |all, _| put(all, "weight_format", DType::U8, &[], vec![1]))
        .refused(&["one GPU kernel"]);
    let axis = i32s(&[0]);
    Folder::changed("hqq-4bit", |all, _| put(all, "axis", DType::I32, &[], axis)).refused(&["axis 0"]);
}

/// What a configuration says that is not supported is named, and what is.
#[test]
fn other_forms_are_refused_by_name() {
    let with = |said: Value| Folder::changed("gptq-4bit", |_, config| config["quantization_config"] = said);
    let compressed = |format: &str, weights: Value| {
        let groups = json!({"group_0": {"weights": weights}});
        json!({"quant_method": "compressed-tensors", "format": format, "config_groups": groups})
    };
    let weights = |bits: u64, kind: &str| json!({"num_bits": bits, "type": kind, "strategy": "channel"});
    for (said, word) in [
        (json!({"quant_method": "gptq", "checkpoint_format": "marlin"}), "marlin"),
        (json!({"quant_method": "gptq", "checkpoint_format": "gptq_p"}), "planes"),
        (json!({"quant_method": "awq", "version": "ipex"}), "ipex"),
        (
            json!({"quant_method": "auto-round", "packing_format": "auto_round:llm_compressor"}),
            "llm_compressor",
        ),
        (json!({"quant_method": "auto-round"}), "missing"),
        (
            json!({"quant_method": "quark", "global_quant_config":
                   {"weight": {"dtype": "uint4", "qscheme": "per_group"}}}),
            "uint4",
        ),
        (json!({"quant_method": "quip"}), "quip"),
        (json!({}), "unknown"),
        (json!({"quant_method": "fp8", "weight_block_size": [128, 100]}), "[128,100]"),
        (json!({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}), "W4A8_AWQ"),
        (compressed("marlin-24", weights(4, "int")), "format is `marlin-24`"),
        (compressed("pack-quantized", weights(9, "int")), "int of 9 bits"),
        (compressed("float-quantized", weights(6, "float")), "float of 6 bits"),
        (
            json!({"quant_method": "compressed-tensors", "format": "dense-ish", "sparsity_config": {}}),
            "format is `dense-ish`",
        ),
        (
            json!({"quant_method": "compressed-tensors", "format": "pack-quantized",
                   "sparsity_config": {"format": "sparse-24-bitmask"}}),
            "sparse-24-bitmask",
        ),
    ] {
        with(said).refused(&[word, "support"]);
    }
}

/// Of Meta's own: types, adapters that do not fit, and what its `params.json` may say.
#[test]
fn quantised_checkpoints_of_meta_are_checked() {
    let dtypes = |form: &str| {
        let model = Folder::new(form).model();
        let part = |name: &str| {
            let parts = model.config.parts().into_iter().zip(model.weights.all());
            let mut found = parts.filter(|(part, _)| part.name(Naming::Meta) == name);
            found.next().unwrap().1.dtype()
        };
        [
            "tok_embeddings.weight",
            "output.weight",
            "layers.0.feed_forward.w1.weight",
            "layers.0.feed_forward.w2.weight",
        ]
        .map(part)
    };
    assert_eq!(dtypes("meta-spinquant"), [DType::Q8_0, DType::Q8_0, DType::Q4_F, DType::Q4_0]);
    let w1 = "layers.0.feed_forward.w1";
    let put = |all: &mut Tensors, last: &str, dtype: DType, shape: &[usize]| {
        let (name, shape) = (format!("{w1}.{last}"), shape.to_vec());
        let data = Bytes::new(vec![0; dtype.bytes_of(shape.iter().product()).unwrap()]);
        all.insert(name.clone(), TensorView { name, dtype, shape, data });
    };
    for (last, dtype, shape, fact) in [
        ("weight", DType::I8, &[31, 64][..], "expected shape [32, 64]"),
        ("scales", DType::F32, &[31, 2], "does not fit 32 rows"),
        ("scales", DType::F32, &[32, 5], "not whole numbers of 32"),
        ("zeros", DType::F32, &[32, 1], "not that of the scales"),
        ("adaptor.A.weight", DType::BF16, &[4, 63], "no adapter"),
        ("adaptor.B.weight", DType::BF16, &[32, 5], "no adapter"),
    ] {
        Folder::changed("meta-qlora", |all, _| put(all, last, dtype, shape)).refused(&[w1, fact]);
    }
    Folder::changed("meta-qlora", |all, _| drop(all.remove(&format!("{w1}.adaptor.B.weight"))))
        .refused(&["the other half"]);
    for (key, value, word) in [
        ("quantization_args", json!({"scheme": "other"}), "`other`"),
        ("quantization_args", Value::Null, "lora_args"),
        ("lora_args", json!({"rank": 4}), "scale is not a number"),
    ] {
        Folder::changed("meta-qlora", |_, params| params[key] = value).refused(&[word]);
    }
}

/// Without a word in the configuration the form is named all the same.
#[test]
fn a_form_that_nobody_names_is_named() {
    for (form, name) in [
        ("gptq-4bit", "GPTQ"),
        ("awq-gemm", "AWQ"),
        ("bnb-nf4", "bitsandbytes"),
        ("bnb-int8", "bitsandbytes"),
        ("ct-pack-4bit-group", "compressed-tensors"),
        ("fp8-blocks", "FP8"),
        ("hqq-4bit", "HQQ"),
        ("mlx-4bit", "MLX"),
    ] {
        Folder::changed(form, |_, config| {
            for key in ["quantization_config", "quantization"] {
                config[key] = Value::Null;
            }
        })
        .refused(&[name, "quantization_config"]);
    }
}

/// Names without `model.` are those of a model that was saved without its head.
#[test]
fn names_may_lack_their_prefix() {
    let bare = Folder::changed("gptq-4bit", |all, _| {
        *all = std::mem::take(all)
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("model.").unwrap_or(&name).to_owned(), tensor))
            .collect();
    });
    let (bare, plain) = (bare.model(), Folder::new("gptq-4bit").model());
    for (a, b) in bare.weights.all().into_iter().zip(plain.weights.all()) {
        assert!(a.to_f32() == b.to_f32());
    }
}
