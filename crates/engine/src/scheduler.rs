//! Many sequences at once: who waits, who is in the next step, and whose memory is given up.
//!
//! A step is admit, propose, compute, deliver. Those who ended leave and others take their places in the same step
//! (continuous batching); prompts are read in pieces beside those who make tokens. What a sequence computed is kept for
//! prompts that begin alike ([`PrefixCache`]), as long as nobody else needs the memory. Where the pool is full, the
//! least recently used of that goes first; then the sequence that came last gives up its keys and values, waits, and
//! computes them again: its tokens stay the same.
//!
//! Nothing here knows a clock or a thread: time is passed in, and the same calls give the same steps.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use puna_model::Eagle;

use crate::disk_cache::{DiskCache, DiskCacheOptions};
use crate::drafter::{Ask, Drafter};
use crate::eagle::Head;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::images::{SequenceImage, Tokens};
use crate::ngram::{Ngrams, Pace};
use crate::prefix_cache::{Known, PrefixCache, Tenant, common_beginning};
use crate::sequence::{FinishReason, Request, Sequence};

/// Limits of a [`Scheduler`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// Sequences in a step.
    pub max_running: usize,
    /// Sequences that wait; more are refused.
    pub max_waiting: usize,
    /// The most prompt tokens of a step in which others make tokens: fewer let those go on sooner. Where these are few it
    /// has fewer by itself.
    pub mixed_tokens: usize,
    /// Finished sequences that are remembered.
    pub max_remembered: usize,
    /// Whether tokens are guessed from what was said before, so that one pass may make several.
    pub ngrams: bool,
    /// Where what was computed is kept beyond memory, and beyond the program; nowhere if `None`.
    pub disk: Option<DiskCacheOptions>,
}

impl Default for SchedulerOptions {
    fn default() -> SchedulerOptions {
        SchedulerOptions {
            max_running: 64,
            max_waiting: 512,
            mixed_tokens: 96,
            max_remembered: 1024,
            ngrams: true,
            disk: None,
        }
    }
}

/// What guesses tokens for a model besides what was said before. Guesses change nothing but the speed.
#[derive(Clone)]
pub enum Draft {
    /// A smaller model of the same vocabulary.
    Model(Arc<Engine>),
    /// A head that reads the model's hidden states.
    Head(Arc<Eagle>),
}

/// The same, at work.
enum Guesser {
    Model(Drafter),
    Head(Head),
}

/// Who waits for a sequence.
pub trait Listener: Send {
    /// Whether nobody waits any more: the sequence ends with the next step.
    fn is_gone(&self) -> bool {
        false
    }

    /// A part of the prompt was read: so many of its tokens are known.
    fn read(&mut self, _n_done: usize, _n_total: usize) {}

    /// A token was chosen from these logits, `[vocab_size]`; the sequence may be ended after it.
    fn token(&mut self, token: u32, logits: &[f32]) -> ControlFlow<FinishReason>;

    /// The sequence is over. Called once, and nothing afterwards.
    fn ended(&mut self, end: End);
}

/// How a sequence ended.
#[derive(Debug)]
pub struct End {
    /// Why; an error where it could not go on, or not begin.
    pub result: Result<FinishReason, EngineError>,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Of these, how many were known from before.
    pub n_cached: usize,
    /// The first token in which the prompt differs from the longest beginning that was remembered in memory; `None` where
    /// nothing was, or where one begins with the other, as the next turn of a conversation does.
    pub left_at: Option<usize>,
    /// Tokens that were made, a final stop id included.
    pub n_made: usize,
    /// Of these, how many were guessed rightly.
    pub n_guessed: usize,
    /// From submission to the first step.
    pub waited: Duration,
    /// From there to the first token.
    pub prefill: Duration,
    /// From there to the end.
    pub decode: Duration,
}

