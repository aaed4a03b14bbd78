//! Pre-tokenisation: cutting text into the words within which byte-level BPE merges.
//!
//! The Llama 3 and Llama 4 patterns are matched by hand, one function each that finds the end of the
//! word beginning at a position; the comment at each step names the alternative of the pattern it
//! stands for, in the pattern's order, because the first alternative that matches wins. Both are linear.
//! Any other pattern goes to the `regex` crate, which has no look-ahead: the usual
//! `\s+(?!\S)|\s+` at the end of a pattern is matched as `\s+` and shortened afterwards.

use crate::char_class::{CharClasses, LETTER, LOWERISH, NEWLINE, NUMBER, SPACE, UPPERISH};
use crate::error::TokenizerError;

/// The pattern of Llama 3, as its files spell it.
pub(crate) const LLAMA3_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The pattern of Llama 4 (and of GPT-4o), as its files spell it.
pub(crate) const LLAMA4_PATTERN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The pattern of GPT-2, which a `ByteLevel` pre-tokeniser with `use_regex` means.
pub(crate) const GPT2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// How text is cut into words.
#[derive(Debug, Clone)]
pub(crate) enum Splitter {
    Llama3,
    Llama4,
    Pattern(Box<PatternSplitter>),
    /// No pre-tokenisation.
    Whole,
}

impl Splitter {
    /// The splitter for a pattern out of a file of kind `form`.
    pub fn from_pattern(form: &'static str, pattern: &str) -> Result<Splitter, TokenizerError> {
        Ok(match pattern {
            LLAMA3_PATTERN => Splitter::Llama3,
            LLAMA4_PATTERN => Splitter::Llama4,
            _ => Splitter::Pattern(Box::new(PatternSplitter::new(form, pattern)?)),
        })
    }

    /// Calls `word` for each word of `text` in turn; together they are the whole text.
    pub fn for_each_word<'t>(&self, text: &'t str, mut word: impl FnMut(&'t str)) {
        let classes = CharClasses::get();
        let mut hand = |end_of_word: fn(&CharClasses, &str, usize) -> usize| {
            let mut at = 0;
            while at < text.len() {
                let end = end_of_word(classes, text, at);
                word(&text[at..end]);
                at = end;
            }
        };
        match self {
            Splitter::Llama3 => hand(llama3_word_end),
            Splitter::Llama4 => hand(llama4_word_end),
            Splitter::Pattern(pattern) => pattern.for_each_word(text, word),
            Splitter::Whole if text.is_empty() => {}
            Splitter::Whole => word(text),
        }
    }
}

#[inline]
fn llama3_word_end(classes: &CharClasses, text: &str, at: usize) -> usize {
    let (class, n) = classes.at(text, at);
    // (?i:'s|'t|'re|'ve|'m|'ll|'d)
    if text.as_bytes()[at] == b'\''
        && let Some(end) = contraction_end(text, at)
    {
        return end;
    }
    // [^\r\n\p{L}\p{N}]?\p{L}+
    if class & LETTER != 0 {
        return classes.run(text, at + n, LETTER);
    }
    if class & (NEWLINE | NUMBER) == 0 {
        let (next, next_n) = classes.at(text, at + n);
        if next & LETTER != 0 {
            return classes.run(text, at + n + next_n, LETTER);
        }
    }
    rest_of_word_end(classes, text, at, |byte| matches!(byte, b'\r' | b'\n'))
}

#[inline]
fn llama4_word_end(classes: &CharClasses, text: &str, at: usize) -> usize {
    let (class, n) = classes.at(text, at);
    // The optional character in front is greedy: the pattern is first tried after it, then without.
    let with_prefix = (class & (NEWLINE | LETTER | NUMBER) == 0).then_some(at + n);
    let starts = [with_prefix, Some(at)];
    // […]?[upperish]*[lowerish]+(?i:'s|…)?
    let word = starts.iter().flatten().find_map(|&start| capitalised_end(classes, text, start));
    // […]?[upperish]+[lowerish]*(?i:'s|…)?  Here no lowerish character follows, else the above matched.
    let word = word.or_else(|| {
        starts.iter().flatten().find_map(|&start| {
            let end = classes.run(text, start, UPPERISH);
            (end > start).then_some(end)
        })
    });
    match word {
        Some(end) => contraction_end(text, end).unwrap_or(end),
        None => rest_of_word_end(classes, text, at, |byte| matches!(byte, b'\r' | b'\n' | b'/')),
    }
}

/// The end of `[upperish]*[lowerish]+` at `at`. Letters without case are both, so the first part, greedy,
/// may have to give back what it took, down to the last character the second part can begin with.
fn capitalised_end(classes: &CharClasses, text: &str, mut at: usize) -> Option<usize> {
    let mut last_lowerish_end = None;
    loop {
        let (class, n) = classes.at(text, at);
        match (class & UPPERISH != 0, class & LOWERISH != 0) {
            (true, lowerish) => {
                at += n;
                if lowerish {
                    last_lowerish_end = Some(at);
                }
            }
            (false, true) => return Some(classes.run(text, at + n, LOWERISH)),
            (false, false) => return last_lowerish_end,
        }
    }
}

