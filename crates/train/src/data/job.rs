//! A source on its way into files of tokens.
//!
//! Records are read ahead, worked on in blocks by several threads, and taken in their order: what becomes of one
//! depends on those before it, and each file of tokens says after which of them it ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;

use super::config::Source;
use super::duplicates::{Comparison, Seen, SeenBefore};
use super::error::DataError;
use super::files::{Found, find_files, identity, place};
use super::fingerprint::Fingerprint;
use super::refine::{Outcome, Refined, Refining};
use super::report::{Counts, SourceReport};
use super::shard::{Head, Origin, Shard, ShardBuilder};
use super::stream::{BLOCK_BYTES, Block, Position, map_in_order, send_blocks};
use super::unpack::BytesRead;
use super::watch::Watch;

/// Sizes that only tests choose otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// Tokens of a file: some 30 MB of text. No more than that is lost where it is interrupted.
    pub shard_tokens: usize,
    pub block_bytes: usize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { shard_tokens: 8 << 20, block_bytes: BLOCK_BYTES }
    }
}
/// A source being prepared.
pub(crate) struct Job<'c> {
    pub source: &'c Source,
    /// The share of samples that is kept back.
    pub valid_share: f64,
    pub found: Found,
    /// The hash of all that its tokens depend on.
    pub key: String,
    folder: PathBuf,
    pub shards: Vec<Shard>,
    is_cached: bool,
}

impl<'c> Job<'c> {
    pub fn find(
        source: &'c Source,
        valid_share: f64,
        print: &Fingerprint,
        before: &str,
        cache_dir: &Path,
    ) -> Result<Job<'c>, DataError> {
        let found = find_files(&source.path)?;
        let files = found.files.iter().map(identity).collect::<Result<Vec<_>, _>>()?;
        let key = print.of_source(source, valid_share, &files, before);
        let folder = cache_dir.join(&key);
        Ok(Job { source, valid_share, found, key, folder, shards: Vec::new(), is_cached: false })
    }

    pub fn n_bytes(&self) -> u64 {
        self.found.files.iter().map(|file| file.n_bytes).sum()
    }

    fn shard_path(&self, index: usize) -> PathBuf {
        self.folder.join(format!("{index:05}.tokens"))
    }

    fn position(&self) -> Position {
        self.shards.last().map_or((0, 0), |shard| shard.head.next)
    }

    fn counts(&self) -> Counts {
        self.shards.last().map(|shard| shard.head.counts.clone()).unwrap_or_default()
    }

    pub fn is_done(&self) -> bool {
        self.shards.last().is_some_and(|shard| shard.head.is_last)
    }

    /// Opens what was prepared before, up to the first file that is not there or not whole.
    pub fn open_cached(&mut self) {
        while !self.is_done() {
            let index = self.shards.len();
            let Ok(shard) = Shard::open(&self.shard_path(index)) else { break };
            if shard.head.key != self.key || shard.head.index != index as u64 {
                break;
            }
            self.shards.push(shard);
        }
        self.is_cached = self.is_done();
    }

    /// Remembers the samples that were prepared before.
    pub fn remember(&self, comparison: &Comparison, seen: &mut SeenBefore) {
        for shard in &self.shards {
            (0..shard.len()).for_each(|sample| comparison.remember(seen, shard.sign(sample)));
        }
    }

    /// Bytes of the files that are done, about.
    pub fn n_bytes_cached(&self) -> u64 {
        let files = &self.found.files;
        let n_done = if self.is_done() { files.len() } else { self.position().0 as usize };
        files.iter().take(n_done).map(|file| file.n_bytes).sum()
    }

    /// Reads the rest of the source.
    pub fn run(
        &mut self,
        refining: &Refining,
        seen: &mut SeenBefore,
        sizes: Sizes,
        watch: &mut Watch,
    ) -> Result<(), DataError> {
        std::fs::create_dir_all(&self.folder).map_err(|error| DataError::in_file(&self.folder, error))?;
        let mut sink = Sink {
            builder: ShardBuilder::default(),
            counts: self.counts(),
            position: self.position(),
            shard_tokens: sizes.shard_tokens,
        };
        let (sender, blocks) = sync_channel(2);
        let (files, from) = (self.found.files.clone(), sink.position);
        let bytes_read = BytesRead::default();
        std::thread::scope(|scope| {
            let counter = bytes_read.clone();
            let block_bytes = sizes.block_bytes * refining.config.n_threads;
            let files = &files;
            scope.spawn(move || send_blocks(files, from, block_bytes, &counter, &sender));
            // Where this returns, the blocks are dropped and the reader notices.
            let blocks = blocks;
            for block in &blocks {
                let Block { file, records } = block?;
                let path = &files[file].path;
                watch.look(path, bytes_read.load(Ordering::Relaxed), &sink.counts)?;
                let before = &*seen;
                let lines: Vec<(u64, bool)> =
                    records.iter().map(|record| (record.line, record.is_cut)).collect();
                let outcomes = map_in_order(records, refining.config.n_threads, |record| {
                    refining.refine(record, path, before)
                });
                for (outcome, (line, is_cut)) in outcomes.into_iter().zip(lines) {
                    let at = At { file, path, line, is_cut };
                    sink.take(outcome?, &at, refining, seen);
                    if sink.builder.n_tokens() >= sink.shard_tokens {
                        self.write(&mut sink, false)?;
                    }
                }
            }
            Ok::<_, DataError>(())
        })?;
        sink.position = (files.len() as u64, 0);
        self.write(&mut sink, true)?;
        watch.done(self.n_bytes() - self.n_bytes_before(from), &sink.counts);
        Ok(())
    }

    fn n_bytes_before(&self, from: Position) -> u64 {
        self.found.files.iter().take(from.0 as usize).map(|file| file.n_bytes).sum()
    }

    fn write(&mut self, sink: &mut Sink, is_last: bool) -> Result<(), DataError> {
        let index = self.shards.len();
        let head = Head {
            key: self.key.clone(),
            index: index as u64,
            next: sink.position,
            is_last,
            counts: sink.counts.clone(),
        };
        let path = self.shard_path(index);
        std::mem::take(&mut sink.builder).write(&path, &head)?;
        let shard = Shard::open(&path).map_err(|fact| {
            DataError::in_file(
                &path,
                format!("it was written and is read otherwise: {fact}\n  is the disk broken?"),
            )
        })?;
        self.shards.push(shard);
        Ok(())
    }
}