/// What is asked of a scheduler.
pub struct Job {
    /// What the sequence does. Its past is found by the scheduler.
    pub request: Request,
    /// Whose it is.
    pub tenant: Tenant,
    /// Later ones of a smaller number go before earlier ones of a larger number.
    pub priority: i32,
    /// When it ends, done or not, counted as times are that steps are given.
    pub deadline: Option<Duration>,
    /// Who waits for it.
    pub listener: Box<dyn Listener>,
}

/// A sequence that waits, running or not. What it has of either is apart: thousands may wait.
struct Task {
    /// `None` until it is admitted for the first time.
    sequence: Option<Box<Sequence>>,
    /// `None` from then on.
    request: Option<Box<Request>>,
    tenant: Tenant,
    priority: i32,
    deadline: Option<Duration>,
    listener: Box<dyn Listener>,
    order: u64,
    ngrams: Ngrams,
    /// How many tokens are worth guessing, from what was said and by the [`Draft`].
    pace: [Pace; 2],
    /// Which of the two guessed last, and how many.
    guessed: (usize, usize),
    /// What the smaller model computed.
    draft_past: Option<crate::Past>,
    n_guessed: usize,
    left_at: Option<usize>,
    submitted: Duration,
    begun: Option<Duration>,
    first_token: Option<Duration>,
    /// That the listener knows.
    n_read: usize,
}

impl Task {
    /// Its tokens so far.
    fn tokens(&self) -> &[u32] {
        match (&self.sequence, &self.request) {
            (Some(sequence), _) => sequence.tokens(),
            (None, Some(request)) => &request.prompt,
            (None, None) => unreachable!("a task has a request or a sequence"),
        }
    }

    /// The images among them.
    fn images(&self) -> &[SequenceImage] {
        match (&self.sequence, &self.request) {
            (Some(sequence), _) => &sequence.images,
            (None, Some(request)) => &request.images,
            (None, None) => &[],
        }
    }
}

/// Counts since the beginning, and how many there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequences in steps.
    pub running: usize,
    /// Sequences that wait.
    pub waiting: usize,
    /// Sequences that are remembered.
    pub remembered: usize,
    /// Steps made.
    pub steps: u64,
    /// Prompt tokens of admitted sequences.
    pub prompt_tokens: u64,
    /// Of these, how many were known.
    pub cached_tokens: u64,
    /// Tokens made.
    pub made_tokens: u64,
    /// Tokens proposed.
    pub proposed_tokens: u64,
    /// Of these, how many were right.
    pub guessed_tokens: u64,
    /// How often a sequence gave up its memory for others.
    pub preemptions: u64,
    /// Sequences that ended in any way.
    pub ended: u64,
}

/// Runs jobs on an engine.
pub struct Scheduler {
    engine: Arc<Engine>,
    options: SchedulerOptions,
    waiting: VecDeque<Task>,
    running: Vec<Task>,
    cache: PrefixCache,
    disk: Option<DiskCache>,
    guesser: Option<Guesser>,
    n_submitted: u64,
    counts: Counts,
}

impl Scheduler {
    /// One without jobs. Where its folder cannot be used, nothing is kept on the disk.
    pub fn new(engine: Arc<Engine>, options: SchedulerOptions) -> Scheduler {
        let cache = PrefixCache::new(options.max_remembered);
        let disk = options.disk.clone().and_then(|disk| DiskCache::open(disk).ok());
        Scheduler {
            engine,
            options,
            waiting: VecDeque::new(),
            running: Vec::new(),
            cache,
            disk,
            guesser: None,
            n_submitted: 0,
            counts: Counts::default(),
        }
    }