/// The end of `(?i:'s|'t|'re|'ve|'m|'ll|'d)` at `at`. Case folding is Unicode's: `ſ` is an `s`.
fn contraction_end(text: &str, at: usize) -> Option<usize> {
    let (quote, rest) = text.as_bytes()[at..].split_first()?;
    if *quote != b'\'' {
        return None;
    }
    let length = match rest {
        [b's' | b'S' | b't' | b'T' | b'm' | b'M' | b'd' | b'D', ..] => 2,
        [b'r' | b'R' | b'v' | b'V', b'e' | b'E', ..] | [b'l' | b'L', b'l' | b'L', ..] => 3,
        [0xC5, 0xBF, ..] => 3, // ſ, U+017F
        _ => return None,
    };
    Some(at + length)
}

/// The alternatives both patterns end with: numbers, punctuation, white space. `trails` says which bytes
/// punctuation draws in after itself.
fn rest_of_word_end(classes: &CharClasses, text: &str, at: usize, trails: fn(u8) -> bool) -> usize {
    const WORDLIKE: u8 = LETTER | NUMBER | SPACE;
    let (class, n) = classes.at(text, at);
    // \p{N}{1,3}
    if class & NUMBER != 0 {
        return (0..2).fold(at + n, |end, _| {
            let (class, n) = classes.at(text, end);
            if class & NUMBER != 0 { end + n } else { end }
        });
    }
    // ` ?[^\s\p{L}\p{N}]+[\r\n]*`
    let first = if text.as_bytes()[at] == b' ' { at + 1 } else { at };
    let mut end = first;
    loop {
        let (class, n) = classes.at(text, end);
        if n == 0 || class & WORDLIKE != 0 {
            break;
        }
        end += n;
    }
    if end > first {
        let trailing = text.as_bytes()[end..].iter().take_while(|byte| trails(**byte)).count();
        return end + trailing;
    }
    white_space_end(classes, text, at)
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+` at white space.
fn white_space_end(classes: &CharClasses, text: &str, at: usize) -> usize {
    let (mut end, mut last, mut newline_end) = (at, at, None);
    loop {
        let (class, n) = classes.at(text, end);
        if class & SPACE == 0 {
            break;
        }
        last = end;
        end += n;
        if class & NEWLINE != 0 {
            newline_end = Some(end);
        }
    }
    // A run with newlines goes up to the last of them.
    if let Some(end) = newline_end {
        return end;
    }
    // The last character of a run stays with what follows, unless it is the only one.
    if end < text.len() && last > at { last } else { end }
}

/// Cuts with a regular expression.
#[derive(Debug, Clone)]
pub(crate) struct PatternSplitter {
    regex: regex::Regex,
    /// Whether the pattern ended in `\s+(?!\S)|\s+`, now the capture group 1.
    leaves_last_space: bool,
}

impl PatternSplitter {
    fn new(form: &'static str, pattern: &str) -> Result<PatternSplitter, TokenizerError> {
        const IDIOM: &str = r"\s+(?!\S)|\s+";
        /// Bounds the memory of the compiled pattern.
        const SIZE_LIMIT: usize = 8 << 20;
        let head = pattern.strip_suffix(IDIOM);
        let compiled = match head {
            Some(head) => format!(r"{head}(\s+)"),
            None => pattern.to_owned(),
        };
        let regex = regex::RegexBuilder::new(&compiled).size_limit(SIZE_LIMIT).build();
        let hint = r"supported is what the `regex` crate accepts, and `\s+(?!\S)|\s+` at the end";
        let regex = regex.map_err(|error| {
            let first_line = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
            TokenizerError::unsupported(
                form,
                "the split pattern",
                format!("`{pattern}` ({first_line})"),
                hint,
            )
        })?;
        // Our group must be the only one, or its number would be another.
        if head.is_some() && regex.captures_len() != 2 {
            return Err(TokenizerError::unsupported(form, "the split pattern", format!("`{pattern}`"), hint));
        }
        Ok(PatternSplitter { regex, leaves_last_space: head.is_some() })
    }

    fn for_each_word<'t>(&self, text: &'t str, mut word: impl FnMut(&'t str)) {
        let mut locations = self.regex.capture_locations();
        let mut at = 0;
        while at < text.len() {
            let Some(found) = self.regex.captures_read_at(&mut locations, text, at) else {
                return word(&text[at..]);
            };
            // Text between matches is a word too.
            if found.start() > at {
                word(&text[at..found.start()]);
            }
            let mut end = found.end();
            if self.leaves_last_space && locations.get(1).is_some() && end < text.len() {
                let last = found.as_str().char_indices().next_back().map_or(0, |(last, _)| last);
                end = if last > 0 { found.start() + last } else { end };
            }
            // An empty match would hold us here for ever; the character after it is passed over.
            if end == found.start() {
                end += text[end..].chars().next().map_or(1, char::len_utf8);
                let end = end.min(text.len());
                word(&text[found.start()..end]);
                at = end;
                continue;
            }
            word(&text[found.start()..end]);
            at = end;
        }
    }
}

/// Meta's guard around tiktoken: text goes to the splitter in slices of at most `MAX_SLICE_CHARS`, and a
/// run of more than `MAX_RUN_CHARS` characters of one kind (white space or not) is cut. Tokens change at
/// such a cut, so exactness wants the same cuts. (llama-models, `tokenizer.py`.)
pub(crate) fn for_each_slice<'t>(text: &'t str, mut slice: impl FnMut(&'t str)) {
    const MAX_SLICE_CHARS: usize = 400_000;
    const MAX_RUN_CHARS: usize = 25_000;
    if text.len() <= MAX_RUN_CHARS {
        return slice(text);
    }
    let (mut start, mut n_chars, mut run, mut run_is_space) = (0, 0, 0, false);
    for (at, c) in text.char_indices() {
        // Python's `str.isspace`, which counts the four separators below U+0020 too.
        let is_space = c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}');
        let slice_is_full = n_chars == MAX_SLICE_CHARS;
        if slice_is_full || is_space != run_is_space {
            run = 0;
        }
        if slice_is_full || run == MAX_RUN_CHARS {
            slice(&text[start..at]);
            start = at;
            run = 0;
        }
        // Only the outer slices count towards their limit; a cut run does not start it anew.
        n_chars = if slice_is_full { 1 } else { n_chars + 1 };
        run += 1;
        run_is_space = is_space;
    }
    slice(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'t>(splitter: &Splitter, text: &'t str) -> Vec<&'t str> {
        let mut words = Vec::new();
        splitter.for_each_word(text, |word| words.push(word));
        assert_eq!(words.concat(), text);
        words
    }

    #[test]
    fn llama3_alternatives() {
        let split = |text| words(&Splitter::Llama3, text);
        assert_eq!(split("Hello, world!  How's"), ["Hello", ",", " world", "!", " ", " How", "'s"]);
        assert_eq!(split("12345 a"), ["123", "45", " a"]);
        assert_eq!(split("x \n\n  y \n"), ["x", " \n\n", " ", " y", " \n"]);
        assert_eq!(split("!?\n\nb \u{3000} c"), ["!?\n\n", "b", " \u{3000}", " c"]);
        assert_eq!(split("'ſx 'LL"), ["'ſ", "x", " '", "LL"]);
        assert_eq!(split("e\u{301}a"), ["e", "\u{301}a"]);
    }

    #[test]
    fn llama4_alternatives() {
        let split = |text| words(&Splitter::Llama4, text);
        assert_eq!(split("HelloWorld helloWORLD"), ["Hello", "World", " hello", "WORLD"]);
        assert_eq!(split("I'LL don't //x"), ["I'LL", " don't", " //", "x"]);
        assert_eq!(split("語Ab e\u{301}a"), ["語Ab", " e\u{301}a"]);
        assert_eq!(split("ªBC!\u{301}"), ["ª", "BC", "!\u{301}"]);
    }

    /// The hand-written splitters against the patterns they stand for, run by the regex crate. (The
    /// contractions are case-insensitive, which the crate folds by the same Unicode rules.)
    #[test]
    fn hand_written_equals_pattern() {
        let alphabet: Vec<char> =
            " \n\r\t\u{a0}\u{2028}aZsStTlLrReEvVmMdDſ'!/.09½٣éÉǅʰª語\u{301}\u{903}😀".chars().collect();
        for (hand, pattern) in [(Splitter::Llama3, LLAMA3_PATTERN), (Splitter::Llama4, LLAMA4_PATTERN)] {
            let slow = Splitter::Pattern(Box::new(PatternSplitter::new("test", pattern).unwrap()));
            let mut state = 1u64;
            for round in 0..20_000 {
                let text: String = (0..round % 12 + 1)
                    .map(|_| {
                        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        alphabet[(state >> 33) as usize % alphabet.len()]
                    })
                    .collect();
                assert_eq!(words(&hand, &text), words(&slow, &text), "{text:?}");
            }
        }
    }

    #[test]
    fn unknown_look_ahead_is_an_error_that_names_it() {
        let error = Splitter::from_pattern("tokenizer.json", r"a(?=b)|\s+").unwrap_err().to_string();
        assert!(error.contains(r"a(?=b)|\s+"), "{error}");
    }

    #[test]
    fn patterns_with_gaps_and_empty_matches_lose_nothing() {
        for pattern in ["b*", "x", r"\p{N}+"] {
            let splitter = Splitter::from_pattern("test", pattern).unwrap();
            for text in ["", "a", "aébbx12", "語"] {
                words(&splitter, text);
            }
        }
    }

    #[test]
    fn long_runs_are_cut() {
        let mut lengths = Vec::new();
        let text = "q".repeat(60_001) + &" ".repeat(25_000) + "é";
        for_each_slice(&text, |slice| lengths.push(slice.chars().count()));
        assert_eq!(lengths, [25_000, 25_000, 35_002]);
        lengths.clear();
        for_each_slice(&"ab ".repeat(300_000), |slice| lengths.push(slice.chars().count()));
        assert_eq!(lengths, [400_000, 400_000, 100_000]);
    }
}
