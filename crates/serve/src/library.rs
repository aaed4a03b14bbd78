//! Models that clients created, in a folder: what is said of each, and the files that clients uploaded for them.
//!
//! ```text
//! blobs/sha256-<digest>    what was uploaded, by what it holds
//! files/<set>/<name>       the same files by their names, a folder for each set of them that a model is made of
//! models/<hash>.json       a model: the request that created it, by a hash of its name
//! partial/                 what is not whole yet
//! ```
//!
//! A blob whose upload is over may wait for its model; what no model uses is removed with the model that used it, or
//! when the server starts. Nothing is removed as long as there is a manifest that was not understood. Nothing outside
//! the folder is written or removed: a model that was made from one that the server was started with names it, and what
//! it is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use puna::ChatFormat;
use puna_formats::visible_path;
use puna_wire::ollama::manage::{Create, read_create};
use puna_wire::ollama::name::{Name, is_digest};
use puna_wire::{Kind, Problem};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ServeOptions;
use crate::files::{Partial, Room, broken, create_folder, write_whole};
use crate::identity::seconds;
use crate::loading::hex;
use crate::models::{Models, Origin, Served, Source};
use crate::own::Own;

/// The most blobs.
const MAX_BLOBS: usize = 1 << 16;

/// The most bytes of a manifest: those of licences and system messages are thousands.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// The folders.
const PARTS: [&str; 4] = ["partial", "blobs", "files", "models"];

/// All of them.
pub(crate) struct Library {
    folder: PathBuf,
    /// Held as long as this program uses the folder.
    _lock: File,
    state: Mutex<State>,
    /// Models are made one after the other: each is loaded once. Who creates, copies or deletes one holds it.
    making: Arc<tokio::sync::Mutex<()>>,
    /// Bytes of all blobs and manifests, and of those that are being written.
    n_bytes: Arc<AtomicU64>,
    max_bytes: u64,
    max_models: usize,
    /// The model that guesses, whose place is no client's business.
    draft: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    /// By the digits of their digests.
    blobs: BTreeMap<String, Blob>,
    /// How many blobs there ever were.
    n_blobs: u64,
    /// By their names in small letters.
    recipes: BTreeMap<String, Recipe>,
    /// Digits of the blobs of the model that is being made: it has no recipe yet.
    making: BTreeSet<String>,
    /// Whether there is a manifest that was not understood: any file may be its model's.
    keeps_all: bool,
}

struct Blob {
    n_bytes: u64,
    /// It came after those of lower numbers.
    number: u64,
}

impl State {
    fn add_blob(&mut self, digits: String, n_bytes: u64) {
        self.n_blobs += 1;
        self.blobs.insert(digits, Blob { n_bytes, number: self.n_blobs });
    }

    /// Blobs that may be removed, the oldest first.
    fn waiting(&self) -> Vec<String> {
        if self.keeps_all {
            return Vec::new();
        }
        let files = self.recipes.values().flat_map(|recipe| &recipe.create.files);
        let used: BTreeSet<&str> = files
            .map(|(_, digest)| digits_of(digest))
            .chain(self.making.iter().map(String::as_str))
            .collect();
        let mut waiting: Vec<_> =
            self.blobs.iter().filter(|(digits, _)| !used.contains(digits.as_str())).collect();
        waiting.sort_by_key(|(_, blob)| blob.number);
        waiting.into_iter().map(|(digits, _)| digits.clone()).collect()
    }
}

/// What a model is made of.
#[derive(Clone, Debug, PartialEq)]
struct Recipe {
    /// Either its files, or the model that it is from: one of those that the server was started with.
    create: Create,
    /// What a client called the model that it is from.
    parent: String,
    /// Of the weights, where they are not its files.
    digest: Option<String>,
    /// Seconds since 1970.
    made: u64,
}

impl Recipe {
    fn json(&self) -> Value {
        json!({"create": self.create.body(), "parent": self.parent, "digest": self.digest, "made": self.made})
    }

    /// Bytes of its manifest.
    fn n_bytes(&self) -> u64 {
        self.json().to_string().len() as u64
    }

