//! The keys and values of one sequence: tables of blocks that sequences may share.
//!
//! A block holds [`KvLayout::BLOCK`] positions of one layer. Layers that attend to all positions have one
//! table, layers that attend to chunks have another, in which every chunk begins a block and only the last
//! chunk is kept. Keys and values of images have a table for each run of images that follow each other in the
//! text: positions after a run attend to all of it, those in the run to its beginning. Cloning a cache shares
//! its blocks; writing to a shared one copies it first. The engine owns caches and passes them in; the model
//! keeps no state.
//!
//! A cache keeps tables and counts. It computes nothing and knows no device: it says where keys and values
//! lie, and the graph stores them and attends to them there. Blocks come from a counted [`BlockPool`]
//! ([`KvCache::in_pool`]). Those of layers that attend to all positions, which alone grow with the sequence,
//! may be in a file that the system maps into memory ([`KvCache::spilled_to`]).

#[cfg(test)]
mod long_context;
mod synthetic;
mod table;

use std::ops::Range;
use std::sync::Arc;

use puna_formats::SpillFile;
use puna_tensor::{KvLayout, KvSlot};

use crate::block_pool::BlockPool;
use crate::config::LayerAttention;
use crate::error::ModelError;
use table::{BlockGroup, Memory, Table};

/// Some new positions of a sequence and the keys that they attend to in a layer, those of its blocks.
pub(crate) struct VisibleKeys<'a> {
    pub n_rows: usize,
    /// The first new position, counted from the first block's first.
    pub first_position: usize,
    pub blocks: Vec<&'a [u8]>,
}

/// New positions that attend to the same keys of images.
pub(crate) struct VisibleImages<'a> {
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
enum LayerTable {
    /// In a table, at this place among its layers.
    Text(usize, usize),
    /// In those of images, likewise.
    Images(usize),
    /// Nowhere: it has none.
    Nowhere,
}

/// Where the keys of a new image go.
struct ImagePlan {
    run: usize,
    position: usize,
    /// Among those of the run.
    keys: Range<usize>,
    n_groups: usize,
}

/// One sequence's keys and values.
#[derive(Clone)]
pub struct KvCache {
    /// That of the largest blocks; layers with fewer heads have tables of their own.
    layout: KvLayout,
    tables: Vec<Table>,
    runs: Vec<Run>,
    /// Of the layers from `first_layer` on.
    layers: Arc<[LayerTable]>,
    first_layer: usize,
    len: usize,
    pool: BlockPool,
}

/// An image among new positions: its position, counted from the first new one, and how many keys it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageKeys {
    /// Counted from the first new position.
    pub position: usize,
    /// Rows of its vectors.
    pub n_keys: usize,
}

impl KvCache {
    /// An empty cache for a model whose layers see this.
    ///
    /// # Panics
    /// If a chunk is empty.
    pub fn new(layout: KvLayout, layers: impl IntoIterator<Item = LayerAttention>) -> KvCache {
        KvCache::of_layouts(layout, layers.into_iter().map(|attention| (attention, layout)))
    }

    /// The same where not all layers have the same heads; `layout` is that of the most.
    pub(crate) fn of_layouts(
        layout: KvLayout,
        layers: impl IntoIterator<Item = (LayerAttention, KvLayout)>,
    ) -> KvCache {
        let mut tables: Vec<Table> = Vec::new();
        let mut n_image_layers = 0;
        let layers = layers.into_iter().map(|(attention, layout)| {
            let chunk = match attention {
                LayerAttention::Full | LayerAttention::Window(_) => None,
                LayerAttention::Chunked(chunk) => Some(chunk),
                LayerAttention::Images => {
                    n_image_layers += 1;
                    return LayerTable::Images(n_image_layers - 1);
                }
                LayerAttention::Nothing => return LayerTable::Nowhere,
            };
            assert!(chunk != Some(0), "a chunk has positions");
            let alike = |table: &Table| (table.chunk, table.layout) == (chunk, layout);
            let i = tables.iter().position(alike).unwrap_or_else(|| {
                tables.push(Table::new(layout, chunk));
                tables.len() - 1
            });
            tables[i].n_layers += 1;
            LayerTable::Text(i, tables[i].n_layers - 1)
        });
        let (layers, pool) = (layers.collect(), BlockPool::default());
        KvCache { layout, tables, runs: Vec::new(), layers, first_layer: 0, len: 0, pool }
    }

