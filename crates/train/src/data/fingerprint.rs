//! What the tokens of a source depend on, as one hash: the name of the folder that keeps them.
//!
//! A tokenizer and a template are recognised by what they do: the vocabulary and the ids of a text that has something
//! of everything, and what the template prints of a few conversations. Where files lie, how long sequences are, how
//! they are packed and weighted, and how many threads work does not count.

use puna_text::template::{Conversation, RenderOptions};
use puna_text::{EncodeOptions, Tokenizer};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::config::{DataConfig, Source};
use super::labels::DataText;

/// Changes when the same settings give other tokens than before.
const VERSION: u32 = 2;

/// A hash that is being made.
#[derive(Clone)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// What all sources have in common; `evaluated` are the files that they must not share words with.
    pub fn new(config: &DataConfig, text: &DataText, evaluated: &[[u8; 32]]) -> Fingerprint {
        let mut print = Fingerprint(Sha256::new());
        let DataConfig { labels, text_end, date, cleaning, .. } = config;
        let (exact, minhash, quality) = (cleaning.exact, cleaning.minhash, cleaning.quality);
        let settings = json!({
            "version": VERSION,
            "labels": format!("{labels:?}"),
            "text_end": format!("{text_end:?}"),
            "date": date,
            "cleaning": [json!(exact), json!(minhash), json!(cleaning.language), json!(quality)],
        });
        print.add(settings.to_string().as_bytes());
        evaluated.iter().for_each(|file| print.add(file));
        print.add_tokenizer(text.tokenizer);
        print.add_template(text);
        print
    }

    /// The key of a source: its files, what it is, how much of it is kept back, and what it is compared with.
    pub fn of_source(&self, source: &Source, valid_share: f64, files: &[[u8; 32]], before: &str) -> String {
        let mut print = self.clone();
        let kind = format!("{:?}", source.kind);
        let settings =
            json!({ "text_key": source.text_key, "kind": kind, "valid": valid_share, "before": before });
        print.add(settings.to_string().as_bytes());
        files.iter().for_each(|file| print.add(file));
        let hash: [u8; 32] = print.0.finalize().into();
        hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds bytes, with their number, so that none can be taken for part of their neighbours.
    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn add_tokenizer(&mut self, tokenizer: &Tokenizer) {
        for (id, bytes) in tokenizer.iter() {
            self.add(bytes);
            self.add(format!("{:?}", tokenizer.kind(id)).as_bytes());
        }
        let ends = (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.adds_bos(), tokenizer.stop_ids());
        self.add(format!("{ends:?}").as_bytes());
        let ids = tokenizer.encode(PROBE, EncodeOptions::default());
        self.add(format!("{ids:?}").as_bytes());
    }

    fn add_template(&mut self, text: &DataText) {
        let Some(template) = text.template else { return self.add(b"none") };
        let question = json!({"role": "user", "content": " What is it? "});
        let answer = json!({"role": "assistant", "content": " It is. "});
        let system = json!({"role": "system", "content": "Be kind."});
        let call = json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]});
        let result = json!({"role": "tool", "tool_call_id": "1", "content": "2"});
        let tools = vec![json!({"type": "function", "function": {"name": "f", "parameters": {}}})];
        for (messages, tools) in [
            (json!([question, answer, question, answer]), Vec::new()),
            (json!([system, question, answer]), Vec::new()),
            (json!([question, call, result, answer]), tools),
        ] {
            let messages =
                serde_json::from_value::<Conversation>(messages).expect("these are messages").messages;
            let now = Some(std::time::SystemTime::UNIX_EPOCH);
            let options = RenderOptions { tools, now, ..RenderOptions::default() };
            match template.render(&messages, &options, text.tokenizer) {
                Ok(prompt) => self.add(format!("{:?} {:?}", prompt.as_text(), prompt.generated()).as_bytes()),
                Err(error) => self.add(error.to_string().as_bytes()),
            }
        }
    }
}

/// Something of everything that tokenizers treat in their own ways.
const PROBE: &str = "  Hello, World's 1234567 CamelCase\n\n\t\tdef f(x): return x**2  # ok\r\n don't   stop… \
    Größe naïve Ελλάδα русский 中文字符 日本語 한국어 ไทย עברית العربية हिन्दी 🙂👩‍👩‍👧 ﬁ Å A\u{30a}½ \u{a0}<s></s><|eot_id|>";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::config::{Cleaning, Labels};
    use puna_text::train_bpe::train_bpe;

    #[test]
    fn what_counts_changes_the_key() {
        let tokenizer = |n| {
            train_bpe(["a cat and a hat and a bat"], n, &["<s>", "</s>"]).unwrap().to_tokenizer().unwrap()
        };
        let (small, large) = (tokenizer(259), tokenizer(261));
        let config = DataConfig::default();
        let key = |config: &DataConfig, tokenizer: &Tokenizer, source: &Source, files: &[[u8; 32]]| {
            let text = DataText { tokenizer, template: None };
            Fingerprint::new(config, &text, &[]).of_source(source, 0.0, files, "")
        };
        let source = Source::new("a");
        let plain = key(&config, &small, &source, &[[1; 32]]);
        assert_eq!(plain.len(), 32);
        let elsewhere = Source { weight: 3.0, ..Source::new("b") };
        let longer = DataConfig { max_len: 9, n_threads: 77, ..config.clone() };
        assert_eq!(plain, key(&longer, &small, &elsewhere, &[[1; 32]]));
        let all = DataConfig { labels: Labels::All, ..config.clone() };
        let clean =
            DataConfig { cleaning: Cleaning { exact: true, ..Cleaning::default() }, ..config.clone() };
        for other in [
            key(&all, &small, &source, &[[1; 32]]),
            key(&clean, &small, &source, &[[1; 32]]),
            key(&config, &large, &source, &[[1; 32]]),
            key(&config, &small, &Source { text_key: Some("t".into()), ..Source::new("a") }, &[[1; 32]]),
            key(&config, &small, &source, &[[2; 32]]),
            key(&config, &small, &source, &[[1; 32], [1; 32]]),
        ] {
            assert_ne!(plain, other);
        }
    }
}
