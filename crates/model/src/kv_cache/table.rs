//! The blocks of layers that attend alike, in the order of their positions.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use puna_formats::{FormatError, SpillFile, SpillPiece};
use puna_tensor::{KvLayout, KvSlot};

use crate::block_pool::Lease;

/// A block of each layer of a table side by side, `[n_layers, block_bytes]`, for the same positions. It
/// begins at a cache line: a vector that straddles two is loaded at half the speed.
pub(super) struct BlockGroup {
    bytes: GroupBytes,
    /// Counts its blocks as used.
    _lease: Lease,
}

enum GroupBytes {
    /// In memory of our own, from `start` on.
    Own { buffer: Vec<u8>, start: usize },
    /// In a file.
    Spilled(SpillPiece),
}

impl BlockGroup {
    const ALIGNMENT: usize = 64;

    /// All layers' blocks.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            GroupBytes::Own { buffer, start } => &buffer[*start..][..buffer.len() - Self::ALIGNMENT],
            GroupBytes::Spilled(piece) => piece.bytes(),
        }
    }

    /// All layers' blocks.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            GroupBytes::Own { buffer, start } => {
                let n_bytes = buffer.len() - Self::ALIGNMENT;
                &mut buffer[*start..][..n_bytes]
            }
            GroupBytes::Spilled(piece) => piece.bytes_mut(),
        }
    }
}

/// Where new blocks of a table lie.
#[derive(Clone)]
pub(super) enum Memory {
    /// In memory of our own.
    Own,
    /// In a file that the system maps.
    Spilled(SpillFile),
}

/// The blocks of layers that attend alike.
#[derive(Clone)]
pub(super) struct Table {
    pub layout: KvLayout,
    /// Positions of a chunk, where a layer attends to the query's own chunk alone.
    pub chunk: Option<usize>,
    pub n_layers: usize,
    /// Groups of earlier chunks that were dropped.
    pub n_dropped: usize,
    pub groups: VecDeque<Arc<BlockGroup>>,
    pub memory: Memory,
}

impl Table {
    /// A table without layers and positions, in memory of our own.
    pub fn new(layout: KvLayout, chunk: Option<usize>) -> Table {
        Table { layout, chunk, n_layers: 0, n_dropped: 0, groups: VecDeque::new(), memory: Memory::Own }
    }

    /// Blocks that it has, those that it shares included.
    pub fn n_blocks(&self) -> usize {
        self.groups.len() * self.n_layers
    }

    /// Bytes of a group.
    pub fn group_bytes(&self) -> usize {
        self.n_layers * self.layout.block_bytes()
    }

    /// Groups of a chunk.
    fn chunk_groups(chunk: usize) -> usize {
        chunk.div_ceil(KvLayout::BLOCK)
    }

    /// The group of a position, counted from the sequence's beginning, and the position's place in its
    /// blocks.
    pub fn locate(&self, position: usize) -> (usize, usize) {
        let (first, position) = match self.chunk {
            Some(chunk) => (position / chunk * Self::chunk_groups(chunk), position % chunk),
            None => (0, position),
        };
        (first + position / KvLayout::BLOCK, position % KvLayout::BLOCK)
    }

    /// Groups up to and including the one of the last of `len` positions.
    pub fn n_groups(&self, len: usize) -> usize {
        len.checked_sub(1).map_or(0, |last| self.locate(last).0 + 1)
    }

    /// The first group of the chunk of the last of `len` positions; a layer attends to none before it.
    pub fn first_group(&self, len: usize) -> usize {
        let (Some(chunk), Some(last)) = (self.chunk, len.checked_sub(1)) else { return 0 };
        last / chunk * Self::chunk_groups(chunk)
    }

    /// Drops the chunks before that of the last of `len` positions.
    pub fn drop_earlier_chunks(&mut self, len: usize) {
        let first = self.first_group(len);
        while self.n_dropped < first && self.groups.pop_front().is_some() {
            self.n_dropped += 1;
        }
    }

    /// The groups held that positions from `from` on touch.
    fn touched(&self, from: usize) -> Range<usize> {
        let first = self.locate(from).0.saturating_sub(self.n_dropped);
        first.min(self.groups.len())..self.groups.len()
    }

