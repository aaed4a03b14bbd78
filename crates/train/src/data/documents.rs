//! Samples as sequences of at most so many tokens, in batches: a view of files of tokens.
//!
//! Tokens stay in their files, or in memory for small sets. What is held here is where each sequence begins: 16
//! bytes. A sample that is too long may be split: the last token of a part is then followed by the first of the next
//! one, so that each token but a sample's first is predicted exactly once.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use puna_formats::FormatError;
use puna_text::Tokenizer;

use super::batch::{Batch, PairBatch, Preferred};
use super::config::{Order, Packing, TooLong};
use super::error::DataError;
use super::labels::{Labelled, LabelledText, Shape, shown};
use super::pack::{Plan, best_fit, due, in_order};
use super::report::LengthReport;
use super::shard::{Entry, Origin, Shard, ShardBuilder};
use crate::random::Rng;

/// Tokenised samples, as sequences.
pub struct Documents {
    shards: Vec<Shard>,
    samples: Vec<SampleRef>,
    /// Tokens of all samples up to each, one after the other.
    ends: Vec<u64>,
    parts: Vec<Part>,
    groups: Vec<Group>,
    view: View,
    is_preference: bool,
    lengths: LengthReport,
    /// The plan that was needed last.
    plan: Mutex<Option<Arc<(PlanKey, Plan)>>>,
}

/// Where a run stands in its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Passes completed.
    pub epoch: u64,
    /// Batches taken in this pass.
    pub taken: usize,
}

#[derive(Clone, Copy)]
struct SampleRef {
    shard: u32,
    index: u32,
}

/// A sequence: so many tokens from a place in all samples' tokens.
#[derive(Clone, Copy)]
struct Part {
    start: u64,
    len: u32,
    /// The sample in which it begins.
    sample: u32,
}

/// The sequences of a source.
struct Group {
    parts: Range<u32>,
    weight: f64,
}

/// How samples are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    pub max_len: usize,
    pub too_long: TooLong,
    pub packing: Packing,
    pub order: Order,
}

/// The files of a source.
pub(crate) struct Portion {
    pub shards: Vec<Shard>,
    pub weight: f64,
    pub side: Side,
}

/// Which samples are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    All,
    Train,
    Valid,
}

/// What a plan depends on: seed, epoch, tokens of a batch.
type PlanKey = (u64, u64, usize);

impl Documents {
    /// Documents in memory, all trained, those with more than `max_len` tokens in parts. Documents with nothing to
    /// predict are left out.
    pub fn new(docs: impl IntoIterator<Item = Vec<u32>>, max_len: usize) -> Documents {
        let mut builder = ShardBuilder::default();
        for ids in docs.into_iter().filter(|ids| ids.len() > 1) {
            let trained = vec![true; ids.len()];
            builder.push(&Labelled { ids, trained, ..Labelled::default() }, Origin::default(), &[]);
        }
        let view =
            View { max_len, too_long: TooLong::Split, packing: Packing::Samples, order: Order::Shuffled };
        let portions = vec![Portion { shards: vec![builder.into_shard()], weight: 1.0, side: Side::All }];
        let fail = |_: usize, _: Origin, fact: String| DataError::Nothing(fact);
        Documents::view(portions, view, &fail).expect("sequences can be split")
    }

    /// A view of files; `fail` makes an error about a sample of a portion.
    pub(crate) fn view(
        portions: Vec<Portion>,
        view: View,
        fail: &dyn Fn(usize, Origin, String) -> DataError,
    ) -> Result<Documents, DataError> {
        let mut docs = Documents {
            shards: Vec::new(),
            samples: Vec::new(),
            ends: Vec::new(),
            parts: Vec::new(),
            groups: Vec::new(),
            view: View { max_len: view.max_len.clamp(2, 1 << 30), ..view },
            is_preference: false,
            lengths: LengthReport::default(),
            plan: Mutex::new(None),
        };
        for (portion_idx, portion) in portions.into_iter().enumerate() {
            let first_part = docs.parts.len() as u32;
            let first_token = docs.ends.last().copied().unwrap_or(0);
            for shard in portion.shards {
                docs.add_shard(shard, portion.side, &|origin, fact| fail(portion_idx, origin, fact))?;
            }
            if view.packing == Packing::Samples {
                docs.groups
                    .push(Group { parts: first_part..docs.parts.len() as u32, weight: portion.weight });
            } else {
                docs.add_windows(first_token, portion.weight);
            }
        }
        docs.lengths.n_samples = docs.samples.len() as u64;
        docs.lengths.n_sequences = docs.parts.len() as u64;
        Ok(docs)
    }

