//! Which sequences of an epoch make a batch: a plan for the whole epoch, a function of seed, epoch and batch size.
//!
//! Sequences come in random order. Some batches are open at a time; a sequence goes into the fullest one that has
//! room for it (best fit), and where none has, the fullest is closed. What is open at the end is spread evenly, so
//! that no batch of an epoch has only a few tokens.

use std::ops::Range;

use crate::random::Rng;

/// The batches of an epoch, as ranges of an order of sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    order: Vec<u32>,
    /// Where each batch ends in the order.
    ends: Vec<usize>,
}

impl Plan {
    /// Batches.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The sequences of a batch.
    pub fn batch(&self, i: usize) -> &[u32] {
        let begin = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.order[begin..self.ends[i]]
    }

    fn close(&mut self, sequences: &[u32]) {
        if !sequences.is_empty() {
            self.order.extend_from_slice(sequences);
            self.ends.push(self.order.len());
        }
    }
}

/// Batches that are open at a time.
const N_OPEN: usize = 24;

#[derive(Default)]
struct Bin {
    len: usize,
    sequences: Vec<u32>,
}

impl Bin {
    fn push(&mut self, sequence: u32, len: usize) {
        self.sequences.push(sequence);
        self.len += len;
    }
}

/// Packs sequences, in this order, into batches of at most `n_tokens` tokens. Longer ones have a batch of their own.
pub(crate) fn best_fit(sequences: &[u32], len: impl Fn(u32) -> usize, n_tokens: usize) -> Plan {
    let mut plan = Plan::default();
    let mut open: Vec<Bin> = Vec::new();
    for &sequence in sequences {
        let len = len(sequence);
        let fitting = open.iter_mut().filter(|bin| bin.len + len <= n_tokens);
        // The first of equals: the one that has been open longest.
        let fullest = fitting.reduce(|best, bin| if bin.len > best.len { bin } else { best });
        if let Some(bin) = fullest {
            bin.push(sequence, len);
            continue;
        }
        if open.len() == N_OPEN {
            let fullest = (0..N_OPEN).max_by_key(|i| (open[*i].len, N_OPEN - i)).expect("there are some");
            plan.close(&open.remove(fullest).sequences);
        }
        open.push(Bin::default());
        open.last_mut().expect("just pushed").push(sequence, len);
    }
    for bin in evened(open, &len, n_tokens) {
        plan.close(&bin.sequences);
    }
    plan
}

/// The last sequences in as few batches as they need, with about as many tokens each: the longest first, each to the
/// batch that has the least.
fn evened(open: Vec<Bin>, len: &impl Fn(u32) -> usize, n_tokens: usize) -> Vec<Bin> {
    let n_least = open.iter().map(|bin| bin.len).sum::<usize>().div_ceil(n_tokens.max(1));
    let mut rest: Vec<u32> = open.iter().flat_map(|bin| &bin.sequences).copied().collect();
    rest.sort_by_key(|sequence| (std::cmp::Reverse(len(*sequence)), *sequence));
    for n_bins in n_least..=open.len() {
        let mut bins: Vec<Bin> = (0..n_bins).map(|_| Bin::default()).collect();
        for &sequence in &rest {
            let least = bins.iter_mut().reduce(|best, bin| if bin.len < best.len { bin } else { best });
            if let Some(bin) = least {
                bin.push(sequence, len(sequence));
            }
        }
        if bins.iter().all(|bin| bin.len <= n_tokens) {
            return bins;
        }
    }
    // They need as many as they have.
    open
}

/// Packs sequences as they come.
pub(crate) fn in_order(sequences: &[u32], len: impl Fn(u32) -> usize, n_tokens: usize) -> Plan {
    let mut plan = Plan { order: sequences.to_vec(), ends: Vec::new() };
    let mut n = 0;
    for (i, &sequence) in sequences.iter().enumerate() {
        let len = len(sequence);
        if n > 0 && n + len > n_tokens {
            plan.ends.push(i);
            n = 0;
        }
        n += len;
    }
    if n > 0 {
        plan.ends.push(sequences.len());
    }
    plan
}

