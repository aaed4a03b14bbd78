//! Fast paths against slow ones: several sequences in a step against one, prompts in pieces against whole, a
//! reused past against none. All on a tiny random model, to the bit.

use std::ops::ControlFlow;
use std::sync::Arc;

use puna_engine::sampling::{Sampler, SamplingParams};
use puna_engine::{
    Engine, EngineError, EngineOptions, FinishReason, Past, Pooling, Request, Sequence, SequenceImage, Tokens,
};
use puna_model::{Config, LoadOptions, Model, Weights};
use puna_tensor::{Activations, Cpu, DType, Isa, RopeLayout, Weight};

const VOCAB_SIZE: usize = 61;
const MAX_SEQ_LEN: usize = 96;

/// A model of two layers whose weights come from a fixed sequence.
fn model() -> Model {
    let config = Config {
        dim: 32,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 8,
        ffn_dim: 48,
        vocab_size: VOCAB_SIZE,
        max_seq_len: MAX_SEQ_LEN,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_layout: RopeLayout::HalfSplit,
        tied: false,
        experts: Default::default(),
        ..Config::default()
    };
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    };
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        let values = (0..rows * cols).map(|_| if rows == 1 { 1.0 } else { random() }).collect();
        Ok::<_, std::convert::Infallible>(Weight::owned(id, rows, cols, values))
    });
    let Ok(weights) = weights;
    Model::new(config, weights)
}

fn engine_with(options: EngineOptions) -> Engine {
    Engine::new(Arc::new(model()), Arc::new(Cpu::new(Isa::best(), 2)), options).unwrap()
}

fn engine() -> Engine {
    engine_with(EngineOptions::default())
}

fn prompt(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (seed.wrapping_mul(31) + i * i * 7 + i) % VOCAB_SIZE as u32).collect()
}

fn request(prompt: &[u32], max_new_tokens: usize) -> Request {
    let params = SamplingParams { seed: Some(5), temperature: 0.9, ..SamplingParams::default() };
    Request {
        images: Vec::new(),
        prompt: prompt.to_vec(),
        sampler: Sampler::new(&params).unwrap(),
        stop_ids: vec![],
        max_new_tokens: Some(max_new_tokens),
        past: None,
        constraint: None,
    }
}

/// Runs one sequence to its end.
fn finish(engine: &Engine, mut sequence: Sequence) -> Sequence {
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence], |_, token| assert!(token.is_ok())).unwrap();
    }
    sequence
}

fn completion(engine: &Engine, request: Request) -> Vec<u32> {
    finish(engine, engine.begin(request).unwrap()).completion().to_vec()
}

#[test]
fn a_batch_yields_what_each_sequence_yields_alone() {
    let prompts = [prompt(1, 40), prompt(2, 1), prompt(3, 17), prompt(4, 5)];
    let whole = engine();
    let alone: Vec<_> = prompts.iter().map(|prompt| completion(&whole, request(prompt, 20))).collect();
    for step_tokens in [1, 4, 7, 1000] {
        let engine = engine_with(EngineOptions { step_tokens, ..EngineOptions::default() });
        let mut batch: Vec<_> =
            prompts.iter().map(|prompt| engine.begin(request(prompt, 20)).unwrap()).collect();
        let mut streamed = vec![Vec::new(); batch.len()];
        while batch.iter().any(|sequence| sequence.finish_reason().is_none()) {
            let mut borrowed: Vec<_> = batch.iter_mut().collect();
            engine.step(&mut borrowed, |i, token| streamed[i].push(token.unwrap())).unwrap();
        }
        assert_eq!(streamed, alone, "{step_tokens} tokens in a step");
        assert!(batch.iter().all(|sequence| sequence.finish_reason() == Some(FinishReason::Length)));
    }
}

