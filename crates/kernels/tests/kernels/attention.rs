//! Attention's versions against each other, and its gradient against finite differences.

use std::ops::Range;

use puna_kernels::attention::{
    AttentionShape, AttentionSpan, KeyValues, PARTITION, Queries, Saved, Sees, attention, attention_backward,
};
use puna_kernels::kv::{KvKind, KvLayout};
use puna_kernels::{Cpu, DType, Isa};

use crate::test_data::{assert_close, random};

const BLOCK: usize = KvLayout::BLOCK;

fn shape(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
}

/// A cache filled from `[len, n_kv_heads, head_dim]` keys and values.
fn paged(layout: KvLayout, isa: Isa, k: &[f32], v: &[f32]) -> Vec<Vec<u8>> {
    let row = layout.n_kv_heads() * layout.head_dim();
    let mut blocks = vec![vec![0; layout.block_bytes()]; (k.len() / row).div_ceil(BLOCK)];
    for (block, (k, v)) in blocks.iter_mut().zip(k.chunks(BLOCK * row).zip(v.chunks(BLOCK * row))) {
        layout.store(isa, block, KvKind::Key, 0, k);
        layout.store(isa, block, KvKind::Value, 0, v);
    }
    blocks
}

fn attend(
    cpu: &Cpu,
    shape: &AttentionShape,
    q: &[f32],
    position: usize,
    layout: KvLayout,
    blocks: &[Vec<u8>],
) -> Vec<f32> {
    attend_to(cpu, shape, q, Sees::Before(position), layout, blocks)
}

fn attend_to(
    cpu: &Cpu,
    shape: &AttentionShape,
    q: &[f32],
    sees: Sees,
    layout: KvLayout,
    blocks: &[Vec<u8>],
) -> Vec<f32> {
    let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    let n_rows = q.len() / (shape.n_heads * shape.head_dim);
    let keys = KeyValues::Paged { layout, blocks: &blocks };
    let mut out = vec![f32::NAN; q.len()];
    let queries = Queries { first_row: 0, n_rows, sees, keys };
    attention(cpu, shape, q, &[queries], &mut out, None);
    out
}

#[test]
fn versions_agree_for_every_cache_type_and_length() {
    let shapes = [(4, 4, 16), (6, 2, 12), (8, 1, 64), (2, 1, 7), (8, 2, 80), (8, 2, 128), (3, 1, 33)];
    for (n_heads, n_kv_heads, head_dim) in shapes {
        let shape = shape(n_heads, n_kv_heads, head_dim);
        for dtype in KvLayout::DTYPES {
            let layout = KvLayout::new(dtype, n_kv_heads, head_dim);
            for (past, n_new) in [
                (0, 1),
                (5, 1),
                (14, 3),
                (63, 2),
                (64, 1),
                (0, 130),
                (100, 70),
                (254, 5),
                (1022, 4),
                (1100, 1),
            ] {
                let len = past + n_new;
                let q: Vec<f32> = random(n_new * n_heads * head_dim, 1).iter().map(|x| 4.0 * x).collect();
                let (k, v) = (random(len * n_kv_heads * head_dim, 2), random(len * n_kv_heads * head_dim, 3));
                let blocks = paged(layout, Isa::SCALAR, &k, &v);
                let want = attend(&Cpu::new(Isa::SCALAR, 1), &shape, &q, past, layout, &blocks);
                for isa in Isa::available() {
                    assert_eq!(paged(layout, isa, &k, &v), blocks, "{dtype} {}", isa.name());
                    let got = attend(&Cpu::new(isa, 2), &shape, &q, past, layout, &blocks);
                    // |scores| < 16; the softmax and the weighted mean keep errors of this size.
                    assert_close(
                        &got,
                        &want,
                        64.0 * f32::EPSILON,
                        &format!("{dtype} {} {head_dim} {past}+{n_new}", isa.name()),
                    );
                }
            }
        }
    }
}

