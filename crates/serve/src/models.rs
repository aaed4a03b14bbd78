//! The models that are served: found by their names, loaded when somebody asks, unloaded when nobody does.
//!
//! Several names may mean the same weights, which are in memory once: what a client creates from a model is that model
//! and what the client said beside it ([`Own`]).
//!
//! Between both, a model that nobody asks sleeps: it keeps its file in the memory map and the keys and values of what was
//! said, and gives back what it can make again. The next question wakes it. Before a model is loaded or woken there is
//! room for it: those that nobody asks, the least recently used first, are put to sleep, and then unloaded.

use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use puna::{ChatFormat, Options};
use puna_formats::visible_path;
use puna_wire::ollama::manage::Create;
use puna_wire::{Kind, Problem};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::ServeOptions;
use crate::loading::{About, Description, Guessed, InMemory, Open, Running, about, hex, open};
use crate::memory::{Claim, Claims, Need, Plan, plans, size};
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

/// A model by one of its names.
pub(crate) struct Served {
    pub about: About,
    pub own: Arc<Own>,
    pub origin: Origin,
    weights: Arc<Weights>,
}

/// How a model came to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The server was started with it.
    Given,
    /// A client created it.
    Created,
    /// A client pulled it.
    Pulled,
}

/// Whether weights are in memory, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Awake,
    Asleep,
    Unloaded,
    /// On their way to be awake.
    Loading,
}

struct Weights {
    about: About,
    options: Options,
    guessed: Guessed,
    need: Need,
    /// What they may take of memory; as much as there is if `None`.
    plan: Option<Plan>,
    /// One at a time loads or unloads them.
    slot: Arc<tokio::sync::Mutex<Slot>>,
    /// What is in the slot, for whoever only looks.
    seen: Mutex<InSlot>,
    use_: Mutex<Use>,
}

/// Weights that are in memory, or none.
type Slot = Option<Arc<InMemory>>;

/// What a slot holds while others may be loading or unloading it.
struct InSlot {
    is_loading: bool,
    memory: Weak<InMemory>,
}

/// When it was used, and how long it stays afterwards.
struct Use {
    last: Instant,
    stays: Option<Duration>,
}

pub(crate) struct Models {
    served: RwLock<Vec<Arc<Served>>>,
    running: Running,
    /// Bytes of memory that all models may take together, if that is limited, and whether somebody said so.
    memory: Option<usize>,
    is_limit: bool,
    claims: Arc<Claims>,
    /// One at a time makes room.
    room: tokio::sync::Mutex<()>,
    idle: Option<Duration>,
    sleep: Option<Duration>,
    log: bool,
    /// Whether clients may create or pull models: names count then.
    may_change: bool,
}

/// Weights that were opened once, so that what is wrong is said at once.
struct Seen {
    about: About,
    options: Options,
    guessed: Guessed,
    need: Need,
    open: Open,
}

impl Models {
    /// Loads each model once, shares the memory among them, and keeps the first. Fails if one cannot be used or never has
    /// the memory, there is none at a path, or two have the same name.
    pub fn new(given: Vec<ServedModel>, options: &ServeOptions) -> Result<Models, String> {
        // Before anything is loaded.
        let memory = options.memory.or_else(puna::memory_for_models);
        let models = Models {
            served: RwLock::default(),
            running: Running {
                scheduler: options.scheduler.clone(),
                cache: options.cache_dir.clone(),
                max_cache_bytes: options.max_cache_bytes,
                draft: options.draft.clone(),
            },
            memory,
            is_limit: options.memory.is_some(),
            claims: Claims::new(memory),
            room: tokio::sync::Mutex::default(),
            idle: options.idle,
            sleep: options.sleep,
            log: options.log,
            may_change: options.models_dir.is_some() || options.pulls.is_some(),
        };
        let mut all = Vec::new();
        for model in given {
            let (seen, own) = models.see_given(model)?;
            if all.iter().any(|(other, _): &(Seen, Own)| same_name(&other.about.name, &seen.about.name)) {
                return Err(format!("two models are called `{}`; give one another name", seen.about.name));
            }
            all.push((seen, own));
        }
        let needs: Vec<Need> = all.iter().map(|(seen, _)| seen.need.clone()).collect();
        // What clients create has a part as well.
        let plans = models.plans(&needs, usize::from(models.may_change))?;
        for (i, (seen, own)) in all.into_iter().enumerate() {
            let weights = models.weights(seen, plans.as_ref().map(|plans| plans[i]), i == 0)?;
            let about = own_about(&weights.about, &weights.about.name, &own);
            models.insert(Arc::new(Served { about, own: Arc::new(own), origin: Origin::Given, weights }));
        }
        Ok(models)
    }

