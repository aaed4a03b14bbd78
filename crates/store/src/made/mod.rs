//! What goes with a model that is made from others: their licences, a bill of materials, and a signature.
//!
//! Whoever converts, quantises, merges, trains or distils says what it makes ([`Made`]), asks whether it may
//! ([`Made::check`]), writes the model, and lets [`Made::put`] write beside it:
//!
//! ```text
//! LICENSE, USE_POLICY.md     as they came with what it is made from
//! Notice                     the attribution that licences ask for, and what it is made from
//! bom.cdx.json               every file's SHA-256, what it is made from and how: CycloneDX's form
//! bom.cdx.json.minisig       a signature of that, where there is a key
//! ```
//! Beside a single file `NAME.gguf` all of them are called `NAME.LICENSE` and so on.

mod bom;
mod signature;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use bom::{Checked, check_bom};
pub use signature::{Key, PublicKey, SignatureError, check_signature};

use crate::licence::{Act, Answer, Licence, Permission};
use crate::shelf::{replace, sha256_of};

/// The most bytes of a licence's text.
const MAX_TEXT: u64 = 1 << 20;

/// What was taken of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its weights, in another form: converted, quantised, split.
    Copy,
    /// Its weights, which became others: trained, merged, pruned.
    Weights,
    /// What it said: its outputs trained another one.
    Outputs,
}

/// A model that another one is made from.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// Its folder or file: licences lie there or beside it.
    pub path: PathBuf,
    /// The licence that its metadata or card names, if any.
    pub licence: Option<String>,
    /// What is taken of it.
    pub part: Part,
}

/// A model that is made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it is called.
    pub name: String,
    /// What is done: "quantised to Q4_K".
    pub how: String,
    /// What it is made from.
    pub parents: Vec<Parent>,
}

/// Why a model is not made, or what goes with it not written.
#[derive(Debug)]
pub struct MadeError(String);

impl fmt::Display for MadeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MadeError {}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> MadeError {
    MadeError(format!("cannot {doing} `{}`\n  {error}", path.display()))
}

impl Parent {
    /// The folder in which its licences lie.
    fn folder(&self) -> &Path {
        if self.path.is_dir() { &self.path } else { self.path.parent().unwrap_or(Path::new(".")) }
    }

    /// Texts with it whose names begin with one of `starts`: each name and text. Beside a file, those that are called after
    /// it count first.
    fn texts(&self, starts: &[&str]) -> Vec<(String, String)> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let entries = std::fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let mut own = Vec::new();
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let after = name.strip_prefix(&format!("{stem}.")).filter(|_| !self.path.is_dir());
            let is_it = |name: &str| {
                let name = name.to_ascii_lowercase();
                let ends = ["", ".txt", ".md"];
                starts.iter().any(|start| {
                    name.strip_prefix(start).is_some_and(|end| ends.contains(&end) || end.starts_with('-'))
                })
            };
            let Some(text) = read(&entry.path()) else { continue };
            match after {
                Some(after) if is_it(after) => own.push((after.to_owned(), text)),
                _ if is_it(&name) => all.push((name, text)),
                _ => {}
            }
        }
        let mut found = if own.is_empty() { all } else { own };
        found.sort();
        found
    }

    fn licences(&self) -> Vec<(String, String)> {
        self.texts(&["license", "licence"])
    }

    /// Which of Meta's licences it has, if any: by the text with it, or else by what is said.
    pub fn known(&self) -> Option<Licence> {
        let of_text = self.licences().iter().find_map(|(_, text)| Licence::of_text(text));
        of_text.map(|found| found.licence).or_else(|| self.licence.as_deref().and_then(Licence::of_name))
    }
}

