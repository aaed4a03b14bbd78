//! Special tokens inside text: finding the next one, longest first.
//!
//! Two sets are kept. User-defined tokens are text that is one token wherever it stands; control tokens
//! (BOS, headers, tool markers) are looked for only when the caller says that the text may hold them,
//! which is never the case for what a user wrote.
//!
//! A file may want a token to be found after the text was normalised (`normalized`): the token's text is normalised
//! too, and is looked for in a second pass over what the first one left.

use std::collections::HashSet;

use crate::char_class::CharSet;
use crate::error::TokenizerError;
use crate::trie::Trie;
use crate::vocab::TokenKind;

/// A token whose text is looked for as a whole.
#[derive(Debug, Clone)]
pub(crate) struct SpecialToken {
    pub id: u32,
    pub text: String,
    /// Whether it is found only in text that may hold control tokens.
    pub is_control: bool,
    /// What is looked for instead, once the text is normalised.
    pub normalized: Option<String>,
    /// Whether white space in front of it, or after it, is part of it (Hugging Face's `lstrip` and `rstrip`).
    pub takes_space_before: bool,
    pub takes_space_after: bool,
    /// Whether it is found only where no word touches it.
    pub is_single_word: bool,
}

impl SpecialToken {
    /// A token of this kind without flags.
    pub fn new(id: u32, text: impl Into<String>, kind: TokenKind) -> SpecialToken {
        SpecialToken {
            id,
            text: text.into(),
            is_control: kind != TokenKind::UserDefined,
            normalized: None,
            takes_space_before: false,
            takes_space_after: false,
            is_single_word: false,
        }
    }

    fn may_stand_between(&self, before: &str, after: &str) -> bool {
        let touches = |c: Option<char>| c.is_some_and(|c| CharSet::words().contains(c));
        !self.is_single_word || !touches(before.chars().next_back()) && !touches(after.chars().next())
    }
}

/// The special tokens of a vocabulary.
#[derive(Debug)]
pub(crate) struct SpecialTokens {
    named: Pass,
    raw: Pass,
    normalized: Pass,
}

/// Which tokens are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// All, by their names: in what a template wrote.
    Named,
    /// Those that are found in the text as it is.
    Raw,
    /// Those that are found in the normalised text.
    Normalized,
}

/// Tokens that are looked for together.
#[derive(Debug)]
struct Pass {
    tokens: Vec<SpecialToken>,
    control: Finder,
    user_defined: Finder,
}

/// Finds the next token; values are places in [`Pass::tokens`].
#[derive(Debug)]
struct Finder {
    /// For each pair of first bytes, whether a token begins with it. One-byte tokens set the whole row.
    begins: Vec<bool>,
    texts: Trie,
}

impl SpecialTokens {
    /// Where two tokens have one text the first wins. Fails for texts too long to be looked for; `form` names the file.
    pub fn new(form: &'static str, tokens: Vec<SpecialToken>) -> Result<SpecialTokens, TokenizerError> {
        /// Many times the longest of a published tokenizer.
        const MAX_TEXT_BYTES: usize = 1 << 12;
        let text_of = |token: &SpecialToken| token.normalized.as_ref().map_or(token.text.len(), String::len);
        if let Some(token) = tokens.iter().find(|token| token.text.len().max(text_of(token)) > MAX_TEXT_BYTES)
        {
            let what = format!("the added token {} has {} bytes", token.id, token.text.len());
            return Err(TokenizerError::malformed(form, what));
        }
        let raw = tokens.iter().filter(|token| token.normalized.is_none());
        let raw = Pass::new(raw.map(|token| (token.text.clone(), token.clone())));
        let normalized = tokens.iter().filter_map(|token| Some((token.normalized.clone()?, token.clone())));
        let normalized = Pass::new(normalized);
        let named = Pass::new(tokens.into_iter().map(|token| (token.text.clone(), token)));
        let all = named.zip(raw).zip(normalized);
        let ((named, raw), normalized) =
            all.ok_or_else(|| TokenizerError::malformed(form, "the added tokens are too long together"))?;
        Ok(SpecialTokens { named, raw, normalized })
    }

    /// The special token with this text.
    pub fn get(&self, text: &str) -> Option<&SpecialToken> {
        self.named.control.texts.get(text).map(|at| &self.named.tokens[at as usize])
    }

