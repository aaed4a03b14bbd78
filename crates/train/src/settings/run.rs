//! How long, how fast, and what is seen, saved and written on the way.

use puna_formats::yaml::Section;
use puna_model::rope::{RopeScaling, yarn_attention_factor};
use puna_tensor::DType;

use crate::data::DataConfig;
use crate::optimizer::Optimizer;
use crate::schedule::{Schedule, Shape};
use crate::spikes::OnSpike;
use crate::trainer::Recipe;

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// So many steps.
    Steps(u64),
    /// So many passes over the data.
    Epochs(f64),
}

/// How well a run goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Steps between two validations.
    pub every: u64,
    /// Validations without a better loss after which the run ends; never if `None`.
    pub patience: Option<u64>,
    /// The most tokens that are validated on; all if `None`.
    pub max_tokens: Option<u64>,
}

/// Texts that the model makes on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Steps between two times.
    pub every: u64,
    /// What they begin with.
    pub prompts: Vec<String>,
    /// The most tokens of each.
    pub max_tokens: usize,
    /// Below 1 sharper, above 1 flatter, 0 always the most probable token.
    pub temperature: f64,
}

/// What is saved on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoints {
    /// Steps between two checkpoints.
    pub every: u64,
    /// How many of the last are kept, beside the best one.
    pub keep: usize,
}

/// A longer context from some step on.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// The first step with it.
    pub from_step: u64,
    /// The context.
    pub max_seq_len: usize,
    /// Another base of the rotary frequencies.
    pub rope_theta: Option<f64>,
    /// How the frequencies are stretched from then on.
    pub rope_scaling: Option<RopeScaling>,
}

/// What is written in the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// The type of weights in the Hugging Face folder: F32, F16 or BF16.
    pub hf: DType,
    /// The types of GGUF files beside it.
    pub gguf: Vec<DType>,
}

pub(super) fn read_recipe(top: &Section, seed: u64) -> (Length, Recipe) {
    let section = top.section("training");
    let steps = section.count("steps", 1..=u64::from(u32::MAX));
    let epochs = section.number("epochs", "a number above 0", |x| x > 0.0);
    if steps.is_some() && epochs.is_some() {
        let fix = "leave out one of them".to_owned();
        section.fault("epochs", "and `training.steps` both say how long the run is", Some(fix));
    }
    let length = steps.map(Length::Steps).or(epochs.map(Length::Epochs)).unwrap_or(Length::Steps(1000));
    let batch_tokens = section.count("batch_tokens", 2..=1 << 32).unwrap_or(8192) as usize;
    let pass_tokens = section.count("pass_tokens", 2..=1 << 32).map_or(batch_tokens, |n| n as usize);
    let on_spike = [("go", OnSpike::Go), ("skip", OnSpike::Skip), ("stop", OnSpike::Stop)];
    let on_spike = section.choice("on_spike", &on_spike).unwrap_or(OnSpike::Skip);
    section.finish();
    let schedule = read_schedule(top, &length);
    let optimizer = read_optimizer(top);
    // Of epochs it is known once the data are.
    let n_steps = if let Length::Steps(n_steps) = length { n_steps } else { 0 };
    (length, Recipe { n_steps, batch_tokens, pass_tokens, schedule, optimizer, on_spike, seed })
}

fn read_optimizer(top: &Section) -> Optimizer {
    let section = top.section("optimizer");
    let defaults = Optimizer::default();
    let rate = |key| section.number(key, "a number from 0 to below 1", |x| (0.0..1.0).contains(&x));
    let at_least_0 = |key| section.number(key, "a number of at least 0", |x| x >= 0.0);
    let optimizer = Optimizer {
        weight_decay: at_least_0("weight_decay").unwrap_or(defaults.weight_decay),
        decays_tables: section.truth("decays_tables").unwrap_or(defaults.decays_tables),
        betas: (rate("beta1").unwrap_or(defaults.betas.0), rate("beta2").unwrap_or(defaults.betas.1)),
        eps: section.number("eps", "a number above 0", |x| x > 0.0).unwrap_or(defaults.eps),
        max_grad_norm: match at_least_0("max_grad_norm") {
            Some(0.0) => f64::INFINITY,
            norm => norm.unwrap_or(defaults.max_grad_norm),
        },
    };
    section.finish();
    optimizer
}

fn read_schedule(top: &Section, length: &Length) -> Schedule {
    let section = top.section("schedule");
    let lr = section.number("lr", "a number above 0 and at most 1", |x| x > 0.0 && x <= 1.0);
    let shapes = [("cosine", 0), ("wsd", 1), ("constant", 2)];
    let shape = section.choice("shape", &shapes).unwrap_or(0);
    let decay_share =
        section.number("decay_share", "a number above 0 and at most 1", |x| x > 0.0 && x <= 1.0);
    if decay_share.is_some() && shape != 1 {
        section.fault("decay_share", "has no meaning", Some("it belongs to `schedule.shape: wsd`".into()));
    }
    let final_ratio = section.number("final_lr_ratio", "a number from 0 to 1", |x| (0.0..=1.0).contains(&x));
    if final_ratio.is_some() && shape == 2 {
        let fix = "a constant rate does not fall; leave it out".to_owned();
        section.fault("final_lr_ratio", "has no meaning", Some(fix));
    }
    let warmup = section.count("warmup_steps", 0..=u64::from(u32::MAX));
    let n_steps = match length {
        Length::Steps(n) => Some(*n),
        Length::Epochs(_) => None,
    };
    if let (Some(warmup), Some(n_steps)) = (warmup, n_steps)
        && warmup > n_steps
    {
        let fix = format!("say at most {n_steps}, or more training.steps");
        section.fault("warmup_steps", format!("is {warmup}, but there are {n_steps} steps"), Some(fix));
    }
    section.finish();
    Schedule {
        lr: lr.unwrap_or(2e-3),
        final_lr_ratio: final_ratio.unwrap_or(0.1),
        n_warmup_steps: warmup,
        shape: match shape {
            0 => Shape::Cosine,
            1 => Shape::StableDecay { decay_share: decay_share.unwrap_or(0.4) },
            _ => Shape::Constant,
        },
    }
}

