//! What the files of a checkpoint say about text: the tokenizer, the chat template, how to end and how to
//! sample.
//!
//! | form | tokenizer | chat template |
//! |---|---|---|
//! | GGUF | `tokenizer.ggml.*` | `tokenizer.chat_template`, named ones behind it |
//! | Hugging Face | `tokenizer.json`, else `tokenizer.model`, else `original/tokenizer.model` | `chat_template.jinja`, else `tokenizer_config.json`, else `chat_template.json`; named ones in `additional_chat_templates/` |
//! | Meta | `tokenizer.model` | none: told by the special tokens |
//!
//! Tokens that were added to a vocabulary stand in `tokenizer.json`, in `tokenizer_config.json`, or, in older folders,
//! in `added_tokens.json` and `special_tokens_map.json`.
//!
//! The same search serves tokenizer files without any weights ([`TextFiles::open`]).

use std::path::{Path, PathBuf};

use puna_formats::gguf::{self, Metadata};
use puna_formats::{
    Bytes, Checkpoint, FormatError, MAX_CONFIG_BYTES, MappedFile, check_is_itself, quote_python_numbers,
    read_file, read_json,
};
use puna_text::template::{
    ChatFormat, ChatTemplate, Detected, EndOfTurn, Message, Prompt, RenderOptions, SpecialNames,
    TemplateOrigin, TemplateTexts,
};
use puna_text::{GgufVocab, HfTokenizerConfig, Tokenizer, TokenizerError, TokenizerHints};
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
    /// Why there is none although there is a file for it, and which file that is.
    unusable: Option<(PathBuf, TokenizerError)>,
    /// How a conversation becomes a prompt; `None` where nothing speaks for a chat model.
    pub chat: Option<Detected>,
    /// The text of the checkpoint's own chat template, if it brings one.
    pub template: Option<String>,
    /// The text that ends an assistant's message, where the chat template writes one that looks like a token
    /// which the vocabulary does not have.
    pub(crate) end_of_turn: Option<String>,
    /// The checkpoint's own settings for generation.
    pub generation: GenerationConfig,
    /// Why they could not be read, where that is so: a model runs without them.
    pub(crate) generation_fault: Option<String>,
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
    /// do not say how many special tokens there are. A tokenizer that cannot be used is as good as none, until one is
    /// asked for ([`unusable`](Self::unusable)).
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
        let files = TextFiles::open_tolerantly(path)?;
        files.unusable().map_or(Ok(files), Err)
    }

    /// Why the tokenizer cannot be used, if there is one that cannot.
    pub fn unusable(&self) -> Option<Error> {
        let (path, source) = self.unusable.clone()?;
        Some(Error::in_tokenizer(&path)(source))
    }

    fn open_tolerantly(path: &Path) -> Result<TextFiles, Error> {
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
        let hints = TokenizerHints { vocab_size: vocab_size_beside(folder), ..TokenizerHints::default() };
        let bytes = read_itself(path, MAX_TOKENIZER_BYTES)?;
        let tokenizer = Tokenizer::from_file_bytes(&bytes, &hints).map_err(Error::in_tokenizer(path))?;
        TextFiles {
            tokenizer: Some(tokenizer),
            tokenizer_path: Some(path.to_owned()),
            ..TextFiles::default()
        }
        .complete(&TemplateTexts::default())
    }

    fn of_gguf(metadata: &Metadata) -> Result<TextFiles, Error> {
        let vocab = gguf_vocab(metadata)?;
        let names_eos = vocab.as_ref().is_some_and(|vocab| vocab.eos_id.is_some());
        let mut files = TextFiles { names_eos, ..TextFiles::default() };
        if let Some(vocab) = vocab {
            files.take(metadata.path(), Tokenizer::from_gguf(vocab));
        }
        files.complete(&gguf_templates(metadata)?)
    }

    fn of_folder(dir: &Path, vocab_size: Option<usize>) -> Result<TextFiles, Error> {
        let config_path = dir.join("tokenizer_config.json");
        let config = tokenizer_config(dir)?;
        let broken = config.as_ref().err().map(|error| (config_path.clone(), error.clone()));
        let config = config.unwrap_or_default();
        let (generation, generation_fault) = match GenerationConfig::of_folder(dir) {
            Ok(generation) => (generation, None),
            Err(error) => (GenerationConfig::default(), Some(error.to_string())),
        };
        let names_eos = config.eos_token.is_some() || !generation.eos_ids.is_empty();
        let mut files =
            TextFiles { generation, generation_fault, names_eos, unusable: broken, ..TextFiles::default() };
        if let Some(path) = TOKENIZER_FILES.map(|name| dir.join(name)).into_iter().find(|path| path.is_file())
            && files.unusable.is_none()
        {
            let added_tokens = config.tokens();
            let hints = TokenizerHints { family: None, vocab_size, added_tokens };
            let bytes = read_itself(&path, MAX_TOKENIZER_BYTES)?;
            files.take(&path, Tokenizer::from_file_bytes(&bytes, &hints));
            if let Some(Err(error)) = files.tokenizer.as_mut().map(|tokenizer| tokenizer.configure(&config)) {
                files.take(&config_path, Err(error));
            }
        }
        files.complete(&folder_templates(dir, config)?)
    }

    /// Keeps the tokenizer that was read from `path`, or why it cannot be used.
    fn take(&mut self, path: &Path, tokenizer: Result<Tokenizer, TokenizerError>) {
        self.unusable = tokenizer.as_ref().err().map(|error| (path.to_owned(), error.clone()));
        self.tokenizer = tokenizer.ok();
        self.tokenizer_path = self.tokenizer.as_ref().map(|_| path.to_owned());
    }

    /// Unites the stop ids and chooses the chat template.
    fn complete(mut self, templates: &TemplateTexts) -> Result<TextFiles, Error> {
        let text = templates.default_text().unwrap_or_default();
        self.judges = text.to_lowercase().contains("unsafe content");
        self.template = templates.default_text().map(str::to_owned);
        if let Some(tokenizer) = &mut self.tokenizer {
            self.generation.eos_ids.iter().for_each(|id| tokenizer.add_stop_id(*id));
            self.chat = ChatTemplate::detect(templates, tokenizer);
            match self.chat.as_ref().and_then(|chat| chat.end_of_turn(tokenizer)) {
                Some(EndOfTurn::Token(id)) => tokenizer.add_stop_id(id),
                Some(EndOfTurn::Text(text)) => self.end_of_turn = Some(text),
                None => {}
            }
        }
        Ok(self)
    }

    /// Says that the model is one of Llama 3.2 Vision, whose special tokens alone do not tell it from its
    /// siblings.
    pub(crate) fn sees_images(&mut self) {
        if let Some(Detected { template, origin: TemplateOrigin::SpecialTokens, .. }) = &mut self.chat
            && !matches!(template, ChatTemplate::Jinja(_))
        {
            *template = ChatTemplate::BuiltIn(ChatFormat::Llama32Vision);
        }
    }

    /// Takes another chat format than the checkpoint's own.
    pub(crate) fn use_format(&mut self, format: ChatFormat) -> Result<(), Error> {
        let given = self.tokenizer.as_ref().and_then(|tokenizer| Detected::given(format, tokenizer));
        let fact = || {
            Error::Unsupported(format!(
                "the model cannot use the chat format {format:?}: its tokenizer does not have the tokens of it"
            ))
        };
        self.chat = Some(given.ok_or_else(fact)?);
        self.end_of_turn = None;
        Ok(())
    }

    /// A conversation in the chat format; `None` without a tokenizer or a format.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Option<Result<Prompt, Error>> {
        let (tokenizer, chat) = (self.tokenizer.as_ref()?, self.chat.as_ref()?);
        Some(chat.render(messages, options, tokenizer).map_err(Error::from))
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