    fn add_shard(
        &mut self,
        shard: Shard,
        side: Side,
        fail: &dyn Fn(Origin, String) -> DataError,
    ) -> Result<(), DataError> {
        let shard_idx = self.shards.len() as u32;
        self.shards.push(shard);
        for index in 0..self.shards[shard_idx as usize].len() {
            let entry = self.shards[shard_idx as usize].entry(index);
            let is_taken = match side {
                Side::All => true,
                Side::Train => !entry.origin.is_valid,
                Side::Valid => entry.origin.is_valid,
            };
            if !is_taken {
                continue;
            }
            let is_preference = entry.shape != Shape::One;
            if self.samples.is_empty() {
                self.is_preference = is_preference;
            } else if self.is_preference != is_preference {
                let fact =
                    "some samples are preferences and some are not: train on one of them after the other";
                return Err(fail(entry.origin, fact.to_owned()));
            }
            if is_preference && self.view.packing == Packing::Windows {
                return Err(fail(entry.origin, "pairs of answers cannot be cut in windows".to_owned()));
            }
            let start = self.ends.last().copied().unwrap_or(0);
            self.samples.push(SampleRef { shard: shard_idx, index: index as u32 });
            self.ends.push(start + entry.tokens.len() as u64);
            if self.view.packing == Packing::Samples {
                self.add_sample(start, &entry, fail)?;
            }
        }
        Ok(())
    }

    /// Cuts the sample that was added last.
    fn add_sample(
        &mut self,
        start: u64,
        entry: &Entry,
        fail: &dyn Fn(Origin, String) -> DataError,
    ) -> Result<(), DataError> {
        let len = entry.tokens.len();
        let longest = longest_sequence(entry);
        let max_len = self.view.max_len;
        let sample = (self.samples.len() - 1) as u32;
        let part = |begin: usize, len: usize| Part { start: start + begin as u64, len: len as u32, sample };
        if longest <= max_len {
            self.add_part(part(0, len));
            return Ok(());
        }
        self.lengths.n_too_long += 1;
        let too_long = || format!("it has {longest} tokens, and sequences have at most {max_len}");
        match (self.view.too_long, entry.shape) {
            (TooLong::Error, _) => return Err(fail(entry.origin, too_long())),
            (TooLong::Split, Shape::Pair { .. } | Shape::Judged { .. }) => {
                let hint = "answers cannot be split: leave such samples out, cut them, or allow more tokens";
                return Err(fail(entry.origin, format!("{}\n  {hint}", too_long())));
            }
            (TooLong::Drop, _) => self.lengths.n_tokens_lost += len as u64,
            (TooLong::Split, Shape::One) => {
                for begin in (0..len).step_by(max_len) {
                    self.add_part(part(begin, max_len.min(len - begin)));
                }
            }
            (TooLong::Truncate, Shape::One) => {
                self.lengths.n_tokens_lost += (len - max_len) as u64;
                self.add_part(part(0, max_len));
            }
            // Each answer is cut where it is read.
            (TooLong::Truncate, _) => {
                self.lengths.n_tokens_lost +=
                    sequence_lens(entry).map(|n| n.saturating_sub(max_len) as u64).sum::<u64>();
                self.add_part(part(0, len));
            }
        }
        Ok(())
    }

    /// Adds a part, unless nothing in it is trained.
    fn add_part(&mut self, part: Part) {
        let len = part.len as usize;
        let (n_tokens, n_targets) = match self.is_preference {
            true => {
                let mut pairs = PairBatch::default();
                self.push_pair(part, &mut pairs);
                (pairs.batch.tokens.len(), pairs.batch.n_targets())
            }
            false => (len, self.n_targets(part)),
        };
        if n_targets > 0 {
            self.parts.push(part);
            self.lengths.n_tokens += n_tokens as u64;
            self.lengths.n_targets += n_targets as u64;
        } else if len > 1 {
            self.lengths.n_parts_untrained += 1;
            self.lengths.n_tokens_lost += n_tokens as u64;
        }
        // A single token at the end was predicted by the part before.
    }

