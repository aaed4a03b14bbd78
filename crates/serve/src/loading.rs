//! A model on its way into memory: what its files say, how it is opened, and how it runs within its plan.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use puna::{
    ChatFormat, DiskCacheOptions, Draft, Eagle, Engine, EngineOptions, Llama, Options, SchedulerOptions,
    Worker,
};
use sha2::{Digest, Sha256};

use crate::memory::{Claim, Need, Plan};

/// Weights that are in memory, and their engine.
pub(crate) struct InMemory {
    pub llama: Llama,
    pub worker: Worker,
    /// What guesses for it.
    draft: Option<Draft>,
    is_asleep: AtomicBool,
    /// What it takes of the memory.
    pub claim: Claim,
}

impl InMemory {
    /// Whether it gave back what it can make again.
    pub fn is_asleep(&self) -> bool {
        self.is_asleep.load(Ordering::Relaxed)
    }

    /// Gives back what it can make again, between two steps.
    pub async fn sleep(&self) {
        let (done, is_done) = tokio::sync::oneshot::channel();
        let draft = self.draft.clone();
        self.worker.run(move |engine| {
            engine.sleep();
            match draft {
                Some(Draft::Model(draft)) => draft.sleep(),
                Some(Draft::Head(head)) => engine.drop_copies_of(&head),
                None => {}
            }
            let _ = done.send(());
        });
        // Without a thread there is nobody to wait for.
        let _ = is_done.await;
        self.is_asleep.store(true, Ordering::Relaxed);
    }

    /// The share of the memory for keys and values that is in use, of 1; 0 where there is no limit.
    pub fn cache_used(&self) -> f64 {
        let pool = self.llama.engine().pool();
        match pool.n_blocks() {
            usize::MAX => 0.0,
            n => pool.blocks_used() as f64 / n.max(1) as f64,
        }
    }

    /// Wakes it: what it gave back is made again as it is needed.
    pub fn wake(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
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
    pub times: String,
    pub description: Description,
}

/// What a model is, as its files say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    /// The context: as was asked for, or as much of the model's own as there is memory for.
    pub max_seq_len: usize,
    /// The context without regard to memory.
    pub own_seq_len: usize,
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

/// The least context that is planned for where none was asked for: shorter ones are of little use.
const LEAST_CONTEXT: usize = 4096;

/// How models run.
#[derive(Clone)]
pub(crate) struct Running {
    pub scheduler: SchedulerOptions,
    pub cache: Option<PathBuf>,
    pub max_cache_bytes: u64,
    pub draft: Option<PathBuf>,
}

impl Running {
    /// A model's own folder in the cache on the disk.
    pub fn cache_of(&self, about: &About) -> Option<PathBuf> {
        Some(self.cache.as_ref()?.join(&about.digest[..32]))
    }

