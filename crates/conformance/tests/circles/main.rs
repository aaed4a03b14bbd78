//! No circles of files: a file of a crate can be read, moved and changed with those that it imports, and no
//! more.
//!
//! How imports are told is said in `imports.rs`. A folder's own file and the files of that folder are one
//! room: they may name each other. A circle that leads out of the room and back counts.

mod imports;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use imports::{Imports, circles};

/// A crate and the files of a circle in it.
type Circle = (&'static str, &'static [&'static str]);

/// Circles that stay. Each has its reason here and in a comment that begins with "A circle" in one of its
/// files.
const KEPT: &[Circle] = &[
    // `tokenizer.stream()` is a convenience; the stream itself needs the tokenizer alone.
    ("text", &["stream.rs", "tokenizer.rs"]),
];

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut found, mut n_arrows) = (BTreeSet::new(), 0);
    for entry in std::fs::read_dir(&crates).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let arrows = Imports::read(&dir.join("src")).arrows();
        n_arrows += arrows.values().map(BTreeSet::len).sum::<usize>();
        found.extend(circles(&arrows).into_iter().map(|files| (name.clone(), files)));
    }
    assert!(n_arrows > 400, "only {n_arrows} imports were found");
    let kept = KEPT.iter().map(|(name, files)| {
        (name.to_string(), files.iter().map(|file| file.to_string()).collect::<Vec<_>>())
    });
    let kept: BTreeSet<_> = kept.collect();
    let show = |circles: Vec<&(String, Vec<String>)>| {
        circles.iter().map(|(name, files)| format!("  {name}: {}\n", files.join(", "))).collect::<String>()
    };
    let new: Vec<_> = found.difference(&kept).collect();
    let gone: Vec<_> = kept.difference(&found).collect();
    assert!(new.is_empty(), "files import each other in a circle:\n{}", show(new));
    assert!(gone.is_empty(), "circles that {} keeps are gone:\n{}", file!(), show(gone));
}

#[test]
fn circles_that_stay_have_their_reason_at_the_place() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, files) in KEPT {
        let text = |file: &&str| std::fs::read_to_string(crates.join(name).join("src").join(file)).unwrap();
        let has_reason = files.iter().map(text).any(|text| text.contains("// A circle"));
        assert!(has_reason, "{name}: {files:?} do not say why they import each other");
    }
}
