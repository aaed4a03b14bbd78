//! A model that is ready to use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use puna_engine::sampling::{SamplingError, SamplingParams};
use puna_engine::{Engine, EngineError, EngineOptions};
use puna_formats::{Checkpoint, MappedFile, visible_path};
use puna_image::Tiling;
use puna_model::{Config, Expert, LayerWeights, LoadOptions, Model};
use puna_tensor::{Activations, Cpu, DType, Isa, KvLayout, Pool, Weight};
use puna_text::Tokenizer;
use puna_text::template::{ChatFormat, ChatTemplate};

use crate::builtin::{self, BUILTIN_NAME};
use crate::form::vocabulary::Vocabulary;
use crate::text_files::TextFiles;
use crate::tiling::tiling_of;
use crate::{Error, memory};

/// How keys and values can be stored.
pub const KV_DTYPES: [DType; 3] = KvLayout::DTYPES;

/// How a model is run. The default is right for most uses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads; all that the process may use if `None`.
    pub n_threads: Option<usize>,
    /// The instruction set; the best one of this machine if `None`.
    pub isa: Option<Isa>,
    /// Another model whose threads and instruction set are used, in the place of threads of its own: several
    /// models that work in turn need no more threads than one.
    pub beside: Option<Llama>,
    /// How activations enter products: as eight-bit numbers where the weights are quantised, or exactly.
    pub activations: Activations,
    /// Whether weights may be copied, after the first tokens, into the order in which products read them:
    /// about a third faster, in memory of our own instead of the file's. Done where the model takes at most
    /// half of the memory that is available.
    pub repack: bool,
    /// How keys and values are stored: F32 (exact), F16 or Q8_0.
    pub kv_dtype: DType,
    /// A folder for a temporary file that keys and values of layers that see all positions are kept in, so
    /// that a context may need more memory than there is: the system writes to disk what it has no room for.
    /// The file has no name and is gone with the program. Without it, keys and values of all sequences together
    /// may have the memory that is available when the model is loaded.
    pub kv_dir: Option<PathBuf>,
    /// The most bytes that keys and values of all sequences take; what is available, less what the model itself
    /// needs, if `None`.
    pub kv_bytes: Option<usize>,
    /// The longest sequence, if shorter than the model's own context.
    pub max_seq_len: Option<usize>,
    /// The file with the vision encoder (`mmproj`) of a GGUF file.
    pub mmproj: Option<PathBuf>,
    /// How a conversation becomes a prompt; as the checkpoint's own template says if `None`.
    pub chat_format: Option<ChatFormat>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            n_threads: None,
            isa: None,
            beside: None,
            activations: Activations::Int8,
            repack: true,
            kv_dtype: DType::F32,
            kv_dir: None,
            kv_bytes: None,
            max_seq_len: None,
            mmproj: None,
            chat_format: None,
        }
    }
}

