//! What a checkpoint is, for people: sizes, types, tokenizer, licence, memory.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use puna_formats::Checkpoint;
use puna_model::names::{LayerPart, Naming, Part};
use puna_model::rope::RopeScaling;
use puna_model::{Config, KvCache};
use puna_tensor::{DType, KvLayout};
use puna_text::template::{ChatFormat, ChatTemplate, TemplateOrigin};

use crate::Llama;

/// The tensors that have one role in all layers.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorGroup {
    /// The role, by Meta's name.
    pub name: &'static str,
    /// For each type: how many tensors have it, and their bytes.
    pub types: Vec<(DType, usize, u64)>,
}

/// A token id and what it is called.
pub type NamedToken = (u32, String);

/// What is known about the tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizerDescription {
    /// `SentencePiece BPE`, `byte-level BPE`, `Unigram` or another.
    pub kind: &'static str,
    /// Ids.
    pub vocab_size: usize,
    /// Begins a text.
    pub bos: Option<NamedToken>,
    /// Whether a prompt gets it in front.
    pub adds_bos: bool,
    /// Ends a text.
    pub eos: Option<NamedToken>,
    /// All ids that end an answer.
    pub stops: Vec<NamedToken>,
    /// The file it came from.
    pub file: String,
}

/// A checkpoint in words and numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `GGUF`, `Hugging Face` or `Meta`.
    pub form: &'static str,
    /// The mixture of types that a GGUF file says it was made with, as in `Q4_K_M`.
    pub recipe: Option<&'static str>,
    /// The model's name, if the checkpoint says it.
    pub name: Option<String>,
    /// The licence, if the files name it.
    pub license: Option<String>,
    /// The file in the model's folder that has the licence's text, if there is one.
    pub license_text: Option<PathBuf>,
    /// Parameters.
    pub n_params: u64,
    /// Bytes of all tensors, as stored.
    pub weight_bytes: u64,
    /// Files the tensors are in.
    pub n_files: usize,
    /// How rotary frequencies are stretched, in words.
    pub rope_scaling: String,
    /// Tensors by role.
    pub groups: Vec<TensorGroup>,
    /// The tokenizer, if there is one.
    pub tokenizer: Option<TokenizerDescription>,
    /// Why there is none, if its file cannot be used.
    pub tokenizer_fault: Option<String>,
    /// The chat template, in words; `None` where there is none.
    pub chat_template: Option<String>,
}

impl Llama {
    /// Describes the checkpoint.
    pub fn describe(&self) -> Description {
        let config = self.config();
        let (form, n_files) = match self.checkpoint() {
            Checkpoint::Gguf(gguf) => ("GGUF", gguf.parts.len()),
            Checkpoint::HuggingFace(hf) => ("Hugging Face", hf.files.len()),
            Checkpoint::Meta(meta) => ("Meta", meta.files.len()),
        };
        let groups = self.tensor_groups();
        Description {
            form,
            recipe: match self.checkpoint() {
                Checkpoint::Gguf(gguf) => puna_formats::gguf::recipe(&gguf.metadata),
                _ => None,
            },
            name: self.checkpoint_name(),
            license: license(self.checkpoint()),
            license_text: license_text(self.checkpoint()),
            n_params: config.n_params(),
            weight_bytes: groups.iter().flat_map(|group| &group.types).map(|(_, _, bytes)| bytes).sum(),
            n_files,
            rope_scaling: describe_scaling(&config.rope_scaling),
            groups,
            tokenizer: self.describe_tokenizer(),
            tokenizer_fault: self.text().unusable().map(|error| error.to_string()),
            chat_template: self.describe_template(),
        }
    }

    /// Bytes of the keys and values of one sequence of `len` tokens, stored as `dtype`.
    pub fn kv_bytes(&self, dtype: DType, len: usize) -> usize {
        let config = self.config();
        KvCache::bytes_for(
            KvLayout::new(dtype, config.n_kv_heads, config.head_dim),
            config.layer_attention(),
            len,
        )
    }

    /// The name that the checkpoint gives itself.
    pub(crate) fn checkpoint_name(&self) -> Option<String> {
        let said = match self.checkpoint() {
            Checkpoint::Gguf(gguf) => gguf.metadata.opt_str("general.name").ok().flatten(),
            Checkpoint::HuggingFace(hf) => hf.config["_name_or_path"].as_str(),
            Checkpoint::Meta(_) => None,
        };
        said.filter(|name| !name.is_empty()).map(str::to_owned)
    }

