//! The models that are served: found by their names, loaded when somebody asks, unloaded when nobody does.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use puna::{DiskCacheOptions, Draft, Eagle, Llama, Options, SchedulerOptions, Worker};
use puna_formats::visible_path;
use puna_wire::{Kind, Problem};
use sha2::{Digest, Sha256};

use crate::ServeOptions;

/// A model that a server answers with.
#[derive(Clone, Debug)]
pub struct ServedModel {
    /// What clients call it; the model's own name if `None`.
    pub name: Option<String>,
    /// Where it is; the built-in model if `None`.
    pub path: Option<PathBuf>,
    /// How it is run.
    pub options: Options,
}

/// A model that is in memory, and its engine.
pub(crate) struct Loaded {
    pub name: String,
    pub llama: Llama,
    pub worker: Worker,
}

/// What is known of a model without loading it.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub name: String,
    pub path: Option<PathBuf>,
    pub bytes: u64,
    pub modified: SystemTime,
    /// Of its content, 64 hexadecimal digits.
    pub digest: String,
    /// Of when its files were written.
    times: String,
    pub description: Description,
}

/// What a model is, as its files say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    pub max_seq_len: usize,
    pub trained_seq_len: usize,
    pub vocab_size: usize,
    pub dim: usize,
    pub n_params: u64,
    pub weight_bytes: u64,
    /// The type of most weights.
    pub quantisation: String,
    pub can_chat: bool,
    pub can_infill: bool,
    pub sees_images: bool,
    /// Whether it is a Llama Guard.
    pub judges: bool,
}

struct Entry {
    about: About,
    options: Options,
    /// One at a time loads or unloads it.
    slot: tokio::sync::Mutex<Option<Arc<Loaded>>>,
    use_: Mutex<Use>,
}

/// When it was used, and how long it stays afterwards.
struct Use {
    last: Instant,
    stays: Option<Duration>,
}

pub(crate) struct Models {
    entries: Vec<Arc<Entry>>,
    running: Running,
    idle: Option<Duration>,
}