    fn plans(&self, needs: &[Need], n_more: usize) -> Result<Option<Vec<Plan>>, String> {
        self.memory.map(|total| plans(total, self.is_limit, needs, n_more)).transpose()
    }

    fn see_given(&self, model: ServedModel) -> Result<(Seen, Own), String> {
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
        Ok((self.see(about, options, Guessed::Surely)?, own))
    }

    fn see(&self, mut about: About, options: Options, guessed: Guessed) -> Result<Seen, String> {
        let open = open(&about, &options, &self.running, guessed)?;
        about.description = open.description();
        let need = open.need(&about, &options, &self.running);
        Ok(Seen { about, options, guessed, need, open })
    }

    /// Weights within their plan. They stay in memory if `stays`.
    fn weights(&self, seen: Seen, plan: Option<Plan>, stays: bool) -> Result<Arc<Weights>, String> {
        let Seen { mut about, options, guessed, need, open } = seen;
        if let Some(plan) = plan.filter(|_| options.max_seq_len.is_none() && options.kv_dir.is_none()) {
            about.description.max_seq_len = open.context_within(plan.kv_bytes);
        }
        let memory = match stays {
            true => {
                let claim = self.claims.nothing();
                let _ = claim.make(plan.map_or(0, |plan| plan.bytes));
                Some(Arc::new(open.start(&about, &options, plan.as_ref(), &self.running, claim)?))
            }
            false => None,
        };
        let seen = Mutex::new(InSlot::of(memory.as_ref()));
        let slot = Arc::new(tokio::sync::Mutex::new(memory));
        let use_ = Mutex::new(Use { last: Instant::now(), stays: self.idle });
        Ok(Arc::new(Weights { about, options, guessed, need, plan, slot, seen, use_ }))
    }

    /// Weights that come to those that are served already, whose plans stay as they are.
    fn more_weights(&self, about: About, options: Options) -> Result<Arc<Weights>, String> {
        let seen = self.see(about, options, Guessed::IfItCan)?;
        let mut needs: Vec<Need> = self.all_weights().iter().map(|weights| weights.need.clone()).collect();
        needs.push(seen.need.clone());
        let plan = self.plans(&needs, 1)?.and_then(|plans| plans.last().copied());
        self.weights(seen, plan, false)
    }

    /// What was decided that somebody may have meant otherwise.
    pub fn notes(&self) -> Vec<String> {
        let notes = self.all_weights().into_iter().filter_map(|weights| {
            let Description { max_seq_len, own_seq_len, .. } = weights.about.description;
            let plan = weights.plan.filter(|_| max_seq_len < own_seq_len)?;
            Some(format!(
                "the context of {} is {max_seq_len} tokens, not {own_seq_len}: keys and values of more do not fit in {} of \
                 memory; --ctx says how many must fit, --kv q8_0 makes them smaller",
                weights.about.name,
                size(plan.kv_bytes)
            ))
        });
        notes.collect()
    }

