//! Files that clients keep here, in a folder: each tenant's apart, a bounded number of bytes of them all.
//!
//! A file is written under another name, and gets its own when it is whole; what is said of it stands beside it, and is
//! written last and removed first. So whatever happens to the program, nothing half-written is found afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use puna::Tenant;
use puna_wire::openai::files as wire;
use puna_wire::{Kind, Problem};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::ServeOptions;
use crate::loading::hex;

/// Whose files they are: a name of letters and digits that tells nobody the key.
pub(crate) type Owner = String;

/// The name under which a tenant's files lie.
pub(crate) fn owner(tenant: &Tenant) -> Owner {
    let mut hasher = Sha256::new();
    hasher.update(b"files of ");
    hasher.update(&tenant.0);
    hex(&hasher.finalize()[..16])
}

/// All files.
pub(crate) struct Files {
    folder: PathBuf,
    /// Held as long as this program uses the folder.
    _lock: File,
    known: Mutex<BTreeMap<(Owner, String), Value>>,
    /// Bytes of all of them, and of those that are being written.
    n_bytes: Arc<AtomicU64>,
    max_bytes: u64,
    max_file_bytes: u64,
    max_files: usize,
}

/// Bytes that are counted as long as this is held.
pub(crate) struct Room {
    n_bytes: Arc<AtomicU64>,
    max: u64,
    own: u64,
}

impl Room {
    /// None yet, of `max` bytes, of which `n_bytes` are taken.
    pub fn new(n_bytes: Arc<AtomicU64>, max: u64) -> Room {
        Room { n_bytes, max, own: 0 }
    }

    /// What it took stays counted.
    pub fn keep(mut self) {
        self.own = 0;
    }

    /// Takes more, if there is so much.
    pub fn take(&mut self, n: u64) -> bool {
        let more = |now: u64| now.checked_add(n).filter(|sum| *sum <= self.max);
        let is_taken = self.n_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.own += if is_taken { n } else { 0 };
        is_taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.n_bytes.fetch_sub(self.own, Ordering::Relaxed);
    }
}

/// What went wrong with a file; the log says how.
pub(crate) fn broken(error: std::io::Error) -> Problem {
    eprintln!("error: files: {error}");
    Problem::new(Kind::Internal, "a file of the server could not be read or written; its log says why")
}

fn missing(id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no file {}", Value::from(id)))
}

/// Writes a file that is there as a whole, or not at all.
pub(crate) fn write_whole(path: &Path, partial: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(partial, path)
}

pub(crate) fn create_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

impl Files {
    /// Looks at what lies in the folder, and removes what is not whole. Fails if another server uses it.
    pub fn open(folder: &Path, options: &ServeOptions) -> Result<Files, String> {
        let fail = |error: std::io::Error| format!("cannot keep files in `{}`: {error}", folder.display());
        for part in ["partial", "files", "batches"] {
            create_folder(&folder.join(part)).map_err(fail)?;
        }
        let lock = File::create(folder.join("lock")).map_err(fail)?;
        if lock.try_lock().is_err() {
            return Err(format!("cannot keep files in `{}`: another server does", folder.display()));
        }
        for entry in std::fs::read_dir(folder.join("partial")).map_err(fail)? {
            std::fs::remove_file(entry.map_err(fail)?.path()).map_err(fail)?;
        }
        let files = Files {
            folder: folder.to_owned(),
            _lock: lock,
            known: Mutex::default(),
            n_bytes: Arc::default(),
            max_bytes: options.max_files_bytes,
            max_file_bytes: options.max_file_bytes,
            max_files: options.max_files,
        };
        for (owner, id, known) in saved(&folder.join("files")).map_err(fail)? {
            let n_bytes = known["bytes"].as_u64().unwrap_or(0);
            files.n_bytes.fetch_add(n_bytes, Ordering::Relaxed);
            files.with(|known_| known_.insert((owner, id), known));
        }
        files.remove_orphans().map_err(fail)?;
        Ok(files)
    }