fn read(path: &Path) -> Option<String> {
    let about = std::fs::metadata(path).ok().filter(|about| about.is_file() && about.len() <= MAX_TEXT)?;
    let mut bytes = Vec::with_capacity(about.len() as usize);
    File::open(path).ok()?.take(MAX_TEXT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A place where a model was written.
#[derive(Clone, Debug)]
struct Place {
    folder: PathBuf,
    /// What names begin with.
    prefix: String,
}

impl Place {
    fn of(path: &Path) -> Place {
        if path.is_dir() {
            return Place { folder: path.to_owned(), prefix: String::new() };
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Place { folder: folder.unwrap_or(Path::new(".")).to_owned(), prefix: format!("{stem}.") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}{name}", self.prefix))
    }

    fn bom(&self) -> PathBuf {
        match self.prefix.is_empty() {
            true => self.folder.join("bom.cdx.json"),
            false => self.folder.join(format!("{}cdx.json", self.prefix)),
        }
    }
}

/// Where the bill of materials of a model would be.
pub fn bom_of(path: &Path) -> PathBuf {
    Place::of(path).bom()
}

impl Made {
    /// What the licence of each parent that is known says to it.
    pub fn permissions(&self) -> Vec<(&Parent, Licence, Permission)> {
        let weights = self.parents.iter().find(|parent| parent.part != Part::Outputs);
        let student = weights.and_then(Parent::known);
        let one = |parent: &'_ Parent| {
            let licence = parent.known()?;
            let act = match parent.part {
                Part::Copy => Act::PassOn,
                Part::Weights => Act::Derive { name: Some(&self.name) },
                Part::Outputs => Act::TeachWithOutputs { student, name: Some(&self.name) },
            };
            Some((licence, licence.permits(&act)))
        };
        let all = self.parents.iter().filter_map(|parent| one(parent).map(|(a, b)| (parent, a, b)));
        all.collect()
    }

    /// Whether it may be made. What has to be kept is returned, a sentence each; much of it holds only for what is passed on.
    ///
    /// # Errors
    /// If a licence forbids it; the message names the section.
    pub fn check(&self) -> Result<Vec<String>, MadeError> {
        let mut kept = Vec::new();
        for (parent, licence, permission) in self.permissions() {
            let title = licence.title();
            for reason in permission.reasons {
                let (section, says) = (reason.section, &reason.says);
                match reason.answer {
                    // In another form it may be used by whoever may use it; what is said is of passing it on.
                    Answer::No if parent.part != Part::Copy => {
                        let fact = format!("the {title} of `{}` does not permit it", parent.name);
                        return Err(MadeError(format!(
                            "cannot make `{}`\n  {fact}\n  section {section}: {says}",
                            self.name
                        )));
                    }
                    Answer::If | Answer::No => kept.push(format!("{title}, {section}: {says}")),
                    Answer::Yes => {}
                }
            }
            if parent.licences().is_empty() {
                kept.push(format!(
                    "the text of the {title} is not with `{}`, and has to go with copies",
                    parent.name
                ));
            }
        }
        kept.dedup();
        Ok(kept)
    }

    /// Each licence once, as people and GGUF name it: the short name, and the title.
    fn licences(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        // What outputs trained is under the licences of its weights.
        for parent in self.parents.iter().filter(|parent| parent.part != Part::Outputs) {
            let one = match (parent.known(), &parent.licence) {
                (Some(licence), _) => (licence.id().to_owned(), licence.title().to_owned()),
                (None, Some(said)) => (said.clone(), said.clone()),
                (None, None) => continue,
            };
            if !all.contains(&one) {
                all.push(one);
            }
        }
        all
    }

    /// What a GGUF file says of it: `general.license` and its name and link, and the names of its parents.
    pub fn gguf_metadata(&self) -> Vec<(String, String)> {
        let licences = self.licences();
        let joined =
            |one: fn(&(String, String)) -> &str| licences.iter().map(one).collect::<Vec<_>>().join(" AND ");
        let mut all = Vec::new();
        if !licences.is_empty() {
            all.push(("general.license".to_owned(), joined(|(id, _)| id)));
            all.push(("general.license.name".to_owned(), joined(|(_, title)| title)));
        }
        let link = self.parents.iter().find_map(|parent| parent.known()?.link());
        all.extend(link.map(|link| ("general.license.link".to_owned(), link)));
        let name =
            |(i, parent): (usize, &Parent)| (format!("general.base_model.{i}.name"), parent.name.clone());
        all.extend(self.parents.iter().enumerate().map(name));
        all
    }

    /// The file `Notice`: what licences ask to be said, and what was done.
    fn notice(&self) -> String {
        let mut text = format!("{}\n\n{}, from:\n", self.name, self.how);
        for parent in &self.parents {
            let licence = match (parent.known(), &parent.licence) {
                (Some(licence), _) => licence.title().to_owned(),
                (None, Some(said)) => said.clone(),
                (None, None) => "no licence is named".to_owned(),
            };
            let part = if parent.part == Part::Outputs { ", by its outputs" } else { "" };
            text += &format!("- {}{part} ({licence})\n", parent.name);
        }
        let mut said = Vec::new();
        for licence in self.parents.iter().filter_map(Parent::known) {
            said.extend(licence.shown().map(str::to_owned));
            said.extend(licence.notice().map(str::to_owned));
            said.extend(licence.policy().map(|policy| format!("Its acceptable use policy: {policy}")));
        }
        let notices = self.parents.iter().flat_map(|parent| parent.texts(&["notice"]));
        said.extend(notices.map(|(_, text)| text.trim().to_owned()));
        let mut once = Vec::new();
        for line in said {
            // A notice that came along has these already.
            if !line.is_empty() && !once.iter().any(|other: &String| other.contains(&line)) {
                text += &format!("\n{line}\n");
                once.push(line);
            }
        }
        text
    }

    /// Writes what goes with the model at `path`: a folder, or a file with others of its kind beside it. Says where each is.
    ///
    /// # Errors
    /// If a licence forbids the model, or files cannot be read or written. Nobody else's files are written over.
    pub fn put(&self, path: &Path, key: Option<&Key>) -> Result<Vec<PathBuf>, MadeError> {
        self.check()?;
        let place = Place::of(path);
        let mut written = Vec::new();
        let texts = self
            .parents
            .iter()
            .filter(|parent| parent.part != Part::Outputs)
            .flat_map(|parent| parent.licences().into_iter().chain(parent.texts(&["use_policy"])));
        for (name, text) in texts {
            written.push(put_text(&place, &name, &text)?);
        }
        written.push(put_text(&place, "Notice", &self.notice())?);
        written.dedup();
        let mut hashes = BTreeMap::new();
        let mut files = model_files(path).map_err(|error| failed("read", path, &error))?;
        files.extend(written.iter().cloned());
        for file in files {
            let name = file.strip_prefix(&place.folder).unwrap_or(&file);
            let name = name.to_string_lossy().replace('\\', "/");
            let (_, sha256) = sha256_of(&file, |_| ()).map_err(|error| failed("read", &file, &error))?;
            hashes.insert(name, sha256);
        }
        let bom = place.bom();
        let text = bom::text(self, &hashes);
        replace(&bom, text.as_bytes()).map_err(|error| failed("write", &bom, &error))?;
        let path = signature::place(&bom);
        match key {
            Some(key) => {
                let signature = key.sign(text.as_bytes()).map_err(|error| MadeError(error.to_string()))?;
                replace(&path, signature.as_bytes()).map_err(|error| failed("write", &path, &error))?;
                written.push(path);
            }
            // One that is there is of an older bill.
            None if path.exists() => {
                std::fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
            }
            None => {}
        }
        written.push(bom);
        Ok(written)
    }
}

/// Writes a text under a name that is free, or has this text already.
fn put_text(place: &Place, name: &str, text: &str) -> Result<PathBuf, MadeError> {
    for i in 1.. {
        let path = place.path(&if i == 1 { name.to_owned() } else { format!("{name}-{i}") });
        if !path.exists() {
            replace(&path, text.as_bytes()).map_err(|error| failed("write", &path, &error))?;
            return Ok(path);
        }
        if read(&path).is_some_and(|there| there == text) {
            return Ok(path);
        }
        if i == 100 {
            break;
        }
    }
    Err(MadeError(format!(
        "cannot write `{name}` in `{}`\n  others have all its names",
        place.folder.display()
    )))
}

/// The files of a model: all in its folder but the bill and its signature, or the file, with all parts of which it is the first.
fn model_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let bill = bom_of(path);
    if path.is_dir() {
        let mut files = all_files(path)?;
        // Hidden ones are others' notes: what was pulled, and how Git sees it.
        let is_hidden = |file: &Path| file.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        files.retain(|file| *file != bill && *file != signature::place(&bill) && !is_hidden(file));
        return Ok(files);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parts = |name: &str| -> Option<Vec<PathBuf>> {
        let (begin, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (begin, number) = begin.rsplit_once('-')?;
        let n: u32 = count.parse().ok().filter(|n| *n <= 10_000 && number.len() == 5 && count.len() == 5)?;
        Some((1..=n).map(|i| path.with_file_name(format!("{begin}-{i:05}-of-{count}.gguf"))).collect())
    };
    Ok(parts(&name).unwrap_or_else(|| vec![path.to_owned()]))
}

/// All files in a folder and those within it.
fn all_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    const MAX_DEPTH: usize = 8;
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true if depth < MAX_DEPTH => folders.push((path, depth + 1)),
                true => {}
                false => files.push(path),
            }
        }
    }
    files.sort();
    Ok(files)
}