/// A loaded model. It is immutable and cheap to clone: clones share the weights and the threads.
#[derive(Clone)]
pub struct Llama {
    engine: Arc<Engine>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Llama {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Llama").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// Checkpoint, and everything about text.
struct Shared {
    text: TextFiles,
    tiling: Option<Tiling>,
    checkpoint: Checkpoint,
    path: PathBuf,
    load_time: Duration,
    /// What forms of answers need of the tokenizer, once one was asked for.
    vocabulary: OnceLock<Result<Arc<Vocabulary>, String>>,
}

impl Llama {
    /// Loads the checkpoint at `path`: a GGUF file, or a Hugging Face or Meta folder.
    ///
    /// A checkpoint without a tokenizer, or with one that cannot be used, can be loaded; it computes ids and refuses
    /// text.
    pub fn load(path: impl AsRef<Path>) -> Result<Llama, Error> {
        Llama::load_with(path, &Options::default())
    }

    /// Loads the checkpoint at `path`, to be run as `options` say.
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Llama, Error> {
        let (path, start) = (path.as_ref(), Instant::now());
        Llama::from_checkpoint(puna_formats::open(path)?, path, options, start)
    }

    /// The model inside the library.
    pub fn builtin() -> Result<Llama, Error> {
        Llama::builtin_with(&Options::default())
    }

    /// The model inside the library, to be run as `options` say.
    pub fn builtin_with(options: &Options) -> Result<Llama, Error> {
        let start = Instant::now();
        let checkpoint = Checkpoint::Gguf(builtin::checkpoint()?);
        Llama::from_checkpoint(checkpoint, Path::new(BUILTIN_NAME), options, start)
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
        if let Some(format) = options.chat_format {
            text.use_format(format)?;
        }
        let tiling = tiling_of(&checkpoint, model.config.vision.as_ref())?;
        let cpu = match &options.beside {
            Some(other) => other.engine().cpu().clone(),
            None => {
                let n_threads = options.n_threads.unwrap_or_else(Pool::default_threads);
                Arc::new(Cpu::new(options.isa.unwrap_or_else(Isa::best), n_threads))
            }
        };
        let repack_bytes = match options.repack {
            true => model.weights.repack_bytes(options.activations),
            false => 0,
        };
        // All or nothing: what stays in the file needs memory as well.
        let available = memory::available();
        let room = repack_bytes <= available.unwrap_or(0) / 2;
        let repack_bytes = if room { repack_bytes } else { 0 };
        // What is kept in a file needs no memory.
        let kv_bytes = available.filter(|_| options.kv_dir.is_none());
        let engine_options = EngineOptions {
            activations: options.activations,
            repack_bytes,
            kv_bytes: options
                .kv_bytes
                .or(kv_bytes.map(|available| memory::for_keys_and_values(available, repack_bytes))),
            max_seq_len: options.max_seq_len,
            kv_dtype: options.kv_dtype,
            kv_dir: options.kv_dir.clone(),
            ..EngineOptions::default()
        };
        let engine = Engine::new(Arc::new(model), cpu, engine_options)?;
        let (path, load_time) = (path.to_owned(), start.elapsed());
        let shared = Shared { text, tiling, checkpoint, path, load_time, vocabulary: OnceLock::new() };
        Ok(Llama { engine: Arc::new(engine), shared: Arc::new(shared) })
    }

    /// The same model with another context: the most tokens of prompt and answer together. Weights and threads
    /// are shared.
    pub fn with_context(&self, max_seq_len: usize) -> Result<Llama, Error> {
        let options = self.engine.options().clone();
        self.with_engine_options(EngineOptions { max_seq_len: Some(max_seq_len), ..options })
    }

    /// The same model, run otherwise. Weights and threads are shared.
    pub fn with_engine_options(&self, options: EngineOptions) -> Result<Llama, Error> {
        let engine = Arc::new(self.engine.with_options(options)?);
        Ok(Llama { engine, shared: self.shared.clone() })
    }

    /// What to call it: the name in its files, or else that of its file or folder.
    pub fn name(&self) -> String {
        let of_path = || {
            let name = self.path().file_stem().filter(|_| self.path().is_file());
            let name = name.or(self.path().file_name()).unwrap_or(self.path().as_os_str());
            name.to_string_lossy().into_owned()
        };
        // What stands there may be the path that it had with its makers.
        let of_files = self.checkpoint_name().and_then(|name| name.rsplit('/').next().map(str::to_owned));
        of_files.filter(|name| !name.trim().is_empty()).unwrap_or_else(of_path)
    }

    /// Does at once what otherwise happens after the first tokens: copies weights into the order in which
    /// products read them, where [`Options::repack`] says so.
    pub(crate) fn repack(&self) {
        self.engine().repack();
    }

    /// Bytes of all weights, as they are stored. Copies ([`Options::repack`]) take the place of the file's pages.
    pub fn weight_bytes(&self) -> usize {
        self.engine().model().weights.n_bytes()
    }

    /// What to expect where the weights do not fit the memory that is available; `None` where they do. Of
    /// experts only those are read that a token is routed to.
    pub fn memory_note(&self) -> Option<String> {
        let model = self.engine().model();
        let weights = self.weight_bytes();
        let n_used = model.config.experts.n_used;
        let per_layer = |layer: &LayerWeights| {
            let experts = layer.experts().iter().take(n_used).flat_map(Expert::matrices);
            layer.matrices().chain(experts).map(Weight::n_bytes).sum::<usize>()
        };
        let output = model.weights.output.as_ref().unwrap_or(&model.weights.tok_embeddings).n_bytes();
        let per_token = model.weights.layers.iter().map(per_layer).sum::<usize>() + output;
        memory::note(weights, per_token, memory::available())
    }

    /// An error if another program wrote to a file of the model, or made it shorter, since it was loaded:
    /// what was computed meanwhile may be of both. (While it computes, a file that became shorter is an error
    /// by itself.)
    pub fn check_files(&self) -> Result<(), Error> {
        Ok(self.engine().model().files().iter().try_for_each(MappedFile::check_unchanged)?)
    }

    /// What was chosen while loading that somebody may have meant otherwise.
    pub fn notes(&self) -> Vec<String> {
        let settings = self.text().generation_fault.as_ref();
        let settings = settings.map(|fault| format!("{fault}\n  the model runs without these settings"));
        [self.form_note(), self.adapter_note(), self.output_note(), settings].into_iter().flatten().collect()
    }

    /// An adapter that lies in the model's folder is not applied.
    fn adapter_note(&self) -> Option<String> {
        let adapter = self.path().join("adapter_config.json");
        adapter.is_file().then(|| {
            let path = visible_path(&adapter);
            format!("`{path}` belongs to an adapter (a LoRA), which is not applied: the model alone answers")
        })
    }

    /// Which output matrix counts, where the files hold one that their configuration says is the embedding.
    fn output_note(&self) -> Option<String> {
        let Checkpoint::HuggingFace(hf) = self.checkpoint() else { return None };
        let says_tied = Config::from_hf(&hf.config).is_ok_and(|config| config.tied);
        let note = match (says_tied, self.config().tied) {
            (true, false) => {
                "config.json says that the output matrix is the embedding (tie_word_embeddings), but the files hold a \
                 lm_head that differs from it: lm_head is used, as transformers 5 does; transformers 4 and vLLM \
                 would use the embedding"
            }
            (false, true) => {
                "the files hold no output matrix (lm_head), and config.json does not say that the embedding serves \
                 (tie_word_embeddings): the embedding is used, or a file is missing"
            }
            _ => return None,
        };
        Some(note.to_owned())
    }

    /// Which form was read, where the folder it came from holds several: a GGUF file, say, beside Hugging
    /// Face's files.
    fn form_note(&self) -> Option<String> {
        let forms =
            if self.path().is_dir() { puna_formats::forms_in(self.path()).ok()? } else { return None };
        let [taken, others @ ..] = &forms[..] else { return None };
        let others = others.iter().map(|form| form.name()).collect::<Vec<_>>().join(" and ");
        let (path, taken) = (visible_path(self.path()), taken.name());
        (!others.is_empty()).then(|| {
            format!("`{path}` holds a model in {taken}'s form and one in {others}'s; {taken}'s is used")
        })
    }

    /// The engine, for work on ids.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, for a [`Worker`](crate::Worker) that runs it on a thread of its own.
    pub fn shared_engine(&self) -> Arc<Engine> {
        self.engine.clone()
    }

    /// The model's sizes and constants.
    pub fn config(&self) -> &Config {
        &self.engine().model().config
    }

    /// The path it came from; a name for the built-in model.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// How long loading took.
    pub fn load_time(&self) -> Duration {
        self.shared.load_time
    }

    /// How a conversation becomes a prompt, if that is one of the formats of Llama's generations.
    pub fn chat_format(&self) -> Option<ChatFormat> {
        match self.text().chat.as_ref()?.template {
            ChatTemplate::BuiltIn(format) => Some(format),
            ChatTemplate::Jinja(_) | ChatTemplate::Unusable(_) => None,
        }
    }

    /// What the checkpoint's files say about text: chat template, recommended settings.
    pub fn text(&self) -> &TextFiles {
        &self.shared.text
    }

    /// The tokenizer, or an error that says where one was looked for, or why it cannot be used.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        if let Some(error) = self.text().unusable() {
            return Err(error);
        }
        let looked_for = match self.checkpoint() {
            Checkpoint::Gguf(_) => "the file has no vocabulary (`tokenizer.ggml.model`)",
            Checkpoint::HuggingFace(_) => "the folder has no tokenizer.json and no tokenizer.model",
            Checkpoint::Meta(_) => "the folder has no tokenizer.model",
        };
        let missing = || Error::NoTokenizer { path: self.path().to_owned(), looked_for };
        self.text().tokenizer.as_ref().ok_or_else(missing)
    }

