//! Training as a user meets it: the loss falls, an interrupted run continues bit for bit, and what is saved
//! reads back.

use puna_formats::gguf::{Metadata, Value};
use puna_model::rope::RopeScaling;
use puna_model::{Config, LoadOptions, Model};
use puna_tensor::{Cpu, DType, Isa, RopeLayout};
use puna_train::{Documents, Recipe, Rng, Trainer, random_model};

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

fn trainer(tied: bool) -> Trainer {
    let recipe = Recipe { n_steps: 60, batch_tokens: 400, lr: 1e-2, n_warmup_steps: 5, ..Recipe::default() };
    Trainer::new(random_model(config(tied), 1), recipe)
}

#[test]
fn the_loss_falls() {
    let (cpu, docs) = (Cpu::new(Isa::best(), 2), documents());
    for tied in [false, true] {
        let mut trainer = trainer(tied);
        let first = trainer.evaluate(&cpu, &docs).unwrap();
        assert!((first - 24f64.ln()).abs() < 0.2, "an untrained model knows nothing: {first}");
        for _ in 0..60 {
            trainer.step(&cpu, &docs).unwrap();
        }
        let last = trainer.evaluate(&cpu, &docs).unwrap();
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
    first.save_state(&path).unwrap();
    let mut second = trainer(true);
    second.load_state(&path).unwrap();
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
    trainer(true).save_state(&path).unwrap();
    let error = trainer(false).load_state(&path).unwrap_err().to_string();
    assert!(error.contains("another shape") && error.contains("state.safetensors"), "{error}");
    std::fs::write(&path, b"nonsense").unwrap();
    assert!(trainer(true).load_state(&path).unwrap_err().to_string().contains("state.safetensors"));
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
