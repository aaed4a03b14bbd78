//! The scheduler under random schedules: arrivals, people who leave, deadlines, full pools, guesses. Whatever happens, each
//! sequence ends exactly once, no block is lost, and each answer has the tokens that it has alone.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use puna_engine::sampling::{Sampler, SamplingParams};
use puna_engine::{
    Constraint, DiskCacheOptions, Draft, End, Engine, EngineError, EngineOptions, FinishReason, Job,
    Listener, Request, Scheduler, SchedulerOptions, Tenant,
};
use puna_model::names::{LayerPart, Part};
use puna_model::{Config, Eagle, LayerKind, Model, Weights};
use puna_tensor::{Cpu, DType, Isa, ParamId, RopeLayout, Weight};

const VOCAB_SIZE: usize = 29;
const MAX_SEQ_LEN: usize = 330;
/// The longest answer.
const MAX_NEW: usize = 24;

/// Llamas of two layers with random weights; `chunk` is what one of them attends to.
fn model(chunk: Option<usize>) -> Model {
    model_of(chunk, 7)
}

fn model_of(chunk: Option<usize>, seed: u64) -> Model {
    let kinds = [
        LayerKind { chunked: true, ..LayerKind::default() },
        LayerKind { no_rope: true, ..LayerKind::default() },
    ];
    let config = Config {
        dim: 16,
        n_layers: 2,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 8,
        ffn_dim: 24,
        vocab_size: VOCAB_SIZE,
        max_seq_len: MAX_SEQ_LEN,
        rope_layout: RopeLayout::HalfSplit,
        layer_kinds: chunk.map_or_else(Vec::new, |_| kinds.to_vec()),
        attention_chunk: chunk,
        ..Config::default()
    };
    let mut random = Random(seed);
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        let value = |random: &mut Random| (random.next() >> 40) as f32 / (1u32 << 24) as f32 - 0.5;
        let values =
            (0..rows * cols).map(|_| if rows == 1 { 1.0 } else { 1.5 * value(&mut random) }).collect();
        Ok::<_, std::convert::Infallible>(Weight::owned(id, rows, cols, values))
    });
    let Ok(weights) = weights;
    Model::new(config, weights)
}

