//! Models that are on this machine already, in the places where people and other programs keep them. They are
//! found and named here, and used where they lie.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use puna_formats::{MappedFile, gguf, read_json};
use serde_json::Value;

/// Whose folder a model was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// One that was asked for.
    Folder,
    /// Where `puna pull` puts them.
    Puna,
    /// The cache of Hugging Face's libraries.
    HuggingFace,
    /// Ollama's store.
    Ollama,
    /// LM Studio's folder.
    LmStudio,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Folder => "folder",
            Place::Puna => "Puna",
            Place::HuggingFace => "Hugging Face",
            Place::Ollama => "Ollama",
            Place::LmStudio => "LM Studio",
        })
    }
}

/// A model that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalModel {
    /// As it is called where it was found, for example `meta-llama/Llama-3.2-1B` or `llama3.2:3b`.
    pub name: String,
    /// The file or folder.
    pub path: PathBuf,
    /// Bytes of its weights.
    pub bytes: u64,
    /// The architecture that its files name, for example `llama`; empty where they name none.
    pub architecture: String,
    /// Where it was found.
    pub place: Place,
}

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct ModelPlaces {
    folders: Vec<(Place, PathBuf)>,
}

/// Folders within folders that are looked into.
const MAX_DEPTH: usize = 4;
/// Entries of folders that are looked at, altogether.
const MAX_ENTRIES: usize = 100_000;
const MAX_JSON_BYTES: usize = 4 << 20;

/// The bytes at the beginning of a GGUF file that say what it is.
const MAX_HEAD_BYTES: u64 = 16 << 10;

impl ModelPlaces {
    /// The places of Hugging Face, Ollama and LM Studio on this machine, as `variable` (the environment) tells.
    pub fn of_other_programs(variable: impl Fn(&str) -> Option<PathBuf>) -> ModelPlaces {
        let home = variable("HOME").or_else(|| variable("USERPROFILE"));
        let at_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let cache = variable("XDG_CACHE_HOME").or_else(|| at_home(".cache"));
        let hub = variable("HF_HUB_CACHE")
            .or_else(|| Some(variable("HF_HOME")?.join("hub")))
            .or_else(|| Some(cache.as_ref()?.join("huggingface/hub")));
        let ollama = variable("OLLAMA_MODELS").or_else(|| at_home(".ollama/models"));
        let of_service = ["/usr/share/ollama/.ollama/models", "/var/lib/ollama/models"].map(PathBuf::from);
        let lm_studio = [at_home(".lmstudio/models"), at_home(".cache/lm-studio/models")];
        let mut places = ModelPlaces::default();
        places.folders.extend(hub.map(|path| (Place::HuggingFace, path)));
        places.folders.extend(ollama.into_iter().chain(of_service).map(|path| (Place::Ollama, path)));
        places.folders.extend(lm_studio.into_iter().flatten().map(|path| (Place::LmStudio, path)));
        places
    }

    /// A folder with models, or one that is a model.
    pub fn add_folder(&mut self, folder: impl Into<PathBuf>) {
        self.folders.push((Place::Folder, folder.into()));
    }

    /// Where `puna pull` puts models: Hugging Face's in the order of its cache (`hub`), Ollama's in that of its store
    /// (`ollama`), others in `meta` and `files`.
    pub fn add_pulled(&mut self, root: impl Into<PathBuf>) {
        self.folders.push((Place::Puna, root.into()));
    }

    /// All models there, by place and name. What cannot be read is passed over.
    pub fn find(&self) -> FoundModels {
        let mut finder = Finder { models: Vec::new(), seen: BTreeSet::new(), n_left: MAX_ENTRIES };
        for (place, folder) in &self.folders {
            match place {
                Place::HuggingFace => finder.hugging_face(*place, folder),
                Place::Ollama => finder.ollama(*place, folder),
                Place::Puna => {
                    finder.hugging_face(*place, &folder.join("hub"));
                    finder.ollama(*place, &folder.join("ollama"));
                    for folder in ["meta", "files"].map(|name| folder.join(name)) {
                        finder.folder(*place, &folder, &folder, 0);
                    }
                }
                Place::Folder | Place::LmStudio => finder.folder(*place, folder, folder, 0),
            }
        }
        finder.models.sort_by(|a, b| (a.place, &a.name).cmp(&(b.place, &b.name)));
        FoundModels { models: finder.models, is_all: finder.n_left > 0 }
    }

