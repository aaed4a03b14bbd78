//! A rendered prompt: ordinary text and special tokens, kept apart.
//!
//! That they are kept apart is what makes a prompt safe: text that a user wrote is encoded with no eye
//! for special tokens, so `<|eot_id|>` in a message stays eight harmless tokens. Neighbouring stretches
//! of text are one piece, encoded together, as if the whole prompt had been tokenised at once.

use std::ops::Range;

use crate::error::TokenizerError;
use crate::tokenizer::Tokenizer;

/// A prompt, as text and as token ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    text: String,
    pieces: Pieces,
    /// Whether each text piece is its own text for SentencePiece, with its own space in front.
    pieces_stand_alone: bool,
    /// What a template says an assistant said, as ranges of the text.
    generated: Vec<Range<usize>>,
}

/// Where the pieces of a prompt's text end, and what each is. Eight bytes a piece: a prompt may have millions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pieces {
    /// Twice the end, in bytes of the text, and one more for a special token.
    ends: Vec<u64>,
}

impl Pieces {
    fn end(&self) -> u64 {
        self.ends.last().map_or(0, |end| end >> 1)
    }

    /// A special token whose name has so many bytes.
    pub(crate) fn special(&mut self, len: usize) {
        self.ends.push((self.end() + len as u64) << 1 | 1);
    }

    /// So many bytes of text, joined to text before them.
    pub(crate) fn text(&mut self, len: usize) {
        match self.ends.last_mut() {
            _ if len == 0 => {}
            Some(end) if *end & 1 == 0 => *end += (len as u64) << 1,
            _ => self.separate_text(len),
        }
    }

    fn separate_text(&mut self, len: usize) {
        self.ends.push((self.end() + len as u64) << 1);
    }
}

