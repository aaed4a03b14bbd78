//! `puna run` as a user meets it, with the built-in model.

mod common;

use std::io::Read;
use std::process::Stdio;

use common::{puna, run, run_with};
use serde_json::Value;

#[test]
fn a_prompt_gets_an_answer_on_one_line_end() {
    let answer = run(&["run", "Once upon a time", "-n", "30", "--seed", "1"]).ok();
    assert!(answer.len() > 20 && answer.ends_with('\n') && !answer.ends_with("\n\n"), "{answer:?}");
}

#[test]
fn one_seed_one_answer() {
    let answer = |seed: &str, threads: &str| {
        run(&["run", "Once upon a time", "-n", "40", "--seed", seed, "--threads", threads]).ok()
    };
    assert_eq!(answer("7", "1"), answer("7", "1"));
    assert_eq!(answer("7", "1"), answer("7", "2"));
    assert_ne!(answer("7", "1"), answer("8", "1"));
}

#[test]
fn the_prompt_may_come_from_standard_input() {
    let args = ["-n", "20", "--temperature", "0"];
    let given = run(&[&["run", "Once upon a time"], &args[..]].concat()).ok();
    assert_eq!(run_with(&[&["run"], &args[..]].concat(), b"Once upon a time\n").ok(), given);
    assert_eq!(run_with(&[&["run", "-"], &args[..]].concat(), b"Once upon a time").ok(), given);
    // An argument wins; standard input is left alone.
    assert_eq!(run_with(&[&["run", "Once upon a time"], &args[..]].concat(), b"no").ok(), given);
}

#[test]
fn the_json_object_says_everything() {
    let object = run(&["run", "Once upon a time", "-n", "9", "--json", "--seed", "3"]).json();
    assert_eq!(object["finish_reason"], "length");
    assert_eq!(object["seed"], 3);
    let (n_prompt, n_ids) =
        (object["prompt_ids"].as_array().unwrap().len(), object["ids"].as_array().unwrap().len());
    assert_eq!(n_ids, 9);
    assert_eq!(object["counts"]["prompt"], n_prompt);
    assert_eq!(object["counts"]["completion"], 9);
    assert_eq!(object["counts"]["total"], n_prompt + 9);
    for key in ["load_s", "first_token_s", "decode_s", "prefill_tokens_per_s", "decode_tokens_per_s"] {
        assert!(object["timings"][key].as_f64().unwrap() > 0.0, "{key}");
    }
    let streamed = run(&["run", "Once upon a time", "-n", "9", "--seed", "3"]).ok();
    assert_eq!(streamed.trim_end_matches('\n'), object["text"].as_str().unwrap().trim_end_matches('\n'));
    let all = [&object["prompt_ids"], &object["ids"]].map(|ids| ids.as_array().unwrap().clone()).concat();
    let decoded = run_with(&["detokenize"], Value::Array(all).to_string().as_bytes()).ok();
    assert_eq!(decoded, format!("Once upon a time{}", object["text"].as_str().unwrap()));
}

#[test]
fn stop_strings_end_the_answer_and_are_not_shown() {
    let args = ["run", "Once upon a time", "-n", "60", "--temperature", "0", "--json"];
    let whole = run(&args).json();
    let text = whole["text"].as_str().unwrap();
    // Any part of the answer may be the stop string, wherever tokens begin and end.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(10).step_by(7).take(5).collect();
    for start in starts {
        let stop: String = text[start..].chars().take(6).collect();
        let want = &text[..text.find(&stop).unwrap()];
        let got = run(&[&args[..], &["--stop", "never to be found", "--stop", &stop]].concat()).json();
        assert_eq!(
            (got["text"].as_str().unwrap(), &got["finish_reason"]),
            (want, &Value::from("stop")),
            "{stop:?}"
        );
    }
    let unstopped = run(&[&args[..], &["--stop", "never to be found"]].concat()).json();
    assert_eq!((&unstopped["text"], &unstopped["finish_reason"]), (&whole["text"], &Value::from("length")));
}

