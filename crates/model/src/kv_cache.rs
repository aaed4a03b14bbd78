//! The keys and values of one sequence: tables of blocks that sequences may share.
//!
//! A block holds [`KvLayout::BLOCK`] positions of some layers. Layers that see all positions have one table, layers that
//! see chunks have another, in which every chunk begins a block and only the last chunk is kept. Keys and values of images
//! have a table for each run of images that follow each other in the text, since positions after a run see all of it, and
//! those in the run its beginning. Cloning a cache shares its blocks; writing to a shared one copies it first. The engine
//! owns caches and passes them in; the model keeps no state.
//!
//! Blocks of layers that see all positions, which alone grow with the sequence, may be in a file that the system maps into
//! memory ([`KvCache::spilled_to`]).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use puna_formats::{FormatError, SpillFile, SpillPiece};
use puna_tensor::{Isa, KvKind, KvLayout};

use crate::config::Sight;

pub(crate) mod synthetic;

/// Positions of every layer of a table: `[n_layers, layer_bytes]`. It begins at a cache line: a vector that straddles two is
/// loaded at half the speed.
enum Block {
    /// In memory of our own, from `start` on.
    Own { buffer: Vec<u8>, start: usize },
    /// In a file.
    Spilled(SpillPiece),
}

impl Block {
    const ALIGNMENT: usize = 64;

    fn bytes(&self) -> &[u8] {
        match self {
            Block::Own { buffer, start } => &buffer[*start..][..buffer.len() - Self::ALIGNMENT],
            Block::Spilled(piece) => piece.bytes(),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Block::Own { buffer, start } => {
                let n_bytes = buffer.len() - Self::ALIGNMENT;
                &mut buffer[*start..][..n_bytes]
            }
            Block::Spilled(piece) => piece.bytes_mut(),
        }
    }
}

/// Where new blocks of a table come from.
#[derive(Clone)]
enum Memory {
    Own,
    Spilled(SpillFile),
}

impl Memory {
    /// A block of zeros. Fails if the file has no room.
    fn block(&self, n_bytes: usize) -> Result<Block, FormatError> {
        Ok(match self {
            Memory::Own => {
                let buffer = vec![0; n_bytes + Block::ALIGNMENT];
                let start = buffer.as_ptr().align_offset(Block::ALIGNMENT).min(Block::ALIGNMENT);
                Block::Own { buffer, start }
            }
            Memory::Spilled(file) => Block::Spilled(file.piece()?),
        })
    }
}

/// The blocks of layers that see alike.
#[derive(Clone)]
struct Table {
    /// Positions of a chunk: a layer sees those of the query's own.
    chunk: Option<usize>,
    n_layers: usize,
    /// Blocks of earlier chunks that were dropped.
    n_dropped: usize,
    blocks: VecDeque<Arc<Block>>,
    memory: Memory,
}

impl Table {
    /// A table without layers and positions, in memory of our own.
    fn new(chunk: Option<usize>) -> Table {
        Table { chunk, n_layers: 0, n_dropped: 0, blocks: VecDeque::new(), memory: Memory::Own }
    }

    /// Blocks of a chunk.
    fn chunk_blocks(chunk: usize) -> usize {
        chunk.div_ceil(KvLayout::BLOCK)
    }

    /// The block of a position, counted from the sequence's beginning, and its place there.
    fn place(&self, position: usize) -> (usize, usize) {
        let (first, position) = match self.chunk {
            Some(chunk) => (position / chunk * Self::chunk_blocks(chunk), position % chunk),
            None => (0, position),
        };
        (first + position / KvLayout::BLOCK, position % KvLayout::BLOCK)
    }

    /// Blocks up to and with the one of the last of `len` positions.
    fn n_blocks(&self, len: usize) -> usize {
        len.checked_sub(1).map_or(0, |last| self.place(last).0 + 1)
    }

