//! The program against the conformance fixtures.

mod common;

use std::path::{Path, PathBuf};

use common::{file, fixtures, ids, read_json, run, run_with};
use puna::DType;
use puna_conformance::skip;
use puna_formats::safetensors;
use serde_json::{Value, json};

struct Case {
    name: String,
    entry: Value,
    dir: PathBuf,
    golden: safetensors::SafetensorsFile,
}

/// Every text model of the manifest.
fn text_cases(root: &Path) -> Vec<Case> {
    let manifest = read_json(&root.join("golden/manifest.text.json"));
    let mut cases = Vec::new();
    for (name, entry) in manifest.as_object().unwrap() {
        cases.push(Case {
            name: name.clone(),
            entry: entry.clone(),
            dir: root.join(entry["model_dir"].as_str().unwrap()),
            golden: safetensors::open(&root.join(format!("golden/{name}.safetensors"))).unwrap(),
        });
    }
    cases
}

fn f32s(file: &safetensors::SafetensorsFile, name: &str) -> Vec<f32> {
    let tensor = file.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
    assert_eq!(tensor.dtype, DType::F32);
    tensor.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn golden_ids(file: &safetensors::SafetensorsFile, name: &str) -> Vec<i64> {
    let tensor = file.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
    assert_eq!(tensor.dtype, DType::I64);
    tensor.data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The mean negative log-likelihood of what logits `[tokens, vocab]` predict.
fn nll_sum(logits: &[f32], ids: &[i64]) -> f64 {
    let vocab_size = logits.len() / ids.len();
    let rows = logits.chunks_exact(vocab_size).zip(&ids[1..]);
    rows.map(|(row, next)| {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|z| f64::from(z - max).exp()).sum();
        sum.ln() - f64::from(row[*next as usize] - max)
    })
    .sum()
}

#[test]
fn conformance_score_writes_the_reference_logits() {
    let Some(root) = fixtures() else { return };
    let dir = tempfile::tempdir().unwrap();
    for case in text_cases(&root) {
        let atol = case.entry["recommended_tolerance"]["logits_atol"].as_f64().unwrap();
        let model = case.dir.to_str().unwrap();
        let sequences: Vec<&str> =
            case.golden.tensors.names().filter_map(|name| name.strip_suffix(".logits")).collect();
        assert!(!sequences.is_empty());
        for sequence in sequences {
            let input = golden_ids(&case.golden, &format!("{sequence}.input_ids"));
            let want = f32s(&case.golden, &format!("{sequence}.logits"));
            let ids_file = file(dir.path(), "ids.json", json!(input).to_string());
            let out = dir.path().join("logits.safetensors");
            let args =
                ["score", "-m", model, "--ids", &ids_file, "--logits", out.to_str().unwrap(), "--json"];
            let score = run(&args).json();
            let got = safetensors::open(&out).unwrap();
            assert_eq!(got.tensors.get("logits").unwrap().shape, [input.len(), want.len() / input.len()]);
            let got = f32s(&got, "logits");
            let difference = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
            assert!(f64::from(difference) <= atol, "{} {sequence}: {difference}", case.name);
            let tolerance = 2.0 * atol * input.len() as f64;
            let nll = score["nll_sum"].as_f64().unwrap();
            assert!((nll - nll_sum(&want, &input)).abs() <= tolerance, "{} {sequence}", case.name);
            assert_eq!(score["perplexity"].is_null(), input.len() == 1);
        }
    }
}

/// Folders with checkpoints of one trained model and its known answers in `golden.json`.
fn trained_models(root: &Path) -> Vec<(Value, Vec<PathBuf>)> {
    let entries =
        |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let is_checkpoint = |path: &PathBuf| {
        path.join("config.json").is_file() || path.extension().is_some_and(|extension| extension == "gguf")
    };
    let with_answers = entries(root).into_iter().filter(|dir| dir.join("golden.json").is_file());
    let models = with_answers.map(|dir| {
        let checkpoints: Vec<PathBuf> = entries(&dir).into_iter().filter(is_checkpoint).collect();
        assert!(!checkpoints.is_empty(), "{}", dir.display());
        (read_json(&dir.join("golden.json")), checkpoints)
    });
    models.collect()
}

#[test]
fn conformance_trained_models_tell_their_texts() {
    let Some(root) = fixtures() else { return };
    let models = trained_models(&root);
    assert!(!models.is_empty());
    let each = models.iter().flat_map(|(golden, paths)| paths.iter().map(move |path| (golden, path)));
    for (golden, model) in each.map(|(golden, path)| (golden, path.to_str().unwrap())) {
        for case in golden["greedy"].as_array().unwrap() {
            let (prompt, want) = (case["prompt"].as_str().unwrap(), ids(&case["continuation_ids"]));
            let n = want.len().to_string();
            let got =
                run(&["run", "-m", model, "--temperature", "0", "-n", &n, "--json", "--raw", prompt]).json();
            assert_eq!(ids(&got["prompt_ids"]), ids(&case["prompt_ids"]), "{prompt:?}");
            // A stop id ends our answer; the reference goes on.
            let got_ids = ids(&got["ids"]);
            assert_eq!(got_ids, want[..got_ids.len()], "{prompt:?}");
            let whole = format!("{prompt}{}", got["text"].as_str().unwrap());
            let text = case["text"].as_str().unwrap();
            assert!(
                text.starts_with(&whole) && (whole == text || got["finish_reason"] == "stop"),
                "{whole:?}"
            );
        }
        let perplexity = &golden["perplexity"];
        let text = perplexity["text"].as_str().unwrap();
        let score = run_with(&["score", "-m", model, "--text", "-", "--json"], text.as_bytes()).json();
        assert_eq!(score["predicted"], perplexity["n_predicted"]);
        for (key, want) in [("nll_mean", "mean_nll"), ("perplexity", "ppl")] {
            let (got, want) = (score[key].as_f64().unwrap(), perplexity[want].as_f64().unwrap());
            assert!((got - want).abs() < 1e-4, "{key}: {got} {want}");
        }
    }
}

/// Each id of the reference's greedy continuations is the most likely one after those before it.
#[test]
fn conformance_greedy_continuations_of_ids() {
    let Some(root) = fixtures() else { return };
    let dir = tempfile::tempdir().unwrap();
    for case in text_cases(&root) {
        let prompt = golden_ids(&case.golden, "greedy.prompt_ids");
        let want = golden_ids(&case.golden, "greedy.continuation_ids");
        let ids_file = file(dir.path(), "ids.json", json!([&prompt[..], &want].concat()).to_string());
        let out = dir.path().join("logits.safetensors");
        let (model, out_name) = (case.dir.to_str().unwrap(), out.to_str().unwrap());
        run(&["score", "-m", model, "--ids", &ids_file, "--logits", out_name]).ok();
        let logits = f32s(&safetensors::open(&out).unwrap(), "logits");
        let vocab_size = logits.len() / (prompt.len() + want.len());
        let argmax =
            |row: &[f32]| (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        let got = logits.chunks_exact(vocab_size).skip(prompt.len() - 1).map(|row| argmax(row) as i64);
        assert_eq!(got.take(want.len()).collect::<Vec<_>>(), want, "{}", case.name);
    }
}

#[test]
fn conformance_every_checkpoint_form_runs() {
    let Some(root) = fixtures() else { return };
    let mut n_run = 0;
    for folder in ["models", "meta", "gguf", "gptq"] {
        let mut entries: Vec<_> =
            std::fs::read_dir(root.join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in
            entries.iter().filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "gguf"))
        {
            let model = path.to_str().unwrap();
            let ran = run(&["run", "-m", model, "--raw", "-n", "3", "--json", "Once"]);
            if ran.code == Some(0) {
                assert!(!ids(&ran.json()["ids"]).is_empty());
                assert!(run(&["show", "-m", model]).ok().contains("parameters"));
                n_run += 1;
                continue;
            }
            // What is not supported says so, and names the thing.
            let error = ran.error(1);
            assert!(error.contains("support"), "{error}");
            skip(path.display(), error.trim_end().lines().last().unwrap_or_default());
        }
    }
    assert!(n_run > 0);
}

#[test]
fn conformance_bare_tokenizers_make_the_reference_ids() {
    let Some(root) = fixtures() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut n_files = 0;
    for entry in std::fs::read_dir(root.join("tokenizer")).unwrap() {
        let path = entry.unwrap().path();
        let Some(stem) = path.to_str().unwrap().strip_suffix(".tokenizer.model").map(str::to_owned) else {
            continue;
        };
        let vectors = read_json(Path::new(&format!("{stem}.vectors.json")));
        let cases =
            ["cases", "vectors"].iter().find_map(|key| vectors[key].as_array()).expect("a list of cases");
        let model = path.to_str().unwrap();
        for case in cases.iter().filter(|case| case["text"].is_string()).step_by(40) {
            let text = file(dir.path(), "text", case["text"].as_str().unwrap());
            let got = run(&["tokenize", "-m", model, "--no-bos", "--file", &text]).json();
            assert_eq!(got, case["ids"], "{stem} {}", case["text"]);
        }
        n_files += 1;
    }
    assert!(n_files > 0);
}

#[test]
fn conformance_prompts_of_a_checkpoints_own_template() {
    let Some(root) = fixtures() else { return };
    let vectors = read_json(&root.join("chat/jinja.vectors.json"));
    let dir = tempfile::tempdir().unwrap();
    let tokenizers: Vec<PathBuf> = text_cases(&root).into_iter().map(|case| case.dir).collect();
    let model = dir.path().to_str().unwrap();
    let mut n_cases = 0;
    for (name, template) in vectors["templates"].as_object().unwrap() {
        let source = root.join(template["template_file"].as_str().unwrap());
        let has_its_bos = |tokenizer: &&PathBuf| {
            let config = read_json(&tokenizer.join("tokenizer_config.json"));
            let bos = config["bos_token"].get("content").unwrap_or(&config["bos_token"]);
            *bos == template["special_tokens"]["bos_token"]
        };
        let Some(tokenizer) = tokenizers.iter().find(has_its_bos) else {
            skip(format!("the program's prompts with {name}'s template"), "no model of this set has its BOS");
            continue;
        };
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::write(dir.path().join(file), std::fs::read(tokenizer.join(file)).unwrap()).unwrap();
        }
        // A read-only copy would keep the next one from being written.
        std::fs::write(dir.path().join("chat_template.jinja"), std::fs::read(source).unwrap()).unwrap();
        for case in template["cases"].as_array().unwrap() {
            let inputs = &case["inputs"];
            let known = ["messages", "tools", "add_generation_prompt", "date_string"];
            if inputs.as_object().unwrap().keys().any(|key| !known.contains(&key.as_str())) {
                continue; // The command has no such option.
            }
            let messages = file(dir.path(), "messages.json", inputs["messages"].to_string());
            let mut args = vec!["prompt", "-m", model, "--messages", &messages];
            let tools = file(dir.path(), "tools.json", inputs["tools"].to_string());
            args.extend(["--tools", &tools]);
            if inputs["add_generation_prompt"] != true {
                args.push("--no-generation-prompt");
            }
            // Where the inputs name no date, some templates write that of the day the fixture was made.
            let rendered_date = case["rendered"].as_str().and_then(|text| {
                let (_, after) = text.split_once("Today Date: ")?;
                after.split('\n').next().filter(|date| *date != "26 Jul 2024")
            });
            if let Some(date) = inputs["date_string"].as_str().or(rendered_date) {
                args.extend(["--date", date]);
            }
            let ran = run(&args);
            match case["rendered"].as_str() {
                Some(rendered) => assert_eq!(ran.ok(), rendered, "{name}: {inputs}"),
                None => drop(ran.error(1)),
            }
            n_cases += 1;
        }
    }
    assert!(n_cases > 0);
}

