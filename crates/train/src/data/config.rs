//! What a run trains on, as plain values: which files, how they become tokens, what is cleaned away.
//!
//! Nothing is parsed here. Whoever reads a configuration file fills these in; [`DataConfig::check`] says what cannot be,
//! all at once, before any file is opened.

use std::path::PathBuf;

use puna_formats::quote;

use super::language::LANGUAGES;

/// All settings of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// What is trained on, in order.
    pub train: Vec<Source>,
    /// What is validated on. Its weights have no meaning: each sample counts once.
    pub valid: Vec<Source>,
    /// The share of training samples, from 0 to below 1, that is kept back for validation. Which ones depends on
    /// their words alone, so that copies of a sample are all on one side.
    pub valid_share: f64,
    /// The most tokens that attend to each other.
    pub max_len: usize,
    /// What becomes of samples with more tokens than `max_len`.
    pub too_long: TooLong,
    /// Which tokens of a conversation are trained. All of a text are.
    pub labels: Labels,
    /// How samples become sequences.
    pub packing: Packing,
    /// In which order an epoch takes them.
    pub order: Order,
    /// Whether a text that is a sample of its own ends with EOS, where the tokenizer has one.
    pub text_end: TextEnd,
    /// What day chat templates that name one are told, such as `26 Jul 2024`. `None`: that day, which Meta's
    /// templates name themselves where they are told none. Never today: the same data is the same tokens.
    pub date: Option<String>,
    /// What is cleaned away before it is trained on.
    pub cleaning: Cleaning,
    /// Threads that read and tokenise.
    pub n_threads: usize,
}

/// Files of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// A file, a folder (all files in it whose names say that they hold data), or a pattern with `*`, `?`, `[ab]`
    /// and `**`.
    pub path: PathBuf,
    /// How often an epoch takes each sample; parts of one are spread evenly over samples and epochs. 0 takes none.
    pub weight: f64,
    /// Where a text stands in a JSON object or a row; `None`: `text`, else `content`.
    pub text_key: Option<String>,
    /// What a sample is.
    pub kind: SourceKind,
}

/// What a sample of a source is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceKind {
    /// What the keys of each sample say.
    #[default]
    Auto,
    /// A text.
    Text,
    /// A conversation, an instruction with its answer, or a prompt with its completion.
    Chat,
    /// Two answers, of which one is better, or one that is good or bad.
    Preference,
}

/// What becomes of samples with too many tokens. Each choice is counted, with the tokens it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TooLong {
    /// Parts of at most the length, each a sequence of its own. No token is lost, and each is predicted once. Pairs
    /// of answers cannot be split: where one is too long, that is an error.
    #[default]
    Split,
    /// They are left out.
    Drop,
    /// Their end is left out (of pairs: the end of each answer).
    Truncate,
    /// An error that names the first.
    Error,
}

/// Which tokens of a conversation are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// What assistants say, with the token that ends their turn.
    #[default]
    Assistant,
    /// Everything.
    All,
}

/// How samples become sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Each sample is a sequence: nothing of it sees another sample.
    #[default]
    Samples,
    /// All samples one after the other, cut in windows of `max_len` tokens: what most PyTorch scripts do.
    Windows,
}

/// In which order an epoch takes sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Another random order in each epoch, a function of seed and epoch.
    #[default]
    Shuffled,
    /// As they stand in the files.
    AsRead,
}

/// How a text ends that is a sample of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextEnd {
    /// With EOS, which is trained: the model learns to stop.
    #[default]
    Eos,
    /// As it stands.
    Open,
}