/// Token by token (decoded in registers), in chunks and whole (decoded beforehand), on any number of threads:
/// the same bits.
#[test]
fn feeding_in_parts_gives_the_same_bits() {
    for (n_heads, n_kv_heads, head_dim) in [(6, 2, 16), (8, 2, 80), (8, 1, 64), (2, 2, 128)] {
        let shape = shape(n_heads, n_kv_heads, head_dim);
        let (q_row, kv_row, len) = (n_heads * head_dim, n_kv_heads * head_dim, 150);
        let (q, k, v) = (random(len * q_row, 1), random(len * kv_row, 2), random(len * kv_row, 3));
        for isa in Isa::available() {
            let cpus = [1, 2, 9].map(|n_threads| Cpu::new(isa, n_threads));
            for dtype in KvLayout::DTYPES {
                let layout = KvLayout::new(dtype, n_kv_heads, head_dim);
                let blocks = paged(layout, isa, &k, &v);
                let whole = attend(&cpus[0], &shape, &q, 0, layout, &blocks);
                if dtype == DType::F32 {
                    let mut out = vec![0.0; q.len()];
                    attention(&cpus[1], &shape, &q, &[dense(&k, &v, &(0..len))], &mut out, None);
                    assert_eq!(out, whole, "{} without a cache", isa.name());
                }
                for (chunk, cpu) in [1, 2, 7, 64, 100].into_iter().zip(cpus.iter().cycle()) {
                    let mut parts = Vec::new();
                    for (i, q) in q.chunks(chunk * q_row).enumerate() {
                        parts.extend(attend(cpu, &shape, q, i * chunk, layout, &blocks));
                    }
                    assert_eq!(parts, whole, "{dtype} {} {head_dim} by {chunk}", isa.name());
                }
            }
        }
    }
}

/// After many others a token's keys are split among threads, if there are enough of those; and sequences of
/// different lengths beside it change nothing.
#[test]
fn a_long_sequence_gives_the_same_bits_alone_and_beside_others() {
    let shape = shape(4, 1, 16);
    let layout = KvLayout::new(DType::Q8_0, 1, 16);
    let lens = [2500, 1, 1024, 3 * PARTITION + 1];
    for isa in Isa::available() {
        let cpus = [1, 2, 16].map(|n_threads| Cpu::new(isa, n_threads));
        let q = random(lens.len() * 64, 9);
        let caches = lens.map(|len| paged(layout, isa, &random(len * 16, len as u64), &random(len * 16, 5)));
        let alone: Vec<Vec<f32>> = (0..lens.len())
            .map(|i| {
                let of = |cpu| attend(cpu, &shape, &q[64 * i..][..64], lens[i] - 1, layout, &caches[i]);
                let out = of(&cpus[0]);
                assert!(cpus.iter().all(|cpu| of(cpu) == out), "{} {}", isa.name(), lens[i]);
                out
            })
            .collect();
        let blocks: Vec<Vec<&[u8]>> =
            caches.iter().map(|blocks| blocks.iter().map(Vec::as_slice).collect()).collect();
        let queries: Vec<Queries> = (0..lens.len())
            .map(|i| {
                let keys = KeyValues::Paged { layout, blocks: &blocks[i] };
                Queries { first_row: i, n_rows: 1, sees: Sees::Before(lens[i] - 1), keys }
            })
            .collect();
        for cpu in &cpus {
            let mut out = vec![0.0; q.len()];
            attention(cpu, &shape, &q, &queries, &mut out, None);
            assert_eq!(out, alone.concat(), "{}", isa.name());
        }
    }
}

/// A block's positions after the last may hold anything, as they do after a sequence was cut.
#[test]
fn positions_not_stored_do_not_matter() {
    let (shape, len) = (shape(4, 1, 48), 70);
    let (q, k, v) = (random(len * 192, 1), random(len * 48, 2), random(len * 48, 3));
    for dtype in KvLayout::DTYPES {
        let layout = KvLayout::new(dtype, 1, 48);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 1);
            let blocks = paged(layout, isa, &k, &v);
            let mut dirty = vec![vec![0xff; layout.block_bytes()]; 2]; // NaN as f32, f16, and a scale of Q8_0.
            for (i, block) in dirty.iter_mut().enumerate() {
                let rows = i * BLOCK * 48..((i + 1) * BLOCK).min(len) * 48;
                layout.store(isa, block, KvKind::Key, 0, &k[rows.clone()]);
                layout.store(isa, block, KvKind::Value, 0, &v[rows]);
            }
            for (q, position) in [(&q[..], 0), (&q[69 * 192..], 69)] {
                let want = attend(&cpu, &shape, q, position, layout, &blocks);
                assert_eq!(attend(&cpu, &shape, q, position, layout, &dirty), want, "{dtype} {}", isa.name());
            }
        }
    }
}

fn dense<'a>(k: &'a [f32], v: &'a [f32], rows: &Range<usize>) -> Queries<'a> {
    AttentionSpan::causal(rows.clone()).queries(k, v)
}

