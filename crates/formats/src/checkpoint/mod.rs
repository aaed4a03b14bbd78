//! A model checkpoint in any form people have, told by its content.
//!
//! | found | form |
//! |---|---|
//! | a file that begins with `GGUF`, or a folder with one such file or one split set | GGUF |
//! | a folder with `config.json` and `.safetensors` or `pytorch_model.bin` files, or one of those files | Hugging Face |
//! | a folder with `params.json` and `consolidated.NN.pth` files, or one of those files | Meta |
//!
//! What is found instead of a model is said in words: the wrong folder, an adapter, a failed download.

mod hugging_face;
mod meta;
mod not_a_model;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use crate::gguf::GgufCheckpoint;
pub use hugging_face::HfCheckpoint;
pub use meta::MetaCheckpoint;

use crate::error::{FormatError, Problem};
use crate::folder::list_files;
use crate::mapped_file::MappedFile;
use crate::part_name::PartName;
use crate::tensor_map::TensorMap;
use crate::visible::{quote, visible_path};
use crate::{gguf, lookalike, pth, safetensors};

/// A checkpoint: configuration and tensors, in the names of its own form.
#[derive(Clone, Debug)]
pub enum Checkpoint {
    /// llama.cpp's format.
    Gguf(GgufCheckpoint),
    /// A Hugging Face folder.
    HuggingFace(HfCheckpoint),
    /// A folder as Meta publishes it.
    Meta(MetaCheckpoint),
}

impl Checkpoint {
    /// The files that its tensors are views of.
    pub fn mapped_files(&self) -> impl Iterator<Item = &MappedFile> {
        let maps: Vec<&TensorMap> = match self {
            Checkpoint::Gguf(gguf) => vec![&gguf.tensors],
            Checkpoint::HuggingFace(hf) => vec![&hf.tensors],
            Checkpoint::Meta(meta) => meta.shards.iter().collect(),
        };
        maps.into_iter().flat_map(TensorMap::mapped_files)
    }
}

/// Opens the checkpoint at a path, which may be a file or a folder.
pub fn open(path: &Path) -> Result<Checkpoint, FormatError> {
    let metadata = std::fs::metadata(path).map_err(|error| FormatError::io(path, &error))?;
    if metadata.is_dir() { open_folder(path) } else { open_file(path) }
}

fn open_file(path: &Path) -> Result<Checkpoint, FormatError> {
    MappedFile::open(path)?.read(|bytes| open_as(bytes, path))
}

/// Opens a file as what its first bytes say it is.
fn open_as(bytes: &[u8], path: &Path) -> Result<Checkpoint, FormatError> {
    if bytes.starts_with(&gguf::MAGIC) {
        return gguf::open(path).map(Checkpoint::Gguf);
    }
    if safetensors::looks_like(bytes) {
        return hugging_face::open_file(path).map(Checkpoint::HuggingFace);
    }
    if pth::looks_like(bytes) {
        let beside = |name: &str| path.parent().unwrap_or(Path::new("")).join(name).is_file();
        if beside(CONFIG) && (pth::is_pytorch_bin(path) || !beside(PARAMS)) {
            return hugging_face::open_bin(path).map(Checkpoint::HuggingFace);
        }
        return meta::open_file(path).map(Checkpoint::Meta);
    }
    let unknown = || match path.file_name().and_then(|name| name.to_str()) {
        Some(name @ (CONFIG | PARAMS)) => {
            let problem = Problem::not_a_model(format!("is a {name}, not a model"));
            problem.hint("give the folder it is in")
        }
        _ => Problem::not_a_model("is not a model file we know: not GGUF, safetensors or PyTorch")
            .hint("give a .gguf file, or the folder of a Hugging Face or Meta checkpoint"),
    };
    let lower = path.to_string_lossy().to_lowercase();
    let of_others = OTHER_FORMS.iter().find(|(end, _)| lower.ends_with(end)).map(|(_, what)| {
        Problem::unsupported(format!("is in a form of other programs: {what}"))
            .hint("use the model's .safetensors, or a GGUF form of it")
    });
    Err(lookalike::explain(bytes).or(of_others).unwrap_or_else(unknown).in_file(path))
}

const CONFIG: &str = "config.json";
const PARAMS: &str = "params.json";
const ADAPTER_CONFIG: &str = "adapter_config.json";

/// A form of checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `config.json` and safetensors, or PyTorch's files.
    HuggingFace,
    /// `params.json` and `consolidated.NN.pth`.
    Meta,
    /// llama.cpp's.
    Gguf,
}

impl Form {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Form::HuggingFace => "Hugging Face",
            Form::Meta => "Meta",
            Form::Gguf => "GGUF",
        }
    }
}

/// The forms of checkpoints whose files lie in a folder, in the order in which [`open`] prefers them. Names
/// of files tell, and the first bytes of GGUF files.
pub fn forms_in(dir: &Path) -> Result<Vec<Form>, FormatError> {
    let files = list_files(dir)?;
    let has = |name: &str| files.iter().any(|file| file.file_name().is_some_and(|found| found == name));
    let mut forms = Vec::new();
    if has(CONFIG) && files.iter().any(|file| hugging_face::is_weights(file)) {
        forms.push(Form::HuggingFace);
    }
    if has(PARAMS) && files.iter().any(|file| meta::shard_number(file).is_some()) {
        forms.push(Form::Meta);
    }
    if files.iter().any(|file| begins_with_gguf(file)) {
        forms.push(Form::Gguf);
    }
    Ok(forms)
}

