//! Decoding ids as they are generated, without ever splitting a character.
//!
//! A token may end inside a UTF-8 sequence. The decoder holds back such an end (at most three bytes)
//! until the rest arrives; bytes that can no longer become a character are U+FFFD at once.

use crate::tokenizer::Tokenizer;

/// Turns a stream of ids into a stream of text.
///
/// The text continues what came before it, so SentencePiece's space in front of a word is kept; a caller
/// who decodes a whole text from its start wants [`Tokenizer::decode`].
#[derive(Debug, Clone)]
pub struct StreamDecoder {
    tokenizer: Tokenizer,
    shows_special: bool,
    /// Bytes held back; always the beginning of one character.
    pending: Vec<u8>,
    text: String,
}

impl StreamDecoder {
    pub(crate) fn new(tokenizer: Tokenizer) -> StreamDecoder {
        StreamDecoder { tokenizer, shows_special: false, pending: Vec::new(), text: String::new() }
    }

    /// Prints special tokens by their names instead of leaving them out.
    pub fn show_special(mut self) -> StreamDecoder {
        self.shows_special = true;
        self
    }

    /// The text that `id` completes; often none.
    pub fn push(&mut self, id: u32) -> &str {
        self.text.clear();
        if self.tokenizer.is_special(id) {
            // A character that a special token interrupts is never finished.
            self.flush_pending();
            if self.shows_special {
                self.text.push_str(&self.tokenizer.name(id));
            }
            return &self.text;
        }
        self.pending.extend_from_slice(self.tokenizer.decode_bytes(id));
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            self.text.push_str(chunk.valid());
            done += chunk.valid().len();
            let reaches_end = done + chunk.invalid().len() == self.pending.len();
            if chunk.invalid().is_empty() || reaches_end && may_continue(chunk.invalid()) {
                break;
            }
            self.text.push(char::REPLACEMENT_CHARACTER);
            done += chunk.invalid().len();
        }
        self.pending.drain(..done);
        &self.text
    }

    /// What is left at the end: U+FFFD if the last character never became whole. The decoder may then be
    /// used for another stream.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        self.flush_pending();
        &self.text
    }

    fn flush_pending(&mut self) {
        if !self.pending.is_empty() {
            self.pending.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Whether these bytes, invalid so far, are the beginning of some character.
fn may_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use crate::train_bpe::train_bpe;

    #[test]
    fn bytes_one_by_one() {
        let tokenizer = train_bpe([""], 257, &["<|eot_id|>"]).unwrap().to_tokenizer().unwrap();
        let mut stream = tokenizer.stream();
        let mut emitted = |bytes: &[u8]| -> Vec<String> {
            bytes.iter().map(|byte| stream.push(tokenizer.id_of_byte(*byte).unwrap()).to_owned()).collect()
        };
        assert_eq!(emitted("é🙂".as_bytes()), ["", "é", "", "", "", "🙂"]);
        assert_eq!(
            emitted(&[0xFF, b'a', 0xE2, b'b', 0xC3, 0xC3, 0xA9]),
            ["\u{FFFD}", "a", "", "\u{FFFD}b", "", "\u{FFFD}", "é"]
        );
        assert_eq!(emitted(&[0xF0, 0x9F]), ["", ""]);
        assert_eq!(stream.finish(), "\u{FFFD}");
        assert_eq!(stream.finish(), "");
        stream.push(tokenizer.id_of_byte(0xF0).unwrap());
        assert_eq!(stream.push(tokenizer.id_of("<|eot_id|>").unwrap()), "\u{FFFD}");
        let mut stream = tokenizer.stream().show_special();
        assert_eq!(stream.push(tokenizer.id_of("<|eot_id|>").unwrap()), "<|eot_id|>");
    }
}
