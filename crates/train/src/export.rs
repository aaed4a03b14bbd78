//! The finished model, for others: a Hugging Face folder and GGUF files with tokenizer and card, read back and
//! compared with what was trained.

use std::path::{Path, PathBuf};

use puna_formats::gguf::{Array, Metadata, Value};
use puna_formats::{visible_path, write_file};
use puna_model::{LoadOptions, Model};
use puna_tensor::{Cpu, DType};

use crate::error::TrainError;
use crate::settings::Export;

/// What a model's files say about text.
#[derive(Clone, Debug, Default)]
pub struct TextSide {
    /// Files of a Hugging Face folder: names and contents.
    pub files: Vec<(String, Vec<u8>)>,
    /// Keys of a GGUF file; `None` where the tokenizer cannot be said there, and no such file is written.
    pub gguf: Option<Vec<(String, Value)>>,
}

/// A model file that was written and read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// The file or folder.
    pub path: PathBuf,
    /// The type of its matrices.
    pub dtype: DType,
    /// What a reader loses of the model's predictions: mean Kullback-Leibler divergence in nats per token of a text.
    pub divergence: f64,
}

/// A divergence beyond rounding: four bits of a small model lose about a hundredth.
const BROKEN: f64 = 0.5;
/// Of types that hold every f32.
const INEXACT: f64 = 1e-6;

/// Writes the model into the folder `dir` in every form that `wanted` names, and reads each back. `tokens` are a text
/// to compare by.
pub fn export(
    cpu: &Cpu,
    model: &Model,
    dir: &Path,
    wanted: &Export,
    text: &TextSide,
    about: &About,
    tokens: &[u32],
) -> Result<Vec<Exported>, TrainError> {
    let tokens = &tokens[..tokens.len().min(128).min(model.config.max_seq_len)];
    let want = model.logits_of(cpu, tokens)?;
    let compare = |path: PathBuf, dtype: DType| {
        let loaded = Model::load(&path, &LoadOptions::default())?;
        let got = loaded.logits_of(cpu, tokens)?;
        let divergence = divergence(&want, &got, model.config.vocab_size);
        let limit = if dtype == DType::F32 { INEXACT } else { BROKEN };
        if divergence.is_nan() || divergence > limit {
            return Err(TrainError::Setting(format!(
                "what was written to `{}` predicts otherwise than the model (divergence {divergence:.2e} nats per token)\n  this is a fault of the program; the states of the run are whole",
                visible_path(&path)
            )));
        }
        Ok(Exported { path, dtype, divergence })
    };
    let mut exported = Vec::new();
    for (name, content) in &text.files {
        write_file(&dir.join(name), content)?;
    }
    model.save_hf(dir, wanted.hf)?;
    exported.push(compare(dir.to_owned(), wanted.hf)?);
    for dtype in text.gguf.iter().flat_map(|_| &wanted.gguf) {
        let path = dir.join(format!("{}-{}.gguf", file_name(&about.name), dtype.name().to_lowercase()));
        let mut metadata = Metadata::new(&path);
        metadata.set("general.name", Value::String(about.name.clone()));
        metadata.set("general.type", Value::String("model".into()));
        metadata.set("general.quantization_version", Value::U32(2));
        if let Some(licence) = &about.licence {
            metadata.set("general.license", Value::String(licence.clone()));
        }
        for (key, value) in text.gguf.iter().flatten() {
            metadata.set(key.clone(), value.clone());
        }
        model.save_gguf(&path, metadata, *dtype)?;
        exported.push(compare(path, *dtype)?);
    }
    write_file(&dir.join("README.md"), about.card(model, &exported).as_bytes())?;
    Ok(exported)
}

/// What a card says about a model.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Its licence.
    pub licence: Option<String>,
    /// The data, in words.
    pub data: String,
    /// The run, in words: a line for each fact.
    pub run: Vec<(String, String)>,
    /// Prompts and what became of them.
    pub samples: Vec<(String, String)>,
}

