//! Writes a GGUF model again with its matrices in another type, to measure what a type costs in quality.
//!
//! ```text
//! cargo run --release -p puna-model --example requantise -- model-f32.gguf q5_0 model-q5_0.gguf
//! ```
//!
//! Matrices whose rows are no whole number of the type's blocks become F16; vectors stay F32.

use std::path::Path;

use puna_formats::Checkpoint;
use puna_model::{LoadOptions, Model};
use puna_tensor::DType;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, dtype, target] = &args[..] else {
        return Err("usage: requantise IN.gguf TYPE OUT.gguf".into());
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
    let metadata = gguf.metadata.clone();
    let model = Model::from_checkpoint(&checkpoint, source, &LoadOptions::default())?;
    Ok(model.save_gguf(Path::new(target), metadata, dtype)?)
}