/// What the files beside a tokenizer say about it.
fn tokenizer_config(dir: &Path) -> Result<Result<HfTokenizerConfig, TokenizerError>, Error> {
    let read = |name: &str| {
        let path = dir.join(name);
        let bytes = path.is_file().then(|| read_itself(&path, MAX_TOKENIZER_BYTES)).transpose()?;
        let text = bytes.map(|bytes| quote_python_numbers(&String::from_utf8_lossy(&bytes)).into_owned());
        Ok::<_, Error>(text.map(String::into_bytes))
    };
    let config = read("tokenizer_config.json")?;
    let (map, added) = (read("special_tokens_map.json")?, read("added_tokens.json")?);
    let config =
        config.map_or_else(|| Ok(HfTokenizerConfig::default()), |bytes| HfTokenizerConfig::parse(&bytes));
    Ok(config.and_then(|mut config| {
        config.complete(map.as_deref(), added.as_deref())?;
        Ok(config)
    }))
}

/// A file of a folder that is text, and nothing that a failed download leaves in its place.
fn read_itself(path: &Path, max_bytes: usize) -> Result<Vec<u8>, Error> {
    let bytes = read_file(path, max_bytes)?;
    check_is_itself(&bytes, path)?;
    Ok(bytes)
}

/// The most named templates that a folder may hold.
const MAX_TEMPLATES: usize = 100;

