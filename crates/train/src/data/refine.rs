//! What becomes of one record: parsed, judged, tokenised. Depends on the record and on samples before it alone, so
//! any thread may do it.

use std::path::Path;

use super::config::{DataConfig, Source, SourceKind};
use super::contamination::Evaluated;
use super::duplicates::{Comparison, Seen, SeenBefore};
use super::error::DataError;
use super::labels::{DataText, Labelled, Labelling, NoTokens};
use super::language::language_of;
use super::quality::broken_rule;
use super::record::{Body, Record};
use super::sample::{Forms, Sample};
use super::words::{digest, words};

/// How the records of a source become samples.
pub(crate) struct Refining<'c> {
    pub config: &'c DataConfig,
    pub source: &'c Source,
    pub text: DataText<'c>,
    pub labelling: Labelling,
    pub comparison: Option<Comparison>,
    pub evaluated: Evaluated,
    /// The share of samples that is kept back.
    pub valid_share: f64,
}

/// What became of a record.
pub(crate) enum Outcome {
    Kept(Refined),
    Seen(Seen),
    Empty,
    /// With the sign by which it is compared first.
    Refused {
        fact: String,
        sign: Vec<u8>,
    },
    Language,
    Quality(&'static str),
    Contaminated,
}

/// A sample that is kept, unless one before it in the same block is like it.
pub(crate) struct Refined {
    pub labelled: Labelled,
    /// By what it is compared; empty where nothing is.
    pub sign: Vec<u8>,
    pub is_valid: bool,
    pub n_text_bytes: u64,
}

impl Refining<'_> {
    /// What becomes of a record of a file.
    pub fn refine(&self, record: Record, path: &Path, before: &SeenBefore) -> Result<Outcome, DataError> {
        let line = record.line;
        let fail = |fact: String| DataError::at(path, line, fact);
        let sample = sample_of(record, self.source, self.text.template.is_some()).map_err(fail)?;
        let said = sample.words();
        if said.trim().is_empty() {
            return Ok(Outcome::Empty);
        }
        let cleaning = &self.config.cleaning;
        if let Some(wanted) = &cleaning.language
            && language_of(&said) != Some(wanted)
        {
            return Ok(Outcome::Language);
        }
        if let (true, Sample::Text(text)) = (cleaning.quality, &sample)
            && let Some(rule) = broken_rule(text)
        {
            return Ok(Outcome::Quality(rule));
        }
        let is_compared = self.comparison.is_some() || self.valid_share > 0.0 || !self.evaluated.is_empty();
        let words = if is_compared { words(&said) } else { Vec::new() };
        if self.evaluated.shares(&words) {
            return Ok(Outcome::Contaminated);
        }
        let sign = self.comparison.as_ref().map(|comparison| comparison.sign(&words)).unwrap_or_default();
        // Looked up again when the samples before it in this block are known; here it saves tokenising.
        if let Some(seen) = self.comparison.as_ref().and_then(|comparison| comparison.is_seen(before, &sign))
        {
            return Ok(Outcome::Seen(seen));
        }
        let is_valid = self.valid_share > 0.0 && self.is_kept_back(&words);
        let n_text_bytes = said.len() as u64;
        match self.labelling.tokens(&sample, &self.text) {
            Ok(labelled) => Ok(Outcome::Kept(Refined { labelled, sign, is_valid, n_text_bytes })),
            Err(NoTokens::Refused(fact)) => Ok(Outcome::Refused { fact, sign }),
            Err(NoTokens::NoTemplate) => {
                let fact =
                    "it is a conversation, and the model has no chat template\n  name one, or train on texts";
                Err(fail(fact.to_owned()))
            }
        }
    }

    /// A sample's side is a function of its words.
    fn is_kept_back(&self, words: &[u64]) -> bool {
        let hash = u64::from_le_bytes(*digest(words).first_chunk().expect("16 bytes"));
        (hash as f64) < self.valid_share * u64::MAX as f64
    }
}

/// The sample that a record of a source says.
pub(crate) fn sample_of(record: Record, source: &Source, has_template: bool) -> Result<Sample, String> {
    let forms = Forms { kind: source.kind, text_key: source.text_key.as_deref(), has_template };
    match record.body {
        Body::Text(text) => match source.kind {
            SourceKind::Auto | SourceKind::Text => Ok(Sample::Text(text)),
            _ => Err("it is a text, and no JSON that could say more".to_owned()),
        },
        Body::Json(json) => {
            let value = serde_json::from_slice(&json).map_err(|error| format!("it is no JSON: {error}"))?;
            forms.sample(value)
        }
        #[cfg(feature = "parquet")]
        Body::Row(row) => forms.sample(row),
    }
}
