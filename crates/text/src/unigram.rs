//! Unigram models: of all ways to cut a word into pieces, the one with the highest sum of scores.
//!
//! The best way to reach each place in the word is kept, from left to right (Viterbi's algorithm). A character that is
//! no piece by itself counts as unknown, at a score below every piece's; unknown neighbours are one token, or their
//! bytes where the vocabulary has byte pieces.

use crate::trie::Trie;
use crate::vocab::NO_TOKEN;

/// A Unigram model.
#[derive(Debug)]
pub(crate) struct Unigram {
    pub pieces: Trie,
    pub scores: Vec<f64>,
    /// The token of an unknown character and its score.
    pub unknown: Option<u32>,
    pub unknown_score: f64,
    /// The token of each byte, where unknown characters become bytes.
    pub bytes: Option<Box<[u32; 256]>>,
    /// Whether sums are rounded to 32 bits, as SentencePiece does.
    pub rounds: bool,
}

/// What is taken off the lowest score for an unknown character.
pub(crate) const UNKNOWN_PENALTY: f64 = 10.0;

/// The best way to a place: where its last piece begins.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f64,
    start: u32,
    id: u32,
}

const UNREACHED: Best = Best { score: 0.0, start: u32::MAX, id: NO_TOKEN };

impl Unigram {
    /// Appends the tokens of `word` to `ids`. Text without a token is dropped.
    pub fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        /// Bounds the memory of the places. A longer word is cut; no such word means anything.
        const MAX_WORD_BYTES: usize = 1 << 24;
        let mut rest = word;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.floor_char_boundary(MAX_WORD_BYTES));
            self.encode_part(part, ids);
            rest = after;
        }
    }

    fn encode_part(&self, word: &str, ids: &mut Vec<u32>) {
        let best = self.best_ways(word);
        let mut pieces = Vec::new();
        let mut end = word.len();
        while end > 0 {
            let Best { start, id, .. } = best[end];
            pieces.push((start as usize..end, id));
            end = start as usize;
        }
        let is_unknown = |id: u32| id == NO_TOKEN || Some(id) == self.unknown;
        let mut unknown: Option<std::ops::Range<usize>> = None;
        for (range, id) in pieces.into_iter().rev() {
            if is_unknown(id) {
                unknown = Some(unknown.map_or(range.start, |before| before.start)..range.end);
                continue;
            }
            unknown.take().into_iter().for_each(|range| self.push_unknown(&word[range], ids));
            ids.push(id);
        }
        unknown.into_iter().for_each(|range| self.push_unknown(&word[range], ids));
    }

    fn best_ways(&self, word: &str) -> Vec<Best> {
        let sum = |a: f64, b: f64| if self.rounds { f64::from(a as f32 + b as f32) } else { a + b };
        let mut best = vec![UNREACHED; word.len() + 1];
        for (start, c) in word.char_indices() {
            let so_far = best[start].score;
            let mut reach = |end: usize, score: f64, id: u32| {
                let score = sum(score, so_far);
                if best[end].start == UNREACHED.start || score > best[end].score {
                    best[end] = Best { score, start: start as u32, id };
                }
            };
            let mut is_piece = false;
            self.pieces.prefixes(&word.as_bytes()[start..], |length, id| {
                is_piece |= length == c.len_utf8();
                reach(start + length, self.scores[id as usize], id);
            });
            if !is_piece {
                reach(start + c.len_utf8(), self.unknown_score, self.unknown.unwrap_or(NO_TOKEN));
            }
        }
        best
    }

    /// What becomes of unknown neighbours: a piece after all, their bytes, or the unknown token.
    fn push_unknown(&self, text: &str, ids: &mut Vec<u32>) {
        if let Some(id) = self.pieces.get(text) {
            return ids.push(id);
        }
        match &self.bytes {
            Some(tokens) if text.bytes().all(|byte| tokens[usize::from(byte)] != NO_TOKEN) => {
                ids.extend(text.bytes().map(|byte| tokens[usize::from(byte)]));
            }
            _ => ids.extend(self.unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(bytes: Option<Box<[u32; 256]>>) -> Unigram {
        let pieces = [("<unk>", 0.0), ("ab", -0.5), ("b", -1.0), ("a", -1.0), ("abc", -4.0), ("c", -1.0)];
        let scores: Vec<f64> = pieces.iter().map(|(_, score)| *score).collect();
        let pieces = Trie::new(pieces.iter().map(|(text, _)| *text).zip(0..)).unwrap();
        Unigram { pieces, scores, unknown: Some(0), unknown_score: -14.0, bytes, rounds: false }
    }

    #[test]
    fn the_highest_sum_wins() {
        for (word, expected) in
            [("abc", vec![1, 5]), ("ba", vec![2, 3]), ("aéé語b", vec![3, 0, 2]), ("", vec![]), ("é", vec![0])]
        {
            let mut ids = Vec::new();
            model(None).encode_word(word, &mut ids);
            assert_eq!(ids, expected, "{word}");
        }
    }

    #[test]
    fn unknown_characters_become_bytes_if_all_are_there() {
        let mut tokens = Box::new([NO_TOKEN; 256]);
        (tokens[0xC3], tokens[0xA9]) = (100, 101);
        let mut ids = Vec::new();
        model(Some(tokens)).encode_word("éa語", &mut ids);
        assert_eq!(ids, [100, 101, 3, 0]);
    }
}
