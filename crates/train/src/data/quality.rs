//! Rules of quality for texts of the web, after those of Gopher (Rae et al. 2021, "Scaling Language Models",
//! appendix A1.1): documents that break one are mostly lists, menus, tables and spam.
//!
//! Repetition is looked for in lines and paragraphs; of Gopher's repeated runs of words, the most frequent pair,
//! triple and quadruple. Each rule has a name, by which what it removes is counted.

use std::collections::{HashMap, HashSet};

/// The rule that a text breaks first, if any.
pub(crate) fn broken_rule(text: &str) -> Option<&'static str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let n_words = words.len();
    if n_words < 50 {
        return Some("fewer than 50 words");
    }
    if n_words > 100_000 {
        return Some("more than 100,000 words");
    }
    let share = |n: usize| n as f64 / n_words as f64;
    let n_chars: usize = words.iter().map(|word| word.chars().count()).sum();
    if !(3.0..=10.0).contains(&share(n_chars)) {
        return Some("words of 3 to 10 letters on average");
    }
    let n_hashes = text.matches('#').count();
    let n_ellipses = text.matches("...").count() + text.matches('…').count();
    if share(n_hashes) > 0.1 || share(n_ellipses) > 0.1 {
        return Some("more than a tenth as many # or … as words");
    }
    if share(words.iter().filter(|word| word.contains(char::is_alphabetic)).count()) < 0.8 {
        return Some("fewer than 80 % of words with a letter");
    }
    lines_broken(text).or_else(|| repetition(text, &words))
}

fn lines_broken(text: &str) -> Option<&'static str> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let share = |is_so: &dyn Fn(&str) -> bool| {
        lines.iter().filter(|line| is_so(line)).count() as f64 / lines.len().max(1) as f64
    };
    if share(&|line| line.starts_with(['•', '-', '*', '‣', '●'])) > 0.9 {
        return Some("more than 90 % of lines begin with a bullet");
    }
    if share(&|line| line.ends_with("...") || line.ends_with('…')) > 0.3 {
        return Some("more than 30 % of lines end with an ellipsis");
    }
    let words = ["the", "be", "to", "of", "and", "that", "have", "with"];
    let found: HashSet<&str> = text
        .split(|c: char| !c.is_alphabetic())
        .filter_map(|word| words.into_iter().find(|known| known.eq_ignore_ascii_case(word)))
        .collect();
    // Gopher was trained on English; texts of other scripts have none of these words and are not asked.
    let is_latin = text.chars().filter(char::is_ascii_alphabetic).count() * 2 > text.chars().count();
    (is_latin && found.len() < 2).then_some("fewer than 2 of 8 frequent English words")
}

/// Gopher's table A1: shares of what is there twice.
fn repetition(text: &str, words: &[&str]) -> Option<&'static str> {
    let (by_count, by_chars) = twice(text.lines());
    if by_count > 0.3 || by_chars > 0.2 {
        return Some("repeated lines");
    }
    let (by_count, by_chars) = twice(text.split("\n\n"));
    if by_count > 0.3 || by_chars > 0.2 {
        return Some("repeated paragraphs");
    }
    let n_chars: usize = words.iter().map(|word| word.len()).sum();
    for (n, most) in [(2, 0.20), (3, 0.18), (4, 0.16)] {
        let mut counts: HashMap<&[&str], usize> = HashMap::new();
        for run in words.windows(n) {
            *counts.entry(run).or_default() += 1;
        }
        let chars = |(run, count): (&[&str], usize)| run.iter().map(|word| word.len()).sum::<usize>() * count;
        let most_chars = counts.into_iter().filter(|(_, count)| *count > 1).map(chars).max().unwrap_or(0);
        if most_chars as f64 > most * n_chars as f64 {
            return Some("one run of 2, 3 or 4 words over and over");
        }
    }
    None
}

/// The share of pieces that were there before, by number and by characters.
fn twice<'t>(pieces: impl Iterator<Item = &'t str>) -> (f64, f64) {
    let (mut seen, mut all, mut again) = (HashSet::new(), [0usize; 2], [0usize; 2]);
    for piece in pieces.map(str::trim).filter(|piece| !piece.is_empty()) {
        all = [all[0] + 1, all[1] + piece.len()];
        if !seen.insert(piece) {
            again = [again[0] + 1, again[1] + piece.len()];
        }
    }
    let share = |i: usize| again[i] as f64 / all[i].max(1) as f64;
    (share(0), share(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fifty words and more, none of them remarkable.
    fn plain() -> String {
        let words = "the old man went to sea with a boat and that was all he wanted from life, while his wife kept \
            bees behind their house and sold honey every Sunday; nobody knew how many years they had lived there, \
            but children said it must have been a hundred, because even grandmothers remembered them being old and \
            kind and rather deaf.";
        words.to_owned()
    }

    #[test]
    fn every_rule_removes_what_it_should() {
        let plain = plain();
        assert_eq!(broken_rule(&plain), None);
        let lines = |line: fn(usize) -> String| (0..60).map(line).collect::<Vec<_>>().join("\n");
        for (text, rule) in [
            ("too short".to_owned(), "fewer than 50"),
            ("word ".repeat(100_001), "more than 100,000"),
            ("a b c d ".repeat(30), "on average"),
            (format!("{plain} {}", "# ".repeat(30)), "as many #"),
            (format!("{plain} {}", "1234 ".repeat(40)), "with a letter"),
            (lines(|i| format!("- entry{i} number something special")), "bullet"),
            (lines(|i| format!("and to the entry{i} of that old house with many rooms...")), "ellipsis"),
            (lines(|i| format!("lorem ipsum dolor{i}")), "frequent English"),
            (format!("{plain}\n{}", "the same line again\n".repeat(9)), "repeated lines"),
            (format!("{plain}\n\n{plain}"), "repeated lines"),
            (format!("{plain} {}", "and the honey ".repeat(20)), "over and over"),
        ] {
            let found = broken_rule(&text).unwrap_or("none");
            assert!(found.contains(rule), "{rule}: {found}");
        }
        assert_eq!(twice("a\n\na\nb".lines()), (1.0 / 3.0, 1.0 / 3.0));
    }
}
