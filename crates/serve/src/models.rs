//! The models that are served: found by their names, loaded when somebody asks, unloaded when nobody does.
//!
//! Several names may mean the same weights, which are in memory once: what a client creates from a model is that model
//! and what the client said beside it ([`Own`]).

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use puna::{ChatFormat, DiskCacheOptions, Draft, Eagle, Llama, Options, SchedulerOptions, Worker};
use puna_formats::visible_path;
use puna_wire::ollama::manage::Create;
use puna_wire::{Kind, Problem};
use sha2::{Digest, Sha256};

use crate::ServeOptions;
use crate::own::Own;

/// A model that a server answers with.
#[derive(Clone, Debug, Default)]
pub struct ServedModel {
    /// What clients call it; the model's own name if `None`.
    pub name: Option<String>,
    /// Where it is; the built-in model if `None`.
    pub path: Option<PathBuf>,
    /// How it is run.
    pub options: Options,
    /// What a Modelfile says beside the path ([`Create::of_modelfile`]).
    pub own: Option<Create>,
}

/// Weights that are in memory, and their engine.
pub(crate) struct InMemory {
    pub llama: Llama,
    pub worker: Worker,
}

/// A model that is in memory, by one of its names.
pub(crate) struct Loaded {
    pub name: String,
    pub own: Arc<Own>,
    memory: Arc<InMemory>,
}

impl Deref for Loaded {
    type Target = InMemory;

    fn deref(&self) -> &InMemory {
        &self.memory
    }
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
    /// The chat format, if it is one of the generations'.
    pub chat_format: Option<ChatFormat>,
}

/// A model by one of its names.
pub(crate) struct Served {
    pub about: About,
    pub own: Arc<Own>,
    /// Whether it was given when the server was started; a client created it otherwise.
    pub is_given: bool,
    weights: Arc<Weights>,
}

struct Weights {
    about: About,
    options: Options,
    /// One at a time loads or unloads them.
    slot: tokio::sync::Mutex<Option<Arc<InMemory>>>,
    use_: Mutex<Use>,
}

/// When it was used, and how long it stays afterwards.
struct Use {
    last: Instant,
    stays: Option<Duration>,
}

pub(crate) struct Models {
    served: RwLock<Vec<Arc<Served>>>,
    running: Running,
    idle: Option<Duration>,
    /// Whether clients may create models: names count then.
    may_change: bool,
}

impl Models {
    /// Loads each model once, and keeps the first. Fails if one cannot be used, there is none at a path, or two have the same name.
    pub fn new(given: Vec<ServedModel>, options: &ServeOptions) -> Result<Models, String> {
        let running = Running {
            scheduler: options.scheduler.clone(),
            cache: options.cache_dir.clone(),
            max_cache_bytes: options.max_cache_bytes,
            draft: options.draft.clone(),
        };
        let models = Models {
            served: RwLock::default(),
            running,
            idle: options.idle,
            may_change: options.models_dir.is_some(),
        };
        for (i, model) in given.into_iter().enumerate() {
            let served = models.given(model, i == 0)?;
            let name = &served.about.name;
            if models.exact(name).is_some() {
                return Err(format!("two models are called `{name}`; give one another name"));
            }
            models.insert(Arc::new(served));
        }
        Ok(models)
    }