impl About {
    fn card(&self, model: &Model, exported: &[Exported]) -> String {
        let config = &model.config;
        let mut card = String::from("---\nlibrary_name: transformers\npipeline_tag: text-generation\n");
        if let Some(licence) = &self.licence {
            card += &format!("license: {}\n", serde_json::Value::String(licence.clone()));
        }
        card += &format!("tags: [llama, puna]\n---\n\n# {}\n\n", self.name);
        card += &format!(
            "A Llama of {} parameters: dim {}, {} layers, {} heads ({} of keys and values), ffn_dim {}, vocabulary {}, context {}.\n\nMade with Puna from {}.\n\n",
            config.n_params(),
            config.dim,
            config.n_layers,
            config.n_heads,
            config.n_kv_heads,
            config.ffn_dim,
            config.vocab_size,
            config.max_seq_len,
            self.data
        );
        card += "| run | |\n|---|---|\n";
        self.run.iter().for_each(|(what, value)| card += &format!("| {what} | {value} |\n"));
        card += "\n| file | weights | divergence from the trained model, nats per token |\n|---|---|---|\n";
        for Exported { path, dtype, divergence } in exported {
            let name = match path.is_dir() {
                true => "model.safetensors".into(),
                false => path.file_name().unwrap_or_default().to_string_lossy(),
            };
            card += &format!("| `{name}` | {} | {divergence:.1e} |\n", dtype.name());
        }
        if !self.samples.is_empty() {
            card += "\n## Samples, as they came\n";
        }
        for (prompt, text) in &self.samples {
            let quoted = format!("{prompt}{text}").replace('\n', "\n> ");
            card += &format!("\n> {quoted}\n");
        }
        card + "\nIt was trained on nothing but the data above: it knows little, and what it writes may be false or unfit. `report.html` shows the run.\n"
    }
}

/// A name fit for a file.
fn file_name(name: &str) -> String {
    let fit = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(fit).collect();
    if name.trim_matches(['.', '-']).is_empty() { "model".into() } else { name }
}

/// Mean Kullback-Leibler divergence of the second logits' distribution from the first's, over rows of `n` logits.
fn divergence(want: &[f32], got: &[f32], n: usize) -> f64 {
    let log_sum = |row: &[f32]| {
        let top = row.iter().copied().fold(f32::MIN, f32::max) as f64;
        top + row.iter().map(|x| (*x as f64 - top).exp()).sum::<f64>().ln()
    };
    let rows = want.chunks_exact(n).zip(got.chunks_exact(n));
    let of_row = |(want, got): (&[f32], &[f32])| {
        let (a, b) = (log_sum(want), log_sum(got));
        let terms = want.iter().zip(got).map(|(x, y)| {
            let (p, q) = (*x as f64 - a, *y as f64 - b);
            p.exp() * (p - q)
        });
        terms.sum::<f64>()
    };
    let n_rows = (want.len() / n).max(1);
    rows.map(of_row).sum::<f64>() / n_rows as f64
}

/// The keys of a GGUF file for a byte-level BPE tokenizer of `tokenizer.json`; `None` for others, whose scores or
/// normalisers cannot be said so simply.
pub fn gguf_keys(
    tokenizer_json: &[u8],
    bos_id: Option<u32>,
    eos_id: Option<u32>,
) -> Option<Vec<(String, Value)>> {
    let json: serde_json::Value = serde_json::from_slice(tokenizer_json).ok()?;
    let model = &json["model"];
    let text = json["pre_tokenizer"].to_string();
    if model["type"] != "BPE" || !text.contains("ByteLevel") || !json["normalizer"].is_null() {
        return None;
    }
    // Llama 3's splits, told from others by the two parts that no other has.
    let pre = if text.contains("\\\\p{N}{1,3}") && text.contains("(?i:'s|'t|'re") {
        "llama-bpe"
    } else {
        return None;
    };
    let mut tokens: Vec<(usize, String, i32)> = Vec::new();
    for (token, id) in model["vocab"].as_object()? {
        tokens.push((id.as_u64()? as usize, token.clone(), 1));
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let (id, content) = (added["id"].as_u64()? as usize, added["content"].as_str()?);
        tokens.retain(|(other, ..)| *other != id);
        tokens.push((id, content.to_owned(), if added["special"] == true { 3 } else { 4 }));
    }
    tokens.sort_unstable();
    if tokens.iter().enumerate().any(|(i, (id, ..))| i != *id) {
        return None;
    }
    let merge = |merge: &serde_json::Value| match merge {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(pair) => {
            Some(format!("{} {}", pair.first()?.as_str()?, pair.get(1)?.as_str()?))
        }
        _ => None,
    };
    let merges: Option<Vec<String>> = model["merges"].as_array()?.iter().map(merge).collect();
    let kinds = tokens.iter().map(|(_, _, kind)| *kind).collect();
    let eot = tokens.iter().find(|(_, text, _)| text == "<|eot_id|>").map(|(id, ..)| *id as u32);
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let mut keys = vec![
        (key("model"), Value::String("gpt2".into())),
        (key("pre"), Value::String(pre.into())),
        (key("add_bos_token"), Value::Bool(bos_id.is_some())),
        (key("tokens"), Value::Array(Array::String(tokens.into_iter().map(|(_, text, _)| text).collect()))),
        (key("token_type"), Value::Array(Array::I32(kinds))),
        (key("merges"), Value::Array(Array::String(merges?))),
    ];
    for (name, id) in [("bos_token_id", bos_id), ("eos_token_id", eos_id), ("eot_token_id", eot)] {
        keys.extend(id.map(|id| (key(name), Value::U32(id))));
    }
    Some(keys)
}
