//! `puna tokenize`, `detokenize` and `prompt`, `show`, `bench`, `score`, with the built-in model.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{file, ids, puna, run, run_with};
use serde_json::{Value, json};

#[test]
fn tokens_there_and_back() {
    for text in ["Once upon a time", "  two  spaces\n\n", "naïve café 🙂", "<s>", "a"] {
        let array = run(&["tokenize", text]).json();
        assert_eq!(run(&["tokenize", text, "--json"]).json(), array);
        assert_eq!(run_with(&["detokenize"], array.to_string().as_bytes()).ok(), text);
        assert_eq!(run_with(&["tokenize"], text.as_bytes()).json(), array);
        let plain = run(&["tokenize", text, "--ids"]).ok();
        let list: Vec<&str> = plain.split_whitespace().collect();
        assert_eq!(run(&[&["detokenize"], &list[..]].concat()).ok(), text);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "text.txt", "a cat");
    let array = run(&["tokenize", "--file", &path]).json();
    assert_eq!(array, run(&["tokenize", "a cat"]).json());
    let path = file(dir.path(), "ids.json", array.to_string());
    assert_eq!(run(&["detokenize", "--ids", &path]).ok(), "a cat");
}

#[test]
fn bos_and_special_names_are_options() {
    let with = ids(&run(&["tokenize", "a cat"]).json());
    let without = ids(&run(&["tokenize", "a cat", "--no-bos"]).json());
    assert_eq!(with[1..], without);
    let show = run(&["show", "--json"]).json();
    let bos = &show["tokenizer"]["bos"];
    assert_eq!(bos["id"], with[0]);
    let name = bos["piece"].as_str().unwrap();
    assert_eq!(run(&["tokenize", name, "--special", "--no-bos"]).json(), json!([with[0]]));
    assert!(!ids(&run(&["tokenize", name, "--no-bos"]).json()).contains(&with[0]));
    // Exactly once.
    assert_eq!(run(&["tokenize", name, "--special"]).json(), json!([with[0]]));
}

#[test]
fn wrong_ids_are_named() {
    assert!(run(&["detokenize", "4294967295"]).error(1).contains("4294967295 is outside the vocabulary"));
    assert!(run(&["detokenize", "x"]).error(2).contains('x'));
    assert!(run_with(&["detokenize"], b"[1, -2]").error(1).contains("element 1 is -2"));
    assert!(run_with(&["detokenize"], b"[1, 2.5]").error(1).contains("element 1 is 2.5"));
    assert!(run_with(&["detokenize"], b"{}").error(1).contains("JSON array"));
    assert!(run_with(&["detokenize"], b"[1").error(1).contains("JSON"));
    assert!(run_with(&["tokenize"], b"\xff").error(1).contains("byte 0"));
    assert!(run(&["tokenize", "--file", "no/such/file"]).error(1).contains("no such file"));
}

