//! From settings to a run: tokenizer, data, model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use puna::{TextFiles, Tokenizer};
use puna_formats::{Checkpoint, read_file, visible_path, write_file};
use puna_model::{Config, LoadOptions, Model};
use puna_tensor::{Cpu, Isa, Pool};
use puna_train::export::{TextSide, gguf_keys};
use puna_train::run::{Folder, Run};
use puna_train::settings::{ModelSettings, Settings, TokenizerSettings};
use puna_train::{
    DataProgress, DataText, TrainError, prepare, random_model_with, tokenizer_config, train_vocabulary,
};
use serde_json::json;

use super::sampler::SampleMaker;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::progress::Progress;
use crate::units::{clock_time, grouped};

/// What a run is made of.
pub struct Setup {
    settings: Settings,
    cpu: Arc<Cpu>,
    text: TextFiles,
    tokenizer: Arc<Tokenizer>,
    interrupt: Interrupt,
}

/// The most bytes of a tokenizer's file.
const MAX_TOKENIZER_BYTES: usize = 256 << 20;

impl Setup {
    /// Makes or finds the tokenizer. Where a run is resumed, its own is taken.
    pub fn new(settings: Settings, interrupt: &Interrupt, resumes: bool) -> Result<Setup, Failure> {
        let folder = Folder::create(&settings.output)?;
        let n_threads = settings.n_threads.unwrap_or_else(Pool::default_threads);
        let cpu = Arc::new(Cpu::new(Isa::best(), n_threads));
        let text = match (&settings.tokenizer, &settings.model) {
            (TokenizerSettings::Train { vocab_size }, _) => {
                own_vocabulary(&settings, folder.root(), *vocab_size, resumes)?
            }
            (TokenizerSettings::From(path), _) | (TokenizerSettings::OfModel, ModelSettings::From(path)) => {
                TextFiles::open(&crate::args::model_path(path)?)?
            }
            (TokenizerSettings::OfModel, ModelSettings::New(_)) => {
                return Err(Failure::Usage("a new model needs a tokenizer".into()));
            }
        };
        let missing = || Failure::Failed("there is no tokenizer\n  name one with `tokenizer.from`".into());
        let tokenizer = Arc::new(text.tokenizer.clone().ok_or_else(missing)?);
        Ok(Setup { settings, cpu, text, tokenizer, interrupt: interrupt.clone() })
    }

    /// What samples are made with.
    pub fn sampler(&self) -> SampleMaker {
        let samples = &self.settings.samples;
        SampleMaker {
            cpu: self.cpu.clone(),
            tokenizer: self.tokenizer.clone(),
            max_tokens: samples.max_tokens,
            temperature: samples.temperature,
            seed: self.settings.recipe.seed,
        }
    }

