//! `puna show`: what a model is.

use clap::Args;
use puna::{DType, Description, KV_DTYPES, LayerSizes, Llama, Options, Sublayer, TokenizerDescription};
use puna_formats::visible;
use puna_store::openness::{self, Item};
use serde_json::{Value, json};

use super::licence::licence_of;
use crate::args::ModelArg;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::units;

/// Show what a model is: sizes, types, tokenizer, licence, memory, how open it is.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna show
  puna show -m Llama-3.1-8B-Instruct/ --ctx 8192
  puna show -m model.gguf --json")]
pub struct Show {
    #[command(flatten)]
    model: ModelArg,
    /// The context that memory is counted for [default: the model's own]
    #[arg(long, value_name = "TOKENS")]
    ctx: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let options = Options { n_threads: Some(1), max_seq_len: self.ctx, ..Options::default() };
        let llama = self.model.load(&options)?;
        let description = llama.describe();
        if self.json {
            print_json(&json_of(&llama, &description))
        } else {
            print(&table_of(&llama, &description))
        }
    }
}

/// Bytes of keys and values at the context in use, for each type.
fn kv_memory(llama: &Llama) -> impl Iterator<Item = (String, u64)> {
    let bytes = |dtype: DType| llama.kv_bytes(dtype, llama.engine().max_seq_len()) as u64;
    KV_DTYPES.into_iter().map(move |dtype| (dtype.name().to_lowercase(), bytes(dtype)))
}

fn table_of(llama: &Llama, description: &Description) -> String {
    let config = llama.config();
    let mut table = Table::default();
    table.row("model", llama.path().to_string_lossy());
    table.maybe("name", description.name.as_deref());
    table.maybe("licence", description.license.as_deref());
    table.row("form", format!("{}, {}", description.form, files(description.n_files)));
    table.maybe("recipe", description.recipe);
    let tied = if config.tied { ", output tied to the embedding" } else { "" };
    table.row("architecture", format!("{}{tied}", architecture(config)));
    table.row("parameters", format!("{} ({})", description.n_params, units::count(description.n_params)));
    if config.n_active_params() < description.n_params {
        let active = config.n_active_params();
        table.row("of a token", format!("{active} ({})", units::count(active)));
    }
    table.row("dim", format!("{}, {} layers, ffn_dim {}", config.dim, config.n_layers, config.ffn_dim));
    let heads =
        format!("{} of {}, {} for keys and values", config.n_heads, config.head_dim, config.n_kv_heads);
    table.row("heads", heads);
    if !config.layer_sizes.is_empty() {
        table.row("layers", layers(config));
    }
    if !config.causal {
        table.row("attention", "tokens see their whole text: the model makes vectors (puna embed)");
    }
    let experts = &config.experts;
    if experts.n > 0 {
        let n = config.layer_kinds.iter().filter(|layer| layer.experts).count();
        table.row(
            "experts",
            format!(
                "{} of width {}, {} for a token, in {n} layers",
                experts.n, experts.ffn_dim, experts.n_used
            ),
        );
    }
    let n_chunked = config.layer_kinds.iter().filter(|layer| layer.chunked).count();
    if let Some(chunk) = config.attention_chunk.filter(|_| n_chunked > 0) {
        let n_others = config.layer_kinds.len() - n_chunked;
        table.row("attention", format!("{n_chunked} layers see chunks of {chunk}, {n_others} see all"));
    }
    if let Some(window) = config.sliding_window {
        table.row("attention", format!("each position sees the last {window}, its own included"));
    }
    if config.qk_norm {
        table.row("qk norm", "queries and keys are normalised after rotation");
    }
    table.row("vocabulary", config.vocab_size);
    table.row("context", format!("{} tokens", config.max_seq_len));
    table.row("rope", format!("theta {}, scaling {}", config.rope_theta, description.rope_scaling));
    table.row("norm_eps", config.norm_eps);
    match (&description.tokenizer, &description.tokenizer_fault) {
        (Some(tokenizer), _) => tokenizer_rows(&mut table, tokenizer),
        (None, Some(fault)) => table.row("tokenizer", format!("none: {}", fault.replace("\n  ", ": "))),
        (None, None) => table.row("tokenizer", "none: only token ids can be used"),
    }
    let template = description.chat_template.as_deref();
    table.row("chat template", template.unwrap_or("none: prompts are continued as text"));
    table.text += "\ntensors\n";
    for group in &description.groups {
        let types =
            group.types.iter().map(|(dtype, n, bytes)| format!("{dtype} × {n} ({})", units::bytes(*bytes)));
        table.row(&format!("  {}", group.name), types.collect::<Vec<_>>().join(", "));
    }
    table.text += "\nmemory\n";
    table.row("  weights", units::bytes(description.weight_bytes));
    let max_seq_len = llama.engine().max_seq_len();
    for (kv, bytes) in kv_memory(llama) {
        table.row(&format!("  kv {kv}"), format!("{} for {max_seq_len} tokens", units::bytes(bytes)));
    }
    table.text += "\nopenness, by the Open Source AI Definition 1.0\n";
    for Item { what, meets, reason } in openness_of(description) {
        table.row(&format!("  {what}"), format!("{}: {reason}", meets.word()));
    }
    table.text
}

