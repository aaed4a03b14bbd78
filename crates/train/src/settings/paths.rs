//! Files that settings name.

use std::path::Path;

use puna_formats::quote;
use puna_formats::yaml::Section;

/// A fault for each path that is not there; patterns are matched when data are read.
pub(super) fn check_path(section: &Section, key: &str, path: &str) {
    let is_pattern = path.contains(['*', '?', '[']);
    if !is_pattern && !Path::new(path).exists() {
        let fact = format!("names {}, which does not exist", quote(path));
        section.fault(key, fact, Some("paths begin where the program is started".into()));
    }
}

/// A fault where there is no such model or file.
pub(super) fn check_model(section: &Section, path: &str, is_model: &dyn Fn(&str) -> bool) {
    if !is_model(path) {
        let fact = format!("names {}, and there is no such file, folder or model", quote(path));
        section.fault("from", fact, Some("a path, or a name of a model that this machine has".into()));
    }
}
