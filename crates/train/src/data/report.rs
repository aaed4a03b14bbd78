//! What became of the samples, counted: nothing is left out in silence.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What became of the samples of a source while they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Samples in the files.
    pub n_read: u64,
    /// Samples that are kept.
    pub n_kept: u64,
    /// Of these, samples kept back for validation.
    pub n_valid: u64,
    /// Tokens of those kept.
    pub n_tokens: u64,
    /// Of these, tokens that are trained.
    pub n_trained: u64,
    /// Bytes of text of those kept.
    pub n_text_bytes: u64,
    /// Texts too large for one sample, which were cut at the end of a line.
    pub n_cut: u64,
    /// Samples without a word.
    pub empty: u64,
    /// Samples without a trained token.
    pub untrained: u64,
    /// Where the first samples without a trained token stand.
    pub untrained_at: Vec<String>,
    /// Samples that the chat template or the vocabulary does not allow.
    pub refused: u64,
    /// Where the first of them stand, and why.
    pub refused_at: Vec<String>,
    /// Turns of assistants that end without a token that stops an answer: a model learns from them not to stop.
    pub n_open_turns: u64,
    /// Samples that repeat one before word for word.
    pub exact: u64,
    /// Samples nearly equal to one before.
    pub near: u64,
    /// Texts in another language.
    pub language: u64,
    /// Samples that share 13 words with an evaluation set.
    pub contaminated: u64,
    /// Texts that broke a rule of quality, by the rule they broke first.
    pub quality: Vec<(String, u64)>,
}

/// How many places [`Counts::untrained_at`] names.
const N_PLACES: usize = 5;

impl Counts {
    /// Counts a sample without a trained token, found at `place`.
    pub(crate) fn count_untrained(&mut self, place: impl FnOnce() -> String) {
        self.untrained += 1;
        if self.untrained_at.len() < N_PLACES {
            self.untrained_at.push(place());
        }
    }

    /// Counts a sample that the template refused.
    pub(crate) fn count_refused(&mut self, place_and_reason: impl FnOnce() -> String) {
        self.refused += 1;
        if self.refused_at.len() < N_PLACES {
            self.refused_at.push(place_and_reason());
        }
    }

    /// Counts a sample that is like one before.
    pub(crate) fn count_seen(&mut self, exactly: bool) {
        *(if exactly { &mut self.exact } else { &mut self.near }) += 1;
    }

    /// Counts a text that broke a rule.
    pub(crate) fn count_rule(&mut self, rule: &str) {
        match self.quality.iter_mut().find(|(name, _)| name == rule) {
            Some((_, n)) => *n += 1,
            None => self.quality.push((rule.to_owned(), 1)),
        }
    }

    /// Samples that were read and are not kept.
    pub fn n_removed(&self) -> u64 {
        self.n_read - self.n_kept
    }
}

/// What was found in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// The path it was given by.
    pub path: PathBuf,
    /// Files read.
    pub n_files: usize,
    /// Files of its folders whose names do not say that they hold data.
    pub n_files_left_out: usize,
    /// Bytes of the files, as they lie on disk.
    pub n_bytes: u64,
    /// What became of the samples.
    pub counts: Counts,
    /// Whether all of it was prepared before.
    pub is_cached: bool,
}

/// What became of the samples when they were cut to length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LengthReport {
    /// Samples.
    pub n_samples: u64,
    /// Sequences made of them.
    pub n_sequences: u64,
    /// Tokens of the sequences.
    pub n_tokens: u64,
    /// Of these, tokens that are predicted.
    pub n_targets: u64,
    /// Samples longer than allowed.
    pub n_too_long: u64,
    /// Tokens that were left out with them.
    pub n_tokens_lost: u64,
    /// Parts that were left out because nothing in them is trained.
    pub n_parts_untrained: u64,
}

/// All that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataReport {
    /// What is trained on, source by source.
    pub train: Vec<SourceReport>,
    /// What is validated on.
    pub valid: Vec<SourceReport>,
    /// Training samples cut to length.
    pub train_lengths: LengthReport,
    /// Validation samples cut to length.
    pub valid_lengths: LengthReport,
}

/// How far preparing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataProgress {
    /// The file being read.
    pub path: PathBuf,
    /// Bytes read, as they lie on disk. Those prepared before count.
    pub bytes_done: u64,
    /// Bytes of all files.
    pub bytes_all: u64,
    /// Samples kept.
    pub n_samples: u64,
    /// Their tokens.
    pub n_tokens: u64,
    /// Time since the beginning.
    pub elapsed: Duration,
    /// About how long the rest takes; `None` before anything is known.
    pub time_left: Option<Duration>,
}