fn openness_of(description: &Description) -> Vec<Item> {
    let (known, said) = licence_of(description);
    openness::card(known, said)
}

/// What the layers of a pruned model have.
fn layers(config: &puna::Config) -> String {
    let n = |has: fn(&LayerSizes) -> bool| config.layer_sizes.iter().filter(|sizes| has(sizes)).count();
    format!(
        "{} with attention, {} with a matrix in its place; {} with a feed-forward block, {} with a matrix in its place",
        n(|sizes| matches!(sizes.attention, Sublayer::Whole(_))),
        n(|sizes| sizes.attention == Sublayer::Linear),
        n(|sizes| matches!(sizes.ffn_dim, Sublayer::Whole(_))),
        n(|sizes| sizes.ffn_dim == Sublayer::Linear),
    )
}

fn tokenizer_rows(table: &mut Table, tokenizer: &TokenizerDescription) {
    let named = |(id, name): &(u32, String)| format!("{id} {name:?}");
    table.row(
        "tokenizer",
        format!("{}, {} tokens, from {}", tokenizer.kind, tokenizer.vocab_size, tokenizer.file),
    );
    let use_of_bos = if tokenizer.adds_bos { "put before a prompt" } else { "not put before a prompt" };
    table.maybe("bos", tokenizer.bos.as_ref().map(|bos| format!("{}, {use_of_bos}", named(bos))));
    table.maybe("eos", tokenizer.eos.as_ref().map(named));
    table.row("stop ids", tokenizer.stops.iter().map(named).collect::<Vec<_>>().join(", "));
}

fn files(n: usize) -> String {
    if n == 1 { "1 file".into() } else { format!("{n} files") }
}

/// Labels in one column, values in another. Many values come from files: none of them makes a line of its own,
/// or says anything to a terminal, in a pipe either.
#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn row(&mut self, label: &str, value: impl std::fmt::Display) {
        self.text += &format!("{label:<18} {}\n", visible(&value.to_string()));
    }

    fn maybe(&mut self, label: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.row(label, value);
        }
    }
}

fn json_of(llama: &Llama, description: &Description) -> Value {
    let config = llama.config();
    let named = |(id, name): &(u32, String)| json!({ "id": id, "piece": name });
    let groups = description.groups.iter().map(|group| {
        let types = group
            .types
            .iter()
            .map(|(dtype, n, bytes)| json!({ "type": dtype.name(), "tensors": n, "bytes": bytes }));
        json!({ "name": group.name, "types": types.collect::<Vec<_>>() })
    });
    let tokenizer = description.tokenizer.as_ref().map(|tokenizer| {
        json!({
            "kind": tokenizer.kind,
            "file": tokenizer.file,
            "vocab_size": tokenizer.vocab_size,
            "bos": tokenizer.bos.as_ref().map(named),
            "adds_bos": tokenizer.adds_bos,
            "eos": tokenizer.eos.as_ref().map(named),
            "stop": tokenizer.stops.iter().map(named).collect::<Vec<_>>(),
        })
    });
    let kv: serde_json::Map<String, Value> =
        kv_memory(llama).map(|(kv, bytes)| (kv, Value::from(bytes))).collect();
    json!({
        "path": llama.path().display().to_string(),
        "name": description.name,
        "license": description.license,
        "form": description.form,
        "recipe": description.recipe,
        "files": description.n_files,
        "architecture": architecture(config),
        "parameters": description.n_params,
        "active_parameters": config.n_active_params(),
        "config": {
            "dim": config.dim,
            "n_layers": config.n_layers,
            "n_heads": config.n_heads,
            "n_kv_heads": config.n_kv_heads,
            "head_dim": config.head_dim,
            "ffn_dim": config.ffn_dim,
            "vocab_size": config.vocab_size,
            "max_seq_len": config.max_seq_len,
            "norm_eps": config.norm_eps.to_string().parse::<f64>().unwrap_or_default(), // in f32's digits
            "rope_theta": config.rope_theta,
            "rope_scaling": description.rope_scaling,
            "tied": config.tied,
            "experts": config.experts.n,
            "experts_per_token": config.experts.n_used,
            "expert_ffn_dim": config.experts.ffn_dim,
            "attention_chunk": config.attention_chunk,
            "sliding_window": config.sliding_window,
            "causal": config.causal,
            "attention_layers": (0..config.n_layers).filter(|i| matches!(config.sizes(*i).attention, Sublayer::Whole(_))).count(),
        },
        "tokenizer": tokenizer,
        "chat_template": description.chat_template,
        "tensors": groups.collect::<Vec<_>>(),
        "openness": openness_of(description)
            .into_iter()
            .map(|Item { what, meets, reason }| json!({"what": what, "meets": meets.word(), "reason": reason}))
            .collect::<Vec<_>>(),
        "memory": {
            "weight_bytes": description.weight_bytes,
            "context": llama.engine().max_seq_len(),
            "kv_bytes": kv,
        },
    })
}

/// The generations' common name.
fn architecture(config: &puna::Config) -> &'static str {
    if config.is_llama4() { "llama4" } else { "llama" }
}