    /// All special tokens, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &SpecialToken> {
        self.named.tokens.iter()
    }

    /// Whether a stage has any tokens to look for.
    pub fn has_any(&self, stage: Stage) -> bool {
        !self.pass(stage).tokens.is_empty()
    }

    fn pass(&self, stage: Stage) -> &Pass {
        match stage {
            Stage::Named => &self.named,
            Stage::Raw => &self.raw,
            Stage::Normalized => &self.normalized,
        }
    }

    /// Calls `fragment` for each stretch of ordinary text and each special token, from left to right.
    /// With `control` false only user-defined tokens are found.
    pub fn for_each_fragment<'t>(
        &self,
        stage: Stage,
        text: &'t str,
        control: bool,
        mut fragment: impl FnMut(Fragment<'t>),
    ) {
        let pass = self.pass(stage);
        let finder = if control { &pass.control } else { &pass.user_defined };
        let mut start = 0;
        let mut at = 0;
        while let Some(candidate) = finder.next_candidate(text.as_bytes(), at) {
            let Some((length, found)) = finder.texts.longest_prefix(&text[candidate..]) else {
                at = candidate + 1;
                continue;
            };
            let (token, end) = (&pass.tokens[found as usize], candidate + length);
            if !token.may_stand_between(&text[..candidate], &text[end..]) {
                at = end;
                continue;
            }
            // White space that the token in front took can begin this one, which is there all the same.
            let mut before = text.get(start..candidate).unwrap_or_default();
            if token.takes_space_before {
                before = before.trim_end();
            }
            if !before.is_empty() {
                fragment(Fragment::Text { text: before, at_start: start == 0 });
            }
            fragment(Fragment::Special { id: token.id, name: &text[candidate..end] });
            (start, at) = (end, end);
            if token.takes_space_after {
                start = text.len() - text[start..].trim_start().len();
            }
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

impl Pass {
    /// Tokens with what is looked for; `None` if that is too long together.
    fn new(given: impl Iterator<Item = (String, SpecialToken)>) -> Option<Pass> {
        let (mut seen, mut texts, mut tokens) = (HashSet::new(), Vec::new(), Vec::new());
        for (text, token) in given.filter(|(text, _)| !text.is_empty()) {
            if seen.insert(text.clone()) {
                texts.push(text);
                tokens.push(token);
            }
        }
        let texts = || texts.iter().map(String::as_str).zip(0u32..);
        let control = Finder::new(texts())?;
        let user_defined = Finder::new(texts().filter(|(_, at)| !tokens[*at as usize].is_control))?;
        Some(Pass { tokens, control, user_defined })
    }
}

impl Finder {
    fn new<'s>(texts: impl Iterator<Item = (&'s str, u32)> + Clone) -> Option<Finder> {
        let mut begins = Vec::new();
        for (text, _) in texts.clone() {
            begins.resize(1 << 16, false);
            match text.as_bytes() {
                [first] => begins[usize::from(*first) << 8..][..256].fill(true),
                [first, second, ..] => begins[usize::from(*first) << 8 | usize::from(*second)] = true,
                [] => {}
            }
        }
        Some(Finder { begins, texts: Trie::new(texts)? })
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

    fn specials() -> SpecialTokens {
        let kinds = [TokenKind::Control, TokenKind::Control, TokenKind::UserDefined, TokenKind::Control];
        let texts = ["<s>", "<s>>", "é", "x"].into_iter().zip(kinds).zip(0..);
        let mut special: Vec<SpecialToken> =
            texts.map(|((text, kind), id)| SpecialToken::new(id, text, kind)).collect();
        special[3].takes_space_before = true;
        special[3].takes_space_after = true;
        SpecialTokens::new("test", special).unwrap()
    }

    fn fragments(text: &str, control: bool) -> Vec<String> {
        fragments_of(&specials(), Stage::Raw, text, control)
    }

    fn fragments_of(special: &SpecialTokens, stage: Stage, text: &str, control: bool) -> Vec<String> {
        let mut found = Vec::new();
        special.for_each_fragment(stage, text, control, |fragment| {
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
        let mut tokens = vec![SpecialToken::new(0, "x", TokenKind::UserDefined)];
        tokens[0].takes_space_after = true;
        tokens.push(SpecialToken::new(1, "  ", TokenKind::UserDefined));
        let special = SpecialTokens::new("test", tokens).unwrap();
        // tokenizers 0.23.3
        assert_eq!(fragments_of(&special, Stage::Raw, "x  b", false), ["#0", "#1", "b"]);
        assert_eq!(fragments_of(&special, Stage::Raw, "x   b", false), ["#0", "#1", " b"]);
    }

    #[test]
    fn single_words_and_normalized_tokens() {
        let single =
            SpecialToken { is_single_word: true, ..SpecialToken::new(0, "ab", TokenKind::UserDefined) };
        let special = SpecialTokens::new("test", vec![single.clone()]).unwrap();
        for (text, found) in
            [("ab", vec!["#0"]), ("xab ab", vec!["xab ^", "#0"]), ("éab-ab_", vec!["éab-ab_^"])]
        {
            assert_eq!(fragments_of(&special, Stage::Raw, text, false), found);
        }
        let normalized = SpecialToken { normalized: Some("_ab".to_owned()), ..single };
        let tokens = vec![SpecialToken { is_single_word: false, ..normalized }];
        let special = SpecialTokens::new("test", tokens).unwrap();
        assert_eq!(fragments_of(&special, Stage::Raw, "_ab", false), ["_ab^"]);
        assert_eq!(fragments_of(&special, Stage::Normalized, "x_ab", false), ["x^", "#0"]);
        assert_eq!(fragments_of(&special, Stage::Named, "xab", false), ["x^", "#0"]);
        assert_eq!(special.get("ab").map(|token| token.id), Some(0));
    }

    #[test]
    fn many_lengths_take_linear_time() {
        let token = |n: usize| SpecialToken::new(n as u32, "a".repeat(n) + "b", TokenKind::UserDefined);
        let special = SpecialTokens::new("test", (0..1000).map(token).collect()).unwrap();
        assert_eq!(fragments_of(&special, Stage::Raw, &"a".repeat(1 << 18), false).len(), 1);
        assert!(SpecialTokens::new("test", vec![token(5000)]).is_err());
    }
}
