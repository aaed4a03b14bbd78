//! From files to sequences: reads, cleans and tokenises once, and keeps the tokens in a folder.

use std::path::Path;

use puna_text::Tokenizer;
use puna_text::template::Detected;

use super::{DataConfig, DataError, DataProgress, DataReport, Documents};

/// What makes tokens of samples.
#[derive(Clone, Copy)]
pub struct DataText<'t> {
    /// The tokenizer.
    pub tokenizer: &'t Tokenizer,
    /// How conversations are written, which only those need.
    pub template: Option<&'t Detected>,
}

/// What a run trains on.
pub struct Prepared {
    /// What is trained on.
    pub train: Documents,
    /// What is validated on; empty where nothing was kept back.
    pub valid: Documents,
    /// What was counted.
    pub report: DataReport,
}

/// Reads, cleans and tokenises what `config` names, unless that was done before: tokens are kept in `cache_dir`.
/// `progress` is called now and then; where `interrupt` says so, it stops, and goes on from there when called again.
pub fn prepare(
    config: &DataConfig,
    text: &DataText,
    cache_dir: &Path,
    progress: &mut dyn FnMut(&DataProgress),
    interrupt: &dyn Fn() -> bool,
) -> Result<Prepared, DataError> {
    let _ = (config, text, cache_dir, progress);
    if interrupt() { Err(DataError::Interrupted) } else { Err(DataError::Nothing("not read yet".into())) }
}
