//! From files to sequences: reads, cleans and tokenises once, and keeps the tokens in a folder.
//!
//! Each source has a folder in the cache, named by the hash of all that its tokens depend on. In it are files of
//! some million tokens each, which appear whole or not at all. Each says how far the source was read when it was
//! written, and what had been counted, so whoever is interrupted goes on behind the last one; what is found broken
//! is made again. Sources are compared with those before them, validation first: what is validated on is not trained
//! on.

use std::path::Path;

use super::config::DataConfig;
use super::contamination::Evaluated;
use super::documents::{Documents, Portion, Side, View};
use super::duplicates::{Comparison, SeenBefore};
use super::error::DataError;
use super::files::{find_files, identity};
use super::fingerprint::Fingerprint;
use super::job::{Job, Sizes};
use super::labels::{DataText, Labelling};
use super::refine::Refining;
use super::report::{DataProgress, DataReport};
use super::shard::Origin;
use super::watch::Watch;

/// What a run trains on.
pub struct Prepared {
    /// What is trained on.
    pub train: Documents,
    /// What is validated on; empty where nothing was kept back.
    pub valid: Documents,
    /// What was counted.
    pub report: DataReport,
    /// What tokens were made of, in hashes: files, vocabulary, template, cleaning.
    pub key: String,
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
    let mut watch = Watch::new(progress, interrupt);
    prepare_in(config, text, cache_dir, Sizes::default(), &mut watch)
}

pub(crate) fn prepare_in(
    config: &DataConfig,
    text: &DataText,
    cache_dir: &Path,
    sizes: Sizes,
    watch: &mut Watch,
) -> Result<Prepared, DataError> {
    let faults = config.check();
    if !faults.is_empty() {
        return Err(DataError::Config(faults));
    }
    let mut jobs = find_jobs(config, text, cache_dir)?;
    watch.bytes_all = jobs.iter().map(Job::n_bytes).sum();
    jobs.iter_mut().for_each(Job::open_cached);
    watch.skip(jobs.iter().map(Job::n_bytes_cached).sum());
    let is_needed = jobs.iter().any(|job| !job.is_done());
    let mut seen = SeenBefore::default();
    let mut comparing = None;
    for job in &mut jobs {
        if is_needed && let Some(comparison) = Comparison::of(&config.cleaning) {
            job.remember(&comparison, &mut seen);
        }
        if !job.is_done() {
            // Evaluation sets are read when they are needed first.
            let evaluated = match comparing.take() {
                Some(evaluated) => evaluated,
                None => Evaluated::read(&config.cleaning.decontaminate)?,
            };
            let refining = Refining {
                config,
                source: job.source,
                text: *text,
                labelling: Labelling::of(config),
                comparison: Comparison::of(&config.cleaning),
                evaluated,
                valid_share: job.valid_share,
            };
            job.run(&refining, &mut seen, sizes, watch)?;
            comparing = Some(refining.evaluated);
        }
    }
    drop(seen);
    finish(config, jobs)
}

/// All sources, each with a key that depends on what it is compared with.
fn find_jobs<'c>(
    config: &'c DataConfig,
    text: &DataText,
    cache_dir: &Path,
) -> Result<Vec<Job<'c>>, DataError> {
    let evaluated = evaluated_files(config)?;
    let print = Fingerprint::new(config, text, &evaluated);
    let is_compared = config.cleaning.exact || config.cleaning.minhash.is_some();
    let mut jobs = Vec::new();
    let mut before = String::new();
    let valid = config.valid.iter().map(|source| (source, 0.0));
    let train = config.train.iter().filter(|source| source.weight > 0.0);
    for (source, valid_share) in valid.chain(train.map(|source| (source, config.valid_share))) {
        let job = Job::find(source, valid_share, &print, &before, cache_dir)?;
        if is_compared {
            before.clone_from(&job.key);
        }
        jobs.push(job);
    }
    Ok(jobs)
}

/// Hashes of all files that samples must not share words with.
fn evaluated_files(config: &DataConfig) -> Result<Vec<[u8; 32]>, DataError> {
    let mut all = Vec::new();
    for path in &config.cleaning.decontaminate {
        for file in find_files(path)?.files {
            all.push(identity(&file)?);
        }
    }
    Ok(all)
}

