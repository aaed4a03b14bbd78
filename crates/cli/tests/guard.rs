//! `puna guard`: what was not judged does not pass.

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{file, run, run_with};

const CHAT: &str =
    r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}"#;

#[test]
fn verdicts_and_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let chat = file(dir.path(), "chat.json", CHAT);
    let safe = tiny::write(&dir.path().join("safe-guard.gguf"), &["▁safe"], &[]);
    let other = tiny::write(&dir.path().join("llama-guard.gguf"), &["▁unsafe", "\nO3, O1"], &[]);

    let verdict = run(&["guard", "-m", &safe, "--messages", &chat, "--exit-code", "--json"]).json();
    assert_eq!((&verdict["safe"], &verdict["version"]), (&true.into(), &1.into()));
    assert!(verdict["p_unsafe"].as_f64().unwrap() < 0.01, "{verdict}");

    let verdict = run(&["guard", "-m", &other, "--messages", &chat, "--json"]).json();
    assert_eq!(verdict["safe"], false);
    assert_eq!(
        (&verdict["categories"][0]["code"], &verdict["categories"][1]["code"]),
        (&"O3".into(), &"O1".into())
    );
    assert!(verdict["p_unsafe"].as_f64().unwrap() > 0.9, "{verdict}");
    let text = run(&["guard", "-m", &other, "--messages", &chat]).ok();
    assert!(text.starts_with("unsafe\nO3  Criminal Planning\n"), "{text}");
    for json in [&[][..], &["--json"]] {
        let ran = run(&[&["guard", "-m", &other, "--messages", &chat, "--exit-code"], json].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(3), ""), "{ran:?}");
        assert!(ran.stdout.contains("unsafe"));
    }
}

#[test]
fn no_verdict_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let chat = file(dir.path(), "chat.json", CHAT);
    for (i, answer) in [&["N", "o"][..], &["▁safe", "t", "y"], &["▁safe", "▁s", "o"]].into_iter().enumerate()
    {
        let model = tiny::write(&dir.path().join(format!("guard-{i}.gguf")), answer, &[]);
        for exit_code in [&[][..], &["--exit-code"]] {
            let args = [&["guard", "-m", &model, "--messages", &chat], exit_code].concat();
            let error = run(&args).error(1);
            assert!(error.contains(&format!("`{model}` gave no verdict")), "{error}");
            assert!(error.contains("it answered `"), "{error}");
            let ran = run(&[&args[..], &["--json"]].concat());
            let object: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(ran.code, Some(1));
            assert!(object["safe"].is_null() && object["p_unsafe"].is_null(), "{object}");
            assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("no verdict"), "{ran:?}");
        }
    }
}

/// By its name, by the name in the file, or by its template; or because somebody says so.
#[test]
fn only_guards_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    let chat = file(dir.path(), "chat.json", CHAT);
    let template = "Task: Check if there is unsafe content in {{ messages[0].content }}";
    let path = dir.path().join("m.gguf");
    let plain = tiny::write(&path, &["▁safe"], &[]);
    let error = run(&["guard", "-m", &plain, "--messages", &chat]).error(1);
    assert!(error.contains(&format!("`{plain}` does not look like a Llama Guard")), "{error}");
    assert!(error.contains("--guard-version N"), "{error}");
    let error = run(&["guard", "--messages", &chat, "--json"]).error(1);
    assert!(error.contains("built-in"), "{error}");
    let stated = run(&["guard", "-m", &plain, "--messages", &chat, "--guard-version", "1"]).ok();
    assert!(stated.starts_with("safe\nprobability of unsafe 0.0"), "{stated}");
    for keys in [&[("general.name", "Llama Guard 7B")][..], &[("tokenizer.chat_template", template)]] {
        let model = tiny::write(&path, &["▁safe"], keys);
        assert!(run(&["guard", "-m", &model, "--messages", &chat]).ok().starts_with("safe\n"));
    }
}

#[test]
fn what_a_guard_is_asked_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let chat = file(dir.path(), "chat.json", CHAT);
    let args = ["guard", "--messages", &chat, "--guard-version", "1"];
    let with = |more: &[&str]| run(&[&args[..], more].concat());
    assert!(with(&["--exclude", "X"]).error(1).contains("O1, O2"));
    assert!(run(&["guard", "--messages", &chat, "--guard-version", "5"]).error(2).contains("1, 2, 3 or 4"));
    let own = file(dir.path(), "own.json", r#"{"A10": "Ten.", "A2": "Two.\nOf both."}"#);
    let error = with(&["--categories", &own, "--exclude", "O1"]).error(1);
    assert!(error.contains("A2, A10"), "{error}");
    let none = file(dir.path(), "none.json", "{}");
    assert!(with(&["--categories", &none]).error(1).contains("there is none"));
    let odd = br#"[{"role": "system", "content": "x"}]"#;
    let error = run_with(&["guard", "--guard-version", "1", "--messages", "-"], odd).error(1);
    assert!(error.contains("user and the assistant"), "{error}");
    // The program's own version keeps its flags.
    assert!(run(&["guard", "--messages", &chat, "--version"]).error(2).contains("--version"));
    let help = run(&["guard", "--help"]).ok();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("0 safe, 3 unsafe, 1 no verdict"), "{help}");
}
