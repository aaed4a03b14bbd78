//! Regular expressions and literal strings that tokenizer files cut or change text with.
//!
//! The files mean Oniguruma's expressions: leftmost, the first alternative that matches, `^` and `$` at every line.
//! What the `regex` crate can express goes there, which takes time linear in the text for each match; it has no
//! look-ahead, but the usual `\s+(?!\S)|\s+` at the end of a pattern is matched as `\s+` and shortened afterwards.
//! Other look-around goes to a backtracking engine whose steps are counted: an expression made to explode leaves the
//! rest of the text in one piece, late but not for ever.

use std::ops::Range;

use crate::error::TokenizerError;

/// The most bytes of an expression; the longest one of a published tokenizer has about a thousand.
const MAX_EXPRESSION_BYTES: usize = 1 << 16;
/// Bounds the memory of a compiled expression.
const SIZE_LIMIT: usize = 4 << 20;
/// Steps back for one match by the backtracking engine, at first, and where that was not enough.
const FEW_STEPS: usize = 1_000;
const MANY_STEPS: usize = 50_000;
/// How often a text may ask for many steps.
const MAX_LONG_SEARCHES: usize = 16;
/// The most rounds of counted repetitions within each other, for the backtracking engine, which does not count them.
const MAX_ROUNDS: usize = 1 << 12;

/// The most bytes that parts of a file may make of a text: one after another they could double it for ever.
pub(crate) fn max_grown(text_bytes: usize) -> usize {
    const TIMES: usize = 32;
    const MORE: usize = 1 << 12;
    text_bytes.saturating_mul(TIMES).saturating_add(MORE)
}

/// Calls `piece` for each range that `find` finds in `text`, from left to right, and for each stretch between them;
/// the flag says which it is.
pub(crate) fn with_gaps(
    text: &str,
    mut piece: impl FnMut(Range<usize>, bool),
    find: impl FnOnce(&mut dyn FnMut(Range<usize>)),
) {
    let mut done = 0;
    find(&mut |range| {
        if done < range.start {
            piece(done..range.start, false);
        }
        done = range.end;
        piece(range, true);
    });
    if done < text.len() {
        piece(done..text.len(), false);
    }
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Box<Engine>);

#[derive(Debug, Clone)]
enum Engine {
    Literal(String),
    Linear {
        regex: regex::Regex,
        /// Whether the expression ended in `\s+(?!\S)|\s+`, now the capture group 1.
        leaves_last_space: bool,
    },
    Backtracking(Box<Backtracking>),
}

/// An expression twice: with few steps and, where they are not enough, with many.
#[derive(Debug, Clone)]
struct Backtracking {
    few_steps: fancy_regex::Regex,
    many_steps: fancy_regex::Regex,
}

impl Pattern {
    /// A string that stands for itself. An empty one matches nowhere.
    pub fn literal(text: &str) -> Pattern {
        Pattern(Box::new(Engine::Literal(text.to_owned())))
    }

    /// An expression out of a file of kind `form`.
    pub fn expression(form: &'static str, expression: &str) -> Result<Pattern, TokenizerError> {
        Pattern::compile(form, expression, &with_oniguruma_words(expression))
    }

    /// An expression of the `regex` crate itself.
    pub fn of_regex_crate(form: &'static str, expression: &str) -> Result<Pattern, TokenizerError> {
        Pattern::compile(form, expression, expression)
    }

