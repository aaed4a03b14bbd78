//! One word to token ids: the part both kinds of BPE share.
//!
//! A word begins as small symbols (bytes or characters). Again and again the adjacent pair with the
//! lowest rank becomes one symbol, the leftmost where ranks are equal, until no pair has a rank. Short
//! words scan a flat list, which fits in the first cache lines; long ones keep a heap of candidates, so
//! that a megabyte without a space costs n log n and not n². Most words of ordinary text are tokens as a
//! whole and are not merged at all.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::vocab::{NO_TOKEN, Vocab};

/// The rank of a pair that does not merge.
const NO_RANK: u32 = u32::MAX;

/// Words of at most this many symbols are merged by scanning. Measured on English text: between 32 and
/// 128 it makes no difference.
const SCAN_LIMIT: usize = 64;

/// Part of a word that is, or may become, a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol {
    /// Byte range in the word.
    pub start: u32,
    pub end: u32,
    /// The token, or [`NO_TOKEN`] where these bytes have none.
    pub id: u32,
}

/// Which pairs merge, and in which order.
#[derive(Debug)]
pub(crate) enum MergeRule {
    /// Any pair whose joined bytes are a token; the rank is the new token's id (tiktoken).
    JoinedById,
    /// The same, ranked by a table over ids (SentencePiece: the order of the scores).
    JoinedByTable(Vec<u32>),
    /// The listed pairs of ids, to (rank, new token) (files with a merge list).
    Listed(PairMap),
}

/// Pairs of token ids to (rank, new token).
pub(crate) type PairMap = HashMap<(u32, u32), (u32, u32), PairHasher>;

/// Hashes a pair of ids by one multiplication; the standard hasher takes several times as long, and this
/// is the inner step of merging. Seeded, so that no file can be made whose pairs all collide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PairHasher {
    seed: u64,
    ids: u64,
}

impl PairHasher {
    /// A hasher that differs from process to process.
    pub fn seeded() -> PairHasher {
        PairHasher { seed: RandomState::new().hash_one(0), ids: 0 }
    }
}

impl BuildHasher for PairHasher {
    type Hasher = PairHasher;

    fn build_hasher(&self) -> PairHasher {
        *self
    }
}

impl Hasher for PairHasher {
    fn write_u32(&mut self, id: u32) {
        self.ids = self.ids << 32 | u64::from(id);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.ids = self.ids.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.ids ^ self.seed) * u128::from(self.seed | 1);
        (product >> 64) as u64 ^ product as u64
    }
}

/// When a word that is a token as a whole becomes that token without merging.
#[derive(Debug)]
pub(crate) enum WholeWord {
    /// Always: the vocabulary may hold tokens that no sequence of merges reaches (Llama 3).
    Always,
    /// If merging would give the same. Found out when a token is first met, and kept here.
    IfMerged(Vec<AtomicU8>),
}

impl WholeWord {
    /// The careful kind, for a vocabulary of `n_tokens`.
    pub fn if_merged(n_tokens: usize) -> WholeWord {
        WholeWord::IfMerged(std::iter::repeat_with(|| AtomicU8::new(Self::UNTRIED)).take(n_tokens).collect())
    }

    /// Makes a word that is this token always become it.
    pub fn take_whole(&self, id: u32) {
        if let WholeWord::IfMerged(tried) = self {
            tried[id as usize].store(Self::REACHED, Ordering::Relaxed);
        }
    }

    const UNTRIED: u8 = 0;
    const REACHED: u8 = 1;
    const NOT_REACHED: u8 = 2;
}

/// What a word is made of before anything merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    Bytes,
    Chars,
}

/// Everything needed to turn one word into tokens.
#[derive(Debug)]
pub(crate) struct Merger {
    pub alphabet: Alphabet,
    pub rule: MergeRule,
    pub whole_word: WholeWord,
    /// Stands for what has neither a token nor byte tokens; without it such text is dropped.
    pub unknown: Option<u32>,
    /// Whether unknown neighbours are one unknown token.
    pub fuses_unknown: bool,
    /// What the first symbols of a word carry, if anything.
    pub affixes: Option<Box<Affixes>>,
}

