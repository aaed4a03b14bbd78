//! Keys and values on a disk: what was computed is found again after it was forgotten, or after a restart.
//!
//! A file holds those of [`STEP`] tokens in all layers. Its name is the hash of everything that they depend on: what the
//! model is, whose the text is, all tokens before them, and their own. So equal beginnings are stored once, a file that
//! is found fits, and nobody finds another tenant's. What is read is checked against a hash of its content; what is
//! damaged is removed and computed again.
//!
//! A thread of its own writes, beside the engine's: what it cannot keep up with is not stored. Where the files have more
//! bytes than allowed, those that were used longest ago go.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use puna_model::KvCache;
use sha2::{Digest, Sha256};

use crate::prefix_cache::Tenant;
use crate::sequence::Past;

/// Tokens of a file: those of a block.
const STEP: usize = puna_tensor::KvLayout::BLOCK;
/// Pasts that wait to be written.
const MAX_WAITING: usize = 16;
const ENDING: &str = "kv";
const HASH_BYTES: usize = 32;

type Hash = [u8; HASH_BYTES];

/// Where a [`Scheduler`](crate::Scheduler) keeps what was computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCacheOptions {
    /// The folder; it is made where it is not there.
    pub folder: PathBuf,
    /// The most bytes of all files in it.
    pub max_bytes: u64,
    /// What the keys and values depend on beside the tokens: model, adapters, how it is run.
    pub fingerprint: Vec<u8>,
}

/// Keys and values on a disk.
pub(crate) struct DiskCache {
    options: DiskCacheOptions,
    writer: Option<SyncSender<(Tenant, Past)>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskCache {
    /// Fails if the folder cannot be made.
    pub fn open(options: DiskCacheOptions) -> std::io::Result<DiskCache> {
        fs::create_dir_all(&options.folder)?;
        let (writer, pasts) = sync_channel(MAX_WAITING);
        let own = options.clone();
        let thread =
            std::thread::Builder::new().name("kv files".into()).spawn(move || write_all(&own, &pasts))?;
        Ok(DiskCache { options, writer: Some(writer), thread: Some(thread) })
    }

    /// Stores what was computed, when there is time.
    pub fn store(&self, tenant: &Tenant, past: &Past) {
        if let Some(writer) = &self.writer
            && past.tokens().len() >= STEP
            && past.images.is_empty()
            && past.cache.can_be_stored()
        {
            // Where too much waits, this is not stored.
            let _ = writer.try_send((tenant.clone(), past.clone()));
        }
    }

    /// Adds to a past, which may have no tokens, what is stored of the tokens after its own. Returns whether there was
    /// anything.
    pub fn extend(&self, tenant: &Tenant, past: &mut Past, tokens: &[u32]) -> bool {
        if !past.images.is_empty() || !past.cache.can_be_stored() {
            return false;
        }
        let n_known = past.tokens().len() / STEP * STEP;
        let mut chain = chain_of(&self.options.fingerprint, tenant);
        let mut is_more = false;
        for (i, own) in tokens.chunks_exact(STEP).enumerate() {
            chain = next(&chain, own);
            if (i + 1) * STEP <= n_known {
                continue;
            }
            let path = path_of(&self.options.folder, &chain);
            let Some(bytes) = read(&path) else { break };
            if !is_more {
                // What is known of this block is known from the file now.
                past.cache.truncate(n_known);
                past.tokens.truncate(n_known);
            }
            if past.cache.push_stored(&bytes).is_err() {
                break;
            }
            past.tokens.extend_from_slice(own);
            is_more = true;
        }
        past.tokens.truncate(past.cache.len());
        is_more
    }
}

impl Drop for DiskCache {
    /// What waits is written.
    fn drop(&mut self) {
        self.writer = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The hash before any token.
fn chain_of(fingerprint: &[u8], tenant: &Tenant) -> Hash {
    let mut hasher = Sha256::new();
    for part in [fingerprint, &tenant.0] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn next(chain: &Hash, tokens: &[u32]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(chain);
    tokens.iter().for_each(|token| hasher.update(token.to_le_bytes()));
    hasher.finalize().into()
}

fn path_of(folder: &Path, chain: &Hash) -> PathBuf {
    let name: String = chain.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(name).with_extension(ENDING)
}

/// A file's content, if it is what was written. It is used now.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let content = bytes.len().checked_sub(HASH_BYTES)?;
    let hash: Hash = Sha256::digest(&bytes[..content]).into();
    if hash != bytes[content..] {
        let _ = fs::remove_file(path);
        return None;
    }
    bytes.truncate(content);
    // Where the time cannot be set, it goes a little earlier.
    let _ = file.set_modified(SystemTime::now());
    Some(bytes)
}

/// Writes a file, whole or not at all.
fn write(path: &Path, cache: &KvCache, i: usize) -> std::io::Result<u64> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    let (mut hasher, mut n_bytes) = (Sha256::new(), 0);
    for part in cache.stored_parts(i) {
        hasher.update(part);
        file.write_all(part)?;
        n_bytes += part.len() as u64;
    }
    file.write_all(&hasher.finalize())?;
    fs::rename(&unfinished, path)?;
    Ok(n_bytes + HASH_BYTES as u64)
}

fn write_all(options: &DiskCacheOptions, pasts: &Receiver<(Tenant, Past)>) {
    let mut n_bytes = trim(options);
    for (tenant, past) in pasts {
        let mut chain = chain_of(&options.fingerprint, &tenant);
        for (i, own) in past.tokens().chunks_exact(STEP).enumerate() {
            chain = next(&chain, own);
            let path = path_of(&options.folder, &chain);
            if path.exists() {
                continue;
            }
            match write(&path, &past.cache, i) {
                Ok(n) => n_bytes += n,
                // A full disk, most likely: others may use what they find.
                Err(_) => break,
            }
        }
        drop(past);
        if n_bytes > options.max_bytes {
            n_bytes = trim(options);
        }
    }
}

/// Removes what was used longest ago until the rest fits, and a little more. Returns the bytes that are left.
fn trim(options: &DiskCacheOptions) -> u64 {
    let Ok(entries) = fs::read_dir(&options.folder) else { return 0 };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some(ENDING) => {
                let Ok(metadata) = entry.metadata() else { continue };
                files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), path));
            }
            // Of a program that was killed.
            Some("unfinished") => drop(fs::remove_file(path)),
            _ => {}
        }
    }
    files.sort();
    let mut n_bytes: u64 = files.iter().map(|(_, n, _)| n).sum();
    if n_bytes > options.max_bytes {
        for (_, n, path) in files {
            if n_bytes <= options.max_bytes / 10 * 9 {
                break;
            }
            if fs::remove_file(path).is_ok() {
                n_bytes -= n;
            }
        }
    }
    n_bytes
}