    /// Compiles `meant`, what an expression is in our engines' words.
    fn compile(form: &'static str, expression: &str, meant: &str) -> Result<Pattern, TokenizerError> {
        const LAST_SPACE: &str = r"\s+(?!\S)|\s+";
        let unsupported = |why: String| {
            let hint = "expressions are Oniguruma's, without named classes such as `[[:alpha:]]`";
            let value = format!("`{}` ({why})", expression.chars().take(60).collect::<String>());
            TokenizerError::unsupported(form, "the split pattern", value, hint)
        };
        if expression.len() > MAX_EXPRESSION_BYTES {
            return Err(unsupported(format!("{} bytes", expression.len())));
        }
        // These hold ASCII for our engines and all of Unicode for Oniguruma.
        if expression.contains("[[:") || expression.contains(":]]") {
            return Err(unsupported("a named class".to_owned()));
        }
        let linear = |expression: &str| {
            regex::RegexBuilder::new(expression).multi_line(true).size_limit(SIZE_LIMIT).build()
        };
        let is_possessive = has_possessive_quantifier(meant);
        if !is_possessive
            && let Some(head) = meant.strip_suffix(LAST_SPACE).filter(|head| head.ends_with('|') || head.is_empty())
            && let Ok(regex) = linear(&format!(r"{head}(\s+)"))
            // Our group must be the only one, or its number would be another.
            && regex.captures_len() == 2
        {
            return Ok(Pattern(Box::new(Engine::Linear { regex, leaves_last_space: true })));
        }
        if !is_possessive && let Ok(regex) = linear(meant) {
            return Ok(Pattern(Box::new(Engine::Linear { regex, leaves_last_space: false })));
        }
        if rounds(meant) > MAX_ROUNDS {
            return Err(unsupported("too many repetitions".to_owned()));
        }
        let backtracking = |steps: usize| {
            let mut builder = fancy_regex::RegexBuilder::new(meant);
            builder
                .multi_line(true)
                .oniguruma_mode(true)
                .delegate_size_limit(SIZE_LIMIT)
                .backtrack_limit(steps);
            builder.build().map_err(|error| {
                unsupported(error.to_string().lines().last().unwrap_or_default().trim().to_owned())
            })
        };
        let (few_steps, many_steps) = (backtracking(FEW_STEPS)?, backtracking(MANY_STEPS)?);
        Ok(Pattern(Box::new(Engine::Backtracking(Box::new(Backtracking { few_steps, many_steps })))))
    }

    /// Calls `piece` for each match and each stretch between matches, from left to right; the flag says which it is.
    /// Together the pieces are the whole text. An empty match makes an empty piece.
    pub fn for_each_piece(&self, text: &str, piece: impl FnMut(Range<usize>, bool)) {
        with_gaps(text, piece, |found| self.for_each_match(text, found));
    }

    /// Calls `found` for each match, from left to right.
    pub fn for_each_match(&self, text: &str, found: &mut dyn FnMut(Range<usize>)) {
        match &*self.0 {
            Engine::Literal(literal) if literal.is_empty() => {}
            Engine::Literal(literal) => {
                text.match_indices(literal.as_str()).for_each(|(at, _)| found(at..at + literal.len()));
            }
            Engine::Linear { regex, leaves_last_space: false } => {
                regex.find_iter(text).for_each(|matched| found(matched.range()));
            }
            Engine::Linear { regex, leaves_last_space: true } => matches_leaving_space(regex, text, found),
            Engine::Backtracking(engine) => matches_by_backtracking(engine, text, found),
        }
    }

    /// `text` with every match replaced by `content`; as it is, if it would grow beyond `max_bytes`.
    pub fn replace_all(&self, text: &str, content: &str, max_bytes: usize) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut fits = true;
        self.for_each_piece(text, |range, is_match| {
            let piece = if is_match { content } else { &text[range] };
            fits &= replaced.len() + piece.len() <= max_bytes;
            if fits {
                replaced.push_str(piece);
            }
        });
        if fits { replaced } else { text.to_owned() }
    }
}

/// Whether an expression has a quantifier that gives nothing back (`a++`). The `regex` crate reads it as two.
fn has_possessive_quantifier(expression: &str) -> bool {
    let (mut chars, mut in_class, mut last) = (expression.chars(), 0usize, ' ');
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
                last = ' ';
                continue;
            }
            '[' => in_class += 1,
            ']' => in_class = in_class.saturating_sub(1),
            '+' if in_class == 0 && matches!(last, '?' | '*' | '+') => return true,
            _ => {}
        }
        last = if in_class > 0 { ' ' } else { c };
    }
    false
}

