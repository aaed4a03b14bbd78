//! Settings as people write them: the commented file is all of them, and what is wrong is said at once.

use std::path::Path;

use puna_train::settings::{Length, ModelSettings, Settings, SettingsError, TokenizerSettings};
use puna_train::{OnSpike, Optimizer, Schedule, Shape};

fn write(dir: &Path, text: &str) -> std::path::PathBuf {
    std::fs::write(dir.join("stories.txt"), "A story.").unwrap();
    let path = dir.join("run.yaml");
    std::fs::write(&path, text.replace("stories.txt", dir.join("stories.txt").to_str().unwrap())).unwrap();
    path
}

fn read_settings(path: &Path, overrides: &[String]) -> Result<Settings, SettingsError> {
    Settings::read(path, overrides, &|name| Path::new(name).exists())
}

fn data_settings(path: &Path, overrides: &[String]) -> Result<Settings, SettingsError> {
    Settings::for_data(path, overrides, &|name| Path::new(name).exists())
}

/// What the commented file says are the defaults, and it has every key.
#[test]
fn the_commented_file_is_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let text = include_str!("../configs/stories.yaml");
    let long = read_settings(&write(dir.path(), text), &[]).unwrap();
    let short = "name: stories\noutput: stories-model\ndata: {train: stories.txt}\n";
    let prompts = ["samples.prompts=[Once upon a time]".to_owned()];
    let short = read_settings(&write(dir.path(), short), &prompts).unwrap();
    assert_eq!(long, short);
    assert_eq!(long.recipe.optimizer, Optimizer::default());
    assert_eq!(long.recipe.schedule, Schedule::default());
    assert_eq!(long.recipe.schedule.warmup_of(1000), 50);
    // What is commented out is accepted where it is meant.
    let all = text
        .replace("  depth: 4\n", "")
        .replace("  valid_share: 0.01\n", "")
        .replace("# valid: valid.txt ", "valid: stories.txt ")
        .replace("# decontaminate: [eval.jsonl]", "decontaminate: [stories.txt]")
        .replace("  # n_", "  n_")
        .replace("  # dim", "  dim")
        .replace("  # head_dim", "  head_dim")
        .replace("  # ffn", "  ffn")
        .replace("  # rope_theta: 10000", "  rope_theta: 10000")
        .replace("  # norm", "  norm")
        .replace("  # tied", "  tied")
        .replace("  # init", "  init")
        .replace("  # experts", "  experts")
        .replace("  # max_len: 512", "  max_len: 512")
        .replace("  # date", "  date")
        .replace("# minhash", "minhash")
        .replace("# language", "language")
        .replace("  # pass", "  pass")
        .replace("  # warmup", "  warmup")
        .replace("  # patience", "  patience")
        .replace("  # max_tokens", "  max_tokens")
        .replace("# licence", "licence")
        .replace("# threads", "threads")
        .replace("# extend", "extend")
        .replace("#   - from", "  - from")
        .replace("#     max", "    max")
        .replace("#     # rope", "    rope")
        .replace("#     rope", "    rope");
    let all = read_settings(&write(dir.path(), &all), &[]).unwrap();
    let ModelSettings::New(model) = &all.model else { panic!("a new model") };
    assert_eq!((model.config.dim, model.config.experts.n, all.n_threads), (256, 8, Some(8)));
    assert_eq!((all.extensions.len(), all.validation.patience), (1, Some(4)));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let text = "\
output: out
model:
  dept: 4
  n_heads: 3
  dim: 64
data:
  train: [nowhere.txt]
  valid_share: 2
training:
  steps: 100
  epochs: 3
schedule:
  warmup_steps: 200
  shape: cosin
  decay_share: 0.5