#[test]
fn gradient_equals_finite_differences() {
    let shape = shape(4, 2, 3);
    // Sequences; and queries that share keys, of which some see only the first.
    let causal = [0..5, 5..6, 6..75].map(AttentionSpan::causal);
    let windows = [0..5, 5..6, 6..75].map(|rows| AttentionSpan::window(rows, 4));
    let long = [AttentionSpan::window(0..75, 30)];
    let all = [(0..3, 0..70), (3..60, 0..90), (61..75, 90..100)].map(|(q, k)| AttentionSpan::all(q, k));
    for (spans, n, n_keys) in [(&causal[..], 75, 75), (&windows, 75, 75), (&long, 75, 75), (&all, 75, 100)] {
        check_gradient(&shape, spans, n, n_keys);
    }
}

fn check_gradient(shape: &AttentionShape, spans: &[AttentionSpan], n: usize, n_keys: usize) {
    let (q, k, v) = (random(n * 12, 1), random(n_keys * 6, 2), random(n_keys * 6, 3));
    let dout = random(n * 12, 4);
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 2);
        let forward = |q: &[f32], k: &[f32], v: &[f32], lse: &mut [f32]| {
            let queries: Vec<_> = spans.iter().map(|span| span.queries(k, v)).collect();
            let mut out = vec![0.0; q.len()];
            attention(&cpu, shape, q, &queries, &mut out, Some(lse));
            out
        };
        let loss = |q: &[f32], k: &[f32], v: &[f32]| -> f64 {
            let out = forward(q, k, v, &mut vec![0.0; n * 4]);
            out.iter().zip(&dout).map(|(o, d)| *o as f64 * *d as f64).sum()
        };
        let mut lse = vec![0.0; n * 4];
        let out = forward(&q, &k, &v, &mut lse);
        let saved = Saved { q: &q, k: &k, v: &v, out: &out, lse: &lse };
        let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
        attention_backward(&cpu, shape, spans, &saved, &dout, [&mut dq, &mut dk, &mut dv]);
        let eps = 1e-2;
        let inputs = [q.clone(), k.clone(), v.clone()];
        for (which, grad) in [&dq, &dk, &dv].into_iter().enumerate() {
            for i in (0..grad.len()).step_by(11) {
                let at = |x: f32| {
                    let mut inputs = inputs.clone();
                    inputs[which][i] += x;
                    loss(&inputs[0], &inputs[1], &inputs[2])
                };
                let slope = ((at(eps) - at(-eps)) / (2.0 * eps as f64)) as f32;
                assert_close(&[grad[i]], &[slope], 2e-3, &format!("{} input {which} [{i}]", isa.name()));
            }
        }
    }
}

/// A window's first key may lie anywhere in a span, whole spans and partitions may lie before it, and rows of a
/// strip may see different spans: every version is the definition, and parts have the bits of the whole.
#[test]
fn windows_end_where_they_say() {
    for (n_heads, n_kv_heads, head_dim) in [(4, 4, 16), (8, 2, 40), (3, 1, 64)] {
        let shape = shape(n_heads, n_kv_heads, head_dim);
        let (q_row, kv_row) = (n_heads * head_dim, n_kv_heads * head_dim);
        for dtype in KvLayout::DTYPES {
            let layout = KvLayout::new(dtype, n_kv_heads, head_dim);
            for (past, n_new, n) in [
                (0, 1, 1),
                (0, 130, 1),
                (0, 130, 7),
                (5, 300, 64),
                (250, 20, 3),
                (255, 300, 256),
                (1020, 40, 17),
                (2100, 1, 1000),
                (2100, 1, 10_000),
            ] {
                let len = past + n_new;
                let (q, k, v) = (random(n_new * q_row, 1), random(len * kv_row, 2), random(len * kv_row, 3));
                let blocks = paged(layout, Isa::SCALAR, &k, &v);
                let sees = Sees::Window { first: past, n };
                let want = attend_to(&Cpu::new(Isa::SCALAR, 1), &shape, &q, sees, layout, &blocks);
                if n == 1 && dtype == DType::F32 {
                    let own = v[past * kv_row..].chunks(kv_row).flat_map(|v| {
                        v.chunks(head_dim).flat_map(|v| v.repeat(n_heads / n_kv_heads)).collect::<Vec<_>>()
                    });
                    assert_eq!(own.collect::<Vec<_>>(), want, "a token sees itself");
                }
                for isa in Isa::available() {
                    let what = format!("{dtype} {} {head_dim} {past}+{n_new} of {n}", isa.name());
                    let cpu = Cpu::new(isa, 2);
                    let whole = attend_to(&cpu, &shape, &q, sees, layout, &blocks);
                    assert_close(&whole, &want, 64.0 * f32::EPSILON, &what);
                    for chunk in [1, 13] {
                        let parts = q.chunks(chunk * q_row).enumerate().flat_map(|(i, q)| {
                            let sees = Sees::Window { first: past + i * chunk, n };
                            attend_to(&Cpu::new(isa, 9), &shape, q, sees, layout, &blocks)
                        });
                        assert_eq!(parts.collect::<Vec<_>>(), whole, "{what} by {chunk}");
                    }
                    if n > len {
                        assert_eq!(whole, attend(&cpu, &shape, &q, past, layout, &blocks), "{what}");
                    }
                }
            }
        }
    }
}