#[test]
fn a_full_context_is_said() {
    let ran = run(&["run", "Once upon a time", "--ctx", "24", "-n", "1000"]);
    assert!(ran.stderr.contains("context of 24 tokens is full"), "{ran:?}");
    let object = run(&["run", "Once upon a time", "--ctx", "24", "-n", "1000", "--json"]).json();
    assert_eq!(
        (&object["finish_reason"], &object["counts"]["total"]),
        (&Value::from("context"), &Value::from(24))
    );
}

#[test]
fn caches_and_instruction_sets_are_chosen() {
    let said = |args: &[&str]| {
        let ran = run(&[&["run", "Once", "-n", "2", "-v"], args].concat());
        assert_eq!(ran.code, Some(0));
        ran.stderr
    };
    assert!(said(&["--kv", "q8_0"]).contains("(q8_0)"));
    assert!(said(&["--threads", "1"]).contains("1 threads"));
    for isa in puna::Isa::available() {
        let output = puna(&["run", "Once", "-n", "2", "-v"]).env("PUNA_ISA", isa.name()).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains(isa.name()));
    }
    let output = puna(&["run", "Once", "-n", "2", "-v"]).env("PUNA_THREADS", "2").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("2 threads"));
}

#[test]
fn a_prompt_may_be_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = common::file(dir.path(), "prompt.txt", "Once upon a time\n");
    let args = ["-n", "20", "--temperature", "0"];
    let given = run(&[&["run", "Once upon a time"], &args[..]].concat()).ok();
    assert_eq!(run(&[&["run", "--prompt-file", &path], &args[..]].concat()).ok(), given);
    let by_input = run_with(&[&["run", "--prompt-file", "-"], &args[..]].concat(), b"Once upon a time");
    assert_eq!(by_input.ok(), given);
    let empty = common::file(dir.path(), "empty", "");
    assert!(run(&["run", "--prompt-file", &empty]).error(1).contains("empty"));
    assert!(run(&["run", "--prompt-file", "no/such"]).error(1).contains("`no/such`"));
    assert!(run(&["run", "hi", "--prompt-file", &path]).error(2).contains("--prompt-file"));
}

/// What llama.cpp's users type: no limit, and a seed of nobody's choice.
#[test]
fn minus_one_is_no_limit_and_any_seed() {
    let args = ["run", "Once upon a time", "--ctx", "64", "--json"];
    let object = run(&[&args[..], &["-n", "-1", "--seed", "-1"]].concat()).json();
    assert!(object["finish_reason"] == "context" || object["finish_reason"] == "stop", "{object}");
    let seed = || run(&[&args[..], &["-n", "1", "--seed", "-1"]].concat()).json()["seed"].as_u64().unwrap();
    assert_ne!(seed(), seed());
    assert!(run(&["run", "hi", "-n", "-2"]).error(2).contains("-1 for no limit"));
    assert!(run(&["run", "hi", "--seed", "-2"]).error(2).contains("or -1"));
}

