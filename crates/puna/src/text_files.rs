//! What the files of a checkpoint say about text: the tokenizer, the chat template, how to end and how to
//! sample.
//!
//! | form | tokenizer | chat template |
//! |---|---|---|
//! | GGUF | `tokenizer.ggml.*` | `tokenizer.chat_template` |
//! | Hugging Face | `tokenizer.json`, else `tokenizer.model`, else `original/tokenizer.model` | `chat_template.jinja`, else `tokenizer_config.json`, else `chat_template.json` |
//! | Meta | `tokenizer.model` | none: told by the special tokens |
//!
//! The same search serves tokenizer files without any weights ([`TextFiles::open`]).

use std::path::{Path, PathBuf};

use puna_formats::gguf::{self, Metadata};
use puna_formats::{Bytes, Checkpoint, FormatError, MAX_CONFIG_BYTES, MappedFile, read_file, read_json};
use puna_text::template::{
    ChatFormat, ChatTemplate, Detected, Message, Prompt, RenderOptions, TemplateOrigin,
};
use puna_text::{GgufVocab, HfTokenizerConfig, TiktokenHints, Tokenizer};
use serde_json::Value;

use crate::builtin;
use crate::{Error, GenerationConfig};

/// The text side of a checkpoint.
#[derive(Debug, Default)]
pub struct TextFiles {
    /// The tokenizer, its stop ids complete; `None` where there is no tokenizer file.
    pub tokenizer: Option<Tokenizer>,
    /// The file the tokenizer came from.
    pub tokenizer_path: Option<PathBuf>,
    /// How a conversation becomes a prompt; `None` where nothing speaks for a chat model.
    pub chat: Option<Detected>,
    /// The checkpoint's own settings for generation.
    pub generation: GenerationConfig,
    /// Whether the files themselves (not only our knowledge of names) say what ends a text.
    names_eos: bool,
    /// Whether the chat template asks whether there is unsafe content, as Llama Guard's do.
    judges: bool,
}

/// The most bytes of a tokenizer file or its configuration that are read; real ones have up to twenty
/// million.
const MAX_TOKENIZER_BYTES: usize = 256 << 20;

/// Where a tokenizer is looked for in a folder, best first.
const TOKENIZER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer.model", "original/tokenizer.model"];

impl TextFiles {
    /// Of a checkpoint that is open. `vocab_size`, the rows of its embedding, completes tokenizer files that
    /// do not say how many special tokens there are.
    pub fn of_checkpoint(checkpoint: &Checkpoint, vocab_size: usize) -> Result<TextFiles, Error> {
        match checkpoint {
            Checkpoint::Gguf(gguf) => TextFiles::of_gguf(&gguf.metadata),
            Checkpoint::HuggingFace(hf) => TextFiles::of_folder(&hf.dir, Some(vocab_size)),
            Checkpoint::Meta(meta) => TextFiles::of_folder(&meta.dir, Some(vocab_size)),
        }
    }

    /// Of the built-in model.
    pub fn builtin() -> Result<TextFiles, Error> {
        TextFiles::of_gguf(&builtin::checkpoint()?.metadata)
    }

    /// Of a tokenizer file, a folder with one, or a checkpoint whose weights do not matter.
    pub fn open(path: &Path) -> Result<TextFiles, Error> {
        if path.is_dir() {
            let has_tokenizer = TOKENIZER_FILES.iter().any(|name| path.join(name).is_file());
            return match puna_formats::open(path) {
                _ if has_tokenizer => TextFiles::of_folder(path, vocab_size_beside(path)),
                Ok(Checkpoint::Gguf(gguf)) => TextFiles::of_gguf(&gguf.metadata),
                Ok(_) => Ok(TextFiles::default()),
                Err(error) => Err(error.into()),
            };
        }
        // Mapped, since it may be a whole model.
        let is_gguf = |bytes: &Bytes| Ok::<_, FormatError>(bytes.starts_with(&gguf::MAGIC));
        if MappedFile::open(path)?.read(is_gguf)? {
            return TextFiles::of_gguf(&gguf::open(path)?.metadata);
        }
        let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if puna_formats::open(path).is_ok() {
            // Weights, beside which the tokenizer lies.
            return TextFiles::of_folder(folder, vocab_size_beside(folder));
        }
        let hints = TiktokenHints { vocab_size: vocab_size_beside(folder), ..TiktokenHints::default() };
        let bytes = read_file(path, MAX_TOKENIZER_BYTES)?;
        let tokenizer = Tokenizer::from_file_bytes(&bytes, &hints).map_err(Error::in_tokenizer(path))?;
        TextFiles {
            tokenizer: Some(tokenizer),
            tokenizer_path: Some(path.to_owned()),
            ..TextFiles::default()
        }
        .complete(None)
    }