    fn tensor_groups(&self) -> Vec<TensorGroup> {
        let config = self.config();
        let mut groups: Vec<TensorGroup> = Vec::new();
        for (part, weight) in config.parts().into_iter().zip(self.engine().model().weights.all()) {
            let dtype = stored_type(self.checkpoint(), config, part).unwrap_or(weight.dtype());
            let [rows, cols] = config.shape(part);
            let bytes = match dtype.bytes_of(cols) {
                Some(row) => row as u64 * rows as u64,
                None => weight.n_bytes() as u64,
            };
            let name = role(part);
            let at = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
                groups.push(TensorGroup { name, types: Vec::new() });
                groups.len() - 1
            });
            let types = &mut groups[at].types;
            match types.iter_mut().find(|(known, _, _)| *known == dtype) {
                Some((_, n, sum)) => (*n, *sum) = (*n + 1, *sum + bytes),
                None => types.push((dtype, 1, bytes)),
            }
        }
        groups
    }

    fn describe_tokenizer(&self) -> Option<TokenizerDescription> {
        let files = self.text();
        let tokenizer = files.tokenizer.as_ref()?;
        let named = |id: u32| (id, tokenizer.piece(id).into_owned());
        Some(TokenizerDescription {
            kind: tokenizer.kind_name(),
            vocab_size: tokenizer.vocab_size(),
            bos: tokenizer.bos_id().map(named),
            adds_bos: tokenizer.adds_bos(),
            eos: tokenizer.eos_id().map(named),
            stops: tokenizer.stop_ids().iter().copied().map(named).collect(),
            file: files.tokenizer_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        })
    }

    fn describe_template(&self) -> Option<String> {
        let chat = self.text().chat.as_ref()?;
        let format = match &chat.template {
            ChatTemplate::Jinja(_) => {
                let also = if chat.with_tools.is_some() { ", and another one for tools" } else { "" };
                return Some(format!("the checkpoint's own{also}"));
            }
            ChatTemplate::Unusable(error) => return Some(format!("the checkpoint's own, unusable: {error}")),
            ChatTemplate::BuiltIn(format) => match format {
                ChatFormat::Llama2 => "Llama 2",
                ChatFormat::Llama3 => "Llama 3",
                ChatFormat::Llama31 => "Llama 3.1",
                ChatFormat::Llama32 => "Llama 3.2",
                ChatFormat::Llama32Vision => "Llama 3.2 Vision",
                ChatFormat::Llama4 => "Llama 4",
            },
        };
        Some(match chat.origin {
            TemplateOrigin::Official | TemplateOrigin::Checkpoint => format!("{format}, from the checkpoint"),
            TemplateOrigin::Given => format!("{format}, as it was loaded"),
            TemplateOrigin::SpecialTokens if self.text().is_chat_model() => {
                format!("{format}, by the special tokens")
            }
            TemplateOrigin::SpecialTokens => {
                format!("{format}, by the special tokens; a base model, it seems")
            }
        })
    }
}

/// The type of a tensor in the checkpoint. (A loaded norm is f32, whatever it was.)
fn stored_type(checkpoint: &Checkpoint, config: &Config, part: Part) -> Option<DType> {
    let name = |naming| config.stored(part, naming).name;
    let view = match checkpoint {
        Checkpoint::Gguf(gguf) => gguf.tensors.get(&name(Naming::Gguf)),
        Checkpoint::HuggingFace(hf) => {
            let name = name(Naming::HuggingFace);
            hf.tensors.get(&name).or_else(|| hf.tensors.get(&format!("language_model.{name}")))
        }
        Checkpoint::Meta(meta) => meta.shards.first()?.get(&name(Naming::Meta)),
    };
    view.map(|view| view.dtype)
}