    /// The first block of the chunk of the last of `len` positions, which are all that a layer sees of them.
    fn first_block(&self, len: usize) -> usize {
        let (Some(chunk), Some(last)) = (self.chunk, len.checked_sub(1)) else { return 0 };
        last / chunk * Self::chunk_blocks(chunk)
    }

    /// Drops the chunks before that of the last of `len` positions.
    fn drop_earlier_chunks(&mut self, len: usize) {
        let first = self.first_block(len);
        while self.n_dropped < first && self.blocks.pop_front().is_some() {
            self.n_dropped += 1;
        }
    }

    /// Makes room for the positions from `from` to before `to`, in blocks that are this table's alone. Where it fails, some
    /// blocks may have been added.
    fn reserve(&mut self, layout: KvLayout, from: usize, to: usize) -> Result<(), FormatError> {
        let (n_blocks, n_bytes) = (self.n_blocks(to), self.n_layers * layout.block_bytes());
        while self.n_dropped + self.blocks.len() < n_blocks {
            self.blocks.push_back(Arc::new(self.memory.block(n_bytes)?));
        }
        let first = self.place(from).0.saturating_sub(self.n_dropped);
        for block in self.blocks.range_mut(first.min(self.blocks.len())..) {
            if Arc::get_mut(block).is_none() {
                let mut copy = self.memory.block(n_bytes)?;
                copy.bytes_mut().copy_from_slice(block.bytes());
                *block = Arc::new(copy);
            }
        }
        Ok(())
    }

    /// Stores keys and values, `[n, n_kv_heads * head_dim]` each, of the positions from `from` on, which were reserved.
    fn store(&mut self, isa: Isa, layout: KvLayout, layer: usize, from: usize, k: &[f32], v: &[f32]) {
        let row_len = layout.n_kv_heads() * layout.head_dim();
        let layer_bytes = layout.block_bytes();
        let (mut position, end) = (from, from + k.len() / row_len);
        while position < end {
            // A block's positions in one run: keys lie transposed in it.
            let (block, in_block) = self.place(position);
            let in_chunk = self.chunk.map_or(usize::MAX, |chunk| chunk - position % chunk);
            let n = (KvLayout::BLOCK - in_block).min(in_chunk).min(end - position);
            let rows = (position - from) * row_len..(position - from + n) * row_len;
            let block =
                Arc::get_mut(&mut self.blocks[block - self.n_dropped]).expect("reserved for us alone");
            let bytes = &mut block.bytes_mut()[layer * layer_bytes..(layer + 1) * layer_bytes];
            layout.store(isa, bytes, KvKind::Key, in_block, &k[rows.clone()]);
            layout.store(isa, bytes, KvKind::Value, in_block, &v[rows]);
            position += n;
        }
    }

    /// A layer's bytes of the blocks from the `first` to the `last`, counted among those held.
    fn layer_blocks(&self, layout: KvLayout, layer: usize, first: usize, last: usize) -> Vec<&[u8]> {
        let layer_bytes = layout.block_bytes();
        let bytes = layer * layer_bytes..(layer + 1) * layer_bytes;
        self.blocks.range(first..=last).map(|block| &block.bytes()[bytes.clone()]).collect()
    }

    /// Forgets all positions from `len` on.
    fn truncate(&mut self, len: usize) {
        let n_blocks = self.n_blocks(len);
        if n_blocks < self.n_dropped {
            self.blocks.clear();
            self.n_dropped = n_blocks;
        }
        self.blocks.truncate(n_blocks - self.n_dropped);
    }

    /// The first position whose chunk was not dropped.
    fn first_kept(&self) -> usize {
        self.chunk.map_or(0, |chunk| self.n_dropped / Self::chunk_blocks(chunk) * chunk)
    }
}

/// Some new positions of a sequence and the keys that a layer lets them see, those of its blocks.
pub(crate) struct Seen<'a> {
    pub n_rows: usize,
    /// The first new position, counted from the first block's first.
    pub first_position: usize,
    pub blocks: Vec<&'a [u8]>,
}

