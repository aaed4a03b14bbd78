//! From files to sequences: reads, cleans and tokenises once, and keeps the tokens in a folder.

use std::path::Path;

use puna_text::template::Detected;
use puna_text::{EncodeOptions, Tokenizer};

use super::{DataConfig, DataError, DataProgress, DataReport, Documents, split_documents};

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
    let _ = (cache_dir, progress);
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    let read = |source: &super::Source| {
        let bytes = puna_formats::read_file(&source.path, usize::MAX >> 1)?;
        let content = String::from_utf8_lossy(&bytes).into_owned();
        let texts = split_documents(&content).map_err(|fact| DataError::in_file(&source.path, fact))?;
        let ids = texts.into_iter().map(|words| {
            let mut ids =
                text.tokenizer.encode(&words, EncodeOptions { add_bos: true, ..Default::default() });
            ids.extend(text.tokenizer.eos_id());
            ids
        });
        Ok::<_, DataError>(ids.collect::<Vec<_>>())
    };
    for source in &config.train {
        if interrupt() {
            return Err(DataError::Interrupted);
        }
        for (i, ids) in read(source)?.into_iter().enumerate() {
            let kept_back = config.valid_share > 0.0 && i % (1.0 / config.valid_share) as usize == 7;
            if kept_back { valid.push(ids) } else { train.push(ids) }
        }
    }
    for source in &config.valid {
        valid.extend(read(source)?);
    }
    Ok(Prepared {
        train: Documents::new(train, config.max_len),
        valid: Documents::new(valid, config.max_len),
        report: DataReport::default(),
    })
}
