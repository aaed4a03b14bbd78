//! A model whose file other programs change while it runs.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use puna::{AnswerOptions, ErrorKind, Llama, Options};

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
