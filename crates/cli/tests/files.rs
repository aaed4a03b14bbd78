//! Files that change while they are read, and files that are written: what other programs and the system do
//! to them.

#![cfg(unix)]

mod common;

use std::fs::{OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Ran, file, puna, run, run_with};
use rustix::process::{Pid, Signal, kill_process};

const IDS: &str = "[1, 403, 407]";

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

fn partial_files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".partial")).collect()
}

/// Sends a signal at once: starting `kill` would take longer than some programs run.
fn send(signal: Signal, child: &Child) {
    kill_process(Pid::from_child(child), signal).unwrap();
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

fn write_logits(dir: &Path, path: &Path) -> Ran {
    let ids = file(dir, "ids.json", IDS);
    run(&["score", "--ids", &ids, "--logits", path.to_str().unwrap()])
}

#[test]
fn links_are_followed_and_permissions_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("other")).unwrap();
    symlink("other/target", path("link")).unwrap();
    write_logits(dir.path(), &path("link")).ok();
    assert!(path("link").is_symlink());
    let n_bytes = std::fs::metadata(path("other/target")).unwrap().len();
    file(dir.path(), "private", "old");
    std::fs::set_permissions(path("private"), Permissions::from_mode(0o600)).unwrap();
    write_logits(dir.path(), &path("private")).ok();
    let about = std::fs::metadata(path("private")).unwrap();
    assert_eq!((about.permissions().mode() & 0o777, about.len()), (0o600, n_bytes));
    symlink("loop", path("loop")).unwrap();
    let error = write_logits(dir.path(), &path("loop")).error(1);
    assert!(error.contains("loop`") && error.contains("leads back to itself"), "{error}");
    assert!(partial_files(dir.path()).is_empty());
}

#[test]
fn pipes_and_devices_get_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (pipe, plain) = (dir.path().join("pipe"), dir.path().join("plain"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    write_logits(dir.path(), &pipe).ok();
    write_logits(dir.path(), &plain).ok();
    assert_eq!(reader.join().unwrap(), std::fs::read(plain).unwrap());
    assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    write_logits(dir.path(), Path::new("/dev/null")).ok();
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    if Path::new("/dev/full").exists() {
        let error = write_logits(dir.path(), Path::new("/dev/full")).error(1);
        assert!(error.starts_with("error: cannot write `/dev/full`"), "{error}");
    }
}

/// A run that has begun to write logits, of which there will be many.
fn begin_writing(dir: &Path, logits: &str) -> Child {
    let many = format!("[1{}]", ", 403".repeat(500));
    let ids = file(dir, "many.json", many);
    let out = dir.join(logits);
    let mut command = puna(&["score", "--ids", &ids, "--threads", "1", "--logits", out.to_str().unwrap()]);
    // As slow as can be, so that it is still writing when something is done to it.
    command.env("PUNA_ISA", "scalar");
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while partial_files(dir).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing is written");
    }
    child
}

#[test]
fn no_signal_leaves_an_unfinished_file() {
    let dir = tempfile::tempdir().unwrap();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut child = begin_writing(dir.path(), "logits");
        send(signal, &child);
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{signal:?}");
        assert!(partial_files(dir.path()).is_empty() && !dir.path().join("logits").exists(), "{signal:?}");
    }
}

#[test]
fn a_signal_that_was_switched_off_stays_so() {
    let mut command = sh("trap '' HUP INT; exec \"$0\" bench --paced -n 2 -p 2");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "{line}");
    send(Signal::HUP, &child);
    send(Signal::INT, &child);
    // Held to the end: waiting would close it, and the end of the input ends the program too.
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "decode").unwrap();
    line.clear();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("decode"), "{line}");
    send(Signal::TERM, &child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn what_a_killed_program_left_is_removed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = begin_writing(dir.path(), "logits");
    send(Signal::KILL, &child);
    child.wait().unwrap();
    assert_eq!(partial_files(dir.path()).len(), 1);
    write_logits(dir.path(), &dir.path().join("others")).ok();
    assert_eq!(partial_files(dir.path()).len(), 1, "it is another file's");
    write_logits(dir.path(), &dir.path().join("logits")).ok();
    assert!(partial_files(dir.path()).is_empty());
    // One that is still written is left alone.
    std::fs::remove_file(dir.path().join("logits")).unwrap();
    let mut child = begin_writing(dir.path(), "logits");
    send(Signal::STOP, &child);
    write_logits(dir.path(), &dir.path().join("logits")).ok();
    assert_eq!(partial_files(dir.path()).len(), 1);
    send(Signal::CONT, &child);
    assert!(child.wait().unwrap().success());
    assert!(partial_files(dir.path()).is_empty());
}

#[test]
fn a_file_that_may_not_be_as_large_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let ids = file(dir.path(), "ids.json", IDS);
    let out = dir.path().join("logits");
    let script = format!("ulimit -f 1; exec \"$0\" score --ids '{ids}' --logits '{}'", out.display());
    let ran: Ran = sh(&script).output().unwrap().into();
    let error = ran.error(1);
    assert!(error.starts_with("error: cannot write") && error.contains("ulimit -f"), "{error}");
    assert!(!out.exists() && partial_files(dir.path()).is_empty());
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
    for (args, stdin) in
        [("run --image /dev/zero -n 2 hi", ""), ("guard --guard-version 1 --messages -", messages)]
    {
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

/// A model whose context is as long as a hostile file says.
fn endless_model(dir: &Path) -> PathBuf {
    let path = model(dir);
    let mut content = std::fs::read(&path).unwrap();
    let key = b"llama.context_length";
    let at = content.windows(key.len()).position(|found| found == key).unwrap() + key.len();
    let value = &mut content[at..at + 8];
    assert_eq!(value[..4], 4u32.to_le_bytes(), "a number of four bytes");
    value[4..].copy_from_slice(&u32::MAX.to_le_bytes());
    std::fs::write(&path, content).unwrap();
    path
}

#[cfg(target_os = "linux")]
#[test]
fn what_memory_cannot_hold_is_refused_before_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let model = endless_model(dir.path());
    let start = Instant::now();
    for args in ["-d 4000000000", "-d 4000000000 -n 0 -p 1", "-d 10000000 --sequences 1024", "-p 4000000000"]
    {
        let error = in_little_memory(&format!("bench -m '{}' {args}", model.display()), "").error(1);
        assert!(error.contains("the measurement needs") && error.contains("but there are"), "{error}");
        assert!(error.contains("--kv-dir"), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

/// `--kv-dir` has no such limit, so that here the list of tokens itself is too much: no signal, and one line,
/// to which the standard library adds a note about itself.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_is_refused_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let model = endless_model(dir.path());
    let args = "bench -n 0 -p 4000000000 --kv-dir";
    let ran = in_little_memory(&format!("{args} '{}' -m '{}'", dir.path().display(), model.display()), "");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let others = ran.stderr.strip_prefix("memory allocation of 16000000000 bytes failed\n");
    assert!(others.is_some_and(|others| others.is_empty() || others.starts_with("note: ")), "{ran:?}");
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