/// What is cleaned away, each kind counted. Nothing by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cleaning {
    /// Samples whose words all occurred before, whatever their case, spaces and punctuation.
    pub exact: bool,
    /// Samples that share at least this part (Jaccard, above 0 to 1) of their runs of five words with one before;
    /// 0.8 is usual. Estimated from 128 minima.
    pub minhash: Option<f64>,
    /// Texts that do not seem to be in this language (`en`, `de`, …; see [`LANGUAGES`]). By frequent
    /// words and by script alone, so it is for whole paragraphs, not for a line.
    pub language: Option<String>,
    /// Texts that break Gopher's rules of quality (Rae et al. 2021, appendix A1.1). Conversations are not asked.
    pub quality: bool,
    /// Samples that share a run of 13 words with one of these files: evaluation sets, JSON lines or text.
    pub decontaminate: Vec<PathBuf>,
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig {
            train: Vec::new(),
            valid: Vec::new(),
            valid_share: 0.0,
            max_len: 2048,
            too_long: TooLong::default(),
            labels: Labels::default(),
            packing: Packing::default(),
            order: Order::default(),
            text_end: TextEnd::default(),
            date: None,
            cleaning: Cleaning::default(),
            n_threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl Source {
    /// Files at `path`, each sample once in an epoch.
    pub fn new(path: impl Into<PathBuf>) -> Source {
        Source { path: path.into(), weight: 1.0, text_key: None, kind: SourceKind::Auto }
    }
}

/// Weights beyond these are mistakes.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

impl DataConfig {
    /// What cannot be, a line each; nothing where all is well.
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |is_so: bool, what: &dyn Fn() -> String| {
            if is_so {
                faults.push(what());
            }
        };
        fault(self.train.iter().all(|source| source.weight == 0.0), &|| "no training data is named".into());
        for source in &self.train {
            let (path, weight) = (puna_formats::visible_path(&source.path), source.weight);
            fault(weight != 0.0 && !WEIGHTS.contains(&weight), &|| {
                format!(
                    "`{path}`: a weight is 0 or from {} to {}, not {weight}",
                    WEIGHTS.start(),
                    WEIGHTS.end()
                )
            });
        }
        for source in self.train.iter().chain(&self.valid) {
            let path = puna_formats::visible_path(&source.path);
            let has_no_text = matches!(source.kind, SourceKind::Chat | SourceKind::Preference);
            fault(source.text_key.is_some() && has_no_text, &|| {
                format!("`{path}`: conversations and preferences have no key of a text")
            });
            fault(self.packing == Packing::Windows && source.kind == SourceKind::Preference, &|| {
                format!("`{path}`: pairs of answers cannot be cut in windows")
            });
        }
        let share = self.valid_share;
        fault(!(0.0..1.0).contains(&share), &|| {
            format!("the share of validation is from 0 to below 1, not {share}")
        });
        let max_len = self.max_len;
        fault(!(2..=1 << 30).contains(&max_len), &|| {
            format!("sequences of at most {max_len} tokens teach nothing")
        });
        fault(self.packing == Packing::Windows && self.too_long != TooLong::Split, &|| {
            "windows cut every sample where they end: there is no choice of what becomes of long ones".into()
        });
        if let Some(least) = self.cleaning.minhash {
            fault(!(least > 0.0 && least <= 1.0), &|| {
                format!("near duplicates share more than 0 and at most 1 of their words, not {least}")
            });
        }
        if let Some(language) = &self.cleaning.language {
            fault(!LANGUAGES.contains(&&**language), &|| {
                format!("the language {} is not told; known are {}", quote(language), LANGUAGES.join(", "))
            });
        }
        fault(self.n_threads == 0, &|| "data is read by at least one thread".into());
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_said_at_once() {
        let good = DataConfig { train: vec![Source::new("a.txt")], ..DataConfig::default() };
        assert!(good.check().is_empty());
        let bad = DataConfig {
            train: vec![Source { weight: -1.0, kind: SourceKind::Preference, ..Source::new("a.txt") }],
            valid: vec![Source {
                text_key: Some("t".into()),
                kind: SourceKind::Chat,
                ..Source::new("b.txt")
            }],
            valid_share: f64::NAN,
            max_len: 1,
            too_long: TooLong::Drop,
            packing: Packing::Windows,
            cleaning: Cleaning { minhash: Some(0.0), language: Some("xx".into()), ..Cleaning::default() },
            n_threads: 0,
            ..DataConfig::default()
        };
        assert_eq!(bad.check().len(), 9, "{:#?}", bad.check());
        assert_eq!(DataConfig::default().check(), ["no training data is named"]);
    }
}
