//! Pre-tokenisers: what cuts a text into the words that a model encodes one by one, with the names that
//! `tokenizer.json` gives them.
//!
//! A list of them is applied as a tree: each cuts what the one before it left, and the words come out in order without
//! being gathered anywhere. Most only cut; those that change the text (`▁` for a space, bytes as characters) hand a
//! changed copy of their stretch on.

use std::ops::Range;

use crate::byte_level::char_of_byte;
use crate::char_class::CharSet;
use crate::normalize::Place;
use crate::pattern::{Pattern, with_gaps};
use crate::scripts::for_each_script;
use crate::sentencepiece::Prefix;
use crate::split::Splitter;
use crate::trie::Trie;

/// One cut.
#[derive(Debug, Clone)]
pub(crate) enum PreTokenizer {
    /// At the words of a pattern that is matched by hand.
    Words(Splitter),
    /// At whatever matches.
    Split { at: Delimiter, behavior: Behavior, inverted: bool },
    /// No cut, but a space in front of a stretch that does not begin with one.
    PrefixSpace,
    /// No cut, but `mark` for each space, and one in front.
    Metaspace { mark: char, prefix: Prefix },
    /// No cut, but each byte as its character in byte-level vocabularies.
    ByteAlphabet,
    /// Where the script changes.
    Scripts,
    /// After so many characters.
    FixedLength(usize),
}

/// What a cut is made at.
#[derive(Debug, Clone)]
pub(crate) enum Delimiter {
    Pattern(Pattern),
    /// Single characters of a kind.
    Chars(fn(char) -> bool),
    /// A single character.
    Char(char),
    /// The longest of these at each place.
    Tokens(Trie),
}

/// What becomes of a delimiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    /// Neighbouring delimiters become one word.
    Contiguous,
}

/// Calls `word` for each word that `cuts` make of `text`, in turn. None is empty.
pub(crate) fn for_each_word(cuts: &[PreTokenizer], text: &str, place: Place, word: &mut dyn FnMut(&str)) {
    if text.is_empty() {
        return;
    }
    let Some((cut, rest)) = cuts.split_first() else { return word(text) };
    let mut next = |range: Range<usize>| {
        let place = Place { at_start: place.at_start && range.start == 0, ..place };
        for_each_word(rest, &text[range], place, word);
    };
    match cut {
        PreTokenizer::Words(splitter) => {
            let mut at = 0;
            splitter.for_each_word(text, |word| {
                next(at..at + word.len());
                at += word.len();
            });
        }
        PreTokenizer::Split { at, behavior, inverted } => split(text, at, *behavior, *inverted, &mut next),
        PreTokenizer::FixedLength(n) => {
            let mut start = 0;
            while start < text.len() {
                let length = text[start..].char_indices().nth(*n).map_or(text.len() - start, |(at, _)| at);
                next(start..start + length);
                start += length;
            }
        }
        PreTokenizer::Scripts => for_each_script(text, &mut next),
        PreTokenizer::PrefixSpace if text.starts_with(' ') || place.prefix == Prefix::Never => {
            next(0..text.len())
        }
        PreTokenizer::PrefixSpace => for_each_word(rest, &[" ", text].concat(), place, word),
        PreTokenizer::Metaspace { mark, prefix } => {
            let prefixes = match prefix {
                Prefix::Never => false,
                Prefix::TextStart => place.at_start,
                Prefix::EveryFragment => true,
            };
            let mut marked = String::with_capacity(text.len() + mark.len_utf8());
            if prefixes && place.prefix != Prefix::Never && !text.starts_with([' ', *mark]) {
                marked.push(*mark);
            }
            marked.extend(text.chars().map(|c| if c == ' ' { *mark } else { c }));
            for_each_word(rest, &marked, place, word);
        }
        PreTokenizer::ByteAlphabet => {
            let changed: String = text.bytes().map(char_of_byte).collect();
            for_each_word(rest, &changed, place, word);
        }
    }
}