/// A head with random weights for such a model.
fn head() -> Eagle {
    let config = model(None).config;
    let decoder = Config { n_layers: 1, ..config.clone() };
    let mut random = Random(9);
    let mut weight = |id, [rows, cols]: [usize; 2]| {
        let value = |random: &mut Random| (random.next() >> 40) as f32 / (1u32 << 24) as f32 - 0.5;
        Weight::owned(id, rows, cols, (0..rows * cols).map(|_| 1.5 * value(&mut random)).collect())
    };
    let weights = Weights::bind(&decoder, |id, part, [rows, cols]| {
        let reads_both = matches!(part, Part::Layer(_, LayerPart::Wq | LayerPart::Wk | LayerPart::Wv));
        Ok::<_, std::convert::Infallible>(weight(id, [rows, if reads_both { 2 * cols } else { cols }]))
    });
    let Ok(weights) = weights;
    Eagle {
        fc: weight(ParamId(100), [config.dim, 3 * config.dim]),
        hidden_norm: weight(ParamId(101), [1, config.dim]),
        norm_before_residual: false,
        layers: [0, 1, 1],
        target_ids: None,
        decoder: Model::new(decoder, weights),
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ self.0 >> 29
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What a listener heard.
#[derive(Default)]
struct Heard {
    tokens: Vec<u32>,
    ends: Vec<Result<FinishReason, EngineError>>,
    n_read: usize,
}

struct Ear {
    heard: Arc<Mutex<Heard>>,
    gone: Arc<AtomicBool>,
    /// Ends the answer after so many tokens, as a stop string does.
    stop_after: Option<usize>,
}

impl Listener for Ear {
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn read(&mut self, n_done: usize, n_total: usize) {
        let mut heard = self.heard.lock().unwrap();
        assert!(n_done > heard.n_read && n_done <= n_total);
        heard.n_read = n_done;
    }

    fn token(&mut self, token: u32, logits: &[f32]) -> ControlFlow<FinishReason> {
        assert_eq!(logits.len(), VOCAB_SIZE);
        let mut heard = self.heard.lock().unwrap();
        assert!(heard.ends.is_empty(), "nothing comes after the end");
        heard.tokens.push(token);
        match self.stop_after {
            Some(n) if heard.tokens.len() >= n => ControlFlow::Break(FinishReason::StopString),
            _ => ControlFlow::Continue(()),
        }
    }

    fn ended(&mut self, end: End) {
        let mut heard = self.heard.lock().unwrap();
        assert!(end.n_made >= heard.tokens.len() || end.n_made == 0);
        assert!(end.n_cached <= end.n_prompt && end.n_guessed <= end.n_made);
        // What it left is known up to there, but for chunks that are computed again from their beginning.
        assert!(end.left_at.is_none_or(|at| end.n_cached <= at && at < end.n_prompt));
        heard.ends.push(end.result);
    }
}

/// Forbids every third token, others after each.
struct EveryThird {
    n_accepted: u32,
    words: [u32; 1],
    /// How often it was asked beside a pass.
    n_beside: Arc<AtomicUsize>,
}

impl EveryThird {
    fn allows(&self, token: u32) -> bool {
        !(token + self.n_accepted).is_multiple_of(3)
    }
}

impl Constraint for EveryThird {
    fn allowed(&mut self) -> Result<&[u32], String> {
        let is_beside = std::thread::current().name() == Some("mask");
        self.n_beside.fetch_add(usize::from(is_beside), Ordering::Relaxed);
        self.words =
            [(0..VOCAB_SIZE as u32).filter(|id| self.allows(*id)).fold(0, |word, id| word | 1 << id)];
        Ok(&self.words)
    }

    fn accept(&mut self, token: u32) -> Result<(), String> {
        assert!(self.allows(token));
        self.n_accepted += 1;
        Ok(())
    }
}

/// A prompt and how its answer is chosen.
struct Question {
    prompt: Vec<u32>,
    params: SamplingParams,
    /// Where its answer is held to a form: how often that was asked beside a pass.
    form: Option<Arc<AtomicUsize>>,
    /// Its answer, alone.
    answer: Vec<u32>,
}

/// Questions of which several begin alike, some of them with another's whole prompt and answer.
fn questions(engine: &Engine) -> Vec<Question> {
    let mut random = Random(3);
    let mut text = |n: usize| -> Vec<u32> { (0..n).map(|_| random.below(VOCAB_SIZE) as u32).collect() };
    let beginnings = [text(5), text(64), text(130), text(200)];
    let mut questions: Vec<Question> = Vec::new();
    for i in 0..24 {
        let mut prompt = beginnings[i % 4].clone();
        if i >= 16 {
            let earlier = &questions[i - 16];
            prompt = [&earlier.prompt[..], &earlier.answer[..i]].concat();
        }
        prompt.extend(text([1, 7, 40][i % 3]));
        // Some at temperature 0 and some with repetitions, which guesses find.
        let temperature = [0.0, 0.9, 0.3][i % 3];
        let params = SamplingParams { temperature, seed: Some(i as u64), ..SamplingParams::default() };
        let form = (i % 5 == 2).then(Arc::default);
        let mut question = Question { prompt, params, form, answer: Vec::new() };
        let mut sequence = engine.begin(request(&question, MAX_NEW)).unwrap();
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence], |_, token| assert!(token.is_ok())).unwrap();
        }
        question.answer = sequence.completion().to_vec();
        questions.push(question);
    }
    questions
}

