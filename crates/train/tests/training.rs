//! Training as a user meets it: the loss falls, an interrupted run continues bit for bit, and what is saved
//! reads back.

use puna_formats::gguf::{Metadata, Value};
use puna_model::rope::RopeScaling;
use puna_model::{Config, LoadOptions, Model};
use puna_tensor::{Cpu, DType, Isa, RopeLayout};
use puna_train::{
    Batch, Documents, OnSpike, Recipe, Rng, Schedule, TrainError, Trained, Trainer, random_model,
};
use serde_json::json;

fn config(tied: bool) -> Config {
    Config {
        dim: 32,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 8,
        ffn_dim: 96,
        vocab_size: 24,
        max_seq_len: 64,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_layout: RopeLayout::HalfSplit,
        tied,
        experts: Default::default(),
        ..Config::default()
    }
}

/// Documents with a rule to learn: each token is the one before plus a step that is fixed in a document.
fn documents() -> Documents {
    let mut rng = Rng::new(5);
    let docs = (0..200).map(|_| {
        let (start, step) = (rng.next_u64() % 24, 1 + rng.next_u64() % 3);
        (0..20).map(|i| ((start + i * step) % 24) as u32).collect()
    });
    Documents::new(docs, 64)
}

fn recipe() -> Recipe {
    let schedule = Schedule { lr: 1e-2, n_warmup_steps: Some(5), ..Schedule::default() };
    Recipe { n_steps: 60, batch_tokens: 400, schedule, ..Recipe::default() }
}

fn trainer(tied: bool) -> Trainer {
    Trainer::new(random_model(config(tied), 1), recipe())
}

#[test]
fn the_loss_falls() {
    let (cpu, docs) = (Cpu::new(Isa::best(), 2), documents());
    for tied in [false, true] {
        let mut trainer = trainer(tied);
        let first = trainer.evaluate(&cpu, &docs).unwrap().loss;
        assert!((first - 24f64.ln()).abs() < 0.2, "an untrained model knows nothing: {first}");
        for _ in 0..60 {
            trainer.step(&cpu, &docs).unwrap();
        }
        let last = trainer.evaluate(&cpu, &docs).unwrap().loss;
        assert!(last < first / 4.0, "tied {tied}: {first} to {last}");
    }
}

/// Interrupted and resumed, on another number of threads: the same bits as without a stop.
#[test]
fn resuming_continues_bit_for_bit() {
    let docs = documents();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.safetensors");
    let (one, three) = (Cpu::new(Isa::best(), 1), Cpu::new(Isa::best(), 3));
    let mut whole = trainer(true);
    for _ in 0..9 {
        whole.step(&one, &docs).unwrap();
    }
    let mut first = trainer(true);
    for _ in 0..4 {
        first.step(&three, &docs).unwrap();
    }
    first.save_state(&path, &json!({ "more": 0.1 })).unwrap();
    let mut second = trainer(true);
    assert_eq!(second.load_state(&path).unwrap(), json!({ "more": 0.1 }));
    assert_eq!((second.step, second.cursor), (first.step, first.cursor));
    for _ in 0..5 {
        second.step(&three, &docs).unwrap();
    }
    for (a, b) in whole.model.weights.all().iter().zip(second.model.weights.all()) {
        assert!(a.values() == b.values());
    }
}

#[test]
fn a_state_of_another_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.safetensors");
    trainer(true).save_state(&path, &json!(null)).unwrap();
    let error = trainer(false).load_state(&path).unwrap_err().to_string();
    assert!(error.contains("another shape") && error.contains("state.safetensors"), "{error}");
    std::fs::write(&path, b"nonsense").unwrap();
    assert!(trainer(true).load_state(&path).unwrap_err().to_string().contains("state.safetensors"));
}

/// A state that a disk damaged is not trained on.
#[test]
fn a_damaged_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.safetensors");
    trainer(true).save_state(&path, &json!(null)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let n_header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let step = whole.windows(8).position(|part| part == b"\\\"step\\\"").unwrap();
    for (at, says) in
        [(n_header + 1000, "its checksum differs"), (whole.len() - 2, "its checksum differs"), (step + 9, "")]
    {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let mut resumed = trainer(true);
        let error = resumed.load_state(&path).unwrap_err().to_string();
        assert!(error.contains(says), "{at}: {error}");
        assert!(
            resumed.step == 0
                && resumed.model.weights.norm.values() == trainer(true).model.weights.norm.values()
        );
    }
}

/// In however many passes a batch is taken, the last of which may be a ragged one, its gradients are the same.
#[test]
fn accumulation_changes_no_gradient() {
    let cpu = Cpu::new(Isa::best(), 2);
    let mut rng = Rng::new(9);
    let lens = [20, 3, 31, 17, 9, 40, 2];
    let docs = lens.map(|len| (0..len).map(|_| (rng.next_u64() % 24) as u32).collect::<Vec<u32>>());
    let docs = Documents::new(docs, 64);
    let batch = docs.batches(1000).next().unwrap();
    let gradients = |pass_tokens: usize| {
        let mut trainer = Trainer::new(random_model(config(false), 1), Recipe { pass_tokens, ..recipe() });
        let (loss, norm) = trainer.compute(&cpu, &batch).unwrap();
        let all: Vec<Vec<f32>> =
            trainer.trained().0.iter().map(|p| trainer.gradients().get(p.id).unwrap().to_vec()).collect();
        (loss, norm, all)
    };
    let (loss, norm, whole) = gradients(1000);
    // One, two, four passes; one for each document; and an odd one at the end.
    for pass_tokens in [64, 40, 1, 70] {
        let (other_loss, other_norm, other) = gradients(pass_tokens);
        assert!((loss - other_loss).abs() < 1e-6 && (norm - other_norm).abs() < 1e-6 * norm, "{pass_tokens}");
        for (a, b) in whole.iter().flatten().zip(other.iter().flatten()) {
            assert!((a - b).abs() < 1e-6, "{pass_tokens}: {a} {b}");
        }
    }
}

