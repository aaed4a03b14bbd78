//! What goes with a model that is made: licences, a notice, a bill of materials, a signature.

use std::path::{Path, PathBuf};

use ct_codecs::{Base64, Decoder, Encoder};
use puna_store::made::{Key, Made, Parent, Part, PublicKey, bom_of, check_bom, check_signature};
use serde_json::Value;

/// The beginning of an agreement: enough to know which.
fn agreement(models: &str) -> String {
    format!("{models} COMMUNITY LICENSE AGREEMENT\n{models} Version Release Date\n")
}

/// A model's folder with files of these names and texts.
fn folder(root: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
    folder
}

fn parent(name: &str, path: &Path, licence: Option<&str>, part: Part) -> Parent {
    Parent { name: name.into(), path: path.to_owned(), licence: licence.map(str::to_owned), part }
}

fn made(name: &str, parents: Vec<Parent>) -> Made {
    Made { name: name.into(), how: "quantised to Q4_K".into(), parents }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn licences_go_along() {
    let root = tempfile::tempdir().unwrap();
    let text = agreement("LLAMA 3.2");
    let from = folder(
        root.path(),
        "from",
        &[("LICENSE.txt", &text), ("USE_POLICY.md", "Be good."), ("config.json", "{}")],
    );
    let to = folder(root.path(), "to", &[("model.safetensors", "weights")]);
    let made = made("Llama-Small", vec![parent("meta-llama/Llama-3.2-1B", &from, None, Part::Copy)]);
    let kept = made.check().unwrap();
    assert!(kept.iter().any(|says| says.contains("1.b.iii")), "{kept:?}");
    made.put(&to, None).unwrap();
    assert_eq!((read(&to.join("LICENSE.txt")), read(&to.join("USE_POLICY.md"))), (text, "Be good.".into()));
    let notice = read(&to.join("Notice"));
    for part in ["Llama-Small", "quantised to Q4_K", "meta-llama/Llama-3.2-1B", "Built with Llama"] {
        assert!(notice.contains(part), "{part}: {notice}");
    }
    assert!(notice.contains("is licensed under the Llama 3.2 Community License, Copyright © Meta Platforms, Inc. All Rights Reserved."));
    assert!(!to.join("config.json").exists());
    let keys = made.gguf_metadata();
    let key = |name: &str| keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(key("general.license"), Some("llama3.2"));
    assert_eq!(key("general.license.name"), Some("Llama 3.2 Community License"));
    assert!(key("general.license.link").unwrap().ends_with("llama3_2/LICENSE"));
    assert_eq!(key("general.base_model.0.name"), Some("meta-llama/Llama-3.2-1B"));
    // Again: nothing twice.
    let n = std::fs::read_dir(&to).unwrap().count();
    made.put(&to, None).unwrap();
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), n);
}

#[test]
fn beside_a_file_nobody_elses_are_written_over() {
    let root = tempfile::tempdir().unwrap();
    let from = folder(root.path(), "from", &[("LICENSE", &agreement("LLAMA 3.1")), ("a.gguf", "weights")]);
    let to = folder(root.path(), "to", &[("LICENSE", "mine"), ("b.LICENSE", "other"), ("b.gguf", "less")]);
    let made = made("b", vec![parent("a", &from.join("a.gguf"), None, Part::Copy)]);
    let written = made.put(&to.join("b.gguf"), None).unwrap();
    assert_eq!((read(&to.join("LICENSE")), read(&to.join("b.LICENSE"))), ("mine".into(), "other".into()));
    assert_eq!(read(&to.join("b.LICENSE-2")), agreement("LLAMA 3.1"));
    assert!(written.contains(&to.join("b.Notice")) && written.contains(&to.join("b.cdx.json")));
    assert_eq!(bom_of(&to.join("b.gguf")), to.join("b.cdx.json"));
    assert_eq!(check_bom(&to.join("b.gguf"), |_| ()).unwrap().n_right, 3);
    // A model of this one has its licences, and not its neighbours'.
    let child = parent("b", &to.join("b.gguf"), None, Part::Weights);
    assert_eq!(child.known().map(|licence| licence.id()), Some("llama3.1"));
}

#[test]
fn what_a_licence_forbids_is_not_made() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path();
    let teacher = |id: &str| parent("teacher", at, Some(id), Part::Outputs);
    let student = |id: &str| parent("student", at, Some(id), Part::Weights);
    for id in ["llama2", "llama3"] {
        for others in [vec![], vec![student("apache-2.0")], vec![student("llama3.1")]] {
            let parents: Vec<Parent> = std::iter::once(teacher(id)).chain(others).collect();
            let made = made("Small", parents);
            let error = made.check().unwrap_err().to_string();
            assert!(error.contains("1.b.v") && error.contains("teacher"), "{error}");
            assert!(made.put(at, None).is_err() && !at.join("Notice").exists());
        }
        made("Llama 3 small", vec![teacher(id), student(id)]).check().unwrap();
    }
    for id in ["llama3.1", "llama3.2", "llama3.3", "llama4"] {
        let kept = made("Small", vec![teacher(id), student("apache-2.0")]).check().unwrap();
        assert!(kept.iter().any(|says| says.contains("must begin with “Llama”")), "{kept:?}");
        let kept = made("Llama-Small", vec![teacher(id), student("apache-2.0")]).check().unwrap();
        assert!(!kept.iter().any(|says| says.contains("must begin")), "{kept:?}");
    }
    // In another form it is not passed on yet.
    let kept = made("copy", vec![parent("old", at, Some("llama1"), Part::Copy)]).check().unwrap();
    assert!(kept.iter().any(|says| says.contains("nobody may pass it on")), "{kept:?}");
    let merged = made("both", vec![student("apache-2.0"), student("llama3")]);
    assert!(merged.check().unwrap().iter().any(|says| says.contains("“Llama 3”")));
    let keys = merged.gguf_metadata();
    assert!(keys.contains(&("general.license".into(), "apache-2.0 AND llama3".into())), "{keys:?}");
    // Nothing is known, and nothing is forbidden.
    assert!(made("x", vec![parent("y", at, None, Part::Weights)]).check().unwrap().is_empty());
}