    fn given(&self, model: ServedModel, stays: bool) -> Result<Served, String> {
        let ServedModel { name, path, options, own } = model;
        let place = path.as_deref().map(visible_path).unwrap_or_default();
        let fail = |fact: String| format!("cannot serve `{place}`\n  {fact}");
        let about = about(name, path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                fail("there is no such file or folder; `puna list` shows the models here".into())
            }
            _ => fail(error.to_string()),
        })?;
        let own = own.map(|create| Own::new(create, String::new())).transpose();
        let own = own.map_err(|problem| fail(problem.message))?.unwrap_or_default();
        let weights = self.weights(about, options, stays)?;
        let about = own_about(&weights.about, &weights.about.name, &own);
        Ok(Served { about, own: Arc::new(own), is_given: true, weights })
    }

    /// Weights that were loaded once, so that what is wrong is said at once. They stay in memory if `stays`.
    fn weights(&self, mut about: About, options: Options, stays: bool) -> Result<Arc<Weights>, String> {
        let memory = load(&about, &options, &self.running)?;
        about.description = describe(&memory.llama);
        let slot = tokio::sync::Mutex::new(stays.then(|| Arc::new(memory)));
        let use_ = Mutex::new(Use { last: Instant::now(), stays: self.idle });
        Ok(Arc::new(Weights { about, options, slot, use_ }))
    }

    /// A model that a client creates: from one that is served, or from files. It is not among them yet.
    pub fn make(
        &self,
        name: &str,
        made: SystemTime,
        own: Own,
        source: &Source,
        format: Option<ChatFormat>,
    ) -> Result<Served, String> {
        let same = |path: Option<&Path>, has: &dyn Fn(&Weights) -> bool| {
            let all = self.all();
            let found =
                all.iter().find(|served| served.about.path.as_deref() == path && has(&served.weights));
            found.map(|served| served.weights.clone())
        };
        let has_format = |weights: &Weights| match format {
            None => weights.options.chat_format.is_none(),
            Some(_) => weights.about.description.chat_format == format,
        };
        let weights = match source {
            Source::Served(base) if format.is_none() || base.about.description.chat_format == format => {
                base.weights.clone()
            }
            Source::Served(base) => match same(base.about.path.as_deref(), &has_format) {
                Some(weights) => weights,
                None => {
                    let options = Options { chat_format: format, ..base.weights.options.clone() };
                    self.weights(base.weights.about.clone(), options, false)?
                }
            },
            Source::Path(path) => match same(Some(path), &has_format) {
                Some(weights) => weights,
                None => {
                    let first = self.all().first().map(|served| served.weights.options.clone());
                    let options = Options { chat_format: format, mmproj: None, ..first.unwrap_or_default() };
                    let about =
                        about(Some(name.to_owned()), Some(path.clone())).map_err(|e| e.to_string())?;
                    self.weights(about, options, false)?
                }
            },
        };
        let about = About { modified: made, ..own_about(&weights.about, name, &own) };
        Ok(Served { about, own: Arc::new(own), is_given: false, weights })
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one, in the place of one of the same name.
    pub fn insert(&self, new: Arc<Served>) {
        let mut all = self.served.write().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|served| is_called(served, &new.about.name)) {
            Some(old) => *old = new,
            None => all.push(new),
        }
    }

    /// Answers with a model no more.
    pub fn remove(&self, name: &str) {
        let mut all = self.served.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|served| !is_called(served, name));
    }

    /// The one of this very name.
    pub fn exact(&self, name: &str) -> Option<Arc<Served>> {
        self.all().into_iter().find(|served| is_called(served, name))
    }

    /// Those that are in memory, and when they will leave it.
    pub fn loaded(&self) -> Vec<(Arc<Served>, Option<Duration>)> {
        let is_loaded = |served: &Arc<Served>| served.weights.memory().is_some();
        let leaves = |served: &Arc<Served>| {
            let use_ = served.weights.use_.lock().unwrap_or_else(PoisonError::into_inner);
            use_.stays.map(|stays| stays.saturating_sub(use_.last.elapsed()))
        };
        self.all().into_iter().filter(is_loaded).map(|served| (served.clone(), leaves(&served))).collect()
    }

    /// What is in memory, each by the first of its names.
    pub fn in_memory(&self) -> Vec<(String, Arc<InMemory>)> {
        let mut found: Vec<(String, Arc<InMemory>)> = Vec::new();
        for served in self.all() {
            let Some(memory) = served.weights.memory() else { continue };
            if !found.iter().any(|(_, other)| Arc::ptr_eq(other, &memory)) {
                found.push((served.about.name.clone(), memory));
            }
        }
        found
    }

    /// The model that a name means.
    pub fn find(&self, name: Option<&str>) -> Result<Arc<Served>, Problem> {
        let all = self.all();
        let mut given = all.iter().filter(|served| served.is_given);
        // The one that the server was started with.
        let only = given.next().filter(|_| given.next().is_none());
        let Some(name) = name else {
            let several = || Problem::field("model", "`model` is missing, and this server has several");
            return only.cloned().ok_or_else(several);
        };
        let found = all.iter().find(|served| is_called(served, name));
        // A server of one model answers with it, whatever clients call it.
        if let Some(served) = found.or(only.filter(|_| !self.may_change)) {
            return Ok(served.clone());
        }
        let known: Vec<&str> = all.iter().map(|served| served.about.name.as_str()).collect();
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

    /// The guard that a name means; the first one, if it means no model that is served.
    pub fn guard(&self, name: Option<&str>) -> Result<Arc<Served>, Problem> {
        let all = self.all();
        let is_it = |served: &&Arc<Served>| name.is_some_and(|name| is_called(served, name));
        let found =
            all.iter().find(is_it).or_else(|| all.iter().find(|served| served.about.description.judges));
        match found {
            Some(served) if served.about.description.judges => Ok(served.clone()),
            Some(served) => Err(Problem::field(
                "model",
                format!("{} is not a Llama Guard, and judges nothing; leave `model` out", served.about.name),
            )),
            None => Err(Problem::new(
                Kind::Request,
                "only a guard judges texts, and none is served; serve a Llama Guard too: `-m guard=PATH`",
            )),
        }
    }

    /// The model that a name means, in memory; it stays for a while after the last use.
    pub async fn get(&self, name: Option<&str>, keep_alive: Option<f64>) -> Result<Arc<Loaded>, Problem> {
        let served = self.find(name)?;
        let weights = &served.weights;
        let mut slot = weights.slot.lock().await;
        self.touch(weights, keep_alive);
        let memory = match &*slot {
            Some(memory) => memory.clone(),
            None => self.load(&served).await?,
        };
        *slot = Some(memory.clone());
        Ok(Arc::new(Loaded { name: served.about.name.clone(), own: served.own.clone(), memory }))
    }

    async fn load(&self, served: &Arc<Served>) -> Result<Arc<InMemory>, Problem> {
        let (weights, running) = (served.weights.clone(), self.running.clone());
        let loading = tokio::task::spawn_blocking(move || load(&weights.about, &weights.options, &running));
        match loading.await {
            Ok(Ok(memory)) => Ok(Arc::new(memory)),
            Ok(Err(error)) => {
                // It may name files, which are nobody's business: the log has it.
                eprintln!("error: {error}");
                let name = &served.about.name;
                let fact = format!("the model {name} cannot be loaded; the server's log says why");
                Err(Problem::new(Kind::Unavailable, fact))
            }
            Err(_) => Err(Problem::new(Kind::Internal, "loading the model failed")),
        }
    }

    fn touch(&self, weights: &Weights, keep_alive: Option<f64>) {
        let mut use_ = weights.use_.lock().unwrap_or_else(PoisonError::into_inner);
        use_.last = Instant::now();
        use_.stays = match keep_alive {
            None => self.idle,
            Some(seconds) if seconds < 0.0 => None,
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        };
    }

    /// Unloads what nobody asked for longer than it may stay, and nobody is being answered by.
    pub async fn unload_idle(&self) {
        for served in self.all() {
            let weights = &served.weights;
            let Ok(mut slot) = weights.slot.try_lock() else { continue };
            let is_over = {
                let mut use_ = weights.use_.lock().unwrap_or_else(PoisonError::into_inner);
                let is_used = slot.as_ref().is_some_and(|memory| Arc::strong_count(memory) > 1);
                if is_used {
                    use_.last = Instant::now();
                }
                !is_used && use_.stays.is_some_and(|stays| use_.last.elapsed() >= stays)
            };
            if is_over && let Some(memory) = slot.take() {
                // Its thread ends first.
                let _ = tokio::task::spawn_blocking(move || drop(memory)).await;
            }
        }
    }
}