impl Models {
    /// Loads each model once, and keeps the first. Fails if one cannot be used, there is none at a path, or two have the same name.
    pub fn new(served: Vec<ServedModel>, options: &ServeOptions) -> Result<Models, String> {
        let ServeOptions { idle, .. } = *options;
        let running = Running {
            scheduler: options.scheduler.clone(),
            cache: options.cache_dir.clone(),
            max_cache_bytes: options.max_cache_bytes,
            draft: options.draft.clone(),
        };
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let mut names = HashMap::new();
        for ServedModel { name, path, options } in served {
            let place = path.as_deref().map(visible_path);
            let mut about = about(name, path).map_err(|error| {
                let fact = match error.kind() {
                    ErrorKind::NotFound => {
                        "there is no such file or folder; `puna list` shows the models here".into()
                    }
                    _ => error.to_string(),
                };
                format!("cannot serve `{}`\n  {fact}", place.unwrap_or_default())
            })?;
            // Loaded once, so that what is wrong is said at the start.
            let loaded = load(&about, &options, &running)?;
            about.description = describe(&loaded.llama);
            let first = entries.is_empty().then(|| Arc::new(loaded));
            if names.insert(about.name.to_lowercase(), ()).is_some() {
                return Err(format!("two models are called `{}`; give one another name", about.name));
            }
            let use_ = Mutex::new(Use { last: Instant::now(), stays: idle });
            entries.push(Arc::new(Entry { about, options, slot: tokio::sync::Mutex::new(first), use_ }));
        }
        Ok(Models { entries, running, idle })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &About> {
        self.entries.iter().map(|entry| &entry.about)
    }

    /// Those that are in memory, and when they will leave it.
    pub fn loaded(&self) -> Vec<(Arc<Loaded>, &About, Option<Duration>)> {
        let loaded = |entry: &'_ Arc<Entry>| Some(entry.slot.try_lock().ok()?.as_ref()?.clone());
        let leaves = |entry: &Arc<Entry>| {
            let use_ = entry.use_.lock().unwrap_or_else(PoisonError::into_inner);
            use_.stays.map(|stays| stays.saturating_sub(use_.last.elapsed()))
        };
        self.entries.iter().filter_map(|e| Some((loaded(e)?, &e.about, leaves(e)))).collect()
    }

    fn entry(&self, name: Option<&str>) -> Result<&Arc<Entry>, Problem> {
        let Some(name) = name else {
            return match &self.entries[..] {
                [only] => Ok(only),
                _ => Err(Problem::field("model", "`model` is missing, and this server has several")),
            };
        };
        let is_it = |entry: &&Arc<Entry>| {
            let known = &entry.about.name;
            let plain = name.strip_suffix(":latest").unwrap_or(name);
            known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(plain)
        };
        let found = self.entries.iter().find(is_it);
        match (found, &self.entries[..]) {
            (Some(entry), _) => Ok(entry),
            // A server of one model answers with it, whatever clients call it.
            (None, [only]) => Ok(only),
            (None, entries) => {
                let known: Vec<&str> = entries.iter().map(|entry| entry.about.name.as_str()).collect();
                let known = known.join(", ");
                Err(Problem {
                    code: Some("model_not_found"),
                    param: Some("model".into()),
                    ..Problem::new(
                        Kind::NotFound,
                        format!("model {} not found; there are {known}", serde_json::json!(name)),
                    )
                })
            }
        }
    }

    /// What is known of the model that would answer.
    pub fn about(&self, name: Option<&str>) -> Result<&About, Problem> {
        self.entry(name).map(|entry| &entry.about)
    }

    /// The guard that a name means; the first one, if it means no model that is served.
    pub fn guard(&self, name: Option<&str>) -> Result<&About, Problem> {
        let is_it = |about: &&About| name.is_some_and(|name| about.name.eq_ignore_ascii_case(name));
        let found = self.all().find(is_it).or_else(|| self.all().find(|about| about.description.judges));
        match found {
            Some(about) if about.description.judges => Ok(about),
            Some(about) => Err(Problem::field(
                "model",
                format!("{} is not a Llama Guard, and judges nothing; leave `model` out", about.name),
            )),
            None => Err(Problem::new(
                Kind::Request,
                "only a guard judges texts, and none is served; serve a Llama Guard too: `-m guard=PATH`",
            )),
        }
    }

    /// The model that a name means, in memory; it stays for a while after the last use.
    pub async fn get(&self, name: Option<&str>, keep_alive: Option<f64>) -> Result<Arc<Loaded>, Problem> {
        let entry = self.entry(name)?.clone();
        let mut slot = entry.slot.lock().await;
        self.touch(&entry, keep_alive);
        if let Some(loaded) = &*slot {
            return Ok(loaded.clone());
        }
        let (own, running) = (entry.clone(), self.running.clone());
        let loading = tokio::task::spawn_blocking(move || load(&own.about, &own.options, &running));
        let loaded = match loading.await {
            Ok(Ok(loaded)) => Arc::new(loaded),
            Ok(Err(error)) => {
                // It may name files, which are nobody's business: the log has it.
                eprintln!("error: {error}");
                let fact =
                    format!("the model {} cannot be loaded; the server's log says why", entry.about.name);
                return Err(Problem::new(Kind::Unavailable, fact));
            }
            Err(_) => return Err(Problem::new(Kind::Internal, "loading the model failed")),
        };
        *slot = Some(loaded.clone());
        Ok(loaded)
    }

    fn touch(&self, entry: &Entry, keep_alive: Option<f64>) {
        let mut use_ = entry.use_.lock().unwrap_or_else(PoisonError::into_inner);
        use_.last = Instant::now();
        use_.stays = match keep_alive {
            None => self.idle,
            Some(seconds) if seconds < 0.0 => None,
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        };
    }

    /// Unloads what nobody asked for longer than it may stay, and nobody is being answered by.
    pub async fn unload_idle(&self) {
        for entry in &self.entries {
            let Ok(mut slot) = entry.slot.try_lock() else { continue };
            let is_over = {
                let mut use_ = entry.use_.lock().unwrap_or_else(PoisonError::into_inner);
                let is_used = slot.as_ref().is_some_and(|loaded| Arc::strong_count(loaded) > 1);
                if is_used {
                    use_.last = Instant::now();
                }
                !is_used && use_.stays.is_some_and(|stays| use_.last.elapsed() >= stays)
            };
            if is_over && let Some(loaded) = slot.take() {
                // Its thread ends first.
                let _ = tokio::task::spawn_blocking(move || drop(loaded)).await;
            }
        }
    }
}

/// How models run.
#[derive(Clone)]
struct Running {
    scheduler: SchedulerOptions,
    cache: Option<PathBuf>,
    max_cache_bytes: u64,
    draft: Option<PathBuf>,
}

impl Running {
    /// With a place of the model's own in the cache.
    fn of(&self, about: &About, llama: &Llama, options: &Options) -> Result<SchedulerOptions, String> {
        let Some(folder) = &self.cache else { return Ok(self.scheduler.clone()) };
        let folder = folder.join(&about.digest[..32]);
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot keep a cache in `{}`: {error}", folder.display()))?;
        // Instruction sets round differently.
        let isa = llama.engine().cpu().isa.name();
        let About { digest, times, .. } = about;
        let Options { kv_dtype, activations, .. } = options;
        let version = env!("CARGO_PKG_VERSION");
        let how = format!("{digest} {times} {version} {kv_dtype:?} {activations:?} {isa}");
        let disk =
            DiskCacheOptions { folder, max_bytes: self.max_cache_bytes, fingerprint: how.into_bytes() };
        Ok(SchedulerOptions { disk: Some(disk), ..self.scheduler.clone() })
    }
}

impl Running {
    /// What guesses for a model: a head that was made for it, or a smaller model on the same threads.
    fn draft_of(&self, about: &About, llama: &Llama, options: &Options) -> Result<Option<Draft>, String> {
        let Some(path) = &self.draft else { return Ok(None) };
        if let Some(head) = Eagle::load(path, llama.engine().model()).map_err(|error| error.to_string())? {
            return Ok(Some(Draft::Head(Arc::new(head))));
        }
        let options =
            Options { beside: Some(llama.clone()), max_seq_len: None, mmproj: None, ..options.clone() };
        let draft = Llama::load_with(path, &options).map_err(|error| error.to_string())?;
        let pieces = |llama: &Llama| -> Result<Vec<Vec<u8>>, String> {
            let tokenizer = llama.tokenizer().map_err(|error| error.to_string())?;
            Ok(tokenizer.iter().map(|(_, bytes)| bytes.to_vec()).collect())
        };
        if draft.config().vocab_size != llama.config().vocab_size || pieces(&draft)? != pieces(llama)? {
            return Err(format!(
                "`{}` cannot guess for {}: its vocabulary is another\n  take a smaller model of the same generation",
                path.display(),
                about.name
            ));
        }
        Ok(Some(Draft::Model(draft.shared_engine())))
    }
}

fn load(about: &About, options: &Options, running: &Running) -> Result<Loaded, String> {
    let llama = match &about.path {
        Some(path) => Llama::load_with(path, options),
        None => Llama::builtin_with(options),
    };
    let llama = llama.map_err(|error| error.to_string())?;
    let worker = Worker::start(
        llama.shared_engine(),
        running.draft_of(about, &llama, options)?,
        running.of(about, &llama, options)?,
    )
    .map_err(|error| error.to_string())?;
    // What answers of a given form need is made meanwhile, so that nobody waits for it.
    let own = llama.clone();
    std::thread::spawn(move || drop(own.constraint(&puna::Form::Object, &puna::PromptTokens::default())));
    Ok(Loaded { name: about.name.clone(), llama, worker })
}

fn describe(llama: &Llama) -> Description {
    let (config, known) = (llama.config(), llama.describe());
    let mut by_type: HashMap<String, u64> = HashMap::new();
    for (dtype, _, n_bytes) in known.groups.iter().flat_map(|group| &group.types) {
        *by_type.entry(dtype.to_string()).or_default() += n_bytes;
    }
    let most = by_type.into_iter().max_by_key(|(_, n_bytes)| *n_bytes).map(|(dtype, _)| dtype.to_uppercase());
    Description {
        max_seq_len: llama.engine().max_seq_len(),
        trained_seq_len: config.max_seq_len,
        vocab_size: config.vocab_size,
        dim: config.dim,
        n_params: known.n_params,
        weight_bytes: known.weight_bytes,
        quantisation: known.recipe.map(str::to_owned).or(most).unwrap_or_default(),
        can_chat: llama.text().chat.is_some(),
        can_infill: llama.infill_prompt("", "", puna::InfillOrder::default()).is_ok(),
        sees_images: config.sees_images(),
        judges: llama.is_guard(),
    }
}

fn about(name: Option<String>, path: Option<PathBuf>) -> std::io::Result<About> {
    let Some(path) = path else {
        let name = name.unwrap_or_else(|| "stories".to_owned());
        let digest = hex(&Sha256::digest(puna::builtin_bytes()));
        let bytes = puna::builtin_bytes().len() as u64;
        return Ok(About {
            name,
            path: None,
            bytes,
            modified: SystemTime::UNIX_EPOCH,
            digest,
            times: String::new(),
            description: Description::default(),
        });
    };
    let of_path = || {
        let stem = path.file_stem().filter(|_| path.is_file());
        let name = stem.or(path.file_name()).unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let metadata = std::fs::metadata(&path)?;
    let Content { n_bytes: bytes, digest, times } = content(&path)?;
    Ok(About {
        name: name.unwrap_or_else(of_path),
        bytes,
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        digest,
        times,
        description: Description::default(),
        path: Some(path),
    })
}

/// How many places of a file are read for its digest, both ends among them, and how many bytes of each: all of a large
/// model would take minutes to read.
const DIGESTED: (u64, u64) = (256, 16 << 10);

/// What a model's files hold.
struct Content {
    n_bytes: u64,
    /// Of their sizes and of many places in them: that of another model differs.
    digest: String,
    /// Of when they were written: a file that is replaced has another one, whatever it holds.
    times: String,
}

fn content(path: &Path) -> std::io::Result<Content> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = std::fs::read_dir(path)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.is_file());
        files.sort();
    }
    let (mut hasher, mut times, mut n_bytes) = (Sha256::new(), Sha256::new(), 0);
    let (n_places, n_each) = DIGESTED;
    for file in files {
        let mut open = std::fs::File::open(&file)?;
        let metadata = open.metadata()?;
        let len = metadata.len();
        n_bytes += len;
        hasher.update(len.to_le_bytes());
        let since_1970 = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        times.update(since_1970.as_nanos().to_le_bytes());
        let mut place = Vec::new();
        let all = len <= n_places * n_each;
        for i in 0..if all { 1 } else { n_places } {
            // Evenly, the last one at the end.
            open.seek(SeekFrom::Start(if all {
                0
            } else {
                (len - n_each) / (n_places - 1) * i + (len - n_each) % (n_places - 1) * i / (n_places - 1)
            }))?;
            place.clear();
            open.by_ref().take(if all { len } else { n_each }).read_to_end(&mut place)?;
            hasher.update(&place);
        }
    }
    Ok(Content { n_bytes, digest: hex(&hasher.finalize()), times: hex(&times.finalize()) })
}

/// Bytes as digits of base 16.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache on the disk must never be taken for another model's.
    #[test]
    fn models_that_differ_have_other_digests() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            content(&path).unwrap()
        };
        let bytes = vec![7; 20 << 20];
        let first = file("a", &bytes);
        assert_eq!(first.n_bytes, 20 << 20);
        assert_eq!(first.digest, file("b", &bytes).digest);
        // A matrix in the middle, as an adapter changes it.
        let mut other = bytes.clone();
        other[9 << 20..11 << 20].fill(8);
        assert_ne!(first.digest, file("c", &other).digest);
        let mut other = bytes.clone();
        *other.last_mut().unwrap() = 8;
        assert_ne!(first.digest, file("d", &other).digest);
        assert_ne!(file("e", b"abc").digest, file("f", b"abd").digest);
        // One byte that nothing read: the time tells.
        std::thread::sleep(Duration::from_millis(20));
        let mut other = bytes;
        other[30_000] = 8;
        let replaced = file("a", &other);
        assert_ne!(first.times, replaced.times);
    }
}