#[test]
fn a_base_model_has_no_prompt_format() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "messages.json", r#"[{"role": "user", "content": "hi"}]"#);
    assert!(run(&["prompt", "--messages", &path]).error(1).contains("no chat template"));
    let bad = file(dir.path(), "bad.json", r#"[{"content": "hi"}]"#);
    assert!(run(&["prompt", "--messages", &bad]).error(1).contains("message 1"));
    let tools = file(dir.path(), "tools.json", r#"{"a": 1}"#);
    assert!(run(&["prompt", "--messages", &path, "--tools", &tools]).error(1).contains("array"));
}

#[test]
fn show_counts_what_is_there() {
    let show = run(&["show", "--json", "--ctx", "64"]).json();
    assert_eq!((show["form"].as_str(), show["architecture"].as_str()), (Some("GGUF"), Some("llama")));
    let bytes: u64 = show["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["types"].as_array().unwrap())
        .map(|kind| kind["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(show["memory"]["weight_bytes"], bytes);
    assert!(show["parameters"].as_u64().unwrap() > 0);
    assert_eq!(show["memory"]["context"], 64);
    let kv = &show["memory"]["kv_bytes"];
    assert_eq!(kv["f32"].as_u64().unwrap(), 2 * kv["f16"].as_u64().unwrap());
    let text = run(&["show"]).ok();
    for word in ["architecture", "parameters", "context", "tokenizer", "tok_embeddings", "kv f16"] {
        assert!(text.contains(word), "{word}");
    }
    let fixture = |name: &str| format!("{}/../../tests/{name}", env!("CARGO_MANIFEST_DIR"));
    let pruned = run(&["show", "-m", &fixture("variants/pruned")]).ok();
    assert!(pruned.contains("4 with attention, 1 with a matrix in its place; 3 with a feed-forward block"));
    assert_eq!(
        run(&["show", "--json", "-m", &fixture("variants/pruned")]).json()["config"]["attention_layers"],
        4
    );
    assert!(run(&["show", "-m", &fixture("variants/experts")]).ok().contains("5 of width 16, 2 for a token"));
    assert!(run(&["show", "-m", &fixture("embedding")]).ok().contains("tokens see their whole text"));
    assert!(run(&["show", "--ctx", "99999999"]).error(1).contains("99999999"));
}

#[test]
fn embed_gives_a_vector_for_each_text() {
    let embed = |args: &[&str]| run(&[&["embed"], args].concat()).json();
    let vectors = |value: &Value| -> Vec<Vec<f64>> {
        let list = value["embeddings"].as_array().unwrap().iter();
        list.map(|v| v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()).collect()
    };
    let two = embed(&["The dog ran.", "A red balloon"]);
    assert_eq!(two["pooling"], "last");
    let both = vectors(&two);
    assert_eq!((both.len(), both[0].len() as u64), (2, two["dim"].as_u64().unwrap()));
    for vector in &both {
        assert!((vector.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "lines.txt", "The dog ran.\r\nA red balloon\n");
    assert_eq!(vectors(&embed(&["--file", &path])), both);
    let mean = embed(&["--pooling", "mean", "--no-normalize", "The dog ran."]);
    assert_eq!(mean["pooling"], "mean");
    assert!(vectors(&mean)[0].iter().map(|x| x * x).sum::<f64>() > 1.01);
    assert!(run(&["embed", "a", "--file", &path]).error(2).contains("--file"));
}

#[test]
fn bench_has_the_parts_that_were_measured() {
    let args = ["bench", "-p", "16", "-n", "4", "--repeat", "2", "-d", "3", "--json"];
    let bench = run(&args).json();
    for (part, n_tokens) in [("prefill", 16), ("decode", 4)] {
        let part = &bench[part];
        let [median, min, max] =
            ["median", "min", "max"].map(|key| part["tokens_per_s"][key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max);
        assert!(part["gb_per_s"].as_f64().unwrap() > 0.0 && part["gflop_per_s"].as_f64().unwrap() > 0.0);
        assert_eq!((&part["tokens"], &part["depth"]), (&Value::from(n_tokens), &Value::from(3)));
    }
    let keys = |args: &[&str]| {
        let bench = run(&[&["bench", "--repeat", "1", "--json"], args].concat()).json();
        bench.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&["-p", "8", "-n", "0"]), ["prefill"]);
    assert_eq!(keys(&["-p", "0", "-n", "3"]), ["decode"]);
    assert!(run(&["bench", "-p", "8", "-n", "2", "--repeat", "1"]).ok().contains("tokens/s"));
    let error = run(&["bench", "-p", "90", "--ctx", "64"]).error(1);
    assert!(error.contains("90 tokens") && error.contains("64"), "{error}");
    assert!(run(&["bench", "--repeat", "0"]).error(2).contains("1 to 10000"));
    for more in [&[][..], &["--paced"]] {
        let error = run(&[&["bench", "-p", "0", "-n", "0"], more].concat()).error(2);
        assert!(error.contains("nothing to measure"), "{error}");
    }
    assert!(run(&["bench", "--ctx", "16", "-d", "16"]).error(2).contains("fill the context"));
}

#[test]
fn bench_decodes_several_sequences_together() {
    let args = ["bench", "-p", "4", "-n", "2", "--repeat", "1", "--sequences", "3"];
    let bench = run(&[&args[..], &["--json"]].concat()).json();
    assert_eq!((&bench["decode"]["tokens"], &bench["decode"]["sequences"]), (&json!(6), &json!(3)));
    assert_eq!(bench["prefill"]["tokens"], 4);
    assert!(run(&args).ok().contains("3 sequences decode together"));
    assert!(run(&["bench", "--sequences", "0"]).error(2).contains("1 to 1024"));
}

#[test]
fn bench_measures_when_it_is_told_to() {
    let args = ["bench", "--paced", "-p", "8", "-n", "3", "-d", "5", "--sequences", "2", "--kv", "f16"];
    let lines =
        |ran: &str| ran.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let mut child = puna(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stdout = BufReader::new(stdout);
    let mut next = || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let ready = next();
    assert_eq!((&ready["ready"], &ready["parts"]), (&json!(true), &json!(["prefill", "decode"])));
    assert_eq!((&ready["depth"], &ready["sequences"], &ready["kv"]), (&json!(5), &json!(2), &json!("f16")));
    assert!(ready["load_s"].as_f64().unwrap() > 0.0);
    for (part, n_tokens) in [("decode", 6), ("prefill", 8), ("decode", 6)] {
        // The answer comes before the next question.
        writeln!(stdin, "{part}").unwrap();
        let speed = next();
        assert_eq!((&speed["part"], &speed["tokens"]), (&json!(part), &json!(n_tokens)));
        for key in ["tokens_per_s", "gb_per_s", "gflop_per_s"] {
            assert!(speed[key].as_f64().unwrap() > 0.0, "{key}");
        }
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    // `quit` ends it as well, and nothing after it counts.
    let quick = ["bench", "--paced", "-p", "0", "-n", "1"];
    assert_eq!(lines(&run_with(&quick, b"decode\nquit\nnonsense\n").ok()).len(), 2);
    for (input, part) in
        [(&b"fly\n"[..], "`fly`"), (b"prefill\n", "one of `decode`, `quit`"), (b"\xff\n", "UTF-8")]
    {
        let ran = run_with(&quick, input);
        assert_eq!((ran.code, lines(&ran.stdout).len()), (Some(1), 1));
        assert!(ran.stderr.contains(part), "{ran:?}");
    }
    assert!(run(&["bench", "--paced", "--repeat", "3"]).error(2).contains("--repeat"));
    assert!(run(&["bench", "--paced", "--json"]).error(2).contains("--json"));
}

#[test]
fn score_of_text_and_of_its_ids_agree() {
    let text = "Once upon a time there was a cat.";
    let by_text = run_with(&["score", "--text", "-", "--json"], text.as_bytes()).json();
    let ids = run(&["tokenize", text]).ok();
    let by_ids = run_with(&["score", "--ids", "-", "--json"], ids.as_bytes()).json();
    for key in ["tokens", "predicted", "nll_sum", "nll_mean", "perplexity"] {
        assert_eq!(by_text[key], by_ids[key], "{key}");
    }
    let bits = by_text["nll_sum"].as_f64().unwrap() / std::f64::consts::LN_2 / text.len() as f64;
    assert!((by_text["bits_per_byte"].as_f64().unwrap() - bits).abs() < 1e-9);
    assert!(by_ids.get("bits_per_byte").is_none());
    assert!(run_with(&["score", "--text", "-"], text.as_bytes()).ok().contains("perplexity"));
}

#[test]
fn long_texts_are_scored_in_windows() {
    let text = b"Once upon a time there was a cat. ".repeat(30);
    let score = |args: &[&str]| run_with(&[&["score", "--text", "-", "--json"], args].concat(), &text).json();
    let whole = score(&[]);
    assert_eq!((&whole["protocol"], whole.get("windows")), (&json!("whole"), None));
    assert!(whole["perplexity_error"].as_f64().unwrap() > 0.0);
    let n = whole["tokens"].as_u64().unwrap();
    let cut = score(&["--ctx", "64"]);
    assert_eq!(
        (&cut["protocol"], &cut["window"], &cut["stride"]),
        (&json!("windows"), &json!(64), &json!(32))
    );
    assert_eq!(cut["windows"], 1 + (n - 64).div_ceil(32));
    assert_eq!((&cut["predicted"], &cut["bytes"]), (&json!(n - 1), &json!(text.len())));
    assert_eq!(score(&["--window", "64"])["nll_sum"], cut["nll_sum"]);
    assert_eq!(score(&["--window", "64", "--stride", "16"])["stride"], 16);
    let peer = score(&["--protocol", "llama.cpp", "--window", "64"]);
    assert_eq!((&peer["protocol"], &peer["windows"]), (&json!("llama.cpp"), &json!(n / 64)));
    assert_eq!((&peer["predicted"], peer.get("bytes")), (&json!(n / 64 * 31), None));
    let table = run_with(&["score", "--text", "-", "--ctx", "64"], &text).ok();
    assert!(table.contains("of 64 tokens, stride 32") && table.contains(" ± "), "{table}");
}

#[test]
fn what_cannot_be_scored_is_said() {
    assert!(run_with(&["score", "--text", "-"], b"").error(1).contains("empty"));
    assert!(run_with(&["score", "--ids", "-"], b"[]").error(1).contains("empty"));
    assert!(run_with(&["score", "--ids", "-"], b"[1, 4000000000]").error(1).contains("4000000000"));
    assert!(run(&["score"]).error(2).contains("--text"));
    assert!(run(&["score", "--text", "a", "--ids", "b"]).error(2).contains("cannot be used with"));
    let long = b"Once upon a time ".repeat(9);
    let logits = ["score", "--text", "-", "--ctx", "8", "--logits", "l.safetensors"];
    let error = run_with(&logits, &long).error(1);
    assert!(error.contains("the text has") && error.contains("the context has 8"), "{error}");
    assert!(run(&["score", "--text", "-", "--window", "8", "--logits", "l"]).error(2).contains("--logits"));
    assert!(
        run(&["score", "--text", "-", "--stride", "8", "--protocol", "llama.cpp"])
            .error(2)
            .contains("--stride")
    );
    let error = run_with(&["score", "--text", "-", "--window", "8", "--stride", "8"], &long).error(1);
    assert!(error.contains("from 1 to 7"), "{error}");
    let error = run_with(&["score", "--text", "-", "--protocol", "llama.cpp"], b"Once upon a time").error(1);
    assert!(error.contains("two windows"), "{error}");
    let error = run_with(&["score", "--text", "-", "--logits", "no/such/dir/l.safetensors"], b"hi").error(1);
    assert!(error.contains("cannot write"), "{error}");
}

#[test]
fn help_has_examples_and_shells_get_completions() {
    for command in ["run", "score", "tokenize", "detokenize", "prompt", "show", "bench", "completions"] {
        let help = run(&[command, "--help"]).ok();
        assert!(help.contains("Examples:") && help.contains(&format!("puna {command}")), "{command}");
    }
    for command in ["run", "infill", "guard", "score", "tokenize", "detokenize", "prompt", "bench"] {
        let help = run(&[command, "--help"]).ok();
        // One wording for standard input.
        for (at, _) in help.match_indices("`-`") {
            let rest = help[at..].split_whitespace().take(4).collect::<Vec<_>>().join(" ");
            assert!(rest.starts_with("`-` is standard input"), "{command}: {rest}");
        }
        // No option that the command would ignore.
        assert_eq!(help.contains("--mmproj"), ["run", "guard"].contains(&command), "{command}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(run(&["completions", shell]).ok().contains("COMPLETE"), "{shell}");
    }
    assert!(run(&["completions", "cmd"]).error(2).contains("bash"));
    assert!(run(&["--version"]).ok().starts_with("puna "));
}

#[test]
fn infilling_needs_a_model_that_learnt_it() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (file(dir.path(), "a", "def f("), file(dir.path(), "b", "return x"));
    let error = run(&["infill", "--prefix", &a, "--suffix", &b]).error(1);
    assert!(error.contains("cannot fill in") && error.contains("Code Llama"), "{error}");
    assert!(run(&["infill", "--prefix", "-", "--suffix", "-"]).error(2).contains("not both"));
    assert!(run(&["infill", "--prefix", &a]).error(2).contains("--suffix"));
}

#[test]
fn standard_input_is_read_once() {
    for args in [
        &["prompt", "--messages", "-", "--tools", "-"][..],
        &["guard", "--messages", "-", "--categories", "-"],
    ] {
        let error = run_with(args, b"[]").error(2);
        assert!(error.contains("standard input can be --messages or"), "{args:?}: {error}");
    }
}

/// The path of a model is no text.
#[test]
fn paths_are_not_taken_as_texts() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "model.gguf", "x");
    for command in ["embed", "tokenize"] {
        let ran = run(&[command, &path]);
        assert!(ran.code == Some(2) && ran.stderr.contains("-m names a model"), "{command}: {}", ran.stderr);
    }
    run(&["tokenize", "no/such.gguf"]).ok();
    // Nor an argument that nobody expects.
    for command in ["show", "bench"] {
        let ran = run(&[command, &path]);
        assert!(
            ran.code == Some(2) && ran.stderr.contains("-m names the model"),
            "{command}: {}",
            ran.stderr
        );
    }
}
