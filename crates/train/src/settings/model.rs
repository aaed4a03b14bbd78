//! What is trained: a new model of any Llama shape, or a checkpoint to go on from; and its tokenizer.

use std::path::PathBuf;

use puna_formats::yaml::Section;
use puna_model::{Config, Experts, LayerKind, Routing};
use puna_tensor::RopeLayout;

use super::paths::check_model;

/// What is trained.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // There is one.
pub enum ModelSettings {
    /// A model with random weights.
    New(NewModel),
    /// The model of this checkpoint.
    From(PathBuf),
}

/// The shape of a new model. Its vocabulary is that of its tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct NewModel {
    /// All but `vocab_size`.
    pub config: Config,
    /// The deviation of its first weights.
    pub init_std: f64,
}

/// How text becomes tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerSettings {
    /// A vocabulary of this many tokens is trained on the data.
    Train {
        /// Tokens, special ones included.
        vocab_size: usize,
    },
    /// That of this checkpoint, folder or file.
    From(PathBuf),
    /// That of the checkpoint that is trained.
    OfModel,
}

/// Sizes that the depth suggests, where they are not given.
struct Dial {
    dim: usize,
    head_dim: usize,
    n_kv_heads: usize,
    ffn_dim: usize,
}

/// One dial: as many layers as `depth`, 64 times as wide (as nanochat does), heads of 64, a third as many for keys
/// and values where they divide, and a SwiGLU of 8/3 the width, in steps of 32 (Touvron et al. 2023).
fn dial(depth: usize, dim: Option<usize>, n_heads: Option<usize>) -> Dial {
    let dim = dim.unwrap_or(64 * depth);
    let head_dim = match n_heads {
        Some(n_heads) => dim / n_heads.max(1),
        None if dim < 256 => 32,
        None => 64,
    };
    let n_heads = n_heads.unwrap_or(dim / head_dim.max(1));
    let n_kv_heads = match n_heads {
        n if n.is_multiple_of(3) => n / 3,
        n if n.is_multiple_of(2) => n / 2,
        n => n,
    };
    Dial { dim, head_dim, n_kv_heads: n_kv_heads.max(1), ffn_dim: (dim * 8 / 3).div_ceil(32) * 32 }
}

const DEFAULT_DEPTH: usize = 4;
const SIZES: [&str; 13] = [
    "depth",
    "dim",
    "n_layers",
    "n_heads",
    "n_kv_heads",
    "head_dim",
    "ffn_dim",
    "max_seq_len",
    "rope_theta",
    "norm_eps",
    "tied",
    "experts",
    "init_std",
];

pub(super) fn read(top: &Section, is_model: &dyn Fn(&str) -> bool) -> (ModelSettings, TokenizerSettings) {
    let section = top.section("model");
    let from = section.text("from");
    let model = match from {
        Some(path) => {
            check_model(&section, &path, is_model);
            for key in SIZES.into_iter().filter(|key| section.node(key).is_some()) {
                let fix = format!("leave out `model.{key}` or `model.from`");
                section.fault(key, "is the checkpoint's to say, where `model.from` names one", Some(fix));
            }
            ModelSettings::From(PathBuf::from(path))
        }
        None => ModelSettings::New(read_new(&section)),
    };
    section.finish();
    let section = top.section("tokenizer");
    let (path, vocab_size) = (section.text("from"), section.count("vocab_size", 258..=1 << 20));
    let tokenizer = match (path, vocab_size) {
        (Some(path), None) => {
            check_model(&section, &path, is_model);
            TokenizerSettings::From(PathBuf::from(path))
        }
        (Some(_), Some(_)) => {
            let fix = "leave out one of them".to_owned();
            section.fault("vocab_size", "is that of the tokenizer which `tokenizer.from` names", Some(fix));
            TokenizerSettings::OfModel
        }
        (None, _) if matches!(model, ModelSettings::From(_)) => {
            if vocab_size.is_some() {
                let fix = "leave out `tokenizer`: the checkpoint's own is used".to_owned();
                section.fault("vocab_size", "cannot be chosen for a model that has one", Some(fix));
            }
            TokenizerSettings::OfModel
        }
        (None, vocab_size) => TokenizerSettings::Train { vocab_size: vocab_size.unwrap_or(4096) as usize },
    };
    section.finish();
    (model, tokenizer)
}

