//! Attention with grouped query heads: softmax(scale q kᵀ) v over the keys that each query sees: those at and
//! before it, the last of these, or all of them.
//!
//! Forward and backward follow FlashAttention (Dao et al. 2022): keys are taken in spans, a running maximum
//! and sum keep the softmax exact, and no [queries, keys] matrix is stored. A tile holds the query heads that
//! share a key-value head, for some tokens, so that what is read and decoded of keys and values serves the
//! whole group. A tile of few rows decodes them in registers, straight from the cache; a larger one decodes
//! each span once, for all its rows. The scalar version is the definition, with a plain two-pass softmax.
//!
//! Spans begin at fixed positions and each query's sums run over them in order, and so do partitions of
//! several spans, each with a softmax of its own that is merged with those before. The result does not depend
//! on how the queries are batched or chunked, nor on whether a task takes all partitions of a tile or one,
//! which is how a single token after many others keeps more threads busy than there are key-value heads.

use crate::cpu::{Cpu, SharedMut};
use crate::kv::KvKind;

mod backward;
mod panel;
mod prefetch;
mod queries;
mod rows;
mod span;
mod state;
mod tile;

pub use backward::{Saved, Span as AttentionSpan, attention_backward};
pub use queries::{AttentionShape, KeyValues, Queries, Sees};
use rows::TileTask;
use span::MAX_STRIP;
pub use tile::PARTITION;
use tile::Tile;

/// Query rows (tokens times grouped heads) of a tile, about. Decoding a key costs as much as a few rows'
/// products with it; the tile's queries and sums and a decoded span still fit a second-level cache.
const TILE_ROWS: usize = 384;

/// Attends: `q` and `out` are `[rows, n_heads, head_dim]`; `lse: [rows, n_heads]`, if given, receives the log
/// of the sum of exponentials of each query's scores, for the backward pass. Rows in no sequence are left
/// alone.
///
/// A value that is not finite may reach the results of earlier tokens of its tile (0 times infinity is NaN).
///
/// # Panics
/// If the sizes disagree, or the sequences' rows are not in order and apart.
pub fn attention(
    cpu: &Cpu,
    shape: &AttentionShape,
    q: &[f32],
    sequences: &[Queries],
    out: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    let tasks = check(cpu, shape, q, sequences);
    assert_eq!(q.len(), out.len());
    let n_rows = q.len() / (shape.n_heads * shape.head_dim);
    assert!(lse.as_ref().is_none_or(|lse| lse.len() == n_rows * shape.n_heads));
    let (out, lse) = (SharedMut::new(out), lse.map(SharedMut::new));
    let lse = lse.as_ref();
    if cpu.isa.is_scalar() {
        return cpu.pool.run(tasks.len(), |i, _| scalar(shape, q, &tasks[i], &out, lse));
    }
    let tiles: Vec<Tile> =
        tasks.iter().map(|task| Tile { isa: cpu.isa, shape, q, task, out: &out, lse }).collect();
    let n_partitions: usize = tiles.iter().map(Tile::n_partitions).sum();
    let n_threads = cpu.pool.n_threads();
    if n_threads == 1 || tiles.len() >= TASKS_PER_THREAD * n_threads || n_partitions == tiles.len() {
        return cpu.pool.run(tiles.len(), |i, scratch| tiles[i].attend(scratch));
    }
    // Too few tiles: a task takes one partition, and its state waits until the others are there.
    let mut parts = Vec::with_capacity(n_partitions);
    let mut first_parts = Vec::with_capacity(tiles.len());
    let mut n_floats = 0;
    for (i, tile) in tiles.iter().enumerate() {
        first_parts.push(n_floats);
        for partition in 0..tile.n_partitions() {
            parts.push((i, partition, n_floats));
            n_floats += tile.state_len();
        }
    }
    let mut states = vec![0.0; n_floats];
    let states = SharedMut::new(&mut states);
    cpu.pool.run(parts.len(), |i, scratch| {
        let (tile, partition, at) = parts[i];
        // SAFETY: each part has floats of its own.
        let state = unsafe { states.range(at..at + tiles[tile].state_len()) };
        tiles[tile].attend_part(partition, state, scratch);
    });
    cpu.pool.run(tiles.len(), |i, _| {
        let (tile, at) = (&tiles[i], first_parts[i]);
        // SAFETY: each tile's parts have floats of their own, and the tasks that filled them are done.
        let parts = unsafe { states.range(at..at + tile.n_partitions() * tile.state_len()) };
        tile.merge(parts);
    });
}

