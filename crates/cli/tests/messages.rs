//! Libraries do not know the program's flags: the program adds them to their messages (`failure.rs`). The server's messages
//! reach clients, through which the program cannot add anything: it names them.

use std::path::{Path, PathBuf};

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => rust_files(&path, found),
            false => found.extend(Some(path).filter(|path| path.extension().is_some_and(|end| end == "rs"))),
        }
    }
}

/// Whether a text holds something like `--flag`.
fn names_a_flag(text: &str) -> bool {
    text.split("--").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

#[test]
fn libraries_name_no_flags() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&crates).unwrap() {
        let dir = entry.unwrap().path();
        if !dir.ends_with("cli") && !dir.ends_with("serve") {
            rust_files(&dir.join("src"), &mut files);
        }
    }
    assert!(files.len() > 100, "only {} files were found", files.len());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        // What a crate's tests say at the end of a file is no message.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let flag = line.split('"').skip(1).step_by(2).find(|literal| names_a_flag(literal));
            assert_eq!(flag, None, "{}: {line}", path.display());
        }
    }
}
