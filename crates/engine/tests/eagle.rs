//! An EAGLE-3 head that is right by construction: all its guesses are kept, which one row or token out of place would
//! end.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use puna_engine::sampling::{Sampler, SamplingParams};
use puna_engine::{
    Counts, Draft, End, Engine, EngineOptions, FinishReason, Job, Listener, Request, Scheduler,
    SchedulerOptions, Tenant,
};
use puna_model::names::{LayerPart, Part};
use puna_model::{Config, Eagle, Model, Weights};
use puna_tensor::{Activations, Bytes, Cpu, DType, Isa, ParamId, RopeLayout, Weight};

// A token is a pair of digits, each of which grows by one from token to token: after 20 of them the text repeats.
const A: usize = 4;
const B: usize = 5;
const DIM: usize = 32;
const VOCAB_SIZE: usize = 29;
/// The id of the pair (0, 0).
const FIRST: usize = 3;

fn token(place: usize) -> u32 {
    (FIRST + place % A * B + place % B) as u32
}

fn matrix(id: ParamId, [rows, cols]: [usize; 2], entries: &[(usize, usize, f32)]) -> Weight {
    let mut values = vec![0.0; rows * cols];
    entries.iter().for_each(|(row, col, value)| values[row * cols + col] += value);
    Weight::owned(id, rows, cols, values)
}

/// The digits of the id in a row: one in the first `A` columns, one in the next `B`.
fn digits(row: usize, id: usize, value: f32) -> [(usize, usize, f32); 2] {
    let pair = id - FIRST;
    [(row, pair / B, value), (row, A + pair % B, value)]
}

/// The logits' rows of these ids: the largest is that of the token after the one whose digits are seen.
fn output(ids: impl IntoIterator<Item = usize>) -> Vec<(usize, usize, f32)> {
    let before = |id: usize| {
        let pair = id - FIRST;
        FIRST + (pair / B + A - 1) % A * B + (pair % B + B - 1) % B
    };
    ids.into_iter().enumerate().flat_map(|(row, id)| digits(row, before(id), 20.0)).collect()
}

fn config(n_layers: usize) -> Config {
    Config {
        dim: DIM,
        n_layers,
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: DIM,
        ffn_dim: 32,
        vocab_size: VOCAB_SIZE,
        max_seq_len: 400,
        rope_layout: RopeLayout::HalfSplit,
        ..Config::default()
    }
}

fn embedding() -> Vec<(usize, usize, f32)> {
    (FIRST..FIRST + A * B).flat_map(|id| digits(id, id, 1.0)).collect()
}

/// A matrix of small whole numbers in blocks of 32 codes, whose factor is 1.
fn quantised(weight: &Weight) -> Weight {
    let values = weight.to_f32();
    let block =
        |values: &[f32]| [&[0x00, 0x3c][..], &values.iter().map(|x| *x as u8).collect::<Vec<_>>()].concat();
    let bytes: Vec<u8> = values.chunks_exact(32).flat_map(block).collect();
    Weight::stored(weight.id(), DType::Q8_0, weight.rows(), weight.cols(), Bytes::new(bytes)).unwrap()
}

/// Its layers add nothing: what enters them are the embedded tokens.
fn target(is_quantised: bool) -> Model {
    let weights = Weights::bind(&config(3), |id, part, shape| {
        let entries = match part {
            Part::TokEmbeddings => embedding(),
            Part::Output => {
                output(FIRST..FIRST + A * B).into_iter().map(|(row, col, x)| (row + FIRST, col, x)).collect()
            }
            _ if shape[0] == 1 => (0..shape[1]).map(|col| (0, col, 1.0)).collect(),
            _ => Vec::new(),
        };
        let weight = matrix(id, shape, &entries);
        let weight = if is_quantised && shape[0] > 1 { quantised(&weight) } else { weight };
        Ok::<_, std::convert::Infallible>(weight)
    });
    let Ok(weights) = weights;
    Model::new(config(3), weights)
}