    /// Cuts all samples from a token on into windows.
    fn add_windows(&mut self, first_token: u64, weight: f64) {
        let first_part = self.parts.len() as u32;
        let mut start = first_token;
        let end = self.ends.last().copied().unwrap_or(0);
        while start < end {
            let len = (end - start).min(self.view.max_len as u64) as u32;
            let sample = self.ends.partition_point(|end| *end <= start) as u32;
            self.add_part(Part { start, len, sample });
            start += u64::from(len);
        }
        self.groups.push(Group { parts: first_part..self.parts.len() as u32, weight });
    }

    /// Sequences of one pass.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is nothing to learn from.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Tokens of all sequences, each once. (Weights may take some several times in an epoch.)
    pub fn n_tokens(&self) -> usize {
        self.lengths.n_tokens as usize
    }

    /// Whether samples are answers of which some are better, which [`next_pairs`](Self::next_pairs) gives.
    pub fn is_preference(&self) -> bool {
        self.is_preference
    }

    /// What became of samples when they were cut.
    pub fn lengths(&self) -> LengthReport {
        self.lengths
    }

    /// An error if a file of tokens has lost bytes since it was opened: what was computed with them is worth
    /// nothing.
    pub fn check_files(&self) -> Result<(), FormatError> {
        self.shards.iter().try_for_each(Shard::check)
    }

    /// How many batches of about `n_tokens` tokens an epoch has.
    pub fn n_batches(&self, seed: u64, epoch: u64, n_tokens: usize) -> usize {
        self.plan(seed, epoch, n_tokens).1.len()
    }

    /// The next batch of about `n_tokens` tokens (at least one sequence, and no more unless they fit); moves the
    /// cursor past it. The last ones of an epoch are smaller. The cursor means a batch of this seed and size.
    ///
    /// # Panics
    /// If there are no documents, or if they are preferences.
    pub fn next_batch(&self, seed: u64, cursor: &mut Cursor, n_tokens: usize) -> Batch {
        self.batch(&self.next(seed, cursor, n_tokens))
    }

    /// The same for preferences; the prompt of a pair counts twice.
    ///
    /// # Panics
    /// If there are no documents, or if they are no preferences.
    pub fn next_pairs(&self, seed: u64, cursor: &mut Cursor, n_tokens: usize) -> PairBatch {
        self.pair_batch(&self.next(seed, cursor, n_tokens))
    }

    /// All sequences in their own order, in batches of about `n_tokens` tokens.
    pub fn batches(&self, n_tokens: usize) -> impl Iterator<Item = Batch> {
        let plan = self.plan_as_read(n_tokens);
        (0..plan.len()).map(move |i| self.batch(plan.batch(i)))
    }

    /// The same for preferences.
    pub fn pair_batches(&self, n_tokens: usize) -> impl Iterator<Item = PairBatch> {
        let plan = self.plan_as_read(n_tokens);
        (0..plan.len()).map(move |i| self.pair_batch(plan.batch(i)))
    }

    /// A sequence as text, each stretch trained or not: to be looked at before training.
    pub fn show(&self, sequence: usize, tokenizer: &Tokenizer) -> Vec<LabelledText> {
        let Some(part) = self.parts.get(sequence) else { return Vec::new() };
        let (ids, trained) = self.read(*part);
        shown(&ids, &trained, tokenizer)
    }

    fn plan_as_read(&self, n_tokens: usize) -> Plan {
        let all: Vec<u32> = (0..self.parts.len() as u32).collect();
        in_order(&all, |part| self.n_tokens_of(part), n_tokens)
    }

    fn next(&self, seed: u64, cursor: &mut Cursor, n_tokens: usize) -> Vec<u32> {
        assert!(!self.is_empty(), "there is nothing to take");
        loop {
            let planned = self.plan(seed, cursor.epoch, n_tokens);
            if cursor.taken < planned.1.len() {
                cursor.taken += 1;
                return planned.1.batch(cursor.taken - 1).to_vec();
            }
            *cursor = Cursor { epoch: cursor.epoch + 1, taken: 0 };
        }
    }