fn request(question: &Question, max_new_tokens: usize) -> Request {
    let Question { prompt, params, form, .. } = question;
    let sampler = Sampler::new(params).unwrap();
    let constraint = form
        .clone()
        .map(|n_beside| Box::new(EveryThird { n_accepted: 0, words: [0], n_beside }) as Box<dyn Constraint>);
    Request { max_new_tokens: Some(max_new_tokens), constraint, ..Request::new(prompt.clone(), sampler) }
}

/// What schedules did, to see that they did something of everything.
#[derive(Default)]
struct Seen {
    whole: usize,
    left: usize,
    late: usize,
    stopped: usize,
    refused: usize,
    out_of_room: usize,
    preemptions: u64,
    cached: u64,
    guessed: u64,
    guessed_by_head: u64,
}

/// What all schedules have in common.
struct Stage<'a> {
    model: Arc<Model>,
    /// What may guess for it.
    draft: Arc<Model>,
    head: Arc<Eagle>,
    cpu: Arc<Cpu>,
    questions: Vec<Question>,
    folder: &'a Path,
}

/// One random schedule.
fn run_schedule(stage: &Stage, seed: u64, seen: &mut Seen) {
    let Stage { model, draft, head, cpu, questions, folder } = stage;
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let block = model.kv_layout(DType::F32).block_bytes();
    let kv_bytes = [None, Some(10 * block), Some(16 * block), Some(40 * block)][random.below(4)];
    let options =
        EngineOptions { kv_bytes, step_tokens: [16, 64, 512][random.below(3)], ..EngineOptions::default() };
    let engine = Arc::new(Engine::new(model.clone(), cpu.clone(), options).unwrap());
    let has_ngrams = random.chance(60);
    let mut scheduler = Scheduler::new(
        engine.clone(),
        SchedulerOptions {
            max_running: 1 + random.below(5),
            max_waiting: 1 + random.below(6),
            mixed_tokens: [4, 32, 128][random.below(3)],
            max_remembered: [0, 2, 100][random.below(3)],
            ngrams: has_ngrams,
            disk: random.chance(5).then(|| DiskCacheOptions {
                folder: folder.to_path_buf(),
                max_bytes: [10_000, 1 << 20][random.below(2)],
                fingerprint: Vec::new(),
            }),
        },
    );
    let has_head = random.chance(15);
    if has_head {
        scheduler = scheduler.with_draft(Draft::Head(head.clone()));
    } else if random.chance(25) {
        // One that is often wrong, and the same model, which is always right where nothing is drawn.
        let other = if random.chance(50) { model } else { draft };
        let kv_bytes = random.chance(30).then_some(6 * block);
        let options = EngineOptions { kv_bytes, ..EngineOptions::default() };
        let engine = Engine::new(other.clone(), cpu.clone(), options).unwrap();
        scheduler = scheduler.with_draft(Draft::Model(Arc::new(engine)));
    }
    let clock = std::cell::Cell::new(Duration::ZERO);
    let now = || {
        clock.set(clock.get() + Duration::from_millis(1));
        clock.get()
    };
    let n_jobs = 2 + random.below(7);
    let mut jobs = Vec::new();
    let mut n_steps = 0;
    while jobs.len() < n_jobs || !scheduler.is_idle() {
        n_steps += 1;
        assert!(n_steps < 5_000, "schedule {seed} does not end");
        if jobs.len() < n_jobs && random.chance(30) {
            let question = random.below(questions.len());
            let (heard, gone) = (Arc::new(Mutex::new(Heard::default())), Arc::new(AtomicBool::new(false)));
            let stop_after = random.chance(20).then(|| 1 + random.below(MAX_NEW));
            let max_new = 1 + random.below(MAX_NEW);
            let ear = Ear { heard: heard.clone(), gone: gone.clone(), stop_after };
            let deadline =
                random.chance(10).then(|| clock.get() + Duration::from_millis(random.below(60) as u64));
            let job = Job {
                request: request(&questions[question], max_new),
                tenant: Tenant(vec![random.below(2) as u8]),
                priority: random.below(3) as i32 / 2,
                deadline,
                listener: Box::new(ear),
            };
            scheduler.submit(job, now());
            jobs.push((question, max_new, stop_after, heard, gone));
        }
        if !jobs.is_empty() && random.chance(4) {
            jobs[random.below(jobs.len())].4.store(true, Ordering::Relaxed);
        }
        if random.chance(1) {
            scheduler.forget();
        }
        scheduler.step(&now);
        assert!(engine.pool().blocks_used() <= engine.pool().n_blocks());
    }
    for (question, max_new, stop_after, heard, gone) in jobs {
        let heard = heard.lock().unwrap();
        let want = &questions[question].answer;
        assert_eq!(heard.tokens, want[..heard.tokens.len()], "schedule {seed}, question {question}");
        assert_eq!(heard.ends.len(), 1, "schedule {seed}: a sequence ends once");
        let whole = stop_after.unwrap_or(max_new).min(max_new).min(want.len());
        match &heard.ends[0] {
            Ok(FinishReason::Length) => {
                seen.whole += 1;
                assert_eq!(heard.tokens.len(), max_new.min(want.len()));
            }
            Ok(FinishReason::StopString) => {
                seen.stopped += 1;
                assert_eq!(heard.tokens.len(), whole);
            }
            Ok(FinishReason::Cancelled) => {
                seen.left += 1;
                assert!(gone.load(Ordering::Relaxed));
            }
            Err(EngineError::Deadline) => seen.late += 1,
            Err(EngineError::Busy { .. } | EngineError::NoMemory { .. }) => seen.refused += 1,
            Err(EngineError::OutOfRoom { .. }) => seen.out_of_room += 1,
            other => panic!("schedule {seed}: {other:?}"),
        }
    }
    let counts = scheduler.counts();
    seen.preemptions += counts.preemptions;
    seen.cached += counts.cached_tokens;
    seen.guessed += counts.guessed_tokens;
    seen.guessed_by_head += if has_head && !has_ngrams { counts.guessed_tokens } else { 0 };
    assert_eq!((counts.running, counts.waiting, counts.ended), (0, 0, n_jobs as u64));
    scheduler.forget();
    // What waits to be written has blocks too.
    drop(scheduler);
    assert_eq!(engine.pool().blocks_used(), 0, "schedule {seed}: blocks were lost");
}

