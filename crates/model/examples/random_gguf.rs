//! Writes a GGUF file of a released model's shape with random weights, to measure speed and memory on.
//!
//! ```text
//! cargo run --release -p puna-model --example random_gguf -- 1b q4_k_m random-1b.gguf
//! cargo run --release -p puna-model --example random_gguf -- llama4-mmproj f16 random-mmproj.gguf
//! ```
//!
//! Shapes: `1b` (Llama 3.2 1B), `3b`, `8b` (Llama 3.1 8B); `llama4-mmproj` is the vision encoder of Llama 4,
//! and `llama4-text` the least decoder that goes with it: one layer of its width, a vocabulary that has its
//! image tokens, and a tokenizer whose other tokens are mere numbers. The first three have such a tokenizer too, for
//! servers, if they end in `-text`. Recipes: a weight type for all matrices
//! (`q8_0`, `f16`, `q6_k` …), or `q4_k_m` and `q5_k_m`, llama.cpp's mixtures with Q6_K where its rules say.
//! Rows repeat after a while, which neither speed nor memory notices; numbers stay in the range of a trained
//! model's.

use std::collections::HashMap;
use std::path::Path;

mod towers;

use puna_formats::TensorInfo;
use puna_formats::gguf::{Array, Metadata, Value, Writer};
use puna_model::names::{LayerPart, Naming, Part, VisionPart};
use puna_model::{Config, Tower, Vision, rope::RopeScaling};
use puna_tensor::DType;
use towers::{BANK, encoded};

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
    let divisors = match &config.vision {
        Some(vision) => {
            mmproj_metadata(&mut metadata, vision, config.dim);
            None
        }
        None => {
            tokenizer_metadata(&mut metadata, shape, config.vocab_size);
            puna_model::to_gguf(&config, &mut metadata)?
        }
    };
    let mut writer = Writer::new(metadata);
    // A projector file has what the decoder's has not.
    let is_mmproj = config.vision.is_some();
    let is_here = |part: &Part| matches!(part, Part::Vision(_)) == is_mmproj;
    let parts: Vec<Part> = config.parts().into_iter().filter(is_here).collect();
    for part in &parts {
        writer.declare(info(&config, *part, dtype(&config, *part, recipe)?));
    }
    if let Some(divisors) = &divisors {
        writer.declare(TensorInfo::new("rope_freqs.weight", DType::F32, [divisors.len()]));
    }
    let mut stream = writer.begin(path)?;
    // Matrices have the same rows: the search for the codes of some types takes long.
    let mut banks = HashMap::new();
    for part in parts {
        let info = info(&config, part, dtype(&config, part, recipe)?);
        let [rows, cols] = config.shape(part);
        let make = || (0..rows.min(BANK)).map(|i| encoded(part, info.dtype, cols, i)).collect::<Vec<_>>();
        let bank = banks.entry((info.dtype, cols, rows.min(BANK))).or_insert_with(make);
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
    match shape {
        "llama4-mmproj" => return Ok(towers::small_decoder(LLAMA4_DIM, 16, Some(towers::llama4()))),
        "llama4-text" => return Ok(towers::small_decoder(LLAMA4_DIM, LLAMA4_VOCAB, None)),
        _ => (),
    }
    let (dim, n_layers, n_heads, head_dim, ffn_dim, tied, factor) = match shape.trim_end_matches("-text") {
        "1b" => (2048, 16, 32, 64, 8192, true, 32.0),
        "3b" => (3072, 28, 24, 128, 8192, true, 32.0),
        "8b" => (4096, 32, 32, 128, 14336, false, 8.0),
        _ => {
            let shapes = "1b, 3b, 8b, 1b-text, 3b-text, 8b-text, llama4-mmproj, llama4-text";
            return Err(format!("shape `{shape}` is not one of {shapes}").into());
        }
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
        tied,
        experts: Default::default(),
        ..Config::default()
    })
}

/// Width and vocabulary of Llama 4.
const LLAMA4_DIM: usize = 5120;
const LLAMA4_VOCAB: usize = 202_048;

/// What llama.cpp's own projector files of Llama 4 say.
fn mmproj_metadata(metadata: &mut Metadata, vision: &Vision, decoder_dim: usize) {
    let Tower::EarlyFusion(tower) = &vision.tower else { panic!("projector files are of Llama 4") };
    let text = |text: &str| Value::String(text.into());
    metadata.set("general.architecture", text("clip"));
    metadata.set("general.type", text("mmproj"));
    metadata.set("clip.has_vision_encoder", Value::Bool(true));
    metadata.set("clip.projector_type", text("llama4"));
    metadata.set("clip.use_gelu", Value::Bool(true));
    for (key, n) in [
        ("image_size", vision.tile),
        ("patch_size", vision.patch),
        ("embedding_length", vision.dim),
        ("feed_forward_length", vision.ffn_dim),
        ("projection_dim", decoder_dim),
        ("block_count", vision.n_layers),
        ("attention.head_count", vision.n_heads),
        ("projector.scale_factor", tower.shuffle),
    ] {
        metadata.set(format!("clip.vision.{key}"), Value::U32(n as u32));
    }
    metadata.set("clip.vision.attention.layer_norm_epsilon", Value::F32(vision.norm_eps));
    for key in ["image_mean", "image_std"] {
        metadata.set(format!("clip.vision.{key}"), Value::Array(Array::F32(vec![0.5; 3])));
    }
}

/// A tokenizer, where another program needs one: it has bytes, and the tokens that stand around images.
fn tokenizer_metadata(metadata: &mut Metadata, shape: &str, vocab_size: usize) {
    let text = |text: &str| Value::String(text.into());
    if !shape.ends_with("-text") {
        metadata.set("tokenizer.ggml.model", text("none"));
        return;
    }
    // The kinds of SentencePiece: a plain token, one that stands for nothing readable, a byte.
    const NORMAL: i32 = 1;
    const CONTROL: i32 = 3;
    const BYTE: i32 = 6;
    let bos = if shape == "llama4-text" { 200_000 } else { 128_000 };
    let token = |i: usize| match i {
        0..256 => (format!("<0x{i:02X}>"), BYTE),
        _ if i == bos => ("<|begin_of_text|>".into(), CONTROL),
        _ if i == bos + 1 => ("<|end_of_text|>".into(), CONTROL),
        200_080 => ("<|image_start|>".into(), CONTROL),
        200_081 => ("<|image_end|>".into(), CONTROL),
        200_092 => ("<|patch|>".into(), CONTROL),
        _ => (format!("{i}"), NORMAL),
    };
    let (names, kinds): (Vec<_>, Vec<_>) = (0..vocab_size).map(token).unzip();
    metadata.set("tokenizer.ggml.model", text("llama"));
    metadata.set("tokenizer.ggml.tokens", Value::Array(Array::String(names)));
    metadata.set("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; vocab_size])));
    metadata.set("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)));
    metadata.set("tokenizer.ggml.bos_token_id", Value::U32(bos as u32));
    metadata.set("tokenizer.ggml.eos_token_id", Value::U32(bos as u32 + 1));
    metadata.set("tokenizer.ggml.unknown_token_id", Value::U32(bos as u32 + 1));
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
        _ if config.shape(part)[0] == 1 => Ok(DType::F32),
        (Part::Vision(VisionPart::Positions), _) => Ok(DType::F32),
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
    TensorInfo::new(config.stored(part, Naming::Gguf).name, dtype, shape)
}