#[test]
fn sequences_may_join_and_leave() {
    let engine = engine();
    let (first, second) = (prompt(1, 9), prompt(2, 12));
    let alone = [completion(&engine, request(&first, 6)), completion(&engine, request(&second, 15))];
    let mut a = engine.begin(request(&first, 6)).unwrap();
    engine.step(&mut [&mut a], |_, token| assert!(token.is_ok())).unwrap();
    engine.step(&mut [&mut a], |_, token| assert!(token.is_ok())).unwrap();
    let mut b = engine.begin(request(&second, 15)).unwrap();
    while b.finish_reason().is_none() {
        engine.step(&mut [&mut a, &mut b], |_, token| assert!(token.is_ok())).unwrap();
    }
    assert_eq!([a.completion(), b.completion()], [&alone[0][..], &alone[1][..]]);
}

/// Where the pool of blocks is full, the sequence that needs one waits, and nobody else notices; it goes on
/// when there is room, with the tokens that it makes alone.
#[test]
fn a_full_pool_concerns_one_sequence() {
    let alone = engine();
    let (first, second) = (prompt(1, 50), prompt(2, 60));
    let want = [completion(&alone, request(&first, 10)), completion(&alone, request(&second, 20))];
    // Two layers: a block each for the first sequence and the second, and one more for one of them.
    let block = alone.model().kv_layout(DType::F32).block_bytes();
    let engine = engine_with(EngineOptions { kv_bytes: Some(5 * block), ..EngineOptions::default() });
    let mut a = engine.begin(request(&first, 10)).unwrap();
    let mut b = engine.begin(request(&second, 20)).unwrap();
    let mut n_refused = 0;
    while a.finish_reason().is_none() {
        let mut refuse = |i, token: Result<u32, EngineError>| match token {
            Ok(_) => (),
            Err(error) => {
                let fact = "keys and values need 2 more blocks of the cache, but 1 of 5 are free";
                assert!(i == 1 && error.to_string().starts_with(fact), "{error}");
                n_refused += 1;
            }
        };
        engine.step(&mut [&mut a, &mut b], &mut refuse).unwrap();
    }
    assert!(n_refused > 0 && b.finish_reason().is_none() && b.n_computed() == 64);
    // Alone it cannot go on either while the other keeps its blocks, and is told so instead of waiting forever.
    assert_eq!((engine.blocks_needed(&b), engine.pool().blocks_free()), (2, 1));
    let error = engine.step(&mut [&mut a, &mut b], |_, _| panic!("nobody goes on")).unwrap_err();
    assert!(matches!(error, EngineError::Model(puna_model::ModelError::PoolFull(_))), "{error}");
    assert_eq!((a.completion(), engine.pool().blocks_used()), (&want[0][..], 4));
    drop(a);
    assert_eq!(engine.pool().blocks_used(), 2);
    let b = finish(&engine, b);
    assert_eq!((b.completion(), engine.pool().blocks_used()), (&want[1][..], 4));
    // A fork shares all blocks.
    let past = b.into_past();
    let fork = past.clone();
    assert_eq!((fork.bytes() / block, engine.pool().blocks_used()), (4, 4));
    drop((past, fork));
    assert_eq!(engine.pool().blocks_used(), 0);
}

/// What a pool could not hold if it were empty is refused before anything is computed.
#[test]
fn what_memory_can_never_hold_is_refused() {
    let block = engine().model().kv_layout(DType::F32).block_bytes();
    let engine = engine_with(EngineOptions { kv_bytes: Some(3 * block), ..EngineOptions::default() });
    assert!(engine.begin(request(&prompt(1, 64), 1)).is_ok());
    let error = engine.begin(request(&prompt(1, 65), 1)).err().expect("two layers have two blocks each");
    match error {
        EngineError::NoMemory { n_tokens: 65, n_bytes, max_bytes, .. } => {
            assert_eq!((n_bytes, max_bytes), (4 * block, 3 * block));
        }
        other => panic!("{other}"),
    }
    assert!(engine.check_memory([64], "the test").is_ok());
    let error = engine.check_memory([10, 60], "the test").unwrap_err().to_string();
    assert!(error.contains("keys and values of 70 tokens"), "{error}");
    assert_eq!(engine.pool().blocks_used(), 0);
}