fn run_schedules(chunk: Option<usize>, seeds: std::ops::Range<u64>) {
    let (model, cpu) = (Arc::new(model(chunk)), Arc::new(Cpu::new(Isa::best(), 1)));
    let draft = Arc::new(model_of(None, 8));
    let head = Arc::new(head());
    let alone = Engine::new(model.clone(), cpu.clone(), EngineOptions::default()).unwrap();
    let questions = questions(&alone);
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Seen::default();
    let stage = Stage { model, draft, head, cpu, questions, folder: folder.path() };
    for seed in seeds {
        run_schedule(&stage, seed, &mut seen);
    }
    let Seen { whole, left, late, stopped, refused, out_of_room, .. } = seen;
    let Seen { preemptions, cached, guessed, guessed_by_head, .. } = seen;
    println!(
        "{whole} whole, {stopped} stopped, {left} left, {late} late, {refused} refused, {out_of_room} out of room; \
         {preemptions} preemptions, {cached} tokens known, {guessed} guessed, {guessed_by_head} of them by the head"
    );
    let beside: usize = stage
        .questions
        .iter()
        .filter_map(|question| question.form.as_ref())
        .map(|n| n.load(Ordering::Relaxed))
        .sum();
    let counts = [preemptions, cached, guessed, guessed_by_head].map(|n| n as usize);
    let all = [&[whole, left, late, stopped, refused, beside][..], &counts].concat();
    assert!(all.iter().all(|n| *n > 0), "everything happens: {all:?}");
}

#[test]
fn random_schedules_lose_and_change_nothing() {
    run_schedules(None, 0..8_000);
}

#[test]
fn random_schedules_of_chunked_layers_lose_and_change_nothing() {
    run_schedules(Some(48), 0..2_000);
}