    fn plan(&self, seed: u64, epoch: u64, n_tokens: usize) -> Arc<(PlanKey, Plan)> {
        let key = (seed, epoch, n_tokens);
        let mut kept = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = kept.as_ref().filter(|plan| plan.0 == key) {
            return plan.clone();
        }
        let sample = |part: u32| self.parts[part as usize].sample;
        let groups = self.groups.iter();
        let mut taken: Vec<u32> =
            groups.flat_map(|group| due(epoch, seed, group.weight, group.parts.clone(), sample)).collect();
        let len = |part| self.n_tokens_of(part);
        let plan = match self.view.order {
            Order::AsRead => in_order(&taken, len, n_tokens),
            Order::Shuffled => {
                Rng::new(seed ^ epoch.wrapping_mul(0x2545_f491_4f6c_dd1d)).shuffle(&mut taken);
                best_fit(&taken, len, n_tokens)
            }
        };
        let plan = Arc::new((key, plan));
        *kept = Some(plan.clone());
        plan
    }

    /// Tokens that a sequence, or the sequences of a pair, put into a batch.
    fn n_tokens_of(&self, part: u32) -> usize {
        let part = self.parts[part as usize];
        if !self.is_preference {
            return part.len as usize;
        }
        sequence_lens(&self.entry(part.sample)).map(|len| len.min(self.view.max_len)).sum()
    }

    fn entry(&self, sample: u32) -> Entry {
        let SampleRef { shard, index } = self.samples[sample as usize];
        self.shards[shard as usize].entry(index as usize)
    }

    /// The pieces of files that a part of the tokens lies in.
    fn pieces(&self, part: Part) -> impl Iterator<Item = (&Shard, Range<usize>)> {
        let mut rest = part.start..part.start + u64::from(part.len);
        (part.sample as usize..self.samples.len()).map_while(move |sample| {
            if rest.is_empty() {
                return None;
            }
            let first = if sample == 0 { 0 } else { self.ends[sample - 1] };
            let end = rest.end.min(self.ends[sample]);
            let tokens = self.entry(sample as u32).tokens.start;
            let piece = tokens + (rest.start - first) as usize..tokens + (end - first) as usize;
            rest.start = end;
            Some((&self.shards[self.samples[sample].shard as usize], piece))
        })
    }

    /// Ids, and for each whether it is trained.
    fn read(&self, part: Part) -> (Vec<u32>, Vec<bool>) {
        let mut ids = Vec::with_capacity(part.len as usize);
        let mut trained = Vec::with_capacity(part.len as usize);
        for (shard, tokens) in self.pieces(part) {
            shard.read_ids(tokens.clone(), &mut ids);
            trained.extend(tokens.map(|token| shard.is_trained(token)));
        }
        (ids, trained)
    }

    /// The token that follows a part, where it is trained as the part's last target.
    fn follower(&self, part: Part) -> Option<u32> {
        let end = part.start + u64::from(part.len);
        let limit = match (self.view.packing, self.view.too_long) {
            (Packing::Windows, _) => self.ends.last().copied().unwrap_or(0),
            (Packing::Samples, TooLong::Split) => self.ends[part.sample as usize],
            (Packing::Samples, _) => return None,
        };
        if end >= limit {
            return None;
        }
        let sample =
            part.sample as usize + self.ends[part.sample as usize..].partition_point(|last| *last <= end);
        let (shard, tokens) = self.pieces(Part { start: end, len: 1, sample: sample as u32 }).next()?;
        shard.is_trained(tokens.start).then(|| shard.id(tokens.start))
    }

    fn n_targets(&self, part: Part) -> usize {
        let trained =
            self.pieces(part).flat_map(|(shard, tokens)| tokens.map(|token| shard.is_trained(token)));
        trained.skip(1).filter(|is_trained| *is_trained).count() + usize::from(self.follower(part).is_some())
    }

    fn batch(&self, parts: &[u32]) -> Batch {
        assert!(!self.is_preference, "preferences are taken in pairs");
        let mut batch = Batch::default();
        for part in parts.iter().map(|part| self.parts[*part as usize]) {
            let (ids, trained) = self.read(part);
            batch.push(&ids, &trained, self.follower(part));
        }
        batch
    }

    fn pair_batch(&self, parts: &[u32]) -> PairBatch {
        assert!(self.is_preference, "these samples are no preferences");
        let mut batch = PairBatch::default();
        parts.iter().for_each(|part| self.push_pair(self.parts[*part as usize], &mut batch));
        batch
    }

