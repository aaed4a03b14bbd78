//! How fast data becomes tokens, a core: megabytes of text a second, for plain reading and with each kind of cleaning,
//! and how long a batch takes to be put together.
//!
//! ```text
//! cargo bench -p puna-train --bench data_speed -- DATA [TOKENIZER]
//! ```
//!
//! DATA is whatever `prepare` reads. Without a tokenizer's file, one of 4096 entries is trained on the first texts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use puna_text::train_bpe::train_bpe;
use puna_text::{Tokenizer, TokenizerHints};
use puna_train::{Cleaning, Cursor, DataConfig, DataText, Source, prepare};

/// Runs of each kind, of which the median counts.
const N_RUNS: usize = 5;

fn main() {
    let args: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from).collect();
    let Some(data) = args.first() else {
        eprintln!("usage: cargo bench -p puna-train --bench data_speed -- DATA [TOKENIZER]");
        return;
    };
    let tokenizer = match args.get(1) {
        Some(path) => {
            let bytes = std::fs::read(path).expect("the tokenizer can be read");
            Tokenizer::from_file_bytes(&bytes, &TokenizerHints::default()).expect("it is a tokenizer")
        }
        None => trained(data),
    };
    let kinds = [
        ("tokens alone", Cleaning::default()),
        ("exact", Cleaning { exact: true, ..Cleaning::default() }),
        ("minhash", Cleaning { minhash: Some(0.8), ..Cleaning::default() }),
        ("language", Cleaning { language: Some("en".into()), ..Cleaning::default() }),
        ("quality", Cleaning { quality: true, ..Cleaning::default() }),
    ];
    // In turn, so that whatever else the machine does meets all alike.
    let mut seconds = vec![Vec::new(); kinds.len()];
    let mut n_bytes = vec![0; kinds.len()];
    for _ in 0..N_RUNS {
        for (i, (_, cleaning)) in kinds.iter().enumerate() {
            let begin = Instant::now();
            n_bytes[i] = run(data, &tokenizer, cleaning);
            seconds[i].push(begin.elapsed().as_secs_f64());
        }
    }
    // What is cleaned away was read all the same: all speeds are of all text.
    for ((name, _), seconds) in kinds.iter().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        let (median, megabytes) = (seconds[N_RUNS / 2], n_bytes[0] as f64 / 1e6);
        let (best, worst) = (megabytes / seconds[0], megabytes / seconds[N_RUNS - 1]);
        println!(
            "{name:>14}: {:6.1} MB/s of text on one thread ({worst:.1} to {best:.1})",
            megabytes / median
        );
    }
}

/// Prepares all data anew on one thread, and takes its batches; the bytes of text that are kept.
fn run(data: &Path, tokenizer: &Tokenizer, cleaning: &Cleaning) -> u64 {
    let dir = tempfile::tempdir().expect("a folder");
    let config = DataConfig {
        train: vec![Source::new(data)],
        cleaning: cleaning.clone(),
        n_threads: 1,
        ..DataConfig::default()
    };
    let text = DataText { tokenizer, template: None };
    let prepared = prepare(&config, &text, dir.path(), &mut |_| {}, &|| false).expect("it is data");
    let counts = &prepared.report.train[0].counts;
    if *cleaning == Cleaning::default() {
        let begin = Instant::now();
        let (mut cursor, mut n) = (Cursor::default(), 0);
        while cursor.epoch == 0 && n < 1000 {
            std::hint::black_box(prepared.train.next_batch(1, &mut cursor, 16_384));
            n += 1;
        }
        let each = begin.elapsed().as_secs_f64() / f64::from(n);
        println!(
            "{} tokens; a batch of 16384 takes {:.3} ms with its part of the plan",
            counts.n_tokens,
            each * 1e3
        );
    }
    counts.n_text_bytes
}

/// A tokenizer of the first texts.
fn trained(data: &Path) -> Tokenizer {
    let config = DataConfig { train: vec![Source::new(data)], ..DataConfig::default() };
    let bytes = train_bpe([""], 258, &["<s>", "</s>"]).expect("bytes").to_tokenizer().expect("bytes");
    let text = DataText { tokenizer: &bytes, template: None };
    let samples = puna_train::show_labels(&config, &text, 2000).expect("it is data");
    let texts: Vec<String> =
        samples.iter().flat_map(|sample| &sample.text).map(|text| text.text.clone()).collect();
    let bpe = train_bpe(texts.iter().map(String::as_str), 4096, &["<s>", "</s>"]);
    bpe.expect("a vocabulary").to_tokenizer().expect("a vocabulary")
}
