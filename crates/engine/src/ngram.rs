//! Guessing the next tokens from what was said before: answers that edit, quote or summarise repeat their prompt.
//!
//! The last few tokens are looked up among all earlier ones; what followed them there is proposed. The longest match
//! counts, and among matches of one length the latest. An index from pairs of tokens to their latest place makes this
//! cheap: a token costs one insertion and one look.

use std::collections::HashMap;

/// The shortest match.
const SHORTEST: usize = 3;
/// The most tokens proposed at a time.
const MAX_DRAFT: usize = 12;
/// How many earlier places are compared for the longest match.
const MAX_PLACES: usize = 8;

/// Proposes tokens for one sequence.
#[derive(Default)]
pub(crate) struct Ngrams {
    /// The place after the latest occurrence of these tokens.
    latest: HashMap<[u32; SHORTEST], usize>,
    /// The place of the occurrence before, for the token that ends at each place; 0 for none.
    earlier: Vec<usize>,
    n_indexed: usize,
    /// What was proposed.
    draft: Vec<u32>,
}

/// How many tokens are worth guessing: more where guesses are right; none for a while, and each time for longer, where they
/// are wrong.
pub(crate) struct Pace {
    n: f32,
    /// Steps to wait before the next guess.
    pause: u32,
    n_failures: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { n: 4.0, pause: 0, n_failures: 0 }
    }
}

impl Pace {
    /// How many tokens to guess now.
    pub fn next(&mut self) -> usize {
        match self.pause {
            0 => self.n as usize,
            _ => {
                self.pause -= 1;
                0
            }
        }
    }

    /// Of so many tokens guessed so many were right.
    pub fn learn(&mut self, n_guessed: usize, n_right: usize) {
        if n_guessed == 0 {
            return;
        }
        if n_right == 0 {
            self.n_failures += 1;
            self.n = (self.n * 0.5).max(2.0);
            // Twice as long each time.
            self.pause = (1 << self.n_failures.min(6)) / 2;
        } else {
            self.n_failures = 0;
            let aim = if n_right == n_guessed { self.n * 1.5 } else { n_right as f32 + 1.0 };
            self.n = aim.clamp(2.0, MAX_DRAFT as f32);
        }
    }
}

impl Ngrams {
    /// `n` tokens that may follow `tokens`; none where nothing suggests any.
    pub fn propose(&mut self, tokens: &[u32], n: usize) -> &[u32] {
        self.index(tokens);
        self.draft.clear();
        if n == 0 {
            return &[];
        }
        let Some(last) = tokens.last_chunk::<SHORTEST>() else { return &[] };
        let Some(&latest) = self.latest.get(last) else { return &[] };
        let (mut place, mut best) = (latest, (0, 0));
        for _ in 0..MAX_PLACES {
            if place == 0 {
                break;
            }
            let n_alike = matching(&tokens[..place], tokens);
            best = best.max((n_alike, place));
            place = self.earlier.get(place).copied().unwrap_or(0);
        }
        let (_, place) = best;
        for i in 0..n {
            // Where the match reaches the end, what repeats goes on.
            let next = tokens.get(place + i).copied().unwrap_or_else(|| self.draft[place + i - tokens.len()]);
            self.draft.push(next);
        }
        &self.draft
    }

    /// Adds what was not there the last time, except where it would find itself.
    fn index(&mut self, tokens: &[u32]) {
        self.earlier.resize(tokens.len() + 1, 0);
        for end in self.n_indexed.max(SHORTEST)..tokens.len() {
            if let Some(key) = tokens[..end].last_chunk::<SHORTEST>() {
                self.earlier[end] = self.latest.insert(*key, end).unwrap_or(0);
            }
        }
        self.n_indexed = tokens.len().max(self.n_indexed);
    }
}

/// How many last tokens of two sequences agree, up to a bound.
fn matching(a: &[u32], b: &[u32]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take(32).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_before_is_proposed() {
        let mut ngrams = Ngrams::default();
        let tokens = [1, 2, 3, 4, 5, 6, 7, 9, 2, 3, 4];
        assert_eq!(ngrams.propose(&tokens, 4), [5, 6, 7, 9]);
        assert_eq!(Ngrams::default().propose(&[1, 2, 3, 4], 4), [0u32; 0]);
        // The longest match counts, though another is later.
        let tokens = [8, 1, 2, 3, 50, 60, 70, 0, 1, 2, 3, 80, 8, 1, 2, 3];
        assert_eq!(Ngrams::default().propose(&tokens, 4)[0], 50);
    }

    #[test]
    fn a_token_at_a_time_finds_what_all_at_once_finds() {
        let tokens: Vec<u32> = (0..200u32).map(|i| (i * i + i / 7) % 5).collect();
        let mut step = Ngrams::default();
        for n in 1..tokens.len() {
            let whole = Ngrams::default().propose(&tokens[..n], 6).to_vec();
            assert_eq!(step.propose(&tokens[..n], 6), whole, "{n}");
        }
    }

    #[test]
    fn failures_make_it_pause() {
        let mut pace = Pace::default();
        let mut n_tries = 0;
        for _ in 0..40 {
            let n = pace.next();
            n_tries += usize::from(n > 0);
            pace.learn(n, 0);
        }
        assert!((3..12).contains(&n_tries), "{n_tries}");
        pace.pause = 0;
        for _ in 0..9 {
            let n = pace.next();
            pace.learn(n, n);
        }
        assert_eq!(pace.next(), MAX_DRAFT);
        // What repeats goes on.
        assert_eq!(Ngrams::default().propose(&[7; 20], 12), [7; 12]);
    }
}