/// What the file writes at the symbols of a word to tell where in it they stand.
#[derive(Debug)]
pub(crate) struct Affixes {
    /// In front of all but the first.
    pub continuing_prefix: String,
    /// After the last.
    pub end_suffix: String,
}

impl Merger {
    /// Appends the tokens of `word` to `ids`.
    #[inline]
    pub fn encode_word(&self, vocab: &Vocab, word: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let Some(id) = vocab.find(word.as_bytes()) else {
            return self.encode_by_merging(vocab, word, scratch, ids);
        };
        let WholeWord::IfMerged(tried) = &self.whole_word else {
            return ids.push(id);
        };
        if self.affixes.is_some() {
            return self.encode_by_merging(vocab, word, scratch, ids);
        }
        // Every thread that tries a token finds the same answer, so the order of the stores is no matter.
        match tried[id as usize].load(Ordering::Relaxed) {
            WholeWord::REACHED => ids.push(id),
            WholeWord::NOT_REACHED => self.encode_by_merging(vocab, word, scratch, ids),
            _ => {
                let n_before = ids.len();
                self.encode_by_merging(vocab, word, scratch, ids);
                let reached = ids[n_before..] == [id];
                let found = if reached { WholeWord::REACHED } else { WholeWord::NOT_REACHED };
                tried[id as usize].store(found, Ordering::Relaxed);
            }
        }
    }

    #[cold]
    fn encode_by_merging(&self, vocab: &Vocab, word: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        /// Symbols hold positions in 32 bits. A longer word is cut; no such word means anything.
        const MAX_WORD_BYTES: usize = 1 << 30;
        let mut rest = word;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.floor_char_boundary(MAX_WORD_BYTES));
            scratch.symbols.clear();
            match self.rule {
                MergeRule::Listed(_) => self.first_known_symbols(vocab, part, &mut scratch.symbols),
                _ => self.first_symbols(vocab, part, &mut scratch.symbols),
            }
            scratch.merge(&self.rule, vocab, part.as_bytes());
            self.emit(vocab, part.as_bytes(), &scratch.symbols, ids);
            rest = after;
        }
    }

    fn first_symbols(&self, vocab: &Vocab, word: &str, symbols: &mut Vec<Symbol>) {
        match self.alphabet {
            Alphabet::Bytes => symbols.extend((0u32..).zip(word.bytes()).map(|(at, byte)| Symbol {
                start: at,
                end: at + 1,
                id: vocab.byte_id(byte),
            })),
            Alphabet::Chars => symbols.extend(word.char_indices().map(|(at, c)| {
                let end = at + c.len_utf8();
                let id = vocab.find(&word.as_bytes()[at..end]).unwrap_or(NO_TOKEN);
                Symbol { start: at as u32, end: end as u32, id }
            })),
        }
    }

    /// The symbols where pairs are listed by their tokens: what has no token is bytes, unknown, or gone, before anything
    /// merges. (An unknown one that waits for its like is put in after bytes that follow it, as `tokenizers` does.)
    fn first_known_symbols(&self, vocab: &Vocab, word: &str, symbols: &mut Vec<Symbol>) {
        let mut waiting: Option<Symbol> = None;
        let mut push = |start: usize, end: usize| {
            let symbol =
                |id: u32, start: usize, end: usize| Symbol { start: start as u32, end: end as u32, id };
            let bytes = &word.as_bytes()[start..end];
            let id = match (&self.affixes, self.alphabet) {
                (_, Alphabet::Bytes) => Some(vocab.byte_id(bytes[0])).filter(|id| *id != NO_TOKEN),
                (None, Alphabet::Chars) => vocab.find(bytes),
                (Some(affixes), Alphabet::Chars) => vocab.find(&affixes.around(word, start..end)),
            };
            if let Some(id) = id {
                symbols.extend(waiting.take());
                symbols.push(symbol(id, start, end));
            } else if self.alphabet == Alphabet::Chars
                && bytes.iter().all(|byte| vocab.byte_id(*byte) != NO_TOKEN)
            {
                let byte = |at: usize| symbol(vocab.byte_id(word.as_bytes()[at]), at, at + 1);
                symbols.extend((start..end).map(byte));
            } else if let Some(unknown) = self.unknown {
                match &mut waiting {
                    Some(before) if self.fuses_unknown => before.end = end as u32,
                    _ => symbols.extend(waiting.replace(symbol(unknown, start, end))),
                }
            }
        };
        match self.alphabet {
            Alphabet::Bytes => (0..word.len()).for_each(|at| push(at, at + 1)),
            Alphabet::Chars => word.char_indices().for_each(|(at, c)| push(at, at + c.len_utf8())),
        }
        symbols.extend(waiting);
    }

    fn emit(&self, vocab: &Vocab, word: &[u8], symbols: &[Symbol], ids: &mut Vec<u32>) {
        let mut after_unknown = false;
        for symbol in symbols {
            if symbol.id != NO_TOKEN {
                ids.push(symbol.id);
                after_unknown = false;
                continue;
            }
            for &byte in &word[symbol.start as usize..symbol.end as usize] {
                let id = vocab.byte_id(byte);
                if id != NO_TOKEN {
                    ids.push(id);
                    after_unknown = false;
                } else if let Some(unknown) = self.unknown
                    && !after_unknown
                {
                    // A row of unknown characters is one unknown token, as in SentencePiece.
                    ids.push(unknown);
                    after_unknown = true;
                }
            }
        }
    }
}

