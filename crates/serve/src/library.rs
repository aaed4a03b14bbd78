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
//! when the server starts. Nothing outside the folder is written or removed: a model that was made from one that the
//! server was started with names it, and what it is made of.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
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
use crate::models::{Models, Served, Source};
use crate::own::Own;

/// The most blobs.
const MAX_BLOBS: usize = 1 << 16;

/// The folders.
const PARTS: [&str; 4] = ["partial", "blobs", "files", "models"];

/// All of them.
pub(crate) struct Library {
    folder: PathBuf,
    /// Held as long as this program uses the folder.
    _lock: File,
    state: Mutex<State>,
    /// Models are made one after the other: each is loaded once.
    making: Mutex<()>,
    /// Bytes of all blobs, and of those that are being written.
    n_bytes: Arc<AtomicU64>,
    max_bytes: u64,
    max_models: usize,
}

#[derive(Default)]
struct State {
    /// Digits of digests, and bytes.
    blobs: BTreeMap<String, u64>,
    /// By their names in small letters.
    recipes: BTreeMap<String, Recipe>,
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
fn told(name: &Name) -> String {
    let name = name.to_string();
    name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name)
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..16])
}

fn not_found(name: &str) -> Problem {
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
            making: Mutex::default(),
            n_bytes: Arc::default(),
            max_bytes: options.max_models_bytes,
            max_models: options.max_models,
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
            let known = serde_json::from_slice(&std::fs::read(&path)?).ok();
            match known.as_ref().and_then(Recipe::of_json) {
                Some(recipe) => drop(state.recipes.insert(key(&told(&recipe.create.model)), recipe)),
                None => eprintln!("error: `{}` says of no model how it is made", visible_path(&path)),
            }
        }
        for entry in std::fs::read_dir(self.folder.join("blobs"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_digest(&name) {
                continue;
            }
            let digits = digits_of(&name).to_owned();
            if state.recipes.values().any(|recipe| recipe.uses(&digits)) {
                let n_bytes = entry.metadata()?.len();
                self.n_bytes.fetch_add(n_bytes, Ordering::Relaxed);
                state.blobs.insert(digits, n_bytes);
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
        for entry in std::fs::read_dir(self.folder.join("files"))? {
            let path = entry?.path();
            let is_used = |recipe: &Recipe| self.set(&recipe.create.files).as_deref() == Some(&*path);
            if path.is_dir() && !state.recipes.values().any(is_used) {
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
                Ok(_) if models.exact(&name).is_some_and(|served| served.is_given) => {
                    eprintln!(
                        "error: {name} is not served as a client created it: the server was started with one"
                    );
                }
                Ok(served) => models.insert(Arc::new(served)),
                Err(problem) => eprintln!("error: {name} cannot be served: {}", problem.message),
            }
        }
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

    /// Makes a blob of what was written, whose digest was checked. The room it took is its own from then on.
    pub fn adopt(&self, digest: &str, partial: &Partial, n_bytes: u64, room: Room) -> Result<(), Problem> {
        let digits = digits_of(digest);
        let mut state = self.state();
        if state.blobs.contains_key(digits) {
            return Ok(());
        }
        if state.blobs.len() >= MAX_BLOBS {
            let fact =
                format!("there are {MAX_BLOBS} files of models, which is the most; delete some models");
            return Err(Problem::new(Kind::TooLarge, fact));
        }
        std::fs::rename(&partial.0, self.blob(digits)).map_err(broken)?;
        room.keep();
        state.blobs.insert(digits.to_owned(), n_bytes);
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

    /// Creates a model, and serves it. `say` is told how far it is.
    pub fn create(&self, create: Create, models: &Models, mut say: impl FnMut(&str)) -> Result<(), Problem> {
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let name = told(&create.model);
        self.check_room_for(&name, models)?;
        say("reading model metadata");
        let recipe = self.resolve(create, models)?;
        let served = self.make(&recipe, models).inspect_err(|_| self.remove_set(&self.state(), &recipe))?;
        for (_, digest) in &recipe.create.files {
            say(&format!("using existing layer sha256:{}", digits_of(digest)));
        }
        say(&format!("creating model {name}"));
        say("writing manifest");
        self.keep(recipe)?;
        // What nobody uses any more is dropped here, where a thread may be waited for.
        let old = models.exact(&name);
        models.insert(Arc::new(served));
        drop(old);
        Ok(())
    }

    /// Gives a model a second name.
    pub fn copy(&self, source: &str, destination: &Name, models: &Models) -> Result<(), Problem> {
        let served = models.find(Some(source))?;
        let own = served.own.create.as_ref().filter(|_| !served.is_given);
        let create = Create {
            model: destination.clone(),
            from: Some(served.about.name.clone()),
            files: Vec::new(),
            ..own.cloned().unwrap_or_else(|| Create::new(destination.clone()))
        };
        self.create(create, models, |_| ())
    }

    /// Removes a model, and the files that no other one uses.
    pub fn delete(&self, name: &str, models: &Models) -> Result<(), Problem> {
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let name = Name::parse(name, "model").map(|name| told(&name)).unwrap_or_else(|_| name.to_owned());
        if models.exact(&name).is_some_and(|served| served.is_given) {
            return Err(given(&name, "deleted"));
        }
        let mut state = self.state();
        let old = state.recipes.remove(&key(&name)).ok_or_else(|| not_found(&name))?;
        let served = models.exact(&name);
        models.remove(&name);
        std::fs::remove_file(self.manifest(&name)).map_err(broken)?;
        self.remove_unused(&mut state, &old);
        drop(state);
        drop(served);
        Ok(())
    }

    fn check_room_for(&self, name: &str, models: &Models) -> Result<(), Problem> {
        if models.exact(name).is_some_and(|served| served.is_given) {
            return Err(given(name, "created anew"));
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
        let recipe = match base.is_given {
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
                let base = models.exact(from).filter(|base| base.is_given).ok_or_else(|| not_found(from))?;
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
        models.make(&name, made, own, &source, format).map_err(|fact| {
            eprintln!("error: {name} cannot be made: {fact}");
            // No place of the server's is told.
            let places = [self.set(&create.files), Some(self.folder.clone())];
            let fact = places.iter().flatten().fold(fact, |fact, place| {
                fact.replace(&format!("{}/", visible_path(place)), "")
                    .replace(&*visible_path(place), "the model")
            });
            Problem::new(Kind::Request, format!("the model cannot be made\n  {fact}"))
        })
    }

    /// Gives blobs the names of a model's files. What the model is opened at: its one file, or the folder of all.
    fn link(&self, set: &Path, files: &[(String, String)]) -> Result<PathBuf, Problem> {
        let state = self.state();
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
    fn keep(&self, recipe: Recipe) -> Result<(), Problem> {
        let name = told(&recipe.create.model);
        let mut state = self.state();
        let partial = self.partial(&format!("{}.json", hash(&name)));
        write_whole(&self.manifest(&name), &partial.0, recipe.json().to_string().as_bytes())
            .map_err(broken)?;
        if let Some(old) = state.recipes.insert(key(&name), recipe) {
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
        if let Some(set) = set.as_ref().filter(|_| !state.recipes.values().any(is_used)) {
            note(std::fs::remove_dir_all(set));
        }
    }

    fn remove_blob(&self, state: &mut State, digits: &str) {
        if !state.recipes.values().any(|recipe| recipe.uses(digits))
            && let Some(n_bytes) = state.blobs.remove(digits)
        {
            self.n_bytes.fetch_sub(n_bytes, Ordering::Relaxed);
            note(std::fs::remove_file(self.blob(digits)));
        }
    }

    /// Takes room for more, if there is so much, or else without the blobs that wait for their models.
    pub fn take(&self, room: &mut Room, n_bytes: u64) -> Result<(), Problem> {
        if room.take(n_bytes) {
            return Ok(());
        }
        let mut state = self.state();
        let all: Vec<String> = state.blobs.keys().cloned().collect();
        all.iter().for_each(|digits| self.remove_blob(&mut state, digits));
        if room.take(n_bytes) { Ok(()) } else { Err(self.full()) }
    }
}

/// What stays lying is removed when the server starts the next time.
fn note(removed: std::io::Result<()>) {
    if let Err(error) = removed {
        eprintln!("error: models: a file that no model uses is not removed: {error}");
    }
}

fn key(name: &str) -> String {
    name.to_lowercase()
}

fn given(name: &str, what: &str) -> Problem {
    let fact = format!("{name} was given when the server was started, and cannot be {what} by a client");
    Problem::field("model", fact)
}

/// The chat format that a template means.
pub(crate) fn format_of(template: &str) -> Result<ChatFormat, Problem> {
    let fact = "`template` is none of those that Ollama ships with Llamas, and templates in Go's language are not run \
        here; leave it out: the model's own is used";
    ChatFormat::of_go_template(template).ok_or_else(|| Problem::unsupported("template", fact))
}
