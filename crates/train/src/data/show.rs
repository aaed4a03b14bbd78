//! The first samples as they will be trained on, to be looked at before anything else happens.

use super::config::DataConfig;
use super::contamination::Evaluated;
use super::duplicates::SeenBefore;
use super::error::DataError;
use super::files::{DataFile, find_files, place};
use super::labels::{DataText, LabelledText, Labelling, shown};
use super::read::Reader;
use super::refine::{Outcome, Refining};
use super::unpack::BytesRead;

/// A sample as it will be trained on, to be looked at before anything else happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSample {
    /// Where it stands: file and line.
    pub place: String,
    /// Its text, each stretch trained or not. Of a pair, the rejected answer follows the chosen one.
    pub text: Vec<LabelledText>,
    /// Why it will not be trained on.
    pub refused: Option<String>,
}

/// The first `n` samples of each source as they will be trained on, before any cleaning.
pub fn show_labels(config: &DataConfig, text: &DataText, n: usize) -> Result<Vec<ShownSample>, DataError> {
    let mut all = Vec::new();
    for source in &config.train {
        let refining = Refining {
            config,
            source,
            text: *text,
            labelling: Labelling::of(config),
            comparison: None,
            evaluated: Evaluated::default(),
            valid_share: 0.0,
        };
        all.extend(first_samples(&refining, &find_files(&source.path)?.files, n)?);
    }
    Ok(all)
}

fn first_samples(refining: &Refining, files: &[DataFile], n: usize) -> Result<Vec<ShownSample>, DataError> {
    let mut all = Vec::new();
    for file in files {
        if all.len() >= n {
            break;
        }
        let mut reader = Reader::open(&file.path, &BytesRead::default())?;
        while all.len() < n
            && let Some(record) = reader.next()?
        {
            let place = place(&file.path, record.line);
            let outcome = refining.refine(record, &file.path, &SeenBefore::default())?;
            let refused = |fact: &str| ShownSample {
                place: place.clone(),
                text: Vec::new(),
                refused: Some(fact.into()),
            };
            all.push(match outcome {
                Outcome::Kept(refined) => {
                    let labelled = &refined.labelled;
                    let is_untrained = labelled.n_trained() == 0;
                    ShownSample {
                        text: shown(&labelled.ids, &labelled.trained, refining.text.tokenizer),
                        refused: is_untrained.then(|| "nothing in it is trained".to_owned()),
                        place,
                    }
                }
                Outcome::Empty => refused("it is empty"),
                Outcome::Refused { fact, .. } => refused(&fact),
                _ => continue,
            });
        }
    }
    Ok(all)
}