/// The expression with Oniguruma's word characters for `\w` and `\W`: Latin-1's numbers belong to them, joiners do not.
fn with_oniguruma_words(expression: &str) -> String {
    const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}²³¹¼-¾";
    let mut meant = String::with_capacity(expression.len());
    let (mut chars, mut in_class) = (expression.chars(), 0usize);
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('w')) if in_class > 0 => meant.push_str(WORD),
            ('\\', Some('w')) => meant.extend(["[", WORD, "]"]),
            ('\\', Some('W')) => meant.extend(["[^", WORD, "]"]),
            ('\\', Some(escaped)) => meant.extend([c, escaped]),
            _ => {
                in_class =
                    if c == '[' { in_class + 1 } else { in_class.saturating_sub(usize::from(c == ']')) };
                meant.push(c);
                continue;
            }
        }
        chars.next();
    }
    meant
}

/// An upper bound of how many parts of an expression are gone through if each counted repetition, such as `{3}`, goes on
/// to its end.
fn rounds(expression: &str) -> usize {
    let mut groups = vec![0usize];
    let mut last = 0usize;
    let mut chars = expression.chars();
    while let Some(c) = chars.next() {
        let sum = groups.last_mut().map_or(0, |sum| *sum);
        match c {
            '(' => {
                groups.push(0);
                last = 0;
                continue;
            }
            ')' if groups.len() > 1 => {
                groups.pop();
                last = sum.max(1);
            }
            '{' => {
                let inside: String = chars.clone().take_while(|c| *c != '}').collect();
                let most = inside.split(',').filter_map(|n| n.trim().parse::<usize>().ok()).max();
                // The part itself is in the sum already.
                let more = last.saturating_mul(most.unwrap_or(1).saturating_sub(1));
                last = more;
            }
            '\\' => {
                chars.next();
                last = 1;
            }
            _ => last = 1,
        }
        if let Some(sum) = groups.last_mut() {
            *sum = sum.saturating_add(last);
        }
    }
    groups.into_iter().fold(0, usize::saturating_add)
}