    /// Lets a smaller model, or a head that was made for this one, guess tokens too.
    pub fn with_draft(self, draft: Draft) -> Scheduler {
        let guesser = match draft {
            Draft::Model(engine) => Guesser::Model(Drafter::new(engine)),
            Draft::Head(eagle) => Guesser::Head(Head::new(eagle, &self.engine)),
        };
        Scheduler { guesser: Some(guesser), ..self }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What is going on.
    pub fn counts(&self) -> Counts {
        Counts {
            running: self.running.len(),
            waiting: self.waiting.len(),
            remembered: self.cache.len(),
            ..self.counts
        }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Takes a job. One that can never be computed, or for whom there is no place to wait, ends at once.
    pub fn submit(&mut self, job: Job, now: Duration) {
        let Job { request, tenant, priority, deadline, listener } = job;
        // Some of those who wait will run in the next step.
        let places = self.options.max_running.saturating_sub(self.running.len());
        let refused = match self.waiting.len() >= self.options.max_waiting.saturating_add(places) {
            true => Some(EngineError::Busy { waiting: self.waiting.len() }),
            false => self.engine.check(&request).err(),
        };
        let order = self.n_submitted;
        self.n_submitted += 1;
        let task = Task {
            sequence: None,
            request: Some(Box::new(request)),
            tenant,
            priority,
            deadline,
            listener,
            order,
            ngrams: Ngrams::default(),
            pace: Default::default(),
            guessed: (0, 0),
            draft_past: None,
            n_guessed: 0,
            left_at: None,
            submitted: now,
            begun: None,
            first_token: None,
            n_read: 0,
        };
        match refused {
            Some(error) => self.end(task, Err(error), now),
            None => self.wait(task),
        }
    }

    /// Puts a task among those that wait: by priority, then by its order.
    fn wait(&mut self, task: Task) {
        let key = |task: &Task| (task.priority, task.order);
        let at = self.waiting.partition_point(|other| key(other) <= key(&task));
        self.waiting.insert(at, task);
    }

    /// Computes one step; `clock` never goes back. Returns whether there is more to do.
    pub fn step(&mut self, clock: &dyn Fn() -> Duration) -> bool {
        let now = clock();
        self.drop_finished(now);
        self.admit(now);
        if self.running.is_empty() {
            return !self.waiting.is_empty();
        }
        self.propose();
        self.compute(clock);
        self.drop_finished(clock());
        !self.is_idle()
    }

    /// Ends everything.
    pub fn stop(&mut self, now: Duration) {
        for task in self.waiting.drain(..).chain(self.running.drain(..)).collect::<Vec<_>>() {
            self.end(task, Ok(FinishReason::Cancelled), now);
        }
    }

    /// Forgets what is remembered of finished sequences.
    pub fn forget(&mut self) {
        while self.cache.evict() {}
    }

    /// Lets those go who ended, whose time is over, or for whom nobody waits.
    fn drop_finished(&mut self, now: Duration) {
        let over = |task: &Task| match task.sequence.as_ref().and_then(|sequence| sequence.finish_reason()) {
            Some(reason) => Some(Ok(reason)),
            None if task.listener.is_gone() => Some(Ok(FinishReason::Cancelled)),
            None if task.deadline.is_some_and(|deadline| now >= deadline) => Some(Err(EngineError::Deadline)),
            None => None,
        };
        let mut i = 0;
        while i < self.running.len() {
            match over(&self.running[i]) {
                Some(result) => {
                    let task = self.running.remove(i);
                    self.end(task, result, now);
                }
                None => i += 1,
            }
        }
        let mut i = 0;
        while i < self.waiting.len() {
            match over(&self.waiting[i]).and_then(|result| Some((self.waiting.remove(i)?, result))) {
                Some((task, result)) => self.end(task, result, now),
                None => i += 1,
            }
        }
    }

    /// Tells the listener, and remembers what was computed.
    fn end(&mut self, task: Task, result: Result<FinishReason, EngineError>, now: Duration) {
        let Task {
            sequence,
            request,
            tenant,
            mut listener,
            begun,
            first_token,
            submitted,
            n_guessed,
            left_at,
            ..
        } = task;
        let begun_at = begun.unwrap_or(now);
        let first_at = first_token.unwrap_or(now);
        let of_sequence = |f: fn(&Sequence) -> usize| sequence.as_deref().map_or(0, f);
        self.counts.ended += 1;
        listener.ended(End {
            n_prompt: match &request {
                Some(request) => request.prompt.len(),
                None => of_sequence(Sequence::n_prompt),
            },
            n_cached: of_sequence(Sequence::n_reused),
            left_at,
            n_made: of_sequence(|sequence| sequence.completion().len()),
            n_guessed,
            waited: begun_at - submitted,
            prefill: first_at - begun_at,
            decode: now - first_at,
            result,
        });
        if let Some(sequence) = sequence {
            let past = sequence.into_past();
            if let Some(disk) = &self.disk {
                disk.store(&tenant, &past);
            }
            self.cache.insert(tenant, past);
        }
    }

    /// Gives waiting sequences places in the next step.
    fn admit(&mut self, now: Duration) {
        let mut i = 0;
        while i < self.waiting.len() && self.running.len() < self.options.max_running {
            let task = &self.waiting[i];
            let (ids, images) = (task.tokens(), task.images());
            // The last token is always computed: its logits choose the next one.
            let tokens = Tokens { ids: &ids[..ids.len() - 1], images };
            let tenant = &task.tenant;
            let (live, n_later) = self.among_running(tenant, tokens);
            let kept = self.cache.find(tenant, tokens);
            let known = [live, kept].into_iter().flatten().max_by_key(|known| known.past.tokens().len());
            let n_known = known.as_ref().map_or(0, |known| known.past.tokens().len());
            // Another reads a longer common beginning just now: it is worth waiting for.
            if n_later >= n_known + WORTH_WAITING {
                i += 1;
                continue;
            }
            if !self.make_room(ids.len() - n_known) {
                return;
            }
            let Some(mut task) = self.waiting.remove(i) else { return };
            let known = self.with_stored(&task, known);
            if self.begin(&mut task, known, now) {
                self.running.push(task);
            } else {
                self.end(task, Err(EngineError::Empty("the prompt")), now);
            }
        }
    }

    /// What is known of a task's tokens with what the disk knows beyond it. Files are read once, when it has a place.
    fn with_stored(&self, task: &Task, known: Option<Known>) -> Option<Known> {
        let Some(disk) = &self.disk else { return known };
        let ids = task.tokens();
        let mut more = known.as_ref().map_or_else(|| self.engine.empty_past(), |known| known.past.clone());
        match disk.extend(&task.tenant, &mut more, &ids[..ids.len() - 1]) {
            // Files tell what is there, not how it goes on.
            true => Some(Known { past: more, left_at: None }),
            false => known,
        }
    }

    /// Makes a sequence of a request, or gives a preempted one what is known of its tokens.
    fn begin(&mut self, task: &mut Task, known: Option<Known>, now: Duration) -> bool {
        task.begun.get_or_insert(now);
        let (past, left_at) = known.map_or((None, None), |known| (Some(known.past), known.left_at));
        if let Some(request) = task.request.take() {
            task.left_at = left_at;
            self.counts.prompt_tokens += request.prompt.len() as u64;
            let Ok(mut sequence) = self.engine.begin(Request { past, ..*request }) else { return false };
            self.counts.cached_tokens += sequence.n_reused() as u64;
            if let Some(Guesser::Head(head)) = &self.guesser {
                head.follow(&self.engine, &mut sequence);
            }
            task.sequence = Some(Box::new(sequence));
        } else if let (Some(sequence), Some(past)) = (&mut task.sequence, past) {
            sequence.remember(past);
        }
        true
    }

    /// The longest beginning of these tokens that a running sequence of the tenant knows, and the longest that one will
    /// know when its prompt is read.
    fn among_running(&self, tenant: &Tenant, tokens: Tokens) -> (Option<Known>, usize) {
        let (mut best, mut n_later): (Option<(usize, &Sequence)>, usize) = (None, 0);
        for task in self.running.iter().filter(|task| task.tenant == *tenant) {
            let Some(sequence) = task.sequence.as_deref() else { continue };
            let n = common_beginning(sequence.tokens(), tokens.ids);
            let known = n.min(sequence.n_computed());
            if best.is_none_or(|(most, _)| known > most) && known > 0 {
                best = Some((known, sequence));
            }
            if sequence.n_pending() > 1 {
                n_later = n_later.max(n);
            }
        }
        let past = best.filter(|(n, _)| *n >= WORTH_SHARING).map(|(_, sequence)| sequence.past());
        (past.map(|past| Known::of(past, tokens)), n_later)
    }

    /// Whether there is room for so many more tokens beside those who run, once what is remembered is forgotten as far as
    /// needed. Where nobody runs there always is: what can never fit was refused.
    fn make_room(&mut self, n_tokens: usize) -> bool {
        let needed = self.engine.blocks_for(n_tokens + 1);
        while self.engine.pool().blocks_free() < needed {
            if !self.cache.evict() {
                return self.running.is_empty();
            }
        }
        true
    }

    /// Guesses tokens: from what was said before, and by the smaller model or the head where that suggests nothing.
    fn propose(&mut self) {
        let may = |task: &Task| {
            let sequence = task.sequence.as_ref().filter(|sequence| sequence.n_pending() == 1);
            sequence.is_some_and(|sequence| !sequence.completion().is_empty())
        };
        let mut left = Vec::new();
        // What a step had no room for was not tried.
        self.running.iter_mut().for_each(|task| task.guessed = (0, 0));
        for (i, task) in self.running.iter_mut().enumerate().filter(|(_, task)| may(task)) {
            let Some(sequence) = &mut task.sequence else { continue };
            if self.options.ngrams {
                let draft = task.ngrams.propose(sequence.tokens(), task.pace[0].next());
                task.guessed = (0, draft.len());
                sequence.propose(draft);
            }
            if task.guessed.1 == 0 && self.guesser.is_some() {
                task.guessed = (1, task.pace[1].next());
                left.extend((task.guessed.1 > 0).then_some(i));
            }
        }
        match &self.guesser {
            Some(Guesser::Model(drafter)) => propose_by_model(drafter, &mut self.running, &left),
            Some(Guesser::Head(head)) => propose_by_head(head, &self.engine, &mut self.running),
            None => {}
        }
        self.counts.proposed_tokens += self.running.iter().map(|task| task.guessed.1 as u64).sum::<u64>();
    }

    fn compute(&mut self, clock: &dyn Fn() -> Duration) {
        let Scheduler { engine, running, counts, options, .. } = self;
        let decodes = |task: &&Task| task.sequence.as_ref().is_some_and(|sequence| sequence.n_pending() == 1);
        let step_tokens = match running.iter().filter(decodes).count() {
            0 => engine.step_tokens(),
            n => options.mixed_tokens.min(FEW_MIXED.max(n * MIXED_EACH)).min(engine.step_tokens()),
        };
        let (mut sequences, mut listeners) = (Vec::new(), Vec::new());
        for Task { sequence, listener, first_token, .. } in running.iter_mut() {
            sequences.extend(sequence.as_deref_mut());
            listeners.push((listener, first_token, 0usize));
        }
        let mut full = Vec::new();
        let mut failed = Vec::new();
        let result = engine.step_within(step_tokens, &mut sequences, |i, token, logits| {
            let (listener, first_token, n) = &mut listeners[i];
            match token {
                Ok(token) => {
                    first_token.get_or_insert_with(clock);
                    *n += 1;
                    match listener.token(token, logits) {
                        ControlFlow::Continue(()) => None,
                        ControlFlow::Break(reason) => Some(reason),
                    }
                }
                Err(error) if error.is_for_want_of_room() => {
                    full.push(i);
                    None
                }
                Err(error) => {
                    failed.push((i, error));
                    Some(FinishReason::Failed)
                }
            }
        });
        let now = clock();
        let made: Vec<usize> = listeners.into_iter().map(|(_, _, n)| n).collect();
        counts.steps += 1;
        for (task, n) in running.iter_mut().zip(made) {
            counts.made_tokens += n as u64;
            if n > 0 {
                let (which, n_guessed) = std::mem::take(&mut task.guessed);
                task.pace[which].learn(n_guessed, (n - 1).min(n_guessed));
                task.n_guessed += n - 1;
                counts.guessed_tokens += n as u64 - 1;
            }
            let Some(sequence) = &task.sequence else { continue };
            let n_read = sequence.n_computed().min(sequence.n_prompt());
            if n_read > task.n_read {
                task.n_read = n_read;
                task.listener.read(n_read, sequence.n_prompt());
            }
        }
        // From the last to the first, so that places stay right.
        for (i, error) in failed.into_iter().rev() {
            let task = self.running.remove(i);
            self.end(task, Err(error), now);
        }
        match result {
            Ok(()) if full.is_empty() => {}
            Ok(()) => self.give_up_memory(now),
            Err(error) if error.is_for_want_of_room() => self.give_up_memory(now),
            Err(error) => self.fail_all(error, now),
        }
    }

    /// Somebody found no room: what is remembered goes first, then the memory of whoever came last.
    fn give_up_memory(&mut self, now: Duration) {
        if self.cache.evict() {
            return;
        }
        let last =
            (0..self.running.len()).max_by_key(|i| (self.running[*i].priority, self.running[*i].order));
        let Some(last) = last else { return };
        if self.running.len() == 1 {
            // Alone it has all the memory there is.
            let task = self.running.remove(last);
            let error = EngineError::OutOfRoom { n_blocks: self.engine.pool().n_blocks() };
            return self.end(task, Err(error), now);
        }
        let mut task = self.running.remove(last);
        if let Some(sequence) = &mut task.sequence {
            sequence.forget();
        }
        self.counts.preemptions += 1;
        self.wait(task);
    }

    /// A pass failed for everybody, such as when the model's file was cut: all hear of it.
    fn fail_all(&mut self, error: EngineError, now: Duration) {
        let text = error.to_string();
        let mut first = Some(error);
        for task in std::mem::take(&mut self.running) {
            let error = first.take().unwrap_or_else(|| EngineError::Pass(text.clone()));
            self.end(task, Err(error), now);
        }
    }
}

/// Lets the smaller model continue these tasks.
fn propose_by_model(drafter: &Drafter, running: &mut [Task], which: &[usize]) {
    let pasts: Vec<_> = which.iter().map(|i| running[*i].draft_past.take()).collect();
    let asks = which.iter().zip(pasts).filter_map(|(i, past)| {
        let Task { sequence, guessed, .. } = &running[*i];
        Some(Ask { tokens: sequence.as_ref()?.tokens(), past, n: guessed.1 })
    });
    let drafts = drafter.propose(asks.collect());
    for (i, (draft, past)) in which.iter().zip(drafts) {
        let task = &mut running[*i];
        task.draft_past = past;
        task.guessed.1 = draft.len();
        if let Some(sequence) = &mut task.sequence {
            sequence.propose(&draft);
        }
    }
}

/// Lets the head continue those that are to be continued, and read on in the others.
fn propose_by_head(head: &Head, engine: &Engine, running: &mut [Task]) {
    let asked = running.iter_mut().filter_map(|task| {
        let n = if task.guessed.0 == 1 { task.guessed.1 } else { 0 };
        Some((task.sequence.as_deref_mut()?, n))
    });
    head.propose(engine, asked);
    for task in running.iter_mut().filter(|task| task.guessed.0 == 1) {
        task.guessed.1 = task.sequence.as_ref().map_or(0, |sequence| sequence.draft.len());
    }
}

/// Prompt tokens of a step beside few answers, and for each answer where there are more: a step with many answers takes
/// longer anyway, so that more prompt tokens delay it by the same part.
const FEW_MIXED: usize = 32;
const MIXED_EACH: usize = 8;
/// Tokens that must be known later before a sequence waits for them instead of computing them itself.
const WORTH_WAITING: usize = 64;
/// The shortest beginning that is taken from a running sequence.
const WORTH_SHARING: usize = 16;
