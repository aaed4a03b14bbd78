//! The settings of a run, read from YAML and from arguments beside it.
//!
//! Everything wrong is found before anything is loaded and said at once, each fault with its key, its line and what
//! to do: [`Settings::read`]. What the values mean is said where they are used; `configs/stories.yaml` has all of
//! them, with comments.

mod data;
mod model;
mod paths;
mod run;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use puna_formats::yaml::{self, Faults, Node, Place, Section, Value};
use puna_formats::{quote, visible_path};

use crate::data::DataConfig;
use crate::trainer::Recipe;

pub use model::{ModelSettings, NewModel, TokenizerSettings};
pub use run::{Checkpoints, Export, Extension, Length, Samples, Validation};

/// All settings of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What the model is called in its files.
    pub name: String,
    /// The licence of the result, as its files say it.
    pub licence: Option<String>,
    /// The folder of the run and of the finished model.
    pub output: PathBuf,
    /// Threads; all that the process may use if `None`.
    pub n_threads: Option<usize>,
    /// What is trained.
    pub model: ModelSettings,
    /// How text becomes tokens.
    pub tokenizer: TokenizerSettings,
    /// What is trained on.
    pub data: DataConfig,
    /// How long.
    pub length: Length,
    /// How. The number of steps is known once the data are.
    pub recipe: Recipe,
    /// How well it goes, and when that ends the run.
    pub validation: Validation,
    /// Texts that are made on the way.
    pub samples: Samples,
    /// What is saved on the way.
    pub checkpoints: Checkpoints,
    /// Longer contexts from some step on, in order.
    pub extensions: Vec<Extension>,
    /// What is written in the end.
    pub export: Export,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read, or is no YAML.
    #[error(transparent)]
    File(#[from] puna_formats::FormatError),
    /// An argument is not `key=value`.
    #[error("the argument {0} is not a setting\n  expected KEY=VALUE, such as optimizer.lr=1e-3")]
    Argument(String),
    /// Settings are wrong; all of them.
    #[error("{what} cannot be used: {} {}\n{faults}", faults.0.len(), if faults.0.len() == 1 { "fault" } else { "faults" })]
    Faults {
        /// Which file.
        what: String,
        /// What is wrong.
        faults: Faults,
    },
}

impl Settings {
    /// Reads the YAML file at `path`, with `overrides` (`a.b=value`) in the place of what it says. Paths in it are
    /// relative to where the program runs. `is_model` says whether there is a model of a path or a name.
    pub fn read(
        path: &Path,
        overrides: &[String],
        is_model: &dyn Fn(&str) -> bool,
    ) -> Result<Settings, SettingsError> {
        let tree = yaml::read(path)?;
        Settings::of_tree(tree, overrides, is_model, format!("`{}`", visible_path(path)))
    }

    /// The settings that suit a text file, a JSON-lines file or a folder of them, without a configuration file.
    pub fn for_data(
        path: &Path,
        overrides: &[String],
        is_model: &dyn Fn(&str) -> bool,
    ) -> Result<Settings, SettingsError> {
        let argument = |text: &str| Node {
            place: Place::Argument,
            value: Value::Scalar { text: text.to_owned(), is_quoted: true },
        };
        let mut tree = Node { place: Place::Argument, value: Value::Null };
        let stem = path.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
        let text = path.to_string_lossy();
        for (key, value) in [("name", &*stem), ("output", &*format!("{stem}-model")), ("data.train", &*text)]
        {
            tree.set(key, argument(value)).expect("the tree is empty");
        }
        Settings::of_tree(tree, overrides, is_model, format!("`{}`", visible_path(path)))
    }

    fn of_tree(
        mut tree: Node,
        overrides: &[String],
        is_model: &dyn Fn(&str) -> bool,
        what: String,
    ) -> Result<Settings, SettingsError> {
        for text in overrides {
            let (key, value) =
                text.split_once('=').ok_or_else(|| SettingsError::Argument(quote(text).to_string()))?;
            let fail = |fact: String| SettingsError::Argument(format!("{} ({fact})", quote(text)));
            let value = yaml::parse(value, |_| Place::Argument).map_err(fail)?;
            tree.set(key.trim(), value).map_err(fail)?;
        }
        let faults = RefCell::new(Faults::default());
        let settings = read(Section::top(&tree, &faults), is_model);
        let faults = faults.into_inner();
        match settings {
            Some(settings) if faults.0.is_empty() => Ok(settings),
            _ => Err(SettingsError::Faults { what, faults }),
        }
    }
}

/// All sections; a fault in one does not keep the others from being read.
fn read(top: Section, is_model: &dyn Fn(&str) -> bool) -> Option<Settings> {
    let name = top.text("name").unwrap_or_else(|| "model".into());
    let licence = top.text("licence");
    let output = top.text("output");
    if output.is_none() && !top.has("output") {
        top.fault("output", "is missing", Some("name a folder for the run: output: my-model".into()));
    }
    let seed = top.count("seed", 0..=u64::MAX).unwrap_or(0);
    let n_threads = top.count("threads", 1..=1024).map(|n| n as usize);
    let (model, tokenizer) = model::read(&top, is_model);
    let data = data::read(&top, &model);
    let (length, recipe) = run::read_recipe(&top, seed);
    let validation = run::read_validation(&top, &data);
    let samples = run::read_samples(&top);
    let checkpoints = run::read_checkpoints(&top);
    let extensions = run::read_extensions(&top, &data, &length);
    let export = run::read_export(&top);
    top.finish();
    Some(Settings {
        name,
        licence,
        output: PathBuf::from(output?),
        n_threads,
        model,
        tokenizer,
        data,
        length,
        recipe,
        validation,
        samples,
        checkpoints,
        extensions,
        export,
    })
}
