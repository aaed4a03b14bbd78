//! What comes from files, paths and requests and was not meant well, or not meant for us.

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{Ran, file, puna, run, run_with};
use serde_json::{Value, json};

/// Whether a terminal would take something in it for a command.
fn steers(text: &str) -> bool {
    let is_direction = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    text.chars().any(|c| (c.is_control() && c != '\n') || is_direction(c))
}

const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\r\nform  forged\u{9b}31m\u{202e}";

#[test]
fn show_prints_names_on_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [("general.name", HOSTILE), ("general.license", "\u{1b}[31m\nform  forged")];
    let model = tiny::write(&dir.path().join("a\n\u{1b}[2J.gguf"), &["a"], &keys);
    let text = run(&["show", "-m", &model]).ok();
    assert!(!steers(&text) && !text.contains("\nform  forged"), "{text:?}");
    assert!(text.contains("\\u{1b}[2J") && text.contains("\\n"), "{text}");
    let object = run(&["show", "-m", &model, "--json"]).json();
    assert_eq!(object["name"], HOSTILE, "programs get the name as it is");
}

#[test]
fn messages_hold_no_control_characters_and_no_forged_lines() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("x\nerror: forged\u{1b}[31m\u{202e}.gguf");
    let name = name.to_str().unwrap();
    let chat = r#"[{"role": "user", "content": [{"type": "a\nerror: forged\u001b"}]}]"#;
    let chat = file(dir.path(), "chat.json", chat);
    let error = |args: &[&str]| {
        let ran = run(args);
        assert!(matches!(ran.code, Some(1 | 2)) && !steers(&ran.stderr), "{args:?} {ran:?}");
        let n_errors = ran.stderr.lines().filter(|line| line.starts_with("error:")).count();
        assert_eq!(n_errors, 1, "{args:?} {ran:?}");
        ran.stderr
    };
    let said = error(&["show", "-m", name]);
    assert!(said.contains("x\\nerror: forged\\u{1b}[31m\\u{202e}.gguf`"), "{said}");
    for command in ["run", "score", "tokenize", "detokenize", "bench", "guard", "prompt", "infill"] {
        let more: &[&str] = match command {
            "guard" | "prompt" => &["--messages", &chat],
            "score" => &["--ids", name],
            "detokenize" => &["1"],
            "infill" => &["--prefix", &chat, "--suffix", name],
            "bench" => &[],
            _ => &["hi"],
        };
        error(&[&[command, "-m", name], more].concat());
    }
    error(&["tokenize", "--file", name]);
    error(&["prompt", "--messages", &chat]);
    error(&["prompt", "--messages", name]);
    error(&["run", "hi", "--image", name]);
    error(&["run", "hi", "--kv-dir", name]);
    error(&["run", "hi", "--threads", name]);
    error(&["run", "hi", &format!("--{name}")]);
    error(&[name]);
    let ran = Ran::from(puna(&["run", "hi"]).env("PUNA_ISA", name).output().unwrap());
    assert!(!steers(&ran.stderr) && ran.stderr.lines().filter(|l| l.starts_with("error:")).count() == 1);
    let ran = run_with(&["bench", "--paced", "-p", "0", "-n", "1"], b"\x1b[31m\x07\n");
    assert!(ran.code == Some(1) && !steers(&ran.stderr), "{ran:?}");
    // A model that exists, in what -v says.
    let model = tiny::write(name.as_ref(), &["a"], &[]);
    let ran = run(&["run", "-m", &model, "-v", "-n", "2", "hi"]);
    assert!(ran.code == Some(0) && !steers(&ran.stderr), "{ran:?}");
    assert!(ran.stderr.lines().all(|line| !line.starts_with("error:")), "{ran:?}");
    assert!(!steers(&run(&["bench", "-m", &model, "-p", "2", "-n", "1", "--repeat", "1"]).ok()));
}

/// On a terminal answers, prompts and tables are shown without; in pipes they are what they are.
#[test]
fn terminals_are_spared_and_pipes_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let text = file(dir.path(), "text", "a\u{1b}[2Jb\u{9b}31mc\u{202e}d");
    let ids = run(&["tokenize", "--file", &text]).ok();
    let ids = file(dir.path(), "ids.json", ids);
    assert_eq!(run(&["detokenize", "--ids", &ids]).ok(), "a\u{1b}[2Jb\u{9b}31mc\u{202e}d");
    let on_terminal = |args: &str| -> Option<String> {
        let command = format!("{} {args}", env!("CARGO_BIN_EXE_puna"));
        let script = std::process::Command::new("script").args(["-qec", &command, "/dev/null"]).output();
        let shown = String::from_utf8(script.ok()?.stdout).unwrap();
        Some(shown.replace("\r\n", "\n"))
    };
    for args in [
        format!("detokenize --ids {ids}"),
        format!("tokenize --file {text}"),
        format!("run --raw -n 1 --prompt-file {text}"),
    ] {
        let Some(shown) = on_terminal(&args) else {
            puna_conformance::skip("what terminals are shown", "there is no `script`");
            return;
        };
        assert!(shown.contains('a') && !steers(&shown), "{args}: {shown:?}");
    }
}