/// The sequences that an epoch takes of samples with a weight, each as often as it is due: a weight of 2.3 means
/// twice in each epoch, and once more in three of ten, not the same three for each sample.
pub(crate) fn due(
    epoch: u64,
    seed: u64,
    weight: f64,
    sequences: Range<u32>,
    sample: impl Fn(u32) -> u32,
) -> impl Iterator<Item = u32> {
    let times = move |sequence: u32| {
        // Where a sample's own turns begin.
        let mut own = Rng::new(seed ^ 0xa076_1d64_78bd_642f ^ u64::from(sample(sequence)) << 20);
        let offset = (own.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let until = |epoch: u64| (weight * epoch as f64 + offset).floor();
        (until(epoch + 1) - until(epoch)).max(0.0) as usize
    };
    let is_plain = weight == 1.0;
    sequences
        .flat_map(move |sequence| std::iter::repeat_n(sequence, if is_plain { 1 } else { times(sequence) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(seed: u64, n: u32, most: u64) -> Vec<usize> {
        let mut rng = Rng::new(seed);
        (0..n).map(|_| 1 + (rng.next_u64() % most * (rng.next_u64() % most) / most) as usize).collect()
    }

    #[test]
    fn nothing_is_lost_or_doubled_and_little_room_is_wasted() {
        for seed in 0..40 {
            let (n, most, n_tokens) = (1 + seed as u32 * 37, 1 + seed * 13 % 400, 512);
            let lens = lens(seed, n, most);
            let sequences: Vec<u32> = (0..n).collect();
            let len = |i: u32| lens[i as usize];
            for plan in [best_fit(&sequences, len, n_tokens), in_order(&sequences, len, n_tokens)] {
                let batches: Vec<&[u32]> = (0..plan.len()).map(|i| plan.batch(i)).collect();
                let mut all = batches.concat();
                all.sort();
                assert_eq!(all, sequences);
                let fill = |batch: &[u32]| batch.iter().map(|i| len(*i)).sum::<usize>();
                assert!(batches.iter().all(|batch| !batch.is_empty() && fill(batch) <= n_tokens));
            }
            let plan = best_fit(&sequences, len, n_tokens);
            let total: usize = lens.iter().sum();
            let n_least = total.div_ceil(n_tokens);
            // A few per cent, and one batch.
            assert!(plan.len() <= n_least + n_least / 25 + 1, "{} of {n_least}", plan.len());
            let fewest = (0..plan.len()).map(|i| plan.batch(i).iter().map(|i| len(*i)).sum::<usize>()).min();
            assert!(plan.len() == 1 || fewest.unwrap() > n_tokens / 4, "{fewest:?}");
        }
        assert_eq!(best_fit(&[], |_| 1, 10), Plan::default());
        // One that is too long is alone.
        assert_eq!(best_fit(&[0, 1], |i| if i == 0 { 99 } else { 1 }, 10).len(), 2);
        assert_eq!(in_order(&[0, 1], |i| if i == 0 { 99 } else { 1 }, 10).len(), 2);
    }

    #[test]
    fn parts_of_a_weight_are_spread() {
        for (weight, n_epochs) in [(2.3, 10), (0.5, 4), (1.0, 3), (0.1, 20), (0.0, 5)] {
            let mut counts = vec![0usize; 1000];
            for epoch in 0..n_epochs {
                let before: usize = counts.iter().sum();
                due(epoch, 5, weight, 0..1000, |i| i).for_each(|i| counts[i as usize] += 1);
                let n = counts.iter().sum::<usize>() - before;
                assert!((n as f64 - 1000.0 * weight).abs() < 60.0, "{n} for {weight}");
            }
            let wanted = weight * n_epochs as f64;
            assert!(counts.iter().all(|n| (*n as f64 - wanted).abs() < 1.001), "{weight}: {counts:?}");
        }
        // Parts of a sample go together.
        let taken: Vec<u32> = due(0, 5, 0.5, 0..100, |i| i / 4).collect();
        assert!(taken.chunks(4).all(|parts| parts[0] % 4 == 0 && parts[3] == parts[0] + 3));
    }
}