fn role(part: Part) -> &'static str {
    match part {
        Part::TokEmbeddings => "tok_embeddings",
        Part::Norm => "norm",
        Part::Output => "output",
        Part::Layer(_, part) => match part {
            LayerPart::AttentionNorm => "attention_norm",
            LayerPart::Wq => "attention.wq",
            LayerPart::Wk => "attention.wk",
            LayerPart::Wv => "attention.wv",
            LayerPart::Wo => "attention.wo",
            LayerPart::FfnNorm => "ffn_norm",
            LayerPart::W1 => "feed_forward.w1",
            LayerPart::W2 => "feed_forward.w2",
            LayerPart::W3 => "feed_forward.w3",
            LayerPart::Router => "router",
            LayerPart::ExpertW1(_) => "experts.w1",
            LayerPart::ExpertW2(_) => "experts.w2",
            LayerPart::ExpertW3(_) => "experts.w3",
            LayerPart::QNorm | LayerPart::KNorm => "attention.qk_norm",
            LayerPart::GateAttn | LayerPart::GateFfwd => "gates",
            LayerPart::BiasQ | LayerPart::BiasK | LayerPart::BiasV | LayerPart::BiasO => "attention.bias",
            LayerPart::Bias1 | LayerPart::Bias2 | LayerPart::Bias3 => "feed_forward.bias",
        },
        Part::Vision(_) => "vision",
    }
}

fn describe_scaling(scaling: &RopeScaling) -> String {
    match scaling {
        RopeScaling::None => "none".into(),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => format!(
            "llama3, factor {factor}, low {low_freq_factor}, high {high_freq_factor}, original context {original}"
        ),
        RopeScaling::Linear { factor } => format!("linear, factor {factor}"),
        RopeScaling::Dynamic { factor, original } => {
            format!("dynamic NTK, factor {factor}, original context {original}")
        }
        RopeScaling::Yarn { factor, original, attention_factor, .. } => format!(
            "YaRN, factor {factor}, original context {original}, attention factor {attention_factor:.4}"
        ),
        RopeScaling::LongRope { original, attention_factor, .. } => {
            format!("LongRoPE, original context {original}, attention factor {attention_factor:.4}")
        }
        RopeScaling::Divisors(divisors) => format!("a divisor for each of {} frequencies", divisors.len()),
    }
}

/// The licence as the checkpoint names it: GGUF metadata, or the model card or licence file in the folder.
fn license(checkpoint: &Checkpoint) -> Option<String> {
    let dir = match checkpoint {
        Checkpoint::Gguf(gguf) => {
            let text = |key| gguf.metadata.opt_str(key).ok().flatten().map(str::to_owned);
            return text("general.license.name").or_else(|| text("general.license"));
        }
        Checkpoint::HuggingFace(hf) => &hf.dir,
        Checkpoint::Meta(meta) => &meta.dir,
    };
    let file = || Some(format!("see {}", license_text(checkpoint)?.file_name()?.to_string_lossy()));
    card_license(&dir.join("README.md")).or_else(file)
}

/// The licence's text, in the model's folder or beside its file.
fn license_text(checkpoint: &Checkpoint) -> Option<PathBuf> {
    let dir = match checkpoint {
        Checkpoint::Gguf(gguf) => gguf.parts.first()?.parent()?,
        Checkpoint::HuggingFace(hf) => &hf.dir,
        Checkpoint::Meta(meta) => &meta.dir,
    };
    ["LICENSE", "LICENSE.txt", "LICENSE.md"].iter().map(|name| dir.join(name)).find(|path| path.is_file())
}

/// `license_name` or `license` in the front matter of a model card.
fn card_license(path: &Path) -> Option<String> {
    const MAX_CARD_BYTES: u64 = 256 << 10;
    let mut card = Vec::new();
    let file = path.is_file().then(|| File::open(path).ok())??;
    file.take(MAX_CARD_BYTES).read_to_end(&mut card).ok()?;
    let card = String::from_utf8_lossy(&card);
    let front = card.strip_prefix("---")?.split("\n---").next()?;
    let value = |key: &str| {
        let line = front.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    value("license_name").or_else(|| value("license"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_of_a_model_card() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("README.md");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            card_license(&path)
        };
        assert_eq!(read("---\nlanguage: en\nlicense: llama3.1\n---\n# Llama"), Some("llama3.1".into()));
        assert_eq!(read("---\nlicense: other\nlicense_name: \"mine\"\n---\n"), Some("mine".into()));
        assert_eq!(read("# Llama\nlicense: no\n"), None);
        assert_eq!(read("---\nlicense:\n---\n"), None);
    }
}
