//! Texts as vectors, to find which are near each other.

use std::path::{Component, Path};

use puna_engine::Pooling;
use puna_formats::{Checkpoint, MAX_CONFIG_BYTES, read_json, visible};
use serde_json::Value;

use crate::{Error, Llama};

/// How texts become vectors. The default is what a model's files say, and vectors of length 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedOptions {
    /// How hidden states become one vector; [`Llama::pooling`] if `None`.
    pub pooling: Option<Pooling>,
    /// Whether vectors are divided by their length.
    pub normalize: bool,
}

impl Default for EmbedOptions {
    fn default() -> EmbedOptions {
        EmbedOptions { pooling: None, normalize: true }
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
        let ids = tokenizer.encode(text, tokenizer.default_options());
        let pooling = match options.pooling {
            Some(pooling) => pooling,
            None => self.pooling()?,
        };
        if options.normalize {
            return Ok(self.engine().embed(&ids, pooling)?);
        }
        Ok(self.engine().pooled(&ids, pooling)?.into_iter().map(|x| x as f32).collect())
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

/// What `modules.json` and the pooling module's own file say; `None` where there is no such file.
fn of_sentence_transformers(dir: &Path) -> Result<Option<Pooling>, Error> {
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
    let path = dir.join(folder).join("config.json");
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
