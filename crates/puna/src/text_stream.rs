//! From the ids of an answer to the text that is shown.

use puna_text::{StreamDecoder, Tokenizer};

use crate::Error;
use crate::stop_strings::StopStrings;

/// Decodes ids as they come, and ends at a stop string. Made by [`Llama::prepare`](crate::Llama::prepare).
pub struct TextStream {
    /// Without a tokenizer there is no text.
    decoder: Option<(Tokenizer, StreamDecoder)>,
    stops: StopStrings,
    is_stopped: bool,
    /// Whether the next text is the first, and its leading space not part of it.
    strip_space: bool,
    shown: String,
    /// Where in `shown` the last piece begins.
    last: usize,
}

impl TextStream {
    /// `stands_alone` says that the answer is a text of its own, so the space that SentencePiece writes
    /// before a first word is not part of it. A continuation keeps that space.
    pub(crate) fn new(
        tokenizer: Option<&Tokenizer>,
        stops: &[String],
        stands_alone: bool,
    ) -> Result<TextStream, Error> {
        if stops.iter().any(String::is_empty) {
            return Err(Error::Request("a stop string is empty; it would end every answer at once".into()));
        }
        Ok(TextStream {
            decoder: tokenizer.map(|tokenizer| (tokenizer.clone(), tokenizer.stream())),
            stops: StopStrings::new(stops),
            is_stopped: false,
            strip_space: stands_alone,
            shown: String::new(),
            last: 0,
        })
    }

    /// Adds what `id` says. Returns whether the text has ended at a stop string.
    pub fn push(&mut self, id: u32) -> bool {
        let Some((tokenizer, decoder)) = &mut self.decoder else { return false };
        let mut text = decoder.push(id);
        if self.strip_space && !tokenizer.is_special(id) {
            self.strip_space = false;
            // As if the answer were decoded alone.
            if text.starts_with(' ') && !tokenizer.decode(&[id]).starts_with(text) {
                text = &text[1..];
            }
        }
        let (piece, is_stopped) = self.stops.push(text);
        self.last = self.shown.len();
        self.shown += &piece;
        self.is_stopped = is_stopped;
        is_stopped
    }

    /// Adds what was held back, now that the answer is over.
    pub fn finish(&mut self) {
        self.last = self.shown.len();
        if let Some((_, decoder)) = self.decoder.as_mut().filter(|_| !self.is_stopped) {
            let (piece, is_stopped) = self.stops.push(decoder.finish());
            self.is_stopped = is_stopped;
            self.shown += &piece;
            self.shown += &self.stops.finish(); // Nothing, where it has stopped.
        }
    }

    /// Whether it ended at a stop string.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The stop string at which it ended.
    pub fn stopped_by(&self) -> Option<&str> {
        self.stops.found()
    }

    /// All text so far.
    pub fn text(&self) -> &str {
        &self.shown
    }

    /// What the last call added.
    pub fn last_piece(&self) -> &str {
        &self.shown[self.last..]
    }
}
