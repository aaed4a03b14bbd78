//! Texts as vectors, to find which are near each other.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use puna_engine::Pooling;
use puna_formats::{Checkpoint, MAX_CONFIG_BYTES, quote, read_json, visible};
use puna_text::EncodeOptions;
use serde_json::Value;

use crate::{Error, Llama};

/// How texts become vectors. The default is what a model's files say, and vectors of length 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedOptions {
    /// How hidden states become one vector; [`Llama::pooling`] if `None`.
    pub pooling: Option<Pooling>,
    /// Whether vectors are divided by their length.
    pub normalize: bool,
    /// Which of the model's instructions ([`EmbedPrompts`]) stands before the text; the default one if `None`.
    pub prompt_name: Option<String>,
}

/// Instructions that stand before a text whose vector is made, such as that it is a question, as the model's
/// makers named them in sentence-transformers' files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmbedPrompts {
    /// Each name and what it stands for.
    pub prompts: BTreeMap<String, String>,
    /// The one that stands before a text where nothing else is said.
    pub default: Option<String>,
}

impl Default for EmbedOptions {
    fn default() -> EmbedOptions {
        EmbedOptions { pooling: None, normalize: true, prompt_name: None }
    }
}

impl Llama {
    /// A vector `[dim]` of length 1 for a text: its tokens' hidden states after the last norm, pooled as
    /// [`Llama::pooling`] says, normalised. The nearer two texts are, the nearer to 1 is the sum of the products
    /// of their vectors' elements. A model that was trained to continue texts tells subjects apart, but less
    /// well than one that was trained for this.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, Error> {
        self.embed_with(text, &EmbedOptions::default())
    }

    /// A vector `[dim]` for a text, as `options` say. Before and after the text stand the tokens that the
    /// tokenizer puts there.
    pub fn embed_with(&self, text: &str, options: &EmbedOptions) -> Result<Vec<f32>, Error> {
        let tokenizer = self.tokenizer()?;
        let prompts = self.embed_prompts()?;
        let prompt = match options.prompt_name.as_ref().or(prompts.default.as_ref()) {
            None => "",
            Some(name) => prompts.prompts.get(name).ok_or_else(|| unknown_prompt(name, &prompts))?,
        };
        let ids = tokenizer.encode(&format!("{prompt}{text}"), tokenizer.default_options());
        let mut n_left_out = 0;
        if !prompt.is_empty() && !self.pools_prompts()? {
            // As sentence-transformers counts them: with what begins every text, without what ends it.
            let begun = EncodeOptions { add_eos: false, ..tokenizer.default_options() };
            n_left_out = tokenizer.encode(prompt, begun).len();
        }
        let pooling = match options.pooling {
            Some(pooling) => pooling,
            None => self.pooling()?,
        };
        let pooled = self.engine().pooled(&ids, pooling, n_left_out)?;
        let norm = pooled.iter().map(|x| x * x).sum::<f64>().sqrt();
        let length = if options.normalize && norm > 0.0 { norm } else { 1.0 };
        Ok(pooled.into_iter().map(|x| (x / length) as f32).collect())
    }

    /// The instructions that sentence-transformers' files beside the model name; none where there are no such files.
    pub fn embed_prompts(&self) -> Result<EmbedPrompts, Error> {
        let Checkpoint::HuggingFace(hf) = self.checkpoint() else { return Ok(EmbedPrompts::default()) };
        let path = hf.dir.join("config_sentence_transformers.json");
        if !path.is_file() {
            return Ok(EmbedPrompts::default());
        }
        let config: Value = read_json(&path, MAX_CONFIG_BYTES)?;
        let prompts = config["prompts"].as_object().into_iter().flatten();
        let prompts = prompts.filter_map(|(name, prompt)| Some((name.clone(), prompt.as_str()?.to_owned())));
        let default = config["default_prompt_name"].as_str().map(str::to_owned);
        Ok(EmbedPrompts { prompts: prompts.collect(), default })
    }

    /// Whether an instruction's tokens count in a mean.
    fn pools_prompts(&self) -> Result<bool, Error> {
        let Checkpoint::HuggingFace(hf) = self.checkpoint() else { return Ok(true) };
        let path = pooling_file(&hf.dir)?;
        if !path.is_file() {
            return Ok(true);
        }
        let config: Value = read_json(&path, MAX_CONFIG_BYTES)?;
        Ok(config["include_prompt"].as_bool().unwrap_or(true))
    }

    /// How hidden states become one vector: as the files say, in sentence-transformers' words, GGUF's or
    /// `config.json`'s; else that of the last token, or their mean where tokens attend to later ones.
    pub fn pooling(&self) -> Result<Pooling, Error> {
        let said = match self.checkpoint() {
            Checkpoint::Gguf(gguf) => {
                let architecture = gguf.metadata.str("general.architecture")?;
                match gguf.metadata.opt_u32(&format!("{architecture}.pooling_type"))? {
                    None | Some(0) => None,
                    Some(kind) => {
                        // llama.cpp's numbers.
                        let name = match kind {
                            1 => "mean",
                            2 => "cls",
                            3 => "last",
                            4 => "rank",
                            _ => "unknown",
                        };
                        Some(named(name, gguf.metadata.path())?)
                    }
                }
            }
            Checkpoint::HuggingFace(hf) => match of_sentence_transformers(&hf.dir)? {
                Some(pooling) => Some(pooling),
                None => {
                    let said = hf.config["pooling"].as_str();
                    said.map(|said| named(said, &hf.dir.join("config.json"))).transpose()?
                }
            },
            Checkpoint::Meta(_) => None,
        };
        let default = if self.config().causal { Pooling::Last } else { Pooling::Mean };
        Ok(said.unwrap_or(default))
    }
}

