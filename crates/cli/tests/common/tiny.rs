//! A model that always says the same: after any token the first piece of its answer, after that the next one,
//! and at last the end. Its weights are a table of which token follows which.

use std::path::Path;

use puna::DType;
use puna_formats::TensorInfo;
use puna_formats::gguf::{Array, Metadata, Value, Writer};

const DIM: usize = 128;
const FFN: usize = 32;
const EOS: usize = 2;
/// Pieces up to the two words of a guard, whole and begun, as merging makes them.
const WORDS: [&str; 11] =
    ["▁s", "▁sa", "▁saf", "▁safe", "▁u", "▁un", "▁uns", "▁unsa", "▁unsaf", "▁unsafe", "\nO3, O1"];

/// Writes it; `answer` is made of the words and single letters. `keys` are added to the file's own.
pub fn write(path: &Path, answer: &[&str], keys: &[(&str, &str)]) -> String {
    let mut pieces: Vec<String> = ["<unk>", "<s>", "</s>", "▁"].map(String::from).into();
    pieces.extend(('!'..='~').map(String::from));
    pieces.extend(WORDS.map(String::from));
    let id_of = |piece: &&str| pieces.iter().position(|known| known == *piece).expect("a known piece");
    let chain: Vec<usize> = answer.iter().map(id_of).chain([EOS]).collect();
    let next = |id: usize| match chain.iter().position(|link| *link == id) {
        Some(link) if link + 1 < chain.len() => chain[link + 1],
        _ => chain[0],
    };
    let n = pieces.len();
    let mut metadata = Metadata::new(path);
    metadata.set("general.architecture", Value::String("llama".into()));
    for (key, size) in [
        ("block_count", 1),
        ("context_length", 4096),
        ("embedding_length", DIM as u32),
        ("feed_forward_length", FFN as u32),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 4),
    ] {
        metadata.set(format!("llama.{key}"), Value::U32(size));
    }
    metadata.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let kinds = (0..n).map(|id| if id < 3 { if id == 0 { 2 } else { 3 } } else { 1 }).collect();
    let scores = (0..n).map(|id| -(id as f32)).collect();
    metadata.set("tokenizer.ggml.model", Value::String("llama".into()));
    metadata.set("tokenizer.ggml.tokens", Value::Array(Array::String(pieces)));
    metadata.set("tokenizer.ggml.scores", Value::Array(Array::F32(scores)));
    metadata.set("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)));
    for (key, text) in keys {
        metadata.set(*key, Value::String((*text).into()));
    }

    let table = |ones: &dyn Fn(usize) -> usize| -> Vec<u8> {
        let row = |id: usize| (0..DIM).map(move |i| if i == id { 1f32 } else { 0.0 });
        (0..n).flat_map(|id| row(ones(id))).flat_map(f32::to_le_bytes).collect()
    };
    // The output's row of a token has a one at each token that it follows.
    let mut output = vec![0f32; n * DIM];
    (0..n).for_each(|id| output[next(id) * DIM + id] = 1.0);
    let constant = |value: f32, n: usize| value.to_le_bytes().repeat(n);
    let mut tensors = vec![
        ("token_embd.weight", vec![n, DIM], table(&|id| id)),
        ("output.weight", vec![n, DIM], output.into_iter().flat_map(f32::to_le_bytes).collect()),
        ("output_norm.weight", vec![DIM], constant(1.0, DIM)),
        ("blk.0.attn_norm.weight", vec![DIM], constant(1.0, DIM)),
        ("blk.0.ffn_norm.weight", vec![DIM], constant(1.0, DIM)),
        ("blk.0.ffn_gate.weight", vec![FFN, DIM], constant(0.0, FFN * DIM)),
        ("blk.0.ffn_up.weight", vec![FFN, DIM], constant(0.0, FFN * DIM)),
        ("blk.0.ffn_down.weight", vec![DIM, FFN], constant(0.0, FFN * DIM)),
    ];
    for name in
        ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight"]
    {
        tensors.push((name, vec![DIM, DIM], constant(0.0, DIM * DIM)));
    }
    let mut writer = Writer::new(metadata);
    for (name, shape, _) in &tensors {
        writer.declare(TensorInfo::new(*name, DType::F32, shape.clone()));
    }
    let mut stream = writer.begin(path).unwrap();
    for (name, _, data) in &tensors {
        stream.write(name, data).unwrap();
    }
    stream.finish().unwrap();
    path.to_str().unwrap().to_owned()
}
