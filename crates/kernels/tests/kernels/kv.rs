use puna_kernels::kv::{KvKind, KvLayout};
use puna_kernels::{DType, Isa, quant};

use crate::test_data::random;

/// What is stored is what the type makes of a row by itself, in one run or position by position, and nothing
/// else changes.
#[test]
fn every_position_reads_back_as_its_row() {
    for (n_kv_heads, head_dim) in [(1, 1), (2, 12), (3, 33), (2, 64), (1, 80), (1, 128)] {
        let row_len = n_kv_heads * head_dim;
        let rows = random(KvLayout::BLOCK * row_len, 1);
        for dtype in KvLayout::DTYPES {
            let layout = KvLayout::new(dtype, n_kv_heads, head_dim);
            for isa in Isa::available() {
                for kind in [KvKind::Key, KvKind::Value] {
                    let mut block = vec![0; layout.block_bytes()];
                    let (first, rest) = rows.split_at(7 * row_len);
                    layout.store(isa, &mut block, kind, 0, first);
                    layout.store(isa, &mut block, kind, 7, &rest[..50 * row_len]);
                    let mut one_by_one = vec![0; layout.block_bytes()];
                    for (p, row) in rows.chunks_exact(row_len).take(57).enumerate() {
                        layout.store(isa, &mut one_by_one, kind, p, row);
                    }
                    assert_eq!(block, one_by_one);
                    for (p, row) in rows.chunks_exact(row_len).enumerate() {
                        for (head, x) in row.chunks_exact(head_dim).enumerate() {
                            let mut got = vec![f32::NAN; head_dim];
                            layout.load(&block, kind, head, p, &mut got);
                            let want = if p < 57 { decoded(dtype, x) } else { vec![0.0; head_dim] };
                            assert_eq!(got, want, "{dtype} {kind:?} {} {head_dim} at {p}", isa.name());
                        }
                    }
                }
            }
        }
    }
}

fn decoded(dtype: DType, x: &[f32]) -> Vec<f32> {
    let mut whole = x.to_vec();
    whole.resize(x.len().next_multiple_of(dtype.block_len()), 0.0);
    let mut bytes = vec![0; dtype.bytes_of(whole.len()).unwrap()];
    quant::encode(dtype, &whole, &mut bytes);
    quant::decode(dtype, &bytes, &mut whole);
    whole.truncate(x.len());
    whole
}