impl Affixes {
    /// The symbol at `range` of `word` as the file writes it.
    fn around(&self, word: &str, range: std::ops::Range<usize>) -> Vec<u8> {
        let prefix = if range.start > 0 { self.continuing_prefix.as_bytes() } else { b"" };
        let suffix = if range.end == word.len() { self.end_suffix.as_bytes() } else { b"" };
        [prefix, &word.as_bytes()[range], suffix].concat()
    }
}

/// Buffers of the merge loop, reused from word to word.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The word's symbols: the caller puts in the first ones and finds the final ones.
    pub symbols: Vec<Symbol>,
    /// For each symbol the rank and token of merging it with its right neighbour.
    candidates: Vec<(u32, u32)>,
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<HeapEntry>>,
}

/// A possible merge; ordered by rank, then from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct HeapEntry {
    rank: u32,
    left: u32,
    /// Where the pair ended when it was found: if that has changed, the entry is stale.
    end: u32,
    id: u32,
}

impl Scratch {
    /// Merges `self.symbols`, which cover `word`, as far as `rule` goes.
    pub fn merge(&mut self, rule: &MergeRule, vocab: &Vocab, word: &[u8]) {
        let joined = |left: Symbol, right: Symbol| vocab.find(&word[left.start as usize..right.end as usize]);
        match rule {
            MergeRule::JoinedById => self.merge_with(|left, right| joined(left, right).map(|id| (id, id))),
            MergeRule::JoinedByTable(ranks) => {
                self.merge_with(|left, right| joined(left, right).map(|id| (ranks[id as usize], id)))
            }
            MergeRule::Listed(pairs) => {
                self.merge_with(|left, right| pairs.get(&(left.id, right.id)).copied());
            }
        }
    }

    fn merge_with(&mut self, pair: impl Fn(Symbol, Symbol) -> Option<(u32, u32)>) {
        let pair = |left, right| pair(left, right).unwrap_or((NO_RANK, NO_TOKEN));
        if self.symbols.len() <= SCAN_LIMIT { self.merge_by_scan(pair) } else { self.merge_by_heap(pair) }
    }

    fn merge_by_scan(&mut self, pair: impl Fn(Symbol, Symbol) -> (u32, u32)) {
        let (symbols, candidates) = (&mut self.symbols, &mut self.candidates);
        candidates.clear();
        candidates.extend(symbols.windows(2).map(|both| pair(both[0], both[1])));
        while let Some((at, &(rank, id))) = candidates.iter().enumerate().min_by_key(|(_, (rank, _))| *rank) {
            if rank == NO_RANK {
                return;
            }
            symbols[at] = Symbol { start: symbols[at].start, end: symbols[at + 1].end, id };
            symbols.remove(at + 1);
            candidates.remove(at);
            if at + 1 < symbols.len() {
                candidates[at] = pair(symbols[at], symbols[at + 1]);
            }
            if at > 0 {
                candidates[at - 1] = pair(symbols[at - 1], symbols[at]);
            }
        }
    }