/// Tasks a thread should have, so that all finish at about the same time.
const TASKS_PER_THREAD: usize = 4;

/// The tiles of all sequences, those with the most keys first, so that threads finish together.
fn check<'a>(cpu: &Cpu, shape: &AttentionShape, q: &[f32], sequences: &[Queries<'a>]) -> Vec<TileTask<'a>> {
    assert!(shape.n_kv_heads > 0 && shape.head_dim > 0 && shape.n_heads.is_multiple_of(shape.n_kv_heads));
    let row = shape.n_heads.checked_mul(shape.head_dim).expect("a row of queries fits in memory");
    assert!(row > 0);
    let n_rows: usize = sequences.iter().map(|sequence| sequence.n_rows).sum();
    let fair_share = (n_rows * shape.n_kv_heads).div_ceil(TASKS_PER_THREAD * cpu.pool.n_threads());
    let tile_tokens = fair_share.max(MAX_STRIP / shape.group()).min(TILE_ROWS / shape.group()).max(1);
    let mut tasks = Vec::new();
    let mut next_row = 0;
    for sequence in sequences {
        // In order and apart: tasks write what no other task touches.
        assert!(sequence.first_row >= next_row && sequence.first_row <= q.len() / row);
        assert!(sequence.n_rows <= q.len() / row - sequence.first_row);
        next_row = sequence.first_row + sequence.n_rows;
        assert!(sequence.sees.is_sound());
        sequence.keys.check(shape, sequence.sees.n_keys(sequence.n_rows));
        for start in (0..sequence.n_rows).step_by(tile_tokens) {
            let tokens = start..(start + tile_tokens).min(sequence.n_rows);
            tasks.extend((0..shape.n_kv_heads).map(|kv_head| TileTask {
                sequence: *sequence,
                kv_head,
                tokens: tokens.clone(),
            }));
        }
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(task.n_keys()));
    tasks
}

/// The definition.
fn scalar(
    shape: &AttentionShape,
    q: &[f32],
    task: &TileTask,
    out: &SharedMut<'_, f32>,
    lse: Option<&SharedMut<'_, f32>>,
) {
    let dim = shape.head_dim;
    let keys = &task.sequence.keys;
    let n = task.n_keys();
    let (mut k, mut v) = (vec![0.0; n * dim], vec![0.0; n * dim]);
    for (position, (k, v)) in k.chunks_exact_mut(dim).zip(v.chunks_exact_mut(dim)).enumerate() {
        keys.load(shape, KvKind::Key, task.kv_head, position, k);
        keys.load(shape, KvKind::Value, task.kv_head, position, v);
    }
    for row in 0..task.n_rows(shape) {
        let mask = task.mask(shape);
        let visible = mask.n_unseen(row, &(0..n))..mask.n_seen(row, &(0..n));
        let at = task.heads(shape).index(row) * dim;
        let q = &q[at..at + dim];
        let dot = |k: &[f32]| q.iter().zip(k).map(|(q, k)| q * k).sum::<f32>();
        let seen = &k[visible.start * dim..visible.end * dim];
        let mut p: Vec<f32> = seen.chunks_exact(dim).map(|k| shape.scale * dot(k)).collect();
        let max = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        p.iter_mut().for_each(|p| *p = (*p - max).exp());
        let sum: f32 = p.iter().sum();
        // SAFETY: tasks have disjoint (row, head) pairs.
        let out = unsafe { out.range(at..at + dim) };
        if let Some(lse) = lse {
            // SAFETY: as above.
            let lse = unsafe { lse.range(at / dim..at / dim + 1) };
            lse[0] = max + sum.ln();
        }
        out.fill(0.0);
        for (p, v) in p.iter().zip(v[visible.start * dim..].chunks_exact(dim)) {
            out.iter_mut().zip(v).for_each(|(out, v)| *out += p / sum * v);
        }
    }
}