    fn of_gguf(metadata: &Metadata) -> Result<TextFiles, Error> {
        let vocab = gguf_vocab(metadata)?;
        let names_eos = vocab.as_ref().is_some_and(|vocab| vocab.eos_id.is_some());
        let tokenizer = vocab.map(Tokenizer::from_gguf).transpose();
        let tokenizer = tokenizer.map_err(Error::in_tokenizer(metadata.path()))?;
        let tokenizer_path = tokenizer.as_ref().map(|_| metadata.path().to_owned());
        let template = metadata.opt_str("tokenizer.chat_template")?;
        TextFiles { tokenizer, tokenizer_path, names_eos, ..TextFiles::default() }.complete(template)
    }

    fn of_folder(dir: &Path, vocab_size: Option<usize>) -> Result<TextFiles, Error> {
        let config_path = dir.join("tokenizer_config.json");
        let config = match config_path.is_file() {
            true => HfTokenizerConfig::parse(&read_file(&config_path, MAX_TOKENIZER_BYTES)?)
                .map_err(Error::in_tokenizer(&config_path))?,
            false => HfTokenizerConfig::default(),
        };
        let generation = GenerationConfig::of_folder(dir)?;
        let names_eos = config.eos_token.is_some() || !generation.eos_ids.is_empty();
        let mut files = TextFiles { generation, names_eos, ..TextFiles::default() };
        if let Some(path) = TOKENIZER_FILES.map(|name| dir.join(name)).into_iter().find(|path| path.is_file())
        {
            let hints =
                TiktokenHints { family: None, vocab_size, special_tokens: config.added_tokens.clone() };
            let bytes = read_file(&path, MAX_TOKENIZER_BYTES)?;
            let mut tokenizer =
                Tokenizer::from_file_bytes(&bytes, &hints).map_err(Error::in_tokenizer(&path))?;
            tokenizer.configure(&config).map_err(Error::in_tokenizer(&config_path))?;
            files.tokenizer = Some(tokenizer);
            files.tokenizer_path = Some(path);
        }
        let template = folder_template(dir, config.chat_template)?;
        files.complete(template.as_deref())
    }

    /// Unites the stop ids and chooses the chat template.
    fn complete(mut self, template: Option<&str>) -> Result<TextFiles, Error> {
        self.judges = template.is_some_and(|text| text.to_lowercase().contains("unsafe content"));
        if let Some(tokenizer) = &mut self.tokenizer {
            self.generation.eos_ids.iter().for_each(|id| tokenizer.add_stop_id(*id));
            self.chat = ChatTemplate::detect(template, tokenizer)?;
        }
        Ok(self)
    }

    /// Says that the model is one of Llama 3.2 Vision, whose special tokens alone do not tell it from its
    /// siblings.
    pub(crate) fn sees_images(&mut self) {
        if let Some(Detected { template, origin: TemplateOrigin::SpecialTokens }) = &mut self.chat
            && !matches!(template, ChatTemplate::Jinja(_))
        {
            *template = ChatTemplate::BuiltIn(ChatFormat::Llama32Vision);
        }
    }

    /// A conversation in the chat format; `None` without a tokenizer or a format.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Option<Result<Prompt, Error>> {
        let (tokenizer, chat) = (self.tokenizer.as_ref()?, self.chat.as_ref()?);
        Some(chat.template.render(messages, options, tokenizer).map_err(Error::from))
    }

    /// Whether the chat template is a guard's.
    pub(crate) fn judges(&self) -> bool {
        self.judges
    }

    /// Whether a prompt is a chat's first message unless said otherwise.
    ///
    /// A checkpoint that brings a template is a chat model. One that merely has a chat's special tokens, as
    /// base models of Llama 3 and 4 do, is a chat model unless its files say that only the end of the text
    /// ends an answer.
    pub fn is_chat_model(&self) -> bool {
        let (Some(tokenizer), Some(chat)) = (&self.tokenizer, &self.chat) else { return false };
        if chat.origin != TemplateOrigin::SpecialTokens || !self.names_eos {
            return true;
        }
        let ends_turn =
            |id: &u32| matches!(&*tokenizer.piece(*id), "<|eot_id|>" | "<|eom_id|>" | "<|eot|>" | "<|eom|>");
        self.generation.eos_ids.iter().chain(&tokenizer.eos_id()).any(ends_turn)
    }
}

/// Rows of the embedding, as the configuration beside a tokenizer says.
fn vocab_size_beside(dir: &Path) -> Option<usize> {
    let size_in = |path: PathBuf| {
        let config: Value = path.is_file().then(|| read_json(&path, MAX_CONFIG_BYTES).ok())??;
        config["vocab_size"].as_u64().filter(|&size| size > 0)?.try_into().ok()
    };
    let parent = dir.file_name().filter(|name| *name == "original").and(dir.parent());
    let folders = [Some(dir), parent].into_iter().flatten();
    folders.flat_map(|dir| [dir.join("params.json"), dir.join("config.json")]).find_map(size_in)
}