/// New positions that see the same keys of images.
pub(crate) struct SeenImages<'a> {
    /// Counted from the first new position.
    pub rows: Range<usize>,
    pub n_keys: usize,
    pub blocks: Vec<&'a [u8]>,
}

/// Images that follow each other in the text without anything between them.
#[derive(Clone)]
struct Run {
    /// Of each image, its position in the text and where its keys end.
    images: Vec<(usize, usize)>,
    table: Table,
}

/// Where a layer's keys and values are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a table, at this place among its layers.
    Text(usize, usize),
    /// In those of images, likewise.
    Images(usize),
}

/// One sequence's keys and values.
#[derive(Clone)]
pub struct KvCache {
    layout: KvLayout,
    tables: Vec<Table>,
    runs: Vec<Run>,
    layers: Arc<[Place]>,
    len: usize,
}

impl KvCache {
    /// An empty cache for a model whose layers see this.
    ///
    /// # Panics
    /// If a chunk is empty.
    pub fn new(layout: KvLayout, sights: impl IntoIterator<Item = Sight>) -> KvCache {
        let mut tables: Vec<Table> = Vec::new();
        let mut n_image_layers = 0;
        let layers = sights.into_iter().map(|sight| {
            let chunk = match sight {
                Sight::All => None,
                Sight::Chunk(chunk) => Some(chunk),
                Sight::Images => {
                    n_image_layers += 1;
                    return Place::Images(n_image_layers - 1);
                }
            };
            assert!(chunk != Some(0), "a chunk has positions");
            let i = tables.iter().position(|table| table.chunk == chunk).unwrap_or_else(|| {
                tables.push(Table::new(chunk));
                tables.len() - 1
            });
            tables[i].n_layers += 1;
            Place::Text(i, tables[i].n_layers - 1)
        });
        let layers = layers.collect();
        KvCache { layout, tables, runs: Vec::new(), layers, len: 0 }
    }

    /// The bytes of a block of the layers that see all positions, which are those of a piece of a file for them; 0 if no layer
    /// does.
    pub fn spilled_bytes(layout: KvLayout, sights: impl IntoIterator<Item = Sight>) -> usize {
        sights.into_iter().filter(|sight| *sight == Sight::All).count() * layout.block_bytes()
    }

    /// The cache, with keys and values of the layers that see all positions in a file from now on. Its bits are the same.
    ///
    /// # Panics
    /// If the cache holds positions, or the file's pieces are not of [`KvCache::spilled_bytes`].
    pub fn spilled_to(mut self, file: &SpillFile) -> KvCache {
        assert!(self.is_empty(), "blocks stay where they are");
        for table in self.tables.iter_mut().filter(|table| table.chunk.is_none()) {
            assert_eq!(file.piece_bytes(), table.n_layers * self.layout.block_bytes());
            table.memory = Memory::Spilled(file.clone());
        }
        self
    }

