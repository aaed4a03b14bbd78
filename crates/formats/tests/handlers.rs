//! The handler of SIGBUS beside others: a program of its own, since handlers are for the process.
#![cfg(unix)]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use puna_formats::MappedFile;
use signal_hook::consts::SIGBUS;

/// Lost pages are ours; what we know nothing of goes to whoever was there before.
#[test]
fn other_handlers_get_what_is_not_ours() {
    let is_told = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGBUS, is_told.clone()).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    std::fs::write(&path, vec![7; 1 << 16]).unwrap();
    let map = MappedFile::open(&path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1).unwrap();
    assert_eq!((map.bytes()[0], map.bytes()[1 << 15]), (7, 0));
    assert!(map.check().is_err() && !is_told.load(Ordering::SeqCst));

    let id = std::process::id().to_string();
    assert!(Command::new("kill").args(["-BUS", &id]).status().unwrap().success());
    let start = Instant::now();
    while !is_told.load(Ordering::SeqCst) {
        assert!(start.elapsed() < Duration::from_secs(30), "the handler before ours is not called");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A stack that overflows is still told as that.
#[test]
fn an_overflow_of_the_stack_is_still_explained() {
    let own = std::env::current_exe().unwrap();
    let child = Command::new(own).args(["--exact", "overflow", "--ignored", "--nocapture"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success() && stderr.contains("overflowed its stack"), "{stderr}");
}

#[test]
#[ignore = "ends the program; another test runs it"]
fn overflow() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m"), [7; 10]).unwrap();
    let map = MappedFile::open(&dir.path().join("m")).unwrap();
    assert_eq!(map.bytes()[0], 7);
    black_box(deeper(0));
}

#[expect(unconditional_recursion)]
fn deeper(n: usize) -> usize {
    let frame = black_box([n; 100]);
    deeper(n + 1) + frame[n % 100]
}
