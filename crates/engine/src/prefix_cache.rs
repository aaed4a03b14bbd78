//! What was computed before, found again by its content: prompts that begin alike compute the beginning once.
//!
//! A [`Past`] holds the tables of a sequence's blocks, and sequences share blocks, so what begins alike is in memory
//! once. The index maps the hash of each beginning, taken every [`STEP`] tokens, to the past that has it; the hash
//! begins with the tenant, so that nobody can tell from a time what another tenant asked. What the hash finds is
//! compared token by token. The least recently used go first.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use crate::images::{SequenceImage, Tokens};
use crate::sequence::Past;

/// Tokens between two beginnings that the index knows: those of a block.
const STEP: usize = puna_tensor::KvLayout::BLOCK;

/// Whose prompts may share what was computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tenant(pub Vec<u8>);

/// What is known of the beginning of a prompt.
pub(crate) struct Known {
    /// As far as the prompt has it too.
    pub past: Past,
    /// The first token in which the prompt differs from what was remembered; `None` where one begins with the other.
    pub left_at: Option<usize>,
}

impl Known {
    /// What a past knows of these tokens.
    pub fn of(past: Past, tokens: Tokens) -> Known {
        let n_common = past.n_common(tokens);
        let left_at = (n_common < past.tokens().len().min(tokens.ids.len())).then_some(n_common);
        Known { past: past.keep_common_beginning(tokens), left_at }
    }
}

struct Entry {
    tenant: Tenant,
    past: Past,
    last_used: u64,
}

/// Pasts by their content.
pub(crate) struct PrefixCache {
    entries: HashMap<u64, Entry>,
    /// From a beginning's hash to a past that has it.
    index: HashMap<u64, u64>,
    hashes: RandomState,
    max_entries: usize,
    n_inserted: u64,
    clock: u64,
}

impl PrefixCache {
    /// An empty one that holds at most this many pasts.
    pub fn new(max_entries: usize) -> PrefixCache {
        PrefixCache {
            entries: HashMap::new(),
            index: HashMap::new(),
            hashes: RandomState::new(),
            max_entries,
            n_inserted: 0,
            clock: 0,
        }
    }

    /// Pasts that it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The hashes of the beginnings of a prompt, the shortest first.
    fn beginnings(&self, tenant: &Tenant, tokens: Tokens) -> Vec<u64> {
        let mut hasher = self.hashes.build_hasher();
        std::hash::Hash::hash(tenant, &mut hasher);
        let mut images = tokens.images.iter().peekable();
        let mut hash = |(i, ids): (usize, &[u32])| {
            ids.iter().for_each(|id| hasher.write_u32(*id));
            let end = (i + 1) * STEP;
            while let Some(image) = images.next_if(|image| image.positions.first().is_some_and(|p| *p < end))
            {
                hasher.write_u128(image.id);
            }
            hasher.finish()
        };
        tokens.ids.chunks_exact(STEP).enumerate().map(&mut hash).collect()
    }

    /// What is known of the longest beginning of a prompt; it is used now.
    pub fn find(&mut self, tenant: &Tenant, tokens: Tokens) -> Option<Known> {
        let found =
            self.beginnings(tenant, tokens).iter().rev().find_map(|hash| self.index.get(hash).copied());
        // Shorter than a step: whichever has most of it.
        let id = found.or_else(|| {
            let own = self.entries.iter().filter(|(_, entry)| entry.tenant == *tenant);
            let common = |entry: &Entry| common_beginning(entry.past.tokens(), tokens.ids);
            let best = own.map(|(id, entry)| (common(entry), *id)).filter(|(n, _)| *n > 0).max();
            best.map(|(_, id)| id)
        })?;
        self.clock += 1;
        let entry = self.entries.get_mut(&id)?;
        entry.last_used = self.clock;
        Some(Known::of(entry.past.clone(), tokens))
    }

    /// Keeps what was computed. What is a beginning of it is not kept apart.
    pub fn insert(&mut self, tenant: Tenant, past: Past) {
        if past.tokens().is_empty() || self.max_entries == 0 {
            return;
        }
        let covered = |a: &Past, b: &Past| {
            b.tokens().starts_with(a.tokens())
                && same_images(&a.images, &b.images[..a.images.len().min(b.images.len())])
        };
        self.clock += 1;
        let of_tenant = self.entries.iter_mut().filter(|(_, entry)| entry.tenant == tenant);
        let mut outdated = Vec::new();
        for (id, entry) in of_tenant {
            if covered(&past, &entry.past) {
                entry.last_used = self.clock;
                return;
            }
            if covered(&entry.past, &past) {
                outdated.push(*id);
            }
        }
        outdated.into_iter().for_each(|id| drop(self.entries.remove(&id)));
        while self.entries.len() >= self.max_entries && self.evict() {}
        let id = self.n_inserted;
        self.n_inserted += 1;
        for hash in self.beginnings(&tenant, Tokens { ids: past.tokens(), images: &past.images }) {
            self.index.insert(hash, id);
        }
        self.entries.insert(id, Entry { tenant, past, last_used: self.clock });
        if self.index.len() > 2 * self.n_beginnings() + 64 {
            self.rebuild_index();
        }
    }

    /// Forgets what was used longest ago. Returns whether there was anything.
    pub fn evict(&mut self) -> bool {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_used).map(|(id, _)| *id);
        let Some(entry) = oldest.and_then(|id| self.entries.remove(&id)) else { return false };
        // Beginnings that another past has too are found by it.
        drop(entry);
        self.rebuild_index();
        true
    }

    fn n_beginnings(&self) -> usize {
        self.entries.values().map(|entry| entry.past.tokens().len() / STEP).sum()
    }

    fn rebuild_index(&mut self) {
        let mut index = HashMap::with_capacity(self.n_beginnings());
        let mut ids: Vec<(u64, u64)> =
            self.entries.iter().map(|(id, entry)| (entry.last_used, *id)).collect();
        ids.sort_unstable();
        for (_, id) in ids {
            let entry = &self.entries[&id];
            let tokens = Tokens { ids: entry.past.tokens(), images: &entry.past.images };
            for hash in self.beginnings(&entry.tenant, tokens) {
                index.insert(hash, id);
            }
        }
        self.index = index;
    }
}

fn same_images(a: &[SequenceImage], b: &[SequenceImage]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.id == b.id && a.positions == b.positions)
}

/// How many tokens two sequences have in common at their beginning.
pub(crate) fn common_beginning(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