/// A head that knows the first digit of the next token from the token that it is given, and the second from the hidden
/// states of the one before: what its layer makes of a row is the token's digits.
fn head() -> Eagle {
    let weights = Weights::bind(&config(1), |id, part, [rows, cols]| {
        let reads_both = matches!(part, Part::Layer(_, LayerPart::Wq | LayerPart::Wk | LayerPart::Wv));
        // A digit is 4 after a norm: two of 32 are not zero.
        let entries: Vec<(usize, usize, f32)> = match part {
            Part::TokEmbeddings => embedding(),
            Part::Output => {
                return Ok::<_, std::convert::Infallible>(matrix(id, [A * B, cols], &output(target_ids())));
            }
            // Each row attends to itself, or to others of the same token, whose values are the same.
            Part::Layer(_, LayerPart::Wq | LayerPart::Wk) => (0..A + B).map(|i| (i, i, 6.0)).collect(),
            Part::Layer(_, LayerPart::Wv) => {
                let first = (0..A).flat_map(|i| [(i, i, 0.25), (i, DIM + i, -0.25)]);
                let second =
                    (0..B).flat_map(|i| [(A + (i + 1) % B, DIM + A + i, 0.25), (A + i, DIM + A + i, -0.25)]);
                first.chain(second).collect()
            }
            Part::Layer(_, LayerPart::Wo) => (0..DIM).map(|i| (i, i, 1.0)).collect(),
            _ if rows == 1 => (0..cols).map(|col| (0, col, 1.0)).collect(),
            _ => Vec::new(),
        };
        Ok(matrix(id, [rows, if reads_both { 2 * cols } else { cols }], &entries))
    });
    let Ok(weights) = weights;
    let of_feature = |i: usize| if i < A { (i, i, 1.0) } else { (i, 2 * DIM + i, 1.0) };
    let fc: Vec<_> = (0..A + B).map(of_feature).collect();
    Eagle {
        decoder: Model::new(config(1), weights),
        fc: matrix(ParamId(100), [DIM, 3 * DIM], &fc),
        hidden_norm: Weight::owned(ParamId(101), 1, DIM, vec![1.0; DIM]),
        norm_before_residual: false,
        layers: [0, 1, 2],
        target_ids: Some(target_ids().map(|id| id as u32).collect()),
    }
}

/// The head's own ids count in the other direction.
fn target_ids() -> impl Iterator<Item = usize> {
    (FIRST..FIRST + A * B).rev()
}

struct Ear(Arc<Mutex<(Vec<u32>, Option<End>)>>);

impl Listener for Ear {
    fn token(&mut self, token: u32, _: &[f32]) -> ControlFlow<FinishReason> {
        self.0.lock().unwrap().0.push(token);
        ControlFlow::Continue(())
    }

    fn ended(&mut self, end: End) {
        self.0.lock().unwrap().1 = Some(end);
    }
}

/// Continues prompts of these lengths, which begin at different places of the text, by `n_new` tokens. Every second
/// answer is drawn. Returns the counts, and how many tokens of each prompt were known.
fn run(scheduler: &mut Scheduler, lens: &[usize], n_new: usize) -> (Counts, Vec<usize>) {
    let before = scheduler.counts();
    let clock = || Duration::ZERO;
    let heard: Vec<_> = lens
        .iter()
        .enumerate()
        .map(|(i, len)| {
            let temperature = [0.0, 0.7][i % 2];
            let params = SamplingParams { temperature, seed: Some(i as u64), ..SamplingParams::default() };
            let prompt = (i..i + len).map(token).collect();
            let request = Request {
                max_new_tokens: Some(n_new),
                ..Request::new(prompt, Sampler::new(&params).unwrap())
            };
            let heard = Arc::new(Mutex::default());
            let listener = Box::new(Ear(heard.clone()));
            let tenant = Tenant::default();
            scheduler.submit(Job { request, tenant, priority: 0, deadline: None, listener }, clock());
            heard
        })
        .collect();
    while scheduler.step(&clock) {}
    let known = heard.iter().zip(lens).enumerate().map(|(i, (heard, len))| {
        let (tokens, end) = &*heard.lock().unwrap();
        let want: Vec<u32> = (i + len..i + len + n_new).map(token).collect();
        assert_eq!(*tokens, want, "prompt {i} of {len}");
        end.as_ref().unwrap().n_cached
    });
    let known = known.collect();
    let after = scheduler.counts();
    let counts = Counts {
        steps: after.steps - before.steps,
        proposed_tokens: after.proposed_tokens - before.proposed_tokens,
        guessed_tokens: after.guessed_tokens - before.guessed_tokens,
        preemptions: after.preemptions - before.preemptions,
        ..after
    };
    (counts, known)
}

