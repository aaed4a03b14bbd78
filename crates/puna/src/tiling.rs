//! How a model wants pictures cut.

use puna_formats::{Checkpoint, read_json};
use puna_image::{Scheme, Tiling};
use puna_model::{Tower, Vision};
use serde_json::Value;

use crate::Error;

/// The largest `preprocessor_config.json` that is read.
const MAX_CONFIG_BYTES: usize = 1 << 20;

/// As the files beside the model say, else as its generation was released; `None` if it sees no pictures.
pub(crate) fn tiling_of(checkpoint: &Checkpoint, vision: Option<&Vision>) -> Result<Option<Tiling>, Error> {
    let Some(vision) = vision else { return Ok(None) };
    let tiling = match &vision.tower {
        Tower::CrossAttention(tower) => {
            let scheme = Scheme::Llama32 { grids: tower.grids.clone() };
            Tiling { scheme, max_tiles: tower.max_tiles, ..Tiling::llama32(vision.tile) }
        }
        Tower::EarlyFusion(_) => Tiling::llama4(vision.tile),
    };
    let folder = match checkpoint {
        Checkpoint::HuggingFace(hf) => &hf.dir,
        Checkpoint::Meta(meta) => &meta.dir,
        Checkpoint::Gguf(_) => return Ok(Some(tiling)),
    };
    let path = folder.join("preprocessor_config.json");
    if !path.is_file() {
        return Ok(Some(tiling));
    }
    let config: Value = read_json(&path, MAX_CONFIG_BYTES)?;
    let wrong = |fact: String| Error::File { path: path.clone(), fact };
    let own = tiling.clone().with_preprocessor(&config).map_err(wrong)?;
    if own.tile != vision.tile || own.scheme != tiling.scheme {
        let fact = format!("it cuts other tiles than the model's of {} pixels", vision.tile);
        return Err(wrong(fact));
    }
    Ok(Some(own))
}
