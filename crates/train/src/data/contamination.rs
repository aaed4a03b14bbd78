//! Samples that hold a piece of an evaluation set: 13 words in a row, as GPT-3 was checked (Brown et al. 2020,
//! appendix C). A model that was trained on them has seen the answers.
//!
//! Of an evaluation set all texts are taken, wherever they stand in its JSON; texts of fewer than 13 words say
//! nothing. A sample that shares one run is left out as a whole.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::Value;

use super::error::DataError;
use super::files::find_files;
use super::read::Reader;
use super::record::Body;
use super::unpack::BytesRead;
use super::words::{runs, words};

/// Words in a row.
const RUN: usize = 13;

/// The runs of words of all evaluation sets.
#[derive(Debug, Default)]
pub(crate) struct Evaluated {
    runs: HashSet<u64>,
}

impl Evaluated {
    /// Reads evaluation sets.
    pub fn read(paths: &[PathBuf]) -> Result<Evaluated, DataError> {
        let mut evaluated = Evaluated::default();
        for path in paths {
            for file in find_files(path)?.files {
                let mut reader = Reader::open(&file.path, &BytesRead::default())?;
                while let Some(record) = reader.next()? {
                    match record.body {
                        Body::Text(text) => evaluated.add(&text),
                        Body::Json(json) => {
                            let fail =
                                |error| DataError::at(&file.path, record.line, format!("no JSON: {error}"));
                            evaluated.add_all(&serde_json::from_slice(&json).map_err(fail)?);
                        }
                        #[cfg(feature = "parquet")]
                        Body::Row(row) => evaluated.add_all(&row),
                    }
                }
            }
        }
        Ok(evaluated)
    }

    fn add(&mut self, text: &str) {
        let words = words(text);
        if words.len() >= RUN {
            self.runs.extend(runs(&words, RUN));
        }
    }

    /// Adds every text in a value.
    fn add_all(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text),
            Value::Array(list) => list.iter().for_each(|value| self.add_all(value)),
            Value::Object(object) => object.values().for_each(|value| self.add_all(value)),
            _ => {}
        }
    }

    /// Whether there is nothing to share.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether words share a run with an evaluation set.
    pub fn shares(&self, words: &[u64]) -> bool {
        words.len() >= RUN && !self.runs.is_empty() && runs(words, RUN).any(|run| self.runs.contains(&run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirteen_words_in_a_row_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.jsonl");
        let question = "Natalia sold clips to 48 of her friends in April and then she sold half";
        let line = serde_json::json!({"id": 1, "items": [{"question": question}], "answer": "short"});
        std::fs::write(&path, line.to_string()).unwrap();
        let evaluated = Evaluated::read(&[dir.path().to_owned()]).unwrap();
        let shares = |text: &str| evaluated.shares(&words(text));
        assert!(shares(&format!("I read: {}!", question.to_uppercase())));
        assert!(shares("Natalia sold clips, to 48 of her friends in April, and then she"));
        assert!(!shares("Natalia sold clips to 48 of her friends in April and then"));
        assert!(!shares("short"));
        std::fs::write(&path, "{").unwrap();
        assert!(Evaluated::read(&[path]).unwrap_err().to_string().contains("line 1"));
    }
}