/// A chat model answers in its format; BOS stands once, and the answer ends at a stop id or the limit.
#[test]
fn conformance_chat_models_are_asked_in_their_format() {
    let Some(root) = fixtures() else { return };
    let dir = tempfile::tempdir().unwrap();
    let messages = file(
        dir.path(),
        "messages.json",
        r#"[{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]"#,
    );
    let mut n_chats = 0;
    for case in text_cases(&root) {
        let model = case.dir.to_str().unwrap();
        let show = run(&["show", "-m", model, "--json"]).json();
        if show["chat_template"].is_null() {
            continue;
        }
        let prompt = run(&["prompt", "-m", model, "--messages", &messages, "--json"]).json();
        let answer = run(&["run", "-m", model, "--system", "S", "-n", "5", "--json", "hi"]).json();
        assert_eq!(answer["prompt_ids"], prompt["ids"], "{}", case.name);
        let bos = show["tokenizer"]["bos"]["id"].as_u64().unwrap() as u32;
        assert_eq!(ids(&prompt["ids"]).iter().filter(|id| **id == bos).count(), 1);
        let raw = run(&["run", "-m", model, "--raw", "-n", "1", "--json", "hi"]).json();
        assert_eq!(raw["prompt_ids"], run(&["tokenize", "-m", model, "hi"]).json());
        n_chats += 1;
    }
    assert!(n_chats > 0);
}