/// Where a record stands.
struct At<'a> {
    file: usize,
    path: &'a Path,
    line: u64,
    is_cut: bool,
}

/// Samples on their way into a file of tokens.
struct Sink {
    builder: ShardBuilder,
    counts: Counts,
    position: Position,
    shard_tokens: usize,
}

impl Sink {
    fn take(&mut self, outcome: Outcome, at: &At, refining: &Refining, seen: &mut SeenBefore) {
        let is_next_file = self.position.0 != at.file as u64;
        self.position = (at.file as u64, if is_next_file { 1 } else { self.position.1 + 1 });
        let counts = &mut self.counts;
        counts.n_read += 1;
        counts.n_cut += u64::from(at.is_cut);
        // What is like a sample before it in this block is not known to whoever worked on it.
        let compared = match (&outcome, &refining.comparison) {
            (Outcome::Kept(Refined { sign, .. }) | Outcome::Refused { sign, .. }, Some(comparison)) => {
                comparison.is_seen(seen, sign)
            }
            _ => None,
        };
        match outcome {
            _ if compared.is_some() => counts.count_seen(compared == Some(Seen::Exactly)),
            Outcome::Kept(refined) => self.keep(refined, at, refining, seen),
            Outcome::Seen(seen) => counts.count_seen(seen == Seen::Exactly),
            Outcome::Empty => counts.empty += 1,
            Outcome::Refused { fact, .. } => {
                counts.count_refused(|| format!("{}: {fact}", place(at.path, at.line)))
            }
            Outcome::Language => counts.language += 1,
            Outcome::Quality(rule) => counts.count_rule(rule),
            Outcome::Contaminated => counts.contaminated += 1,
        }
    }

    fn keep(&mut self, refined: Refined, at: &At, refining: &Refining, before: &mut SeenBefore) {
        let Refined { labelled, sign, is_valid, n_text_bytes } = refined;
        let counts = &mut self.counts;
        if labelled.n_trained() == 0 {
            return counts.count_untrained(|| place(at.path, at.line));
        }
        if let Some(comparison) = &refining.comparison {
            comparison.remember(before, &sign);
        }
        counts.n_kept += 1;
        counts.n_valid += u64::from(is_valid);
        counts.n_tokens += labelled.ids.len() as u64;
        counts.n_trained += labelled.n_trained() as u64;
        counts.n_open_turns += labelled.n_open_turns;
        counts.n_text_bytes += n_text_bytes;
        let line = u32::try_from(at.line).unwrap_or(u32::MAX);
        self.builder.push(&labelled, Origin { file: at.file as u32, line, is_valid }, &sign);
    }
}

impl Job<'_> {
    pub fn report(&self) -> SourceReport {
        SourceReport {
            path: self.source.path.clone(),
            n_files: self.found.files.len(),
            n_files_left_out: self.found.n_left_out,
            n_bytes: self.n_bytes(),
            counts: self.counts(),
            is_cached: self.is_cached,
        }
    }
}