fn folder_template(dir: &Path, configured: Option<String>) -> Result<Option<String>, Error> {
    let jinja = dir.join("chat_template.jinja");
    if jinja.is_file() {
        let text = String::from_utf8(read_file(&jinja, MAX_CONFIG_BYTES)?);
        return text.map(Some).map_err(|_| {
            let fact = "the chat template is not UTF-8 text".into();
            Error::File { path: jinja.clone(), fact }
        });
    }
    let json = dir.join("chat_template.json");
    if configured.is_none() && json.is_file() {
        let file: Value = read_json(&json, MAX_CONFIG_BYTES)?;
        return Ok(file["chat_template"].as_str().map(str::to_owned));
    }
    Ok(configured)
}

/// The vocabulary in a GGUF file's metadata; `None` if there is none.
fn gguf_vocab(metadata: &Metadata) -> Result<Option<GgufVocab>, Error> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let model = match metadata.opt_str(&key("model"))? {
        None | Some("none" | "no_vocab") => return Ok(None),
        Some(model) => model.to_owned(),
    };
    let strings = |name| metadata.opt_strings(&key(name)).map(|found| found.unwrap_or_default().to_vec());
    let id = |name| metadata.opt_u32(&key(name));
    Ok(Some(GgufVocab {
        model,
        pre: metadata.opt_str(&key("pre"))?.map(str::to_owned),
        tokens: strings("tokens")?,
        scores: metadata.opt_f32s(&key("scores"))?.unwrap_or_default(),
        token_types: metadata.opt_i32s(&key("token_type"))?.unwrap_or_default(),
        merges: strings("merges")?,
        bos_id: id("bos_token_id")?,
        eos_id: id("eos_token_id")?,
        eot_id: id("eot_token_id")?,
        eom_id: id("eom_token_id")?,
        unk_id: id("unknown_token_id")?,
        pad_id: id("padding_token_id")?,
        add_bos: metadata.opt_bool(&key("add_bos_token"))?,
        add_eos: metadata.opt_bool(&key("add_eos_token"))?,
        add_space_prefix: metadata.opt_bool(&key("add_space_prefix"))?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_text::train_bpe::train_bpe;

    const SPECIAL: [&str; 5] =
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];

    /// Text files with `special` tokens, whose files name the tokens `eos` as ends.
    fn files(special: &[&str], eos: &[&str], template: Option<&str>) -> TextFiles {
        let tokenizer = train_bpe(["a cat"], 256 + special.len(), special).unwrap().to_tokenizer().unwrap();
        let eos_ids: Vec<u32> = eos.iter().map(|name| tokenizer.id_of(name).unwrap()).collect();
        let names_eos = !eos_ids.is_empty();
        let generation = GenerationConfig { eos_ids, ..GenerationConfig::default() };
        let files = TextFiles { tokenizer: Some(tokenizer), generation, names_eos, ..TextFiles::default() };
        files.complete(template).unwrap()
    }

    #[test]
    fn who_is_a_chat_model() {
        assert!(files(&SPECIAL, &["<|end_of_text|>", "<|eot_id|>"], None).is_chat_model());
        assert!(files(&SPECIAL, &[], None).is_chat_model());
        assert!(!files(&SPECIAL, &["<|end_of_text|>"], None).is_chat_model());
        assert!(files(&SPECIAL, &["<|end_of_text|>"], Some("{{ messages[0].content }}")).is_chat_model());
        assert!(!files(&SPECIAL[..2], &["<|end_of_text|>"], None).is_chat_model());
        assert!(!TextFiles::default().is_chat_model());
    }

    #[test]
    fn who_judges() {
        let guard = "Task: Check if there is unsafe content in {{ messages[0].content }}";
        assert!(files(&SPECIAL, &[], Some(guard)).judges());
        assert!(!files(&SPECIAL, &[], Some("{{ messages[0].content }}")).judges());
        assert!(!files(&SPECIAL, &[], None).judges());
    }

    #[test]
    fn stop_ids_are_united() {
        let files = files(&SPECIAL, &["<|begin_of_text|>"], None);
        let tokenizer = files.tokenizer.unwrap();
        for name in ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"] {
            assert!(tokenizer.stop_ids().contains(&tokenizer.id_of(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn tokenizers_without_weights_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| TextFiles::open(&dir.path().join(name));
        assert!(open("").unwrap_err().to_string().contains("no files"));
        assert!(open("none.model").unwrap_err().to_string().contains("no such file"));
        std::fs::write(dir.path().join("tokenizer.model"), "IQ== 0\nYQ== 1\nY2F0 2\n").unwrap();
        for name in ["", "tokenizer.model"] {
            let files = open(name).unwrap();
            assert_eq!(files.tokenizer.unwrap().id_of("cat"), Some(2));
            assert!(files.tokenizer_path.unwrap().ends_with("tokenizer.model"));
        }
        // The embedding beside it says how many special tokens there are.
        std::fs::write(dir.path().join("params.json"), r#"{"vocab_size": 5}"#).unwrap();
        assert_eq!(open("tokenizer.model").unwrap().tokenizer.unwrap().vocab_size(), 5);
        std::fs::write(dir.path().join("tokenizer.model"), "neither").unwrap();
        let error = open("").unwrap_err().to_string();
        assert!(error.contains("tokenizer.model`"), "{error}");
    }
}
