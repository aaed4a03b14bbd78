//! Where pulled models lie: a folder of our own, in which everything is whole.
//!
//! ```text
//! hub/models--OWNER--NAME/refs/REVISION, snapshots/COMMIT/…, snapshots/COMMIT/.puna.json
//! ollama/manifests/…, ollama/blobs/sha256-…         as Ollama has them
//! meta/FOLDER/…   files/HOST/FILE                   with .puna.json beside
//! licences.json                                     which texts were accepted, and when
//! served/KEY.json                                   which a server pulled for its clients, by what name
//! .pulling/KEY/…, .pulling/KEY.lock                 what is not whole yet
//! ```
//! `.puna.json` says where each file came from, and its SHA-256.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::name::{ModelName, is_safe_path};
use crate::pull::{PullError, PullErrorKind, hex, is_said_of, is_weights, names_of, quantisation, stem};

/// The name of the file that says what the others are.
pub const MANIFEST: &str = ".puna.json";

/// What a folder holds, and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was pulled, for example `meta-llama/Llama-3.2-1B`.
    pub name: String,
    /// Where from: an address without secrets.
    pub source: String,
    /// The version there: a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When, in seconds since 1970.
    pub pulled_at: u64,
    /// Each file's bytes and SHA-256, by its path in the folder.
    pub files: BTreeMap<String, Entry>,
}

/// A file of a [`Manifest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its length.
    pub n_bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
    /// What an object store called this version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl Manifest {
    /// That of a folder, if it has one.
    pub fn read(folder: &Path) -> Option<Manifest> {
        const MAX_BYTES: u64 = 16 << 20;
        let mut text = Vec::new();
        File::open(folder.join(MANIFEST)).ok()?.take(MAX_BYTES).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        replace(&folder.join(MANIFEST), &text)
    }
}

/// Writes a file whole: under another name, and then under its own.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(fresh, path)
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Shelf {
    root: PathBuf,
}

/// Keeps others from pulling the same.
pub(crate) struct Lock {
    _file: File,
    /// Where files are while they come.
    pub folder: PathBuf,
}

