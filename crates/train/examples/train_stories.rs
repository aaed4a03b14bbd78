//! Trains a small Llama from random weights on a text file, and saves it in forms that `puna run` reads.
//!
//! ```text
//! cargo run --release -p puna-train --example train_stories -- stories.txt out
//! ```
//!
//! The file holds documents separated by lines `<|endoftext|>`, or JSON lines with a `text`. A vocabulary is
//! trained first. Interrupt it whenever you like: the same command continues from the last saved state, bit
//! for bit. In the end `out` is a Hugging Face folder, with `model-q8_0.gguf` beside it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use puna_formats::gguf::{Array, Metadata, Value};
use puna_formats::write_file;
use puna_model::Config;
use puna_tensor::{Cpu, DType, Isa, Pool, RopeLayout};
use puna_text::{EncodeOptions, Tokenizer, train_bpe::train_bpe};
use puna_train::{Documents, Recipe, Trainer, random_model, split_documents};

const BOS: &str = "<|begin_of_text|>";
const EOS: &str = "<|end_of_text|>";

#[derive(Parser)]
#[command(about = "Train a small Llama from random weights on a text file")]
struct Args {
    /// Training text.
    text: PathBuf,
    /// Folder for the state and the finished model; made if it is not there.
    out: PathBuf,
    /// Text to evaluate on, in the same form.
    #[arg(long)]
    valid: Option<PathBuf>,
    /// Optimizer steps.
    #[arg(long, default_value_t = 300)]
    steps: u64,
    /// Stop after this many minutes, saving the state (the learning rate follows --steps all the same).
    #[arg(long)]
    minutes: Option<u64>,
    /// Tokens per step.
    #[arg(long, default_value_t = 4096)]
    batch_tokens: usize,
    /// Highest learning rate.
    #[arg(long, default_value_t = 3e-3)]
    lr: f64,
    /// Longest sequence.
    #[arg(long, default_value_t = 512)]
    context: usize,
    /// Entries of the vocabulary.
    #[arg(long, default_value_t = 512)]
    vocab: usize,
    /// Width.
    #[arg(long, default_value_t = 64)]
    dim: usize,
    /// Layers.
    #[arg(long, default_value_t = 5)]
    layers: usize,
    /// Query heads.
    #[arg(long, default_value_t = 8)]
    heads: usize,
    /// Key-value heads.
    #[arg(long, default_value_t = 4)]
    kv_heads: usize,
    /// Inner width of the feed-forward block.
    #[arg(long, default_value_t = 172)]
    ffn: usize,
    /// The model's name, for the GGUF file.
    #[arg(long, default_value = "stories")]
    name: String,
    /// The licence of the result, for the GGUF file.
    #[arg(long)]
    license: Option<String>,
    /// Seed of weights and order.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads.
    #[arg(long)]
    threads: Option<usize>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.out)?;
    let read = |path: &Path| -> Result<Vec<String>, Failure> {
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Ok(split_documents(&text).map_err(|e| format!("{}: {e}", path.display()))?)
    };
    let texts = read(&args.text)?;
    let tokenizer = vocabulary(&args, &texts)?;
    let docs = tokenise(&tokenizer, &texts, args.context);
    let valid = match &args.valid {
        Some(path) => Some(tokenise(&tokenizer, &read(path)?, args.context)),
        None => None,
    };
    if docs.is_empty() {
        return Err(format!("{} has no documents to learn from", args.text.display()).into());
    }
    let config = Config {
        dim: args.dim,
        n_layers: args.layers,
        n_heads: args.heads,
        n_kv_heads: args.kv_heads,
        head_dim: args.dim / args.heads,
        ffn_dim: args.ffn,
        vocab_size: tokenizer.vocab_size(),
        max_seq_len: args.context,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_layout: RopeLayout::HalfSplit,
        tied: true,
        experts: Default::default(),
        ..Config::default()
    };
    eprintln!(
        "{} parameters; {} documents, {} tokens a pass",
        config.n_params(),
        docs.len(),
        docs.n_tokens()
    );
    let recipe = Recipe {
        n_steps: args.steps,
        batch_tokens: args.batch_tokens,
        lr: args.lr,
        n_warmup_steps: (args.steps / 20).clamp(1, 200),
        seed: args.seed,
        ..Recipe::default()
    };
    let trainer = train(&args, Trainer::new(random_model(config, args.seed), recipe), &docs, valid.as_ref())?;
    trainer.model.save_hf(&args.out, DType::F32)?;
    save_gguf(&args, &trainer)?;
    eprintln!(
        "saved to {}: try `puna run -m {} \"Once upon a time\"`",
        args.out.display(),
        args.out.display()
    );
    Ok(())
}