validation: {patience: often}
exprt: {hf: f32}
";
    let overrides = ["optimizer.lr=1".to_owned(), "checkpoints.keep=0".to_owned()];
    let error = read_settings(&write(dir.path(), text), &overrides).unwrap_err().to_string();
    for part in [
        "line 3: `model.dept` is not a setting\n    did you mean `depth`?",
        "line 4: `model.n_heads` is 3, which does not divide the width of 64",
        "line 7: `data.train` names `nowhere.txt`, which does not exist",
        "line 8: `data.valid_share` is `2`; expected a number from 0 to below 1",
        "line 11: `training.epochs` and `training.steps` both",
        "line 13: `schedule.warmup_steps` is 200, but there are 100 steps",
        "line 14: `schedule.shape` is `cosin`; expected one of cosine, wsd, constant\n    did you mean `cosine`?",
        "line 15: `schedule.decay_share` has no meaning",
        "line 16: `validation.patience` is `often`",
        "line 17: `exprt` is not a setting\n    did you mean `export`?",
        "argument: `optimizer.lr` is not a setting",
        "argument: `checkpoints.keep` is `0`",
    ] {
        assert!(error.contains(part), "{part}\n--\n{error}");
    }
    assert!(error.contains("12 faults"), "{error}");
    let missing = read_settings(&write(dir.path(), "name: x\n"), &[]).unwrap_err().to_string();
    assert!(
        missing.contains("`output` is missing") && missing.contains("`data.train` is missing"),
        "{missing}"
    );
}

#[test]
fn pairs_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = "output: out\ndata: {train: stories.txt}\n";
    let path = write(dir.path(), base);
    let from = format!("model.from={}", path.display());
    for (overrides, says) in [
        (vec![from.clone(), "model.depth=3".into()], "`model.depth` is the checkpoint's to say"),
        (vec![from.clone(), "tokenizer.vocab_size=999".into()], "`tokenizer.vocab_size` cannot be chosen"),
        (vec!["model.depth=3".into(), "model.n_layers=3".into()], "`model.n_layers` and `model.depth`"),
        (vec!["model.from=nowhere".into()], "there is no such file, folder or model"),
        (vec!["model.n_heads=8".into(), "model.n_kv_heads=3".into()], "cannot share 3 key-value heads"),
        (vec!["data.valid=[{path: stories.txt, weight: 3}]".into()], "`data.valid[0].weight` has no meaning"),
        (
            vec!["data.train=[{path: stories.txt, weight: 5000}]".into()],
            "a weight is 0 or from 0.001 to 1000",
        ),
        (vec!["data.cleaning={language: xx}".into()], "the language `xx` is not told"),
        (vec!["data.max_len=1024".into()], "longer than the model's context of 512"),
        (vec!["model.experts={n: 2, n_used: 3}".into()], "there are 2 experts"),
        (vec!["extend=[{from_step: 9000, max_seq_len: 64}]".into()], "after the last step"),
        (vec!["data.valid_share=0".into(), "validation.every=5".into()], "nothing to validate on"),
        (vec!["seed".into()], "expected KEY=VALUE"),
        (vec!["name.first=a".into(), "name=b: c: d".into()], "is not a setting"),
    ] {
        let error = read_settings(&path, &overrides).unwrap_err().to_string();
        assert!(error.contains(says), "{overrides:?}: {error}");
    }
}

#[test]
fn a_data_file_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tales.txt");
    std::fs::write(&path, "A story.").unwrap();
    let overrides = ["training.epochs=2", "training.on_spike=stop", "schedule.shape=wsd"].map(str::to_owned);
    let settings = data_settings(&path, &overrides).unwrap();
    assert_eq!((&*settings.name, settings.output.to_str()), ("tales", Some("tales-model")));
    assert_eq!((settings.length, settings.recipe.on_spike), (Length::Epochs(2.0), OnSpike::Stop));
    assert_eq!(settings.recipe.schedule.shape, Shape::StableDecay { decay_share: 0.4 });
    assert_eq!(settings.tokenizer, TokenizerSettings::Train { vocab_size: 4096 });
    assert!(data_settings(&dir.path().join("none"), &[]).unwrap_err().to_string().contains("does not exist"));
}
