//! A model whose file other programs change while it runs.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use puna::{AnswerOptions, DType, ErrorKind, Llama, Options};
use puna_formats::{TensorInfo, safetensors};

/// The built-in model as a file.
fn model(dir: &Path) -> PathBuf {
    let path = dir.join("model.gguf");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/stories.gguf"), &path).unwrap();
    path
}

/// One that becomes shorter: an error of the step that meets it, and of every later one. Others go on.
#[cfg(unix)]
#[test]
fn a_file_that_becomes_shorter_is_an_error_of_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path());
    let builtin = Llama::builtin().unwrap();
    for repack in [false, true] {
        model(dir.path());
        let llama = Llama::load_with(&path, &Options { repack, ..Options::default() }).unwrap();
        let options = AnswerOptions { max_tokens: Some(20), ..AnswerOptions::default() };
        let mut answer = llama.complete_with("Once upon a time", &options).unwrap();
        for _ in 0..5 {
            answer.step().unwrap().unwrap();
        }
        OpenOptions::new().write(true).open(&path).unwrap().set_len(10_000).unwrap();
        let error = answer.step().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        let text = error.to_string();
        assert!(text.contains("model.gguf`") && text.contains("became shorter"), "{text}");
        assert!(answer.step().is_none());
        for _ in 0..2 {
            assert!(llama.complete("Once").unwrap().finish().is_err());
            assert!(llama.score_text("Once upon a time").is_err());
            assert!(llama.check_files().is_err());
        }
        assert!(builtin.score_text("Once upon a time").is_ok());
        // Nor can what is left be loaded.
        assert!(Llama::load(&path).is_err());
    }
}

/// What was computed stands, and the caller is told when he asks.
#[test]
fn a_file_that_is_written_to_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path());
    let llama = Llama::load(&path).unwrap();
    llama.complete("Once upon a time").unwrap().finish().unwrap();
    llama.check_files().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20)); // A file's time has steps of some milliseconds.
    OpenOptions::new().write(true).open(&path).unwrap().write_all(b"GGUF").unwrap();
    assert!(llama.complete("Once").unwrap().finish().is_ok());
    let error = llama.check_files().unwrap_err().to_string();
    assert!(error.contains("model.gguf`") && error.contains("was written to"), "{error}");
    Llama::builtin().unwrap().check_files().unwrap();
}

/// A file that repeats the embedding as its output matrix, or has another one in its place.
#[test]
fn another_output_matrix_than_the_one_said_is_used_and_said() {
    let builtin = Llama::builtin().unwrap();
    let dir = tempfile::tempdir().unwrap();
    builtin.engine().model().save_hf(dir.path(), DType::F32).unwrap();
    let file = dir.path().join("model.safetensors");
    let saved = safetensors::open(&file).unwrap().tensors;
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let ids = [1, 5, 9, 17];
    let mut scores = Vec::new();
    for change in [None, Some(0.0f32), Some(1.0)] {
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = saved
            .names()
            .map(|name| (name.to_owned(), saved.get(name).unwrap()))
            .map(|(name, view)| (name, view.shape.clone(), view.data.to_vec()))
            .collect();
        if let Some(change) = change {
            let (_, shape, mut data) =
                tensors.iter().find(|(name, ..)| name == "model.embed_tokens.weight").unwrap().clone();
            let first = f32::from_le_bytes(data[..4].try_into().unwrap()) + change;
            data[..4].copy_from_slice(&first.to_le_bytes());
            tensors.push(("lm_head.weight".to_owned(), shape, data));
        }
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("config.json"), &config).unwrap();
        let mut writer = safetensors::Writer::new(Default::default());
        for (name, shape, _) in &tensors {
            writer.declare(TensorInfo::new(name.clone(), DType::F32, shape.clone()));
        }
        let mut stream = writer.begin(&copy.path().join("model.safetensors")).unwrap();
        while let Some(name) = stream.expected().map(|info| info.name.clone()) {
            let (.., data) = tensors.iter().find(|(known, ..)| *known == name).unwrap();
            stream.write(&name, data).unwrap();
        }
        stream.finish().unwrap();
        let llama = Llama::load(copy.path()).unwrap();
        let is_other = change == Some(1.0);
        assert_eq!(llama.notes().iter().any(|note| note.contains("lm_head")), is_other);
        assert_eq!(llama.config().tied, !is_other);
        scores.push(llama.score_ids(&ids).unwrap().nlls);
    }
    assert_eq!(scores[0], scores[1]);
    assert_ne!(scores[0], scores[2]);
}

