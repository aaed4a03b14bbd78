//! How heads rotate: the keys of transformers 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`).

use serde_json::{Value, json};

use crate::config::Config;
use crate::config::json::{flag, list, number, object, short as short_of, text};
use crate::rope::{RopeScaling, longrope_attention_factor, yarn_attention_factor};

/// Theta and scaling. A `rope_scaling` that says anything counts alone, as in transformers; else
/// `rope_parameters`, its newer name. Theta stands in it, or beside it.
///
/// A `partial_rotary_factor` is not heeded where nothing is scaled: transformers reads it, but its Llama turns
/// whole heads.
pub(super) fn read(
    config: &Value,
    max_seq_len: usize,
    default_theta: f64,
) -> Result<(f64, RopeScaling), String> {
    let says_something = |object: &&Value| object.as_object().is_some_and(|object| !object.is_empty());
    let parameters = match object(config, "rope_scaling")?.filter(says_something) {
        Some(scaling) => Some(scaling),
        None => object(config, "rope_parameters")?,
    };
    let own = |key: &str| {
        let inside = parameters.map(|object| number(object, key)).transpose()?.flatten();
        Ok::<_, String>(inside.or(number(config, key)?))
    };
    let scaling = match parameters {
        Some(object) => scaling(object, config, max_seq_len)?,
        None => RopeScaling::None,
    };
    if let Some(share) = own("partial_rotary_factor")?.filter(|share| *share != 1.0)
        && matches!(
            scaling,
            RopeScaling::Yarn { .. } | RopeScaling::LongRope { .. } | RopeScaling::Dynamic { .. }
        )
    {
        return Err(format!(
            "partial_rotary_factor is {share}, which no Llama has together with its rope scaling"
        ));
    }
    Ok((own("rope_theta")?.unwrap_or(default_theta), scaling))
}

/// One scaling object, old (`type`) or new (`rope_type`), of this configuration.
fn scaling(object: &Value, config: &Value, max_seq_len: usize) -> Result<RopeScaling, String> {
    let kind = match text(object, "rope_type")? {
        Some(kind) => Some(kind),
        None => text(object, "type")?,
    };
    let required = |key: &str| number(object, key)?.ok_or_else(|| format!("rope scaling: {key} is missing"));
    // Beside the object it counts before the one inside; without either nothing was stretched.
    let original = || {
        const KEY: &str = "original_max_position_embeddings";
        let (outer, inner) = (number(config, KEY)?, number(object, KEY)?);
        Ok::<_, String>(outer.or(inner).unwrap_or(max_seq_len as f64))
    };
    match kind {
        None if object.get("factor").is_some_and(|f| !f.is_null()) => {
            Err("rope scaling has a factor but no rope_type".into())
        }
        None | Some("default") => Ok(RopeScaling::None),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: required("factor")?,
            low_freq_factor: required("low_freq_factor")?,
            high_freq_factor: required("high_freq_factor")?,
            original: original()?,
        }),
        Some("linear") => Ok(RopeScaling::Linear { factor: required("factor")? }),
        // Transformers takes `max_position_embeddings` here, whatever else the object says.
        Some("dynamic") => {
            Ok(RopeScaling::Dynamic { factor: required("factor")?, original: max_seq_len as f64 })
        }
        Some("yarn") => yarn(object, original()?, max_seq_len),
        Some("longrope") => {
            let original = original()?;
            let factor = number(object, "factor")?.unwrap_or(max_seq_len as f64 / original);
            let attention_factor = number(object, "attention_factor")?;
            Ok(RopeScaling::LongRope {
                short: divisors(object, "short_factor")?,
                long: divisors(object, "long_factor")?,
                original,
                attention_factor: attention_factor
                    .unwrap_or_else(|| longrope_attention_factor(factor, original))
                    as f32,
            })
        }
        Some(other) => Err(format!(
            "rope type `{other}` is not supported; supported: default, llama3, linear, dynamic, yarn, longrope"
        )),
    }
}

/// The defaults are transformers' and the paper's.
fn yarn(object: &Value, original: f64, max_seq_len: usize) -> Result<RopeScaling, String> {
    let factor = number(object, "factor")?.unwrap_or(max_seq_len as f64 / original);
    let not_zero = |key: &str| Ok::<_, String>(number(object, key)?.filter(|x| *x != 0.0));
    let attention_factor =
        match (number(object, "attention_factor")?, not_zero("mscale")?, not_zero("mscale_all_dim")?) {
            (Some(given), ..) => given,
            (None, Some(mscale), Some(all)) => {
                yarn_attention_factor(factor, mscale) / yarn_attention_factor(factor, all)
            }
            (None, ..) => yarn_attention_factor(factor, 1.0),
        };
    let truncate = object.get("truncate").is_none_or(Value::is_null) || flag(object, "truncate")?;
    Ok(RopeScaling::Yarn {
        factor,
        original,
        beta_fast: not_zero("beta_fast")?.unwrap_or(32.0),
        beta_slow: not_zero("beta_slow")?.unwrap_or(1.0),
        truncate,
        attention_factor: attention_factor as f32,
    })
}

fn divisors(object: &Value, key: &str) -> Result<Vec<f32>, String> {
    let values = list(object, key)?.ok_or_else(|| format!("rope scaling: {key} is missing"))?;
    let number = |value: &Value| value.as_f64().map(|x| x as f32);
    let numbers: Option<Vec<f32>> = values.iter().map(number).collect();
    numbers.ok_or_else(|| format!("rope scaling: {key} is not a list of numbers"))
}

/// The context with its scaling. Linear and dynamic scaling stretch `max_position_embeddings`, which stays
/// the length the model was first trained for; llama3 scaling is included in it.
pub(super) fn stretched(max_seq_len: usize, scaling: &RopeScaling) -> usize {
    match scaling {
        RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } if *factor > 1.0 => {
            (max_seq_len as f64 * factor) as usize
        }
        _ => max_seq_len,
    }
}

/// The scaling of a model. The message says which one a configuration has no words for.
pub(super) fn scaling_to_hf(config: &Config) -> Result<Value, String> {
    Ok(match &config.rope_scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Dynamic { factor, .. } => json!({"rope_type": "dynamic", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor, "original_max_position_embeddings": *original as u64,
        }),
        RopeScaling::Yarn { factor, original, beta_fast, beta_slow, truncate, attention_factor } => json!({
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": *original as u64,
            "beta_fast": beta_fast, "beta_slow": beta_slow, "truncate": truncate,
            "attention_factor": short_of(*attention_factor),
        }),
        RopeScaling::LongRope { short, long, original, attention_factor } => json!({
            "rope_type": "longrope", "original_max_position_embeddings": *original as u64,
            "factor": config.max_seq_len as f64 / original, "attention_factor": short_of(*attention_factor),
            "short_factor": short.iter().map(|x| short_of(*x)).collect::<Vec<f64>>(),
            "long_factor": long.iter().map(|x| short_of(*x)).collect::<Vec<f64>>(),
        }),
        RopeScaling::Divisors(_) => {
            return Err("config.json cannot express this model's rotary frequency divisors".into());
        }
    })
}

/// What [`stretched`] makes the context from.
pub(super) fn unstretched(config: &Config) -> usize {
    match &config.rope_scaling {
        RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } if *factor > 1.0 => {
            (config.max_seq_len as f64 / factor) as usize
        }
        _ => config.max_seq_len,
    }
}