#[test]
fn a_reused_past_changes_nothing() {
    let engine = engine();
    let first = prompt(1, 30);
    let past = finish(&engine, engine.begin(request(&first, 10)).unwrap()).into_past();
    assert_eq!(past.tokens().len(), 39); // The last token was chosen, not computed.

    let same = first.clone();
    let longer = [past.tokens(), &prompt(9, 20)].concat();
    let other_end = [&first[..21], &prompt(7, 9)].concat();
    let shorter = first[..12].to_vec();
    let unrelated = vec![60, 2, 3];
    for (prompt, n_reused) in [(same, 29), (longer, 39), (other_end, 21), (shorter, 11), (unrelated, 0)] {
        let reusing = Request { past: Some(past.clone()), ..request(&prompt, 12) };
        let sequence = engine.begin(reusing).unwrap();
        assert_eq!(sequence.n_reused(), n_reused, "{prompt:?}");
        let got = finish(&engine, sequence);
        assert_eq!(got.completion(), completion(&engine, request(&prompt, 12)));
    }
}

/// What sleeps gives back what passes computed in, and copies of weights, and says the same afterwards.
#[test]
fn sleep_changes_nothing() {
    let stories = std::path::Path::new("../puna/assets/stories.gguf");
    let model = Model::load(stories, &LoadOptions::default()).unwrap();
    let repack_bytes = model.weights.repack_bytes(Activations::Int8);
    assert!(repack_bytes > 0);
    let options = EngineOptions { activations: Activations::Int8, repack_bytes, ..EngineOptions::default() };
    let engine = Engine::new(Arc::new(model), Arc::new(Cpu::new(Isa::best(), 2)), options).unwrap();
    let ask = |past| completion(&engine, Request { past, ..request(&[1, 403, 407, 261], 40) });
    let first = ask(None);
    let mut past = engine.empty_past();
    engine.extend(&mut past, &[1, 403, 407][..]).unwrap();
    assert!(engine.workspace_bytes() > 0 && engine.workspace_bytes() <= engine.pass_bytes(64));
    for _ in 0..2 {
        engine.sleep();
        assert_eq!((engine.workspace_bytes(), past.tokens().len()), (0, 3));
        assert_eq!(ask(Some(past.clone())), first);
    }
}

#[test]
fn reasons_to_end() {
    let engine = engine();
    let prompt = prompt(3, 10);
    let ids = completion(&engine, request(&prompt, 20));

    let stop = ids[7];
    let n = ids.iter().position(|id| *id == stop).unwrap() + 1;
    let stopped =
        finish(&engine, engine.begin(Request { stop_ids: vec![stop], ..request(&prompt, 20) }).unwrap());
    assert_eq!(
        (stopped.completion(), stopped.finish_reason()),
        (&ids[..n], Some(FinishReason::StopId(stop)))
    );

    let none = engine.begin(request(&prompt, 0)).unwrap();
    assert_eq!((none.completion().len(), none.finish_reason()), (0, Some(FinishReason::Length)));

    let endless =
        finish(&engine, engine.begin(Request { max_new_tokens: None, ..request(&prompt, 0) }).unwrap());
    assert_eq!((endless.tokens().len(), endless.finish_reason()), (MAX_SEQ_LEN, Some(FinishReason::Context)));

    let mut cancelled = engine.begin(request(&prompt, 20)).unwrap();
    cancelled.finish(FinishReason::Cancelled);
    engine.step(&mut [&mut cancelled], |_, _| panic!("an ended sequence makes no tokens")).unwrap();
    assert_eq!(cancelled.n_computed(), 0);
}

#[test]
fn what_does_not_fit_is_refused_with_both_numbers() {
    let engine = engine_with(EngineOptions { max_seq_len: Some(16), ..EngineOptions::default() });
    let refused = |prompt: &[u32]| engine.begin(request(prompt, 4)).err().unwrap().to_string();
    let long = refused(&prompt(1, 17));
    assert!(long.contains("17 tokens") && long.contains("context has 16") && long.contains("96"), "{long}");
    let full = refused(&prompt(1, 16));
    assert!(full.contains("16 tokens") && full.contains("no room"), "{full}");
    assert!(refused(&[]).contains("empty"));
    let outside = refused(&[1, VOCAB_SIZE as u32]);
    assert!(
        outside.contains("token id 61 at position 1") && outside.contains("vocabulary of 61"),
        "{outside}"
    );

    let too_long = EngineOptions { max_seq_len: Some(97), ..EngineOptions::default() };
    let error = Engine::new(Arc::new(model()), Arc::new(Cpu::new(Isa::SCALAR, 1)), too_long).err().unwrap();
    assert!(matches!(error, EngineError::ContextTooLong { asked: 97, max_seq_len: 96 }));
    let bad_kv = EngineOptions { kv_dtype: DType::Q4_0, ..EngineOptions::default() };
    assert!(Engine::new(Arc::new(model()), Arc::new(Cpu::new(Isa::SCALAR, 1)), bad_kv).is_err());
}