impl Served {
    /// Of the weights, whatever is said beside them.
    pub fn weights_digest(&self) -> &str {
        &self.weights.about.digest
    }
}

/// What a client's model is made from.
pub(crate) enum Source {
    Served(Arc<Served>),
    Path(PathBuf),
}

impl Weights {
    fn memory(&self) -> Option<Arc<InMemory>> {
        self.slot.try_lock().ok()?.clone()
    }
}

/// Whether a name means this model: letters may be large or small, and `:latest` is what a name without a tag has.
fn is_called(served: &Served, name: &str) -> bool {
    let known = &served.about.name;
    let plain = name.strip_suffix(":latest").unwrap_or(name);
    known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(plain)
}

/// What is known of a model of these weights that has something of its own.
fn own_about(weights: &About, name: &str, own: &Own) -> About {
    let mut about = About { name: name.to_owned(), ..weights.clone() };
    let Some(create) = &own.create else { return about };
    // By its content: a copy is the same model.
    let mut body = create.body();
    for name in ["model", "stream", "from", "files"] {
        body[name].take();
    }
    about.digest = hex(&Sha256::digest(format!("{} {body}", weights.digest)));
    let max = &mut about.description.max_seq_len;
    *max = own.context().map_or(*max, |context| context.min(*max));
    about
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

fn load(about: &About, options: &Options, running: &Running) -> Result<InMemory, String> {
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
    Ok(InMemory { llama, worker })
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
        chat_format: llama.chat_format(),
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
