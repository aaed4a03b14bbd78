//! Pre-tokenisation: cutting text into the words within which byte-level BPE merges.
//!
//! The patterns that most text goes through are matched by hand, one function each that finds the end of the word
//! beginning at a position; the comment at each step names the alternative of the pattern it stands for, in the
//! pattern's order, because the first alternative that matches wins. All are linear. Other patterns are regular
//! expressions (`pattern.rs`).

use crate::char_class::{CharClasses, LETTER, LOWERISH, NEWLINE, NUMBER, SPACE, UPPERISH};

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

/// The pattern of Qwen 2 and of models made after it.
pub(crate) const QWEN2_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// A pattern that is matched by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Splitter {
    Llama3,
    Llama4,
    Gpt2,
    /// As Llama 3, but each digit is a word.
    Qwen2,
}

impl Splitter {
    /// The splitter for a pattern out of a file, if it is one of these.
    pub fn for_pattern(pattern: &str) -> Option<Splitter> {
        let known = [
            (LLAMA3_PATTERN, Splitter::Llama3),
            (LLAMA4_PATTERN, Splitter::Llama4),
            (GPT2_PATTERN, Splitter::Gpt2),
            (QWEN2_PATTERN, Splitter::Qwen2),
        ];
        known.into_iter().find(|(known, _)| *known == pattern).map(|(_, splitter)| splitter)
    }

    /// Calls `word` for each word of `text` in turn; together they are the whole text.
    #[inline]
    pub fn for_each_word<'t>(self, text: &'t str, mut word: impl FnMut(&'t str)) {
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
            Splitter::Llama3 => hand(llama3_word_end::<3>),
            Splitter::Qwen2 => hand(llama3_word_end::<1>),
            Splitter::Llama4 => hand(llama4_word_end),
            Splitter::Gpt2 => hand(gpt2_word_end),
        }
    }
}

#[inline]
fn llama3_word_end<const MAX_DIGITS: usize>(classes: &CharClasses, text: &str, at: usize) -> usize {
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
    rest_of_word_end::<MAX_DIGITS>(classes, text, at, |byte| matches!(byte, b'\r' | b'\n'))
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
        None => rest_of_word_end::<3>(classes, text, at, |byte| matches!(byte, b'\r' | b'\n' | b'/')),
    }
}

fn gpt2_word_end(classes: &CharClasses, text: &str, at: usize) -> usize {
    // 's|'t|'re|'ve|'m|'ll|'d
    if let [b'\'', rest @ ..] = &text.as_bytes()[at..] {
        match rest {
            [b's' | b't' | b'm' | b'd', ..] => return at + 2,
            [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => return at + 3,
            _ => {}
        }
    }
    let first = if text.as_bytes()[at] == b' ' { at + 1 } else { at };
    let (class, n) = classes.at(text, first);
    //  ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+
    match class & (LETTER | NUMBER | SPACE) {
        0 if n > 0 => {
            let mut end = first + n;
            loop {
                let (class, n) = classes.at(text, end);
                if n == 0 || class & (LETTER | NUMBER | SPACE) != 0 {
                    return end;
                }
                end += n;
            }
        }
        wanted @ (LETTER | NUMBER) => return classes.run(text, first + n, wanted),
        _ => {}
    }
    let end = classes.run(text, at, SPACE);
    let last = text[at..end].char_indices().next_back().map_or(at, |(last, _)| at + last);
    space_run_end(text, at, last, end)
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
fn rest_of_word_end<const MAX_DIGITS: usize>(
    classes: &CharClasses,
    text: &str,
    at: usize,
    trails: fn(u8) -> bool,
) -> usize {
    const WORDLIKE: u8 = LETTER | NUMBER | SPACE;
    let (class, n) = classes.at(text, at);
    // \p{N}{1,3}
    if class & NUMBER != 0 {
        return (1..MAX_DIGITS).fold(at + n, |end, _| {
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
    space_run_end(text, at, last, end)
}

/// `\s+(?!\S)|\s+` at a run of white space from `at` to `end`, whose last character begins at `last`.
fn space_run_end(text: &str, at: usize, last: usize, end: usize) -> usize {
    // The last character of a run stays with what follows, unless it is the only one.
    if end < text.len() && last > at { last } else { end }
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
    use crate::pattern::Pattern;

    fn words(splitter: Splitter, text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        splitter.for_each_word(text, |word| words.push(word));
        assert_eq!(words.concat(), text);
        words
    }

    #[test]
    fn llama3_alternatives() {
        let split = |text| words(Splitter::Llama3, text);
        assert_eq!(split("Hello, world!  How's"), ["Hello", ",", " world", "!", " ", " How", "'s"]);
        assert_eq!(split("12345 a"), ["123", "45", " a"]);
        assert_eq!(split("x \n\n  y \n"), ["x", " \n\n", " ", " y", " \n"]);
        assert_eq!(split("!?\n\nb \u{3000} c"), ["!?\n\n", "b", " \u{3000}", " c"]);
        assert_eq!(split("'ſx 'LL"), ["'ſ", "x", " '", "LL"]);
        assert_eq!(split("e\u{301}a"), ["e", "\u{301}a"]);
    }

    #[test]
    fn llama4_alternatives() {
        let split = |text| words(Splitter::Llama4, text);
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
        for pattern in [LLAMA3_PATTERN, LLAMA4_PATTERN, GPT2_PATTERN, QWEN2_PATTERN] {
            let hand = Splitter::for_pattern(pattern).unwrap();
            let slow = Pattern::expression("test", pattern).unwrap();
            let mut state = 1u64;
            for round in 0..20_000 {
                let text: String = (0..round % 12 + 1)
                    .map(|_| {
                        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        alphabet[(state >> 33) as usize % alphabet.len()]
                    })
                    .collect();
                let mut expected = Vec::new();
                slow.for_each_piece(&text, |range, _| expected.push(&text[range]));
                assert_eq!(words(hand, &text), expected, "{hand:?}: {text:?}");
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