#[test]
fn biases_change_what_is_said() {
    let args = ["run", "Once upon a time", "-n", "8", "--temperature", "0", "--json"];
    let with = |biases: &[&str]| run(&[&args[..], biases].concat());
    let ids = |object: &Value| common::ids(&object["ids"]);
    let plain = with(&[]).json();
    let first = ids(&plain)[0];
    let banned = with(&["--logit-bias", &format!("{first}=-inf")]).json();
    assert!(!ids(&banned).contains(&first), "{banned}");
    let (one, other) = (first + 1, first + 2);
    let only = with(&["--logit-bias", &format!("{one}=100"), "--logit-bias", &format!("{other}=101")]).json();
    assert!(ids(&only).iter().all(|id| *id == other), "{only}");
    // Of a token that is named twice the last bias counts; a text is all of its tokens.
    let only = with(&["--logit-bias", "sea=-inf", "--logit-bias", "sea=100"]).json();
    assert!(only["text"].as_str().unwrap().chars().all(|c| "sea".contains(c)), "{only}");
    // The end of the text by its name.
    let ended = with(&["--logit-bias", "<|end_of_text|>=100"]).json();
    assert_eq!((ids(&ended).len(), &ended["finish_reason"]), (1, &Value::from("stop")));
    for (bias, code, part) in [
        ("999999=1", 2, "there is no token 999999,"),
        ("5", 2, "ID=BIAS or TEXT=BIAS"),
        ("5=much", 2, "ID=BIAS or TEXT=BIAS"),
        ("5=nan", 2, "finite, or -inf"),
        ("5=inf", 2, "finite, or -inf"),
        ("=1", 2, "ID=BIAS or TEXT=BIAS"),
    ] {
        let error = with(&["--logit-bias", bias]).error(code);
        assert!(error.contains(part), "{bias}: {error}");
    }
}

/// Keys and values in a file change no answer, and the file leaves nothing behind.
#[test]
fn keys_and_values_may_be_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["run", "Once upon a time", "-n", "80", "--temperature", "0"];
    let folder = dir.path().to_str().unwrap();
    assert_eq!(run(&[&args[..], &["--kv-dir", folder]].concat()).ok(), run(&args).ok());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let none = dir.path().join("none");
    let error = run(&["run", "hi", "--kv-dir", none.to_str().unwrap()]).error(1);
    assert!(error.contains(&format!("`{}`", none.display())), "{error}");
}

/// Fifty tokens are more than it takes until all weights are repacked.
#[test]
fn repacking_weights_changes_no_answer() {
    let args = ["run", "Once upon a time", "-n", "50", "--temperature", "0", "--repack"];
    let answer = |when: &str| run(&[&args[..], &[when]].concat()).ok();
    assert_eq!(answer("auto"), answer("off"));
}

#[test]
fn raw_text_begins_with_nothing_too() {
    let text = run(&["run", "", "-n", "20", "--temperature", "0"]).ok();
    assert!(!text.starts_with(' ') && text.len() > 5, "{text:?}");
}

#[test]
fn a_closed_output_ends_quietly() {
    let mut command = puna(&["run", "Once upon a time", "-n", "200"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // and closes it
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(matches!(output.status.code(), Some(0 | 141)), "{:?}", output.status);
}

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(&["run", "-m", "no/such/model.gguf", "hi"]).error(1).contains("`no/such/model.gguf`"));
    assert!(run_with(&["run"], b"").error(1).contains("empty"));
    assert!(run_with(&["run"], b"\n").error(1).contains("empty"));
    assert!(run_with(&["run"], b"ab\xff").error(1).contains("byte 2 is not valid UTF-8"));
    let long = "Once upon a time ".repeat(2000);
    let error = run(&["run", &long, "--ctx", "100"]).error(1);
    assert!(error.contains("the prompt has") && error.contains("the context has 100"), "{error}");
    let error = run(&["run", "hi", "--ctx", "99999999"]).error(1);
    assert!(error.contains("99999999") && error.contains("the model's has"), "{error}");
    let error = run(&["run", "hi", "--system", "x"]).error(1);
    assert!(error.contains("no chat template") && error.contains("--raw"), "{error}");
    let png = b"\x89PNG\r\n\x1a\n";
    let picture = common::file(dir.path(), "a.png", png);
    let error = run(&["run", "hi", "--image", &picture]).error(1);
    assert!(error.contains("cannot see pictures") && !error.contains("--mmproj"), "{error}");
    for (args, part) in [
        (&["--temperature", "-1"][..], "temperature is -1"),
        (&["--temperature", "warm"], "warm"),
        (&["--top-p", "1.5"], "top_p is 1.5"),
        (&["--min-p", "-0.1"], "min_p"),
        (&["--typical-p", "0"], "typical_p"),
        (&["--repeat-penalty", "0"], "repeat_penalty"),
        (&["--kv", "q4_0"], "q8_0"),
        (&["--threads", "0"], "1 to 1024"),
        (&["--stop", ""], "--stop"),
        (&["--raw", "--system", "x"], "--system"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let error = run(&[&["run", "hi"], args].concat()).error(2);
        assert!(error.contains(part), "{args:?}: {error}");
    }
    let with = |name: &str, value: &str| {
        common::Ran::from(puna(&["run", "hi"]).env(name, value).output().unwrap()).error(2)
    };
    assert!(with("PUNA_ISA", "mmx").contains("scalar"));
    assert!(with("PUNA_THREADS", "many").contains("PUNA_THREADS is `many`"));
    assert!(with("PUNA_THREADS", "0").contains("1 to 1024"));
}

/// A weight that is no number is found when its logits are, and named.
#[test]
fn damaged_weights_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.gguf");
    let mut bytes =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../puna/assets/stories.gguf")).unwrap();
    // The last tensor is the embedding, in Q8_0: some of its last rows get scales of NaN.
    let end = bytes.len() - 64;
    bytes[end - 400..end].fill(0x7e);
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let commands =
        [&["run", "-m", path, "Once upon a time"][..], &["score", "-m", path, "--text", "/dev/stdin"]];
    for args in commands {
        let error = run_with(args, b"Once upon a time").error(1);
        assert!(error.contains("damaged.gguf") && error.contains("tok_embeddings"), "{error}");
    }
}

