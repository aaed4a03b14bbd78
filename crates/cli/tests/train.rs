//! `puna train` as a user meets it: a text becomes a model, mistakes are said at once, and a run that is killed at any moment goes
//! on to the model that it would have made.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{puna, run};
use puna_formats::safetensors;

/// A text with something to learn, of a few hundred short documents.
fn stories(dir: &Path) -> PathBuf {
    let (who, what, then) = (
        ["A cat", "The dog", "One bird", "A small llama"],
        ["sat on the mat", "ran to the hill", "found a red ball", "saw the moon"],
        ["It was happy.", "It went home.", "Then it slept.", "The end."],
    );
    let mut text = String::new();
    for i in 0..600usize {
        let (a, b, c) = (who[i % 4], what[i / 4 % 4], then[(i / 3 + i / 16) % 4]);
        text += &format!("{a} {b}. {c}\n<|endoftext|>\n");
    }
    let path = dir.join("stories.txt");
    std::fs::write(&path, text).unwrap();
    path
}

/// Settings of a run that takes seconds.
const TINY: [&str; 10] = [
    "model.dim=32",
    "model.n_layers=2",
    "model.n_heads=4",
    "model.max_seq_len=32",
    "tokenizer.vocab_size=300",
    "data.valid_share=0.1",
    "training.batch_tokens=600",
    "training.pass_tokens=256",
    "samples.max_tokens=8",
    "threads=1",
];

fn arguments<'a>(text: &'a Path, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", text.to_str().unwrap(), output];
    args.extend(TINY);
    args.extend(more);
    args
}

#[test]
fn a_text_becomes_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let text = stories(dir.path());
    let out = dir.path().join("model");
    let output = format!("output={}", out.display());
    let more = ["training.steps=30", "validation.every=10", "samples.every=15", "licence=cc0-1.0"];
    let ran = run(&arguments(&text, &output, &more));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in
        ["parameters", "step     30/30", "bits/byte", "tokens/s", "% of peak", "validation loss", "sample:"]
    {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert!(
        ran.stdout.contains("model-q8_0.gguf") || ran.stdout.contains("stories-q8_0.gguf"),
        "{}",
        ran.stdout
    );
    let gguf = out.join("stories-q8_0.gguf");
    for model in [out.as_path(), &gguf] {
        let said = run(&["run", "-m", model.to_str().unwrap(), "-n", "6", "--raw", "A cat"]).ok();
        assert!(!said.trim().is_empty());
    }
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    assert_eq!(losses.len(), 30);
    assert!(losses[29] < losses[0] - 1.0, "{losses:?}");
    let validations: Vec<u64> = lines
        .iter()
        .filter(|line| line["valid_loss"].is_f64())
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(validations, [0, 10, 20, 30]);
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("license: \"cc0-1.0\"") && card.contains("stories.txt"), "{card}");
    assert!(std::fs::read_dir(out.join("events")).unwrap().count() == 1);
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("<svg") && !report.contains("http://") && !report.contains("<script src"));
    // The same folder is not begun anew by mistake.
    let again = run(&arguments(&text, &output, &more));
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("holds a run already, of 30 steps") && again.stderr.contains("--resume"));
}

#[test]
fn mistakes_are_said_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("run.yaml");
    std::fs::write(&config, "output: out\nmodle: {depth: 2}\ndata:\n  train: nowhere.txt\n").unwrap();
    let ran = run(&["train", config.to_str().unwrap(), "training.steps=0"]);
    assert_eq!(ran.code, Some(2));
    for part in [
        "3 faults",
        "line 2: `modle`",
        "did you mean `model`?",
        "line 4: `data.train`",
        "argument: `training.steps`",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert!(!dir.path().join("out").exists());
}

fn start(args: &[&str]) -> Child {
    puna(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// All tensors of the last state: weights and moments.
fn last_state(out: &Path, step: u64) -> Vec<(String, Vec<u8>)> {
    let file = safetensors::open(&out.join(format!("checkpoints/step-{step:08}.safetensors"))).unwrap();
    file.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.data.to_vec())).collect()
}

/// SIGKILL at twenty moments spread over the run, wherever it happens to be: the same bits in the end, of weights, moments and
/// the exported model; and metrics with each step once. In the middle the context grows twice;
/// what the second time does not name stays as the first has it.
#[test]
fn killed_at_any_moment_it_goes_on_to_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let text = stories(dir.path());
    let whole = dir.path().join("whole");
    let more = [
        "training.steps=60",
        "checkpoints.every=3",
        "validation.every=7",
        "samples.every=11",
        "extend=[{from_step: 21, max_seq_len: 48, rope_theta: 500000}, \
         {from_step: 31, max_seq_len: 64, rope_scaling: {kind: linear, factor: 2}}]",
    ];
    let output = format!("output={}", whole.display());
    let start_of_whole = Instant::now();
    assert_eq!(run(&arguments(&text, &output, &more)).code, Some(0));
    let time_of_whole = start_of_whole.elapsed();
    let more = [&more[..], &["--resume"]].concat();
    let (mut n_killed, mut random) = (0, 88172645463325252u64);
    for round in 0.. {
        let killed = dir.path().join(format!("killed-{round}"));
        let output = format!("output={}", killed.display());
        // A run that is killed too often before its first state gets nowhere: it lives a little longer each time.
        for life in 0..40 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let share = 0.02 * f64::from(life) + (random % 1000) as f64 / 1000.0 * 0.4;
            let mut child = start(&arguments(&text, &output, &more));
            std::thread::sleep(time_of_whole.mul_f64(share));
            child.kill().unwrap();
            n_killed += u32::from(child.wait().unwrap().code().is_none());
            if killed.join("model.safetensors").exists() {
                break;
            }
        }
        let ran = run(&arguments(&text, &output, &more));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_same(&whole, &killed);
        if n_killed >= 20 {
            break;
        }
    }
}

