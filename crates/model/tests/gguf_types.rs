//! A tiny model in every type that a GGUF file may store matrices in, against the values that these decode to, in
//! f32.

mod common;

use std::path::Path;

use puna_formats::TensorInfo;
use puna_formats::gguf::{Metadata, Value, Writer};
use puna_model::{LoadOptions, Model};
use puna_tensor::{DType, RepackBudget, RunOptions, quant};

use common::{assert_within, cpus, load, rounded_logits};

const DIM: usize = 256;
const FFN_DIM: usize = 256;
const VOCAB: usize = 32;
const N_LAYERS: usize = 1;
/// What the tests' model reads.
const TOKENS: [u32; 9] = [1, 31, 7, 7, 30, 2, 15, 9, 12];

fn metadata(path: &Path) -> Metadata {
    let mut metadata = Metadata::new(path);
    let number = |n: usize| Value::U32(n as u32);
    metadata.set("general.architecture", Value::String("llama".into()));
    for (key, value) in [
        ("context_length", number(64)),
        ("embedding_length", number(DIM)),
        ("block_count", number(N_LAYERS)),
        ("feed_forward_length", number(FFN_DIM)),
        ("attention.head_count", number(4)),
        ("attention.head_count_kv", number(2)),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("rope.dimension_count", number(64)),
    ] {
        metadata.set(format!("llama.{key}"), value);
    }
    metadata
}

/// The names and shapes of all tensors.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![("token_embd", vec![VOCAB, DIM]), ("output_norm", vec![DIM])];
    shapes.push(("output", vec![VOCAB, DIM]));
    let mut all: Vec<_> = shapes.into_iter().map(|(name, shape)| (format!("{name}.weight"), shape)).collect();
    for i in 0..N_LAYERS {
        for (name, shape) in [
            ("attn_norm", vec![DIM]),
            ("attn_q", vec![DIM, DIM]),
            ("attn_k", vec![DIM / 2, DIM]),
            ("attn_v", vec![DIM / 2, DIM]),
            ("attn_output", vec![DIM, DIM]),
            ("ffn_norm", vec![DIM]),
            ("ffn_gate", vec![FFN_DIM, DIM]),
            ("ffn_up", vec![FFN_DIM, DIM]),
            ("ffn_down", vec![DIM, FFN_DIM]),
        ] {
            all.push((format!("blk.{i}.{name}.weight"), shape));
        }
    }
    all
}

/// Random values of a tensor, so that the numbers inside the model stay of one size.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut state = name.bytes().fold(0x9e37_79b9u32, |h, b| (h ^ b as u32).wrapping_mul(0x0100_0193));
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    match shape {
        [n] => (0..*n).map(|_| 1.0 + 0.1 * uniform()).collect(),
        [rows, cols] => (0..rows * cols).map(|_| uniform() * (3.0 / *cols as f32).sqrt()).collect(),
        _ => unreachable!("vectors and matrices"),
    }
}

/// The tensors of the model with matrices of `dtype`, each of which is divided by its factor before, and the factors
/// beside them.
fn tensors(dtype: DType, factor: Option<f32>) -> Vec<(TensorInfo, Vec<u8>)> {
    let mut tensors = Vec::new();
    for (name, shape) in shapes() {
        let dtype = if shape.len() == 1 { DType::F32 } else { dtype };
        let mut values = values(&name, &shape);
        if let (2, Some(factor)) = (shape.len(), factor) {
            values.iter_mut().for_each(|x| *x /= factor);
            let base = name.strip_suffix(".weight").unwrap();
            tensors.extend([("scale", factor), ("input_scale", 3.0)].map(|(last, x)| float(base, last, x)));
        }
        let mut data = vec![0; dtype.bytes_of(values.len()).unwrap()];
        quant::encode(dtype, &values, &mut data);
        tensors.push((TensorInfo::new(name, dtype, shape), data));
    }
    tensors
}

/// A tensor of one number.
fn float(base: &str, last: &str, value: f32) -> (TensorInfo, Vec<u8>) {
    (TensorInfo::new(format!("{base}.{last}"), DType::F32, [1]), value.to_le_bytes().to_vec())
}

fn write(path: &Path, dtype: DType, factor: Option<f32>) {
    write_tensors(path, &tensors(dtype, factor));
}

fn write_tensors(path: &Path, tensors: &[(TensorInfo, Vec<u8>)]) {
    let mut writer = Writer::new(metadata(path));
    tensors.iter().for_each(|(info, _)| writer.declare(info.clone()));
    let mut stream = writer.begin(path).unwrap();
    tensors.iter().for_each(|(info, data)| stream.write(&info.name, data).unwrap());
    stream.finish().unwrap();
}

/// The same model with f32 of its own.
fn decoded(model: &Model) -> Model {
    let mut decoded = model.clone();
    decoded.weights.all_mut().into_iter().for_each(|weight| weight.make_trainable());
    decoded
}

#[test]
fn every_type_has_the_logits_of_what_it_decodes_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    for dtype in DType::WEIGHTS {
        for factor in [None, Some(0.37)] {
            let has_factors = [DType::NVFP4, DType::Q4_0, DType::Q4_K, DType::IQ2_S].contains(&dtype);
            if factor.is_some() && !has_factors {
                continue;
            }
            write(&path, dtype, factor);
            let model = load(&path);
            let about = format!("{dtype} with factor {factor:?}");
            let decoded = decoded(&model);
            for cpu in cpus() {
                let want = decoded.logits_of(&cpu, &TOKENS).unwrap();
                let size = want.iter().fold(0f32, |max, x| max.max(x.abs()));
                assert!(size > 1.0 && size < 20.0, "{about}: {size}");
                let what = format!("{about} on {}", cpu.isa.name());
                assert_within(&model.logits_of(&cpu, &TOKENS).unwrap(), &want, 2e-5 * size as f64, &what);
                // Activations in eight bits: some hundredths of the largest logit for the types that the
                // reference's models have.
                let rounded = rounded_logits(&cpu, &model, &TOKENS);
                assert_within(&rounded, &want, 0.05 * size as f64, &format!("{what}, rounded"));
                let squares = rounded.iter().zip(&want).map(|(r, w)| ((r - w) as f64).powi(2)).sum::<f64>();
                println!("{what}: {:.5}", (squares / want.len() as f64).sqrt() / size as f64);
            }
        }
    }
}

/// Copies in the order of products have the factors too.
#[test]
fn repacked_matrices_have_their_factors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    write(&path, DType::NVFP4, Some(0.37));
    let (model, repacked) = (load(&path), load(&path));
    for cpu in cpus() {
        let options =
            RunOptions { activations: puna_tensor::Activations::Int8, repack: RepackBudget::new(1 << 30) };
        repacked.weights.repack(&cpu, &options);
        let [stored, copied] = [&model, &repacked].map(|model| rounded_logits(&cpu, model, &TOKENS));
        assert!(stored == copied, "{}", cpu.isa.name());
    }
}

#[test]
fn factors_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    write(&path, DType::BF16, Some(0.5));
    let error = Model::load(&path, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains(".scale") && error.contains("a matrix of BF16"), "{error}");
    // Vectors have none.
    let stray = float("blk.0.attn_norm", "scale", 0.5);
    write_tensors(&path, &[tensors(DType::Q4_0, None), vec![stray]].concat());
    let error = Model::load(&path, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("blk.0.attn_norm.scale") && error.contains("not a part"), "{error}");
}