#[test]
fn an_adapter_beside_a_model_is_mentioned() {
    let dir = tempfile::tempdir().unwrap();
    Llama::builtin().unwrap().engine().model().save_hf(dir.path(), DType::F32).unwrap();
    assert_eq!(Llama::load(dir.path()).unwrap().notes(), [""; 0]);
    std::fs::write(dir.path().join("adapter_config.json"), "{}").unwrap();
    let notes = Llama::load(dir.path()).unwrap().notes();
    assert!(matches!(&notes[..], [note] if note.contains("adapter_config.json`")), "{notes:?}");
}

/// A tokenizer of an unknown kind is named where text is asked for; ids can be computed all the same.
#[test]
fn a_tokenizer_that_cannot_be_used_is_no_hindrance_to_ids() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/llama1-mha-f32");
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(source.join(name), dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("tokenizer.json"), r#"{"model": {"type": "Runes", "vocab": {}}}"#)
        .unwrap();
    let llama = Llama::load(dir.path()).unwrap();
    let error = llama.tokenizer().unwrap_err().to_string();
    assert!(error.contains("Runes") && error.contains("tokenizer.json`"), "{error}");
    assert!(llama.complete("Once").is_err());
    let fault = llama.describe().tokenizer_fault.unwrap();
    assert!(fault.contains("Runes"), "{fault}");
    assert!(llama.score_ids(&[1, 2, 3]).is_ok());
}

/// What a clone without git-lfs has in the place of large files.
#[test]
fn a_pointer_in_the_place_of_a_tokenizer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    Llama::builtin().unwrap().engine().model().save_hf(dir.path(), DType::F32).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n";
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::write(dir.path().join(name), pointer).unwrap();
        let error = Llama::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("Git-LFS pointer"), "{error}");
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
}

/// The matrix that a tied model has once may be stored under either name; one that is not said to be tied and has no
/// output matrix is said to be used so.
#[test]
fn one_matrix_may_have_the_name_of_the_output() {
    let builtin = Llama::builtin().unwrap();
    let dir = tempfile::tempdir().unwrap();
    builtin.engine().model().save_hf(dir.path(), DType::F32).unwrap();
    let ids = [1, 5, 9, 17];
    let want = Llama::load(dir.path()).unwrap().score_ids(&ids).unwrap().nlls;
    let file = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    // The names have as many characters, blanks included.
    let renamed =
        String::from_utf8_lossy(&bytes[..200_000.min(bytes.len())]).find("\"model.embed_tokens.weight\":");
    let at = renamed.unwrap();
    let mut other = bytes.clone();
    other[at..at + 28].copy_from_slice(b"\"lm_head.weight\"           :");
    std::fs::write(&file, &other).unwrap();
    let llama = Llama::load(dir.path()).unwrap();
    assert_eq!(llama.score_ids(&ids).unwrap().nlls, want);
    assert_eq!(llama.notes(), [""; 0]);

    std::fs::write(&file, &bytes).unwrap();
    let config = dir.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let untied = text.replace("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
    assert_ne!(text, untied);
    std::fs::write(&config, untied).unwrap();
    let notes = Llama::load(dir.path()).unwrap().notes();
    assert!(matches!(&notes[..], [note] if note.contains("no output matrix")), "{notes:?}");
}