fn read_new(section: &Section) -> NewModel {
    let size = |key, most| section.count(key, 1..=most).map(|n| n as usize);
    let depth = size("depth", 1024);
    let (dim, n_heads) = (size("dim", 1 << 20), size("n_heads", 1 << 16));
    let n_layers = size("n_layers", 4096);
    if depth.is_some() && n_layers.is_some() {
        let fix = "leave out one of them".to_owned();
        section.fault("n_layers", "and `model.depth` say the same", Some(fix));
    }
    let n_layers = n_layers.or(depth).unwrap_or(DEFAULT_DEPTH);
    let dial = dial(n_layers, dim, n_heads);
    let divides = |dim: usize, n_heads: usize| dim.is_multiple_of(n_heads) || section.has("head_dim");
    let is_divided = dim.zip(n_heads).is_none_or(|(dim, n_heads)| divides(dim, n_heads));
    if let (Some(dim), Some(n_heads), false) = (dim, n_heads, is_divided) {
        let fact = format!("is {n_heads}, which does not divide the width of {dim}");
        section.fault("n_heads", fact, Some("choose another number, or say `head_dim`".into()));
    }
    let head_dim = size("head_dim", 4096).unwrap_or(dial.head_dim);
    let n_heads = n_heads.unwrap_or((dial.dim / head_dim.max(1)).max(1));
    let n_kv_heads = size("n_kv_heads", 1 << 16).unwrap_or(dial.n_kv_heads);
    let mut config = Config {
        dim: dial.dim,
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim,
        ffn_dim: size("ffn_dim", 1 << 20).unwrap_or(dial.ffn_dim),
        // Until the tokenizer is known.
        vocab_size: 258,
        max_seq_len: size("max_seq_len", 1 << 24).unwrap_or(512),
        norm_eps: section
            .number("norm_eps", "a number from 0 to 0.1", |x| (0.0..=0.1).contains(&x))
            .unwrap_or(1e-5) as f32,
        rope_theta: section.number("rope_theta", "a number above 1", |x| x > 1.0).unwrap_or(10_000.0),
        rope_layout: RopeLayout::HalfSplit,
        tied: section.truth("tied").unwrap_or(n_layers < 12),
        ..Config::default()
    };
    read_experts(section, &mut config);
    // Whatever does not fit is found by the same check that checkpoints pass.
    if let (Err(fact), true) = (config.check(), is_divided) {
        section.fault("", format!("cannot be built: {fact}"), None);
    }
    let init_std = section.number("init_std", "a number above 0 and at most 1", |x| x > 0.0 && x <= 1.0);
    NewModel { config, init_std: init_std.unwrap_or(0.02) }
}

fn read_experts(section: &Section, config: &mut Config) {
    let experts = section.section("experts");
    if experts.is_given() {
        let n = experts.count("n", 2..=4096).unwrap_or(2) as usize;
        let n_used = experts.count("n_used", 1..=4096).unwrap_or(2.min(n as u64)) as usize;
        if n_used > n {
            experts.fault("n_used", format!("is {n_used}, but there are {n} experts"), None);
        }
        let ffn_dim = experts.count("ffn_dim", 1..=1 << 20).map_or(config.ffn_dim, |n| n as usize);
        config.experts = Experts { n, n_used: n_used.min(n), ffn_dim, routing: Routing::Outputs };
        config.layer_kinds = vec![LayerKind { experts: true, ..LayerKind::default() }; config.n_layers];
    }
    experts.finish();
}
