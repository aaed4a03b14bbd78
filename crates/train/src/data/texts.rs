//! The words of training samples, for those who look at text before there are tokens.

use super::config::DataConfig;
use super::error::DataError;
use super::files::find_files;
use super::read::Reader;
use super::refine::sample_of;
use super::unpack::BytesRead;

/// What the samples of training sources say, in order, until they have `max_bytes` bytes. Nothing is cleaned away.
pub(crate) fn read_texts(config: &DataConfig, max_bytes: usize) -> Result<Vec<String>, DataError> {
    let (mut texts, mut n_bytes) = (Vec::new(), 0);
    for source in config.train.iter().filter(|source| source.weight > 0.0) {
        for file in find_files(&source.path)?.files {
            if n_bytes >= max_bytes {
                return Ok(texts);
            }
            let mut reader = Reader::open(&file.path, &BytesRead::default())?;
            while n_bytes < max_bytes
                && let Some(record) = reader.next()?
            {
                let line = record.line;
                // Conversations are words here, whether or not there will be a template.
                let sample =
                    sample_of(record, source, true).map_err(|fact| DataError::at(&file.path, line, fact))?;
                let words = sample.words().into_owned();
                n_bytes += words.len();
                texts.push(words);
            }
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Source;

    #[test]
    fn texts_come_from_every_form_until_there_are_enough() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "one\n<|endoftext|>\ntwo").unwrap();
        std::fs::write(
            dir.path().join("b.jsonl"),
            "{\"text\": \"three\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"four\"}, \
             {\"role\": \"assistant\", \"content\": \"five\"}]}\n",
        )
        .unwrap();
        let config = DataConfig { train: vec![Source::new(dir.path())], ..DataConfig::default() };
        let texts = read_texts(&config, 1000).unwrap();
        assert_eq!(texts[..3], ["one", "two", "three"]);
        assert!(texts[3].contains("four") && texts[3].contains("five"));
        assert_eq!(read_texts(&config, 4).unwrap(), ["one", "two"]);
        std::fs::write(dir.path().join("c.jsonl"), "{\"text\": 1}").unwrap();
        assert!(read_texts(&config, 1000).unwrap_err().to_string().contains("c.jsonl"));
    }
}