    /// For tests of what no disk has room for.
    #[cfg(test)]
    pub(crate) fn spill_unchecked(&mut self, file: &SpillFile) {
        self.tables.iter_mut().for_each(|table| table.memory = Memory::Spilled(file.clone()));
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all positions from `len` on; those before do not depend on them. Where they are in a chunk that was dropped
    /// already, all of that chunk is forgotten. Returns how many are left.
    pub fn truncate(&mut self, len: usize) -> usize {
        let mut len = self.len.min(len);
        // Each table may move the end back, and what it then lacks another may have: until none moves it.
        while let Some(start) = self.tables.iter().find_map(|table| {
            let start = len - table.chunk.map_or(0, |chunk| len % chunk);
            (len < table.first_kept() && start < len).then_some(start)
        }) {
            len = start;
        }
        self.len = len;
        self.tables.iter_mut().for_each(|table| table.truncate(len));
        self.runs.retain_mut(|run| {
            run.images.retain(|(position, _)| *position < len);
            run.table.truncate(run.images.last().map_or(0, |(_, end)| *end));
            !run.images.is_empty()
        });
        len
    }

    /// Bytes of its blocks, shared ones included.
    pub fn bytes(&self) -> usize {
        let tables = self.tables.iter().chain(self.runs.iter().map(|run| &run.table));
        let blocks = tables.map(|table| table.blocks.len() * table.n_layers);
        blocks.sum::<usize>() * self.layout.block_bytes()
    }

    /// Bytes that `len` positions of a sequence without images need; `usize::MAX` for more than can be counted.
    pub fn bytes_for(layout: KvLayout, sights: impl IntoIterator<Item = Sight>, len: usize) -> usize {
        let layers = sights.into_iter().map(|sight| match sight {
            Sight::All => len,
            Sight::Chunk(chunk) => len.min(chunk),
            Sight::Images => 0,
        });
        let blocks = layers.map(|len| len.div_ceil(KvLayout::BLOCK)).fold(0usize, usize::saturating_add);
        blocks.saturating_mul(layout.block_bytes())
    }

    /// Makes room for `n` positions after those held; they count as held from [`KvCache::advance`] on. Fails, with the cache
    /// as before, if the file that keys and values are in has no room.
    pub(crate) fn reserve(&mut self, n: usize) -> Result<(), FormatError> {
        let (len, layout) = (self.len, self.layout);
        let reserved = self.tables.iter_mut().try_for_each(|table| table.reserve(layout, len, len + n));
        reserved.inspect_err(|_| self.release_reserved())
    }

    /// Gives back what was reserved and not used.
    pub(crate) fn release_reserved(&mut self) {
        let len = self.len;
        self.tables.iter_mut().for_each(|table| table.truncate(len));
    }

    /// Stores a layer's keys and values, `[n, n_kv_heads * head_dim]` each, of the `n` positions reserved.
    pub(crate) fn store(&mut self, isa: Isa, layer: usize, k: &[f32], v: &[f32]) {
        let Place::Text(table, layer) = self.layers[layer] else { unreachable!("the layer sees text") };
        self.tables[table].store(isa, self.layout, layer, self.len, k, v);
    }

    /// Makes room for the `n_keys` keys of an image at a reserved position, after those of all others.
    pub(crate) fn reserve_image(&mut self, position: usize, n_keys: usize) {
        let (layout, n_layers) = (self.layout, self.n_image_layers());
        let follows = |run: &&mut Run| run.images.last().is_some_and(|(last, _)| last + 1 == position);
        if self.runs.last_mut().as_ref().filter(|run| follows(run)).is_none() {
            self.runs.push(Run { images: Vec::new(), table: Table { n_layers, ..Table::new(None) } });
        }
        let Some(run) = self.runs.last_mut() else { return };
        let start = run.images.last().map_or(0, |(_, end)| *end);
        run.images.push((position, start + n_keys));
        run.table.reserve(layout, start, start + n_keys).expect("images are in memory of our own");
    }

    /// Stores a layer's keys and values of the image at a position.
    pub(crate) fn store_image(&mut self, isa: Isa, layer: usize, position: usize, k: &[f32], v: &[f32]) {
        let Place::Images(layer) = self.layers[layer] else { unreachable!("the layer sees images") };
        let n_keys = k.len() / (self.layout.n_kv_heads() * self.layout.head_dim());
        for run in &mut self.runs {
            if let Some((_, end)) = run.images.iter().find(|(p, _)| *p == position) {
                run.table.store(isa, self.layout, layer, end - n_keys, k, v);
            }
        }
    }

    fn n_image_layers(&self) -> usize {
        self.layers.iter().filter(|place| matches!(place, Place::Images(_))).count()
    }

    /// Which of `n` new positions see images: all from the first image on.
    pub(crate) fn rows_that_see_images(&self, n: usize) -> Range<usize> {
        let first = self.runs.first().and_then(|run| run.images.first());
        first.map_or(n..n, |(position, _)| position.saturating_sub(self.len).min(n)..n)
    }

    /// What a layer lets `n` new positions see of images: those of the last run before a position, up to the position.
    pub(crate) fn seen_images(&self, layer: usize, n: usize) -> Vec<SeenImages<'_>> {
        let Place::Images(layer) = self.layers[layer] else { unreachable!("the layer sees images") };
        let images = self.runs.iter().flat_map(|run| run.images.iter().map(move |image| (run, *image)));
        let images: Vec<_> = images.collect();
        let mut seen = Vec::new();
        for (i, (run, (position, n_keys))) in images.iter().enumerate() {
            let end = images.get(i + 1).map_or(self.len + n, |(_, (next, _))| *next);
            let rows = position.saturating_sub(self.len)..end.saturating_sub(self.len);
            if rows.is_empty() {
                continue;
            }
            let last = run.table.place(n_keys - 1).0;
            let blocks = run.table.layer_blocks(self.layout, layer, 0, last);
            seen.push(SeenImages { rows, n_keys: *n_keys, blocks });
        }
        seen
    }