    fn of_json(value: &Value) -> Option<Recipe> {
        Some(Recipe {
            create: read_create(&value["create"]).ok()?,
            parent: value["parent"].as_str()?.to_owned(),
            digest: value["digest"].as_str().map(str::to_owned),
            made: value["made"].as_u64()?,
        })
    }

    fn uses(&self, digits: &str) -> bool {
        self.create.files.iter().any(|(_, digest)| digits_of(digest) == digits)
    }
}

/// The digits of a digest that was read.
fn digits_of(digest: &str) -> &str {
    &digest["sha256:".len()..]
}

/// How a name is told: without a tag that says nothing.
pub(crate) fn told(name: &Name) -> String {
    let name = name.to_string();
    name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name)
}

pub(crate) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..16])
}

pub(crate) fn not_found(name: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("model {} not found", Value::from(name)))
}

impl Library {
    /// Looks at what lies in the folder, and removes what no model uses. Fails if another server uses it.
    pub fn open(folder: &Path, options: &ServeOptions) -> Result<Library, String> {
        let fail =
            |error: std::io::Error| format!("cannot keep models in `{}`: {error}", visible_path(folder));
        for part in PARTS {
            create_folder(&folder.join(part)).map_err(fail)?;
        }
        let lock = File::create(folder.join("lock")).map_err(fail)?;
        if lock.try_lock().is_err() {
            return Err(format!("cannot keep models in `{}`: another server does", visible_path(folder)));
        }
        let library = Library {
            folder: folder.to_owned(),
            _lock: lock,
            state: Mutex::default(),
            making: Arc::default(),
            n_bytes: Arc::default(),
            max_bytes: options.max_models_bytes,
            max_models: options.max_models,
            draft: options.draft.clone(),
        };
        library.look().map_err(fail)?;
        Ok(library)
    }