#[test]
fn a_bill_tells_what_was_changed() {
    let root = tempfile::tempdir().unwrap();
    let from = folder(root.path(), "from", &[("LICENSE", &agreement("LLAMA 3.3"))]);
    let to = folder(root.path(), "to", &[("a.safetensors", "one"), ("b.safetensors", "two")]);
    std::fs::create_dir(to.join("more")).unwrap();
    std::fs::write(to.join("more/c.jinja"), "three").unwrap();
    let made = made("Llama-Small", vec![parent("big", &from, None, Part::Weights)]);
    made.put(&to, None).unwrap();
    let bom = bom_of(&to);
    let bill: Value = serde_json::from_str(&read(&bom)).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    let component = &bill["metadata"]["component"];
    assert_eq!(component["licenses"][0]["license"]["name"], "Llama 3.3 Community License");
    assert_eq!(component["pedigree"]["ancestors"][0]["name"], "big");
    let checked = check_bom(&to, |_| ()).unwrap();
    assert_eq!((checked.name.as_str(), checked.n_right, checked.faults.len()), ("Llama-Small", 5, 0));
    std::fs::write(to.join("b.safetensors"), "TWO").unwrap();
    std::fs::remove_file(to.join("more/c.jinja")).unwrap();
    let faults = check_bom(&to, |_| ()).unwrap().faults;
    let names: Vec<_> =
        faults.iter().map(|fault| fault.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["b.safetensors", "c.jinja"]);
    // One that the bill does not name, and another model's bill.
    std::fs::write(to.join("b.safetensors"), "two").unwrap();
    std::fs::write(to.join("more/c.jinja"), "three").unwrap();
    std::fs::write(to.join("config.json"), "{}").unwrap();
    let faults = check_bom(&to, |_| ()).unwrap().faults;
    assert!(faults.len() == 1 && faults[0].path.ends_with("config.json"), "{faults:?}");
    let [good, evil] = ["good", "evil"].map(|name| root.path().join(format!("{name}.gguf")));
    [&good, &evil].iter().for_each(|path| std::fs::write(path, path.to_str().unwrap()).unwrap());
    made.put(&good, None).unwrap();
    assert!(check_bom(&good, |_| ()).unwrap().faults.is_empty());
    std::fs::rename(bom_of(&good), bom_of(&evil)).unwrap();
    assert!(check_bom(&evil, |_| ()).unwrap().faults.iter().any(|fault| fault.path == evil));
    // All parts of a file.
    let parts = [1, 2].map(|i| root.path().join(format!("m-0000{i}-of-00002.gguf")));
    parts.iter().for_each(|path| std::fs::write(path, "part").unwrap());
    made.put(&parts[0], None).unwrap();
    std::fs::write(&parts[1], "other").unwrap();
    assert_eq!(check_bom(&parts[0], |_| ()).unwrap().faults[0].path, parts[1]);
    for text in ["", "{}", "[1]", r#"{"bomFormat": "CycloneDX"}"#] {
        std::fs::write(&bom, text).unwrap();
        assert!(check_bom(&to, |_| ()).is_err(), "{text}");
    }
    let outside = r#"{"bomFormat": "CycloneDX", "components": [{"type": "file", "name": "../from/LICENSE",
        "hashes": [{"alg": "SHA-256", "content": "00"}]}]}"#;
    std::fs::write(&bom, outside).unwrap();
    assert!(check_bom(&to, |_| ()).is_err());
}

#[test]
fn signatures_are_of_one_key_and_one_text() {
    let root = tempfile::tempdir().unwrap();
    let to = folder(root.path(), "to", &[("a.safetensors", "one")]);
    let made = made("m", vec![parent("big", root.path(), Some("mit"), Part::Copy)]);
    let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
    // A key outlives the program.
    let key = Key::read(&key.text().unwrap(), None).unwrap();
    let text = key.text().unwrap();
    let line = text.lines().nth(1).unwrap();
    // As minisign itself writes keys without a password: its 32 bytes of checksum, the last of 158, are zeros.
    let mut bytes = Base64::decode_to_vec(line, None).unwrap();
    bytes[126..].fill(0);
    let plain = Base64::encode_to_string(&bytes).unwrap();
    let plain = Key::read(&format!("untrusted comment: minisign\n{plain}\n"), None).unwrap();
    assert_eq!(plain.public().line(), key.public().line());
    made.put(&to, Some(&key)).unwrap();
    let bom = bom_of(&to);
    let text = check_bom(&to, |_| ()).unwrap().text;
    let public = PublicKey::read(&key.public().line()).unwrap();
    assert!(check_signature(&bom, &text, &public).unwrap().is_some());
    assert!(check_signature(&bom, &text, &other.public()).is_err());
    assert!(check_signature(&bom, &[&text[..], b" "].concat(), &public).is_err());
    // Nobody signed the next one.
    made.put(&to, None).unwrap();
    assert!(check_signature(&bom, &text, &public).unwrap().is_none());
    assert!(PublicKey::read("nonsense").is_err() && Key::read("nonsense", None).is_err());
}