    fn push_pair(&self, part: Part, to: &mut PairBatch) {
        let (ids, trained) = self.read(part);
        let max_len = self.view.max_len;
        let mut push = |from: &[Range<usize>]| {
            let cut = |values: &mut dyn FnMut(usize)| {
                from.iter().flat_map(|range| range.clone()).take(max_len).for_each(values);
            };
            let (mut sequence, mut marks) = (Vec::new(), Vec::new());
            cut(&mut |i| {
                sequence.push(ids[i]);
                marks.push(trained[i]);
            });
            to.batch.push(&sequence, &marks, None);
            to.batch.sequences.len() - 1
        };
        match self.entry(part.sample).shape {
            Shape::Pair { chosen, rejected } => {
                let (prompt, first, second) =
                    (0..chosen as usize, chosen as usize..rejected as usize, rejected as usize..ids.len());
                let n_prompt = prompt.len().min(max_len);
                let (chosen, rejected) = (push(&[prompt.clone(), first]), push(&[prompt, second]));
                to.pairs.push(Preferred { chosen, rejected, n_prompt });
            }
            Shape::Judged { is_good, .. } => {
                let whole = 0..ids.len();
                let sequence = push(std::slice::from_ref(&whole));
                to.judged.push((sequence, is_good));
            }
            Shape::One => {}
        }
    }
}

/// The lengths of the sequences that a sample makes, if it is not split.
fn sequence_lens(entry: &Entry) -> impl Iterator<Item = usize> {
    let len = entry.tokens.len();
    let (first, second) = match entry.shape {
        Shape::One | Shape::Judged { .. } => (len, None),
        Shape::Pair { chosen, rejected } => {
            (rejected as usize, Some(chosen as usize + len - rejected as usize))
        }
    };
    [Some(first), second].into_iter().flatten()
}