fn scheduler(options: EngineOptions, has_head: bool) -> Scheduler {
    let cpu = Arc::new(Cpu::new(Isa::best(), 1));
    let is_quantised = options.activations == Activations::Int8;
    let engine = Arc::new(Engine::new(Arc::new(target(is_quantised)), cpu, options).unwrap());
    let options = SchedulerOptions { ngrams: false, ..SchedulerOptions::default() };
    let scheduler = Scheduler::new(engine, options);
    if has_head { scheduler.with_draft(Draft::Head(Arc::new(head()))) } else { scheduler }
}

/// Tokens guessed in so many steps, of which all are right: 4, 6, 9, and 12 from then on.
fn tokens_in(n_steps: u64) -> u64 {
    [4, 6, 9].iter().chain(std::iter::repeat(&12)).take(n_steps as usize).sum()
}

/// With a head all guesses are right, of greedy answers and drawn ones, read in pieces of a prompt or in one, however
/// many.
#[test]
fn a_head_that_knows_the_text_is_always_right() {
    let n_new = 60;
    let (alone, _) = run(&mut scheduler(EngineOptions::default(), false), &[30, 50], n_new);
    assert_eq!((alone.steps, alone.proposed_tokens), (60, 0));
    let several = &[30, 2, 21, 77, 5][..];
    for (lens, step_tokens, n_prompt_steps, activations) in [
        (&[30][..], 512, 1, Activations::F32),
        (&[2], 512, 1, Activations::F32),
        (&[150], 64, 3, Activations::F32),
        (several, 512, 1, Activations::F32),
        // Weights of the model in eight bits.
        (several, 512, 1, Activations::Int8),
    ] {
        let options = EngineOptions { step_tokens, activations, ..EngineOptions::default() };
        let (counts, _) = run(&mut scheduler(options, true), lens, n_new);
        let n_steps = counts.steps - n_prompt_steps;
        // The first token is the prompt's, and one of each step is the model's own.
        let n = lens.len() as u64;
        assert_eq!(n_steps, 6, "{lens:?}: {counts:?}");
        assert_eq!(counts.proposed_tokens, n * tokens_in(n_steps), "{lens:?}");
        assert_eq!(counts.guessed_tokens, n * (n_new as u64 - 1 - n_steps), "{lens:?}");
    }
}

/// What was known before has no hidden states, and what a sequence gave up is read again.
#[test]
fn a_head_goes_on_after_what_was_known_and_what_was_forgotten() {
    let mut remembers = scheduler(EngineOptions::default(), true);
    let lens = [70, 40];
    let (first, _) = run(&mut remembers, &lens, 60);
    let (second, known) = run(&mut remembers, &lens, 60);
    assert_eq!(known, [69, 39]);
    assert_eq!((second.steps, second.guessed_tokens), (first.steps, first.guessed_tokens));

    let block = target(false).kv_layout(DType::F32).block_bytes();
    let options = EngineOptions { kv_bytes: Some(3 * 4 * block), ..EngineOptions::default() };
    let (counts, _) = run(&mut scheduler(options, true), &[60, 62, 50], 130);
    assert!(counts.preemptions > 0, "{counts:?}");
    // Nearly all but one in each step of each sequence.
    assert!(counts.guessed_tokens as f64 > 0.8 * 3.0 * 130.0, "{counts:?}");
}
