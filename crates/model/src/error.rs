//! Why a checkpoint cannot be used, or a pass not be computed.

use puna_formats::FormatError;

use crate::block_pool::PoolFull;

/// A checkpoint that could be read but not used, or not read at all.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The files could not be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The configuration is broken, inconsistent or of a kind we do not support.
    #[error("cannot use the configuration of `{path}`\n  {fact}")]
    Config {
        /// The file or folder.
        path: String,
        /// What was found, and what was expected.
        fact: String,
    },
    /// A tensor is missing, or is not what the configuration says it should be.
    #[error("cannot load tensor `{tensor}` of `{path}`\n  {fact}")]
    Tensor {
        /// The file or folder.
        path: String,
        /// The tensor's name in the checkpoint.
        tensor: String,
        /// What was found, and what was expected.
        fact: String,
    },
    /// There are no blocks left for keys and values.
    #[error(transparent)]
    PoolFull(#[from] PoolFull),
    /// The caller wanted no more.
    #[error("stopped")]
    Stopped,
    /// A request that this model cannot compute.
    #[error("{0}")]
    Input(String),
}