/// The chat templates of a folder, as transformers finds them: files of their own count more than what the
/// tokenizer's configuration says.
fn folder_templates(dir: &Path, config: HfTokenizerConfig) -> Result<TemplateTexts, Error> {
    let mut templates = TemplateTexts::default();
    // A class of tokenizers made for Llama has names of its own for what the configuration leaves out; the general
    // ones have none.
    let is_general = matches!(config.class.as_deref(), Some("PreTrainedTokenizerFast" | "TokenizersBackend"));
    templates.names = is_general.then(|| SpecialNames {
        bos: config.bos_token.clone().unwrap_or_default(),
        eos: config.eos_token.clone().unwrap_or_default(),
    });
    templates.tokens = config.named_tokens;
    for (name, text) in config.chat_templates {
        templates.insert(name, text);
    }
    let json = dir.join("chat_template.json");
    if templates.default_text().is_none() && json.is_file() {
        let file: Value = read_json(&json, MAX_CONFIG_BYTES)?;
        if let Some(text) = file["chat_template"].as_str() {
            templates.insert_default(text);
        }
    }
    let jinja = dir.join("chat_template.jinja");
    if jinja.is_file() {
        templates.insert_default(read_template(&jinja)?);
    }
    let named = std::fs::read_dir(dir.join("additional_chat_templates"));
    let named = named.into_iter().flatten().flatten().map(|entry| entry.path()).take(MAX_TEMPLATES);
    for path in named.filter(|path| path.extension().is_some_and(|end| end == "jinja") && path.is_file()) {
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            templates.insert(name, read_template(&path)?);
        }
    }
    Ok(templates)
}

fn read_template(path: &Path) -> Result<String, Error> {
    String::from_utf8(read_itself(path, MAX_CONFIG_BYTES)?).map_err(|_| {
        let fact = "the chat template is not UTF-8 text".into();
        Error::File { path: path.to_owned(), fact }
    })
}

