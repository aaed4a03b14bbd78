//! `options`: how tokens are chosen, how many, and hints about the machine.

use serde_json::Value;

use crate::{Fields, Problem, Sampling};

/// The most strings that end an answer.
const MOST_STOPS: usize = 64;

/// The largest divisor of logits that is taken; beyond, all tokens are as likely as another.
const HOTTEST: f64 = 100.0;

/// What else Ollama documents: hints about the machine, ways to choose tokens that are refused, and names of old.
const OTHER_NAMES: [&str; 19] = [
    "f16_kv",
    "logits_all",
    "low_vram",
    "main_gpu",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_batch",
    "num_gpu",
    "num_gqa",
    "num_keep",
    "num_thread",
    "numa",
    "penalize_newline",
    "rope_frequency_base",
    "rope_frequency_scale",
    "tfs_z",
    "use_mlock",
    "use_mmap",
];

/// What is heeded.
const NAMES: [&str; 13] = [
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "repeat_last_n",
    "seed",
    "num_predict",
    "num_ctx",
    "stop",
];

/// What `options` says, and the parameters of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// `num_predict`: the most tokens of an answer.
    pub max_tokens: Option<usize>,
    /// Strings that end an answer.
    pub stop: Vec<String>,
    /// `num_ctx`: the context that is asked for.
    pub context: Option<usize>,
}

impl Options {
    /// Reads them. `num_thread`, `num_gpu`, `num_batch`, `main_gpu`, `use_mmap`, `use_mlock`, `numa`, `low_vram` and
    /// `num_keep` are about the machine or about contexts that are shifted, which we do not do: they pass, and so
    /// does what nobody documents.
    pub fn read(fields: &Fields) -> Result<Options, Problem> {
        refuse(fields)?;
        let sampling = Sampling {
            temperature: fields.number("temperature", 0.0..=HOTTEST)?,
            // Ollama takes negative ones for "all", too.
            top_k: fields.int("top_k", i64::MIN..=i64::MAX)?.map(|k| usize::try_from(k).unwrap_or(0)),
            top_p: fields.number("top_p", 0.0..=1.0)?,
            min_p: fields.number("min_p", 0.0..=1.0)?,
            typical_p: fields.number("typical_p", 0.0..=1.0)?,
            repeat_penalty: fields.number("repeat_penalty", 0.01..=100.0)?,
            presence_penalty: fields.number("presence_penalty", -100.0..=100.0)?,
            frequency_penalty: fields.number("frequency_penalty", -100.0..=100.0)?,
            // -1 is all of them.
            repeat_last_n: fields.int("repeat_last_n", -1..=i64::MAX)?.and_then(|n| usize::try_from(n).ok()),
            // -1 is any; other negative ones are seeds like any other.
            seed: fields.int("seed", i64::MIN..=i64::MAX)?.filter(|seed| *seed != -1).map(i64::cast_unsigned),
            logit_bias: Vec::new(),
        };
        // -1 has no limit and -2 fills the context, which ends every answer of ours anyway; so does 0 with Ollama.
        let most = |n: i64| usize::try_from(n).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
        Ok(Options {
            sampling,
            max_tokens: fields.int("num_predict", -2..=i64::MAX)?.map(most),
            stop: fields.strings("stop", MOST_STOPS)?,
            context: fields.count("num_ctx", 0..=usize::MAX)?.filter(|n| *n > 0),
        })
    }
}

/// Refuses names that nobody documents: in what a model is made of, they are mistakes.
pub fn check_names(fields: &Fields) -> Result<(), Problem> {
    let is_known = |name: &str| NAMES.contains(&name) || OTHER_NAMES.contains(&name);
    match fields.iter().find(|(name, _)| !is_known(name)) {
        Some((name, _)) => {
            let path = fields.path(name);
            let known = NAMES.join(", ");
            Err(Problem::field(&path, format!("`{path}` is no parameter; parameters are {known}")))
        }
        None => Ok(()),
    }
}

/// What would change the answer and is not there.
fn refuse(fields: &Fields) -> Result<(), Problem> {
    let is = |neutral: f64| move |value: &Value| value.as_f64() == Some(neutral);
    let instead = "use `temperature`, `top_p` or `min_p`";
    fields.refuse("mirostat", is(0.0), instead)?;
    fields.refuse("tfs_z", is(1.0), instead)?;
    fields.refuse(
        "penalize_newline",
        |value| value == &Value::Bool(true),
        "line breaks are penalised like other tokens",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: &Value) -> Result<Options, Problem> {
        Options::read(&Fields::within(options, "options").unwrap())
    }

    #[test]
    fn what_is_heeded() {
        let options = json!({
            "num_ctx": 4096, "num_predict": 7, "temperature": 0, "top_k": -1, "top_p": 0.9, "min_p": 0.05,
            "typical_p": 0.7, "repeat_penalty": 1.1, "repeat_last_n": 64, "presence_penalty": 0.5,
            "frequency_penalty": -1, "seed": 42, "stop": ["a", "b"], "num_gpu": "many", "num_thread": 8,
            "numa": true, "mirostat": 0, "mirostat_tau": 5, "tfs_z": 1, "penalize_newline": true, "own": [1],
        });
        let sampling = Sampling {
            temperature: Some(0.0),
            top_k: Some(0),
            top_p: Some(0.9),
            min_p: Some(0.05),
            typical_p: Some(0.7),
            repeat_penalty: Some(1.1),
            repeat_last_n: Some(64),
            presence_penalty: Some(0.5),
            frequency_penalty: Some(-1.0),
            seed: Some(42),
            logit_bias: Vec::new(),
        };
        let stop = vec!["a".to_owned(), "b".to_owned()];
        let wanted = Options { sampling, max_tokens: Some(7), stop, context: Some(4096) };
        assert_eq!(read(&options), Ok(wanted));
        let unlimited =
            json!({"num_predict": null, "seed": -1, "repeat_last_n": -1, "num_ctx": 0, "stop": null});
        assert_eq!(read(&unlimited), Ok(Options::default()));
        for n in [-2, -1, 0] {
            assert_eq!(read(&json!({"num_predict": n})).unwrap().max_tokens, Some(usize::MAX));
        }
        assert_eq!(read(&json!({"repeat_last_n": 0})).unwrap().sampling.repeat_last_n, Some(0));
        assert_eq!(read(&json!({"stop": "x"})).unwrap().stop, ["x"]);
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            json!({"mirostat": 1}),
            json!({"mirostat": "x"}),
            json!({"tfs_z": 0.5}),
            json!({"penalize_newline": false}),
            json!({"temperature": "hot"}),
            json!({"temperature": -0.1}),
            json!({"top_p": 1.5}),
            json!({"min_p": -1}),
            json!({"typical_p": 2}),
            json!({"top_k": 1.5}),
            json!({"repeat_penalty": 0}),
            json!({"repeat_last_n": -2}),
            json!({"presence_penalty": "x"}),
            json!({"frequency_penalty": 1e9}),
            json!({"seed": "x"}),
            json!({"num_predict": -3}),
            json!({"num_ctx": -1}),
            json!({"stop": [1]}),
            json!({"stop": vec!["x"; 65]}),
        ];
        for options in cases {
            let problem = read(&options).unwrap_err();
            let name = options.as_object().unwrap().keys().next().unwrap();
            assert_eq!(problem.param, Some(format!("options.{name}")), "{problem:?}");
            assert_eq!(problem.status(), 400);
        }
    }
}
