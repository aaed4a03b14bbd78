//! What licences say, of a name and of a model.

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{file, run};

#[test]
fn a_licence_is_told_by_its_name() {
    let all = run(&["licence"]).ok();
    assert!(["llama2 ", "llama3.1 ", "llama4 "].iter().all(|id| all.contains(id)), "{all}");
    let text = run(&["licence", "llama3"]).ok();
    assert!(text.contains("outputs: no\n") && text.contains("(1.b.v)"), "{text}");
    assert!(text.contains("Built with Meta Llama 3") && text.contains("700 million"), "{text}");
    let text = run(&["license", "Llama 3.2"]).ok();
    assert!(text.contains("outputs: yes, if\n") && text.contains("European Union"), "{text}");
    let facts = run(&["licence", "llama2", "--json"]).json();
    assert_eq!(
        (&facts["licence"], &facts["permits"]["teach_with_outputs"]["answer"]),
        (&"llama2".into(), &"no".into())
    );
    let error = run(&["licence", "llama9"]).error(2);
    assert!(error.contains("no licence and no model `llama9`") && error.contains("llama3.1"), "{error}");
    assert!(run(&["licence", "llama3", "--text"]).error(2).contains("name one"));
}

#[test]
fn a_models_files_tell_its_licence() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [("general.license", "llama3.1")];
    let model = tiny::write(&dir.path().join("a.gguf"), &["a"], &keys);
    assert!(
        run(&["licence", &model]).ok().contains("its files name the licence llama3.1\n\nLlama 3.1 Community")
    );
    assert!(run(&["licence", &model, "--text"]).error(1).contains("no licence's text"));
    // A text counts more than a word, and is told by its title; not one of somebody's programs.
    file(dir.path(), "LICENSE", "MIT License\n");
    assert!(run(&["licence", &model]).ok().contains("Llama 3.1 Community"));
    file(dir.path(), "LICENSE", "META LLAMA 3 COMMUNITY LICENSE AGREEMENT\nAs I like it.\n");
    let ran = run(&["licence", &model]);
    assert!(ran.stderr.contains("but the model says that it has the Llama 3.1 Community License"), "{ran:?}");
    let text = ran.ok();
    assert!(
        text.contains("but not its words") && text.contains("\n\nMeta Llama 3 Community License"),
        "{text}"
    );
    assert_eq!(run(&["licence", &model, "--json"]).json()["is_verbatim"], false);
    assert!(run(&["licence", &model, "--text"]).ok().ends_with("As I like it.\n"));
    let text = run(&["licence", dir.path().join("LICENSE").to_str().unwrap()]).ok();
    assert!(
        text.starts_with("LICENSE has the title of the Meta Llama 3 Community License, but not its words"),
        "{text}"
    );
    let mit = file(dir.path(), "notes.txt", "MIT License\n");
    assert!(
        run(&["licence", &mit]).error(2).contains("neither the text of one of Meta's licences nor a model")
    );
    let other = tiny::write(&dir.path().join("b.gguf"), &["a"], &[("general.license", "apache-2.0")]);
    std::fs::remove_file(dir.path().join("LICENSE")).unwrap();
    assert!(run(&["licence", &other]).ok().contains("apache-2.0, which is none of Meta's"));
}