/// Queries that see all keys alike are each what a last query sees, for every cache type, in tiles and alone.
#[test]
fn all_keys_are_seen_alike() {
    for (n_heads, n_kv_heads, head_dim) in [(4, 4, 80), (6, 2, 12)] {
        let shape = shape(n_heads, n_kv_heads, head_dim);
        let (q_row, kv_row) = (n_heads * head_dim, n_kv_heads * head_dim);
        for (n, n_keys) in [(1, 1), (5, 3), (150, 70), (90, 1030)] {
            let (q, k, v) = (random(n * q_row, 1), random(n_keys * kv_row, 2), random(n_keys * kv_row, 3));
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                for dtype in KvLayout::DTYPES {
                    let layout = KvLayout::new(dtype, n_kv_heads, head_dim);
                    let blocks = paged(layout, isa, &k, &v);
                    let alone = |q: &[f32]| attend(&cpu, &shape, q, n_keys - 1, layout, &blocks);
                    let want: Vec<f32> = q.chunks(q_row).flat_map(alone).collect();
                    let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
                    let keys = KeyValues::Paged { layout, blocks: &blocks };
                    let queries = Queries { first_row: 0, n_rows: n, sees: Sees::All(n_keys), keys };
                    let mut out = vec![0.0; q.len()];
                    attention(&cpu, &shape, &q, &[queries], &mut out, None);
                    assert_eq!(out, want, "{dtype} {} {n} of {n_keys}", isa.name());
                }
            }
        }
    }
}

/// Keys and values of other tokens and heads around them change nothing, nor does it matter that they are
/// copied.
#[test]
fn dense_keys_are_seen_as_cached_ones() {
    for (n_heads, n_kv_heads, head_dim) in [(4, 4, 80), (2, 2, 88), (6, 2, 12), (2, 1, 16), (3, 3, 33)] {
        let shape = shape(n_heads, n_kv_heads, head_dim);
        let (q_row, kv_row) = (n_heads * head_dim, n_kv_heads * head_dim);
        let layout = KvLayout::new(DType::F32, n_kv_heads, head_dim);
        for (n, n_keys) in [(1, 1), (20, 16), (20, 15), (150, 65), (90, 577), (7, 1030)] {
            let (before, after) = (3, 2);
            let len = before + n_keys + after;
            let (q, k, v) = (random(n * q_row, 1), random(len * kv_row, 2), random(len * kv_row, 3));
            let rows = before * kv_row..(before + n_keys) * kv_row;
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                let blocks = paged(layout, isa, &k[rows.clone()], &v[rows.clone()]);
                let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
                let cached = KeyValues::Paged { layout, blocks: &blocks };
                let dense = KeyValues::Dense { k: &k[..rows.end], v: &v[..rows.end], first: before };
                let [want, got] = [cached, dense].map(|keys| {
                    let queries = Queries { first_row: 0, n_rows: n, sees: Sees::All(n_keys), keys };
                    let mut out = vec![0.0; q.len()];
                    attention(&cpu, &shape, &q, &[queries], &mut out, None);
                    out
                });
                assert_eq!(got, want, "{} {head_dim}: {n} of {n_keys}", isa.name());
            }
        }
    }
}

/// Two tasks must never write the same rows.
#[test]
#[should_panic]
fn sequences_that_overlap_are_refused() {
    let shape = shape(2, 1, 4);
    let (q, k, v) = (random(4 * 8, 1), random(4 * 4, 2), random(4 * 4, 3));
    let queries = dense(&k, &v, &(0..4));
    attention(&Cpu::new(Isa::best(), 2), &shape, &q, &[queries, queries], &mut vec![0.0; q.len()], None);
}
