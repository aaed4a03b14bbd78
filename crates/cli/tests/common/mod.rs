//! Running the program as a user does.

#![allow(dead_code)] // Each test file uses a part.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The program, with nothing of this machine's settings.
pub fn puna(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_puna"));
    command.args(args).stdin(Stdio::null());
    for name in ["PUNA_MODEL", "PUNA_MODELS", "PUNA_ISA", "PUNA_THREADS", "NO_COLOR", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    command
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn run(args: &[&str]) -> Ran {
    puna(args).output().unwrap().into()
}

/// Runs with text on standard input.
pub fn run_with(args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = puna(args);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // A program that fails early closes its input; that is its right.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap().into()
}

impl Ran {
    /// The output of a run that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// The message of a run that must have failed with this code and printed nothing.
    #[track_caller]
    pub fn error(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.stderr.starts_with("error: ") && !self.stderr.contains("panic"), "{self:?}");
        self.stderr
    }
}

/// Writes a file for a test and returns its path.
pub fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[allow(unused_imports)] // As above.
pub use puna_conformance::read_json;

/// The fixture folder, if it has all forms of checkpoints and the chat vectors.
pub fn fixtures() -> Option<PathBuf> {
    let needed = ["gguf", "models", "meta", "chat", "tokenizer", "stories260K"];
    puna_conformance::fixtures().with(&needed).map(Path::to_owned)
}

pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}