    /// The cache of a part of the model's layers, of which `first` is the first.
    pub(crate) fn starting_at_layer(self, first: usize) -> KvCache {
        KvCache { first_layer: first, ..self }
    }

    /// The cache, with its blocks counted by this pool.
    ///
    /// # Panics
    /// If the cache holds positions.
    pub fn in_pool(self, pool: &BlockPool) -> KvCache {
        assert!(self.is_empty(), "blocks stay in their pool");
        KvCache { pool: pool.clone(), ..self }
    }

    /// The bytes of a block of the layers that see all positions, which are those of a piece of a file for
    /// them; 0 if no layer does. Where they have several layouts, those of the largest group.
    pub fn spilled_bytes(&self) -> usize {
        let tables = self.tables.iter().filter(|table| table.chunk.is_none());
        tables.map(Table::group_bytes).max().unwrap_or(0)
    }

    /// The cache, with keys and values of the layers that see all positions in a file from now on. Its bits
    /// are the same.
    ///
    /// # Panics
    /// If the cache holds positions, or the file's pieces are not of [`KvCache::spilled_bytes`].
    pub fn spilled_to(mut self, file: &SpillFile) -> KvCache {
        assert!(self.is_empty(), "blocks stay where they are");
        assert_eq!(file.piece_bytes(), self.spilled_bytes());
        for table in self.tables.iter_mut().filter(|table| table.chunk.is_none()) {
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

    /// Forgets all positions from `len` on; those before do not depend on them. Where they are in a chunk
    /// that was dropped already, all of that chunk is forgotten. Returns how many are left.
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
        tables.map(|table| table.n_blocks() * table.layout.block_bytes()).sum()
    }

    /// Bytes that `len` positions of a sequence without images need; `usize::MAX` for more than can be
    /// counted. `layout` is that of the most heads, as which each block counts.
    pub fn bytes_for(
        layout: KvLayout,
        layers: impl IntoIterator<Item = LayerAttention>,
        len: usize,
    ) -> usize {
        let layers = layers.into_iter().map(|attention| match attention {
            LayerAttention::Full | LayerAttention::Window(_) => len,
            LayerAttention::Chunked(chunk) => len.min(chunk),
            LayerAttention::Images | LayerAttention::Nothing => 0,
        });
        let blocks = layers.map(|len| len.div_ceil(KvLayout::BLOCK)).fold(0usize, usize::saturating_add);
        blocks.saturating_mul(layout.block_bytes())
    }

    /// Blocks that `n` more positions with these images need of the pool: new ones, and copies of shared ones
    /// that are written. Those reserved already are not counted again.
    pub fn blocks_needed(&self, n: usize, images: &[ImageKeys]) -> usize {
        let text =
            self.tables.iter().map(|table| table.groups_needed(self.len, self.len + n) * table.n_layers);
        let images = self.image_plan(images).into_iter().map(|plan| plan.n_groups * self.n_image_layers());
        text.chain(images).sum()
    }

    /// Reserves the blocks of `n` more positions with these images; they count as held from the pass on that
    /// computes them, which reserves what was not reserved before. Fails, with the cache as before, if the
    /// pool has fewer blocks than [`KvCache::blocks_needed`], or the file that keys and values are in has no
    /// room.
    pub fn reserve(&mut self, n: usize, images: &[ImageKeys]) -> Result<(), ModelError> {
        let (from, to) = (self.len, self.len + n);
        let mut lease = self.pool.take(self.blocks_needed(n, images))?;
        // All memory is there before anything changes.
        let mut groups = |table: &Table| table.new_groups(&mut lease, table.groups_needed(from, to));
        let of_text: Vec<Vec<BlockGroup>> = self.tables.iter().map(&mut groups).collect::<Result<_, _>>()?;
        let plan = self.image_plan(images);
        let image_table = self.image_table();
        let of_images = plan.iter().map(|plan| image_table.new_groups(&mut lease, plan.n_groups));
        let of_images: Vec<Vec<BlockGroup>> = of_images.collect::<Result<_, _>>()?;
        for (table, groups) in self.tables.iter_mut().zip(of_text) {
            table.reserve(from, to, groups);
        }
        for (plan, groups) in plan.into_iter().zip(of_images) {
            if plan.run == self.runs.len() {
                self.runs.push(Run { images: Vec::new(), table: image_table.clone() });
            }
            let run = &mut self.runs[plan.run];
            run.table.reserve(plan.keys.start, plan.keys.end, groups);
            run.images.push((plan.position, plan.keys.end));
        }
        Ok(())
    }

    /// Whether its positions may be stored, a block's at a time, and read again: where all layers attend to all text.
    pub fn can_be_stored(&self) -> bool {
        self.runs.is_empty()
            && self.tables.iter().all(|table| table.chunk.is_none())
            && !self.layers.iter().any(|layer| matches!(layer, LayerTable::Images(_)))
    }

    /// The bytes of the `i`-th block of all layers, all of whose positions are held.
    pub fn stored_parts(&self, i: usize) -> impl Iterator<Item = &[u8]> {
        assert!((i + 1) * KvLayout::BLOCK <= self.len && self.can_be_stored());
        self.tables.iter().map(move |table| table.groups[i].bytes())
    }

    /// Adds the positions of a block from what [`KvCache::stored_parts`] gave, to a cache that ends with a whole block.
    /// Fails, with the cache as before, if there is no room for them, or they are of another model.
    pub fn push_stored(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        let n_bytes: usize = self.tables.iter().map(Table::group_bytes).sum();
        if bytes.len() != n_bytes || !self.len.is_multiple_of(KvLayout::BLOCK) || !self.can_be_stored() {
            return Err(ModelError::Input("stored keys and values do not fit these layers".into()));
        }
        self.reserve(KvLayout::BLOCK, &[])?;
        let i = self.len / KvLayout::BLOCK;
        let mut rest = bytes;
        for table in &mut self.tables {
            let (own, after) = rest.split_at(table.group_bytes());
            rest = after;
            let group = Arc::get_mut(&mut table.groups[i]).expect("reserved for this table alone");
            group.bytes_mut().copy_from_slice(own);
        }
        self.advance(KvLayout::BLOCK);
        Ok(())
    }

    /// Gives back what was reserved and not used.
    pub fn release_reserved(&mut self) {
        self.truncate(self.len);
    }

    /// A table for the keys of images. They are in memory of our own.
    fn image_table(&self) -> Table {
        Table { n_layers: self.n_image_layers(), ..Table::new(self.layout, None) }
    }

    /// Where the keys of those images go that have no place yet.
    fn image_plan(&self, images: &[ImageKeys]) -> Vec<ImagePlan> {
        let mut plan: Vec<ImagePlan> = Vec::new();
        let known = |position| self.runs.iter().flat_map(|run| &run.images).any(|(p, _)| *p == position);
        for ImageKeys { position, n_keys } in images {
            let position = self.len + position;
            if known(position) {
                continue;
            }
            // The image before it: its position, its run, and where its keys end.
            let last = match plan.last() {
                Some(last) => Some((last.position, last.run, last.keys.end)),
                None => self
                    .runs
                    .last()
                    .and_then(|run| run.images.last())
                    .map(|(p, end)| (*p, self.runs.len() - 1, *end)),
            };
            let (run, start) = match last {
                Some((before, run, end)) if before + 1 == position => (run, end),
                Some((_, run, _)) => (run + 1, 0),
                None => (0, 0),
            };
            let keys = start..start + n_keys;
            let n_groups = match self.runs.get(run) {
                Some(own) if plan.last().is_none_or(|last| last.run != run) => {
                    own.table.groups_needed(keys.start, keys.end)
                }
                _ => keys.end.div_ceil(KvLayout::BLOCK) - keys.start.div_ceil(KvLayout::BLOCK),
            };
            plan.push(ImagePlan { run, position, keys, n_groups });
        }
        plan
    }

    /// Where a layer's keys and values of the next `rows` positions, which were reserved, go.
    pub(crate) fn slots(&mut self, layer: usize, rows: Range<usize>) -> Vec<KvSlot<'_>> {
        let LayerTable::Text(table, layer) = self.layers[layer - self.first_layer] else {
            unreachable!("the layer attends to text")
        };
        self.tables[table].slots(layer, self.len, rows)
    }