    /// The models that a name may mean, whatever its letters' case: the one that is called so, or else those
    /// whose name ends or begins so.
    pub fn named(&self, name: &str) -> Vec<LocalModel> {
        let models = self.find().models;
        let name = name.to_lowercase();
        let name = name.strip_prefix("ollama:").unwrap_or(&name).to_owned();
        // `owner/name:Q4_K_M` is a file of that repository.
        let quantisation =
            name.split_once('/').and_then(|(_, rest)| rest.split_once(':')).map(|(_, word)| word);
        let repository = quantisation.and_then(|word| name.strip_suffix(word)?.strip_suffix(':'));
        let is_it = |model: &&LocalModel| {
            let known = model.name.to_lowercase();
            known == name || known.strip_suffix(":latest") == Some(&name)
        };
        if let Some(model) = models.iter().find(is_it) {
            return vec![model.clone()];
        }
        let parts = |model: &LocalModel| {
            let known = model.name.to_lowercase();
            let ends = known.strip_suffix(&name).is_some_and(|before| before.ends_with('/'));
            let begins = known.strip_prefix(&name).is_some_and(|after| after.starts_with(['/', ':']));
            let is_picked = || {
                let file = known.strip_prefix(repository?)?.strip_prefix('/')?;
                let file_name = format!("{file}.gguf");
                let file = part(&file_name).map_or(file, |(begin, _, _)| begin);
                let before = file.strip_suffix(quantisation?)?;
                Some(before.is_empty() || before.ends_with(['-', '.', '_']))
            };
            ends || begins || is_picked().unwrap_or(false)
        };
        models.into_iter().filter(parts).collect()
    }
}

/// The models that were found.
#[derive(Clone, Debug)]
pub struct FoundModels {
    /// By place and name.
    pub models: Vec<LocalModel>,
    /// Whether all was looked at: there is a limit to the files and folders looked at together.
    pub is_all: bool,
}

struct Finder {
    models: Vec<LocalModel>,
    /// Files that stand for a model already.
    seen: BTreeSet<PathBuf>,
    n_left: usize,
}

impl Finder {
    /// What is in a folder, in order.
    fn entries(&mut self, folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).take(self.n_left).collect();
        self.n_left -= paths.len();
        paths.sort();
        paths
    }

    fn add(&mut self, model: LocalModel) {
        // Names of Ollama's often stand for the same file.
        if model.place == Place::Ollama {
            return self.models.push(model);
        }
        let file = std::fs::canonicalize(&model.path).unwrap_or_else(|_| model.path.clone());
        if self.seen.insert(file) {
            self.models.push(model);
        }
    }

    /// Models in `folder` and those within it, named by their way from `root`.
    fn folder(&mut self, place: Place, root: &Path, folder: &Path, depth: usize) {
        let entries = self.entries(folder);
        let name_of = |path: &Path| match path.strip_prefix(root) {
            Ok(way) if !way.as_os_str().is_empty() => way.to_string_lossy().into_owned(),
            _ => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        };
        if let Some((bytes, architecture)) = checkpoint_folder(&entries) {
            let path = folder.to_owned();
            return self.add(LocalModel { name: name_of(folder), path, bytes, architecture, place });
        }
        for path in entries {
            if path.is_dir() {
                if depth < MAX_DEPTH && !path.is_symlink() {
                    self.folder(place, root, &path, depth + 1);
                }
            } else if is_first_gguf(&path) {
                self.gguf(name_of(&path), &path, place);
            }
        }
    }

    fn gguf(&mut self, name: String, path: &Path, place: Place) {
        let Ok(about) = std::fs::metadata(path) else { return };
        let head = gguf::parse_head(path, MAX_HEAD_BYTES).ok();
        let head = head.filter(|head| head.get("general.architecture").is_some());
        let all = || MappedFile::open(path).and_then(|file| file.read(|bytes| gguf::parse(bytes, path)));
        let metadata = head.or_else(|| Some(all().ok()?.metadata));
        let said = |key: &str| metadata.as_ref()?.opt_str(key).ok().flatten().map(str::to_owned);
        // Projectors, adapters and the like are no models by themselves.
        if said("general.type").is_some_and(|kind| kind != "model") {
            return;
        }
        let architecture = said("general.architecture").unwrap_or_default();
        if matches!(architecture.as_str(), "clip" | "imatrix" | "controlvector") {
            return;
        }
        let bytes = all_parts(path, about.len());
        self.add(LocalModel { name, path: path.to_owned(), bytes, architecture, place });
    }

    /// `models--OWNER--NAME/snapshots/REVISION`, of which `refs/main` names the one in use.
    fn hugging_face(&mut self, place: Place, hub: &Path) {
        for repository in self.entries(hub) {
            let Some(name) = repository.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(name) = name.strip_prefix("models--").map(|name| name.replacen("--", "/", 1)) else {
                continue;
            };
            let in_use = std::fs::read_to_string(repository.join("refs/main")).ok();
            let in_use = in_use.map(|revision| repository.join("snapshots").join(revision.trim()));
            let in_use = in_use.filter(|path| path.is_dir());
            let any = || self.entries(&repository.join("snapshots")).pop();
            let Some(snapshot) = in_use.or_else(any) else { continue };
            let files = self.entries(&snapshot);
            if let Some((bytes, architecture)) = checkpoint_folder(&files) {
                self.add(LocalModel { name: name.clone(), path: snapshot, bytes, architecture, place });
            }
            let ggufs: Vec<PathBuf> = files.into_iter().filter(|file| is_first_gguf(file)).collect();
            for file in &ggufs {
                let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                self.gguf(format!("{name}/{stem}"), file, place);
            }
        }
    }

    /// Manifests name the files by their content.
    fn ollama(&mut self, place: Place, models: &Path) {
        let mut folders = vec![(models.join("manifests"), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for path in self.entries(&folder) {
                if path.is_dir() {
                    if depth < MAX_DEPTH {
                        folders.push((path, depth + 1));
                    }
                    continue;
                }
                let Ok(manifest) = read_json::<Value>(&path, MAX_JSON_BYTES) else { continue };
                let layers = manifest["layers"].as_array().into_iter().flatten();
                let mut weights =
                    layers.filter(|layer| layer["mediaType"] == "application/vnd.ollama.image.model");
                let digest = weights.next().and_then(|layer| layer["digest"].as_str());
                // A digest is a word, not a way to elsewhere.
                let hex = digest.and_then(|digest| digest.strip_prefix("sha256:"));
                let Some(hex) = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())) else {
                    continue;
                };
                let blob = models.join("blobs").join(format!("sha256-{hex}"));
                let way = path.strip_prefix(models.join("manifests")).unwrap_or(&path);
                let way = way.to_string_lossy().replace('\\', "/");
                let Some((name, tag)) = way.rsplit_once('/') else { continue };
                let name = name.strip_prefix("registry.ollama.ai/").unwrap_or(name);
                let name = name.strip_prefix("library/").unwrap_or(name);
                self.gguf(format!("{name}:{tag}"), &blob, place);
            }
        }
    }
}