#[test]
fn unknown_parts_of_messages_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    let model = tiny::write(&dir.path().join("m.gguf"), &["a"], &[("tokenizer.chat_template", template)]);
    for kind in ["video", "input_audio", "file", "image-url"] {
        let question = json!({"type": "text", "text": "What is it?"});
        let chat = json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": [{"type": kind, kind: {"url": "x"}}, question]},
        ]);
        let chat = file(dir.path(), "chat.json", chat.to_string());
        for command in [&["prompt"][..], &["guard", "--guard-version", "1"]] {
            let error = run(&[command, &["-m", &model, "--messages", &chat]].concat()).error(1);
            assert!(error.contains(&format!("message 3 has a part of type `{kind}`")), "{error}");
        }
    }
}

#[test]
fn pictures_of_messages_are_named_and_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let missing = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [{"type": "image", "path": "none.png"}]}]);
    let missing = file(dir.path(), "missing.json", missing.to_string());
    let error = run(&["guard", "--guard-version", "4", "--messages", &missing]).error(1);
    assert!(error.contains("`none.png` of message 3"), "{error}");
}

/// Editors on Windows write byte order marks and UTF-16.
#[test]
fn texts_with_byte_order_marks_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let plain = run(&["tokenize", "a cat é"]).json();
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    let model = tiny::write(&dir.path().join("m.gguf"), &["a"], &[("tokenizer.chat_template", template)]);
    let chat = r#"[{"role": "user", "content": "hi"}]"#;
    for bytes in [utf16("\u{feff}a cat é"), "\u{feff}a cat é".into()] {
        let path = file(dir.path(), "text", bytes);
        assert_eq!(run(&["tokenize", "--file", &path]).json(), plain);
    }
    for bytes in [utf16(&format!("\u{feff}{chat}")), format!("\u{feff}{chat}").into()] {
        assert_eq!(run_with(&["prompt", "-m", &model, "--messages", "-"], &bytes).ok(), "hi");
    }
    let error = run_with(&["prompt", "-m", &model, "--messages", "-"], &utf16(chat)).error(1);
    assert!(error.contains("UTF-16 without a byte order mark"), "{error}");
    let error = run_with(&["score", "--text", "-"], &utf16("Once upon")).error(1);
    assert!(error.contains("UTF-16"), "{error}");
}

#[test]
fn folders_say_what_is_in_them() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b", "a"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        tiny::write(&dir.path().join(name).join("m.gguf"), &["a"], &[]);
    }
    let outer = dir.path().to_str().unwrap();
    let error = run(&["show", "-m", outer]).error(1);
    assert!(error.contains("folders with models: `a`, `b`"), "{error}");

    // Two forms in one folder: one is used, and which one is said.
    let saved = dir.path().join("saved");
    std::fs::create_dir(&saved).unwrap();
    let model = puna::Llama::load(dir.path().join("a")).unwrap();
    model.engine().model().save_hf(&saved, puna::DType::F32).unwrap();
    let path = saved.to_str().unwrap();
    assert_eq!(run(&["score", "-m", path, "--ids", "/dev/stdin"]).stderr.matches("note:").count(), 0);
    tiny::write(&saved.join("m.gguf"), &["a"], &[]);
    let ran = run_with(&["score", "-m", path, "--ids", "-", "--json"], b"[1, 5, 9]");
    let said = "holds a model in Hugging Face's form and one in GGUF's; Hugging Face's is used";
    assert!(ran.code == Some(0) && ran.stderr.contains(said), "{ran:?}");
    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(object["predicted"], 2);
}

/// Nothing in a shard says that there are others; its shapes do.
#[test]
fn a_missing_shard_is_named() {
    let Some(root) = common::fixtures() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = root.join("meta/llama2-gqa-f16-mp2");
    for entry in std::fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let model = dir.path().to_str().unwrap();
    let ids = &b"[1, 5, 9]"[..];
    run_with(&["score", "-m", model, "--ids", "-"], ids).ok();
    std::fs::remove_file(dir.path().join("consolidated.01.pth")).unwrap();
    let error = run_with(&["score", "-m", model, "--ids", "-"], ids).error(1);
    assert!(error.contains("consolidated.01.pth`") && error.contains("it has 2, found are 1"), "{error}");
}