/// A file that is not as it was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl Shelf {
    /// One in this folder, which may not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Shelf {
        Shelf { root: root.into() }
    }

    /// Where people's shelf is: PUNA_MODELS, or `puna/models` among the data of their account.
    pub fn of_person(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<Shelf> {
        let data = || {
            let home = || variable("HOME").map(|home| home.join(".local/share"));
            variable("XDG_DATA_HOME").or_else(|| variable("LOCALAPPDATA")).or_else(home)
        };
        variable("PUNA_MODELS").or_else(|| Some(data()?.join("puna/models"))).map(Shelf::new)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the hub's models are, in the order of its cache.
    pub fn hub(&self) -> PathBuf {
        self.root.join("hub")
    }

    /// Where Ollama's models are, in the order of its store.
    pub fn ollama(&self) -> PathBuf {
        self.root.join("ollama")
    }

    /// Where other folders and files are.
    pub fn others(&self) -> [PathBuf; 2] {
        ["meta", "files"].map(|name| self.root.join(name))
    }

    pub(crate) fn repository(&self, repository: &str) -> PathBuf {
        self.hub().join(format!("models--{}", repository.replace('/', "--")))
    }

    /// Begins to pull `what`; nobody else does meanwhile.
    pub(crate) fn lock(&self, what: &str) -> Result<Lock, PullError> {
        let pulling = self.root.join(".pulling");
        let disk = |error| PullError::disk("write into", &pulling, &error);
        let key = hex(&Sha256::digest(what.as_bytes())[..8]);
        let folder = pulling.join(&key);
        std::fs::create_dir_all(&pulling).map_err(disk)?;
        let file = File::create(pulling.join(format!("{key}.lock"))).map_err(disk)?;
        match file.try_lock() {
            Ok(()) => {
                std::fs::create_dir_all(&folder).map_err(disk)?;
                Ok(Lock { _file: file, folder })
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let message = format!("cannot pull `{what}`\n  another program is pulling it");
                Err(PullError::new(PullErrorKind::Busy, message))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(disk(error)),
        }
    }

    /// Fails if the disk has no room for so many bytes, or if all models would have more than `most`. What came of them
    /// before is counted once.
    pub(crate) fn check_room(&self, n_bytes: u64, lock: &Lock, most: Option<u64>) -> Result<(), PullError> {
        if n_bytes == 0 {
            return Ok(());
        }
        let is_full = || {
            let others = size_of(&self.root).saturating_sub(size_of(&lock.folder));
            most.is_some_and(|most| n_bytes > most.saturating_sub(others))
        };
        if is_full() {
            // What is not whole, and nobody is pulling, gives way.
            let _ = self.sweep_partials(Some(&lock.folder)).and_then(|_| self.sweep_blobs());
            if is_full() {
                let message = format!(
                    "there is no room for {} more\n  all models together may have {}; remove some",
                    size(n_bytes),
                    size(most.unwrap_or(0))
                );
                return Err(PullError::new(PullErrorKind::Full, message));
            }
        }
        // For others, and for what the file system itself needs.
        const SPARE: u64 = 64 << 20;
        let Ok(free) = fs4::available_space(&self.root) else { return Ok(()) };
        let missing = n_bytes.saturating_sub(on_disk(&lock.folder));
        if free >= missing.saturating_add(SPARE) {
            return Ok(());
        }
        let message = format!(
            "there is no room for {} in `{}`\n  {} are free\n  `puna gc` removes what is not needed, PUNA_MODELS names \
             another folder",
            size(missing),
            self.root.display(),
            size(free)
        );
        Err(PullError::new(PullErrorKind::Disk, message))
    }

    /// Keeps blobs that no manifest names from being swept, as long as it lives.
    pub(crate) fn keep_blobs(&self) -> std::io::Result<File> {
        let file = self.blobs_lock()?;
        file.lock_shared()?;
        Ok(file)
    }

    fn blobs_lock(&self) -> std::io::Result<File> {
        let pulling = self.root.join(".pulling");
        std::fs::create_dir_all(&pulling)?;
        File::create(pulling.join("ollama.lock"))
    }

    /// Puts what came into its folder. What is there already stays.
    pub(crate) fn install(lock: &Lock, folder: &Path, manifest: &Manifest) -> Result<(), PullError> {
        let disk = |error| PullError::disk("install into", folder, &error);
        let before = Manifest::read(folder);
        let mut all = manifest.clone();
        if let Some(before) = &before {
            let kept = before.files.iter().filter(|(path, _)| !manifest.files.contains_key(*path));
            all.files.extend(kept.map(|(path, entry)| (path.clone(), entry.clone())));
        }
        std::fs::create_dir_all(folder.parent().unwrap_or(folder)).map_err(disk)?;
        if !folder.exists() {
            all.write(&lock.folder).map_err(disk)?;
            return std::fs::rename(&lock.folder, folder).map_err(disk);
        }
        // The first of several parts comes last: by it a model is found.
        for path in manifest.files.keys().rev() {
            let from = lock.folder.join(path);
            if from.exists() {
                let to = folder.join(path);
                std::fs::create_dir_all(to.parent().unwrap_or(folder)).map_err(disk)?;
                std::fs::rename(from, to).map_err(disk)?;
            }
        }
        all.write(folder).map_err(disk)?;
        let _ = std::fs::remove_dir_all(&lock.folder);
        Ok(())
    }

    /// Makes a model that was pulled, and lies at `path` (of a [`Pulled`](crate::pull::Pulled)), a person's own: no client of a
    /// server that pulled it before removes its files any more.
    ///
    /// # Errors
    /// If a note cannot be written.
    pub fn claim(&self, name: &ModelName, path: &Path) -> std::io::Result<()> {
        let path = path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy();
        for note in entries(&self.root.join("served")) {
            let text = std::fs::read(&note).unwrap_or_default();
            let Ok(mut said) = serde_json::from_slice::<Value>(&text) else { continue };
            // Weights of Ollama's may be those of several models.
            let is_it = match name {
                ModelName::Ollama { .. } => said["source"] == name.to_string(),
                _ => said["path"] == *path,
            };
            if is_it && said["ours"] == true {
                said["ours"] = false.into();
                replace(&note, said.to_string().as_bytes())?;
            }
        }
        Ok(())
    }

    /// Whether somebody accepted this text before.
    pub fn has_accepted(&self, sha256: &str) -> bool {
        self.accepted().iter().any(|accepted| accepted["sha256"] == sha256)
    }

    /// The texts that were accepted: of each `licence`, `sha256`, `model` and `accepted_at` (seconds since 1970).
    pub fn accepted(&self) -> Vec<Value> {
        let text = std::fs::read(self.root.join("licences.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(crate) fn accept(&self, licence: &str, sha256: &str, model: &str, now: u64) -> Result<(), PullError> {
        let path = self.root.join("licences.json");
        let mut all = self.accepted();
        all.push(json!({"licence": licence, "sha256": sha256, "model": model, "accepted_at": now}));
        std::fs::create_dir_all(&self.root)
            .and_then(|()| replace(&path, &serde_json::to_vec_pretty(&all)?))
            .map_err(|error| PullError::disk("write", &path, &error))
    }

    /// All models that were pulled.
    pub fn models(&self) -> Vec<Shelved> {
        let mut models = Vec::new();
        for repository in entries(&self.hub()) {
            let name = repository
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_prefix("models--"));
            let Some(name) = name.map(|name| name.replacen("--", "/", 1)) else { continue };
            for path in entries(&repository.join("snapshots")) {
                models.push(Shelved { name: name.clone(), path, kind: Kind::Repository });
            }
        }
        let mut folders = vec![self.ollama_manifests()];
        while let Some(folder) = folders.pop() {
            for path in entries(&folder) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let way = path
                    .strip_prefix(self.ollama_manifests())
                    .unwrap_or(&path)
                    .to_string_lossy()
                    .replace('\\', "/");
                let Some((name, tag)) = way.rsplit_once('/') else { continue };
                let name = name.strip_prefix("library/").unwrap_or(name);
                models.push(Shelved { name: format!("ollama:{name}:{tag}"), path, kind: Kind::Ollama });
            }
        }
        let [meta, files] = self.others();
        let folders = entries(&files).into_iter().flat_map(|host| entries(&host));
        for path in entries(&meta).into_iter().chain(folders) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = Manifest::read(&path).map_or(name, |manifest| manifest.name);
            models.push(Shelved { name, path, kind: Kind::Folder });
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models
    }

    /// What a manifest of Ollama's has beside the weights: of each text its kind (`system`, `params`, `license`, …) and
    /// itself. Other models have none.
    pub fn ollama_texts(&self, name: &ModelName) -> Vec<(String, String)> {
        const MAX_TEXT: u64 = 1 << 20;
        let ModelName::Ollama { namespace, model, tag } = name else { return Vec::new() };
        let manifest = self.ollama_manifests().join(namespace).join(model).join(tag);
        let layers = layers_of(&manifest).unwrap_or_default().into_iter();
        let text = |(kind, hash): (String, String)| {
            let kind = kind.strip_prefix("application/vnd.ollama.image.")?;
            if !matches!(kind, "system" | "params" | "license" | "template" | "messages") {
                return None;
            }
            let file = File::open(self.ollama().join("blobs").join(format!("sha256-{hash}"))).ok()?;
            let mut text = String::new();
            file.take(MAX_TEXT).read_to_string(&mut text).ok()?;
            Some((kind.to_owned(), text))
        };
        layers.filter_map(text).collect()
    }

    fn ollama_manifests(&self) -> PathBuf {
        self.ollama().join("manifests/registry.ollama.ai")
    }

    /// Reads all files of a model, and says which are not as they were pulled. `tell` is told of bytes read.
    ///
    /// # Errors
    /// If nothing says how they were.
    pub fn verify(&self, model: &Shelved, mut tell: impl FnMut(u64)) -> Result<Vec<Fault>, String> {
        let missing = || format!("nothing in `{}` says what its files should be", model.path.display());
        let files: Vec<(PathBuf, Option<u64>, String)> = match model.kind {
            Kind::Ollama => {
                let blobs = blobs_of(&model.path).ok_or_else(missing)?;
                let path = |hash: &String| self.ollama().join("blobs").join(format!("sha256-{hash}"));
                blobs.into_iter().map(|hash| (path(&hash), None, hash)).collect()
            }
            Kind::Repository | Kind::Folder => {
                let manifest = Manifest::read(&model.path).ok_or_else(missing)?;
                let files = manifest.files.into_iter().filter(|(path, _)| is_safe_path(path));
                files.map(|(path, own)| (model.path.join(path), Some(own.n_bytes), own.sha256)).collect()
            }
        };
        let mut faults = Vec::new();
        for (path, n_bytes, want) in files {
            let what = match sha256_of(&path, &mut tell) {
                Err(error) => error.to_string(),
                Ok((found, _)) if n_bytes.is_some_and(|n_bytes| n_bytes != found) => {
                    format!("it has {found} bytes instead of {}", n_bytes.unwrap_or(0))
                }
                Ok((_, sha256)) if sha256 != want => {
                    "its content is another than that which was pulled".into()
                }
                Ok(_) => continue,
            };
            faults.push(Fault { path, what });
        }
        Ok(faults)
    }

    /// Removes a model, or one of its quantisations (`owner/name:Q4_K_M`), and says how many bytes that freed.
    ///
    /// # Errors
    /// If files cannot be removed.
    pub fn remove(&self, name: &str) -> std::io::Result<u64> {
        let mut n_bytes = 0;
        let mut called: Vec<Shelved> =
            self.models().into_iter().filter(|model| model.is_called(name)).collect();
        // Letter by letter, if one is.
        let is_exact = |model: &Shelved| {
            let own = model.name.strip_prefix("ollama:").unwrap_or(&model.name);
            let name = name.strip_prefix("ollama:").unwrap_or(name);
            name == own || own.strip_suffix(":latest") == Some(name) || name.starts_with(&format!("{own}:"))
        };
        if called.iter().any(is_exact) {
            called.retain(is_exact);
        }
        for model in called {
            match (model.kind, model.picked(name)) {
                (Kind::Ollama, _) => {
                    std::fs::remove_file(&model.path)?;
                    n_bytes += self.sweep_blobs()?;
                }
                (Kind::Repository, Some(pick)) => {
                    n_bytes += self.remove_some(&model.path, |path| is_picked(path, pick))?;
                }
                // The whole repository goes, or the folder.
                (Kind::Repository, None) => {
                    let repository = model.path.parent().and_then(Path::parent).unwrap_or(&model.path);
                    n_bytes += self.take_away(repository)?;
                }
                (Kind::Folder, _) => n_bytes += self.take_away(&model.path)?,
            }
        }
        Ok(n_bytes)
    }

    /// Removes the model at a path of a pull ([`Pulled::path`](crate::pull::Pulled)), and nothing else of its repository: no
    /// other version, and no other quantisation.
    ///
    /// # Errors
    /// If files cannot be removed.
    pub fn remove_exactly(&self, name: &ModelName, path: &Path) -> std::io::Result<u64> {
        if let ModelName::Ollama { namespace, model, tag } = name {
            return match std::fs::remove_file(self.ollama_manifests().join(namespace).join(model).join(tag)) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => self.sweep_blobs(),
            };
        }
        let Ok(way) = path.strip_prefix(self.hub()) else { return Ok(0) };
        let parts: Vec<_> = way.components().collect();
        let [repository, _, commit, file @ ..] = parts.as_slice() else { return Ok(0) };
        let snapshot = self.hub().join(repository).join("snapshots").join(commit);
        let file = file.iter().collect::<PathBuf>().to_string_lossy().replace('\\', "/");
        match file.is_empty() {
            true => self.take_snapshot(&snapshot),
            // Of several parts all.
            false => self.remove_some(&snapshot, |own| stem(own) == stem(&file)),
        }
    }

    /// Removes a version of a repository, its names, and the repository if it was the last one.
    fn take_snapshot(&self, snapshot: &Path) -> std::io::Result<u64> {
        let repository = snapshot.parent().and_then(Path::parent).unwrap_or(snapshot);
        let n_bytes = self.take_away(snapshot)?;
        if entries(&repository.join("snapshots")).is_empty() {
            return Ok(n_bytes + self.take_away(repository)?);
        }
        let commit = snapshot.file_name().unwrap_or_default();
        for (path, says) in refs(repository) {
            if commit == says.as_str() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(n_bytes)
    }

    /// Removes some GGUF files of a version; with the last of them all that came along.
    fn remove_some(&self, snapshot: &Path, is_it: impl Fn(&str) -> bool) -> std::io::Result<u64> {
        let mut manifest = Manifest::read(snapshot).unwrap_or_default();
        let models = manifest.files.keys().filter(|path| path.ends_with(".gguf") && !path.contains("mmproj"));
        let (own, others): (Vec<String>, Vec<String>) = models.cloned().partition(|path| is_it(path));
        if others.is_empty() {
            // What a pull that is running counts on stays.
            if let Ok(lock) = self.lock(&key_of(snapshot)) {
                let removed = self.take_snapshot(snapshot);
                let _ = std::fs::remove_dir_all(&lock.folder);
                return removed;
            }
        }
        // What is said of one file alone goes with it.
        let names = names_of(own.iter().map(String::as_str));
        let said = manifest.files.keys().filter(|path| is_said_of(path, &names));
        let all: Vec<String> = own.iter().chain(said).cloned().collect();
        let mut n_bytes = 0;
        for path in all {
            n_bytes += std::fs::metadata(snapshot.join(&path)).map_or(0, |about| about.len());
            std::fs::remove_file(snapshot.join(&path))?;
            manifest.files.remove(&path);
        }
        manifest.write(snapshot)?;
        Ok(n_bytes)
    }

    /// Removes a folder: at once from where it is found, and then its files.
    fn take_away(&self, folder: &Path) -> std::io::Result<u64> {
        if !folder.exists() {
            return Ok(0);
        }
        let n_bytes = size_of(folder);
        let pulling = self.root.join(".pulling");
        std::fs::create_dir_all(&pulling)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let gone = pulling.join(format!("removed-{}-{name}", std::process::id()));
        std::fs::rename(folder, &gone)?;
        std::fs::remove_dir_all(&gone)?;
        Ok(n_bytes)
    }

    /// Removes Ollama's blobs that no manifest names.
    pub(crate) fn sweep_blobs(&self) -> std::io::Result<u64> {
        if !self.ollama().exists() {
            return Ok(0);
        }
        let lock = self.blobs_lock()?;
        if lock.try_lock().is_err() {
            return Ok(0); // Somebody is pulling: the next sweep finds them.
        }
        let named: BTreeSet<String> = (self.models().iter())
            .filter(|model| model.kind == Kind::Ollama)
            .flat_map(|model| blobs_of(&model.path).unwrap_or_default())
            .map(|hash| format!("sha256-{hash}"))
            .collect();
        let mut n_bytes = 0;
        for path in entries(&self.ollama().join("blobs")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !named.contains(&name) {
                n_bytes += std::fs::metadata(&path).map_or(0, |about| about.len());
                std::fs::remove_file(&path)?;
            }
        }
        Ok(n_bytes)
    }

    /// Removes what is not whole and nobody is pulling.
    fn sweep_partials(&self, except: Option<&Path>) -> std::io::Result<u64> {
        let mut n_bytes = 0;
        let pulling = self.root.join(".pulling");
        for path in entries(&pulling) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".lock") || Some(path.as_path()) == except {
                continue;
            }
            let lock = pulling.join(format!("{name}.lock"));
            // Held until all is gone.
            let held = File::open(&lock);
            if held.as_ref().map_or(true, |file| file.try_lock().is_ok()) {
                n_bytes += size_of(&path);
                std::fs::remove_dir_all(&path)?;
                let _ = std::fs::remove_file(&lock);
            }
        }
        Ok(n_bytes)
    }

    /// Removes what no model needs, and says how many bytes that freed: snapshots that no name stands for any more, and
    /// what is not whole and nobody is pulling.
    ///
    /// # Errors
    /// If files cannot be removed.
    pub fn gc(&self) -> std::io::Result<u64> {
        let mut n_bytes = self.sweep_partials(None)?;
        for repository in entries(&self.hub()) {
            let in_use: Vec<String> = refs(&repository).into_iter().map(|(_, commit)| commit).collect();
            let held: BTreeSet<String> = (in_use.iter())
                .filter_map(|commit| Manifest::read(&repository.join("snapshots").join(commit)))
                .flat_map(|manifest| manifest.files.into_keys())
                .collect();
            for snapshot in entries(&repository.join("snapshots")) {
                let commit = snapshot.file_name().unwrap_or_default().to_string_lossy().into_owned();
                // A quantisation that no newer version has here is somebody's still; and one that was asked for by its
                // commit has no other name.
                let manifest = Manifest::read(&snapshot).unwrap_or_default();
                let mut weights = manifest.files.keys().filter(|path| is_weights(path));
                let is_replaced = weights.all(|path| held.contains(path));
                if !in_use.is_empty() && !in_use.contains(&commit) && is_replaced {
                    n_bytes += self.take_away(&snapshot)?;
                }
            }
        }
        Ok(n_bytes + self.sweep_blobs()?)
    }
}