    /// The run at its beginning: data are read, and the model is made or loaded.
    pub fn run(&self) -> Result<Run<'_>, Failure> {
        let model = self.model()?;
        let mut settings = self.settings.clone();
        if settings.data.max_len > model.config.max_seq_len {
            settings.data.max_len = model.config.max_seq_len;
            note(&format!("sequences have the model's context of {} tokens", settings.data.max_len));
        }
        let vocab_size = model.config.vocab_size.max(self.tokenizer.vocab_size());
        let bytes_of =
            |id: u32| match self.tokenizer.is_special(id) || id as usize >= self.tokenizer.vocab_size() {
                true => 0,
                false => self.tokenizer.piece_bytes(id).len() as u32,
            };
        let token_bytes: Vec<u32> = (0..vocab_size as u32).map(bytes_of).collect();
        let cache_dir = Folder::at(&settings.output).data();
        let mut data = settings.data.clone();
        data.n_threads = self.cpu.pool.n_threads();
        let text = DataText { tokenizer: &self.tokenizer, template: self.text.chat.as_ref() };
        let interrupt = self.interrupt.clone();
        let source = move |max_len: usize| {
            data.max_len = max_len;
            let mut progress = Progress::new("reading data");
            let stop = || interrupt.is_pressed();
            let mut show = |at: &DataProgress| progress.say(|| reading(at));
            Ok::<_, TrainError>(prepare(&data, &text, &cache_dir, &mut show, &stop)?)
        };
        let identity = json!({ "tokenizer": self.fingerprint() });
        Ok(Run::new(settings, model, token_bytes, self.cpu.clone(), Box::new(source), identity)?)
    }

    fn model(&self) -> Result<Model, Failure> {
        match &self.settings.model {
            ModelSettings::New(new) => {
                let config = Config { vocab_size: self.tokenizer.vocab_size(), ..new.config.clone() };
                config
                    .check()
                    .map_err(|fact| Failure::Failed(format!("the model cannot be built\n  {fact}")))?;
                Ok(random_model_with(config, self.settings.recipe.seed, new.init_std))
            }
            ModelSettings::From(path) => {
                let path = crate::args::model_path(path)?;
                let model = Model::load(&path, &LoadOptions::default()).map_err(TrainError::from)?;
                if self.tokenizer.vocab_size() > model.config.vocab_size {
                    return Err(Failure::Failed(format!(
                        "the tokenizer has {} tokens, but the model in `{}` has {}\n  leave out `tokenizer.from`",
                        self.tokenizer.vocab_size(),
                        visible_path(&path),
                        model.config.vocab_size
                    )));
                }
                Ok(model)
            }
        }
    }

    /// What the tokenizer is, in a number: of all its tokens.
    fn fingerprint(&self) -> String {
        let mut sum = 0xcbf2_9ce4_8422_2325u64; // FNV-1a
        for (_, bytes) in self.tokenizer.iter() {
            for byte in bytes.iter().chain(&[0xff]) {
                sum = (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
        format!("{} tokens, {sum:016x}", self.tokenizer.vocab_size())
    }

    /// What the finished model's files say about text.
    pub fn text_side(&self) -> Result<TextSide, Failure> {
        text_side(self.text.tokenizer_path.as_deref(), &self.tokenizer)
    }
}

/// The vocabulary in the run's folder: made now, or when the run began.
fn own_vocabulary(
    settings: &Settings,
    root: &Path,
    vocab_size: usize,
    resumes: bool,
) -> Result<TextFiles, Failure> {
    let path = root.join("tokenizer.json");
    if !(resumes && path.exists()) {
        let trained = train_vocabulary(&settings.data, vocab_size)?;
        if trained.vocab_size() < vocab_size {
            note(&format!("the text yields {} tokens, not {vocab_size}", trained.vocab_size()));
        }
        // The configuration first: where the vocabulary is there, all is.
        write_file(&root.join("tokenizer_config.json"), tokenizer_config().as_bytes())?;
        write_file(&path, trained.to_hf_json().as_bytes())?;
    }
    Ok(TextFiles::open(&path)?)
}

/// Files beside a tokenizer that belong to it.
const TEXT_FILES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
];

fn text_side(tokenizer_path: Option<&Path>, tokenizer: &Tokenizer) -> Result<TextSide, Failure> {
    let mut side = TextSide::default();
    let Some(path) = tokenizer_path else { return Ok(side) };
    let folder = path.parent().map_or(PathBuf::from("."), Path::to_owned);
    if let Ok(Checkpoint::Gguf(gguf)) = puna_formats::open(path) {
        let keys = gguf.metadata.iter().filter(|(key, _)| key.starts_with("tokenizer."));
        side.gguf = Some(keys.map(|(key, value)| (key.to_owned(), value.clone())).collect());
        note("the Hugging Face folder will have no tokenizer: a GGUF file's is not converted");
        return Ok(side);
    }
    for name in TEXT_FILES.into_iter().filter(|name| folder.join(name).is_file()) {
        side.files.push((name.to_owned(), read_file(&folder.join(name), MAX_TOKENIZER_BYTES)?));
    }
    let json = side.files.iter().find(|(name, _)| name == "tokenizer.json");
    side.gguf = json.and_then(|(_, json)| gguf_keys(json, tokenizer.bos_id(), tokenizer.eos_id()));
    if side.gguf.is_none() {
        note("no GGUF file will be written: this tokenizer cannot be said in one by `puna train`");
    }
    Ok(side)
}

/// How far reading the data is.
fn reading(at: &DataProgress) -> String {
    let percent = 100 * at.bytes_done / at.bytes_all.max(1);
    let left =
        at.time_left.map_or(String::new(), |left| format!(", {} left", clock_time(left.as_secs_f64())));
    format!("{percent} %, {} tokens{left}", grouped(at.n_tokens as f64))
}