    /// Where a layer's keys and values of the image at a position go, which are these rows.
    pub(crate) fn image_slots(
        &mut self,
        layer: usize,
        position: usize,
        rows: Range<usize>,
    ) -> Vec<KvSlot<'_>> {
        let layer = self.image_layer(layer);
        let own = self.runs.iter_mut().find_map(|run| {
            let (_, end) = *run.images.iter().find(|(p, _)| *p == position)?;
            Some((&mut run.table, end))
        });
        let (table, end) = own.expect("images are reserved before they are computed");
        table.slots(layer, end - rows.len(), rows)
    }

    /// A layer's place among those that attend to images.
    fn image_layer(&self, layer: usize) -> usize {
        match self.layers[layer - self.first_layer] {
            LayerTable::Images(layer) => layer,
            LayerTable::Text(..) | LayerTable::Nowhere => unreachable!("the layer attends to images"),
        }
    }

    fn n_image_layers(&self) -> usize {
        self.layers.iter().filter(|place| matches!(place, LayerTable::Images(_))).count()
    }

    /// Which of `n` new positions see images: all from the first image on.
    pub(crate) fn rows_that_see_images(&self, n: usize) -> Range<usize> {
        let first = self.runs.first().and_then(|run| run.images.first());
        first.map_or(n..n, |(position, _)| position.saturating_sub(self.len).min(n)..n)
    }

    /// The images that `n` new positions attend to in a layer: those of the last run before a position, up to
    /// the position. Images that are reserved for later positions are seen by none of these.
    pub(crate) fn visible_images(&self, layer: usize, n: usize) -> Vec<VisibleImages<'_>> {
        let layer = self.image_layer(layer);
        let images = self.runs.iter().flat_map(|run| run.images.iter().map(move |image| (run, *image)));
        let images: Vec<_> = images.collect();
        let mut seen = Vec::new();
        for (i, (run, (position, n_keys))) in images.iter().enumerate() {
            let end = images.get(i + 1).map_or(usize::MAX, |(_, (next, _))| *next).min(self.len + n);
            let rows = position.saturating_sub(self.len)..end.saturating_sub(self.len);
            if rows.is_empty() {
                continue;
            }
            let last = run.table.locate(n_keys - 1).0;
            let blocks = run.table.layer_blocks(layer, 0, last);
            seen.push(VisibleImages { rows, n_keys: *n_keys, blocks });
        }
        seen
    }

    /// The keys that `n` new positions attend to in a layer: all in one, or chunk by chunk.
    pub(crate) fn visible_keys(&self, layer: usize, n: usize) -> Vec<VisibleKeys<'_>> {
        let LayerTable::Text(table, layer) = self.layers[layer - self.first_layer] else {
            unreachable!("the layer attends to text")
        };
        let table = &self.tables[table];
        let (mut position, end) = (self.len, self.len + n);
        let mut seen = Vec::new();
        while position < end {
            let first_position = table.chunk.map_or(position, |chunk| position % chunk);
            let n_rows = table.chunk.map_or(usize::MAX, |chunk| chunk - first_position).min(end - position);
            let first = table.locate(position - first_position).0 - table.n_dropped;
            let last = table.locate(position + n_rows - 1).0 - table.n_dropped;
            let blocks = table.layer_blocks(layer, first, last);
            seen.push(VisibleKeys { n_rows, first_position, blocks });
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

    /// How a layer's blocks are laid out.
    pub(crate) fn layer_layout(&self, layer: usize) -> KvLayout {
        match self.layers[layer - self.first_layer] {
            LayerTable::Text(table, _) => self.tables[table].layout,
            LayerTable::Images(_) | LayerTable::Nowhere => self.layout,
        }
    }

    /// The first layer that it has keys and values of.
    pub(crate) fn first_layer(&self) -> usize {
        self.first_layer
    }

    /// What each of its layers sees.
    pub(crate) fn layer_attention(&self) -> impl Iterator<Item = LayerAttention> {
        self.layers.iter().map(|place| match place {
            LayerTable::Text(table, _) => {
                self.tables[*table].chunk.map_or(LayerAttention::Full, LayerAttention::Chunked)
            }
            LayerTable::Images(_) => LayerAttention::Images,
            LayerTable::Nowhere => LayerAttention::Nothing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_pool::PoolFull;
    use puna_tensor::{Cpu, DType, Graph, Isa, Workspace};

    /// A layer's blocks, all of them.
    fn layer(cache: &KvCache, layer: usize) -> Vec<&[u8]> {
        let bytes = cache.layout.block_bytes();
        let LayerTable::Text(table, i) = cache.layers[layer] else { panic!("a layer of text") };
        cache.tables[table].groups.iter().map(|group| &group.bytes()[i * bytes..(i + 1) * bytes]).collect()
    }

    /// Stores a layer's keys and values of the next positions, which were reserved.
    fn store(isa: Isa, cache: &mut KvCache, layer: usize, k: &[f32], v: &[f32]) {
        let (cpu, row_len) = (Cpu::new(isa, 1), cache.layout.n_kv_heads() * cache.layout.head_dim());
        let (mut graph, n) = (Graph::inference(&cpu, &Workspace::default()), k.len() / row_len);
        let [k, v] = [k, v].map(|x| graph.constant(n, row_len, |out| out.copy_from_slice(x)));
        graph.store_kv(&k, &v, cache.slots(layer, 0..n));
    }

    #[test]
    fn a_fork_shares_until_it_writes() {
        let layout = KvLayout::new(DType::F32, 1, 2);
        let mut a = KvCache::new(layout, [LayerAttention::Full]);
        let write = |cache: &mut KvCache, value: f32| {
            cache.reserve(1, &[]).unwrap();
            store(Isa::SCALAR, cache, 0, &[value; 2], &[value; 2]);
            cache.advance(1);
        };
        write(&mut a, 1.0);
        let mut b = a.clone();
        assert!(Arc::ptr_eq(&a.tables[0].groups[0], &b.tables[0].groups[0]));
        write(&mut b, 2.0);
        assert!(!Arc::ptr_eq(&a.tables[0].groups[0], &b.tables[0].groups[0]));
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
        let (mut whole, mut parts) = (
            KvCache::new(layout, [LayerAttention::Full; 2]),
            KvCache::new(layout, [LayerAttention::Full; 2]),
        );
        whole.reserve(150, &[]).unwrap();
        store(Isa::best(), &mut whole, 1, &k, &v);
        whole.advance(150);
        let mut first = 0;
        for n in [1, 62, 1, 2, 84] {
            let rows = 10 * first..10 * (first + n);
            parts.reserve(n, &[]).unwrap();
            store(Isa::best(), &mut parts, 1, &k[rows.clone()], &v[rows]);
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
        let mut cache = KvCache::new(layout, [LayerAttention::Chunked(100), LayerAttention::Full]);
        let extend = |cache: &mut KvCache, n: usize| {
            let k: Vec<f32> = (cache.len()..cache.len() + n).flat_map(|p| [p as f32; 2]).collect();
            cache.reserve(n, &[]).unwrap();
            (0..2).for_each(|layer| store(Isa::SCALAR, cache, layer, &k, &k));
            let rows = |layer| {
                cache
                    .visible_keys(layer, n)
                    .iter()
                    .map(|s| (s.n_rows, s.first_position, s.blocks.len()))
                    .collect()
            };
            let seen: [Vec<_>; 2] = [rows(0), rows(1)];
            cache.advance(n);
            seen
        };
        assert_eq!(extend(&mut cache, 90), [vec![(90, 0, 2)], vec![(90, 0, 2)]]);
        assert_eq!(extend(&mut cache, 120), [vec![(10, 90, 2), (100, 0, 2), (10, 0, 1)], vec![(120, 90, 4)]]);
        assert_eq!((cache.tables[0].groups.len(), cache.tables[1].groups.len()), (1, 4));
        assert_eq!(cache.bytes(), 5 * layout.block_bytes());
        // The first key of the last chunk is position 200.
        assert_eq!(layer(&cache, 0)[0].as_chunks::<4>().0[0], 200f32.to_le_bytes());
        assert_eq!(cache.clone().truncate(205), 205);
        assert_eq!(cache.clone().truncate(200), 200);
        assert_eq!(cache.truncate(170), 100);
        assert_eq!((cache.tables[0].n_dropped, cache.tables[0].groups.len()), (2, 0));
        assert_eq!(extend(&mut cache, 30), [vec![(30, 0, 1)], vec![(30, 100, 3)]]);
        assert_eq!(
            KvCache::bytes_for(layout, [LayerAttention::Chunked(100), LayerAttention::Full], 1000),
            18 * layout.block_bytes()
        );
    }

    /// Blocks are counted once however many caches share them, and come back; a full pool leaves the cache as
    /// it was.
    #[test]
    fn a_pool_counts_blocks() {
        let (layout, pool) = (KvLayout::new(DType::F32, 1, 2), BlockPool::new(9));
        let layers = [LayerAttention::Full, LayerAttention::Full, LayerAttention::Chunked(100)];
        let mut a = KvCache::new(layout, layers).in_pool(&pool);
        let extend = |cache: &mut KvCache, n: usize| {
            let needed = cache.blocks_needed(n, &[]);
            let used = pool.blocks_used();
            cache.reserve(n, &[])?;
            assert_eq!((pool.blocks_used(), cache.blocks_needed(n, &[])), (used + needed, 0));
            cache.advance(n);
            Ok::<_, ModelError>(needed)
        };
        assert_eq!(extend(&mut a, 60).unwrap(), 3);
        assert_eq!(extend(&mut a, 5).unwrap(), 3);
        let mut b = a.clone();
        assert_eq!((pool.blocks_used(), a.bytes() / layout.block_bytes()), (6, 6));
        // The last block of each layer is shared, so writing to it needs three copies.
        assert_eq!((b.blocks_needed(1, &[]), extend(&mut b, 1).unwrap()), (3, 3));
        // Now the one left behind is not shared, but another needs new blocks, which are not there.
        assert_eq!(a.blocks_needed(1, &[]), 0);
        a.reserve(1, &[]).unwrap();
        let before = (b.len(), b.bytes(), pool.blocks_used());
        assert_eq!(b.blocks_needed(70, &[]), 3);
        match b.reserve(70, &[]).unwrap_err() {
            ModelError::PoolFull(full) => assert_eq!(full, PoolFull { needed: 3, free: 0, n_blocks: 9 }),
            other => panic!("{other}"),
        }
        assert_eq!((b.len(), b.bytes(), pool.blocks_used()), before);
        drop(a);
        assert_eq!(pool.blocks_used(), 6);
        assert_eq!(extend(&mut b, 20).unwrap(), 0);
        // The chunk's second half, and what was reserved and not used, goes back.
        b.truncate(10);
        assert_eq!(pool.blocks_used(), 3);
        b.reserve(118, &[]).unwrap();
        assert_eq!(pool.blocks_used(), 3 + 2 + 2);
        b.release_reserved();
        assert_eq!(pool.blocks_used(), 3);
        drop(b);
        assert_eq!(pool.blocks_used(), 0);
    }

    /// Keys of images are planned and counted as they are then reserved, in runs, and once alone.
    #[test]
    fn images_are_counted() {
        let (layout, pool) = (KvLayout::new(DType::F32, 1, 2), BlockPool::default());
        let layers = [LayerAttention::Full, LayerAttention::Images, LayerAttention::Images];
        let mut cache = KvCache::new(layout, layers).in_pool(&pool);
        let image = |position, n_keys| ImageKeys { position, n_keys };
        // Two that follow each other, one apart: 70 + 70 keys in three blocks, 64 in one.
        let images = [image(1, 70), image(2, 70), image(4, 64)];
        let reserve = |cache: &mut KvCache, n, images: &[ImageKeys], needed| {
            let used = pool.blocks_used();
            assert_eq!(cache.blocks_needed(n, images), needed);
            cache.reserve(n, images).unwrap();
            assert_eq!((pool.blocks_used(), cache.blocks_needed(n, images)), (used + needed, 0));
            cache.reserve(n, images).unwrap();
            assert_eq!(pool.blocks_used(), used + needed);
        };
        reserve(&mut cache, 5, &images, 1 + 2 * (3 + 1));
        assert_eq!(cache.runs.iter().map(|run| run.images.len()).collect::<Vec<_>>(), [2, 1]);
        cache.release_reserved();
        assert_eq!((pool.blocks_used(), cache.runs.len()), (0, 0));
        reserve(&mut cache, 5, &images, 9);
        cache.advance(5);
        // The next follows the last, whose run is shared with a fork: its full block needs no copy.
        let fork = cache.clone();
        reserve(&mut cache, 1, &[image(0, 10)], 1 + 2);
        assert_eq!(cache.runs[1].images, [(4, 64), (5, 74)]);
        drop((fork, cache));
        assert_eq!(pool.blocks_used(), 0);
    }

    /// A prompt may be reserved as a whole and computed in parts: a part sees the images up to its own end.
    #[test]
    fn images_reserved_for_later_are_not_seen() {
        let layers = [LayerAttention::Full, LayerAttention::Images];
        let mut cache = KvCache::new(KvLayout::new(DType::F32, 1, 2), layers);
        let image = |position| ImageKeys { position, n_keys: 10 };
        cache.reserve(12, &[image(1), image(9)]).unwrap();
        let seen = |cache: &KvCache, n| {
            let images = cache.visible_images(1, n).into_iter();
            (cache.rows_that_see_images(n).start, images.map(|s| (s.rows.start, s.rows.end)).collect())
        };
        assert_eq!(seen(&cache, 5), (1, vec![(1, 5)]));
        cache.advance(5);
        assert_eq!(seen(&cache, 7), (0, vec![(0, 4), (4, 7)]));
    }
}