    /// A model that a client creates or pulls: from one that is served, or from files. It is not among them yet.
    pub fn make(
        &self,
        origin: Origin,
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
                    let about = About { name: name.to_owned(), ..base.weights.about.clone() };
                    self.more_weights(about, options)?
                }
            },
            Source::Path(path) => match same(Some(path), &has_format) {
                Some(weights) => weights,
                None => {
                    let first = self.all().first().map(|served| served.weights.options.clone());
                    let options = Options { chat_format: format, mmproj: None, ..first.unwrap_or_default() };
                    let about =
                        about(Some(name.to_owned()), Some(path.clone())).map_err(|e| e.to_string())?;
                    self.more_weights(about, options)?
                }
            },
        };
        let about = About { modified: made, ..own_about(&weights.about, name, &own) };
        Ok(Served { about, own: Arc::new(own), origin, weights })
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one, in the place of one of the same name.
    pub fn insert(&self, new: Arc<Served>) {
        let mut all = self.served.write().unwrap_or_else(PoisonError::into_inner);
        let old = match all.iter_mut().find(|served| is_called(served, &new.about.name)) {
            Some(old) => Some(std::mem::replace(old, new)),
            None => {
                all.push(new);
                None
            }
        };
        drop(all);
        if let Some(old) = old {
            self.forget_cache(&old.weights.about);
        }
    }

    /// Answers with a model no more.
    pub fn remove(&self, name: &str) {
        let old = self.exact(name);
        let mut all = self.served.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|served| !is_called(served, name));
        drop(all);
        if let Some(old) = old {
            self.forget_cache(&old.weights.about);
        }
    }

    /// Removes what the disk knows of prompts of a model that no name means any more.
    fn forget_cache(&self, gone: &About) {
        let is_known = self.all_weights().iter().any(|weights| weights.about.digest == gone.digest);
        if let Some(folder) = self.running.cache_of(gone).filter(|_| !is_known) {
            // What cannot be removed stays within its limit.
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// The weights of all names, each once, by the first of its names.
    fn named_weights(&self) -> Vec<(String, Arc<Weights>)> {
        let mut found: Vec<(String, Arc<Weights>)> = Vec::new();
        for served in self.all() {
            if !found.iter().any(|(_, other)| Arc::ptr_eq(other, &served.weights)) {
                found.push((served.about.name.clone(), served.weights.clone()));
            }
        }
        found
    }

    fn all_weights(&self) -> Vec<Arc<Weights>> {
        self.named_weights().into_iter().map(|(_, weights)| weights).collect()
    }

    /// The one of this very name.
    pub fn exact(&self, name: &str) -> Option<Arc<Served>> {
        self.all().into_iter().find(|served| is_called(served, name))
    }

    /// Those that are in memory, when they will leave it, and whether they sleep.
    pub fn loaded(&self) -> Vec<(Arc<Served>, Option<Duration>, bool)> {
        let found = self.all().into_iter().filter_map(|served| {
            served.weights.memory()?;
            let leaves = {
                let use_ = served.weights.use_();
                use_.stays.map(|stays| stays.saturating_sub(use_.last.elapsed()))
            };
            let is_asleep = served.weights.state() == State::Asleep;
            Some((served, leaves, is_asleep))
        });
        found.collect()
    }

    /// All names, how their weights are, and what of them is in memory.
    pub fn looked_at(&self) -> Vec<(Arc<Served>, State, Option<Arc<InMemory>>)> {
        let look = |served: Arc<Served>| {
            let (state, memory) = (served.weights.state(), served.weights.memory());
            (served, state, memory)
        };
        self.all().into_iter().map(look).collect()
    }

    /// Bytes of memory that all may take together, if that is limited.
    pub fn memory(&self) -> Option<usize> {
        self.memory
    }

    /// What is in memory, by the first of its names.
    pub fn in_memory(&self) -> Vec<(String, Arc<InMemory>)> {
        let all = self.named_weights().into_iter();
        all.filter_map(|(name, weights)| Some((name, weights.memory()?))).collect()
    }

    /// How all weights are, by their first names.
    pub fn states(&self) -> Vec<(String, State)> {
        self.named_weights().into_iter().map(|(name, weights)| (name, weights.state())).collect()
    }

    /// The model that a name means.
    pub fn find(&self, name: Option<&str>) -> Result<Arc<Served>, Problem> {
        let all = self.all();
        let mut given = all.iter().filter(|served| served.origin == Origin::Given);
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
    pub async fn get(
        self: &Arc<Models>,
        name: Option<&str>,
        keep_alive: Option<f64>,
    ) -> Result<Arc<Loaded>, Problem> {
        let served = self.find(name)?;
        let slot = served.weights.slot.clone().lock_owned().await;
        self.touch(&served.weights, keep_alive);
        let memory = match &*slot {
            Some(memory) if !memory.is_asleep() => memory.clone(),
            _ => {
                // It goes on when whoever asks leaves: the next one finds the model.
                let (models, served) = (self.clone(), served.clone());
                let coming = tokio::spawn(async move { models.bring(&served, slot).await });
                let failed = |_| Err(Problem::new(Kind::Internal, "loading the model failed"));
                coming.await.unwrap_or_else(failed)?
            }
        };
        Ok(Arc::new(Loaded { name: served.about.name.clone(), own: served.own.clone(), memory }))
    }

    /// Lets a model go as soon as it may, without loading it for that.
    pub fn release(&self, name: Option<&str>) -> Result<Arc<Served>, Problem> {
        let served = self.find(name)?;
        self.touch(&served.weights, Some(0.0));
        Ok(served)
    }

    /// Loads or wakes what is in a slot, which nobody else does meanwhile.
    async fn bring(
        &self,
        served: &Served,
        mut slot: OwnedMutexGuard<Slot>,
    ) -> Result<Arc<InMemory>, Problem> {
        let (weights, name) = (&served.weights, &served.about.name);
        weights.in_slot().is_loading = true;
        let brought = match &*slot {
            Some(memory) => self.make_room(weights, name, &memory.claim).await.map(|()| {
                memory.wake();
                memory.clone()
            }),
            None => {
                let claim = self.claims.nothing();
                match self.make_room(weights, name, &claim).await {
                    Ok(()) => self.load(weights, name, claim).await,
                    Err(problem) => Err(problem),
                }
            }
        };
        let memory = brought.inspect_err(|_| weights.in_slot().is_loading = false)?;
        *slot = Some(memory.clone());
        *weights.in_slot() = InSlot::of(Some(&memory));
        self.note(weights, "awake");
        Ok(memory)
    }

    async fn load(&self, weights: &Arc<Weights>, name: &str, claim: Claim) -> Result<Arc<InMemory>, Problem> {
        let (own, running) = (weights.clone(), self.running.clone());
        let loading = tokio::task::spawn_blocking(move || {
            let Weights { about, options, guessed, plan, .. } = &*own;
            open(about, options, &running, *guessed)?.start(about, options, plan.as_ref(), &running, claim)
        });
        match loading.await {
            Ok(Ok(memory)) => Ok(Arc::new(memory)),
            Ok(Err(error)) => {
                // It may name files, which are nobody's business: the log has it.
                eprintln!("error: {error}");
                let fact = format!("the model {name} cannot be loaded; the server's log says why");
                Err(Problem::new(Kind::Unavailable, fact))
            }
            Err(_) => Err(Problem::new(Kind::Internal, "loading the model failed")),
        }
    }

    /// Makes room for weights, which nobody else loads or wakes meanwhile. Others that nobody asks sleep, and then go,
    /// until they fit.
    async fn make_room(&self, weights: &Weights, name: &str, claim: &Claim) -> Result<(), Problem> {
        let bytes = weights.plan.map_or(0, |plan| plan.bytes);
        let _one_at_a_time = self.room.lock().await;
        let mut others = self.all_weights();
        others.retain(|other| !Arc::ptr_eq(&other.slot, &weights.slot));
        others.sort_by_key(|other| other.use_().last);
        for state in [State::Asleep, State::Unloaded] {
            for other in &others {
                if claim.make(bytes).is_ok() {
                    return Ok(());
                }
                // Who is being loaded, or answers, stays.
                let Ok(mut slot) = other.slot.try_lock() else { continue };
                if slot.as_ref().is_some_and(|memory| Arc::strong_count(memory) == 1) {
                    self.put(other, &mut slot, state).await;
                }
            }
        }
        claim.make(bytes).map_err(|left| {
            let fact = format!(
                "{name} needs {} of memory, and models that are answering leave {}; ask again soon",
                size(bytes),
                size(left)
            );
            Problem { retry_after: Some(5), ..Problem::new(Kind::Unavailable, fact) }
        })
    }

    /// Puts weights that nobody is answered by to sleep, or unloads them.
    async fn put(&self, weights: &Weights, slot: &mut Slot, state: State) {
        match (&slot, state) {
            (None, _) | (_, State::Awake | State::Loading) => {}
            (Some(memory), State::Asleep) => {
                if !memory.is_asleep() {
                    memory.sleep().await;
                    // The system takes a file's pages where it needs them.
                    let kept = match weights.options.kv_dir {
                        Some(_) => 0,
                        None => memory.llama.engine().kv_bytes_used(),
                    };
                    memory.claim.keep(kept);
                    self.note(weights, "asleep");
                }
            }
            (Some(_), State::Unloaded) => {
                let memory = slot.take();
                *weights.in_slot() = InSlot::of(None);
                // Its thread ends first.
                let _ = tokio::task::spawn_blocking(move || drop(memory)).await;
                self.note(weights, "unloaded");
            }
        }
    }

    fn note(&self, weights: &Weights, state: &str) {
        if self.log {
            crate::log::model(&weights.about.name, state);
        }
    }

    fn touch(&self, weights: &Weights, keep_alive: Option<f64>) {
        let mut use_ = weights.use_();
        use_.last = Instant::now();
        use_.stays = match keep_alive {
            None => self.idle,
            Some(seconds) if seconds < 0.0 => None,
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        };
    }

    /// Puts to sleep, or unloads, what nobody asked for so long, and nobody is being answered by.
    pub async fn tend(&self) {
        for weights in self.all_weights() {
            let Ok(mut slot) = weights.slot.try_lock() else { continue };
            let state = {
                let mut use_ = weights.use_();
                if slot.as_ref().is_some_and(|memory| Arc::strong_count(memory) > 1) {
                    use_.last = Instant::now();
                    continue;
                }
                let is_over = |time: Option<Duration>| time.is_some_and(|time| use_.last.elapsed() >= time);
                match (is_over(use_.stays), is_over(self.sleep)) {
                    (true, _) => State::Unloaded,
                    (false, true) => State::Asleep,
                    (false, false) => State::Awake,
                }
            };
            self.put(&weights, &mut slot, state).await;
        }
    }
}

impl Served {
    /// Whether the server was started with it.
    pub fn is_given(&self) -> bool {
        self.origin == Origin::Given
    }

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

impl InSlot {
    fn of(memory: Option<&Arc<InMemory>>) -> InSlot {
        InSlot { is_loading: false, memory: memory.map(Arc::downgrade).unwrap_or_default() }
    }
}

impl Weights {
    fn use_(&self) -> MutexGuard<'_, Use> {
        self.use_.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_slot(&self) -> MutexGuard<'_, InSlot> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> Option<Arc<InMemory>> {
        self.in_slot().memory.upgrade()
    }

    fn state(&self) -> State {
        let in_slot = self.in_slot();
        match in_slot.memory.upgrade() {
            _ if in_slot.is_loading => State::Loading,
            None => State::Unloaded,
            Some(memory) if memory.is_asleep() => State::Asleep,
            Some(_) => State::Awake,
        }
    }
}

/// Whether a name means this model: letters may be large or small, and `:latest` is what a name without a tag has.
fn is_called(served: &Served, name: &str) -> bool {
    same_name(&served.about.name, name)
}

fn same_name(known: &str, name: &str) -> bool {
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
