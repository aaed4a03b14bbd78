//! What it takes to hold answers to forms: once for each model, once for each form, and for each token.
//!
//! ```text
//! cargo bench -p puna --bench form_speed -- ../shared/conformance/tokenizer/llama3.tokenizer.model
//! ```
//!
//! The vocabulary is the one given, of tiktoken's form; the model around it is random and tiny, since only the tokens
//! count. Each form is compiled several times, and the median is told; then a document of it is read, and the time that its
//! tokens' masks took. With `--steps`, the time of a step follows, without a form and with each, of a random model whose
//! passes take as long as those of a Llama of 1 billion parameters in four bits; it needs 3 GB of memory and 1 GB of disk.

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant};

use puna::{Form, Llama, PromptTokens, Request, SamplingParams};
use puna_engine::Sequence;
use puna_engine::sampling::Sampler;
use puna_model::{Config, LayerKind, Model, Weights};
use puna_tensor::{DType, Weight};
use serde_json::{Map, Value, json};

type Failure = Box<dyn std::error::Error>;

const VOCAB_SIZE: usize = 128_256;
const N_COMPILES: usize = 7;
/// Steps before the time counts: weights are repacked in them.
const WARM_UP: usize = 40;
const N_STEPS: usize = 60;

fn main() -> Result<(), Failure> {
    let Some(tokenizer) = std::env::args().skip(1).find(|word| !word.starts_with('-')) else {
        return Err("the path of a tokenizer.model of Llama 3 is missing".into());
    };
    let dir = tempfile::tempdir()?;
    let llama = random_llama(Path::new(&tokenizer), TINY, dir.path())?;
    let in_chat = PromptTokens { is_chat: true, ..PromptTokens::default() };

    let start = Instant::now();
    llama.constraint(&Form::Object, &in_chat)?;
    println!("the vocabulary: {:.0?}", start.elapsed());
    println!(
        "{:<24} {:>8} {:>10} {:>7} {:>9} {:>9} {:>9}",
        "form", "bytes", "compile", "tokens", "mean", "p95", "max"
    );
    for (name, form, text) in forms() {
        let compiles = (0..N_COMPILES).map(|_| {
            let start = Instant::now();
            llama.constraint(&form, &in_chat).map(|_| start.elapsed())
        });
        let compile = quantile(compiles.collect::<Result<Vec<_>, _>>()?, 0.5);
        let masks = masks(&llama, &form, &in_chat, &text)?;
        let (n, mean) = (masks.len(), masks.iter().sum::<Duration>() / masks.len() as u32);
        let n_bytes = if let Form::Schema(schema) = &form { schema.to_string().len() } else { 0 };
        let (p95, max) = (quantile(masks.clone(), 0.95), quantile(masks, 1.0));
        println!("{name:<24} {n_bytes:>8} {compile:>10.1?} {n:>7} {mean:>9.1?} {p95:>9.1?} {max:>9.1?}");
    }
    match std::env::args().any(|word| word == "--steps") {
        true => steps(Path::new(&tokenizer)),
        false => Ok(()),
    }
}

/// What a step takes, in which each of some sequences makes a token: the mean, without a form and with each. Both run in
/// turn, so that what else the machine does meets them alike.
fn steps(tokenizer: &Path) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let llama = random_llama(tokenizer, LIKE_1B, dir.path())?;
    println!("{:<24} {:>9} {:>10} {:>10} {:>9}", "form", "sequences", "without", "with", "slower by");
    for n_sequences in [1, 8] {
        for (name, form, _) in forms() {
            let held = [None, Some(&form)];
            let set = |form| (0..n_sequences).map(|i| begin(&llama, form, i)).collect::<Result<Vec<_>, _>>();
            let mut sets = [set(held[0])?, set(held[1])?];
            let mut times = [Duration::ZERO; 2];
            for n in 0..WARM_UP + N_STEPS {
                for ((set, form), time) in sets.iter_mut().zip(held).zip(&mut times) {
                    let start = Instant::now();
                    llama.engine().step(&mut set.iter_mut().collect::<Vec<_>>(), |_, _| ())?;
                    if n >= WARM_UP {
                        *time += start.elapsed();
                    }
                    // Another one takes the place of one that is over. Its prompt is one token.
                    for (i, sequence) in set.iter_mut().enumerate() {
                        if sequence.finish_reason().is_some() {
                            *sequence = begin(&llama, form, (n + 1) * n_sequences + i)?;
                        }
                    }
                }
            }
            let [without, with] = times.map(|time| time / N_STEPS as u32);
            let slower = 100.0 * (with.as_secs_f64() / without.as_secs_f64() - 1.0);
            println!("{name:<24} {n_sequences:>9} {without:>10.2?} {with:>10.2?} {slower:>8.1}%");
        }
    }
    Ok(())
}

/// A sequence that makes tokens after BOS, which no id ends but those of the form.
fn begin(llama: &Llama, form: Option<&Form>, seed: usize) -> Result<Sequence, Failure> {
    let sampling = SamplingParams { seed: Some(seed as u64), ..SamplingParams::default() };
    let constraint = form.map(|form| llama.constraint(form, &PromptTokens::default())).transpose()?;
    let stop_ids = if form.is_some() { llama.tokenizer()?.stop_ids().to_vec() } else { Vec::new() };
    let request = Request::new(vec![128_000], Sampler::new(&sampling)?);
    Ok(llama.engine().begin(Request { constraint, stop_ids, ..request })?)
}

