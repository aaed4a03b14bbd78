//! Which files of a crate import which others.
//!
//! A path (`crate::rope::RopeScaling`, `super::names`, or one that begins with an imported name or a child
//! module) is followed through modules and re-exports to the file that defines what it names. A parent that
//! declares a module or re-exports an item does not import it by that alone; naming the item in its own code
//! does. Methods are not followed: a value's type need not be named where it is used. Code of tests does not
//! count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::{Token, group_len, tokens, without_tests};

/// A module's path from the crate's root.
type Module = Vec<String>;

/// A name that a `use` binds in a module.
struct Binding {
    module: Module,
    name: String,
    target: Vec<String>,
    is_re_export: bool,
}

/// A source file.
struct File {
    /// From the crate's `src`.
    name: String,
    tokens: Vec<Token>,
}

/// The files of a crate, by module.
pub struct Imports {
    files: BTreeMap<Module, File>,
    bindings: Vec<Binding>,
}

/// Arrows from a file to those that it imports.
pub type Arrows = BTreeMap<String, BTreeSet<String>>;

impl Imports {
    /// Reads the crate whose sources are in `src`.
    pub fn read(src: &Path) -> Imports {
        let (mut files, mut test_modules) = (BTreeMap::new(), Vec::new());
        let mut folders = vec![(src.to_owned(), Module::new())];
        while let Some((folder, parent)) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
                let child = [parent.clone(), vec![stem.clone()]].concat();
                if path.is_dir() {
                    folders.push((path, child));
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let module =
                        if ["lib", "main", "mod"].contains(&stem.as_str()) { parent.clone() } else { child };
                    let name = path.strip_prefix(src).unwrap().to_str().unwrap().replace('\\', "/");
                    let text = std::fs::read_to_string(&path).unwrap();
                    let (tokens, tests) = without_tests(tokens(&text));
                    test_modules.extend(tests.into_iter().map(|test| [module.clone(), vec![test]].concat()));
                    files.insert(module, File { name, tokens });
                }
            }
        }
        files.retain(|module, _| !test_modules.iter().any(|test| module.starts_with(test)));
        let mut imports = Imports { files, bindings: Vec::new() };
        let bindings = imports.files.iter().flat_map(|(module, file)| bindings(module, &file.tokens));
        imports.bindings = bindings.collect();
        imports
    }

    /// Who imports whom.
    pub fn arrows(&self) -> Arrows {
        let files = self.files.iter().map(|(module, file)| {
            let mut targets = self.imported_by(module, file);
            targets.remove(&file.name);
            (file.name.clone(), targets)
        });
        files.collect()
    }

    fn imported_by(&self, module: &Module, file: &File) -> BTreeSet<String> {
        let words = lone_words(module, &file.tokens);
        let mut targets = BTreeSet::new();
        for binding in self.bindings.iter().filter(|binding| self.file_of(&binding.module) == Some(module)) {
            let is_module = self.is_module(&self.absolute(&binding.module, &binding.target));
            if binding.name == "*" {
                let from = self.absolute(&binding.module, &binding.target);
                let is_ours = |module: &Module| self.files.contains_key(module);
                let Some(from) = from.filter(is_ours).filter(|_| !binding.is_re_export) else { continue };
                targets.extend(words.iter().filter_map(|(_, word)| self.defined(&from, word, 0)));
            } else if !is_module
                && (!binding.is_re_export || words.iter().any(|(_, word)| *word == binding.name))
            {
                targets.extend(self.home(&binding.module, &binding.target));
            }
        }
        for (at, path) in paths(module, &file.tokens) {
            targets.extend(self.home(&at, &path));
        }
        targets
    }

    /// The file that defines what a path names, if it is of this crate.
    fn home(&self, module: &Module, path: &[String]) -> Option<String> {
        let mut at = self.absolute(module, &path[..1]);
        let mut rest = &path[1..];
        if at.is_none() {
            // The name of an item, which may be bound by a `use`.
            return self.defined(module, path.first()?, 0);
        }
        while let [next, after @ ..] = rest {
            let module = at.clone()?;
            let child = [module.clone(), vec![next.clone()]].concat();
            if next == "super" {
                at = Some(module[..module.len().checked_sub(1)?].to_vec());
            } else if self.files.contains_key(&child) {
                at = Some(child);
            } else if let Some(to) = self.bound(&module, next).filter(|to| self.files.contains_key(to)) {
                at = Some(to);
            } else {
                let own = || self.file_of(&module).map(|file| self.files[file].name.clone());
                return self.defined(&module, next, 0).or_else(own);
            }
            rest = after;
        }
        // A module itself.
        self.file_of(&at?).map(|file| self.files[file].name.clone())
    }

    /// The module that a path of modules names, followed through the bindings of its first word.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let mut at = match path.first()?.as_str() {
            "crate" => Module::new(),
            "self" => module.clone(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            first => {
                let child = [module.clone(), vec![first.to_owned()]].concat();
                if self.files.contains_key(&child) { child } else { self.bound(module, first)? }
            }
        };
        for next in &path[1..] {
            match next.as_str() {
                "super" => drop(at.pop()?),
                next => at.push(next.to_owned()),
            }
        }
        Some(at)
    }

    /// The module that a `use` binds to a name in a module.
    fn bound(&self, module: &Module, name: &str) -> Option<Module> {
        let is_it = |binding: &&Binding| {
            binding.module == *module && binding.name == name && binding.target.first().unwrap() != name
        };
        let binding = self.bindings.iter().find(is_it)?;
        let target = self.absolute(module, &binding.target)?;
        self.files.contains_key(&target).then_some(target)
    }

    fn is_module(&self, module: &Option<Module>) -> bool {
        module.as_ref().is_some_and(|module| self.files.contains_key(module))
    }

    /// The file that defines `name` as an item of `module`, followed through re-exports; `None` if it is not
    /// one.
    fn defined(&self, module: &Module, name: &str, depth: usize) -> Option<String> {
        if depth > 8 {
            return None;
        }
        for binding in self.bindings.iter().filter(|binding| binding.module == *module) {
            if binding.name == name && binding.target != [name] {
                let target = &binding.target;
                let (last, modules) = target.split_last()?;
                let from =
                    if modules.is_empty() { Some(module.clone()) } else { self.absolute(module, modules) };
                return self.defined(&from?, last, depth + 1);
            }
        }
        let file = self.files.get(module)?;
        if defines(&file.tokens, name) {
            return Some(file.name.clone());
        }
        let globs = self.bindings.iter().filter(|binding| binding.module == *module && binding.name == "*");
        globs.into_iter().find_map(|glob| {
            let from = self.absolute(module, &glob.target).filter(|from| from != module)?;
            self.defined(&from, name, depth + 1)
        })
    }

    /// The module whose file holds a module, which may be inside that file.
    fn file_of(&self, module: &Module) -> Option<&Module> {
        let mut module = module.clone();
        loop {
            if let Some((found, _)) = self.files.get_key_value(&module) {
                return Some(found);
            }
            module.pop()?;
        }
    }
}

