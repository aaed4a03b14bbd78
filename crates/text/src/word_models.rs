//! The models without merges or scores: WordPiece (the longest pieces from the left) and WordLevel (whole words).

use crate::trie::Trie;

/// A WordPiece model.
#[derive(Debug)]
pub(crate) struct WordPiece {
    /// What may begin a word, and what may continue one, without the prefix that marks it in the file (`##`).
    pub first: Trie,
    pub continuing: Trie,
    pub unknown: Option<u32>,
    pub max_word_chars: usize,
}

impl WordPiece {
    /// Appends the tokens of `word`: the unknown token alone, if it cannot be made of pieces.
    pub fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        let n_before = ids.len();
        let is_too_long = word.chars().nth(self.max_word_chars).is_some();
        let mut rest = if is_too_long { "" } else { word };
        while !rest.is_empty() {
            let pieces = if rest.len() == word.len() { &self.first } else { &self.continuing };
            let Some((length, id)) = pieces.longest_prefix(rest) else { break };
            ids.push(id);
            rest = &rest[length..];
        }
        if is_too_long || !rest.is_empty() {
            ids.truncate(n_before);
            ids.extend(self.unknown);
        }
    }
}

/// A WordLevel model.
#[derive(Debug)]
pub(crate) struct WordLevel {
    pub words: Trie,
    pub unknown: Option<u32>,
}

impl WordLevel {
    /// Appends the token of `word`.
    pub fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        ids.extend(self.words.get(word).or(self.unknown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_pieces_from_the_left() {
        let first = Trie::new([("un", 1), ("u", 2), ("##x", 5)]).unwrap();
        let continuing = Trie::new([("aff", 3), ("able", 4), ("x", 5)]).unwrap();
        let model = WordPiece { first, continuing, unknown: Some(0), max_word_chars: 9 };
        for (word, expected) in [
            ("unaffable", vec![1, 3, 4]),
            ("ux", vec![2, 5]),
            ("unz", vec![0]),
            ("unaffables", vec![0]),
            ("##x", vec![5]),
        ] {
            let mut ids = vec![9];
            model.encode_word(word, &mut ids);
            assert_eq!(ids[1..], expected, "{word}");
        }
    }

    #[test]
    fn whole_words() {
        let mut ids = Vec::new();
        let model = WordLevel { words: Trie::new([("ab", 1)]).unwrap(), unknown: None };
        model.encode_word("ab", &mut ids);
        model.encode_word("a", &mut ids);
        assert_eq!(ids, [1]);
    }
}