/// Bytes of weights and the architecture, where a folder's files are a checkpoint of Hugging Face or Meta.
fn checkpoint_folder(files: &[PathBuf]) -> Option<(u64, String)> {
    let named = |wanted: &str| files.iter().find(|file| file.file_name().is_some_and(|name| name == wanted));
    let bytes_of = |is_weight: fn(&str) -> bool| {
        let weights = files
            .iter()
            .filter(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(is_weight));
        weights.filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum::<u64>()
    };
    if let Some(config) = named("config.json") {
        let bytes = bytes_of(|name| name.ends_with(".safetensors"));
        let config: Value = read_json(config, MAX_JSON_BYTES).unwrap_or_default();
        let architecture = config["model_type"].as_str().unwrap_or_default().to_owned();
        return (bytes > 0).then_some((bytes, architecture));
    }
    named("params.json")?;
    let bytes = bytes_of(|name| name.starts_with("consolidated.") && name.ends_with(".pth"));
    (bytes > 0).then(|| (bytes, "llama".to_owned()))
}

/// Whether a file is a model by its first bytes, whatever its name.
pub fn is_model_file(path: &Path) -> bool {
    let mut magic = [0; 4];
    let is_read =
        path.is_file() && File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok());
    is_read && magic == gguf::MAGIC
}

/// A GGUF file that is whole, or the first of several parts.
fn is_first_gguf(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let is_later = part(name).is_some_and(|(_, number, _)| number != "00001");
    name.ends_with(".gguf") && !name.starts_with('.') && !is_later
}