/// Documents side by side have the loss and the gradients that they have alone.
#[test]
fn packed_equals_unpacked() {
    let cpu = Cpu::new(Isa::best(), 1);
    let docs = documents();
    let batch = docs.batches(200).next().unwrap();
    let mut packed = Trainer::new(random_model(config(true), 1), recipe());
    let (loss, _) = packed.compute(&cpu, &batch).unwrap();
    let n_targets = batch.n_targets() as f64;
    let mut sum = 0.0;
    let mut gradients = vec![0.0; packed.gradients().get(packed.trained().0[0].id).unwrap().len()];
    for rows in &batch.sequences {
        let alone = Batch {
            tokens: batch.tokens[rows.clone()].to_vec(),
            targets: batch.targets[rows.clone()].to_vec(),
            sequences: std::iter::once(0..rows.len()).collect(),
        };
        let mut trainer = Trainer::new(random_model(config(true), 1), recipe());
        let share = alone.n_targets() as f64 / n_targets;
        sum += share * trainer.compute(&cpu, &alone).unwrap().0;
        let own = trainer.gradients().get(trainer.trained().0[0].id).unwrap();
        gradients.iter_mut().zip(own).for_each(|(g, own)| *g += share as f32 * own);
    }
    assert!((loss - sum).abs() < 1e-6, "{loss} {sum}");
    let whole = packed.gradients().get(packed.trained().0[0].id).unwrap();
    assert!(whole.iter().zip(&gradients).all(|(a, b)| (a - b).abs() < 1e-6));
}

/// Weights that are not trained stay as they are, to the bit, and their file's bytes are not copied.
#[test]
fn a_part_of_the_weights_is_trained() {
    let (cpu, docs) = (Cpu::new(Isa::best(), 1), documents());
    let model = random_model(config(false), 1);
    let before: Vec<Vec<f32>> = model.weights.all().iter().map(|weight| weight.to_f32()).collect();
    let trained = Trained::only(&model.config, |part| matches!(part, puna_model::names::Part::Layer(1, _)));
    let n_trained = trained.0.len();
    let mut trainer = Trainer::of(model, trained, recipe());
    for _ in 0..3 {
        trainer.step(&cpu, &docs).unwrap();
    }
    let after = trainer.model.weights.all();
    let changed = before.iter().zip(&after).filter(|(before, after)| **before != after.to_f32()).count();
    assert_eq!((n_trained, changed), (9, 9));
    let dir = tempfile::tempdir().unwrap();
    trainer.save_state(&dir.path().join("state"), &json!(null)).unwrap();
    let n_tensors = puna_formats::safetensors::open(&dir.path().join("state")).unwrap().tensors.len();
    assert_eq!(n_tensors, 27);
}

/// A run that explodes says so, and changes nothing with a step that has no number.
#[test]
fn what_is_no_number_never_enters_the_weights() {
    let (cpu, docs) = (Cpu::new(Isa::best(), 1), documents());
    for on_spike in [OnSpike::Go, OnSpike::Skip, OnSpike::Stop] {
        let mut model = random_model(config(true), 1);
        model.weights.norm.values_mut().unwrap()[0] = f32::NAN;
        let mut trainer = Trainer::new(model, Recipe { on_spike, ..recipe() });
        let before = trainer.model.weights.tok_embeddings.values().unwrap().to_vec();
        match trainer.step(&cpu, &docs) {
            Ok(report) => assert!(report.was_skipped && on_spike == OnSpike::Skip),
            Err(error) => assert!(matches!(error, TrainError::Diverged { .. }) && on_spike != OnSpike::Skip),
        }
        assert_eq!(trainer.model.weights.tok_embeddings.values().unwrap(), before);
        assert_eq!(trainer.step, u64::from(on_spike == OnSpike::Skip));
    }
}

/// A random model saved in each form and loaded again has the same logits, rotary layout and all.
#[test]
fn what_is_saved_reads_back() {
    let cpu = Cpu::new(Isa::best(), 1);
    let tokens: Vec<u32> = (0..40).map(|i| i * 7 % 24).collect();
    let scalings = [
        RopeScaling::None,
        RopeScaling::Linear { factor: 2.0 },
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 16.0 },
    ];
    for (tied, rope_scaling) in [true, false].into_iter().flat_map(|t| scalings.clone().map(|s| (t, s))) {
        let (hf, gguf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let model = random_model(Config { rope_scaling, ..config(tied) }, 3);
        let want = model.logits_of(&cpu, &tokens).unwrap();
        model.save_hf(hf.path(), DType::F32).unwrap();
        let path = gguf.path().join("model.gguf");
        let mut metadata = Metadata::new(&path);
        metadata.set("general.name", Value::String("test".into()));
        model.save_gguf(&path, metadata, DType::F32).unwrap();
        for path in [hf.path(), path.as_path()] {
            let loaded = Model::load(path, &LoadOptions::default()).unwrap();
            let got = loaded.logits_of(&cpu, &tokens).unwrap();
            let largest = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-5, "{}: {largest}", path.display());
        }
    }
}
