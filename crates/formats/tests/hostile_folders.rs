//! What people give as a model: the right folder, the wrong one, an unfinished download.

#[path = "common/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "common/pth_bytes.rs"]
mod pth_bytes;
#[path = "common/safetensors_bytes.rs"]
mod safetensors_bytes;

use std::path::PathBuf;

use gguf_bytes::GgufBytes;
use pth_bytes::{Pickle, pth};
use puna_formats::{Checkpoint, ErrorKind, Form, FormatError, forms_in, open};
use safetensors_bytes::safetensors;
use tempfile::TempDir;

/// A folder being filled with files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Folder {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    fn open(&self, name: &str) -> Result<Checkpoint, FormatError> {
        open(&self.path(name))
    }

    #[track_caller]
    fn refused(&self, name: &str, fact: &str) -> FormatError {
        let error = self.open(name).expect_err(fact);
        assert!(error.fact.contains(fact), "expected `{fact}`, found `{}`", error.fact);
        assert!(error.path.starts_with(self.0.path()) && error.to_string().contains("cannot read"));
        error
    }
}

fn one_scalar() -> Vec<u8> {
    safetensors(r#"{"t":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#, 1)
}

fn one_tensor() -> Vec<u8> {
    pth(&Pickle::one_tensor(6, 0, &[6], &[1]), 24)
}

#[test]
fn gguf_is_told_by_content() {
    let folder = Folder::new().file("sha256-abc", GgufBytes::small().build()).file("README.md", "hello");
    for name in ["", "sha256-abc"] {
        assert!(matches!(folder.open(name).unwrap(), Checkpoint::Gguf(_)));
    }
    let folder = folder.file("other.bin", GgufBytes::small().build());
    let error = folder.refused("", "has several GGUF models: `other.bin`, `sha256-abc`");
    assert!(error.hint.unwrap().contains("one of them"));
}

#[test]
fn a_split_set_is_one_model() {
    let part = |no: u16| {
        GgufBytes::new()
            .entry("split.no", 2, &no.to_le_bytes())
            .entry("split.count", 2, &2u16.to_le_bytes())
            .tensor(format!("t{no}").as_bytes(), &[1], 0, 0)
            .with_data(32)
            .build()
    };
    let folder = Folder::new().file("m-00001-of-00002.gguf", part(0)).file("m-00002-of-00002.gguf", part(1));
    let Checkpoint::Gguf(whole) = folder.open("").unwrap() else { panic!("the set is GGUF") };
    assert_eq!((whole.tensors.len(), whole.parts.len()), (2, 2));
    folder.file("n-00001-of-00002.gguf", part(0)).refused("", "several GGUF models");
}

#[test]
fn hugging_face_folders_and_files() {
    let folder = Folder::new().file("model.safetensors", one_scalar());
    folder.refused("", "has .safetensors files but no config.json");
    folder.refused("model.safetensors", "has no config.json beside it");
    let folder =
        folder.file("config.json", "{\"model_type\": \"llama\"}").file("lora.safetensors", one_scalar());
    for name in ["", "model.safetensors"] {
        let Checkpoint::HuggingFace(model) = folder.open(name).unwrap() else {
            panic!("it is Hugging Face's form")
        };
        assert_eq!(model.files.len(), 1);
    }
    folder.refused("config.json", "is a config.json, not a model");

    let folder = folder.file("config.json", "[1]");
    assert!(folder.refused("", "is not a JSON object").path.ends_with("config.json"));
    let folder = folder.file("config.json", vec![b' '; 5 << 20]);
    folder.refused("", "the limit for such a file");
    folder.file("config.json", "").refused("", "is empty");
}

#[test]
fn a_shard_stands_for_its_set() {
    let name = |number: usize| format!("model-0000{number}-of-00002.safetensors");
    let other = safetensors(r#"{"u":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#, 1);
    let folder = Folder::new().file("config.json", "{}").file(&name(1), one_scalar()).file(&name(2), other);
    let Checkpoint::HuggingFace(model) = folder.open(&name(2)).unwrap() else {
        panic!("it is Hugging Face's form")
    };
    assert!(model.tensors.names().eq(["t", "u"]));
}

#[test]
fn meta_folders_and_files() {
    let folder = Folder::new().file("consolidated.00.pth", one_tensor());
    folder.refused("", "no params.json");
    folder.refused("consolidated.00.pth", "has no params.json beside it");
    let folder = folder.file("params.json", "{\"dim\": 4}").file("other.pth", one_tensor());
    for name in ["", "consolidated.00.pth", "other.pth"] {
        let Checkpoint::Meta(model) = folder.open(name).unwrap() else { panic!("it is Meta's form") };
        assert_eq!((model.shards.len(), model.params["dim"].as_u64()), (1, Some(4)));
    }
    // More than ten shards: the order is that of the numbers, not of the letters.
    let folder =
        (1..12).fold(folder, |folder, idx| folder.file(&format!("consolidated.{idx}.pth"), one_tensor()));
    let Checkpoint::Meta(model) = folder.open("").unwrap() else { panic!("it is Meta's form") };
    let ends = |idx: usize, name: &str| model.files[idx].ends_with(name);
    assert!(model.shards.len() == 12 && ends(2, "consolidated.2.pth") && ends(11, "consolidated.11.pth"));

    folder.refused("params.json", "is a params.json, not a model");
    let twice = folder.file("consolidated.05.pth", one_tensor());
    twice.refused("", "second shard with number 5");
    std::fs::remove_file(twice.path("consolidated.3.pth")).unwrap();
    assert!(twice.refused("", "shard of the model is missing").path.ends_with("consolidated.03.pth"));
}

#[test]
fn what_is_no_model_is_explained() {
    assert_eq!(Folder::new().refused("nothing-here", "no such file").kind, ErrorKind::NotFound);
    Folder::new().refused("", "has no files");
    let error = Folder::new().file("notes.txt", "hi").refused("", "has no model in it; found `notes.txt`");
    assert_eq!(error.kind, ErrorKind::NotAModel);
    let many = (0..9).fold(Folder::new(), |folder, idx| folder.file(&format!("{idx}"), "x"));
    many.refused("", "`5`, and 3 more");

    let adapter =
        Folder::new().file("adapter_config.json", "{}").file("adapter_model.safetensors", one_scalar());
    adapter.refused("", "PEFT adapter");
    Folder::new().file("pytorch_model.bin", "PK").refused("", "pytorch_model.bin but no config.json");
    Folder::new().file("config.json", "{}").refused("", "a configuration but no weights");
    let outer = Folder::new().file("tokenizer.json", "{}").file("original/params.json", "{}");
    assert!(outer.refused("", "has no model").hint.unwrap().contains("original"));
}

/// Old folders have their weights as PyTorch's files: one, or parts with a list of them or a numbered set.
#[test]
fn pytorch_files_are_weights_too() {
    let named = |name: &str| pth(&Pickle::new().raw(b"}").str(name).tensor(6, 0, &[6], &[1]).raw(b"s."), 24);
    let hf = |folder: &Folder, name: &str| match folder.open(name).unwrap() {
        Checkpoint::HuggingFace(hf) => hf.tensors.names().map(str::to_owned).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let one = Folder::new().file("config.json", "{}").file("pytorch_model.bin", one_tensor());
    let one = one.file("training_args.bin", "a pickle").file("optimizer.bin", "another");
    assert_eq!((hf(&one, ""), hf(&one, "pytorch_model.bin")), (vec!["t".to_owned()], vec!["t".to_owned()]));
    let parts = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
    let two = Folder::new().file("config.json", "{}").file(parts[0], named("a"));
    let error = two.refused("", "this part of the model is missing");
    assert!(error.path.ends_with(parts[1]));
    let two = two.file(parts[1], named("b"));
    assert_eq!(
        (hf(&two, ""), hf(&two, parts[1])),
        (vec!["a".into(), "b".into()], vec!["a".into(), "b".into()])
    );
    let index = |b: &str| format!(r#"{{"weight_map": {{"a": "{}", "b": "{b}"}}}}"#, parts[0]);
    let two = two.file("pytorch_model.bin.index.json", index(parts[1]));
    assert_eq!(hf(&two, ""), ["a", "b"]);
    let two = two.file("pytorch_model.bin.index.json", index(parts[0]));
    two.refused("", "tensor `b` should be in");
    let two = two.file("pytorch_model.bin.index.json", index("../b.bin"));
    two.refused("", "not a plain file name");
    // Safetensors come first.
    let both = one.file("model.safetensors", one_scalar());
    assert_eq!(hf(&both, ""), ["t"]);
    Folder::new()
        .file("config.json", "{}")
        .file("pytorch_model.bin", "PK")
        .refused("", "not a PyTorch checkpoint");
}

#[test]
fn folders_of_models_are_listed() {
    let gguf = GgufBytes::small().build();
    let folder = Folder::new().file("b/m.gguf", gguf).file("notes/a.txt", "hi");
    let folder = folder.file("a\n\u{1b}/config.json", "{}").file("a\n\u{1b}/model.safetensors", one_scalar());
    let error = folder.refused("", "has folders with models: `a\\n\\u{1b}`, `b`");
    assert!(error.hint.unwrap().contains("one of them"));
    let folder = folder.file("c/params.json", "{}").file("c/consolidated.00.pth", one_tensor());
    folder.refused("", "`b`, `c`");
}

#[test]
fn of_two_forms_one_is_read() {
    let folder = Folder::new().file("config.json", "{}").file("model.safetensors", one_scalar());
    let folder = folder.file("m.gguf", GgufBytes::small().build());
    let folder = folder.file("params.json", "{}").file("consolidated.00.pth", one_tensor());
    let forms = forms_in(&folder.path("")).unwrap();
    assert_eq!(forms, [Form::HuggingFace, Form::Meta, Form::Gguf]);
    assert!(matches!(folder.open("").unwrap(), Checkpoint::HuggingFace(_)));
}

#[test]
fn failed_downloads_are_recognised_under_any_name() {
    let page = "<!DOCTYPE html>\n<html><title>Sign in</title></html>";
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4976698672\n";
    for (bytes, fact) in [(page, "HTML"), (pointer, "Git-LFS pointer"), ("", "is empty (0 bytes)")] {
        Folder::new().file("m.gguf", bytes).refused("m.gguf", fact);
        let hf = Folder::new().file("config.json", "{}").file("model.safetensors", bytes);
        assert!(hf.refused("", fact).path.ends_with("model.safetensors"));
        hf.refused("model.safetensors", fact);
        let meta = Folder::new().file("params.json", "{}").file("consolidated.00.pth", bytes);
        assert!(meta.refused("", fact).path.ends_with("consolidated.00.pth"));
        let config = Folder::new().file("config.json", bytes).file("model.safetensors", one_scalar());
        assert!(config.refused("", fact).path.ends_with("config.json"));
    }
    Folder::new().file("m.bin", vec![0; 9000]).refused("m.bin", "zero bytes");
    Folder::new().file("m.bin", b"24ka\x01\0\0\0").refused("m.bin", "llama2.c");
    Folder::new().file("m.bin", "just text").refused("m.bin", "not a model file we know");
}

#[cfg(unix)]
#[test]
fn pipes_are_refused_without_waiting() {
    let folder = Folder::new();
    let status = std::process::Command::new("mkfifo").arg(folder.path("m.gguf")).status();
    assert!(status.unwrap().success());
    folder.refused("m.gguf", "is a named pipe, not a file");
    folder.refused("", "has no files");
}
