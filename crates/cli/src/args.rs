//! Arguments that several commands share: the model and how it is run.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use puna::{Activations, DType, Isa, Llama, Options, TextFiles, Tokenizer};
use puna_formats::{quote, visible_path};
use puna_serve::ServedModel;

use crate::environment::{environment, places};
use crate::failure::Failure;
use crate::names::models;
use crate::output::note;

/// Which model.
#[derive(Args, Debug)]
pub struct ModelArg {
    /// The model: a GGUF file, a Hugging Face or Meta folder, or a name that `puna list` shows [env: PUNA_MODEL]
    /// [default: the built-in model]
    #[arg(short, long, value_name = "PATH", add = models())]
    model: Option<PathBuf>,
}

impl ModelArg {
    /// The path given, here or in the environment; `None` for the built-in model. Where there is no such file,
    /// it may be the name of a model of this machine.
    fn path(&self) -> Result<Option<PathBuf>, Failure> {
        let path = self.model.clone().or_else(|| environment("PUNA_MODEL").map(PathBuf::from));
        path.map(|path| model_path(&path)).transpose()
    }

    /// Loads the model.
    pub fn load(&self, options: &Options) -> Result<Llama, Failure> {
        self.load_at(None, options)
    }

    /// Loads the model at `path`, or else the one named.
    fn load_at(&self, path: Option<PathBuf>, options: &Options) -> Result<Llama, Failure> {
        let llama = match path.map_or_else(|| self.path(), |path| Ok(Some(path)))? {
            Some(path) => Llama::load_with(&path, options)?,
            None => Llama::builtin_with(options)?,
        };
        llama.notes().iter().for_each(|text| note(text));
        Ok(llama)
    }

    /// The tokenizer and templates alone, without weights. `PATH` may then be a bare tokenizer file as well.
    pub fn text_files(&self) -> Result<(TextFiles, PathBuf), Failure> {
        Ok(match self.path()? {
            Some(path) => (TextFiles::open(&path)?, path),
            None => (TextFiles::builtin()?, PathBuf::from(puna::BUILTIN_NAME)),
        })
    }

    /// The tokenizer alone.
    pub fn tokenizer(&self) -> Result<Tokenizer, Failure> {
        let (files, path) = self.text_files()?;
        let missing = || Failure::Failed(format!("`{}` has no tokenizer", visible_path(&path)));
        files.tokenizer.ok_or_else(missing)
    }
}

/// A model and how it is run.
#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    model: ModelArg,
    #[command(flatten)]
    how: HowArgs,
}

/// How a model is run.
#[derive(Args, Debug)]
pub struct HowArgs {
    /// Context: the most tokens of prompt and answer together [default: the model's own]
    #[arg(long, value_name = "TOKENS")]
    ctx: Option<usize>,
    /// Threads [env: PUNA_THREADS] [default: all this process may use]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// How activations enter products with quantised weights: q8 rounds them to eight bits and is several
    /// times as fast, f32 is exact
    #[arg(long, value_name = "TYPE", default_value = "q8")]
    activations: ActivationType,
    /// Whether weights are copied, after the first tokens, into the order in which they are read: about a
    /// third faster. auto does so where the model takes at most half of the free memory; off leaves them in
    /// the file
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    repack: Repack,
    /// How keys and values are stored: f32 is exact, the others need less memory
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    kv: KvType,
    /// Keep keys and values in a temporary file in this folder, for contexts that need more memory than there
    /// is: the system writes to disk what it has no room for. The file has no name and is gone with the
    /// program
    #[arg(long, value_name = "DIR")]
    kv_dir: Option<PathBuf>,
}

/// A model that may see pictures, and how it is run.
#[derive(Args, Debug)]
pub struct SeeingArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The vision encoder of a GGUF file of Llama 4, which lies in a file of its own
    #[arg(long, value_name = "FILE")]
    mmproj: Option<PathBuf>,
}

impl SeeingArgs {
    /// Whether a model is named by an option.
    pub fn names_model(&self) -> bool {
        self.run.names_model()
    }

    /// Loads the model at `path`, or else the one that the options or the environment name.
    pub fn load_at(&self, path: Option<PathBuf>) -> Result<Llama, Failure> {
        self.run.load_at(path, self.mmproj.clone())
    }

    /// Loads the model.
    pub fn load(&self) -> Result<Llama, Failure> {
        self.load_at(None)
    }

