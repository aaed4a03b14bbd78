//! Writes a GGUF model again with its matrices in another type, to measure what a type costs in quality.
//!
//! ```text
//! cargo run --release -p puna-model --example requantise -- model-f32.gguf q5_0 model-q5_0.gguf
//! ```
//!
//! Matrices whose rows are no whole number of the type's blocks become F16; vectors stay F32. The licence goes along, and
//! a bill of materials: `model-q5_0.Notice`, `model-q5_0.cdx.json`; signed, where the secret key of minisign that comes
//! last has no password.

use std::path::Path;

use puna_formats::{Checkpoint, gguf};
use puna_model::{LoadOptions, Model};
use puna_store::made::{Key, Made, Parent, Part};
use puna_tensor::DType;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (args, key) = match &args[..] {
        [args @ .., key] if args.len() == 3 => (args, Some(Key::read(&std::fs::read_to_string(key)?, None)?)),
        args => (args, None),
    };
    let [source, dtype, target] = args else {
        return Err("usage: requantise IN.gguf TYPE OUT.gguf [SECRET-KEY]".into());
    };
    let found = DType::WEIGHTS.into_iter().find(|known| known.name().eq_ignore_ascii_case(dtype));
    let dtype = found.ok_or_else(|| {
        let known = DType::WEIGHTS.map(DType::name).join(", ");
        format!("cannot store weights as `{dtype}`\n  the types are {known}")
    })?;
    let source = Path::new(source);
    let checkpoint = puna_formats::open(source)?;
    let Checkpoint::Gguf(gguf) = &checkpoint else {
        return Err(format!("cannot read `{}`: it is not a GGUF file", source.display()).into());
    };
    let mut metadata = gguf.metadata.clone();
    let said = |key| metadata.opt_str(key).ok().flatten().map(str::to_owned);
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let target = Path::new(target);
    let parent = Parent {
        name: said("general.name").unwrap_or_else(|| stem(source)),
        path: source.to_owned(),
        licence: said("general.license"),
        part: Part::Copy,
    };
    let how = format!("matrices stored as {dtype}");
    let made = Made { name: stem(target), how, parents: vec![parent] };
    made.check()?.iter().for_each(|says| eprintln!("note: {says}"));
    for (key, value) in made.gguf_metadata() {
        metadata.set(&key, gguf::Value::String(value));
    }
    let model = Model::from_checkpoint(&checkpoint, source, &LoadOptions::default())?;
    model.save_gguf(target, metadata, dtype)?;
    made.put(target, key.as_ref())?;
    Ok(())
}
