//! Guessing the next tokens with an EAGLE-3 head ([`Eagle`]), which reads hidden states of the model that it guesses
//! for.
//!
//! A step leaves the hidden states of the tokens that it computed with their sequence ([`Follower`]). Before the next
//! one the head reads them, all sequences together, and continues those that want guesses by a chain of its most
//! probable tokens. What it computed of the chain is forgotten: the model's own hidden states come in its place.
//!
//! It does not guess for sequences with images, whose tokens stand for vectors that it does not know.

use std::sync::Arc;

use puna_model::{BlockPool, CachedSequence, Eagle, ModelError};

use crate::engine::Engine;
use crate::follower::Follower;
use crate::sequence::Sequence;

/// Tokens whose hidden states wait at most before the head reads them, though no guess is wanted.
const MAX_UNREAD: usize = 64;

/// A head, and the memory of its keys and values.
pub(crate) struct Head {
    eagle: Arc<Eagle>,
    pool: BlockPool,
}

/// A sequence that the head reads.
struct Reader<'s> {
    tokens: &'s [u32],
    follower: &'s mut Follower,
    /// What it proposes, and how much it may.
    draft: &'s mut Vec<u32>,
    n: usize,
    /// Rows whose features are the model's own.
    n_known: usize,
}

impl Head {
    /// One that guesses for the engine's model. Its keys and values may have as many positions as the model's.
    pub fn new(eagle: Arc<Eagle>, engine: &Engine) -> Head {
        let (n_blocks, n_layers) = (engine.pool().n_blocks(), engine.model().config.n_layers);
        let n_blocks = if n_blocks == usize::MAX { n_blocks } else { n_blocks.div_ceil(n_layers) };
        Head { eagle, pool: BlockPool::new(n_blocks) }
    }

    /// Lets the head follow a sequence from here on, unless it has images.
    pub fn follow(&self, engine: &Engine, sequence: &mut Sequence) {
        let cache = || self.eagle.new_cache(engine.kv_dtype()).in_pool(&self.pool);
        sequence.follower = sequence.images.is_empty().then(|| Follower::new(&self.eagle, cache()));
    }

    /// Reads on in sequences of the engine, and proposes for each as many tokens as are asked for, or fewer.
    pub fn propose<'s>(&self, engine: &Engine, asked: impl IntoIterator<Item = (&'s mut Sequence, usize)>) {
        let max_seq_len = engine.max_seq_len();
        let readers = asked.into_iter().filter_map(|(sequence, n)| {
            let Sequence { tokens, follower, draft, .. } = sequence;
            let follower = follower.as_mut()?;
            let (n_unread, n) = (follower.n_unread(), n.min(max_seq_len.saturating_sub(tokens.len())));
            if n_unread == 0 || n == 0 && n_unread < MAX_UNREAD {
                return None;
            }
            let n_known = follower.cache.len() + n_unread;
            if !self.has_room(follower, n_unread) {
                follower.forget();
                return None;
            }
            Some(Reader { tokens, follower, draft, n, n_known })
        });
        let mut readers: Vec<Reader> = readers.collect();
        if readers.is_empty() {
            return;
        }
        let read = self.read(engine, &mut readers);
        for Reader { follower, draft, n, n_known, .. } in readers {
            // The other rows are guesses.
            follower.cache.truncate(n_known);
            if read.is_err() {
                follower.forget();
                if n > 0 {
                    draft.clear();
                }
            }
        }
    }

    /// Takes the blocks of so many more rows.
    fn has_room(&self, follower: &mut Follower, n: usize) -> bool {
        self.eagle.decoder.reserve(&mut follower.cache, 0..n, &[]).is_ok()
    }

    fn read(&self, engine: &Engine, readers: &mut [Reader]) -> Result<(), ModelError> {
        let eagle = &*self.eagle;
        let mut graph = engine.graph();
        let n_rows: Vec<usize> = readers.iter().map(|reader| reader.follower.n_unread()).collect();
        let (mut tokens, mut last) = (Vec::new(), Vec::new());
        for (reader, n) in readers.iter().zip(&n_rows) {
            // Each row reads the token after it; the last token of a sequence is not computed, so there is one.
            let first = reader.follower.next() + 1;
            tokens.extend_from_slice(&reader.tokens[first..first + n]);
            last.extend((reader.n > 0).then_some(tokens.len() - 1));
        }
        let features = graph.constant(tokens.len(), eagle.n_features(), |mut out| {
            for reader in readers.iter_mut() {
                let unread = std::mem::take(&mut reader.follower.unread);
                let (own, rest) = std::mem::take(&mut out).split_at_mut(unread.len());
                own.copy_from_slice(&unread);
                out = rest;
            }
        });
        let x = eagle.fuse(&mut graph, &features);
        let rows = readers.iter_mut().zip(n_rows);
        let mut caches: Vec<CachedSequence> = rows.map(|(reader, n)| cached(reader, n)).collect();
        let mut hidden = eagle.forward(&mut graph, x, &tokens, &mut caches, &last)?;
        let mut going: Vec<&mut Reader> = readers.iter_mut().filter(|reader| reader.n > 0).collect();
        going.iter_mut().for_each(|reader| reader.draft.clear());
        while !going.is_empty() {
            let logits = eagle.logits(&mut graph, &hidden);
            for (reader, logits) in going.iter_mut().zip(logits.values().chunks_exact(logits.cols())) {
                reader.draft.push(eagle.target_id(most_probable(logits)));
            }
            let (mut row, mut rows) = (0, Vec::new());
            going.retain_mut(|reader| {
                let goes_on = reader.draft.len() < reader.n && self.has_room(reader.follower, 1);
                rows.extend(goes_on.then_some(row));
                row += 1;
                goes_on
            });
            if going.is_empty() {
                break;
            }
            // What it made of a row stands for the features of the next.
            let x = graph.take_rows(&hidden, &rows);
            let tokens: Vec<u32> = going.iter().filter_map(|reader| reader.draft.last().copied()).collect();
            let all: Vec<usize> = (0..going.len()).collect();
            let mut caches: Vec<CachedSequence> = going.iter_mut().map(|reader| cached(reader, 1)).collect();
            hidden = eagle.forward(&mut graph, x, &tokens, &mut caches, &all)?;
        }
        Ok(())
    }
}

/// A pass's next rows of a sequence.
fn cached<'r>(reader: &'r mut Reader, n_tokens: usize) -> CachedSequence<'r> {
    CachedSequence { n_tokens, cache: &mut reader.follower.cache }
}

/// The first id of the largest logit.
fn most_probable(logits: &[f32]) -> u32 {
    (0..logits.len()).fold(0, |best, id| if logits[id] > logits[best] { id } else { best }) as u32
}