#[test]
fn an_answer_is_held_to_a_schema_or_a_grammar() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let schema = r#"{"type": "object", "properties": {"age": {"type": "integer", "minimum": 1, "maximum": 99}},
        "required": ["age"], "additionalProperties": false}"#;
    let path = file("schema.json", schema);
    let ask = ["run", "Once upon a time", "--seed", "4", "-n", "60"];
    for answer in [
        run(&[&ask[..], &["--schema", &path]].concat()).ok(),
        run_with(&[&ask[..], &["--schema", "-"]].concat(), schema.as_bytes()).ok(),
    ] {
        let value: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer}: {error}"));
        assert!((1..=99).contains(&value["age"].as_i64().unwrap()), "{answer}");
    }
    let object = run(&[&ask[..], &["--schema", &path, "--json"]].concat()).json();
    assert_eq!(object["finish_reason"], "stop");
    for grammar in ["root ::= \"yes\" | \"no\"", "start: \"yes\" | \"no\""] {
        let answer = run(&[&ask[..], &["--grammar", &file("grammar", grammar)]].concat()).ok();
        assert!(["yes", "no"].contains(&answer.trim()), "{answer}");
    }

    let wrong = file("wrong.json", r#"{"properties": {"a": {"not": {}}}}"#);
    let error = run(&[&ask[..], &["--schema", &wrong]].concat()).error(1);
    assert!(error.contains("wrong.json`\n  `not` at `/properties/a/not` cannot be enforced"), "{error}");
    let error = run(&[&ask[..], &["--grammar", &file("wrong.gbnf", "root ::= a")]].concat()).error(1);
    assert!(error.contains("wrong.gbnf`\n  line 1: there is no rule `a`"), "{error}");
    let error = run(&[&ask[..], &["--schema", &path, "--grammar", &path]].concat()).error(2);
    assert!(error.contains("cannot be used with"), "{error}");
    let error = run_with(&["run", "-", "--schema", "-"], b"{}").error(2);
    assert!(
        error.contains("standard input can be the prompt or what the answer is held to, not both"),
        "{error}"
    );
    let error = run(&[&ask[..], &["--schema", &file("no.json", "{")]].concat()).error(1);
    assert!(error.contains("no.json` as JSON"), "{error}");
}