/// The cut of [`PreTokenizer::Split`].
fn split(text: &str, at: &Delimiter, behavior: Behavior, inverted: bool, next: &mut dyn FnMut(Range<usize>)) {
    /// A word that may still grow, and whether a delimiter came last.
    #[derive(Default)]
    struct Open {
        word: Option<Range<usize>>,
        after_delimiter: bool,
    }
    let mut open = Open::default();
    at.for_each_piece(text, &mut |range: Range<usize>, is_match: bool| {
        let is_delimiter = is_match != inverted;
        let joins = match behavior {
            Behavior::Removed if is_delimiter => return,
            Behavior::Removed | Behavior::Isolated => return next(range),
            Behavior::Contiguous => is_delimiter == open.after_delimiter,
            Behavior::MergedWithPrevious => is_delimiter && !open.after_delimiter,
            Behavior::MergedWithNext => !is_delimiter && open.after_delimiter,
        };
        match &mut open.word {
            Some(word) if joins => word.end = range.end,
            Some(_) | None => open.word.replace(range).into_iter().for_each(&mut *next),
        }
        open.after_delimiter = is_delimiter;
    });
    open.word.into_iter().for_each(next);
}

impl Delimiter {
    fn for_each_piece(&self, text: &str, piece: &mut dyn FnMut(Range<usize>, bool)) {
        with_gaps(text, piece, |found| match self {
            Delimiter::Pattern(pattern) => pattern.for_each_match(text, found),
            Delimiter::Char(delimiter) => {
                text.match_indices(*delimiter).for_each(|(at, c)| found(at..at + c.len()));
            }
            Delimiter::Chars(is_delimiter) => {
                text.match_indices(is_delimiter).for_each(|(at, c)| found(at..at + c.len()));
            }
            Delimiter::Tokens(tokens) => {
                let mut at = 0;
                while at < text.len() {
                    match tokens.longest_prefix(&text[at..]) {
                        Some((length, _)) => {
                            found(at..at + length);
                            at += length;
                        }
                        None => at += text[at..].chars().next().map_or(1, char::len_utf8),
                    }
                }
            }
        })
    }
}

/// ASCII punctuation and symbols, and Unicode's punctuation.
pub(crate) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || CharSet::punctuation().contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Place = Place { at_start: true, prefix: Prefix::EveryFragment };

    fn words(cuts: &[PreTokenizer], text: &str) -> Vec<String> {
        let mut words = Vec::new();
        for_each_word(cuts, text, START, &mut |word| words.push(word.to_owned()));
        words
    }

    fn at(c: char, behavior: Behavior, inverted: bool) -> PreTokenizer {
        PreTokenizer::Split { at: Delimiter::Char(c), behavior, inverted }
    }

    /// What `tokenizers` 0.23 says of a delimiter in every place.
    #[test]
    fn behaviors() {
        for (behavior, expected) in [
            (Behavior::Removed, vec!["a", "b", "c"]),
            (Behavior::Isolated, vec!["-", "a", "-", "-", "b", "-", "c"]),
            (Behavior::MergedWithPrevious, vec!["-", "a-", "-", "b-", "c"]),
            (Behavior::MergedWithNext, vec!["-a", "-", "-b", "-c"]),
            (Behavior::Contiguous, vec!["-", "a", "--", "b", "-", "c"]),
        ] {
            assert_eq!(words(&[at('-', behavior, false)], "-a--b-c"), expected, "{behavior:?}");
        }
        assert_eq!(words(&[at('-', Behavior::Removed, true)], "-a--b-c"), ["-", "-", "-", "-"]);
        assert_eq!(words(&[at('-', Behavior::MergedWithPrevious, true)], "a-b"), ["a", "-b"]);
    }

    #[test]
    fn cuts_are_made_one_after_another() {
        let metaspace = PreTokenizer::Metaspace { mark: '_', prefix: Prefix::TextStart };
        let cuts = [at('|', Behavior::Removed, false), metaspace, at('_', Behavior::MergedWithNext, false)];
        assert_eq!(words(&cuts, "a b|c d"), ["_a", "_b", "c", "_d"]);
        assert_eq!(words(&cuts, "|a"), ["a"]);
        let prefixed = [PreTokenizer::PrefixSpace, PreTokenizer::ByteAlphabet];
        assert_eq!(words(&prefixed, "é"), ["ĠÃ©"]);
        assert_eq!(words(&prefixed, " a"), ["Ġa"]);
        assert_eq!(words(&[PreTokenizer::FixedLength(2)], "aébcd"), ["aé", "bc", "d"]);
        assert_eq!(words(&prefixed, ""), [""; 0]);
    }

    #[test]
    fn the_longest_token_is_isolated() {
        let tokens = Delimiter::Tokens(Trie::new([("ab", 0), ("abc", 1)]).unwrap());
        let cut = PreTokenizer::Split { at: tokens, behavior: Behavior::Isolated, inverted: false };
        assert_eq!(words(&[cut], "xabcabéab"), ["x", "abc", "ab", "é", "ab"]);
    }
}
