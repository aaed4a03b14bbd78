//! Attention's versions against each other, and its gradient against finite differences.

use super::*;
use crate::DType;
use crate::test_data::{assert_close, random};

fn shape(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
}

/// A cache filled from `[len, n_kv_heads, head_dim]` keys and values.
fn paged(layout: KvLayout, isa: Isa, k: &[f32], v: &[f32]) -> Vec<Vec<u8>> {
    let row = layout.n_kv_heads() * layout.head_dim();
    let mut blocks = vec![vec![0; layout.block_bytes()]; (k.len() / row).div_ceil(BLOCK)];
    for (p, (k, v)) in k.chunks_exact(row).zip(v.chunks_exact(row)).enumerate() {
        layout.store(isa, &mut blocks[p / BLOCK], KvKind::Key, p % BLOCK, k);
        layout.store(isa, &mut blocks[p / BLOCK], KvKind::Value, p % BLOCK, v);
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
    let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    let n_rows = q.len() / (shape.n_heads * shape.head_dim);
    let keys = KeyValues::Paged { layout, blocks: &blocks };
    let mut out = vec![f32::NAN; q.len()];
    let queries = Queries { first_row: 0, n_rows, first_position: position, keys };
    attention(cpu, shape, q, &[queries], &mut out, None);
    out
}

#[test]
fn versions_agree_for_every_cache_type_and_length() {
    for (n_heads, n_kv_heads, head_dim) in [(4, 4, 16), (6, 2, 12), (8, 1, 64), (2, 1, 7)] {
        let shape = shape(n_heads, n_kv_heads, head_dim);
        for dtype in KvLayout::DTYPES {
            let layout = KvLayout::new(dtype, n_kv_heads, head_dim);
            for (past, n_new) in [(0, 1), (5, 1), (63, 2), (64, 1), (0, 130), (100, 70)] {
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
                        &format!("{dtype} {} {past}+{n_new}", isa.name()),
                    );
                }
            }
        }
    }
}

/// Token by token, in chunks and whole: the same bits.
#[test]
fn feeding_in_parts_gives_the_same_bits() {
    let shape = shape(6, 2, 16);
    let layout = KvLayout::new(DType::F16, 2, 16);
    let len = 150;
    let (q, k, v) = (random(len * 96, 1), random(len * 32, 2), random(len * 32, 3));
    for isa in Isa::available() {
        let blocks = paged(layout, isa, &k, &v);
        let cpu = Cpu::new(isa, 2);
        let whole = attend(&cpu, &shape, &q, 0, layout, &blocks);
        for chunk in [1, 7, 64, 100] {
            let mut parts = Vec::new();
            for (i, q) in q.chunks(chunk * 96).enumerate() {
                parts.extend(attend(&cpu, &shape, q, i * chunk, layout, &blocks));
            }
            assert_eq!(parts, whole, "{} by {chunk}", isa.name());
        }
    }
}

fn dense<'a>(k: &'a [f32], v: &'a [f32], rows: &Range<usize>) -> Queries<'a> {
    let keys = KeyValues::Dense { k, v, first: rows.start };
    Queries { first_row: rows.start, n_rows: rows.len(), first_position: 0, keys }
}

#[test]
fn gradient_equals_finite_differences() {
    let shape = shape(4, 2, 3);
    let sequences = [0..5, 5..6, 6..75];
    let n = 75;
    let (q, k, v) = (random(n * 12, 1), random(n * 6, 2), random(n * 6, 3));
    let dout = random(n * 12, 4);
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 2);
        let forward = |q: &[f32], k: &[f32], v: &[f32], lse: &mut [f32]| {
            let queries: Vec<_> = sequences.iter().map(|rows| dense(k, v, rows)).collect();
            let mut out = vec![0.0; q.len()];
            attention(&cpu, &shape, q, &queries, &mut out, Some(lse));
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
        attention_backward(&cpu, &shape, &sequences, &saved, &dout, [&mut dq, &mut dk, &mut dv]);
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

/// Two tasks must never write the same rows.
#[test]
#[should_panic]
fn sequences_that_overlap_are_refused() {
    let shape = shape(2, 1, 4);
    let (q, k, v) = (random(4 * 8, 1), random(4 * 4, 2), random(4 * 4, 3));
    let queries = dense(&k, &v, &(0..4));
    attention(&Cpu::new(Isa::best(), 2), &shape, &q, &[queries, queries], &mut vec![0.0; q.len()], None);
}