/// What was said is computed once: by whoever comes first, for all who wait for it.
#[test]
fn what_begins_alike_is_computed_once() {
    let (model, cpu) = (Arc::new(model(None)), Arc::new(Cpu::new(Isa::best(), 1)));
    let engine = Arc::new(
        Engine::new(model, cpu, EngineOptions { step_tokens: 32, ..EngineOptions::default() }).unwrap(),
    );
    let questions = questions(&engine);
    let mut scheduler = Scheduler::new(engine, SchedulerOptions::default());
    let clock = || Duration::ZERO;
    let heard: HashMap<usize, Arc<Mutex<Heard>>> = [3, 7, 11]
        .into_iter()
        .map(|i| {
            let heard = Arc::new(Mutex::new(Heard::default()));
            let ear = Ear { heard: heard.clone(), gone: Arc::default(), stop_after: None };
            assert!(questions[i].prompt.len() > 200);
            let request = request(&questions[i], MAX_NEW);
            let tenant = Tenant::default();
            scheduler.submit(
                Job { request, tenant, priority: 0, deadline: None, listener: Box::new(ear) },
                clock(),
            );
            (i, heard)
        })
        .collect();
    while scheduler.step(&clock) {}
    for (i, heard) in heard {
        assert_eq!(heard.lock().unwrap().tokens, questions[i].answer);
    }
    // Two of three have the first 200 tokens from the third, but for the last of its pieces.
    assert!(scheduler.counts().cached_tokens >= 300, "{:?}", scheduler.counts());
}

/// What one scheduler computed, another finds on the disk: only its own tenant's, only of the same model, and only what is
/// not damaged.
#[test]
fn a_disk_keeps_what_was_computed() {
    let (model, cpu) = (Arc::new(model(None)), Arc::new(Cpu::new(Isa::best(), 1)));
    let engine = Arc::new(Engine::new(model, cpu, EngineOptions::default()).unwrap());
    let questions = questions(&engine);
    let folder = tempfile::tempdir().unwrap();
    let ask = |fingerprint: &str, tenant: u8, max_bytes: u64| {
        let disk = DiskCacheOptions {
            folder: folder.path().to_owned(),
            max_bytes,
            fingerprint: fingerprint.as_bytes().to_vec(),
        };
        let options = SchedulerOptions { disk: Some(disk), ..SchedulerOptions::default() };
        let mut scheduler = Scheduler::new(engine.clone(), options);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let ear = Ear { heard: heard.clone(), gone: Arc::default(), stop_after: None };
        let (request, listener) = (request(&questions[3], MAX_NEW), Box::new(ear));
        let tenant = Tenant(vec![tenant]);
        scheduler.submit(Job { request, tenant, priority: 0, deadline: None, listener }, Duration::ZERO);
        while scheduler.step(&|| Duration::ZERO) {}
        assert_eq!(heard.lock().unwrap().tokens, questions[3].answer);
        scheduler.counts().cached_tokens
    };
    let n_files = || std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(ask("a", 1, 1 << 30), 0);
    let stored = n_files();
    // All whole blocks of the 201 tokens of the prompt and those of its answer that are computed.
    assert_eq!(stored, (questions[3].prompt.len() + MAX_NEW - 1) / 64);
    let known = ask("a", 1, 1 << 30);
    assert_eq!(known, (questions[3].prompt.len() as u64 - 1) / 64 * 64);
    assert_eq!(n_files(), stored);
    assert_eq!((ask("b", 1, 1 << 30), ask("a", 2, 1 << 30)), (0, 0));
    // A damaged file is as if it were not there, and is written anew.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    for n_sound in 0..=known / 64 {
        assert_eq!(ask("a", 1, 1 << 30), n_sound * 64);
    }
    // There is a limit.
    ask("a", 1, 1);
    ask("c", 1, 1);
    ask("c", 1, 1);
    assert!(n_files() <= stored, "{}", n_files());
}