/// What a pulled model lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Repository,
    Ollama,
    Folder,
}

/// A model that was pulled.
#[derive(Clone, Debug)]
pub struct Shelved {
    /// As it was asked for, without a quantisation or a file.
    pub name: String,
    /// Its folder, or its manifest of Ollama's.
    pub path: PathBuf,
    kind: Kind,
}

impl Shelved {
    /// Whether somebody means it.
    pub fn is_called(&self, name: &str) -> bool {
        let (own, name) = (self.name.to_lowercase(), name.to_lowercase());
        match self.kind {
            Kind::Ollama => {
                let own = own.strip_prefix("ollama:").unwrap_or(&own);
                let name = name.strip_prefix("ollama:").unwrap_or(&name);
                own == name || own.strip_suffix(":latest") == Some(name)
            }
            // Also as `files` and `meta` have it, with or without the file: `host/model/model.gguf`.
            Kind::Folder => {
                let path = self.path.to_string_lossy().replace('\\', "/").to_lowercase();
                let is_here = |name: &str| !name.is_empty() && path.ends_with(&format!("/{name}"));
                own == name
                    || is_here(&name)
                    || name.rsplit_once('/').is_some_and(|(folder, _)| is_here(folder))
            }
            Kind::Repository => {
                let has = |pick: &str| {
                    Manifest::read(&self.path)
                        .is_some_and(|own| own.files.keys().any(|path| is_picked(path, pick)))
                };
                own == name || self.picked(&name).is_some_and(has)
            }
        }
    }