    fn look(&self) -> std::io::Result<()> {
        let mut state = self.state();
        for entry in std::fs::read_dir(self.folder.join("partial"))? {
            std::fs::remove_file(entry?.path())?;
        }
        for entry in std::fs::read_dir(self.folder.join("models"))? {
            let path = entry?.path();
            let known = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            match known.as_ref().and_then(Recipe::of_json) {
                Some(recipe) => {
                    self.n_bytes.fetch_add(recipe.n_bytes(), Ordering::Relaxed);
                    state.recipes.insert(key(&told(&recipe.create.model)), recipe);
                }
                None => {
                    eprintln!(
                        "error: `{}` says of no model how it is made; no file of any model is removed until the server \
                         starts without it",
                        visible_path(&path)
                    );
                    state.keeps_all = true;
                }
            }
        }
        for entry in std::fs::read_dir(self.folder.join("blobs"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_digest(&name) {
                continue;
            }
            let digits = digits_of(&name).to_owned();
            if state.keeps_all || state.recipes.values().any(|recipe| recipe.uses(&digits)) {
                let n_bytes = entry.metadata()?.len();
                self.n_bytes.fetch_add(n_bytes, Ordering::Relaxed);
                state.add_blob(digits, n_bytes);
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
        for entry in std::fs::read_dir(self.folder.join("files"))? {
            let path = entry?.path();
            let is_used = |recipe: &Recipe| self.set(&recipe.create.files).as_deref() == Some(&*path);
            if path.is_dir() && !state.keeps_all && !state.recipes.values().any(is_used) {
                std::fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves all of them. One that cannot be served is left as it is, and the log says why.
    pub fn serve_all(&self, models: &Models) {
        let recipes: Vec<Recipe> = self.state().recipes.values().cloned().collect();
        for recipe in recipes {
            let name = told(&recipe.create.model);
            match self.make(&recipe, models) {
                Ok(_) if models.exact(&name).is_some_and(|served| served.origin != Origin::Created) => {
                    eprintln!(
                        "error: {name} is not served as a client created it: another model has its name"
                    );
                }
                Ok(served) => models.insert(Arc::new(served)),
                Err(problem) => eprintln!("error: {name} cannot be served: {}", problem.message),
            }
        }
        self.state().making.clear();
    }

    /// A turn to create, copy or delete a model.
    pub async fn turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.making.clone().lock_owned().await
    }

    /// Where something is written before it is whole.
    pub fn partial(&self, name: &str) -> Partial {
        Partial(self.folder.join("partial").join(name))
    }

    /// Room for what will be written.
    pub fn room(&self) -> Room {
        Room::new(self.n_bytes.clone(), self.max_bytes)
    }

    fn full(&self) -> Problem {
        let max = self.max_bytes;
        let fact = format!(
            "all files of models would have more than {max} bytes, which is what --max-models-bytes allows"
        );
        Problem::new(Kind::TooLarge, format!("{fact}; delete some models"))
    }

    /// Whether a blob is here.
    pub fn has(&self, digest: &str) -> bool {
        self.state().blobs.contains_key(digits_of(digest))
    }

    /// Makes a blob of what was written, whose digest was checked. The room it took is its own from then on. The oldest
    /// that waits for its model gives way where there are too many.
    pub fn adopt(&self, digest: &str, partial: &Partial, n_bytes: u64, room: Room) -> Result<(), Problem> {
        let digits = digits_of(digest);
        let mut state = self.state();
        if state.blobs.contains_key(digits) {
            return Ok(());
        }
        if state.blobs.len() >= MAX_BLOBS
            && let Some(oldest) = state.waiting().first()
        {
            self.remove_blob(&mut state, oldest);
        }
        if state.blobs.len() >= MAX_BLOBS {
            let fact =
                format!("there are {MAX_BLOBS} files of models, which is the most; delete some models");
            return Err(Problem::new(Kind::TooLarge, fact));
        }
        std::fs::rename(&partial.0, self.blob(digits)).map_err(broken)?;
        room.keep();
        state.add_blob(digits.to_owned(), n_bytes);
        Ok(())
    }

    fn blob(&self, digits: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("sha256-{digits}"))
    }

    /// The folder of a set of files; `None` of none.
    fn set(&self, files: &[(String, String)]) -> Option<PathBuf> {
        let mut files: Vec<String> =
            files.iter().map(|(name, digest)| format!("{name}\0{}\n", digits_of(digest))).collect();
        files.sort();
        (!files.is_empty()).then(|| self.folder.join("files").join(hash(&files.concat())))
    }

    /// The manifest of the model of this name.
    fn manifest(&self, name: &str) -> PathBuf {
        self.folder.join("models").join(hash(&key(name))).with_extension("json")
    }

    /// Creates a model, and serves it, in a [`turn`](Self::turn). `say` is told how far it is.
    pub fn create(&self, create: Create, models: &Models, mut say: impl FnMut(&str)) -> Result<(), Problem> {
        let name = told(&create.model);
        self.check_room_for(&name, models)?;
        say("reading model metadata");
        let recipe = self.resolve(create, models)?;
        check_size(&name, recipe.n_bytes())?;
        let made = self.make(&recipe, models).and_then(|served| {
            for (_, digest) in &recipe.create.files {
                say(&format!("using existing layer sha256:{}", digits_of(digest)));
            }
            say(&format!("creating model {name}"));
            say("writing manifest");
            self.keep(&recipe)?;
            Ok(served)
        });
        let mut state = self.state();
        state.making.clear();
        let served = made.inspect_err(|_| self.remove_set(&state, &recipe))?;
        drop(state);
        // What nobody uses any more is dropped here, where a thread may be waited for.
        let old = models.exact(&name);
        models.insert(Arc::new(served));
        drop(old);
        Ok(())
    }

    /// Gives a model a second name, in a [`turn`](Self::turn).
    pub fn copy(&self, source: &str, destination: &Name, models: &Models) -> Result<(), Problem> {
        let served = models.find(Some(source))?;
        let own = served.own.create.as_ref().filter(|_| !served.is_given());
        let create = Create {
            model: destination.clone(),
            from: Some(served.about.name.clone()),
            files: Vec::new(),
            ..own.cloned().unwrap_or_else(|| Create::new(destination.clone()))
        };
        self.create(create, models, |_| ())
    }

    /// Removes a model, and the files that no other one uses, in a [`turn`](Self::turn).
    pub fn delete(&self, name: &str, models: &Models) -> Result<(), Problem> {
        let name = Name::parse(name, "model").map(|name| told(&name)).unwrap_or_else(|_| name.to_owned());
        if models.exact(&name).is_some_and(|served| served.is_given()) {
            return Err(given(&name, "deleted"));
        }
        let mut state = self.state();
        if !state.recipes.contains_key(&key(&name)) {
            return Err(not_found(&name));
        }
        // First: if it stays, so does the model.
        match std::fs::remove_file(self.manifest(&name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(broken(error)),
            _ => {}
        }
        let old = state.recipes.remove(&key(&name)).ok_or_else(|| not_found(&name))?;
        self.n_bytes.fetch_sub(old.n_bytes(), Ordering::Relaxed);
        let served = models.exact(&name);
        models.remove(&name);
        self.remove_unused(&mut state, &old);
        drop(state);
        drop(served);
        Ok(())
    }

    fn check_room_for(&self, name: &str, models: &Models) -> Result<(), Problem> {
        match models.exact(name).map(|served| served.origin) {
            Some(Origin::Given) => return Err(given(name, "created anew")),
            Some(Origin::Pulled) => {
                let fact = format!("{name} was pulled; delete it first, or take another name");
                return Err(Problem::field("model", fact));
            }
            _ => {}
        }
        let state = self.state();
        if state.recipes.len() >= self.max_models && !state.recipes.contains_key(&key(name)) {
            let n = self.max_models;
            let fact =
                format!("there are {n} models that clients created, which is what --max-models allows");
            return Err(Problem::new(Kind::TooLarge, format!("{fact}; delete some")));
        }
        Ok(())
    }

    /// What a model is made of in the end: what the model that it is from has of its own is its own too, where the
    /// request does not say otherwise.
    fn resolve(&self, create: Create, models: &Models) -> Result<Recipe, Problem> {
        let made = seconds();
        let Some(from) = &create.from else {
            return Ok(Recipe { create, parent: String::new(), digest: None, made });
        };
        let base = models.find(Some(from))?;
        let parent = from.clone();
        let recipe = match base.origin != Origin::Created {
            true => None,
            false => Some(
                self.state().recipes.get(&key(&base.about.name)).cloned().ok_or_else(|| not_found(from))?,
            ),
        };
        let (files, given, digest) = match &recipe {
            Some(recipe) => (recipe.create.files.clone(), recipe.create.from.clone(), recipe.digest.clone()),
            None => (Vec::new(), Some(base.about.name.clone()), Some(base.weights_digest().to_owned())),
        };
        let old = base.own.create.as_ref();
        let mut parameters = old.map(|old| old.parameters.clone()).unwrap_or_default();
        parameters.extend(create.parameters);
        let create = Create {
            from: given,
            files,
            parameters,
            template: create.template.or_else(|| old?.template.clone()),
            system: create.system.or_else(|| old?.system.clone()),
            requires: create.requires.or_else(|| old?.requires.clone()),
            license: match (create.license.is_empty(), old) {
                (true, Some(old)) => old.license.clone(),
                _ => create.license,
            },
            messages: match (create.messages.is_empty(), old) {
                (true, Some(old)) => old.messages.clone(),
                _ => create.messages,
            },
            ..create
        };
        Ok(Recipe { create, parent, digest, made })
    }

    /// The model that a recipe makes.
    fn make(&self, recipe: &Recipe, models: &Models) -> Result<Served, Problem> {
        let create = &recipe.create;
        let format = create.template.as_deref().map(format_of).transpose()?;
        let source = match (&create.from, self.set(&create.files)) {
            (_, Some(set)) => Source::Path(self.link(&set, &create.files)?),
            (Some(from), None) => {
                let base = models
                    .exact(from)
                    .filter(|base| base.origin != Origin::Created)
                    .ok_or_else(|| not_found(from))?;
                if recipe.digest.as_deref() != Some(base.weights_digest()) {
                    let fact =
                        format!("the model {from} that it is made from is another one now; create it again");
                    return Err(Problem::new(Kind::Request, fact));
                }
                Source::Served(base)
            }
            (None, None) => return Err(Problem::field("from", "the model is made from nothing")),
        };
        let own = Own::new(create.clone(), recipe.parent.clone())?;
        let name = told(&create.model);
        let made = UNIX_EPOCH + Duration::from_secs(recipe.made);
        models.make(Origin::Created, &name, made, own, &source, format).map_err(|fact| {
            eprintln!("error: {name} cannot be made: {fact}");
            self.told_of(&fact, &create.files, &source)
        })
    }

    /// What a client is told of why a model cannot be made: what is wrong with its own files, and no place of the
    /// server's.
    fn told_of(&self, fact: &str, files: &[(String, String)], source: &Source) -> Problem {
        let mut fact = fact.to_owned();
        if let Some(set) = self.set(files).as_deref().map(visible_path) {
            fact = fact.replace(&format!("{set}{MAIN_SEPARATOR}"), "").replace(&set, "the model");
        }
        if let Source::Served(base) = source
            && let Some(path) = &base.about.path
        {
            fact = fact.replace(&format!("`{}`", visible_path(path)), &base.about.name);
        }
        let names = |path: &PathBuf| fact.contains(&format!("`{}", visible_path(path)));
        // What is left may be a path.
        if self.draft.as_ref().is_some_and(names) || fact.contains(['/', '\\']) {
            return Problem::new(Kind::Internal, "the model cannot be made; the server's log says why");
        }
        Problem::new(Kind::Request, format!("the model cannot be made\n  {fact}"))
    }

    /// Gives blobs the names of a model's files; they stay while it is being made. What the model is opened at: its one
    /// file, or the folder of all.
    fn link(&self, set: &Path, files: &[(String, String)]) -> Result<PathBuf, Problem> {
        let mut state = self.state();
        state.making = files.iter().map(|(_, digest)| digits_of(digest).to_owned()).collect();
        create_folder(set).map_err(broken)?;
        for (name, digest) in files {
            if !state.blobs.contains_key(digits_of(digest)) {
                let fact = format!(
                    "`files` names {digest}, which is not here; upload it to /api/blobs/{digest} first"
                );
                return Err(Problem::field("files", fact));
            }
            let path = set.join(name);
            if !path.exists() {
                std::fs::hard_link(self.blob(digits_of(digest)), path).map_err(broken)?;
            }
        }
        Ok(match files {
            [(name, _)] => set.join(name),
            _ => set.to_owned(),
        })
    }

    /// Writes down how a model is made, in the place of an older one of the same name.
    fn keep(&self, recipe: &Recipe) -> Result<(), Problem> {
        let name = told(&recipe.create.model);
        let mut room = self.room();
        self.take(&mut room, recipe.n_bytes())?;
        let mut state = self.state();
        let partial = self.partial(&format!("{}.json", hash(&name)));
        write_whole(&self.manifest(&name), &partial.0, recipe.json().to_string().as_bytes())
            .map_err(broken)?;
        room.keep();
        if let Some(old) = state.recipes.insert(key(&name), recipe.clone()) {
            self.n_bytes.fetch_sub(old.n_bytes(), Ordering::Relaxed);
            self.remove_unused(&mut state, &old);
        }
        Ok(())
    }

    /// Removes files of a model that is gone which no other one uses.
    fn remove_unused(&self, state: &mut State, old: &Recipe) {
        self.remove_set(state, old);
        old.create.files.iter().for_each(|(_, digest)| self.remove_blob(state, digits_of(digest)));
    }

    /// Removes the folder of a model's files, if no model uses it.
    fn remove_set(&self, state: &State, old: &Recipe) {
        let set = self.set(&old.create.files);
        let is_used = |recipe: &Recipe| self.set(&recipe.create.files) == set;
        let is_free = !state.keeps_all && !state.recipes.values().any(is_used);
        // A model may have failed before it had one.
        if let Some(set) = set.filter(|set| is_free && set.exists()) {
            note(std::fs::remove_dir_all(set));
        }
    }

    fn remove_blob(&self, state: &mut State, digits: &str) {
        if !state.keeps_all
            && !state.making.contains(digits)
            && !state.recipes.values().any(|recipe| recipe.uses(digits))
            && let Some(blob) = state.blobs.remove(digits)
        {
            self.n_bytes.fetch_sub(blob.n_bytes, Ordering::Relaxed);
            note(std::fs::remove_file(self.blob(digits)));
        }
    }

    /// Takes room for more, if there is so much, or else without the blobs that wait for their models.
    pub fn take(&self, room: &mut Room, n_bytes: u64) -> Result<(), Problem> {
        if room.take(n_bytes) {
            return Ok(());
        }
        let mut state = self.state();
        state.waiting().iter().for_each(|digits| self.remove_blob(&mut state, digits));
        if room.take(n_bytes) { Ok(()) } else { Err(self.full()) }
    }
}

/// What stays lying is removed when the server starts the next time.
fn note(removed: std::io::Result<()>) {
    if let Err(error) = removed {
        eprintln!("error: models: a file that no model uses is not removed: {error}");
    }
}

/// Refuses a model of which so many bytes would be written down.
pub(crate) fn check_size(name: &str, n_bytes: u64) -> Result<(), Problem> {
    if n_bytes <= MAX_MANIFEST_BYTES {
        return Ok(());
    }
    let fact =
        format!("what is said of the model {name} has {n_bytes} bytes, and {MAX_MANIFEST_BYTES} is the most");
    Err(Problem::new(Kind::TooLarge, format!("{fact}; shorten `system`, `license` or `messages`")))
}

pub(crate) fn key(name: &str) -> String {
    name.to_lowercase()
}

pub(crate) fn given(name: &str, what: &str) -> Problem {
    let fact = format!("{name} was given when the server was started, and cannot be {what} by a client");
    Problem::field("model", fact)
}

/// The chat format that a template means.
pub(crate) fn format_of(template: &str) -> Result<ChatFormat, Problem> {
    let fact = "`template` is none of those that Ollama ships with Llamas, and templates in Go's language are not run \
        here; leave it out: the model's own is used";
    ChatFormat::of_go_template(template).ok_or_else(|| Problem::unsupported("template", fact))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(folder: &Path, max_models_bytes: u64) -> Library {
        Library::open(folder, &ServeOptions { max_models_bytes, ..ServeOptions::default() }).unwrap()
    }

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn adopt(library: &Library, digest: &str, n_bytes: u64) -> Result<(), Problem> {
        let partial = library.partial("a");
        std::fs::write(&partial.0, vec![0; n_bytes as usize]).unwrap();
        let mut room = library.room();
        library.take(&mut room, n_bytes)?;
        library.adopt(digest, &partial, n_bytes, room)
    }

    #[test]
    fn an_upload_leaves_a_model_that_is_being_made() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path(), 10);
        let [of_model, other] = ['a', 'b'].map(digest);
        adopt(&library, &of_model, 8).unwrap();
        let files = [("a.gguf".to_owned(), of_model.clone())];
        library.link(&library.set(&files).unwrap(), &files).unwrap();
        assert_eq!(adopt(&library, &other, 8).unwrap_err().kind, Kind::TooLarge);
        assert!(library.has(&of_model) && library.blob(digits_of(&of_model)).exists());
        library.state().making.clear();
        adopt(&library, &other, 8).unwrap();
        assert!(!library.has(&of_model) && !library.blob(digits_of(&of_model)).exists());
    }

    #[test]
    fn the_oldest_blobs_give_way_to_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path(), 1000);
        let [first, second, third] = ['f', 'e', 'd'].map(digest);
        adopt(&library, &first, 1).unwrap();
        adopt(&library, &second, 1).unwrap();
        for i in 2..MAX_BLOBS {
            library.state().add_blob(format!("{i:064x}"), 0);
        }
        adopt(&library, &third, 1).unwrap();
        let found = [&first, &second, &third].map(|digest| library.has(digest));
        assert_eq!((found, library.state().blobs.len()), ([false, true, true], MAX_BLOBS));
        // Those of a model stay.
        let all = library.state().blobs.keys().cloned().collect();
        library.state().making = all;
        assert_eq!(adopt(&library, &first, 1).unwrap_err().kind, Kind::TooLarge);
    }
}
