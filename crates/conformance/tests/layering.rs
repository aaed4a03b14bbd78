//! Crates import only from floors below them.

use std::path::Path;

/// From the ground up; crates of one floor do not see each other.
const FLOORS: [&[&str]; 8] = [
    &["kernels"],
    &["tensor", "jinja"],
    &["formats", "image", "text"],
    &["model", "wire", "store"],
    &["engine", "train"],
    &["puna"],
    &["serve"],
    &["cli"],
];

fn floor(name: &str) -> Option<usize> {
    let short = name.strip_prefix("puna-").unwrap_or(name);
    FLOORS.iter().position(|floor| floor.contains(&short))
}

/// The crates of ours that a manifest's `[dependencies]` name.
fn dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest.split("\n[").find(|part| part.starts_with("dependencies]")).unwrap_or("");
    let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with("puna")).collect()
}

#[test]
fn crates_import_only_downward() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut n_checked = 0;
    for entry in std::fs::read_dir(crates).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "conformance" {
            continue;
        }
        let own = floor(&name).unwrap_or_else(|| panic!("crate {name} is on no floor"));
        let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        for dependency in dependencies(&manifest) {
            let below = floor(dependency).unwrap_or_else(|| panic!("{name}: {dependency} is on no floor"));
            assert!(below < own, "{name} imports {dependency}, which is not below it");
            n_checked += 1;
        }
    }
    assert!(n_checked > 10, "only {n_checked} imports were found");
}

/// `Graph` is the only caller of kernels: whoever is above `tensor` computes through it. What tests, examples
/// and benches compare with or measure is another matter.
#[test]
fn only_tensor_names_kernels() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for floor in FLOORS[2..].iter().flat_map(|floor| floor.iter()) {
        let manifest = std::fs::read_to_string(crates.join(floor).join("Cargo.toml")).unwrap();
        assert!(!dependencies(&manifest).contains(&"puna-kernels"), "{floor} depends on kernels");
        let mut folders = vec![crates.join(floor).join("src")];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let names = std::fs::read_to_string(&path).unwrap().contains("puna_kernels");
                    assert!(!names, "{} names kernels", path.display());
                }
            }
        }
    }
}

#[test]
fn only_kernels_and_the_memory_map_are_unsafe() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for floor in FLOORS.iter().flat_map(|floor| floor.iter()) {
        let root = ["lib.rs", "main.rs"].map(|file| crates.join(floor).join("src").join(file));
        let text = root.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap();
        let says = match *floor {
            "kernels" => continue,
            "formats" => "#![deny(unsafe_code)]",
            _ => "#![forbid(unsafe_code)]",
        };
        assert!(text.contains(says), "{floor} must say {says}");
    }
}