    /// The vocabulary as forms of answers need it. Made by the first who asks.
    pub(crate) fn vocabulary(
        &self,
        make: impl FnOnce() -> Result<Vocabulary, String>,
    ) -> Result<Arc<Vocabulary>, String> {
        self.shared.vocabulary.get_or_init(|| make().map(Arc::new)).clone()
    }

    /// The ids that end an answer.
    pub(crate) fn stop_ids(&self) -> &[u32] {
        match &self.text().tokenizer {
            Some(tokenizer) => tokenizer.stop_ids(),
            None => &self.text().generation.eos_ids,
        }
    }

    /// How a chat answers unless said otherwise: as the checkpoint recommends, or at temperature 0.6 and
    /// top-p 0.9, which Meta recommends for its chat models.
    pub fn chat_sampling(&self) -> SamplingParams {
        self.text().generation.sampling(0.6, 0.9)
    }

    /// How a text is continued unless said otherwise: as the checkpoint recommends, or at temperature 0.8 and
    /// top-p 0.95.
    pub fn raw_sampling(&self) -> SamplingParams {
        self.text().generation.sampling(0.8, 0.95)
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.shared.checkpoint
    }

    /// How pictures are cut; `None` for a model that sees none.
    pub(crate) fn tiling(&self) -> Option<&Tiling> {
        self.shared.tiling.as_ref()
    }

