//! What models say of themselves: how open they are, and whether they are as their makers made them.

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{file, run};
use puna_store::made::{Key, Made, Parent, Part};

#[test]
fn a_bill_of_materials_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny::write(&dir.path().join("a.gguf"), &["a"], &[]);
    assert!(run(&["verify", &model]).error(2).contains("a.cdx.json"));
    let path = std::path::Path::new(&model);
    let parent =
        Parent { name: "big".into(), path: path.to_owned(), licence: Some("mit".into()), part: Part::Copy };
    let made = Made { name: "a".into(), how: "written".into(), parents: vec![parent] };
    let key = Key::new().unwrap();
    made.put(path, Some(&key)).unwrap();
    let ran = run(&["verify", &model]);
    assert!(ran.stderr.contains("--key"), "{ran:?}");
    assert_eq!(ran.ok(), "a: 2 files as its bill of materials says\n");
    let line = key.public().line();
    assert!(run(&["verify", &model, "--key", &line]).ok().ends_with("its signature is right\n"));
    let public = file(dir.path(), "maker.pub", format!("untrusted comment: key\n{line}\n"));
    assert!(run(&["verify", &model, "--key", &public]).ok().ends_with("its signature is right\n"));
    let other = Key::new().unwrap().public().line();
    assert!(run(&["verify", &model, "--key", &other]).error(1).contains("a.cdx.json.minisig"));
    assert!(run(&["verify", &model, "--key", "nonsense"]).error(2).contains("public key"));
    file(dir.path(), "a.Notice", "Mine.");
    let ran = run(&["verify", &model, "--key", &line]);
    assert!(ran.stdout.contains("a.Notice: its content is another") && ran.code == Some(1), "{ran:?}");
    assert!(ran.stderr.contains("1 file is not as the bill"), "{ran:?}");
    // Nobody signed this one.
    made.put(path, None).unwrap();
    assert!(run(&["verify", &model, "--key", &line]).error(1).contains("is not signed"));
    assert!(run(&["verify", "nothing", "--key", &line]).error(2).contains("--key"));
}

#[test]
fn a_card_tells_how_open_a_model_is() {
    let dir = tempfile::tempdir().unwrap();
    let llama = tiny::write(&dir.path().join("a.gguf"), &["a"], &[("general.license", "llama3.2")]);
    let text = run(&["show", "-m", &llama]).ok();
    assert!(text.contains("Open Source AI Definition") && text.contains("European Union"), "{text}");
    let card = run(&["show", "-m", &llama, "--json"]).json()["openness"].clone();
    let of = |i: usize| {
        (card[i]["what"].as_str().unwrap().to_owned(), card[i]["meets"].as_str().unwrap().to_owned())
    };
    assert_eq!((of(0), of(3)), (("licence".into(), "no".into()), ("data".into(), "no".into())));
    let free = tiny::write(&dir.path().join("b.gguf"), &["a"], &[("general.license", "apache-2.0")]);
    let card = run(&["show", "-m", &free, "--json"]).json()["openness"].clone();
    assert_eq!((&card[0]["meets"], &card[3]["meets"]), (&"yes".into(), &"not known".into()));
}