/// Weights, moments, files and numbers of two runs are the same.
#[track_caller]
fn assert_same(whole: &Path, killed: &Path) {
    assert!(last_state(whole, 60) == last_state(killed, 60));
    for file in ["model.safetensors", "tokenizer.json", "stories-q8_0.gguf"] {
        let read = |out: &Path| std::fs::read(out.join(file)).unwrap();
        assert!(read(whole) == read(killed), "{file}");
    }
    let numbers = |out: &Path| {
        let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let lines = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let keys = ["step", "loss", "grad_norm", "lr", "valid_loss", "text"];
        lines.map(|line| keys.map(|key| line[key].clone())).collect::<Vec<_>>()
    };
    assert_eq!(numbers(whole), numbers(killed));
}

/// Where validation does not improve for as long as the settings say, the run ends.
#[test]
fn a_run_that_no_longer_improves_ends() {
    let dir = tempfile::tempdir().unwrap();
    let text = stories(dir.path());
    let output = format!("output={}", dir.path().join("model").display());
    // A rate too small to change an f32.
    let more = ["training.steps=50", "schedule.lr=1e-30", "validation.every=2", "validation.patience=2"];
    let ran = run(&arguments(&text, &output, &more));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("the run ends after step 4"), "{}", ran.stderr);
}

/// A plan says memory, time and disk, and leaves nothing behind.
#[cfg(target_os = "linux")]
#[test]
fn a_plan_says_what_a_run_takes() {
    let dir = tempfile::tempdir().unwrap();
    let text = stories(dir.path());
    let output = format!("output={}", dir.path().join("model").display());
    let more = ["training.steps=1", "model.dim=128", "model.n_layers=6"];
    let mut args = arguments(&text, &output, &more);
    args[0] = "plan";
    let said = run(&args).ok();
    for part in ["parameters", "training", "validating", "saving", "s a step of 600 tokens", "disk"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!dir.path().join("model").exists());
}

/// Ctrl-C saves the state and says how to go on.
#[cfg(unix)]
#[test]
fn an_interrupt_saves_the_state() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let text = stories(dir.path());
    let out = dir.path().join("model");
    let output = format!("output={}", out.display());
    let more = [
        "training.steps=100000",
        "checkpoints.every=100000",
        "validation.every=100000",
        "samples.every=100000",
    ];
    let mut child = start(&arguments(&text, &output, &more));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !std::fs::read_to_string(out.join("metrics.jsonl")).is_ok_and(|text| text.lines().count() > 3) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("its state is saved") && said.contains("--resume"), "{said}");
    let names = std::fs::read_dir(out.join("checkpoints")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_str().unwrap().starts_with("step-")).count(), 1);
    // A run does not go on with other data than it began with.
    std::fs::write(&text, std::fs::read_to_string(&text).unwrap() + "One more.\n").unwrap();
    let ran = run(&arguments(&text, &output, &[&more[..], &["--resume"]].concat()));
    assert!(ran.code == Some(1) && ran.stderr.contains("the run began with another data"), "{}", ran.stderr);
}

/// Where a state cannot be written, the run ends with an error, the state before is whole, and no half file is left.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_state_whole() {
    let dir = tempfile::tempdir().unwrap();
    let text = stories(dir.path());
    let out = dir.path().join("model");
    let output = format!("output={}", out.display());
    let more = ["training.steps=6", "checkpoints.every=2"];
    let ran = run(&arguments(&text, &output, &more));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // Files may have no more than 100 kB from now on.
    let more = ["training.steps=12", "checkpoints.every=2", "--resume"];
    let args: Vec<String> =
        arguments(&text, &output, &more).into_iter().map(|arg| format!("'{arg}'")).collect();
    let script = format!("ulimit -f 100; exec '{}' {}", env!("CARGO_BIN_EXE_puna"), args.join(" "));
    let limited = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&limited.stderr).into_owned();
    assert_eq!(limited.status.code(), Some(1), "{said}");
    assert!(said.contains("step-00000008.safetensors") && said.contains("too large"), "{said}");
    let mut names: Vec<String> = std::fs::read_dir(out.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["best.safetensors", "step-00000004.safetensors", "step-00000006.safetensors"]);
    let ran = run(&arguments(&text, &output, &more));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("6 are made"), "{}", ran.stderr);
}