/// A piece of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptPiece<'p> {
    /// The special token of this name.
    Special(&'p str),
    /// Ordinary text, whatever it looks like.
    Text(&'p str),
}

impl Prompt {
    /// A prompt of plain text, for a model without a chat format.
    pub fn raw(text: impl Into<String>) -> Prompt {
        let text = text.into();
        let mut pieces = Pieces::default();
        pieces.separate_text(text.len());
        Prompt { text, pieces, ..Prompt::default() }
    }

    /// The prompt of a text that is cut into pieces.
    pub(crate) fn of_pieces(text: String, pieces: Pieces) -> Prompt {
        debug_assert_eq!(text.len() as u64, pieces.end());
        Prompt { text, pieces, ..Prompt::default() }
    }

    /// The same prompt, of which an assistant said these ranges.
    pub(crate) fn with_generated(self, generated: Vec<Range<usize>>) -> Prompt {
        Prompt { generated, ..self }
    }

    /// What an assistant said, as ranges of the text, in order: what the template printed within
    /// `{% generation %}`. Hardly any template says it.
    pub fn generated(&self) -> &[Range<usize>] {
        &self.generated
    }

    /// An empty prompt each of whose text pieces is a text of its own for SentencePiece.
    pub fn of_separate_texts() -> Prompt {
        Prompt { pieces_stand_alone: true, ..Prompt::default() }
    }

    /// Appends a special token.
    pub fn special(&mut self, name: impl AsRef<str>) -> &mut Prompt {
        self.text.push_str(name.as_ref());
        self.pieces.special(name.as_ref().len());
        self
    }

    /// Appends text, joined to text before it.
    pub fn text(&mut self, text: impl AsRef<str>) -> &mut Prompt {
        self.text.push_str(text.as_ref());
        self.pieces.text(text.as_ref().len());
        self
    }

    /// Appends text that is encoded apart from text before it.
    pub fn separate_text(&mut self, text: impl AsRef<str>) -> &mut Prompt {
        self.text.push_str(text.as_ref());
        self.pieces.separate_text(text.as_ref().len());
        self
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = PromptPiece<'_>> {
        let mut begin = 0;
        self.pieces.ends.iter().map(move |end| {
            let (text, is_special) = (&self.text[begin..(end >> 1) as usize], end & 1 == 1);
            begin += text.len();
            if is_special { PromptPiece::Special(text) } else { PromptPiece::Text(text) }
        })
    }

    /// The prompt as one string, as a template would print it.
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// The same, its own.
    pub fn to_text(&self) -> String {
        self.text.clone()
    }

    /// The ids of the prompt. BOS is put in front if the tokenizer wants one and the prompt has none.
    ///
    /// Fails if the prompt uses a special token that the vocabulary does not have.
    pub fn to_ids(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        for (n, piece) in self.pieces().enumerate() {
            match piece {
                PromptPiece::Special(name) => ids.push(special_id(name, tokenizer)?),
                PromptPiece::Text(text) => self.encode_text(n, text, tokenizer, &mut ids),
            }
        }
        if let Some(bos) = missing_bos(&ids, tokenizer) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The ids of the prompt, equal to [`to_ids`](Self::to_ids), and of each whether it has a part of the text in
    /// one of `ranges`, which are in order.
    ///
    /// A text that the tokenizer changes so much that no id can be found in it again is encoded in parts there, cut
    /// where a range begins or ends. The ids may then differ.
    pub fn to_marked_ids(
        &self,
        tokenizer: &Tokenizer,
        ranges: &[Range<usize>],
    ) -> Result<(Vec<u32>, Vec<bool>), TokenizerError> {
        let (mut ids, mut marks) = (Vec::new(), Vec::new());
        let mut begin = 0;
        for (n, piece) in self.pieces().enumerate() {
            let (PromptPiece::Special(text) | PromptPiece::Text(text)) = piece;
            let place = begin..begin + text.len();
            begin = place.end;
            match piece {
                PromptPiece::Special(name) => {
                    ids.push(special_id(name, tokenizer)?);
                    marks.push(touches(ranges, &place));
                }
                PromptPiece::Text(text) => {
                    let first = ids.len();
                    self.encode_text(n, text, tokenizer, &mut ids);
                    let Some(places) = places_in(text, &ids[first..], tokenizer) else {
                        ids.truncate(first);
                        for (part, is_marked) in cut(text, place.start, ranges) {
                            match ids.len() == first {
                                true => self.encode_text(n, part, tokenizer, &mut ids),
                                false => tokenizer.encode_continuation(part, &mut ids),
                            }
                            marks.resize(ids.len(), is_marked);
                        }
                        continue;
                    };
                    let absolute = |at: Range<usize>| at.start + place.start..at.end + place.start;
                    marks.extend(places.into_iter().map(|at| touches(ranges, &absolute(at))));
                }
            }
        }
        if let Some(bos) = missing_bos(&ids, tokenizer) {
            ids.insert(0, bos);
            marks.insert(0, false);
        }
        Ok((ids, marks))
    }

    /// Appends the ids of the `n`th piece, which is text.
    fn encode_text(&self, n: usize, text: &str, tokenizer: &Tokenizer, ids: &mut Vec<u32>) {
        if n == 0 || self.pieces_stand_alone {
            tokenizer.encode_alone(text, ids);
        } else {
            tokenizer.encode_after_special(text, ids);
        }
    }
}

fn special_id(name: &str, tokenizer: &Tokenizer) -> Result<u32, TokenizerError> {
    let missing = || TokenizerError::MissingToken { name: name.to_owned(), needed_by: "the chat format" };
    tokenizer.id_of(name).ok_or_else(missing)
}

/// BOS, where the tokenizer wants one and there is none.
fn missing_bos(ids: &[u32], tokenizer: &Tokenizer) -> Option<u32> {
    tokenizer.bos_id().filter(|bos| tokenizer.adds_bos() && !ids.contains(bos))
}

/// Whether `place` has a byte in common with one of the ranges, which are in order.
fn touches(ranges: &[Range<usize>], place: &Range<usize>) -> bool {
    let after = ranges.partition_point(|range| range.end <= place.start);
    ranges.get(after).is_some_and(|range| range.start < place.end)
}

/// Where each id lies in the text, by the bytes that it stands for. `None` where they are not the text's: a
/// normaliser changed it.
fn places_in(text: &str, ids: &[u32], tokenizer: &Tokenizer) -> Option<Vec<Range<usize>>> {
    let len: usize = ids.iter().map(|id| tokenizer.decode_bytes(*id).len()).sum();
    // SentencePiece may have put a space in front.
    let n_before = len.checked_sub(text.len()).filter(|n| *n <= 1)?;
    let mut end = 0usize;
    let mut places = Vec::with_capacity(ids.len());
    for id in ids {
        let begin = end;
        end += tokenizer.decode_bytes(*id).len();
        let place = begin.saturating_sub(n_before)..end.saturating_sub(n_before);
        let is_same = text
            .as_bytes()
            .get(place.clone())
            .is_some_and(|bytes| tokenizer.decode_bytes(*id).ends_with(bytes));
        if !is_same {
            return None;
        }
        places.push(place);
    }
    Some(places)
}

/// The parts of a text that begins at `begin` of the prompt, cut at the ends of ranges, and whether each is in one.
fn cut<'t>(text: &'t str, begin: usize, ranges: &[Range<usize>]) -> Vec<(&'t str, bool)> {
    let mut cuts: Vec<usize> = ranges.iter().flat_map(|range| [range.start, range.end]).collect();
    cuts.retain(|at| *at > begin && *at < begin + text.len() && text.is_char_boundary(at - begin));
    cuts.push(begin + text.len());
    let mut from = begin;
    let parts = cuts.into_iter().map(|at| {
        let part = (&text[from - begin..at - begin], touches(ranges, &(from..at)));
        from = at;
        part
    });
    parts.filter(|(part, _)| !part.is_empty()).collect()
}
