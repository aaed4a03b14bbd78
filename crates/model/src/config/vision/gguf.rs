//! What the metadata of GGUF files say of a vision encoder: llama.cpp's projector files and Ollama's
//! `mllama`.

use puna_formats::FormatError;
use puna_formats::gguf::Metadata;

use super::{
    CrossAttentionTower, EarlyFusionTower, GRIDS, INTERMEDIATE, PATCH_TOKEN, TileTables, Tower, Vision,
};

impl Vision {
    /// What the metadata of Ollama's files of Llama 3.2 say.
    pub(in crate::config) fn from_mllama(
        metadata: &Metadata,
        image_token: u32,
    ) -> Result<Result<Vision, String>, FormatError> {
        const PREFIX: &str = "mllama.vision";
        let size = |key: &str| Ok::<_, FormatError>(metadata.u32(&format!("{PREFIX}.{key}"))? as usize);
        let intermediate = match metadata.opt_i32s("mllama.vision.intermediate_layers_indices")? {
            Some(layers) => layers.into_iter().map(|i| usize::try_from(i).unwrap_or(usize::MAX)).collect(),
            None => INTERMEDIATE.to_vec(),
        };
        let tower = Tower::CrossAttention(CrossAttentionTower {
            max_tiles: size("max_num_tiles")?,
            grids: GRIDS.to_vec(),
            n_global_layers: size("global.block_count")?,
            intermediate,
            tables: TileTables::ByGrid,
        });
        Vision::from_gguf(metadata, PREFIX, image_token, tower)
    }

    /// The sizes that GGUF files have under a prefix.
    fn from_gguf(
        metadata: &Metadata,
        prefix: &str,
        image_token: u32,
        tower: Tower,
    ) -> Result<Result<Vision, String>, FormatError> {
        let size = |key: &str| Ok::<_, FormatError>(metadata.u32(&format!("{prefix}.{key}"))? as usize);
        let vision = Vision {
            tile: size("image_size")?,
            patch: size("patch_size")?,
            dim: size("embedding_length")?,
            n_heads: size("attention.head_count")?,
            ffn_dim: size("feed_forward_length")?,
            n_layers: size("block_count")?,
            norm_eps: metadata.opt_f32(&format!("{prefix}.attention.layer_norm_epsilon"))?.unwrap_or(1e-5),
            image_token,
            tower,
        };
        Ok(vision.check().map(|()| vision))
    }

    /// What the metadata of a projector file (`mmproj`) say: of Llama 4, where `adapter` are the widths that
    /// its tensors have, or of Llama 3.2 in Ollama's form, where the token of images is the first after the
    /// vocabulary.
    pub(crate) fn from_mmproj(
        metadata: &Metadata,
        adapter: [usize; 2],
        vocab_size: usize,
    ) -> Result<Result<Vision, String>, FormatError> {
        match metadata.str("general.architecture")? {
            "clip" => {}
            "mllama" => return Vision::from_mllama(metadata, vocab_size as u32),
            other => {
                return Ok(Err(format!("its architecture is `{other}`; a vision projector's is `clip`")));
            }
        }
        let kind = match metadata.opt_str("clip.projector_type")? {
            Some(kind) => Some(kind),
            None => metadata.opt_str("clip.vision.projector_type")?,
        };
        if kind != Some("llama4") {
            let kind = kind.unwrap_or("not said");
            return Ok(Err(format!("its projector type is {kind}; supported is llama4")));
        }
        let shuffle = metadata.opt_u32("clip.vision.projector.scale_factor")?.unwrap_or(2) as usize;
        let tower = Tower::EarlyFusion(EarlyFusionTower { shuffle, adapter, rope_theta: 10_000.0 });
        Vision::from_gguf(metadata, "clip.vision", PATCH_TOKEN, tower)
    }
}