    /// The quantisation or file that a name of it names.
    fn picked<'n>(&self, name: &'n str) -> Option<&'n str> {
        let (start, pick) = (name.get(..self.name.len())?, name.get(self.name.len()..)?);
        if !start.eq_ignore_ascii_case(&self.name) {
            return None;
        }
        pick.strip_prefix([':', '/']).filter(|pick| !pick.is_empty())
    }
}

/// Whether a file is one of a quantisation, or is called so.
fn is_picked(path: &str, pick: &str) -> bool {
    let stem = path.rsplit('/').next().unwrap_or(path);
    let stem = stem.strip_suffix(".gguf").unwrap_or(stem);
    let is_quantisation = quantisation(path).is_some_and(|own| own.eq_ignore_ascii_case(pick));
    path.ends_with(".gguf")
        && (is_quantisation || path.eq_ignore_ascii_case(pick) || stem.eq_ignore_ascii_case(pick))
}

/// The SHA-256s that a manifest of Ollama's names.
fn blobs_of(manifest: &Path) -> Option<Vec<String>> {
    Some(layers_of(manifest)?.into_iter().map(|(_, hash)| hash).collect())
}

/// The layers of a manifest of Ollama's, and its configuration: what each is, and its SHA-256.
fn layers_of(manifest: &Path) -> Option<Vec<(String, String)>> {
    let said: Value = serde_json::from_slice(&std::fs::read(manifest).ok()?).ok()?;
    let layers = said["layers"].as_array()?.iter().chain(Some(&said["config"]));
    let layer = |layer: &Value| {
        let hash = layer["digest"].as_str()?.strip_prefix("sha256:")?;
        let is_hash = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let kind = layer["mediaType"].as_str().unwrap_or_default().to_owned();
        is_hash.then(|| (kind, hash.to_ascii_lowercase()))
    };
    Some(layers.filter_map(layer).collect())
}