/// The vocabulary in the out folder, trained on the texts if it is not there yet.
fn vocabulary(args: &Args, texts: &[String]) -> Result<Tokenizer, Failure> {
    let path = args.out.join("tokenizer.json");
    if !path.exists() {
        let trained = train_bpe(texts.iter().map(String::as_str), args.vocab, &[BOS, EOS])?;
        write_file(&path, trained.to_hf_json().as_bytes())?;
        let config =
            format!("{{\"bos_token\": \"{BOS}\", \"eos_token\": \"{EOS}\", \"add_bos_token\": true}}\n");
        write_file(&args.out.join("tokenizer_config.json"), config.as_bytes())?;
        let vocab = trained.to_gguf_vocab();
        write_file(&args.out.join("vocab.json"), &serde_json::to_vec(&(vocab.tokens, vocab.merges))?)?;
    }
    Ok(Tokenizer::from_hf_json(&std::fs::read(&path)?)?)
}

fn tokenise(tokenizer: &Tokenizer, texts: &[String], context: usize) -> Documents {
    let eos = tokenizer.id_of(EOS).expect("in the vocabulary");
    let options = EncodeOptions { add_bos: true, ..EncodeOptions::default() };
    let docs = texts.iter().map(|text| {
        let mut ids = tokenizer.encode(text, options);
        ids.push(eos);
        ids
    });
    Documents::new(docs, context)
}

fn train(
    args: &Args,
    mut trainer: Trainer,
    docs: &Documents,
    valid: Option<&Documents>,
) -> Result<Trainer, Failure> {
    let cpu = Cpu::new(Isa::best(), args.threads.unwrap_or_else(Pool::default_threads));
    let state = args.out.join("state.safetensors");
    if state.exists() {
        trainer.load_state(&state)?;
        eprintln!("continuing from step {}", trainer.step);
    }
    let start = Instant::now();
    let mut saved = Instant::now();
    let mut n_tokens = 0;
    let out_of_time =
        |start: Instant| args.minutes.is_some_and(|m| start.elapsed() >= Duration::from_secs(60 * m));
    while trainer.step < args.steps && !out_of_time(start) {
        let report = trainer.step(&cpu, docs)?;
        n_tokens += report.n_tokens;
        if report.step % 10 == 0 {
            eprintln!(
                "step {:5}/{}  loss {:.4}  gradient {:.3}  lr {:.2e}  {:.0} tokens/s",
                report.step,
                args.steps,
                report.loss,
                report.grad_norm,
                report.lr,
                n_tokens as f64 / start.elapsed().as_secs_f64()
            );
        }
        if saved.elapsed() > Duration::from_secs(120) {
            trainer.save_state(&state)?;
            saved = Instant::now();
        }
        if let Some(valid) = valid.filter(|_| report.step % 250 == 0) {
            eprintln!("step {:5}: validation loss {:.4}", report.step, trainer.evaluate(&cpu, valid)?);
        }
    }
    trainer.save_state(&state)?;
    if let Some(valid) = valid {
        eprintln!("validation loss {:.4} nats per token", trainer.evaluate(&cpu, valid)?);
    }
    Ok(trainer)
}

fn save_gguf(args: &Args, trainer: &Trainer) -> Result<(), Failure> {
    let path = args.out.join("model-q8_0.gguf");
    let tokens: (Vec<String>, Vec<String>) =
        serde_json::from_slice(&std::fs::read(args.out.join("vocab.json"))?)?;
    let special = |name: &str| tokens.0.iter().position(|token| token == name).map(|id| id as u32);
    let kinds = tokens.0.iter().map(|token| if token == BOS || token == EOS { 3 } else { 1 }).collect();
    let text = |text: &str| Value::String(text.to_owned());
    let mut metadata = Metadata::new(&path);
    metadata.set("general.name", text(&args.name));
    metadata.set("general.type", text("model"));
    metadata.set("general.quantization_version", Value::U32(2));
    if let Some(license) = &args.license {
        metadata.set("general.license", text(license));
    }
    metadata.set("tokenizer.ggml.model", text("gpt2"));
    metadata.set("tokenizer.ggml.pre", text("llama-bpe"));
    metadata.set("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)));
    for (key, name) in [("tokenizer.ggml.bos_token_id", BOS), ("tokenizer.ggml.eos_token_id", EOS)] {
        metadata.set(key, Value::U32(special(name).ok_or("the vocabulary lacks a special token")?));
    }
    metadata.set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    metadata.set("tokenizer.ggml.tokens", Value::Array(Array::String(tokens.0)));
    metadata.set("tokenizer.ggml.merges", Value::Array(Array::String(tokens.1)));
    Ok(trainer.model.save_gguf(&path, metadata, DType::Q8_0)?)
}
