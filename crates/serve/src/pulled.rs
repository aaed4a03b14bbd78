//! Models that clients pulled. They lie where `puna pull` puts models, and a note there says of each by what name it is
//! served (`served/<hash>.json`): what people pulled for themselves is no client's business.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use puna_formats::visible_path;
use puna_store::name::ModelName;
use puna_wire::ollama::manage::Create;
use puna_wire::ollama::name::Name;
use puna_wire::{Kind, Problem};
use serde_json::{Value, json};

use crate::files::{broken, create_folder, write_whole};
use crate::identity::seconds;
use crate::library::{format_of, given, hash, key, not_found, told};
use crate::models::{Models, Origin, Served, Source};
use crate::options::PullOptions;
use crate::own::Own;

/// The most pulls at a time: what is pulled together is no sooner there.
const MAX_PULLS: usize = 4;

/// All of them.
pub(crate) struct PulledModels {
    pub options: PullOptions,
    max_models: usize,
    /// Who changes notes holds it.
    notes: Mutex<()>,
    pub places: Arc<tokio::sync::Semaphore>,
}

/// What is known of a pulled model.
#[derive(Clone, Debug, PartialEq)]
struct Note {
    /// By what name it is served.
    name: String,
    /// What was pulled, as [`ModelName`] reads it.
    source: String,
    /// What is opened, from the shelf on.
    path: PathBuf,
    /// Whether its files came for a client: they go with the last note of them.
    is_ours: bool,
    /// Seconds since 1970.
    made: u64,
}

impl Note {
    fn json(&self) -> Value {
        let path = self.path.to_string_lossy();
        json!({"name": self.name, "source": self.source, "path": path, "ours": self.is_ours, "made": self.made})
    }

    /// Whether both stand for the same files. Of Ollama's a weight's file may be that of several models.
    fn is_same(&self, other: &Note) -> bool {
        match self.source.starts_with("ollama:") {
            true => self.source == other.source,
            false => self.path == other.path,
        }
    }

    fn of_json(value: &Value) -> Option<Note> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Note {
            name: text("name")?,
            source: text("source")?,
            path: text("path")?.into(),
            is_ours: value["ours"].as_bool()?,
            made: value["made"].as_u64()?,
        })
    }
}

/// What a client's name means elsewhere: on Hugging Face's hub (`hf.co/owner/name[:quantisation]`), or in Ollama's
/// registry. Nothing else is asked on a client's behalf.
pub(crate) fn elsewhere(name: &str) -> Result<ModelName, Problem> {
    let parsed = Name::parse(name, "model")?;
    let text = match parsed.host.as_deref() {
        Some("hf.co" | "huggingface.co") => {
            format!("hf:{}", name.split_once('/').map_or(name, |(_, rest)| rest))
        }
        Some("registry.ollama.ai" | "ollama.com") => {
            format!("ollama:{}", name.split_once('/').map_or(name, |(_, rest)| rest))
        }
        None => format!("ollama:{name}"),
        Some(host) => {
            let fact = format!("models come from hf.co and from Ollama's registry, not from `{host}`");
            return Err(Problem::unsupported("model", fact));
        }
    };
    let text = text.replacen("ollama:library/", "ollama:", 1);
    ModelName::parse(&text).map_err(|error| Problem::field("model", error.to_string()))
}

impl PulledModels {
    pub fn new(options: PullOptions, max_models: usize) -> PulledModels {
        let places = Arc::new(tokio::sync::Semaphore::new(MAX_PULLS));
        PulledModels { options, max_models, notes: Mutex::default(), places }
    }

    fn folder(&self) -> PathBuf {
        self.options.shelf.root().join("served")
    }

    fn note_of(&self, name: &str) -> PathBuf {
        self.folder().join(hash(&key(&told_name(name)))).with_extension("json")
    }