/// What each token of a document takes: its mask, and to accept it.
fn masks(llama: &Llama, form: &Form, prompt: &PromptTokens, text: &str) -> Result<Vec<Duration>, Failure> {
    let mut constraint = llama.constraint(form, prompt)?;
    let mut masks = Vec::new();
    for id in llama.tokenizer()?.encode(text, Default::default()) {
        let start = Instant::now();
        let words = constraint.allowed()?;
        if words[id as usize / 32] >> (id % 32) & 1 == 0 {
            return Err(format!("token {id} of {text} is not allowed").into());
        }
        constraint.accept(id)?;
        masks.push(start.elapsed());
    }
    Ok(masks)
}

fn forms() -> Vec<(&'static str, Form, String)> {
    let person = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "born": {"type": "string", "format": "date"},
            "works": {"type": "array", "items": {"type": "object", "properties": {
                "title": {"type": "string"}, "year": {"type": "integer", "minimum": 1400, "maximum": 2100},
            }, "required": ["title", "year"], "additionalProperties": false}},
            "genre": {"enum": ["poem", "play", "novel"]},
        },
        "required": ["name", "born", "works"],
        "additionalProperties": false,
    });
    let goethe = json!({
        "name": "Johann Wolfgang von Goethe", "born": "1749-08-28",
        "works": [{"title": "Faust. Der Tragödie erster Teil", "year": 1808},
                  {"title": "Die Leiden des jungen Werthers", "year": 1774}],
        "genre": "play",
    });
    let call = json!({"name": "tool_17", "parameters": {
        "query_17": "where the weather is fine today", "limit_17": 12, "mode_17": "fast",
        "filters_17": [{"field": "place", "value": "Valparaíso"}],
    }});
    vec![
        ("an object", Form::Object, spaced(&goethe)),
        ("a person", Form::Schema(person), spaced(&goethe)),
        ("20 tools", Form::Schema(tools(20)), spaced(&call)),
        ("140 tools", Form::Schema(tools(140)), spaced(&call)),
        (
            "an expression",
            Form::Regex(r"([A-Z][a-z]+ ){3,9}[a-z]+\.".into()),
            "One Two Three Four five.".into(),
        ),
    ]
}

/// With spaces behind commas and colons, as models write it.
fn spaced(value: &Value) -> String {
    value.to_string().replace("\",\"", "\", \"").replace("\":", "\": ")
}

/// One of so many tools is called.
fn tools(n: usize) -> Value {
    let tool = |i: usize| {
        let mut properties = Map::new();
        let described = |mut schema: Value| {
            schema["description"] = json!("What this parameter is for, in a sentence that a model may read.");
            schema
        };
        properties.insert(format!("query_{i}"), described(json!({"type": "string"})));
        properties.insert(
            format!("limit_{i}"),
            described(json!({"type": "integer", "minimum": 1, "maximum": 100})),
        );
        properties.insert(format!("mode_{i}"), described(json!({"enum": ["fast", "exact", "both"]})));
        properties.insert(
            format!("filters_{i}"),
            json!({"type": "array", "items": {"type": "object", "properties": {
            "field": {"type": "string"}, "value": {"type": ["string", "number", "null"]},
        }, "required": ["field", "value"], "additionalProperties": false}}),
        );
        json!({"type": "object", "properties": {
            "name": {"const": format!("tool_{i}")},
            "parameters": {"type": "object", "properties": properties, "required": [format!("query_{i}")],
                           "additionalProperties": false},
        }, "required": ["name", "parameters"], "additionalProperties": false})
    };
    json!({"oneOf": (0..n).map(tool).collect::<Vec<_>>()})
}

/// The sizes of a random model.
struct Sizes {
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    ffn_dim: usize,
}

const TINY: Sizes = Sizes { dim: 32, n_layers: 1, n_heads: 1, n_kv_heads: 1, ffn_dim: 32 };
/// Layers of Llama 3.2 1B, a quarter of them, since they are stored in 16 bits.
const LIKE_1B: Sizes = Sizes { dim: 2048, n_layers: 4, n_heads: 32, n_kv_heads: 8, ffn_dim: 8192 };

/// A random model with this vocabulary.
fn random_llama(tokenizer: &Path, sizes: Sizes, dir: &Path) -> Result<Llama, Failure> {
    let Sizes { dim, n_layers, n_heads, n_kv_heads, ffn_dim } = sizes;
    let config = Config {
        dim,
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim: dim / n_heads,
        ffn_dim,
        vocab_size: VOCAB_SIZE,
        max_seq_len: 512,
        norm_eps: 1e-5,
        rope_theta: 500_000.0,
        layer_kinds: vec![LayerKind::default(); n_layers],
        ..Config::default()
    };
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u32 << 24) as f32 - 0.5) / 16.0
    };
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        let values = (0..rows * cols).map(|_| if rows == 1 { 1.0 } else { random() }).collect();
        Ok::<_, Infallible>(Weight::owned(id, rows, cols, values))
    });
    let Ok(weights) = weights;
    Model::new(config, weights).save_meta(dir, DType::F16)?;
    std::fs::copy(tokenizer, dir.join("tokenizer.model"))?;
    Ok(Llama::load(dir)?)
}

fn quantile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}