fn named(name: &str, path: &Path) -> Result<Pooling, Error> {
    match name {
        "mean" | "avg" | "mean_tokens" => Ok(Pooling::Mean),
        "last" | "lasttoken" => Ok(Pooling::Last),
        "cls" | "cls_token" => Ok(Pooling::First),
        other => {
            let fact =
                format!("pooling `{}` is not supported; supported are mean, last and cls", visible(other));
            Err(Error::File { path: path.to_owned(), fact })
        }
    }
}

fn unknown_prompt(name: &str, prompts: &EmbedPrompts) -> Error {
    let known: Vec<String> = prompts.prompts.keys().map(|name| quote(name)).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Error::Request(format!("there is no instruction named {}; the model's files name {known}", quote(name)))
}

/// The pooling module's own file, which `modules.json` may name.
fn pooling_file(dir: &Path) -> Result<PathBuf, Error> {
    let mut folder = "1_Pooling".to_owned();
    let modules = dir.join("modules.json");
    if modules.is_file() {
        let list: Value = read_json(&modules, MAX_CONFIG_BYTES)?;
        for module in list.as_array().into_iter().flatten() {
            let kind = module["type"].as_str().and_then(|kind| kind.rsplit('.').next()).unwrap_or_default();
            match (kind, module["path"].as_str()) {
                // One plain name: what a file says leads nowhere else.
                ("Pooling", Some(path)) if is_plain_name(path) => folder = path.to_owned(),
                ("Transformer" | "Pooling" | "Normalize", _) => {}
                (other, _) => {
                    let fact = format!("its module `{}` after the model is not supported", visible(other));
                    return Err(Error::File { path: modules, fact });
                }
            }
        }
    }
    Ok(dir.join(folder).join("config.json"))
}

/// What the pooling module's file says; `None` where there is none.
fn of_sentence_transformers(dir: &Path) -> Result<Option<Pooling>, Error> {
    let path = pooling_file(dir)?;
    if !path.is_file() {
        return Ok(None);
    }
    let config: Value = read_json(&path, MAX_CONFIG_BYTES)?;
    if let Some(mode) = config["pooling_mode"].as_str() {
        return named(mode, &path).map(Some);
    }
    let modes = config.as_object().into_iter().flatten();
    let modes = modes.filter(|(_, chosen)| chosen.as_bool() == Some(true));
    let modes: Vec<&str> = modes.filter_map(|(key, _)| key.strip_prefix("pooling_mode_")).collect();
    named(&modes.join(" and "), &path).map(Some)
}

fn is_plain_name(path: &str) -> bool {
    let mut components = Path::new(path).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}