fn open_folder(dir: &Path) -> Result<Checkpoint, FormatError> {
    match forms_in(dir)?.first() {
        Some(Form::HuggingFace) => hugging_face::open_folder(dir).map(Checkpoint::HuggingFace),
        Some(Form::Meta) => meta::open_folder(dir).map(Checkpoint::Meta),
        _ => open_gguf_folder(dir),
    }
}

fn open_gguf_folder(dir: &Path) -> Result<Checkpoint, FormatError> {
    let files = list_files(dir)?;
    let mut ggufs: Vec<PathBuf> = files.iter().filter(|file| begins_with_gguf(file)).cloned().collect();
    // Of a split checkpoint one part stands for all.
    ggufs.dedup_by(|next, kept| {
        PartName::parse(next).zip(PartName::parse(kept)).is_some_and(|(next, kept)| next.same_model(&kept))
    });
    match ggufs.as_slice() {
        [] => Err(explain_folder(dir, &files)),
        [file] => gguf::open(file).map(Checkpoint::Gguf),
        several => {
            let problem = Problem::not_a_model(format!("has several GGUF models: {}", list_names(several)));
            Err(problem.hint("give the path of one of them").in_file(dir))
        }
    }
}

fn begins_with_gguf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == gguf::MAGIC
}

/// How weights of other programs are called, by the ends of their files' names.
const OTHER_FORMS: [(&str, &str); 12] = [
    (".onnx", "ONNX"),
    (".msgpack", "Flax"),
    (".h5", "TensorFlow"),
    (".ckpt.index", "TensorFlow"),
    (".mlmodel", "Core ML"),
    ("openvino_model.xml", "OpenVINO"),
    (".engine", "TensorRT"),
    (".nemo", "NeMo"),
    (".pte", "ExecuTorch"),
    (".tflite", "TensorFlow Lite"),
    (".llamafile", "llamafile; the GGUF file inside it can be taken out by unzipping"),
    (".mnn", "MNN"),
];

/// Why a folder is not a model, as far as its files tell.
fn explain_folder(dir: &Path, files: &[PathBuf]) -> FormatError {
    let has = |name: &str| files.iter().any(|file| file.file_name().is_some_and(|found| found == name));
    let any = |matches: fn(&str) -> bool| {
        files.iter().any(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(matches))
    };
    let of_others = OTHER_FORMS
        .iter()
        .find(|(end, _)| files.iter().any(|file| file.to_string_lossy().to_lowercase().ends_with(end)));
    let problem = if has(ADAPTER_CONFIG) {
        Problem::not_a_model("is a PEFT adapter (a LoRA), not a whole model")
            .hint("adapter_config.json names the base model it belongs to; give that one's folder")
    } else if any(|name| name.ends_with(".safetensors")) {
        Problem::not_a_model(format!("has .safetensors files but no {CONFIG}"))
            .hint("download the model's config.json into the same folder")
    } else if files.iter().any(|file| pth::is_pytorch_bin(file)) {
        Problem::not_a_model(format!("has pytorch_model.bin but no {CONFIG}"))
            .hint("download the model's config.json into the same folder")
    } else if any(|name| name.starts_with("consolidated.") && name.ends_with(".pth")) {
        Problem::not_a_model(format!("has consolidated.NN.pth files but no {PARAMS}"))
            .hint("copy the model's params.json into the same folder")
    } else if let Some((_, what)) = of_others {
        Problem::unsupported(format!("has its weights only in a form of other programs: {what}"))
            .hint("download the model's .safetensors, or a GGUF form of it")
    } else if any(|name| name.ends_with(".distcp") || name.ends_with("_model_states.pt")) {
        Problem::not_a_model("is the state of a training, in the parts of several processes")
            .hint("let the trainer that wrote it (FSDP, DeepSpeed) put the parts together first")
    } else if has(CONFIG) || has(PARAMS) {
        Problem::not_a_model("has a configuration but no weights").hint("the download may be incomplete")
    } else if let models @ [_, ..] = &*model_folders(dir) {
        let fact = format!("is not a model itself, but has folders with models: {}", list_names(models));
        Problem::not_a_model(fact).hint("give the path of one of them")
    } else if files.is_empty() {
        Problem::not_a_model("has no files")
    } else {
        Problem::not_a_model(format!("has no model in it; found {}", list_names(files)))
    };
    let original = dir.join("original");
    let problem = match problem.hint {
        _ if original.join(PARAMS).is_file() => problem.hint(format!("try `{}`", visible_path(&original))),
        None => problem.hint(
            "a model is a .gguf file, config.json with .safetensors or .bin, or params.json with .pth files",
        ),
        Some(_) => problem,
    };
    problem.in_file(dir)
}

/// The folders inside a folder that a model could be read from. Of very many, only the first are looked into.
fn model_folders(dir: &Path) -> Vec<PathBuf> {
    const LOOKED_AT: usize = 1000;
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).take(LOOKED_AT).collect();
    folders.retain(|folder| forms_in(folder).is_ok_and(|forms| !forms.is_empty()));
    folders.sort();
    folders
}

/// The names of the first few files.
fn list_names(files: &[PathBuf]) -> String {
    const SHOWN: usize = 6;
    let name = |file: &PathBuf| quote(&file.file_name().unwrap_or_default().to_string_lossy());
    let mut names: Vec<String> = files.iter().take(SHOWN).map(name).collect();
    if files.len() > SHOWN {
        names.push(format!("and {} more", files.len() - SHOWN));
    }
    names.join(", ")
}
