//! Sequences side by side: what a step trains on.

use std::ops::Range;

/// Sequences side by side, each attended to by itself with positions from 0: nothing is padded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids of all sequences.
    pub tokens: Vec<u32>,
    /// For each token the one that follows it; `None` where that is not trained. A sequence that is the beginning of
    /// a longer one ends with the token that the next part begins with.
    pub targets: Vec<Option<u32>>,
    /// The sequences, as ranges of `tokens`.
    pub sequences: Vec<Range<usize>>,
}

/// Two answers to the same, or answers that are good or bad: for preference losses.
///
/// The prompt of a pair is in both of its sequences. Only answers have targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairBatch {
    /// All sequences.
    pub batch: Batch,
    /// The pairs: which sequence is chosen, which rejected.
    pub pairs: Vec<Preferred>,
    /// Answers that were judged by themselves (KTO): which sequence, and whether it is good.
    pub judged: Vec<(usize, bool)>,
}

/// The sequences of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preferred {
    /// The sequence that ends with the better answer.
    pub chosen: usize,
    /// The one with the other.
    pub rejected: usize,
    /// How many tokens both begin with.
    pub n_prompt: usize,
}

impl Batch {
    /// Tokens that are predicted.
    pub fn n_targets(&self) -> usize {
        self.targets.iter().flatten().count()
    }

    /// Appends a sequence of these tokens, each trained or not, with what follows its last one.
    pub(crate) fn push(&mut self, tokens: &[u32], trained: &[bool], next: Option<u32>) {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let followers = tokens.iter().zip(trained).skip(1);
        self.targets.extend(followers.map(|(id, is_trained)| is_trained.then_some(*id)));
        self.targets.push(next);
        self.sequences.push(start..self.tokens.len());
    }
}