pub(super) fn read_validation(top: &Section, data: &DataConfig) -> Validation {
    let section = top.section("validation");
    let every = section.count("every", 1..=u64::MAX);
    let patience = section.count("patience", 1..=u64::MAX);
    if data.valid.is_empty() && data.valid_share == 0.0 && (every.is_some() || patience.is_some()) {
        let fix = "name `data.valid`, or keep a part back with `data.valid_share`".to_owned();
        section.fault("", "has nothing to validate on", Some(fix));
    }
    let max_tokens = section.count("max_tokens", 2..=u64::MAX);
    section.finish();
    Validation { every: every.unwrap_or(250), patience, max_tokens }
}

pub(super) fn read_samples(top: &Section) -> Samples {
    let section = top.section("samples");
    let every = section.count("every", 1..=u64::MAX);
    let prompts = section.texts("prompts");
    let temperature = section.number("temperature", "a number of at least 0", |x| x >= 0.0);
    let max_tokens = section.count("max_tokens", 1..=1 << 20).unwrap_or(100) as usize;
    section.finish();
    Samples {
        every: every.unwrap_or(500),
        prompts: prompts.unwrap_or_else(|| vec![String::new()]),
        max_tokens,
        temperature: temperature.unwrap_or(0.8),
    }
}

pub(super) fn read_checkpoints(top: &Section) -> Checkpoints {
    let section = top.section("checkpoints");
    let checkpoints = Checkpoints {
        every: section.count("every", 1..=u64::MAX).unwrap_or(250),
        keep: section.count("keep", 1..=10_000).unwrap_or(2) as usize,
    };
    section.finish();
    checkpoints
}

pub(super) fn read_extensions(top: &Section, data: &DataConfig, length: &Length) -> Vec<Extension> {
    let (mut before, mut context) = (0, data.max_len);
    let mut extensions = Vec::new();
    for section in top.sections("extend") {
        let from_step = section.count("from_step", 2..=u64::from(u32::MAX));
        let max_seq_len = section.count("max_seq_len", 2..=1 << 24).map(|n| n as usize);
        let rope_theta = section.number("rope_theta", "a number above 1", |x| x > 1.0);
        let rope_scaling = read_scaling(&section);
        for key in ["from_step", "max_seq_len"].into_iter().filter(|key| !section.has(key)) {
            section.fault(key, "is missing", None);
        }
        if let Some(step) = from_step {
            if step <= before {
                section.fault("from_step", format!("is {step}, not after the extension before"), None);
            }
            if matches!(length, Length::Steps(n) if step > *n) {
                section.fault("from_step", format!("is {step}, after the last step"), None);
            }
            before = step;
        }
        if let Some(len) = max_seq_len {
            if len < context {
                section.fault("max_seq_len", format!("is {len}, shorter than before ({context})"), None);
            }
            context = len;
        }
        section.finish();
        extensions.extend(from_step.zip(max_seq_len).map(|(from_step, max_seq_len)| Extension {
            from_step,
            max_seq_len,
            rope_theta,
            rope_scaling,
        }));
    }
    extensions
}

fn read_scaling(section: &Section) -> Option<RopeScaling> {
    let section = section.section("rope_scaling");
    if !section.is_given() {
        return None;
    }
    let kind = section.choice("kind", &[("linear", 0), ("llama3", 1), ("yarn", 2)]);
    let factor = section.number("factor", "a number of at least 1", |x| x >= 1.0);
    let original = section.count("original", 1..=1 << 24).map(|n| n as f64);
    for key in ["kind", "factor"].into_iter().filter(|key| !section.has(key)) {
        section.fault(key, "is missing", None);
    }
    if original.is_none() && !section.has("original") && matches!(kind, Some(1 | 2)) {
        let fix = "say the context that the model had before".to_owned();
        section.fault("original", "is missing", Some(fix));
    }
    section.finish();
    let (factor, original) = (factor.unwrap_or(1.0), original.unwrap_or(1.0));
    Some(match kind? {
        0 => RopeScaling::Linear { factor },
        1 => RopeScaling::Llama3 { factor, low_freq_factor: 1.0, high_freq_factor: 4.0, original },
        _ => RopeScaling::Yarn {
            factor,
            original,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            attention_factor: yarn_attention_factor(factor, 1.0) as f32,
        },
    })
}

pub(super) fn read_export(top: &Section) -> Export {
    let section = top.section("export");
    let plain = [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];
    let hf = section.choice("hf", &plain).unwrap_or(DType::F32);
    let names = section.texts("gguf");
    let all = [
        ("f32", DType::F32),
        ("f16", DType::F16),
        ("bf16", DType::BF16),
        ("q8_0", DType::Q8_0),
        ("q4_0", DType::Q4_0),
    ];
    let mut gguf = Vec::new();
    for name in names.unwrap_or_else(|| vec!["q8_0".into()]) {
        match all.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            Some((_, dtype)) => gguf.push(*dtype),
            None => {
                let names = all.map(|(name, _)| name).join(", ");
                section.fault(
                    "gguf",
                    format!("has `{}`; expected {names}", puna_formats::visible(&name)),
                    None,
                );
            }
        }
    }
    section.finish();
    Export { hf, gguf }
}
