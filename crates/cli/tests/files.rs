//! Files that change while they are read, or have no end.

#![cfg(unix)]

mod common;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Ran, file, puna, run, run_with};

/// The built-in model as a file.
fn model(dir: &Path) -> PathBuf {
    let path = dir.join("model.gguf");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../puna/assets/stories.gguf"), &path).unwrap();
    path
}

/// A command line for `sh`, in which `$0` is the program.
fn sh(script: &str) -> Command {
    let mut command = puna(&[]);
    let program = command.get_program().to_owned();
    command = Command::new("sh");
    command.args(["-c", script]).arg(program).stdin(Stdio::null());
    for name in ["PUNA_MODEL", "PUNA_ISA", "PUNA_THREADS", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    command
}

/// A program that measures when it is told.
struct Paced {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Paced {
    fn start(model: &Path, more: &[&str]) -> Paced {
        let args = ["bench", "--paced", "-p", "8", "-n", "2", "-m", model.to_str().unwrap()];
        let mut command = puna(&[&args[..], more].concat());
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut paced = Paced { child, stdout };
        assert!(paced.line().contains("ready"));
        paced
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn say(&mut self, line: &str) {
        // A program that failed already has closed its input; that is its right.
        let _ = writeln!(self.child.stdin.as_mut().unwrap(), "{line}");
    }

    /// The error that it ended with.
    fn error(self) -> String {
        let ran: Ran = self.child.wait_with_output().unwrap().into();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.starts_with("error: cannot read `"), "{ran:?}");
        ran.stderr
    }
}

#[test]
fn a_model_that_becomes_shorter_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for (repack, n_bytes) in [("off", 4096), ("auto", 4096), ("off", 0)] {
        let model = model(dir.path());
        let mut paced = Paced::start(&model, &["--repack", repack]);
        paced.say("prefill");
        assert!(paced.line().contains("prefill"));
        OpenOptions::new().write(true).open(&model).unwrap().set_len(n_bytes).unwrap();
        paced.say("prefill");
        let error = paced.error();
        assert!(error.contains("model.gguf") && error.contains("became shorter"), "{error}");
    }
}

#[test]
fn a_model_that_is_overwritten_is_said_after_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let mut paced = Paced::start(&model, &[]);
    let content = std::fs::read(&model).unwrap();
    // In place, as a download that goes on does it.
    OpenOptions::new().write(true).open(&model).unwrap().write_all(&content[..100]).unwrap();
    paced.say("decode");
    assert!(paced.line().contains("decode"));
    let error = paced.error();
    assert!(error.contains("model.gguf") && error.contains("was written to"), "{error}");
}

#[test]
fn a_model_that_is_replaced_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let mut paced = Paced::start(&model, &[]);
    let other = file(dir.path(), "other", "not a model");
    std::fs::rename(other, &model).unwrap();
    for line in ["prefill", "decode"] {
        paced.say(line);
        assert!(paced.line().contains(line));
    }
    paced.say("quit");
    assert!(paced.child.wait().unwrap().success());
}

#[test]
fn devices_and_pipes_are_no_models() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, fact) in [("/dev/zero", "is a device"), (pipe.to_str().unwrap(), "is a named pipe")] {
        for command in [["show"].as_slice(), &["run", "hi"], &["tokenize", "hi"]] {
            let error = run(&[command, &["-m", path]].concat()).error(1);
            assert!(error.contains(path) && error.contains(fact), "{error}");
        }
    }
}

/// Runs in 2 GiB of addresses.
fn in_little_memory(args: &str, stdin: &str) -> Ran {
    let mut command = sh(&format!("ulimit -v 2097152; exec \"$0\" {args}"));
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap().into()
}

#[cfg(target_os = "linux")]
#[test]
fn inputs_without_end_are_refused() {
    let messages = r#"[{"role": "user", "content": [{"type": "image", "path": "/dev/zero"}]}]"#;
    for (args, stdin) in [("run --image /dev/zero -n 2 hi", ""), ("guard --messages -", messages)] {
        let error = in_little_memory(args, stdin).error(1);
        assert!(error.contains("more than 67108864 bytes") || error.contains("cannot see"), "{error}");
        assert!(!error.contains("out of memory"), "{error}");
    }
    // Less than the limit for texts, and one line at that.
    for args in
        ["score --text /dev/zero", "score --ids /dev/zero", "infill --prefix /dev/zero --suffix /dev/null"]
    {
        let error = in_little_memory(args, "").error(1);
        assert!(error.contains("`/dev/zero`") && error.lines().count() <= 3, "{error}");
    }
}

/// Texts are read from pipes too.
#[test]
fn a_text_may_come_from_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, "Once upon a time").unwrap()
    });
    let piped = run(&["score", "--text", pipe.to_str().unwrap(), "--json"]).ok();
    writer.join().unwrap();
    assert_eq!(piped, run_with(&["score", "--text", "-", "--json"], b"Once upon a time").ok());
}
