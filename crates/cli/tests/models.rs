//! Which model is meant: paths where prompts may stand, and the models on this machine.

mod common;

use std::path::Path;

use common::{Ran, puna, run};

/// The built-in model, as a file of one's own.
fn model(dir: &Path, name: &str) -> String {
    let gguf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../puna/assets/stories.gguf");
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::copy(gguf, &path).unwrap();
    path.to_str().unwrap().to_owned()
}

fn run_at(home: &Path, args: &[&str]) -> Ran {
    let mut command = puna(args);
    for name in ["HF_HOME", "HF_HUB_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    command.env("HOME", home).output().unwrap().into()
}

#[test]
fn a_model_may_stand_where_a_prompt_may() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path(), "m/model.gguf");
    let folder = dir.path().join("m");
    let rest = ["Once", "-n", "5", "--temperature", "0"];
    let want = run(&[&["run", "-m", &path], &rest[..]].concat()).ok();
    assert_eq!(run(&[&["run", &path], &rest[..]].concat()).ok(), want);
    assert_eq!(run(&[&["run", folder.to_str().unwrap()], &rest[..]].concat()).ok(), want);
    // A model alone wants a prompt or a terminal, and gets no tale.
    assert!(run(&["run", &path]).error(1).contains("is taken for the model, as with -m"));
    for word in [
        "none.gguf",
        "none.GGUF",
        "./none",
        "docs/nothing.md",
        "nothing.txt",
        "/home/me/my models/x.gguf",
        "llama3.2",
        "llama3.2:1b",
        "meta-llama/Llama-3.2-1B",
        "https://huggingface.co/meta-llama",
    ] {
        let error = run_at(dir.path(), &["run", word]).error(2);
        assert!(error.contains(&format!("there is no model `{word}`")), "{word}: {error}");
    }
    for (args, word) in [
        (&["run", "Once", "upon"][..], "there is no model `Once`"),
        (&["run", "-m", &path, "Once", "upon"], "there are two texts"),
        (&["run", "-m", &path, &path], "is a file, but not a model"),
        (&["chat", "none"], "there is no model `none`"),
    ] {
        let error = run(args).error(2);
        assert!(error.contains(word), "{args:?}: {error}");
    }
    // Blanks around a path came along when it was copied.
    assert_eq!(run(&[&["run", &format!(" {path}\n")], &rest[..]].concat()).ok(), want);
    for text in ["Hello.", "Why?", "e.g. this", "3 + 4", "a: b", "and/or what", "Once"] {
        assert!(!run(&["run", text, "-n", "2"]).ok().is_empty(), "{text}");
    }
    let folder = env!("CARGO_MANIFEST_DIR");
    let error = run(&["run", folder, "Once"]).error(1);
    assert!(error.contains(folder) && error.contains("has no model in it"), "{error}");
    assert!(run(&[&path]).error(2).contains("to run it: puna run"));
    let notes = common::file(dir.path(), "notes.txt", "Once");
    assert!(run(&["run", &notes]).error(2).contains("--prompt-file"));
    let spaced = common::file(dir.path(), "my notes.txt", "Once");
    assert!(run(&["run", &spaced]).error(2).contains("--prompt-file"));
}

#[test]
fn models_of_this_machine_are_listed_and_used_in_place() {
    let home = tempfile::tempdir().unwrap();
    let empty = run_at(home.path(), &["list"]);
    assert_eq!(empty.code, Some(0));
    assert!(empty.stderr.contains("no models were found"), "{empty:?}");
    model(home.path(), ".cache/huggingface/hub/models--a--Tiny/snapshots/x/tiny.gguf");
    let other = tempfile::tempdir().unwrap();
    model(other.path(), "sub/mine.gguf");
    let listed = run_at(home.path(), &["list", other.path().to_str().unwrap(), "--json"]).json();
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["sub/mine.gguf", "a/Tiny/tiny"]);
    let table = run_at(home.path(), &["list"]).ok();
    assert!(table.contains("a/Tiny/tiny") && table.contains("Hugging Face"), "{table}");
    assert!(run_at(home.path(), &["list", "/no/such"]).error(1).contains("not a folder"));
    let answer = run_at(home.path(), &["run", "a/Tiny/tiny", "Once", "-n", "4", "--temperature", "0"]).ok();
    assert_eq!(answer, run(&["run", "Once", "-n", "4", "--temperature", "0"]).ok());
    for name in ["A/tiny", "a/Tiny/tiny"] {
        assert_eq!(
            run_at(home.path(), &["run", "-m", name, "Once", "-n", "4", "--temperature", "0"]).ok(),
            answer,
            "{name}"
        );
    }
    model(home.path(), ".cache/huggingface/hub/models--a--Tiny/snapshots/x/other.gguf");
    let several = run_at(home.path(), &["run", "a/Tiny", "Once"]).error(2);
    assert!(several.contains("`a/Tiny/other`, `a/Tiny/tiny`"), "{several}");
    let elsewhere = run_at(other.path(), &["run", "a/Tiny/tiny", "Once"]).error(2);
    assert!(elsewhere.contains("there is no model"), "{elsewhere}");
}

#[test]
fn help_is_a_command_too() {
    for args in [&["help"][..], &["help", "run"], &["help", "chat"], &["help", "list"], &["run", "--help"]] {
        assert!(run(args).ok().contains("Usage: puna"), "{args:?}");
    }
}

/// The README's table of models is the program's.
#[test]
fn the_readme_tells_what_the_catalogue_does() {
    let readme = include_str!("../../../README.md");
    let table = run(&["models", "--all"]).ok();
    let known = run(&["models", "--all", "--json"]).json();
    let rows = readme.lines().skip_while(|line| !line.starts_with("| model | 4 bits | 16 bits |")).skip(2);
    let rows: Vec<Vec<&str>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 5, "{rows:?}");
    for row in rows {
        let name = row[0].trim_matches('`');
        let own = known.as_array().unwrap().iter().find(|own| own["ollama"] == name);
        let hub = own.unwrap_or_else(|| panic!("{name}"))["hub"].as_str().unwrap();
        let hub = hub.rsplit('/').next().unwrap();
        let line = table.lines().find(|line| line.split("  ").next() == Some(hub)).unwrap();
        for cell in &row[1..5] {
            assert!(line.split("  ").any(|own| own.trim() == *cell), "{name}: {cell}, and not {line}");
        }
    }
}
