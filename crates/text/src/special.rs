//! Special tokens inside text: finding the next one, longest first.
//!
//! Two sets are kept. User-defined tokens are text that is one token wherever it stands; control tokens
//! (BOS, headers, tool markers) are looked for only when the caller says that the text may hold them,
//! which is never the case for what a user wrote.

use std::collections::HashMap;

use crate::vocab::{TokenKind, Vocab};

/// A token whose text is looked for as a whole.
#[derive(Debug, Clone)]
pub(crate) struct SpecialToken {
    pub id: u32,
    pub text: String,
    /// Whether white space in front of it, or after it, is part of it (Hugging Face's flags).
    pub takes_space_before: bool,
    pub takes_space_after: bool,
}

impl SpecialToken {
    pub fn new(id: u32, text: impl Into<String>) -> SpecialToken {
        SpecialToken { id, text: text.into(), takes_space_before: false, takes_space_after: false }
    }
}

/// The special tokens of a vocabulary.
#[derive(Debug)]
pub(crate) struct SpecialTokens {
    by_text: HashMap<String, SpecialToken>,
    control: Finder,
    user_defined: Finder,
}

/// Says where a special token might begin.
#[derive(Debug, Default)]
struct Finder {
    /// For each pair of first bytes, whether a token begins with it. One-byte tokens set the whole row.
    begins: Vec<bool>,
    /// The lengths that occur, longest first.
    lengths: Vec<usize>,
}

impl SpecialTokens {
    /// `kinds` of `vocab` say which set each token belongs to. Where two have one text the first wins.
    pub fn new(vocab: &Vocab, tokens: Vec<SpecialToken>) -> SpecialTokens {
        let mut by_text = HashMap::new();
        for token in tokens.into_iter().filter(|token| !token.text.is_empty()) {
            by_text.entry(token.text.clone()).or_insert(token);
        }
        let user_defined = |token: &&SpecialToken| vocab.kind(token.id) == TokenKind::UserDefined;
        let user_defined = Finder::new(by_text.values().filter(user_defined));
        let control = Finder::new(by_text.values());
        SpecialTokens { by_text, control, user_defined }
    }

    /// The special token with this text.
    pub fn get(&self, text: &str) -> Option<&SpecialToken> {
        self.by_text.get(text)
    }

    /// All special tokens, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &SpecialToken> {
        self.by_text.values()
    }

    /// Calls `fragment` for each stretch of ordinary text and each special token, from left to right.
    /// With `control` false only user-defined tokens are found.
    pub fn for_each_fragment<'t>(
        &self,
        vocab: &Vocab,
        text: &'t str,
        control: bool,
        mut fragment: impl FnMut(Fragment<'t>),
    ) {
        let finder = if control { &self.control } else { &self.user_defined };
        let mut start = 0;
        let mut at = 0;
        while let Some(candidate) = finder.next_candidate(text.as_bytes(), at) {
            let found = finder.lengths.iter().find_map(|length| {
                let token = self.by_text.get(text.get(candidate..candidate + length)?)?;
                (control || vocab.kind(token.id) == TokenKind::UserDefined).then_some(token)
            });
            let Some(token) = found else {
                at = candidate + 1;
                continue;
            };
            let mut before = &text[start..candidate];
            if token.takes_space_before {
                before = before.trim_end();
            }
            if !before.is_empty() {
                fragment(Fragment::Text { text: before, at_start: start == 0 });
            }
            fragment(Fragment::Special {
                id: token.id,
                name: &text[candidate..candidate + token.text.len()],
            });
            start = candidate + token.text.len();
            if token.takes_space_after {
                start = text.len() - text[start..].trim_start().len();
            }
            at = start;
        }
        if start < text.len() {
            fragment(Fragment::Text { text: &text[start..], at_start: start == 0 });
        }
    }
}

/// Part of a text in which special tokens were looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fragment<'t> {
    Text { text: &'t str, at_start: bool },
    Special { id: u32, name: &'t str },
}

impl Finder {
    fn new<'s>(tokens: impl Iterator<Item = &'s SpecialToken>) -> Finder {
        let (mut begins, mut lengths) = (Vec::new(), Vec::new());
        for token in tokens {
            begins.resize(1 << 16, false);
            match token.text.as_bytes() {
                [first] => begins[usize::from(*first) << 8..][..256].fill(true),
                [first, second, ..] => begins[usize::from(*first) << 8 | usize::from(*second)] = true,
                [] => {}
            }
            lengths.push(token.text.len());
        }
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        Finder { begins, lengths }
    }

    /// The next position from `at` where a token might begin.
    fn next_candidate(&self, text: &[u8], at: usize) -> Option<usize> {
        if self.begins.is_empty() {
            return None;
        }
        let pair = |at: usize| usize::from(text[at]) << 8 | usize::from(*text.get(at + 1).unwrap_or(&0));
        (at..text.len()).find(|&at| self.begins[pair(at)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::Token;

    fn specials() -> (Vocab, SpecialTokens) {
        let kinds = [TokenKind::Control, TokenKind::Control, TokenKind::UserDefined, TokenKind::Control];
        let texts = ["<s>", "<s>>", "é", "x"];
        let tokens: Vec<Token> = kinds.iter().zip(texts).map(|(k, t)| Token::new(t, *k)).collect();
        let vocab = Vocab::new("test", &tokens).unwrap();
        let mut special: Vec<SpecialToken> =
            texts.iter().enumerate().map(|(id, text)| SpecialToken::new(id as u32, *text)).collect();
        special[3].takes_space_before = true;
        special[3].takes_space_after = true;
        let special = SpecialTokens::new(&vocab, special);
        (vocab, special)
    }

    fn fragments(text: &str, control: bool) -> Vec<String> {
        let (vocab, special) = specials();
        let mut found = Vec::new();
        special.for_each_fragment(&vocab, text, control, |fragment| {
            found.push(match fragment {
                Fragment::Text { text, at_start } => format!("{text}{}", if at_start { "^" } else { "" }),
                Fragment::Special { id, .. } => format!("#{id}"),
            });
        });
        found
    }

    #[test]
    fn control_only_on_request() {
        assert_eq!(fragments("a<s>b<s>>é", true), ["a^", "#0", "b", "#1", "#2"]);
        assert_eq!(fragments("a<s>b<s>>éc", false), ["a<s>b<s>>^", "#2", "c"]);
        assert_eq!(fragments("", true), [""; 0]);
        assert_eq!(fragments("<s", true), ["<s^"]);
    }

    #[test]
    fn space_around_is_taken() {
        assert_eq!(fragments("a  x  b", true), ["a^", "#3", "b"]);
        assert_eq!(fragments("  x  ", true), ["#3"]);
    }
}
