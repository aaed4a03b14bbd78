//! Training data: from files to batches.
//!
//! ```text
//! files → read → sample → refine (words, language, quality, contamination, duplicates; labels) → shard
//!                                              Documents (a view of shards) → pack → Batch, PairBatch
//! ```
//!
//! [`prepare`] reads files once, in memory that does not depend on their size, and keeps tokens in mapped files.
//! [`Documents`] cuts samples to length and gives batches: sequences side by side, each attended to by itself. The
//! order is a function of the seed and the epoch; a position in it is two numbers.

mod batch;
mod config;
mod contamination;
mod documents;
mod duplicates;
mod error;
mod files;
mod fingerprint;
mod job;
mod labels;
mod language;
mod pack;
#[cfg(feature = "parquet")]
mod parquet;
mod prepare;
mod quality;
mod read;
mod refine;
mod report;
mod sample;
mod shard;
mod show;
mod stream;
mod unpack;
mod watch;
mod words;

pub use batch::{Batch, PairBatch, Preferred};
pub use config::{Cleaning, DataConfig, Labels, Order, Packing, Source, SourceKind, TextEnd, TooLong};
pub use documents::{Cursor, Documents};
pub use error::DataError;
pub use labels::{DataText, LabelledText};
pub use language::LANGUAGES;
pub use prepare::{Prepared, prepare};
pub use report::{Counts, DataProgress, DataReport, LengthReport, SourceReport};
pub use show::{ShownSample, show_labels};

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
    fn both_kinds_of_file_are_split() {
        assert_eq!(split_documents("a\n<|endoftext|>\n\n b\n").unwrap(), ["a", "b"]);
        assert_eq!(split_documents("{\"text\": \"a\"}\n\n{\"text\": \"b\"}").unwrap(), ["a", "b"]);
        assert!(split_documents("{\"text\": 1}").unwrap_err().contains("line 1"));
        assert!(split_documents("{\"text\": \"a\"}\n{").unwrap_err().contains("line 2"));
    }
}