#[test]
fn damaged_weights_end_one_sequence_with_an_error() {
    let mut broken = model();
    broken.weights.output.as_mut().unwrap().values_mut().unwrap()[40] = f32::NAN;
    let engine =
        Engine::new(Arc::new(broken), Arc::new(Cpu::new(Isa::best(), 1)), EngineOptions::default()).unwrap();
    let mut sequence = engine.begin(request(&prompt(1, 4), 5)).unwrap();
    let mut message = String::new();
    engine.step(&mut [&mut sequence], |_, token| message = token.unwrap_err().to_string()).unwrap();
    assert_eq!(sequence.finish_reason(), Some(FinishReason::Failed));
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn extending_a_past_is_the_same_in_pieces() {
    let tokens = prompt(5, 50);
    let whole = engine();
    let mut past = whole.empty_past();
    let want = whole.extend(&mut past, &tokens).unwrap();
    let model = model();
    let all = model.logits_of(&Cpu::new(Isa::best(), 1), &tokens).unwrap();
    assert_eq!(want, all[49 * VOCAB_SIZE..]);
    let engine = engine_with(EngineOptions { step_tokens: 7, ..EngineOptions::default() });
    let mut past: Past = engine.empty_past();
    engine.extend(&mut past, &tokens[..20]).unwrap();
    assert_eq!(engine.extend(&mut past, &tokens[20..]).unwrap(), want);
    // What cannot be computed leaves the past as it was.
    assert!(engine.extend(&mut past, &prompt(1, 60)).unwrap_err().to_string().contains("110 tokens"));
    assert_eq!(past.tokens(), tokens);
    // So does an image where there cannot be one: the past goes on without it.
    let vectors = engine.graph().constant(1, 32, |x| x.fill(1.0));
    let images = [SequenceImage { positions: vec![3], vectors, id: 1 }];
    let refused = engine.extend(&mut past, Tokens { ids: &[1], images: &images });
    assert!(matches!(refused, Err(EngineError::Images(_))));
    assert_eq!(past.tokens(), tokens);
    engine.extend(&mut past, &[1]).unwrap();
}

#[test]
fn extending_several_pasts_together_is_the_same_as_one_by_one() {
    let engine = engine();
    let prompts = [prompt(1, 30), prompt(2, 3), prompt(3, 17)];
    let past_of = |prompt: &Vec<u32>| {
        let mut past = engine.empty_past();
        engine.extend(&mut past, prompt).unwrap();
        past
    };
    let mut together: Vec<Past> = prompts.iter().map(past_of).collect();
    let mut alone = together.clone();
    for tokens in [[4, 5, 6], [7, 7, 7], [60, 0, 1]] {
        let rows = engine.extend_each(&mut together, &tokens).unwrap();
        let want = alone.iter_mut().zip(tokens).map(|(past, token)| engine.extend(past, &[token]).unwrap());
        assert_eq!(rows, want.collect::<Vec<_>>().concat());
    }
    for (past, prompt) in together.iter().zip(&prompts) {
        assert_eq!(past.tokens().len(), prompt.len() + 3);
    }
    // One that cannot be computed leaves all as they were.
    let error = engine.extend_each(&mut together, &[1, 2, VOCAB_SIZE as u32]).unwrap_err();
    assert!(matches!(error, EngineError::OutsideVocabulary { token: 61, position: 20, .. }), "{error}");
    assert_eq!(together[0].tokens(), alone[0].tokens());
    let mut full = [past_of(&prompt(1, MAX_SEQ_LEN))];
    assert!(matches!(engine.extend_each(&mut full, &[1]), Err(EngineError::TooLong { .. })));
    assert_eq!(full[0].tokens().len(), MAX_SEQ_LEN);
}

#[test]
fn scores_are_those_of_the_whole_pass() {
    let tokens = prompt(6, 60);
    let cpu = Cpu::new(Isa::best(), 2);
    let logits = model().logits_of(&cpu, &tokens).unwrap();
    let want: Vec<f64> = logits
        .chunks_exact(VOCAB_SIZE)
        .zip(&tokens[1..])
        .map(|(row, next)| {
            let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
            sum.ln() - f64::from(row[*next as usize])
        })
        .collect();
    for step_tokens in [1, 9, 256] {
        let engine = engine_with(EngineOptions { step_tokens, ..EngineOptions::default() });
        let mut seen = Vec::new();
        let nlls = engine.score(&tokens, |first, rows| {
            assert_eq!(seen.len(), first * VOCAB_SIZE);
            seen.extend_from_slice(rows);
            ControlFlow::<()>::Continue(())
        });
        let ControlFlow::Continue(nlls) = nlls.unwrap() else { panic!("nothing broke it off") };
        assert!(seen == logits);
        assert_eq!(nlls.len(), want.len());
        for (got, want) in nlls.iter().zip(&want) {
            assert!((got - want).abs() < 1e-5, "{got} {want}"); // f32 exponentials against f64
        }
    }
    let broken_off = engine().score(&tokens, |_, _| ControlFlow::Break("enough")).unwrap();
    assert_eq!(broken_off.break_value(), Some("enough"));
    let one = engine().score(&tokens[..1], |_, _| ControlFlow::<()>::Continue(())).unwrap();
    assert_eq!(one.continue_value(), Some(vec![]));
    assert!(engine().score(&[], |_, _| ControlFlow::<()>::Continue(())).is_err());
}

#[test]
fn one_seed_one_answer() {
    let engine = engine();
    let prompt = prompt(8, 6);
    let with_seed = |seed| {
        let params = SamplingParams { seed: Some(seed), ..SamplingParams::default() };
        completion(&engine, Request { sampler: Sampler::new(&params).unwrap(), ..request(&prompt, 30) })
    };
    assert_eq!(with_seed(1), with_seed(1));
    assert_ne!(with_seed(1), with_seed(2));
}

/// An embedding is the mean, the last or the first of the hidden states of a whole pass, of length 1, however the text
/// is cut.
#[test]
fn a_text_is_one_vector() {
    let model = model();
    let tokens = prompt(3, 23);
    let cpu = Cpu::new(Isa::best(), 2);
    let workspace = puna_tensor::Workspace::default();
    let mut graph = puna_tensor::Graph::inference(&cpu, &workspace);
    let whole = 0..tokens.len();
    let sequences = puna_model::Sequences::Whole(std::slice::from_ref(&whole));
    let hidden = model.hidden(&mut graph, &tokens, sequences, None, None).unwrap();
    let rows: Vec<&[f32]> = hidden.values().chunks_exact(32).collect();
    let normed = |x: Vec<f64>| {
        let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.into_iter().map(|x| x / norm).collect::<Vec<f64>>()
    };
    let mean = normed((0..32).map(|i| rows.iter().map(|row| row[i] as f64).sum::<f64>()).collect());
    let [first, last] = [rows[0], rows[22]].map(|row| normed(row.iter().map(|x| *x as f64).collect()));
    for step_tokens in [1, 5, 23, 100] {
        let engine = engine_with(EngineOptions { step_tokens, ..EngineOptions::default() });
        for (pooling, want) in [(Pooling::Mean, &mean), (Pooling::Last, &last), (Pooling::First, &first)] {
            let got = engine.embed(&tokens, pooling).unwrap();
            assert!(got.iter().zip(want).all(|(got, want)| (*got as f64 - want).abs() < 1e-6), "{pooling:?}");
        }
    }
    assert!(engine().embed(&[], Pooling::Mean).is_err() && engine().embed(&[61], Pooling::Last).is_err());
}
