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
mod record;
mod refine;
mod report;
mod sample;
mod shard;
mod show;
mod stream;
mod texts;
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
pub(crate) use texts::read_texts;
