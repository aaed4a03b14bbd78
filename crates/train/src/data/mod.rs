//! Training data: documents as token ids, and batches of whole documents in a reproducible order.
//!
//! A batch is a run of documents side by side, each attended to by itself with positions from 0, so nothing
//! is padded and no document sees another. The order is a function of the seed and the epoch; a position in
//! it is two numbers.

mod config;
mod error;
mod prepare;
mod report;

use std::ops::Range;

pub use config::{Cleaning, DataConfig, Labels, Order, Packing, Source, SourceKind, TextEnd, TooLong};
pub use error::DataError;
pub use prepare::{DataText, Prepared, prepare};
pub use report::{Counts, DataProgress, DataReport, LengthReport, SourceReport};

use crate::random::Rng;

/// Tokenised documents.
pub struct Documents {
    docs: Vec<Vec<u32>>,
}

/// Where a run stands in its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Passes completed.
    pub epoch: u64,
    /// Documents taken in this pass.
    pub taken: usize,
}

/// Documents side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids of all documents.
    pub tokens: Vec<u32>,
    /// For each token the next one of its document; `None` for its last.
    pub targets: Vec<Option<u32>>,
    /// The documents, as ranges of `tokens`.
    pub sequences: Vec<Range<usize>>,
}

impl Batch {
    fn push(&mut self, doc: &[u32]) {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(doc);
        self.targets.extend(doc[1..].iter().map(|id| Some(*id)).chain([None]));
        self.sequences.push(start..self.tokens.len());
    }

    /// Tokens that are predicted.
    pub fn n_targets(&self) -> usize {
        self.targets.iter().flatten().count()
    }
}

impl Documents {
    /// Cuts each document into parts of at most `max_len` tokens and drops parts with nothing to predict.
    pub fn new(docs: impl IntoIterator<Item = Vec<u32>>, max_len: usize) -> Documents {
        let parts = docs.into_iter().flat_map(|doc| {
            doc.chunks(max_len.max(2)).filter(|part| part.len() > 1).map(<[u32]>::to_vec).collect::<Vec<_>>()
        });
        Documents { docs: parts.collect() }
    }

    /// Parts of documents.
    pub fn len(&self) -> usize {
        self.docs.len()
    }

    /// Whether there is nothing to learn from.
    pub fn is_empty(&self) -> bool {
        self.docs.is_empty()
    }

    /// Tokens of one pass.
    pub fn n_tokens(&self) -> usize {
        self.docs.iter().map(Vec::len).sum()
    }

    /// The next batch of about `n_tokens` tokens (at least one document); moves the cursor past it.
    ///
    /// # Panics
    /// If there are no documents.
    pub fn next_batch(&self, seed: u64, cursor: &mut Cursor, n_tokens: usize) -> Batch {
        assert!(!self.docs.is_empty());
        let mut batch = Batch::default();
        let mut order = self.order(seed, cursor.epoch);
        loop {
            if cursor.taken >= order.len() {
                *cursor = Cursor { epoch: cursor.epoch + 1, taken: 0 };
                order = self.order(seed, cursor.epoch);
            }
            let doc = &self.docs[order[cursor.taken]];
            if !batch.tokens.is_empty() && batch.tokens.len() + doc.len() > n_tokens {
                return batch;
            }
            batch.push(doc);
            cursor.taken += 1;
        }
    }

    /// All documents in their own order, in batches of about `n_tokens` tokens.
    pub fn batches(&self, n_tokens: usize) -> Vec<Batch> {
        let mut batches = vec![Batch::default()];
        for doc in &self.docs {
            let last = batches.last_mut().expect("never empty");
            if !last.tokens.is_empty() && last.tokens.len() + doc.len() > n_tokens {
                batches.push(Batch::default());
            }
            batches.last_mut().expect("never empty").push(doc);
        }
        batches.retain(|batch| !batch.tokens.is_empty());
        batches
    }

    fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        Rng::new(seed ^ epoch.wrapping_mul(0x2545_f491_4f6c_dd1d)).permutation(self.docs.len())
    }
}

/// The documents of a text file: the `text` of each JSON line if the file begins with `{`, else what stands
/// between lines `<|endoftext|>`. The error names the line.
pub fn split_documents(text: &str) -> Result<Vec<String>, String> {
    if !text.trim_start().starts_with('{') {
        let docs = text.split("<|endoftext|>").map(str::trim).filter(|doc| !doc.is_empty());
        return Ok(docs.map(str::to_owned).collect());
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            let value: serde_json::Value =
                serde_json::from_str(line).map_err(|error| format!("line {}: {error}", i + 1))?;
            let text = value.get("text").and_then(|text| text.as_str());
            text.map(str::to_owned).ok_or_else(|| format!("line {} has no string `text`", i + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_takes_every_document_once() {
        let docs = Documents::new((0..50).map(|i| vec![i; 3 + i as usize % 5]), 100);
        let mut cursor = Cursor::default();
        let mut seen = Vec::new();
        while seen.len() < 50 {
            let batch = docs.next_batch(7, &mut cursor, 20);
            assert!(batch.tokens.len() <= 20);
            seen.extend(batch.sequences.iter().map(|rows| batch.tokens[rows.start]));
        }
        let first_pass = &mut seen[..50];
        assert_ne!(first_pass, (0..50).collect::<Vec<_>>());
        first_pass.sort();
        assert_eq!(first_pass, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_cursor_resumes_the_order() {
        let docs = Documents::new((0..20).map(|i| vec![i; 4]), 100);
        let mut cursor = Cursor::default();
        docs.next_batch(3, &mut cursor, 30);
        let mut resumed = cursor;
        assert_eq!(docs.next_batch(3, &mut cursor, 30), docs.next_batch(3, &mut resumed, 30));
    }

    #[test]
    fn long_documents_are_cut_and_targets_stay_inside() {
        let docs = Documents::new([vec![1, 2, 3, 4, 5], vec![9]], 4);
        assert_eq!((docs.len(), docs.n_tokens()), (1, 4));
        let batch = docs.next_batch(0, &mut Cursor::default(), 4);
        assert_eq!(batch.targets, [Some(2), Some(3), Some(4), None]);
        assert_eq!(batch.n_targets(), 3);
    }

    #[test]
    fn both_kinds_of_file_are_split() {
        assert_eq!(split_documents("a\n<|endoftext|>\n\n b\n").unwrap(), ["a", "b"]);
        assert_eq!(split_documents("{\"text\": \"a\"}\n\n{\"text\": \"b\"}").unwrap(), ["a", "b"]);
        assert!(split_documents("{\"text\": 1}").unwrap_err().contains("line 1"));
        assert!(split_documents("{\"text\": \"a\"}\n{").unwrap_err().contains("line 2"));
    }
}