/// The chat templates in a GGUF file's metadata: one, and others whose names stand behind it in the key.
fn gguf_templates(metadata: &Metadata) -> Result<TemplateTexts, Error> {
    const KEY: &str = "tokenizer.chat_template";
    let mut templates = TemplateTexts::default();
    let names = metadata.iter().filter_map(|(key, _)| key.strip_prefix(KEY)?.strip_prefix('.'));
    for name in names.take(MAX_TEMPLATES) {
        if let Some(text) = metadata.opt_str(&format!("{KEY}.{name}"))? {
            templates.insert(name, text);
        }
    }
    if let Some(text) = metadata.opt_str(KEY)? {
        templates.insert_default(text);
    }
    let tokens = metadata.opt_strings("tokenizer.ggml.tokens")?.unwrap_or_default();
    for (variable, key) in [("unk_token", "unknown_token_id"), ("pad_token", "padding_token_id")] {
        let id = metadata.opt_u32(&format!("tokenizer.ggml.{key}"))?;
        let token = id.and_then(|id| tokens.get(id as usize));
        templates.tokens.extend(token.map(|token| (variable.to_owned(), token.clone())));
    }
    Ok(templates)
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
        remove_extra_whitespaces: metadata.opt_bool(&key("remove_extra_whitespaces"))?,
        // Written as signed bytes or as unsigned ones.
        precompiled_charsmap: metadata
            .opt_i32s(&key("precompiled_charsmap"))?
            .unwrap_or_default()
            .into_iter()
            .map(|byte| byte as u8)
            .collect(),
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
        files.complete(&template.map(TemplateTexts::one).unwrap_or_default()).unwrap()
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
    fn turns_end_as_the_template_writes() {
        let by_token =
            files(&SPECIAL, &[], Some("{% for m in messages %}{{ m.content }}<|end_header_id|>{% endfor %}"));
        let tokenizer = by_token.tokenizer.unwrap();
        assert!(tokenizer.stop_ids().contains(&tokenizer.id_of("<|end_header_id|>").unwrap()));
        let by_text =
            files(&SPECIAL, &[], Some("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"));
        assert_eq!(by_text.end_of_turn.as_deref(), Some("<|im_end|>"));
    }

    #[test]
    fn settings_that_cannot_be_read_are_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.model"), "IQ== 0\nYQ== 1\n").unwrap();
        std::fs::write(dir.path().join("generation_config.json"), "{").unwrap();
        let files = TextFiles::open(dir.path()).unwrap();
        assert_eq!(files.generation, GenerationConfig::default());
        assert!(files.generation_fault.unwrap().contains("generation_config.json`"));
    }

    #[test]
    fn templates_of_a_folder_count_as_in_transformers() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let templates = || {
            let config = HfTokenizerConfig {
                chat_templates: vec![("default".into(), "config".into()), ("rag".into(), "rag".into())],
                ..HfTokenizerConfig::default()
            };
            folder_templates(dir.path(), config).unwrap()
        };
        write("chat_template.json", r#"{"chat_template": "json"}"#);
        assert_eq!(templates().default_text(), Some("config"));
        let alone = folder_templates(dir.path(), HfTokenizerConfig::default()).unwrap();
        assert_eq!(alone.default_text(), Some("json"));
        write("chat_template.jinja", "jinja");
        std::fs::create_dir(dir.path().join("additional_chat_templates")).unwrap();
        write("additional_chat_templates/tool_use.jinja", "tools");
        write("additional_chat_templates/notes.txt", "no");
        let mut expected = TemplateTexts::one("jinja");
        expected.insert("rag", "rag");
        expected.insert("tool_use", "tools");
        assert_eq!(templates(), expected);
        write("additional_chat_templates/tool_use.jinja", "");
        std::fs::write(dir.path().join("chat_template.jinja"), [0xff]).unwrap();
        assert!(folder_templates(dir.path(), HfTokenizerConfig::default()).is_err());
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
        // Whoever has a model to run may do without.
        let files = TextFiles::of_folder(dir.path(), None).unwrap();
        assert!(files.tokenizer.is_none() && files.unusable().is_some());
        std::fs::write(dir.path().join("added_tokens.json"), "[]").unwrap();
        let files = TextFiles::of_folder(dir.path(), None).unwrap();
        assert!(files.unusable().unwrap().to_string().contains("added_tokens.json"));
    }
}
