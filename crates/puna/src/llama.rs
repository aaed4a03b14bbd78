//! A model that is ready to use: checkpoint, weights, engine and everything about text.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use puna_engine::sampling::SamplingError;
use puna_engine::{Engine, EngineError, EngineOptions};
use puna_formats::Checkpoint;
use puna_image::Tiling;
use puna_model::{Config, Expert, LayerWeights, LoadOptions, Model};
use puna_tensor::{Activations, Cpu, DType, Isa, Pool, Weight};
use puna_text::template::{Detected, Message, Prompt, RenderOptions};
use puna_text::{EncodeOptions, InfillOrder, Tokenizer};

use crate::builtin::{self, BUILTIN_NAME};
use crate::pictures::tiling_of;
use crate::text_files::TextFiles;
use crate::{Error, GenerationConfig, memory};

/// How a model is run. The default is right for most uses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads; all that the process may use if `None`.
    pub n_threads: Option<usize>,
    /// The instruction set; the best one of this machine if `None`.
    pub isa: Option<Isa>,
    /// How activations enter products: as eight-bit numbers where the weights are quantised, or exactly.
    pub activations: Activations,
    /// Whether weights may be copied, after the first tokens, into the order in which products read them: about a third
    /// faster, in memory of our own instead of the file's. Done where the model takes at most half of the memory that is
    /// available.
    pub repack: bool,
    /// How keys and values are stored: F32 (exact), F16 or Q8_0.
    pub kv_dtype: DType,
    /// A folder for a temporary file that keys and values of layers that see all positions are kept in, so that a context may
    /// need more memory than there is: the system writes to disk what it has no room for. The file has no name and is gone
    /// with the program.
    pub kv_dir: Option<PathBuf>,
    /// The longest sequence, if shorter than the model's own context.
    pub max_seq_len: Option<usize>,
    /// The file with the vision encoder (`mmproj`) of a GGUF file.
    pub mmproj: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            n_threads: None,
            isa: None,
            activations: Activations::Int8,
            repack: true,
            kv_dtype: DType::F32,
            kv_dir: None,
            max_seq_len: None,
            mmproj: None,
        }
    }
}

/// A loaded model: immutable and shared; sequences and chats are made from it.
pub struct Llama {
    engine: Engine,
    text: TextFiles,
    pub(crate) tiling: Option<Tiling>,
    checkpoint: Checkpoint,
    path: PathBuf,
    load_time: Duration,
}

impl Llama {
    /// Loads the checkpoint at `path`: a GGUF file, or a Hugging Face or Meta folder.
    ///
    /// A checkpoint without a tokenizer can be loaded; it computes ids and refuses text.
    pub fn load(path: &Path, options: &Options) -> Result<Llama, Error> {
        let start = Instant::now();
        Llama::from_checkpoint(puna_formats::open(path)?, path, options, start)
    }

    /// The model inside the library.
    pub fn builtin(options: &Options) -> Result<Llama, Error> {
        let start = Instant::now();
        Llama::from_checkpoint(
            Checkpoint::Gguf(builtin::checkpoint()?),
            Path::new(BUILTIN_NAME),
            options,
            start,
        )
    }

    fn from_checkpoint(
        checkpoint: Checkpoint,
        path: &Path,
        options: &Options,
        start: Instant,
    ) -> Result<Llama, Error> {
        let load_options = LoadOptions { mmproj: options.mmproj.clone(), ..LoadOptions::default() };
        let model = Model::from_checkpoint(&checkpoint, path, &load_options)?;
        let mut text = TextFiles::of_checkpoint(&checkpoint, model.config.vocab_size)?;
        if !model.config.cross_layers.is_empty() {
            text.sees_images();
        }
        let tiling = tiling_of(&checkpoint, model.config.vision.as_ref())?;
        let n_threads = options.n_threads.unwrap_or_else(Pool::default_threads);
        let isa = options.isa.unwrap_or_else(Isa::best);
        let repack_bytes = match options.repack {
            true => model.weights.repack_bytes(options.activations),
            false => 0,
        };
        // All or nothing: what stays in the file needs memory as well.
        let room = repack_bytes <= memory::available().unwrap_or(0) / 2;
        let engine_options = EngineOptions {
            activations: options.activations,
            repack_bytes: if room { repack_bytes } else { 0 },
            max_seq_len: options.max_seq_len,
            kv_dtype: options.kv_dtype,
            kv_dir: options.kv_dir.clone(),
            ..EngineOptions::default()
        };
        let engine = Engine::new(Arc::new(model), Arc::new(Cpu::new(isa, n_threads)), engine_options)?;
        Ok(Llama { engine, text, tiling, checkpoint, path: path.to_owned(), load_time: start.elapsed() })
    }