/// Whether the file defines an item of that name.
fn defines(tokens: &[Token], name: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];
    let is_macro = |window: &[Token]| window[0] == "macro_rules" && window[1] == "!" && window[2] == name;
    tokens.windows(2).any(|pair| kinds.contains(&pair[0].as_str()) && pair[1] == name)
        || tokens.windows(3).any(is_macro)
}

/// Calls `see` with each token's place and the module that it is in, which may be one inside the file.
fn walk(module: &Module, tokens: &[Token], mut see: impl FnMut(usize, &Module)) {
    let (mut at, mut depth) = (module.clone(), 0);
    let mut ends = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => {
                if i >= 2 && tokens[i - 2] == "mod" {
                    at.push(tokens[i - 1].clone());
                    ends.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                if ends.last() == Some(&depth) {
                    ends.pop();
                    at.pop();
                }
            }
            _ => {}
        }
        see(i, &at);
    }
}

/// What the `use` declarations bind.
fn bindings(module: &Module, tokens: &[Token]) -> Vec<Binding> {
    let mut found = Vec::new();
    walk(module, tokens, |i, at| {
        // `use<'l>` of a return type is no declaration.
        if tokens[i] != "use" || tokens.get(i + 1).is_none_or(|next| next == "<") {
            return;
        }
        let end = i + tokens[i..].iter().position(|token| token == ";").unwrap_or(0);
        let is_re_export = i > 0 && (tokens[i - 1] == "pub" || tokens[i - 1] == ")");
        for (target, name) in tree(&tokens[i + 1..end], &[]) {
            found.push(Binding { module: at.clone(), name, target, is_re_export });
        }
    });
    found
}