    /// What a layer lets `n` new positions see: all in one, or chunk by chunk.
    pub(crate) fn seen(&self, layer: usize, n: usize) -> Vec<Seen<'_>> {
        let Place::Text(table, layer) = self.layers[layer] else { unreachable!("the layer sees text") };
        let table = &self.tables[table];
        let (mut position, end) = (self.len, self.len + n);
        let mut seen = Vec::new();
        while position < end {
            let first_position = table.chunk.map_or(position, |chunk| position % chunk);
            let n_rows = table.chunk.map_or(usize::MAX, |chunk| chunk - first_position).min(end - position);
            let first = table.place(position - first_position).0 - table.n_dropped;
            let last = table.place(position + n_rows - 1).0 - table.n_dropped;
            let blocks = table.layer_blocks(self.layout, layer, first, last);
            seen.push(Seen { n_rows, first_position, blocks });
            position += n_rows;
        }
        seen
    }

    /// Counts `n` stored positions as held; chunks that nobody will see any more are dropped.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
        self.tables.iter_mut().for_each(|table| table.drop_earlier_chunks(self.len));
    }

    pub(crate) fn layout(&self) -> KvLayout {
        self.layout
    }

    /// What each layer sees.
    pub(crate) fn sights(&self) -> impl Iterator<Item = Sight> {
        self.layers.iter().map(|place| match place {
            Place::Text(table, _) => self.tables[*table].chunk.map_or(Sight::All, Sight::Chunk),
            Place::Images(_) => Sight::Images,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_tensor::DType;

    /// A layer's blocks, all of them.
    fn layer(cache: &KvCache, layer: usize) -> Vec<&[u8]> {
        let bytes = cache.layout.block_bytes();
        let Place::Text(table, i) = cache.layers[layer] else { panic!("a layer of text") };
        cache.tables[table].blocks.iter().map(|block| &block.bytes()[i * bytes..(i + 1) * bytes]).collect()
    }

    #[test]
    fn a_fork_shares_until_it_writes() {
        let layout = KvLayout::new(DType::F32, 1, 2);
        let mut a = KvCache::new(layout, [Sight::All]);
        let write = |cache: &mut KvCache, value: f32| {
            cache.reserve(1).unwrap();
            cache.store(Isa::SCALAR, 0, &[value; 2], &[value; 2]);
            cache.advance(1);
        };
        write(&mut a, 1.0);
        let mut b = a.clone();
        assert!(Arc::ptr_eq(&a.tables[0].blocks[0], &b.tables[0].blocks[0]));
        write(&mut b, 2.0);
        assert!(!Arc::ptr_eq(&a.tables[0].blocks[0], &b.tables[0].blocks[0]));
        assert_eq!((a.len(), b.len()), (1, 2));
        // Keys are [head_dim, BLOCK]: the first element of both positions, and the second.
        let first_keys = |cache: &KvCache| layer(cache, 0)[0].as_chunks::<4>().0[..2].to_vec();
        assert_eq!(first_keys(&a), [1f32.to_le_bytes(), [0; 4]]);
        assert_eq!(first_keys(&b), [1f32.to_le_bytes(), 2f32.to_le_bytes()]);
        b.truncate(0);
        assert_eq!(b.bytes(), 0);
    }

    #[test]
    fn a_run_across_blocks_is_stored_as_its_positions_are() {
        let layout = KvLayout::new(DType::Q8_0, 2, 5);
        let k: Vec<f32> = (0..10 * 150).map(|i| (i as f32).sin()).collect();
        let v: Vec<f32> = k.iter().map(|x| 2.0 - x).collect();
        let (mut whole, mut parts) =
            (KvCache::new(layout, [Sight::All; 2]), KvCache::new(layout, [Sight::All; 2]));
        whole.reserve(150).unwrap();
        whole.store(Isa::best(), 1, &k, &v);
        whole.advance(150);
        let mut first = 0;
        for n in [1, 62, 1, 2, 84] {
            let rows = 10 * first..10 * (first + n);
            parts.reserve(n).unwrap();
            parts.store(Isa::best(), 1, &k[rows.clone()], &v[rows]);
            parts.advance(n);
            first += n;
        }
        assert_eq!(layer(&whole, 1), layer(&parts, 1));
        assert!(layer(&whole, 0).iter().all(|block| block.iter().all(|byte| *byte == 0)));
    }

    /// One layer of chunks of 100, one that sees all: a chunk begins a block, and only the last one is kept.
    #[test]
    fn chunks_are_dropped_when_nobody_sees_them() {
        let layout = KvLayout::new(DType::F32, 1, 2);
        let mut cache = KvCache::new(layout, [Sight::Chunk(100), Sight::All]);
        let extend = |cache: &mut KvCache, n: usize| {
            let k: Vec<f32> = (cache.len()..cache.len() + n).flat_map(|p| [p as f32; 2]).collect();
            cache.reserve(n).unwrap();
            (0..2).for_each(|layer| cache.store(Isa::SCALAR, layer, &k, &k));
            let rows = |layer| {
                cache.seen(layer, n).iter().map(|s| (s.n_rows, s.first_position, s.blocks.len())).collect()
            };
            let seen: [Vec<_>; 2] = [rows(0), rows(1)];
            cache.advance(n);
            seen
        };
        assert_eq!(extend(&mut cache, 90), [vec![(90, 0, 2)], vec![(90, 0, 2)]]);
        assert_eq!(extend(&mut cache, 120), [vec![(10, 90, 2), (100, 0, 2), (10, 0, 1)], vec![(120, 90, 4)]]);
        assert_eq!((cache.tables[0].blocks.len(), cache.tables[1].blocks.len()), (1, 4));
        assert_eq!(cache.bytes(), 5 * layout.block_bytes());
        // The first key of the last chunk is position 200.
        assert_eq!(layer(&cache, 0)[0].as_chunks::<4>().0[0], 200f32.to_le_bytes());
        assert_eq!(cache.clone().truncate(205), 205);
        assert_eq!(cache.clone().truncate(200), 200);
        assert_eq!(cache.truncate(170), 100);
        assert_eq!((cache.tables[0].n_dropped, cache.tables[0].blocks.len()), (2, 0));
        assert_eq!(extend(&mut cache, 30), [vec![(30, 0, 1)], vec![(30, 100, 3)]]);
        assert_eq!(
            KvCache::bytes_for(layout, [Sight::Chunk(100), Sight::All], 1000),
            18 * layout.block_bytes()
        );
    }
}
