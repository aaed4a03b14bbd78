//! SentencePiece BPE (Llama 1 and 2, Code Llama): characters merged by score, bytes for the rest.
//!
//! The algorithm knows no words: it merges over the whole text. But a piece that holds a space anywhere
//! else than in front of its first letter does not occur in these vocabularies, and where no such piece
//! exists no merge can cross the place between a letter and a space. So the text is cut there, which
//! changes nothing and makes the words short (checked when the file is loaded, see `splits_at_spaces`).
//! Pieces are kept with real spaces in place of SentencePiece's `▁`.

use crate::decode::Decoding;
use crate::merge::{Merger, Scratch};
use crate::piece::SPACE_MARK;
use crate::vocab::{Token, TokenKind, Vocab};

/// Where the encoder puts a space that the text does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    Never,
    /// In front of the text, if it does not begin with a special token.
    TextStart,
    /// In front of the text and of what follows each special token (`legacy` in Hugging Face files).
    EveryFragment,
}

/// A SentencePiece encoder; the vocabulary is kept apart.
#[derive(Debug)]
pub(crate) struct SentencePiece {
    pub merger: Merger,
    pub prefix: Prefix,
    /// Whether a text that begins with a space gets no prefix (Hugging Face's `Metaspace`).
    pub space_is_prefix_enough: bool,
    pub splits_at_spaces: bool,
    /// Whether each space begins a word, even in a row of them (Hugging Face's `Metaspace` with `split`).
    pub each_space_splits: bool,
    /// Whether `legacy` in a configuration beside the file decides about the prefix, the file itself
    /// saying nothing.
    pub legacy_decides: bool,
    /// How ids become text, where it is not SentencePiece's way.
    pub decoding: Option<Decoding>,
}

impl SentencePiece {
    /// Appends the tokens of `text`, which is all ordinary text; `prefix` says whether it may get a
    /// space in front.
    pub fn encode(&self, vocab: &Vocab, text: &str, prefix: bool, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let mut normal = String::with_capacity(text.len() + 1);
        if prefix && !(self.space_is_prefix_enough && text.starts_with([' ', SPACE_MARK])) {
            normal.push(' ');
        }
        for (n, part) in text.split(SPACE_MARK).enumerate() {
            normal.push_str(if n > 0 { " " } else { "" });
            normal.push_str(part);
        }
        if !self.splits_at_spaces {
            return self.merger.encode_word(vocab, &normal, scratch, ids);
        }
        let bytes = normal.as_bytes();
        let mut start = 0;
        for end in 1..bytes.len() {
            if bytes[end] == b' ' && (self.each_space_splits || bytes[end - 1] != b' ') {
                self.merger.encode_word(vocab, &normal[start..end], scratch, ids);
                start = end;
            }
        }
        self.merger.encode_word(vocab, &normal[start..], scratch, ids);
    }
}

/// Whether no ordinary token has a space after something else, so that text may be cut there.
pub(crate) fn no_token_crosses_a_space(tokens: &[Token]) -> bool {
    let crosses = |token: &Token| token.bytes.windows(2).any(|pair| pair[0] != b' ' && pair[1] == b' ');
    !tokens.iter().any(|token| token.kind == TokenKind::Normal && crosses(token))
}

/// Ranks for [`MergeRule::JoinedByTable`](crate::merge::MergeRule) from scores: the highest score merges
/// first, equal scores have equal ranks.
pub(crate) fn ranks_of_scores(scores: &[f32]) -> Vec<u32> {
    // Adding zero makes the two zeros one.
    let mut distinct: Vec<f32> = scores.iter().map(|score| score + 0.0).collect();
    distinct.sort_unstable_by(|a, b| b.total_cmp(a));
    distinct.dedup_by(|a, b| a.total_cmp(b).is_eq());
    let rank = |score: &f32| distinct.partition_point(|other| other.total_cmp(&(score + 0.0)).is_gt()) as u32;
    scores.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_scores() {
        assert_eq!(ranks_of_scores(&[0.0, -3.0, -1.0, -0.0, -3.0, f32::NEG_INFINITY]), [0, 2, 1, 0, 2, 3]);
        ranks_of_scores(&[f32::NAN, 1.0, -f32::NAN]);
    }
}
