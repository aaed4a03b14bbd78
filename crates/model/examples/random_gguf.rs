//! Writes a GGUF file of a released model's shape with random weights, to measure speed and memory on.
//!
//! ```text
//! cargo run --release -p puna-model --example random_gguf -- 1b q4_k_m random-1b.gguf
//! ```
//!
//! Shapes: `1b` (Llama 3.2 1B), `3b`, `8b` (Llama 3.1 8B). Recipes: a weight type for all matrices (`q8_0`, `f16`, `q6_k` …),
//! or `q4_k_m` and `q5_k_m`, llama.cpp's mixtures with Q6_K where its rules say. Rows repeat after a while, which neither
//! speed nor memory notices; numbers stay in the range of a trained model's.

use std::path::Path;

use puna_formats::TensorInfo;
use puna_formats::gguf::{Metadata, Value, Writer};
use puna_model::names::{LayerPart, Naming, Part};
use puna_model::{Config, rope::RopeScaling};
use puna_tensor::{DType, RopeLayout, quant};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [shape, recipe, path] = &args[..] else {
        return Err("usage: random_gguf SHAPE RECIPE OUT.gguf".into());
    };
    let path = Path::new(path);
    let config = config(shape)?;
    let mut metadata = Metadata::new(path);
    metadata.set("general.name", Value::String(format!("random {shape}")));
    metadata.set("tokenizer.ggml.model", Value::String("none".into()));
    let divisors = puna_model::to_gguf(&config, &mut metadata)?;
    let mut writer = Writer::new(metadata);
    let parts = config.parts();
    for part in &parts {
        writer.declare(info(&config, *part, dtype(&config, *part, recipe)?));
    }
    if let Some(divisors) = &divisors {
        writer.declare(TensorInfo::new("rope_freqs.weight", DType::F32, [divisors.len()]));
    }
    let mut stream = writer.begin(path)?;
    for part in parts {
        let info = info(&config, part, dtype(&config, part, recipe)?);
        let [rows, cols] = config.shape(part);
        let bank = bank(info.dtype, cols, info.shape.len() == 1);
        for row in 0..rows {
            stream.write(&info.name, &bank[row % bank.len()])?;
        }
    }
    if let Some(divisors) = &divisors {
        let bytes: Vec<u8> = divisors.iter().flat_map(|x| x.to_le_bytes()).collect();
        stream.write("rope_freqs.weight", &bytes)?;
    }
    Ok(stream.finish()?)
}

fn config(shape: &str) -> Result<Config, Failure> {
    let (dim, n_layers, n_heads, head_dim, ffn_dim, tied, factor) = match shape {
        "1b" => (2048, 16, 32, 64, 8192, true, 32.0),
        "3b" => (3072, 28, 24, 128, 8192, true, 32.0),
        "8b" => (4096, 32, 32, 128, 14336, false, 8.0),
        _ => return Err(format!("shape `{shape}` is not one of 1b, 3b, 8b").into()),
    };
    let rope_scaling =
        RopeScaling::Llama3 { factor, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 8192.0 };
    Ok(Config {
        dim,
        n_layers,
        n_heads,
        n_kv_heads: 8,
        head_dim,
        ffn_dim,
        vocab_size: 128_256,
        max_seq_len: 131_072,
        norm_eps: 1e-5,
        rope_theta: 500_000.0,
        rope_scaling,
        rope_layout: RopeLayout::Interleaved,
        tied,
        llama4: Default::default(),
        cross_layers: Vec::new(),
        n_extra_embeddings: 0,
        vision: None,
    })
}

/// The type of a tensor under a recipe.
fn dtype(config: &Config, part: Part, recipe: &str) -> Result<DType, Failure> {
    let n = config.n_layers;
    let more = |i: usize| i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    let mixed = |base| match part {
        Part::Output => DType::Q6_K,
        Part::TokEmbeddings if config.tied => DType::Q6_K,
        Part::Layer(i, LayerPart::Wv | LayerPart::W2) if more(i) => DType::Q6_K,
        _ => base,
    };
    match (part, recipe) {
        (Part::Norm | Part::Layer(_, LayerPart::AttentionNorm | LayerPart::FfnNorm), _) => Ok(DType::F32),
        (_, "q4_k_m") => Ok(mixed(DType::Q4_K)),
        (_, "q5_k_m") => Ok(mixed(DType::Q5_K)),
        (_, name) => {
            let found = DType::WEIGHTS.into_iter().find(|t| t.name().eq_ignore_ascii_case(name));
            found.ok_or_else(|| format!("recipe `{name}` is neither q4_k_m, q5_k_m nor a weight type").into())
        }
    }
}

fn info(config: &Config, part: Part, dtype: DType) -> TensorInfo {
    let [rows, cols] = config.shape(part);
    let shape = if rows == 1 { vec![cols] } else { vec![rows, cols] };
    TensorInfo::new(part.name(Naming::Gguf), dtype, shape)
}

/// Some encoded rows: uniform numbers of deviation 0.02, or ones for a norm.
fn bank(dtype: DType, cols: usize, is_norm: bool) -> Vec<Vec<u8>> {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 0.035
    };
    (0..if is_norm { 1 } else { 97 })
        .map(|_| {
            let row: Vec<f32> = (0..cols).map(|_| if is_norm { 1.0 } else { random() }).collect();
            let mut bytes = vec![0; dtype.bytes_of(cols).expect("whole blocks")];
            quant::encode(dtype, &row, &mut bytes);
            bytes
        })
        .collect()
}