    /// Why it sees no pictures.
    pub(crate) fn no_vision(&self) -> Error {
        // Of Llama 4 alone the encoder may be in a file of its own.
        let is_llama4 = self.config().is_llama4();
        let may_have_projector = is_llama4 && matches!(self.checkpoint(), Checkpoint::Gguf(_));
        Error::NoVision { path: self.path().to_owned(), may_have_projector }
    }

    /// Why it cannot chat: without a tokenizer it has no text at all.
    pub(crate) fn no_chat(&self) -> Error {
        let no_template = Error::NoChatTemplate { path: self.path().to_owned() };
        self.tokenizer().err().unwrap_or(no_template)
    }

    /// Why no token could be chosen. Bad logits have a cause in the weights, which is looked for only now:
    /// reading them all would make every load slow.
    pub(crate) fn explain(&self, error: EngineError) -> Error {
        match error {
            EngineError::Sampling(SamplingError::Logit { .. }) => self.damaged(error.to_string()),
            error => Error::Engine(error),
        }
    }

    /// The model's output is no number: names the damaged weight, or else what came out.
    pub(crate) fn damaged(&self, fact: String) -> Error {
        let model = self.engine().model();
        let fact = match model.weights.damaged(&model.config) {
            Some(weight) => format!("{weight}; the file is damaged, get it again"),
            None => fact,
        };
        Error::Damaged { path: self.path().to_owned(), fact }
    }
}