    fn merge_by_heap(&mut self, pair: impl Fn(Symbol, Symbol) -> (u32, u32)) {
        const NONE: u32 = u32::MAX;
        let Scratch { symbols, next, previous, heap, .. } = self;
        let n = symbols.len() as u32;
        next.clear();
        next.extend((1..n).chain([NONE]));
        previous.clear();
        previous.extend([NONE].into_iter().chain(0..n - 1));
        let candidate = |symbols: &[Symbol], left: u32, right: u32| {
            let (rank, id) = pair(symbols[left as usize], symbols[right as usize]);
            (rank != NO_RANK).then(|| HeapEntry { rank, left, end: symbols[right as usize].end, id })
        };
        heap.clear();
        heap.extend((0..n - 1).filter_map(|left| candidate(symbols, left, left + 1)).map(Reverse));

        while let Some(Reverse(best)) = heap.pop() {
            let (left, right) = (best.left as usize, next[best.left as usize]);
            // Stale: the left symbol is gone (its range is empty then), or one of the two has grown.
            let grown = right == NONE || symbols[right as usize].end != best.end;
            if symbols[left].start == symbols[left].end || grown {
                continue;
            }
            symbols[left].end = best.end;
            symbols[left].id = best.id;
            let gone = &mut symbols[right as usize];
            gone.end = gone.start;
            let after = next[right as usize];
            next[left] = after;
            if after != NONE {
                previous[after as usize] = best.left;
                heap.extend(candidate(symbols, best.left, after).map(Reverse));
            }
            if previous[left] != NONE {
                heap.extend(candidate(symbols, previous[left], best.left).map(Reverse));
            }
        }
        symbols.retain(|symbol| symbol.start < symbol.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::{Token, TokenKind};

    /// A vocabulary of short words over two letters, so that many pairs merge and many ranks tie.
    fn vocab() -> Vocab {
        let words = ["a", "b", "ab", "ba", "aa", "aab", "bb", "abab", "aaaa", "bba"];
        let tokens: Vec<Token> = words.iter().map(|w| Token::new(*w, TokenKind::Normal)).collect();
        Vocab::new("test", &tokens).unwrap()
    }

    fn symbols(vocab: &Vocab, word: &[u8]) -> Vec<Symbol> {
        let id = |at: usize| vocab.find(&word[at..=at]).unwrap();
        (0..word.len()).map(|at| Symbol { start: at as u32, end: at as u32 + 1, id: id(at) }).collect()
    }

    #[test]
    fn heap_equals_scan() {
        let vocab = vocab();
        let ranks = [0, 0, 3, 3, 1, 2, 3, 5, 4, 3];
        let mut state = 7u64;
        for length in 2..200 {
            let word: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                    b"ab"[(state >> 60) as usize & 1]
                })
                .collect();
            let pair = |left: Symbol, right: Symbol| {
                let id = vocab.find(&word[left.start as usize..right.end as usize]);
                id.map_or((NO_RANK, NO_TOKEN), |id| (ranks[id as usize], id))
            };
            let mut scan = Scratch { symbols: symbols(&vocab, &word), ..Default::default() };
            scan.merge_by_scan(pair);
            let mut heap = Scratch { symbols: symbols(&vocab, &word), ..Default::default() };
            heap.merge_by_heap(pair);
            let ids = |scratch: &Scratch| scratch.symbols.iter().map(|s| s.id).collect::<Vec<_>>();
            assert_eq!(ids(&scan), ids(&heap));
        }
    }

    #[test]
    fn a_megabyte_without_a_space_is_quick() {
        let vocab = vocab();
        let word = vec![b'a'; 1 << 20];
        let mut scratch = Scratch { symbols: symbols(&vocab, &word), ..Default::default() };
        scratch.merge(&MergeRule::JoinedById, &vocab, &word);
        assert_eq!(scratch.symbols.len(), word.len() / 4);
    }
}