/// Calls `found` for each match. An empty match may not touch the one before it, as in every engine.
fn successive_matches(
    text: &str,
    mut next: impl FnMut(usize) -> Option<Range<usize>>,
    mut found: impl FnMut(Range<usize>),
) {
    let (mut at, mut last_end) = (0, None);
    while at <= text.len() {
        let Some(range) = next(at) else { return };
        if range.is_empty() && last_end == Some(range.end) {
            at = range.end + text[range.end..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        (at, last_end) = (range.end, Some(range.end));
        found(range);
    }
}

fn matches_leaving_space(regex: &regex::Regex, text: &str, found: impl FnMut(Range<usize>)) {
    let mut locations = regex.capture_locations();
    let next = |at: usize| {
        let matched = regex.captures_read_at(&mut locations, text, at)?;
        let (start, mut end) = (matched.start(), matched.end());
        if locations.get(1).is_some() && end < text.len() {
            // The last character of a run stays with what follows, unless it is the only one.
            let last = matched.as_str().char_indices().next_back().map_or(0, |(last, _)| last);
            end = if last > 0 { start + last } else { end };
        }
        Some(start..end)
    };
    successive_matches(text, next, found);
}

fn matches_by_backtracking(engine: &Backtracking, text: &str, found: impl FnMut(Range<usize>)) {
    let Backtracking { few_steps, many_steps } = engine;
    let mut n_long_searches = 0;
    let next = |at: usize| {
        let matched = few_steps.find_from_pos(text, at).or_else(|_| {
            n_long_searches += 1;
            if n_long_searches > MAX_LONG_SEARCHES { Ok(None) } else { many_steps.find_from_pos(text, at) }
        });
        matched.ok().flatten().map(|matched| matched.range())
    };
    successive_matches(text, next, found);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces<'t>(expression: &str, text: &'t str) -> Vec<(&'t str, bool)> {
        let mut pieces = Vec::new();
        let pattern = Pattern::expression("test", expression).unwrap();
        pattern.for_each_piece(text, |range, is_match| pieces.push((&text[range], is_match)));
        assert_eq!(pieces.iter().map(|piece| piece.0).collect::<String>(), text);
        pieces
    }

    #[test]
    fn gaps_and_empty_matches_lose_nothing() {
        assert_eq!(pieces("b+", "abbc"), [("a", false), ("bb", true), ("c", false)]);
        assert_eq!(pieces("b*", "ab"), [("", true), ("a", false), ("b", true)]);
        assert_eq!(pieces("x", ""), []);
    }

    #[test]
    fn lines_have_ends() {
        assert_eq!(pieces("a$", "a\na"), [("a", true), ("\n", false), ("a", true)]);
        assert_eq!(pieces(r"(?=b)|a$", "a\n"), [("a", true), ("\n", false)]);
    }

    /// The three engines agree where an expression can be written for each.
    #[test]
    fn engines_agree() {
        for text in ["a  b   ", " \n x", "", "a\u{3000}\u{3000}b", "  "] {
            let shortened = pieces(r"\S|\s+(?!\S)|\s+", text);
            let backtracking = pieces(r"\S|\s+(?!\S)|\s+(?:)", text);
            assert_eq!(shortened, backtracking, "{text:?}");
        }
        assert_eq!(Pattern::literal("a.").replace_all("xa.ya", "-", 4), "x-ya");
        assert_eq!(Pattern::literal("").replace_all("ab", "-", 9), "ab");
        assert_eq!(Pattern::literal("a").replace_all("aa", "bcd", 5), "aa");
    }

    #[test]
    fn exploding_expressions_end() {
        let text = "a".repeat(20_000) + "c";
        assert_eq!(pieces(r"(?:a|a)*+(?:a*)*(?=b)", &text).len(), 1);
    }

    /// Oniguruma 6.9.8, by way of tokenizers 0.23.3.
    #[test]
    fn expressions_are_onigurumas() {
        assert_eq!(pieces(r"\w+", "a½²_\u{200d}"), [("a½²_", true), ("\u{200d}", false)]);
        assert_eq!(
            pieces(r"[^\w ]+", "a½- \u{200d}"),
            [("a½", false), ("-", true), (" ", false), ("\u{200d}", true)]
        );
        assert_eq!(pieces(r"\W", "½-፶Ⅷ"), [("½", false), ("-", true), ("፶", true), ("Ⅷ", false)]);
        assert_eq!(pieces(r"-?+\p{L}|[?+]", "--a+"), [("-", false), ("-a", true), ("+", true)]);
    }

    #[test]
    fn repetitions_are_bounded() {
        assert_eq!(rounds("ab{3}"), 4 + 2);
        assert!(rounds(r"(?:(?:(?=a)b){100}){100}") > 10_000);
        assert!(Pattern::expression("test", r"((?=a)){1000000000}").is_err());
        assert!(Pattern::expression("test", r"(((?=a)b?){99}){99}").is_err());
        assert!(Pattern::expression("test", r"\s{512}(?!\S)|\s{256}(?!\S)|\s{1,2}(?!\S)").is_ok());
    }

    #[test]
    fn what_cannot_be_compiled_is_named() {
        for expression in ["(", "[[:alpha:]]", r"(?<!a+)b(?P<x"] {
            let error = Pattern::expression("tokenizer.json", expression).unwrap_err().to_string();
            assert!(error.contains(expression), "{error}");
        }
        assert!(Pattern::expression("test", &"a".repeat(1 << 17)).is_err());
    }
}