/// Without a tokenizer a model computes ids, and says what it cannot do.
#[test]
fn conformance_models_without_a_tokenizer_compute_ids() {
    let Some(root) = fixtures() else { return };
    let dir = tempfile::tempdir().unwrap();
    let case = text_cases(&root).swap_remove(0);
    for entry in std::fs::read_dir(&case.dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_file() && !name.contains("token") {
            std::fs::copy(&path, dir.path().join(name)).unwrap();
        }
    }
    let model = dir.path().to_str().unwrap();
    let score = run_with(&["score", "-m", model, "--ids", "-", "--json"], b"[1, 5, 9]").json();
    assert_eq!(score["predicted"], 2);
    assert!(run(&["show", "-m", model]).ok().contains("only token ids"));
    let error = run(&["run", "-m", model, "hi"]).error(1);
    assert!(error.contains("has no tokenizer") && error.contains("puna score --ids"), "{error}");
    assert!(run(&["tokenize", "-m", model, "hi"]).error(1).contains("has no tokenizer"));
    assert!(run_with(&["score", "-m", model, "--text", "-"], b"hi").error(1).contains("has no tokenizer"));
}

#[test]
fn conformance_a_folder_without_a_model_is_named() {
    let Some(root) = fixtures() else { return };
    let path = root.join("tokenizer");
    let error = run(&["run", "-m", path.to_str().unwrap(), "hi"]).error(1);
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}