/// Views of all that was prepared.
fn finish(config: &DataConfig, jobs: Vec<Job>) -> Result<Prepared, DataError> {
    let view = View {
        max_len: config.max_len,
        too_long: config.too_long,
        packing: config.packing,
        order: config.order,
    };
    let (valid, train) = jobs.split_at(config.valid.len());
    let portions = |jobs: &[Job], side: Side| -> Vec<Portion> {
        let weight = |job: &Job| if side == Side::Train { job.source.weight } else { 1.0 };
        jobs.iter().map(|job| Portion { shards: job.shards.clone(), weight: weight(job), side }).collect()
    };
    let fail = |jobs: &[Job], i: usize, origin: Origin, fact: String| {
        let file = jobs[i].found.files.get(origin.file as usize);
        DataError::at(file.map_or(&jobs[i].source.path, |file| &file.path), origin.line.into(), fact)
    };
    let fail_train = |i: usize, origin: Origin, fact: String| fail(train, i, origin, fact);
    let docs = Documents::view(portions(train, Side::Train), view, &fail_train)?;
    // What is kept back comes after what was given.
    let fail_valid = |i: usize, origin: Origin, fact: String| match i.checked_sub(valid.len()) {
        Some(i) => fail(train, i, origin, fact),
        None => fail(valid, i, origin, fact),
    };
    let mut kept = portions(valid, Side::All);
    if config.valid_share > 0.0 {
        kept.extend(portions(train, Side::Valid));
    }
    let valid_docs = Documents::view(kept, view, &fail_valid)?;
    let report = DataReport {
        train: train.iter().map(Job::report).collect(),
        valid: valid.iter().map(Job::report).collect(),
        train_lengths: docs.lengths(),
        valid_lengths: valid_docs.lengths(),
    };
    if docs.is_empty() {
        let n_read: u64 = report.train.iter().map(|source| source.counts.n_read).sum();
        let n_removed: u64 = report.train.iter().map(|source| source.counts.n_removed()).sum();
        let n_valid: u64 = report.train.iter().map(|source| source.counts.n_valid).sum();
        return Err(DataError::Nothing(format!(
            "of {n_read} samples {n_removed} were cleaned away, refused or untrained, {n_valid} kept back for \
             validation, and {} were too long",
            report.train_lengths.n_too_long
        )));
    }
    let key = jobs.iter().map(|job| &*job.key).collect::<Vec<_>>().join(" ");
    Ok(Prepared { train: docs, valid: valid_docs, report, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::Batch;
    use crate::data::config::{Cleaning, Packing, Source};
    use crate::data::documents::Cursor;
    use crate::random::Rng;
    use puna_text::train_bpe::train_bpe;
    use puna_text::{EncodeOptions, Tokenizer};
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn tokenizer() -> Tokenizer {
        let text = "the cat and the dog sat on the mat and then the dog ran to the cat";
        train_bpe([text], 280, &["<s>", "</s>"]).unwrap().to_tokenizer().unwrap()
    }

    /// Stories of random words, some of them twice, some nearly.
    fn stories(n: usize) -> Vec<String> {
        let words =
            ["the", "cat", "dog", "sat", "ran", "mat", "sun", "and", "then", "to", "old", "tree", "sea"];
        let mut rng = Rng::new(9);
        let mut all: Vec<String> = Vec::new();
        for i in 0..n {
            if i % 10 == 7 {
                all.push(all[i / 2].to_uppercase());
            } else if i % 10 == 8 {
                all.push(format!("{} again", all[i / 2]));
            } else {
                let n_words = 20 + rng.next_u64() % 60;
                let story: Vec<&str> = (0..n_words).map(|_| words[(rng.next_u64() % 13) as usize]).collect();
                all.push(format!("{i} {}", story.join(" ")));
            }
        }
        all
    }

    fn write_stories(folder: &Path) -> Vec<String> {
        std::fs::create_dir_all(folder).unwrap();
        let all = stories(300);
        for (i, part) in all.chunks(100).enumerate() {
            let lines: Vec<String> =
                part.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
            std::fs::write(folder.join(format!("{i}.jsonl")), lines.join("\n")).unwrap();
        }
        all
    }

    fn config(folder: &Path) -> DataConfig {
        DataConfig { train: vec![Source::new(folder)], n_threads: 2, ..DataConfig::default() }
    }

    const SMALL: Sizes = Sizes { shard_tokens: 1500, block_bytes: 700 };

    /// Prepares, and is interrupted at a look.
    fn run(config: &DataConfig, cache: &Path, stop_at: usize) -> Result<Prepared, DataError> {
        let tokenizer = tokenizer();
        let text = DataText { tokenizer: &tokenizer, template: None };
        let n_looks = Cell::new(0);
        let interrupt = || {
            n_looks.set(n_looks.get() + 1);
            n_looks.get() > stop_at
        };
        prepare_in(config, &text, cache, SMALL, &mut Watch::new(&mut |_| {}, &interrupt))
    }

    /// All files of a folder by their names.
    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    all.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        let relative =
            |(path, bytes): (PathBuf, Vec<u8>)| (path.strip_prefix(folder).unwrap().to_owned(), bytes);
        all.into_iter().map(relative).collect()
    }

    fn sequences(docs: &Documents) -> Vec<Vec<u32>> {
        let cut = |batch: Batch| -> Vec<Vec<u32>> {
            batch.sequences.iter().map(|rows| batch.tokens[rows.clone()].to_vec()).collect()
        };
        docs.batches(512).flat_map(cut).collect()
    }

    #[test]
    fn tokens_are_what_the_tokenizer_gives_document_by_document() {
        let dir = tempfile::tempdir().unwrap();
        let all = write_stories(&dir.path().join("data"));
        let prepared = run(&config(&dir.path().join("data")), &dir.path().join("cache"), usize::MAX).unwrap();
        let tokenizer = tokenizer();
        let options = EncodeOptions { add_bos: true, add_eos: true, ..EncodeOptions::default() };
        let expected: Vec<Vec<u32>> = all.iter().map(|text| tokenizer.encode(text, options)).collect();
        assert_eq!(sequences(&prepared.train), expected);
        let counts = &prepared.report.train[0].counts;
        assert_eq!((counts.n_read, counts.n_kept, counts.n_removed()), (300, 300, 0));
        assert_eq!(counts.n_tokens, prepared.train.n_tokens() as u64);
        assert_eq!(prepared.report.train_lengths.n_targets, counts.n_tokens - 300);
        assert!(prepared.valid.is_empty());
        // Windows: all documents one after the other.
        let windows =
            DataConfig { packing: Packing::Windows, max_len: 64, ..config(&dir.path().join("data")) };
        let windows = run(&windows, &dir.path().join("cache"), 0).unwrap();
        assert!(windows.report.train[0].is_cached);
        let cut = sequences(&windows.train);
        assert!(cut[..cut.len() - 1].iter().all(|window| window.len() == 64));
        assert_eq!(cut.concat(), expected.concat());
        let targets = windows.train.batches(512).flat_map(|batch| batch.targets).collect::<Vec<_>>();
        let all: Vec<Option<u32>> = expected.concat().into_iter().map(Some).collect();
        assert_eq!(targets[..all.len() - 1], all[1..]);
    }

    #[test]
    fn interrupted_anywhere_it_gives_the_same_files() {
        let dir = tempfile::tempdir().unwrap();
        write_stories(&dir.path().join("data"));
        let cleaning = Cleaning { exact: true, minhash: Some(0.7), ..Cleaning::default() };
        let config = DataConfig { cleaning, valid_share: 0.2, ..config(&dir.path().join("data")) };
        let whole = dir.path().join("whole");
        let prepared = run(&config, &whole, usize::MAX).unwrap();
        let counts = &prepared.report.train[0].counts;
        // Copies of what was nearly a copy itself are near ones.
        assert!(counts.exact >= 10 && counts.exact + counts.near == 60, "{counts:?}");
        assert!(counts.near >= 25 && counts.n_kept + counts.exact + counts.near == 300, "{counts:?}");
        let whole_files = files(&whole);
        assert!(whole_files.len() > 3);
        for stop_at in [0, 1, 3, 8, 13, 21] {
            let cache = dir.path().join(format!("cut{stop_at}"));
            let mut n_runs = 0;
            // Interrupted again and again, each time a little later.
            while run(&config, &cache, stop_at + n_runs)
                .is_err_and(|error| matches!(error, DataError::Interrupted))
            {
                n_runs += 1;
                assert!(n_runs < 500);
            }
            assert_eq!(files(&cache), whole_files, "{stop_at}");
        }
        // One thread and other blocks: the same.
        let one = dir.path().join("one");
        run(&DataConfig { n_threads: 1, ..config.clone() }, &one, usize::MAX).unwrap();
        assert_eq!(files(&one), whole_files);
        // What is prepared is not read again, and what is broken is made again.
        assert!(run(&config, &whole, 0).unwrap().report.train[0].is_cached);
        let (name, bytes) = whole_files.iter().nth(1).unwrap();
        let mut broken = bytes.clone();
        broken[bytes.len() / 2] ^= 1;
        std::fs::write(whole.join(name), broken).unwrap();
        assert!(run(&config, &whole, 0).is_err());
        assert!(!run(&config, &whole, usize::MAX).unwrap().report.train[0].is_cached);
        assert_eq!(files(&whole), whole_files);
        // The two sides have nothing in common, and together all that is kept.
        let (train, valid) = (sequences(&prepared.train), sequences(&prepared.valid));
        assert_eq!((train.len() + valid.len()) as u64, counts.n_kept);
        assert!(valid.len() > 20 && valid.len() < 90, "{}", valid.len());
        assert!(valid.iter().all(|sequence| !train.contains(sequence)));
    }

    #[test]
    fn what_is_validated_on_is_not_trained_on() {
        let dir = tempfile::tempdir().unwrap();
        let all = write_stories(&dir.path().join("data"));
        let valid = dir.path().join("valid.txt");
        std::fs::write(&valid, format!("{}\n<|endoftext|>\n{}", all[0], all[250])).unwrap();
        let cleaning = Cleaning { exact: true, ..Cleaning::default() };
        let config =
            DataConfig { cleaning, valid: vec![Source::new(&valid)], ..config(&dir.path().join("data")) };
        let prepared = run(&config, &dir.path().join("cache"), usize::MAX).unwrap();
        assert_eq!(prepared.valid.len(), 2);
        let train = sequences(&prepared.train);
        assert!(sequences(&prepared.valid).iter().all(|sequence| !train.contains(sequence)));
        assert!(prepared.report.train[0].counts.exact > 30);
    }

    #[test]
    fn weights_repeat_samples() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("a.txt", "a b c d"), ("b.txt", "e f g h")] {
            std::fs::write(dir.path().join(name), vec![text; 40].join("<|endoftext|>")).unwrap();
        }
        let source = |name: &str, weight| Source { weight, ..Source::new(dir.path().join(name)) };
        let config =
            DataConfig { train: vec![source("a.txt", 2.5), source("b.txt", 0.5)], ..DataConfig::default() };
        let docs = run(&config, &dir.path().join("cache"), usize::MAX).unwrap().train;
        let mut n_seen = BTreeMap::new();
        let mut cursor = Cursor::default();
        while cursor.epoch < 2 {
            let batch = docs.next_batch(1, &mut cursor, 64);
            if cursor.epoch < 2 {
                batch
                    .sequences
                    .iter()
                    .for_each(|rows| *n_seen.entry(batch.tokens[rows.start + 1]).or_insert(0) += 1);
            }
        }
        assert_eq!(n_seen.into_values().collect::<Vec<_>>(), [200, 40]);
    }

    /// Changed and cut files are errors or data, never a panic.
    #[test]
    fn broken_input_is_an_error_or_data() {
        let dir = tempfile::tempdir().unwrap();
        let chat =
            r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}"#;
        let pair = r#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#;
        let good = format!("{chat}\n{pair}\n{{\"text\": \"once upon a time\"}}\n").repeat(3);
        let mut rng = Rng::new(1);
        let mut n_errors = 0;
        for i in 0..300 {
            let mut bytes = good.clone().into_bytes();
            for _ in 0..1 + rng.next_u64() % 4 {
                let at = (rng.next_u64() as usize) % bytes.len();
                match rng.next_u64() % 4 {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = rng.next_u64() as u8,
                    2 => bytes.insert(at, b"{}[]\",:\\0"[(rng.next_u64() % 9) as usize]),
                    _ => drop(bytes.remove(at)),
                }
            }
            let name = ["a.jsonl", "a.json", "a.txt", "a.parquet", "a.gz"][i % 5];
            let path = dir.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            let cache = dir.path().join(format!("cache{i}"));
            n_errors += usize::from(run(&config(&path), &cache, usize::MAX).is_err());
        }
        assert!(n_errors > 100, "{n_errors}");
    }

    #[test]
    fn nothing_is_left_out_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let fail = |text: &str| {
            std::fs::write(&path, text).unwrap();
            run(&config(&path), &dir.path().join("cache"), usize::MAX).err().unwrap().to_string()
        };
        assert!(fail("{\"text\": \"fine\"}\n{\"text\": ").contains("a.jsonl`, line 2\n  it is no JSON"));
        assert!(fail("{\"foo\": 1}").contains("line 1\n  its keys, `foo`"));
        assert!(
            fail("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}").contains("no chat template")
        );
        let nothing = fail("{\"text\": \"  \"}\n{\"text\": \"\"}");
        assert!(nothing.contains("of 2 samples 2 were cleaned away"), "{nothing}");
        let mixed = fail("{\"text\": \"a b c\"}\n{\"chosen\": \"a b\", \"rejected\": \"a c\"}");
        assert!(mixed.contains("line 2\n  some samples are preferences"), "{mixed}");
    }
}
