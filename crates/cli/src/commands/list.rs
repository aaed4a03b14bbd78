//! `puna list`: the models that are on this machine.

use std::path::PathBuf;

use clap::Args;
use puna::{FoundModels, LocalModel};
use puna_formats::{visible, visible_path};
use serde_json::{Value, json};

use crate::environment::places;
use crate::failure::Failure;
use crate::output::{note, print, print_json};
use crate::units;

/// List the models that are on this machine.
///
/// Looks into the given folders and where Hugging Face's libraries, Ollama and LM Studio keep models (HF_HOME,
/// HF_HUB_CACHE and OLLAMA_MODELS are heeded). The models are used where they lie; nothing is copied. What the
/// first column says can be given to -m, or to `puna run`, as long as no file has that name; names from folders
/// given here are paths below them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna list
  puna list ~/models /mnt/disk/models
  puna list --json | jq -r '.[].path'")]
pub struct List {
    /// Folders to look into, beside the usual places
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Print a JSON array: name, path, bytes, architecture, place
    #[arg(long)]
    json: bool,
}

impl List {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let mut places = places();
        for folder in &self.folders {
            if !folder.is_dir() {
                let message = format!("cannot look into `{}`\n  it is not a folder", visible_path(folder));
                return Err(Failure::Failed(message));
            }
            places.add_folder(folder);
        }
        let FoundModels { models, is_all } = places.find();
        if !is_all {
            note("there are too many files to look at all of them: name folders that hold fewer");
        }
        if self.json {
            return print_json(&models.iter().map(json_of).collect::<Vec<_>>());
        }
        if models.is_empty() {
            note(
                "no models were found; README.md says where to get one, and `puna run` has a small one in it",
            );
        }
        print(&table_of(&models))
    }
}

fn json_of(model: &LocalModel) -> Value {
    json!({
        "name": model.name,
        "path": model.path.display().to_string(),
        "bytes": model.bytes,
        "architecture": model.architecture,
        "place": model.place.to_string(),
    })
}

fn table_of(models: &[LocalModel]) -> String {
    let width = models.iter().map(|model| visible(&model.name).chars().count()).max().unwrap_or(0);
    let line = |model: &LocalModel| {
        let is_llama = model.architecture.starts_with("llama") || model.architecture == "mllama";
        let other = match model.architecture.as_str() {
            "" => "  (cannot be read)".to_owned(),
            _ if is_llama => String::new(),
            other => format!("  ({}: not a Llama)", visible(other)),
        };
        let (name, bytes, path) =
            (visible(&model.name), units::bytes(model.bytes), visible_path(&model.path));
        format!("{name:width$}  {bytes:>9}  {place:12}  {path}{other}\n", place = model.place.to_string())
    };
    models.iter().map(line).collect()
}