    /// The model at `path`, or else the one that the options or the environment name, for a server to load.
    pub fn served_at(&self, path: Option<PathBuf>) -> Result<ServedModel, Failure> {
        let path = path.map_or_else(|| self.run.model.path(), |path| Ok(Some(path)))?;
        let options = Options { mmproj: self.mmproj.clone(), ..self.run.how.options()? };
        Ok(ServedModel { path, options, ..ServedModel::default() })
    }
}

/// A type of activations.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ActivationType {
    #[value(name = "q8")]
    Q8,
    #[value(name = "f32")]
    F32,
}

/// Whether weights are repacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Repack {
    #[value(name = "auto")]
    Auto,
    #[value(name = "off")]
    Off,
}

/// A type of keys and values.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KvType {
    #[value(name = "f32")]
    F32,
    #[value(name = "f16")]
    F16,
    #[value(name = "q8_0")]
    Q8_0,
}

/// As many as a pool can have.
const MAX_THREADS: usize = 1024;

fn parse_threads(text: &str) -> Result<usize, String> {
    let n_threads = text.parse().ok().filter(|n| (1..=MAX_THREADS).contains(n));
    n_threads.ok_or_else(|| format!("expected a number from 1 to {MAX_THREADS}"))
}

impl RunArgs {
    /// Whether a model is named by an option.
    pub fn names_model(&self) -> bool {
        self.model.model.is_some()
    }

    /// Loads the model.
    pub fn load(&self) -> Result<Llama, Failure> {
        self.load_at(None, None)
    }

    /// Loads the model at `path`, or else the one that the options or the environment name.
    fn load_at(&self, path: Option<PathBuf>, mmproj: Option<PathBuf>) -> Result<Llama, Failure> {
        let options = Options { mmproj, ..self.how.options()? };
        let llama = self.model.load_at(path, &options)?;
        if let Some(slow) = llama.memory_note() {
            note(&slow);
        }
        Ok(llama)
    }
}

impl HowArgs {
    /// The options.
    pub fn options(&self) -> Result<Options, Failure> {
        Ok(Options {
            n_threads: self.n_threads()?,
            isa: isa_from_environment()?,
            activations: match self.activations {
                ActivationType::Q8 => Activations::Int8,
                ActivationType::F32 => Activations::F32,
            },
            repack: self.repack == Repack::Auto,
            kv_dtype: match self.kv {
                KvType::F32 => DType::F32,
                KvType::F16 => DType::F16,
                KvType::Q8_0 => DType::Q8_0,
            },
            kv_dir: self.kv_dir.clone(),
            max_seq_len: self.ctx,
            ..Options::default()
        })
    }

    fn n_threads(&self) -> Result<Option<usize>, Failure> {
        let Some(text) = environment("PUNA_THREADS").filter(|_| self.threads.is_none()) else {
            return Ok(self.threads);
        };
        let text = text.to_string_lossy();
        let n_threads = parse_threads(&text);
        n_threads.map(Some).map_err(|fact| Failure::Usage(format!("PUNA_THREADS is `{text}`\n  {fact}")))
    }
}

/// The file or folder that a path or a name stands for.
pub fn model_path(path: &std::path::Path) -> Result<PathBuf, Failure> {
    let named = if path.exists() { None } else { path.to_str().map(model_named).transpose()?.flatten() };
    Ok(named.unwrap_or_else(|| path.to_owned()))
}

/// The model of this machine that has this name; an error where several may be meant. What is no such name is
/// not looked for.
pub fn model_named(name: &str) -> Result<Option<PathBuf>, Failure> {
    let is_name = name.contains(['/', ':', '.', '-', '_']) || name.contains(|c: char| c.is_ascii_digit());
    if !is_name || name.contains('\n') || name.starts_with(['/', '.', '~']) {
        return Ok(None);
    }
    let found = places().named(name);
    match found.as_slice() {
        [] => Ok(None),
        [model] => Ok(Some(model.path.clone())),
        several => {
            let names: Vec<String> = several.iter().map(|model| quote(&model.name)).collect();
            let (name, names) = (quote(name), names.join(", "));
            Err(Failure::Usage(format!(
                "{name} may mean several models\n  there are {names}\n  name one of them"
            )))
        }
    }
}

fn isa_from_environment() -> Result<Option<Isa>, Failure> {
    let Some(name) = environment("PUNA_ISA") else { return Ok(None) };
    let name = name.to_string_lossy();
    let available = Isa::available().into_iter().map(Isa::name).collect::<Vec<_>>().join(", ");
    let unknown = || Failure::Usage(format!("PUNA_ISA is `{name}`\n  this machine has {available}"));
    Isa::by_name(&name).map(Some).ok_or_else(unknown)
}