/// What is in a folder, in order; nothing where it is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The names of a repository's versions: where each lies, and the commit that it names.
fn refs(repository: &Path) -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![repository.join("refs")]);
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let commit = std::fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                    found.push((path, commit));
                }
            }
        }
    }
    found
}

/// What a pull of a repository's version is locked by: `owner/name@commit`.
fn key_of(snapshot: &Path) -> String {
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
    };
    let repository = name(snapshot.parent().and_then(Path::parent));
    let repository = repository.strip_prefix("models--").unwrap_or(&repository).replacen("--", "/", 1);
    format!("{repository}@{}", name(Some(snapshot)))
}

/// Bytes that files of a folder take of the disk: those that have holes less than their length.
fn on_disk(path: &Path) -> u64 {
    #[cfg(unix)]
    let blocks = |about: &std::fs::Metadata| 512 * std::os::unix::fs::MetadataExt::blocks(about);
    #[cfg(not(unix))]
    let blocks = |_: &std::fs::Metadata| 0;
    match std::fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => entries(path).iter().map(|path| on_disk(path)).sum(),
        Ok(about) => blocks(&about).min(about.len()),
        Err(_) => 0,
    }
}

fn size(n: u64) -> String {
    match n {
        1_000_000_000.. => format!("{:.2} GB", n as f64 / 1e9),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

fn size_of(path: &Path) -> u64 {
    match std::fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => entries(path).iter().map(|path| size_of(path)).sum(),
        Ok(about) => about.len(),
        Err(_) => 0,
    }
}

/// A file's length and SHA-256.
pub fn sha256_of(path: &Path, mut tell: impl FnMut(u64)) -> std::io::Result<(u64, String)> {
    let (mut file, mut hash, mut n_bytes) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((n_bytes, hex(&hash.finalize())));
        }
        hash.update(&buffer[..n]);
        n_bytes += n as u64;
        tell(n as u64);
    }
}