    fn note(&self, name: &str) -> Option<Note> {
        let text = std::fs::read(self.note_of(name)).ok()?;
        Note::of_json(&serde_json::from_slice(&text).ok()?)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Note> {
        let entries = std::fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let mut notes: Vec<Note> = entries
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "json"))
            .filter_map(|entry| {
                Note::of_json(&serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?)
            })
            .collect();
        notes.sort_by(|a, b| a.name.cmp(&b.name));
        notes
    }

    fn write(&self, note: &Note) -> std::io::Result<()> {
        let path = self.note_of(&note.name);
        create_folder(&self.folder())?;
        write_whole(&path, &path.with_extension("new"), note.json().to_string().as_bytes())
    }

    /// Serves all of them. One that cannot be served is left as it is, and the log says why.
    pub fn serve_all(&self, models: &Models) {
        for note in self.all() {
            if models.exact(&note.name).is_some() {
                let name = &note.name;
                eprintln!("error: {name} is not served as a client pulled it: another model has its name");
            } else if let Err(fact) = self.serve(&note, models) {
                eprintln!("error: {} cannot be served: {fact}", note.name);
            }
        }
    }

    fn serve(&self, note: &Note, models: &Models) -> Result<(), String> {
        let path = self.options.shelf.root().join(&note.path);
        if !path.exists() {
            return Err(format!("`{}` is gone; pull it again", visible_path(&path)));
        }
        let (own, template) = self.own(note);
        let format = template.as_deref().and_then(|template| format_of(template).ok());
        let made = UNIX_EPOCH + Duration::from_secs(note.made);
        let served = models.make(Origin::Pulled, &note.name, made, own, &Source::Path(path), format)?;
        models.insert(Arc::new(served));
        Ok(())
    }

    /// What Ollama's registry says beside the weights, and the template. One that is not known here is the model's own.
    fn own(&self, note: &Note) -> (Own, Option<String>) {
        let source = ModelName::parse(&note.source).ok();
        let texts = source.map(|source| self.options.shelf.ollama_texts(&source)).unwrap_or_default();
        let Ok(name) = Name::parse(&note.name, "model") else { return (Own::default(), None) };
        if texts.is_empty() {
            return (Own::default(), None);
        }
        let (mut create, mut template) = (Create::new(name), None);
        for (kind, text) in texts {
            match kind.as_str() {
                "system" => create.system = Some(text),
                "license" => create.license.push(text),
                "params" => create.parameters = serde_json::from_str(&text).unwrap_or_default(),
                "template" => template = Some(text),
                _ => {}
            }
        }
        create.template = template.clone().filter(|template| format_of(template).is_ok());
        let own = Own::new(create, String::new()).unwrap_or_else(|problem| {
            eprintln!(
                "error: {}: what is said beside its weights is left out: {}",
                note.name, problem.message
            );
            Own::default()
        });
        (own, template)
    }

    /// Refuses a name that is another model's, and more models than there may be.
    pub fn check(&self, name: &str, models: &Models) -> Result<(), Problem> {
        match models.exact(name).map(|served| served.origin) {
            Some(Origin::Given) => return Err(given(name, "pulled anew")),
            Some(Origin::Created) => {
                let fact = format!("{name} was created; delete it first");
                return Err(Problem::field("model", fact));
            }
            Some(Origin::Pulled) | None => {}
        }
        if self.note(name).is_none() && self.all().len() >= self.max_models {
            let n = self.max_models;
            let fact = format!("there are {n} models that clients pulled, which is the most; delete some");
            return Err(Problem::new(Kind::TooLarge, fact));
        }
        Ok(())
    }

    /// Serves what was pulled, and notes that it is. `was_known` says that it was here before, perhaps in part. What came
    /// for this alone and cannot be served is removed.
    pub fn adopt(
        &self,
        name: &str,
        source: &ModelName,
        path: &Path,
        was_known: bool,
        models: &Models,
    ) -> Result<(), Problem> {
        let _turn = self.turn();
        self.check(name, models)?;
        let path = path.strip_prefix(self.options.shelf.root()).unwrap_or(path).to_owned();
        let mut note = Note {
            name: told_name(name),
            source: source.to_string(),
            path,
            is_ours: !was_known,
            made: seconds(),
        };
        if let Some(before) = self.all().iter().find(|other| other.is_same(&note)) {
            note.is_ours = before.is_ours;
        }
        if let Err(fact) = self.serve(&note, models) {
            eprintln!("error: {name} cannot be served: {fact}");
            let is_free = note.is_ours && !was_known;
            if is_free {
                self.remove_files(&note, models)?;
            }
            let is_here = if is_free { "" } else { " is here now, and" };
            let fact = format!("{name}{is_here} cannot be served; the server's log says why");
            return Err(Problem::new(Kind::Request, fact));
        }
        let old = self.note(name);
        self.write(&note).map_err(broken)?;
        // An older version that came for clients, and that none of them has any more.
        match old.filter(|old| old.is_ours && !self.all().iter().any(|other| other.is_same(old))) {
            Some(old) => self.remove_files(&old, models),
            None => Ok(()),
        }
    }

    /// Removes what a note stands for, unless a model that no client pulled uses it too.
    fn remove_files(&self, note: &Note, models: &Models) -> Result<(), Problem> {
        let path = self.options.shelf.root().join(&note.path);
        let is_used = |served: &Arc<Served>| {
            served.origin != Origin::Pulled && served.about.path.as_deref() == Some(&*path)
        };
        if let (false, Ok(source)) = (models.all().iter().any(is_used), ModelName::parse(&note.source)) {
            self.options.shelf.remove_exactly(&source, &path).map_err(broken)?;
        }
        Ok(())
    }

    /// Whether a client pulled it, although it may not be served.
    pub fn has(&self, name: &str, models: &Models) -> bool {
        match models.exact(name) {
            Some(served) => served.origin == Origin::Pulled,
            None => self.note(name).is_some(),
        }
    }

    /// Gives a pulled model a second name.
    pub fn copy(&self, source: &str, destination: &Name, models: &Models) -> Result<(), Problem> {
        let _turn = self.turn();
        let name = told(destination);
        if models.exact(&name).is_some_and(|served| served.origin == Origin::Pulled) {
            return Err(Problem::field("destination", format!("{name} is here already; delete it first")));
        }
        self.check(&name, models)?;
        let note = Note { name, made: seconds(), ..self.note(source).ok_or_else(|| not_found(source))? };
        self.serve(&note, models).map_err(|fact| {
            eprintln!("error: {} cannot be served: {fact}", note.name);
            Problem::new(Kind::Internal, "it cannot be served; the server's log says why")
        })?;
        self.write(&note).map_err(broken)
    }

    /// Serves a model no more, and removes its files if they came for clients and no other name means them.
    pub fn delete(&self, name: &str, models: &Models) -> Result<(), Problem> {
        let _turn = self.turn();
        let note = self.note(name).ok_or_else(|| not_found(name))?;
        let is_from = |served: &&Arc<Served>| {
            let from = served.own.create.as_ref().and_then(|create| create.from.as_deref());
            served.origin == Origin::Created && from.is_some_and(|from| from.eq_ignore_ascii_case(&note.name))
        };
        if let Some(child) = models.all().iter().find(is_from) {
            let fact = format!("{} is made from {}; delete that first", child.about.name, note.name);
            return Err(Problem::field("model", fact));
        }
        // First: if it stays, so does the model.
        std::fs::remove_file(self.note_of(name)).map_err(broken)?;
        models.remove(&note.name);
        if note.is_ours && !self.all().iter().any(|other| other.is_same(&note)) {
            self.remove_files(&note, models)?;
        }
        Ok(())
    }
}

/// A name as it is served: without a tag that says nothing.
fn told_name(name: &str) -> String {
    name.strip_suffix(":latest").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_they_mean_to_ollama() {
        for (name, want) in [
            ("llama3.2:1b", "ollama:llama3.2:1b"),
            ("llama3.2", "ollama:llama3.2:latest"),
            ("library/llama3.2", "ollama:llama3.2:latest"),
            ("me/llama:7b", "ollama:me/llama:7b"),
            ("registry.ollama.ai/library/llama3.2:1b", "ollama:llama3.2:1b"),
            ("hf.co/a/b-GGUF", "a/b-GGUF"),
            ("hf.co/a/b-GGUF:Q4_K_M", "a/b-GGUF:Q4_K_M"),
        ] {
            assert_eq!(elsewhere(name).map(|name| name.to_string()).as_deref(), Ok(want), "{name}");
        }
        for name in
            ["", "127.0.0.1:80/a/b", "http://host/x.gguf", "s3://bucket/x", "../x", "example.org/a/b:c"]
        {
            assert!(elsewhere(name).is_err(), "{name}");
        }
    }
}