    /// Removes contents of which nothing is said.
    fn remove_orphans(&self) -> std::io::Result<()> {
        for owner in std::fs::read_dir(self.folder.join("files"))? {
            for file in std::fs::read_dir(owner?.path())? {
                let path = file?.path();
                if path.extension().is_none() && !path.with_extension("json").exists() {
                    std::fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<(Owner, String), Value>) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The folder, for what else lies there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The most bytes of a file.
    pub fn max_file_bytes(&self) -> u64 {
        self.max_file_bytes
    }

    /// Where something is written before it is whole.
    pub fn partial(&self, name: &str) -> Partial {
        Partial(self.folder.join("partial").join(name))
    }

    /// Room for what will be written.
    pub fn room(&self) -> Room {
        Room::new(self.n_bytes.clone(), self.max_bytes)
    }

    /// Why there is no room.
    pub fn full(&self) -> Problem {
        let max = self.max_bytes;
        let fact = format!(
            "all files together would have more than {max} bytes, which is what --max-files-bytes allows"
        );
        Problem::new(Kind::TooLarge, format!("{fact}; delete some"))
    }

    /// Whether one more may come.
    pub fn check_count(&self) -> Result<(), Problem> {
        match self.with(|known| known.len()) {
            n if n >= self.max_files => {
                let fact = format!("there are {n} files, which is what --max-files allows; delete some");
                Err(Problem::new(Kind::TooLarge, fact))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, owner: &str, id: &str) -> PathBuf {
        self.folder.join("files").join(owner).join(id)
    }

    /// Makes a whole file of what was written. The room it took is its own from then on.
    pub fn adopt(
        &self,
        owner: &str,
        partial: Partial,
        known: Value,
        room: Option<Room>,
    ) -> Result<Value, Problem> {
        let id = known["id"].as_str().unwrap_or_default().to_owned();
        let path = self.path(owner, &id);
        let adopt = || -> std::io::Result<()> {
            create_folder(&self.folder.join("files").join(owner))?;
            std::fs::rename(&partial.0, &path)?;
            let about = self.partial(&format!("{id}.json"));
            write_whole(&path.with_extension("json"), &about.0, known.to_string().as_bytes())
        };
        adopt().map_err(broken)?;
        match room {
            Some(room) => room.keep(),
            None => {
                self.n_bytes.fetch_add(known["bytes"].as_u64().unwrap_or(0), Ordering::Relaxed);
            }
        }
        let before = self.with(|all| all.insert((owner.to_owned(), id), known.clone()));
        let n_before = before.map_or(0, |before| before["bytes"].as_u64().unwrap_or(0));
        self.n_bytes.fetch_sub(n_before, Ordering::Relaxed);
        Ok(known)
    }

    /// What is said of a file.
    pub fn get(&self, owner: &str, id: &str) -> Result<Value, Problem> {
        if !wire::is_id(id) {
            return Err(missing(id));
        }
        self.with(|known| known.get(&(owner.to_owned(), id.to_owned())).cloned()).ok_or_else(|| missing(id))
    }

    /// Its content.
    pub fn open_file(&self, owner: &str, id: &str) -> Result<File, Problem> {
        self.get(owner, id)?;
        File::open(self.path(owner, id)).map_err(broken)
    }

    /// All of an owner's, the newest first.
    pub fn all(&self, owner: &str) -> Vec<Value> {
        let mut all: Vec<Value> = self.with(|known| {
            known.iter().filter(|((of, _), _)| of == owner).map(|(_, file)| file.clone()).collect()
        });
        all.sort_by_key(|file| std::cmp::Reverse(file["created_at"].as_u64()));
        all
    }

    /// Removes a file.
    pub fn remove(&self, owner: &str, id: &str) -> Result<(), Problem> {
        let known = self.get(owner, id)?;
        let path = self.path(owner, id);
        std::fs::remove_file(path.with_extension("json")).map_err(broken)?;
        if self.with(|all| all.remove(&(owner.to_owned(), id.to_owned()))).is_some() {
            self.n_bytes.fetch_sub(known["bytes"].as_u64().unwrap_or(0), Ordering::Relaxed);
        }
        std::fs::remove_file(path).map_err(broken)
    }
}

/// What is being written, and removed unless it becomes a file.
pub(crate) struct Partial(pub PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Most are elsewhere by now.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What was said of things, in a folder of owners' folders: owner, id, and what was said. What is none of ours is left
/// alone.
pub(crate) fn saved(folder: &Path) -> std::io::Result<Vec<(Owner, String, Value)>> {
    let mut all = Vec::new();
    for owner in std::fs::read_dir(folder)? {
        let owner = owner?;
        if !owner.path().is_dir() {
            continue;
        }
        for file in std::fs::read_dir(owner.path())? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let known: Option<Value> = serde_json::from_slice(&std::fs::read(&path)?).ok();
            if let Some(known) = known.filter(|known| known["id"] == id.as_str()) {
                all.push((owner.file_name().to_string_lossy().into_owned(), id, known));
            }
        }
    }
    Ok(all)
}
