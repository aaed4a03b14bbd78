//! The files of a model folder that hold its weights, of one kind, which may be sharded.
//!
//! Which files belong to the model is decided as `transformers` does: `model.safetensors` if there is one,
//! else the shards that `model.safetensors.index.json` lists. Where both are missing we take every
//! `.safetensors` file, after checking that a numbered set is complete. Files of PyTorch have other names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::error::{ErrorKind, FormatError, Problem};
use crate::folder::list_files;
use crate::json::{UniqueMap, parse_json};
use crate::part_name::PartName;
use crate::tensor_map::TensorMap;
use crate::visible::quote;
use crate::whole_file::read_file;

/// The largest index read: some 100 bytes for each of half a million tensors.
const MAX_INDEX_BYTES: usize = 64 << 20;

/// How files of a kind are called, and opened.
pub(crate) struct FileKind {
    /// In messages.
    pub name: &'static str,
    /// The name of one that has all weights.
    pub single: &'static str,
    /// The list of shards.
    pub index: &'static str,
    /// Whether a file is one.
    pub is_one: fn(&Path) -> bool,
    pub open: fn(&Path) -> Result<TensorMap, FormatError>,
}

/// The weights of a model that lies in one or more files.
#[derive(Clone, Debug)]
pub struct WeightFiles {
    /// The tensors of all files.
    pub tensors: TensorMap,
    /// The files, in the order they were read.
    pub files: Vec<PathBuf>,
}

/// Opens the files of a kind in a model folder.
pub(crate) fn open_all(dir: &Path, kind: &FileKind) -> Result<WeightFiles, FormatError> {
    if dir.join(kind.single).exists() {
        return open_files(vec![dir.join(kind.single)], kind);
    }
    let index = dir.join(kind.index);
    if index.exists() {
        return open_index(&index, kind);
    }
    let mut files: Vec<PathBuf> = list_files(dir)?.into_iter().filter(|path| (kind.is_one)(path)).collect();
    // An adapter beside a model is no part of it.
    let is_adapter = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("adapter_model"))
    };
    if !files.iter().all(is_adapter) {
        files.retain(|path| !is_adapter(path));
    }
    if files.is_empty() {
        return Err(Problem::not_found(format!("has no {} files", kind.name)).in_file(dir));
    }
    for file in &files {
        if let Some(missing) = missing_part(file) {
            return Err(missing_shard(&missing));
        }
    }
    open_files(files, kind)
}

/// A part of the numbered set a file belongs to that is not there.
fn missing_part(file: &Path) -> Option<PathBuf> {
    let part = PartName::parse(file)?;
    (1..=part.count).map(|number| part.sibling(number)).find(|sibling| !sibling.exists())
}

fn missing_shard(path: &Path) -> FormatError {
    let problem = Problem::not_found("this part of the model is missing");
    problem.hint("the download may be incomplete; fetch the missing file into the same folder").in_file(path)
}

/// Opens files that form one model together. A tensor may be in only one of them.
fn open_files(files: Vec<PathBuf>, kind: &FileKind) -> Result<WeightFiles, FormatError> {
    let mut tensors = TensorMap::default();
    for file in &files {
        tensors.extend((kind.open)(file)?).map_err(|problem| {
            problem.about(format!("together with the other {} files of the folder", kind.name)).in_file(file)
        })?;
    }
    Ok(WeightFiles { tensors, files })
}

/// The part of the index we use.
#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

/// Reads the bytes of an index: which file each tensor is in. The files are plain names, safe to append to
/// the folder's path. `path` is for messages.
pub fn parse_index(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, String>, FormatError> {
    let fail = |problem: Problem| problem.in_file(path);
    let Index { weight_map: UniqueMap(weight_map) } = parse_json(bytes, path, MAX_INDEX_BYTES)?;
    if weight_map.is_empty() {
        return Err(fail(Problem::malformed("its `weight_map` lists no tensors")));
    }
    weight_map.values().try_for_each(|name| check_shard_name(name)).map_err(fail)?;
    Ok(weight_map)
}

fn open_index(index_path: &Path, kind: &FileKind) -> Result<WeightFiles, FormatError> {
    let weight_map = parse_index(&read_file(index_path, MAX_INDEX_BYTES)?, index_path)?;
    let names: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
    let mut shards = BTreeMap::new();
    for name in names {
        let file = index_path.with_file_name(name);
        let shard = (kind.open)(&file).map_err(|error| match error.kind {
            ErrorKind::NotFound => missing_shard(&file),
            _ => error,
        })?;
        shards.insert(name, shard);
    }
    for (tensor, shard) in &weight_map {
        if !shards.get(shard.as_str()).is_some_and(|tensors| tensors.contains(tensor)) {
            return Err(not_in_shard(tensor, shard, &shards).in_file(index_path));
        }
    }
    let mut model = WeightFiles { tensors: TensorMap::default(), files: Vec::new() };
    for (name, shard) in shards {
        let file = index_path.with_file_name(name);
        let about = |problem: Problem| problem.about("together with other shards").in_file(&file);
        model.tensors.extend(shard).map_err(about)?;
        model.files.push(file);
    }
    Ok(model)
}

/// Refuses names that lead out of the folder: the index comes from the same stranger as the weights.
fn check_shard_name(name: &str) -> Result<(), Problem> {
    let mut components = Path::new(name).components();
    let plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    if plain && !name.contains(['/', '\\', ':', '\0']) {
        return Ok(());
    }
    Err(Problem::malformed(format!(
        "its `weight_map` names the file {}, which is not a plain file name",
        quote(name)
    )))
}

fn not_in_shard(tensor: &str, shard: &str, shards: &BTreeMap<&str, TensorMap>) -> Problem {
    let found = match shards.iter().find(|(_, tensors)| tensors.contains(tensor)) {
        Some((name, _)) => format!("it is in {}", quote(name)),
        None => "it is in no shard".into(),
    };
    let (tensor, shard) = (quote(tensor), quote(shard));
    Problem::malformed(format!("tensor {tensor} should be in {shard}, but {found}"))
        .hint("the index and the shards may come from different versions of the model")
}