    /// With a place of the model's own in the cache.
    fn of(&self, about: &About, llama: &Llama, options: &Options) -> Result<SchedulerOptions, String> {
        let Some(folder) = self.cache_of(about) else { return Ok(self.scheduler.clone()) };
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

/// A share of so many bytes, rounded up: what was just enough stays enough.
fn part(bytes: usize, share: f64) -> usize {
    (bytes as f64 * share).ceil() as usize
}

/// Whether what `--draft` names has to belong to a model: to one that the server was started with, it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guessed {
    Surely,
    IfItCan,
}

/// A model that is mapped into memory, and what guesses for it.
pub(crate) struct Open {
    llama: Llama,
    draft: Option<Draft>,
}

/// Opens a model. Where `guessed_for` is [`Guessed::IfItCan`], a draft that does not belong to it is none.
pub(crate) fn open(
    about: &About,
    options: &Options,
    running: &Running,
    guessed_for: Guessed,
) -> Result<Open, String> {
    let llama = match &about.path {
        Some(path) => Llama::load_with(path, options),
        None => Llama::builtin_with(options),
    };
    let llama = llama.map_err(|error| error.to_string())?;
    let draft = match (running.draft_of(about, &llama, options), guessed_for) {
        (Err(error), Guessed::IfItCan) => {
            eprintln!("note: nothing guesses for {}: {error}", about.name);
            None
        }
        (draft, _) => draft?,
    };
    Ok(Open { llama, draft })
}

impl Open {
    /// What it is.
    pub fn description(&self) -> Description {
        let llama = &self.llama;
        let (config, known) = (llama.config(), llama.describe());
        let mut by_type: HashMap<String, u64> = HashMap::new();
        for (dtype, _, n_bytes) in known.groups.iter().flat_map(|group| &group.types) {
            *by_type.entry(dtype.to_string()).or_default() += n_bytes;
        }
        let most =
            by_type.into_iter().max_by_key(|(_, n_bytes)| *n_bytes).map(|(dtype, _)| dtype.to_uppercase());
        Description {
            max_seq_len: llama.engine().max_seq_len(),
            own_seq_len: llama.engine().max_seq_len(),
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

    /// The model's, and that of the smaller one.
    fn engines(&self) -> impl Iterator<Item = &Engine> {
        let draft = match &self.draft {
            Some(Draft::Model(draft)) => Some(&**draft),
            Some(Draft::Head(_)) | None => None,
        };
        std::iter::once(self.llama.engine()).chain(draft)
    }

    /// What it takes of memory.
    pub fn need(&self, about: &About, options: &Options, running: &Running) -> Need {
        let engine = self.llama.engine();
        let n_tokens = options.max_seq_len.unwrap_or(LEAST_CONTEXT).min(engine.max_seq_len());
        let kv_bytes = self.engines().map(|engine| engine.kv_bytes_for(n_tokens)).sum();
        // A head's keys and values are those of one more layer: little, and within what is left free.
        let head = match &self.draft {
            Some(Draft::Head(head)) => head.weight_bytes(),
            Some(Draft::Model(_)) | None => 0,
        };
        Need {
            name: about.name.clone(),
            weights: self.engines().map(|engine| engine.model().weights.n_bytes()).sum::<usize>() + head,
            passes: self.engines().map(|engine| engine.pass_bytes(running.scheduler.max_running)).sum(),
            // What is kept in a file needs no memory.
            least_kv: if options.kv_dir.is_some() { 0 } else { options.kv_bytes.unwrap_or(kv_bytes) },
            least_context: n_tokens,
        }
    }

    /// The context whose keys and values take at most so many bytes.
    pub fn context_within(&self, kv_bytes: usize) -> usize {
        self.llama.engine().context_within(part(kv_bytes, self.shares()[0]))
    }

    /// The parts of keys and values that the model and the one that guesses for it have, of 1: as many tokens of both.
    fn shares(&self) -> [f64; 2] {
        let n_tokens = 1 << 16;
        let own = self.llama.engine().kv_bytes_for(n_tokens) as f64;
        let all: f64 = self.engines().map(|engine| engine.kv_bytes_for(n_tokens) as f64).sum();
        if all > 0.0 { [own / all, 1.0 - own / all] } else { [1.0, 0.0] }
    }

    /// Runs it within its plan.
    pub fn start(
        self,
        about: &About,
        options: &Options,
        plan: Option<&Plan>,
        running: &Running,
        claim: Claim,
    ) -> Result<InMemory, String> {
        let shares = self.shares();
        let Open { mut llama, mut draft } = self;
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        if let Some(plan) = plan {
            // `beside` is what else takes copies out of the engine's room for them.
            let within = |engine: &Engine, share: f64, beside: usize| {
                let own = engine.options().clone();
                let repack_bytes = match options.repack {
                    true => engine.model().weights.repack_bytes(options.activations) + beside,
                    false => 0,
                };
                EngineOptions {
                    // All or nothing: what stays in the file needs memory as well.
                    repack_bytes: if repack_bytes <= plan.bytes / 2 { repack_bytes } else { 0 },
                    kv_bytes: match options.kv_dir {
                        Some(_) => own.kv_bytes,
                        None => options.kv_bytes.or(Some(part(plan.kv_bytes, share))),
                    },
                    ..own
                }
            };
            let context = Some(about.description.max_seq_len);
            let head = match &draft {
                Some(Draft::Head(head)) => head.repack_bytes(options.activations),
                Some(Draft::Model(_)) | None => 0,
            };
            let own = EngineOptions { max_seq_len: context, ..within(llama.engine(), shares[0], head) };
            llama = llama.with_engine_options(own).map_err(|error| failed(&error))?;
            draft = match draft {
                Some(Draft::Model(draft)) => {
                    let own = within(&draft, shares[1], 0);
                    Some(Draft::Model(Arc::new(draft.with_options(own).map_err(|error| failed(&error))?)))
                }
                other => other,
            };
        }
        let scheduler = running.of(about, &llama, options)?;
        let worker = Worker::start(llama.shared_engine(), draft.clone(), scheduler);
        let worker = worker.map_err(|error| failed(&error))?;
        // What answers of a given form need is made meanwhile, so that nobody waits for it.
        let own = llama.clone();
        std::thread::spawn(move || drop(own.constraint(&puna::Form::Object, &puna::PromptTokens::default())));
        let is_asleep = AtomicBool::new(false);
        Ok(InMemory { llama, worker, draft, is_asleep, claim })
    }
}

/// What is known of the files at a path, or of the built-in model.
pub(crate) fn about(name: Option<String>, path: Option<PathBuf>) -> std::io::Result<About> {
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
    pub times: String,
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
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut other = bytes;
        other[30_000] = 8;
        let replaced = file("a", &other);
        assert_ne!(first.times, replaced.times);
    }
}