fn longest_sequence(entry: &Entry) -> usize {
    sequence_lens(entry).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_takes_every_document_once() {
        let docs = Documents::new((0..50).map(|i| vec![i; 3 + i as usize % 5]), 100);
        let mut cursor = Cursor::default();
        let mut seen = Vec::new();
        while seen.len() < 50 {
            let batch = docs.next_batch(7, &mut cursor, 20);
            assert!(batch.tokens.len() <= 20);
            seen.extend(batch.sequences.iter().map(|rows| batch.tokens[rows.start]));
        }
        assert_eq!(cursor, Cursor { epoch: 0, taken: docs.n_batches(7, 0, 20) });
        assert_ne!(seen, (0..50).collect::<Vec<_>>());
        seen.sort();
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_cursor_resumes_the_order() {
        let docs = Documents::new((0..20).map(|i| vec![i; 4]), 100);
        let mut cursor = Cursor::default();
        docs.next_batch(3, &mut cursor, 30);
        let mut resumed = cursor;
        // Whatever was asked for in between.
        docs.next_batch(4, &mut Cursor::default(), 10);
        assert_eq!(docs.next_batch(3, &mut cursor, 30), docs.next_batch(3, &mut resumed, 30));
        assert_eq!(cursor, resumed);
    }

    /// Long documents are split, and every token but the first is predicted once.
    #[test]
    fn no_token_is_lost_or_doubled() {
        let mut rng = Rng::new(2);
        let docs: Vec<Vec<u32>> =
            (0..60u32).map(|i| (0..2 + rng.next_u64() as u32 % 40).map(|j| i * 100 + j).collect()).collect();
        for max_len in [2, 3, 7, 16, 39, 40, 100] {
            let cut = Documents::new(docs.clone(), max_len);
            let (mut targets, mut inputs) = (Vec::new(), Vec::new());
            for batch in cut.batches(64) {
                assert!(batch.sequences.iter().all(|rows| rows.len() <= max_len));
                targets.extend(batch.targets.iter().flatten().copied());
                inputs.extend_from_slice(&batch.tokens);
                // Each target follows its token.
                let both = batch.tokens.iter().zip(&batch.targets);
                assert!(both.into_iter().all(|(id, target)| target.is_none_or(|target| target == id + 1)));
            }
            let wanted: Vec<u32> = docs.iter().flat_map(|doc| &doc[1..]).copied().collect();
            assert_eq!(targets, wanted, "{max_len}");
            assert!(inputs.windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!(cut.lengths().n_targets as usize, wanted.len());
            assert_eq!(cut.lengths().n_tokens_lost, 0);
        }
    }

    #[test]
    fn long_documents_are_cut() {
        let docs = Documents::new([vec![1, 2, 3, 4, 5], vec![9]], 4);
        assert_eq!((docs.len(), docs.n_tokens()), (1, 4));
        let batch = docs.next_batch(0, &mut Cursor::default(), 4);
        assert_eq!(batch.targets, [Some(2), Some(3), Some(4), Some(5)]);
        assert_eq!(batch.n_targets(), 4);
    }

    /// A sample of nine tokens, the last five trained, and a pair with a prompt of three.
    fn portion(shape: Shape) -> Vec<Portion> {
        let mut builder = ShardBuilder::default();
        let trained = (0..9).map(|i| i > 3).collect();
        let labelled = Labelled { ids: (10..19).collect(), trained, shape, n_open_turns: 0 };
        builder.push(&labelled, Origin { file: 0, line: 5, is_valid: false }, &[]);
        vec![Portion { shards: vec![builder.into_shard()], weight: 1.0, side: Side::Train }]
    }

    fn view(shape: Shape, max_len: usize, too_long: TooLong) -> Result<Documents, String> {
        let view = View { max_len, too_long, packing: Packing::Samples, order: Order::AsRead };
        let fail =
            |_: usize, origin: Origin, fact: String| DataError::at("f".as_ref(), origin.line.into(), fact);
        Documents::view(portion(shape), view, &fail).map_err(|error| error.to_string())
    }

    #[test]
    fn what_becomes_of_long_samples_is_counted() {
        let split = view(Shape::One, 4, TooLong::Split).unwrap();
        let batches: Vec<Batch> = split.batches(4).collect();
        // The first part ends before what is trained; its last target is.
        assert_eq!(batches[0].targets, [None, None, None, Some(14)]);
        assert_eq!(batches[1].targets, [Some(15), Some(16), Some(17), Some(18)]);
        assert_eq!((batches.len(), split.lengths().n_targets, split.lengths().n_tokens_lost), (2, 5, 0));
        let untrained = view(Shape::One, 2, TooLong::Split).unwrap();
        assert_eq!(untrained.lengths().n_parts_untrained, 1);
        let dropped = view(Shape::One, 4, TooLong::Drop).unwrap();
        assert_eq!((dropped.len(), dropped.lengths().n_too_long, dropped.lengths().n_tokens_lost), (0, 1, 9));
        let cut = view(Shape::One, 6, TooLong::Truncate).unwrap();
        assert_eq!(cut.batches(9).next().unwrap().targets, [None, None, None, Some(14), Some(15), None]);
        assert_eq!(cut.lengths().n_tokens_lost, 3);
        assert!(view(Shape::One, 8, TooLong::Error).err().unwrap().contains("line 5\n  it has 9 tokens"));
        assert_eq!(view(Shape::One, 9, TooLong::Error).unwrap().len(), 1);
    }

    #[test]
    fn pairs_share_their_prompt() {
        let shape = Shape::Pair { chosen: 4, rejected: 6 };
        let docs = view(shape, 7, TooLong::Split).unwrap();
        assert!(docs.is_preference());
        let pairs = docs.next_pairs(0, &mut Cursor::default(), 100);
        assert_eq!(pairs.batch.tokens, [10, 11, 12, 13, 14, 15, 10, 11, 12, 13, 16, 17, 18]);
        assert_eq!(pairs.batch.sequences, [0..6, 6..13]);
        assert_eq!(pairs.pairs, [Preferred { chosen: 0, rejected: 1, n_prompt: 4 }]);
        let targets: Vec<u32> = pairs.batch.targets.iter().flatten().copied().collect();
        assert_eq!(targets, [14, 15, 16, 17, 18]);
        assert_eq!(docs.pair_batches(100).count(), 1);
        assert!(view(shape, 6, TooLong::Split).err().unwrap().contains("cannot be split"));
        let cut = view(shape, 6, TooLong::Truncate).unwrap();
        assert_eq!(cut.pair_batches(99).next().unwrap().batch.sequences, [0..6, 6..12]);
        assert_eq!(cut.lengths().n_tokens_lost, 1);
        let judged = view(Shape::Judged { answer: 4, is_good: true }, 9, TooLong::Split).unwrap();
        assert_eq!(judged.pair_batches(99).next().unwrap().judged, [(0, true)]);
    }
}
