//! Guessing the next tokens from what was said before: answers that edit, quote or summarise repeat their prompt.
//!
//! The last few tokens are looked up among all earlier ones; what followed them there is proposed. The longest match
//! counts, and among matches of one length the latest. An index from pairs of tokens to their latest place makes this
//! cheap: a token costs one insertion and one look. How many tokens are proposed follows success; where nothing is
//! accepted for a while, proposals pause, and are tried again now and then.

use std::collections::HashMap;

/// The shortest match.
const SHORTEST: usize = 3;
/// The most tokens proposed at a time.
const MAX_DRAFT: usize = 12;
/// How many earlier places are compared for the longest match.
const MAX_PLACES: usize = 8;

/// Proposes tokens for one sequence.
pub(crate) struct Ngrams {
    /// The place after the latest occurrence of these tokens.
    latest: HashMap<[u32; SHORTEST], usize>,
    /// The place of the occurrence before, for the token that ends at each place; 0 for none.
    earlier: Vec<usize>,
    n_indexed: usize,
    /// Tokens proposed at a time, as a share of what success allows.
    n_draft: f32,
    /// Steps to wait before the next proposal.
    pause: u32,
    n_failures: u32,
    /// What was proposed.
    draft: Vec<u32>,
}

impl Default for Ngrams {
    fn default() -> Ngrams {
        Ngrams {
            latest: HashMap::new(),
            earlier: Vec::new(),
            n_indexed: 0,
            n_draft: 4.0,
            pause: 0,
            n_failures: 0,
            draft: Vec::new(),
        }
    }
}

impl Ngrams {
    /// Tokens that may follow `tokens`; none where nothing suggests any.
    pub fn propose(&mut self, tokens: &[u32]) -> &[u32] {
        self.index(tokens);
        self.draft.clear();
        if self.pause > 0 {
            self.pause -= 1;
            return &[];
        }
        let Some(last) = tokens.last_chunk::<SHORTEST>() else { return &[] };
        let Some(&latest) = self.latest.get(last) else { return &[] };
        let (mut place, mut best) = (latest, (0, 0));
        for _ in 0..MAX_PLACES {
            if place == 0 {
                break;
            }
            let n = matching(&tokens[..place], tokens);
            best = best.max((n, place));
            place = self.earlier.get(place).copied().unwrap_or(0);
        }
        let (_, place) = best;
        for i in 0..self.n_draft as usize {
            // Where the match reaches the end, what repeats goes on.
            let next = tokens.get(place + i).copied().unwrap_or_else(|| self.draft[place + i - tokens.len()]);
            self.draft.push(next);
        }
        &self.draft
    }

    /// So many of the proposed tokens were chosen.
    pub fn accepted(&mut self, n: usize) {
        if self.draft.is_empty() {
            return;
        }
        if n == 0 {
            self.n_failures += 1;
            self.n_draft = (self.n_draft * 0.5).max(2.0);
            // Twice as long each time.
            self.pause = (1 << self.n_failures.min(6)) / 2;
        } else {
            self.n_failures = 0;
            let aim = if n == self.draft.len() { self.n_draft * 1.5 } else { n as f32 + 1.0 };
            self.n_draft = aim.clamp(2.0, MAX_DRAFT as f32);
        }
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
        assert_eq!(ngrams.propose(&tokens), [5, 6, 7, 9]);
        assert_eq!(Ngrams::default().propose(&[1, 2, 3, 4]), [0u32; 0]);
        // The longest match counts, though another is later.
        let tokens = [8, 1, 2, 3, 50, 60, 70, 0, 1, 2, 3, 80, 8, 1, 2, 3];
        assert_eq!(Ngrams::default().propose(&tokens)[0], 50);
    }

    #[test]
    fn a_token_at_a_time_finds_what_all_at_once_finds() {
        let tokens: Vec<u32> = (0..200u32).map(|i| (i * i + i / 7) % 5).collect();
        let mut step = Ngrams::default();
        for n in 1..tokens.len() {
            let whole = Ngrams::default().propose(&tokens[..n]).to_vec();
            assert_eq!(step.propose(&tokens[..n]), whole, "{n}");
        }
    }

    #[test]
    fn failures_make_it_pause() {
        let mut ngrams = Ngrams::default();
        let tokens = vec![7; 50];
        let mut n_tries = 0;
        for n in 10..50 {
            if !ngrams.propose(&tokens[..n]).is_empty() {
                n_tries += 1;
                ngrams.accepted(0);
            }
        }
        assert!((3..12).contains(&n_tries), "{n_tries}");
        ngrams.pause = 0;
        for _ in 0..9 {
            let n = ngrams.propose(&tokens).len();
            ngrams.accepted(n);
        }
        assert_eq!(ngrams.propose(&tokens), [7; MAX_DRAFT]);
    }
}
