//! Whatever form a model is written in, the licences of what it was made from go along.

use std::path::Path;

use puna_formats::gguf::{Metadata, Value};
use puna_model::{LoadOptions, Model};
use puna_store::licence::Licence;
use puna_store::made::{Made, Parent, Part, check_bom};
use puna_tensor::DType;

const LICENCE: &str =
    "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\nLlama 3.2 Version Release Date: September 25, 2024\n";

#[test]
fn licences_go_along_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let builtin = concat!(env!("CARGO_MANIFEST_DIR"), "/../puna/assets/stories.gguf");
    let source = dir.path().join("source.gguf");
    std::fs::copy(builtin, &source).unwrap();
    std::fs::write(dir.path().join("LICENSE"), LICENCE).unwrap();
    let checkpoint = puna_formats::open(&source).unwrap();
    let model = Model::from_checkpoint(&checkpoint, &source, &LoadOptions::default()).unwrap();
    let parent = Parent { name: "source".into(), path: source.clone(), licence: None, part: Part::Copy };
    let made = Made { name: "Llama-Copy".into(), how: "written again".into(), parents: vec![parent] };
    let folder = |name: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (hf, meta, gguf) = (folder("hf"), folder("meta"), folder("gguf").join("copy.gguf"));
    model.save_hf(&hf, DType::BF16).unwrap();
    model.save_meta(&meta, DType::BF16).unwrap();
    let mut metadata = Metadata::new(&gguf);
    for (key, value) in made.gguf_metadata() {
        metadata.set(key, Value::String(value));
    }
    model.save_gguf(&gguf, metadata, DType::Q8_0).unwrap();
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    for (path, n_files, notice) in [
        (&hf, 4, hf.join("Notice")),
        (&meta, 4, meta.join("Notice")),
        (&gguf, 3, gguf.with_file_name("copy.Notice")),
    ] {
        made.put(path, None).unwrap();
        let notice = text(&notice);
        assert!(
            notice.contains(Licence::Llama3_2.notice().unwrap()) && notice.contains("Built with Llama"),
            "{notice}"
        );
        let checked = check_bom(path, |_| ()).unwrap();
        assert_eq!((checked.n_right, checked.faults.len()), (n_files, 0), "{}", path.display());
        // What is made from it has the licence still.
        let child = Parent { name: "copy".into(), path: path.clone(), licence: None, part: Part::Weights };
        assert_eq!(child.known(), Some(Licence::Llama3_2), "{}", path.display());
    }
    let again = puna_formats::open(&gguf).unwrap();
    let puna_formats::Checkpoint::Gguf(again) = again else { panic!("it is a GGUF file") };
    assert_eq!(again.metadata.opt_str("general.license").unwrap(), Some("llama3.2"));
}