/// The paths of a tree of a `use`, each with the name that it binds; that of a glob is `*`.
fn tree(tokens: &[Token], prefix: &[String]) -> Vec<(Vec<String>, String)> {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "::" => {}
            "*" => return vec![(path, "*".into())],
            "as" => return vec![(path, tokens[at + 1].clone())],
            "{" => {
                let inner = &tokens[at + 1..at + group_len(&tokens[at..]) - 1];
                return branches(inner).into_iter().flat_map(|branch| tree(branch, &path)).collect();
            }
            "self" if !path.is_empty() => {}
            word => path.push(word.to_owned()),
        }
        at += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    vec![(path, name)]
}

/// The parts of a group between its commas.
fn branches(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (i, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&tokens[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// Words that are no part of a path but its beginning, and no field or method; `use` declarations left out.
fn lone_words(module: &Module, tokens: &[Token]) -> Vec<(Module, String)> {
    let mut words = Vec::new();
    let mut skip_to = 0;
    walk(module, tokens, |i, at| {
        if tokens[i] == "use" && tokens.get(i + 1).is_some_and(|next| next != "<") {
            skip_to = i + tokens[i..].iter().position(|token| token == ";").unwrap_or(0);
        }
        let before = if i > 0 { tokens[i - 1].as_str() } else { "" };
        let is_range = i > 1 && tokens[i - 2] == ".";
        let is_word = tokens[i].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if i >= skip_to && is_word && before != "::" && (before != "." || is_range) {
            words.push((at.clone(), tokens[i].clone()));
        }
    });
    words
}

/// The paths of more than one word outside of `use` declarations, each with the module that it stands in.
fn paths(module: &Module, tokens: &[Token]) -> Vec<(Module, Vec<String>)> {
    let mut found = Vec::new();
    let mut skip_to = 0;
    walk(module, tokens, |i, at| {
        if tokens[i] == "use" && tokens.get(i + 1).is_some_and(|next| next != "<") {
            skip_to = i + tokens[i..].iter().position(|token| token == ";").unwrap_or(0);
        }
        let is_word = |i: usize| {
            tokens.get(i).is_some_and(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        };
        let begins = is_word(i) && tokens.get(i + 1).is_some_and(|next| next == "::");
        if i < skip_to || !begins || (i > 0 && tokens[i - 1] == "::") {
            return;
        }
        let mut path = vec![tokens[i].clone()];
        let mut next = i + 1;
        while tokens.get(next).is_some_and(|token| token == "::") && is_word(next + 1) {
            path.push(tokens[next + 1].clone());
            next += 2;
        }
        if path.len() > 1 {
            found.push((at.clone(), path));
        }
    });
    found
}

/// The circles of a crate: groups of files each of which imports, over others, all of the group.
///
/// A folder's own file (`mod.rs`, or the one beside it) and those in the folder name each other as a matter
/// of course. Therefore a circle has to be one with the arrows between them in one direction alone.
pub fn circles(arrows: &Arrows) -> Vec<Vec<String>> {
    let kept = |keeps: &dyn Fn(&str, &str) -> bool| -> Arrows {
        let of = |(file, targets): (&String, &BTreeSet<String>)| {
            (file.clone(), targets.iter().filter(|target| keeps(file, target)).cloned().collect())
        };
        arrows.iter().map(of).collect()
    };
    let down = groups(&kept(&|file, target| !is_in_room_of(file, target)));
    let up = groups(&kept(&|file, target| !is_in_room_of(target, file)));
    let all: BTreeSet<BTreeSet<String>> = down.union(&up).cloned().collect();
    let is_whole =
        |group: &&BTreeSet<String>| !all.iter().any(|other| other != *group && group.is_subset(other));
    all.iter().filter(is_whole).map(|group| group.iter().cloned().collect()).collect()
}

/// Whether `file` lies in the folder whose own file is `parent`.
fn is_in_room_of(file: &str, parent: &str) -> bool {
    let folder = parent.trim_end_matches(".rs");
    let folder = ["lib", "main", "mod"].iter().find_map(|own| folder.strip_suffix(own)).unwrap_or(folder);
    folder.is_empty()
        || file.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

/// Groups of more than one file in which each leads to each.
fn groups(arrows: &Arrows) -> BTreeSet<BTreeSet<String>> {
    let reached = |start: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(file) = next.pop() {
            next.extend(arrows[file].iter().filter(|target| seen.insert((*target).clone())));
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> =
        arrows.keys().map(|file| (file, reached(file))).collect();
    let with = |(file, own): (&&String, &BTreeSet<String>)| {
        own.iter().filter(|other| reach[other].contains(*file)).cloned().collect::<BTreeSet<_>>()
    };
    reach.iter().filter(|(file, own)| own.contains(**file)).map(with).collect()
}

#[test]
fn imports_lead_to_where_things_are_defined() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; mod c; pub use a::{A, f as g}; pub use b::*; fn h() { g() }");
    write(
        "a/mod.rs",
        "mod inner; pub use inner::A; pub fn f() {} #[cfg(test)] mod tests { use crate::c::C; }",
    );
    write("a/inner.rs", "pub struct A(super::super::b::B);");
    write("b.rs", "use crate::c; pub struct B(c::C); pub enum E { One }");
    write("c.rs", "use crate::{A, E}; pub struct C(A); fn e() -> E { E::One }");
    let arrows = Imports::read(dir.path()).arrows();
    let of = |file: &str| arrows[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("lib.rs"), ["a/mod.rs"]);
    assert_eq!(of("a/mod.rs"), [""; 0]);
    assert_eq!(of("a/inner.rs"), ["b.rs"]);
    assert_eq!(of("b.rs"), ["c.rs"]);
    assert_eq!(of("c.rs"), ["a/inner.rs", "b.rs"]);
    assert_eq!(circles(&arrows), [["a/inner.rs", "b.rs", "c.rs"]]);
}

#[test]
fn a_room_may_name_its_own_things() {
    let of = |arrows: &[(&str, &str)]| {
        let mut all = Arrows::new();
        for (from, to) in arrows {
            all.entry(from.to_string()).or_default().insert(to.to_string());
            all.entry(to.to_string()).or_default();
        }
        circles(&all)
    };
    assert_eq!(
        of(&[("a/mod.rs", "a/b.rs"), ("a/b.rs", "a/mod.rs"), ("a.rs", "a/c.rs"), ("a/c.rs", "a.rs")]).len(),
        0
    );
    assert_eq!(of(&[("lib.rs", "b.rs"), ("b.rs", "lib.rs"), ("b.rs", "c.rs")]).len(), 0);
    // Out of the room and back, through its own file in either direction.
    assert_eq!(of(&[("a/mod.rs", "a/b.rs"), ("a/b.rs", "c.rs"), ("c.rs", "a/mod.rs")]).len(), 1);
    assert_eq!(of(&[("a/b.rs", "a/mod.rs"), ("a/mod.rs", "c.rs"), ("c.rs", "a/b.rs")]).len(), 1);
    assert_eq!(of(&[("a/b.rs", "a/c.rs"), ("a/c.rs", "a/b.rs")]), [["a/b.rs", "a/c.rs"]]);
}