    /// Does at once what otherwise happens after the first tokens: copies weights into the order in which products read
    /// them, where [`Options::repack`] says so.
    pub fn repack(&self) {
        self.engine.repack();
    }

    /// What to expect where the weights do not fit the memory that is available; `None` where they do. Of the experts of
    /// Llama 4 only those are read that a token is routed to.
    pub fn memory_note(&self) -> Option<String> {
        let model = self.engine.model();
        let weights = model.weights.all().iter().map(|weight| weight.n_bytes()).sum();
        let n_used = model.config.experts.n_used;
        let per_layer = |layer: &LayerWeights| {
            let experts = layer.experts().iter().take(n_used).flat_map(Expert::matrices);
            layer.matrices().chain(experts).map(Weight::n_bytes).sum::<usize>()
        };
        let output = model.weights.output.as_ref().unwrap_or(&model.weights.tok_embeddings).n_bytes();
        let per_token = model.weights.layers.iter().map(per_layer).sum::<usize>() + output;
        memory::note(weights, per_token, memory::available())
    }

    /// The engine, for work on ids.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The model's sizes and constants.
    pub fn config(&self) -> &Config {
        &self.engine.model().config
    }

    /// The checkpoint it came from.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The path it came from; a name for the built-in model.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long loading took.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// What the checkpoint recommends for generating.
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.text.generation
    }

    /// Everything about text.
    pub fn text_files(&self) -> &TextFiles {
        &self.text
    }

    /// The tokenizer, or an error that says where one was looked for.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        let looked_for = match self.checkpoint {
            Checkpoint::Gguf(_) => "the file has no vocabulary (`tokenizer.ggml.model`)",
            Checkpoint::HuggingFace(_) => "the folder has no tokenizer.json and no tokenizer.model",
            Checkpoint::Meta(_) => "the folder has no tokenizer.model",
        };
        let missing = || Error::NoTokenizer { path: self.path.clone(), looked_for };
        self.text.tokenizer.as_ref().ok_or_else(missing)
    }

    /// The chat format, if anything in the checkpoint speaks for one.
    pub fn chat_template(&self) -> Option<&Detected> {
        self.text.chat.as_ref()
    }

    /// Whether a prompt is a chat's first message unless said otherwise.
    pub fn is_chat_model(&self) -> bool {
        self.text.is_chat_model()
    }

    /// The ids that end an answer.
    pub fn stop_ids(&self) -> &[u32] {
        match &self.text.tokenizer {
            Some(tokenizer) => tokenizer.stop_ids(),
            None => &self.text.generation.eos_ids,
        }
    }

    /// The ids of a text to continue: ordinary text, after BOS where the model wants one.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let tokenizer = self.tokenizer()?;
        let options = EncodeOptions { add_bos: tokenizer.adds_bos(), ..EncodeOptions::default() };
        Ok(tokenizer.encode(text, options))
    }

    /// The ids that ask a Code Llama for what stands between `prefix` and `suffix`. Its answer is a continuation: every space
    /// of it counts ([`GenerateOptions::stands_alone`](crate::GenerateOptions) is false).
    pub fn encode_infill(&self, prefix: &str, suffix: &str, order: InfillOrder) -> Result<Vec<u32>, Error> {
        self.tokenizer()?.encode_infill(prefix, suffix, order).map_err(|source| {
            let path = self.path.display();
            let hint = "Code Llama 7B and 13B and their Instruct variants can";
            Error::Request(format!("`{path}` cannot fill in text\n  {source}\n  {hint}"))
        })
    }

    /// A conversation as the model's chat format writes it.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<Prompt, Error> {
        self.text.render(messages, options).unwrap_or_else(|| {
            self.tokenizer()?;
            Err(Error::NoChatTemplate { path: self.path.clone() })
        })
    }

    /// The ids of a prompt, BOS exactly once.
    pub fn prompt_ids(&self, prompt: &Prompt) -> Result<Vec<u32>, Error> {
        prompt.to_ids(self.tokenizer()?).map_err(Error::Prompt)
    }

    /// Why no token could be chosen. Bad logits have a cause in the weights, which is looked for only now: reading them all
    /// would make every load slow.
    pub(crate) fn explain(&self, error: EngineError) -> Error {
        match error {
            EngineError::Sampling(SamplingError::Logit { .. }) => self.damaged(error.to_string()),
            error => Error::Engine(error),
        }
    }

    /// The model's output is no number: names the damaged weight, or else what came out.
    pub(crate) fn damaged(&self, fact: String) -> Error {
        let model = self.engine.model();
        let fact = match model.weights.damaged(&model.config) {
            Some(weight) => format!("{weight}; the file is damaged, get it again"),
            None => fact,
        };
        Error::Damaged { path: self.path.clone(), fact }
    }
}