    /// Groups that the positions from `from` to before `to` need and this table does not have for itself: new
    /// ones, and copies of those that others share.
    pub fn groups_needed(&self, from: usize, to: usize) -> usize {
        let n_new = self.n_groups(to).saturating_sub(self.n_dropped + self.groups.len());
        // Nobody else can begin to share a group that this table has alone.
        let shared = self.groups.range(self.touched(from)).filter(|group| Arc::strong_count(group) > 1);
        n_new + shared.count()
    }

    /// Memory for `n` groups, all zeros, whose blocks are counted by `lease`. Fails if the file has no room.
    pub fn new_groups(&self, lease: &mut Lease, n: usize) -> Result<Vec<BlockGroup>, FormatError> {
        let n_bytes = self.group_bytes();
        let group = |_| {
            let bytes = match &self.memory {
                Memory::Own => {
                    let buffer = vec![0; n_bytes + BlockGroup::ALIGNMENT];
                    let start = buffer.as_ptr().align_offset(BlockGroup::ALIGNMENT);
                    GroupBytes::Own { buffer, start: start.min(BlockGroup::ALIGNMENT) }
                }
                Memory::Spilled(file) => GroupBytes::Spilled(file.piece()?),
            };
            Ok(BlockGroup { bytes, _lease: lease.split(self.n_layers) })
        };
        (0..n).map(group).collect()
    }

    /// Makes room for the positions from `from` to before `to`, in groups that are this table's alone: the
    /// [`Table::groups_needed`] for them.
    pub fn reserve(&mut self, from: usize, to: usize, groups: Vec<BlockGroup>) {
        let (touched, mut groups) = (self.touched(from), groups.into_iter());
        for group in self.groups.range_mut(touched) {
            if Arc::get_mut(group).is_none()
                && let Some(mut copy) = groups.next()
            {
                copy.bytes_mut().copy_from_slice(group.bytes());
                *group = Arc::new(copy);
            }
        }
        let n_groups = self.n_groups(to).saturating_sub(self.n_dropped);
        while self.groups.len() < n_groups {
            self.groups.push_back(Arc::new(groups.next().expect("one for each that is needed")));
        }
    }

    /// Where the positions from `from` on, whose keys and values are `rows`, lie in a layer's blocks. They
    /// were reserved.
    pub fn slots(&mut self, layer: usize, from: usize, rows: Range<usize>) -> Vec<KvSlot<'_>> {
        let layout = self.layout;
        let bytes = layer * layout.block_bytes()..(layer + 1) * layout.block_bytes();
        let (mut position, end) = (from, from + rows.len());
        let mut runs = Vec::new();
        while position < end {
            // A block's positions in one run: keys lie transposed in it.
            let (_, in_block) = self.locate(position);
            let in_chunk = self.chunk.map_or(usize::MAX, |chunk| chunk - position % chunk);
            let n = (KvLayout::BLOCK - in_block).min(in_chunk).min(end - position);
            let first = rows.start + position - from;
            runs.push((first..first + n, in_block));
            position += n;
        }
        // Neighbouring runs lie in neighbouring groups, since a chunk begins one.
        let first = self.locate(from).0 - self.n_dropped;
        let groups = self.groups.range_mut(first..first + runs.len());
        let slot = |(group, (rows, position)): (_, (Range<usize>, usize))| {
            let group: &mut BlockGroup = Arc::get_mut(group).expect("reserved for this table alone");
            KvSlot { layout, rows, block: &mut group.bytes_mut()[bytes.clone()], position }
        };
        groups.zip(runs).map(slot).collect()
    }

    /// A layer's blocks of the groups from the `first` to the `last`, counted among those held.
    pub fn layer_blocks(&self, layer: usize, first: usize, last: usize) -> Vec<&[u8]> {
        let bytes = layer * self.layout.block_bytes()..(layer + 1) * self.layout.block_bytes();
        self.groups.range(first..=last).map(|group| &group.bytes()[bytes.clone()]).collect()
    }

    /// Forgets all positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        let n_groups = self.n_groups(len);
        if n_groups < self.n_dropped {
            self.groups.clear();
            self.n_dropped = n_groups;
        }
        self.groups.truncate(n_groups - self.n_dropped);
    }

    /// The first position whose chunk was not dropped.
    pub fn first_kept(&self) -> usize {
        self.chunk.map_or(0, |chunk| self.n_dropped / Self::chunk_groups(chunk) * chunk)
    }
}