/// `BEGIN-NUMBER-of-COUNT.gguf`
fn part(name: &str) -> Option<(&str, &str, &str)> {
    let (begin, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (begin, number) = begin.rsplit_once('-')?;
    (number.len() == 5 && count.len() == 5).then_some((begin, number, count))
}

/// Bytes of all parts, where there are several.
fn all_parts(path: &Path, first: u64) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((begin, _, count)) = part(name) else { return first };
    let n_parts = count.parse::<u32>().unwrap_or(1).min(10_000);
    let bytes = |n: u32| {
        let name = format!("{begin}-{n:05}-of-{count}.gguf");
        std::fs::metadata(path.with_file_name(name)).map_or(0, |about| about.len())
    };
    first + (2..=n_parts).map(bytes).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(path: &Path, bytes: &[u8]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A GGUF file without tensors that names its architecture, and perhaps its type.
    fn gguf(keys: &[(&str, &str)]) -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let mut bytes =
            [&b"GGUF"[..], &3u32.to_le_bytes(), &0u64.to_le_bytes(), &(keys.len() as u64).to_le_bytes()]
                .concat();
        for (key, value) in keys {
            bytes.extend([text(key), 8u32.to_le_bytes().to_vec(), text(value)].concat());
        }
        bytes
    }

    #[test]
    fn models_are_found_where_people_keep_them() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let llama = gguf(&[("general.architecture", "llama")]);
        // Hugging Face: a checkpoint, and a repository of GGUF files with a projector.
        let hub = home.join(".cache/huggingface/hub");
        let repository = hub.join("models--meta-llama--Llama-3.2-1B");
        write(&repository.join("refs/main"), b"abc\n");
        write(&repository.join("snapshots/abc/config.json"), br#"{"model_type": "llama"}"#);
        write(&repository.join("snapshots/abc/model.safetensors"), &[0; 100]);
        write(&repository.join("snapshots/old/config.json"), b"{}");
        let ggufs = hub.join("models--someone--Some-GGUF/snapshots/r");
        write(&ggufs.join("a-Q4_0.gguf"), &llama);
        write(&ggufs.join("b-00001-of-00002.gguf"), &llama);
        write(&ggufs.join("b-00002-of-00002.gguf"), &[0; 50]);
        write(&ggufs.join("mmproj.gguf"), &gguf(&[("general.architecture", "clip")]));
        write(
            &ggufs.join("lora.gguf"),
            &gguf(&[("general.architecture", "llama"), ("general.type", "adapter")]),
        );
        write(&hub.join("datasets--x--y/snapshots/r/config.json"), b"{}");
        // Ollama.
        let ollama = home.join(".ollama/models");
        let manifest = json!({"layers": [
            {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:00"},
            {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:ab12"}]});
        write(
            &ollama.join("manifests/registry.ollama.ai/library/llama3.2/3b"),
            manifest.to_string().as_bytes(),
        );
        let elsewhere = json!({"layers": [
            {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../x"}]});
        write(
            &ollama.join("manifests/registry.ollama.ai/library/bad/latest"),
            elsewhere.to_string().as_bytes(),
        );
        write(&ollama.join("manifests/registry.ollama.ai/library/broken/latest"), b"{");
        write(&ollama.join("blobs/sha256-ab12"), &llama);
        // LM Studio, and a folder of one's own with a folder of Meta's.
        write(&home.join(".lmstudio/models/pub/repo/c.gguf"), &gguf(&[("general.architecture", "qwen2")]));
        write(&home.join("own/meta/params.json"), b"{}");
        write(&home.join("own/meta/consolidated.00.pth"), &[0; 7]);
        let mut places = ModelPlaces::of_other_programs(|name| (name == "HOME").then(|| home.to_owned()));
        places.folders.retain(|(_, folder)| folder.starts_with(home));
        places.add_folder(home.join("own"));
        let FoundModels { models: found, is_all } = places.find();
        assert!(is_all);
        let about: Vec<(&str, Place, &str)> = found
            .iter()
            .map(|model| (model.name.as_str(), model.place, model.architecture.as_str()))
            .collect();
        assert_eq!(
            about,
            [
                ("meta", Place::Folder, "llama"),
                ("meta-llama/Llama-3.2-1B", Place::HuggingFace, "llama"),
                ("someone/Some-GGUF/a-Q4_0", Place::HuggingFace, "llama"),
                ("someone/Some-GGUF/b-00001-of-00002", Place::HuggingFace, "llama"),
                ("llama3.2:3b", Place::Ollama, "llama"),
                ("pub/repo/c.gguf", Place::LmStudio, "qwen2"),
            ]
        );
        assert_eq!((found[0].bytes, found[1].bytes, found[3].bytes), (7, 100, llama.len() as u64 + 50));
        let named = |name: &str| places.named(name).into_iter().map(|model| model.name).collect::<Vec<_>>();
        assert_eq!(named("llama3.2:3b"), ["llama3.2:3b"]);
        assert_eq!(places.named("llama3.2:3b")[0].path, ollama.join("blobs/sha256-ab12"));
        assert_eq!(named("LLAMA-3.2-1b"), ["meta-llama/Llama-3.2-1B"]);
        assert_eq!(named("llama3.2"), ["llama3.2:3b"]);
        assert_eq!(
            named("someone/Some-GGUF"),
            ["someone/Some-GGUF/a-Q4_0", "someone/Some-GGUF/b-00001-of-00002"]
        );
        assert_eq!(named("pub/repo/c.gguf"), ["pub/repo/c.gguf"]);
        assert!(named("Llama").is_empty() && ModelPlaces::of_other_programs(|_| None).named("x").is_empty());
    }
}
