//! What an EAGLE-3 head ([`Eagle`](puna_model::Eagle)) knows of a sequence, and what it has yet to read.
//!
//! Positions that were not computed in this sequence's own steps (they came from another sequence, or from disk) have
//! no hidden states, so the head begins at the first one after them. Rotations depend on distances alone: it counts
//! positions from there.

use std::ops::Range;

use puna_model::{Eagle, KvCache, Point};
use puna_tensor::Var;

/// What a head knows of a sequence. Its row for a position reads the hidden states there and the token after it.
pub(crate) struct Follower {
    points: [Point; 3],
    /// Elements of a row of features.
    width: usize,
    /// The position of the first row.
    first: usize,
    /// Keys and values of the rows that the head has read.
    pub cache: KvCache,
    /// Features of the rows after these, `[rows, width]`.
    pub unread: Vec<f32>,
}

impl Follower {
    /// One that knows nothing; `cache` is empty and the head's.
    pub fn new(eagle: &Eagle, cache: KvCache) -> Follower {
        Follower { points: eagle.points(), width: eagle.n_features(), first: 0, cache, unread: Vec::new() }
    }

    /// Where a pass shows it features.
    pub fn points(&self) -> [Point; 3] {
        self.points
    }

    /// Rows that the head has not read.
    pub fn n_unread(&self) -> usize {
        self.unread.len() / self.width
    }

    /// The position of the first of these.
    pub fn next(&self) -> usize {
        self.first + self.cache.len()
    }

    /// Adds the features of positions from `start` on: `rows` of what a pass showed at the three points.
    pub fn learn(&mut self, start: usize, features: &[Var; 3], rows: Range<usize>) {
        if start != self.next() + self.n_unread() {
            self.forget();
            self.first = start;
        }
        for row in rows {
            for x in features {
                self.unread.extend_from_slice(&x.values()[row * x.cols()..(row + 1) * x.cols()]);
            }
        }
    }

    /// Forgets all; what is learned next begins it anew.
    pub fn forget(&mut self) {
        self.first = 0;
        self.cache.truncate(0);
        self.unread = Vec::new();
    }
}
