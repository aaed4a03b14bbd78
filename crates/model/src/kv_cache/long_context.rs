//! Tests of decoding after hundreds of thousands and millions of positions, which are filled synthetically.

use std::convert::Infallible;

use puna_tensor::{Cpu, DType, Graph, Isa, KvLayout, Weight, Workspace, quant};

use crate::kv_cache::synthetic::{pattern_of, pattern_rows};
use crate::{
    CachedSequence, Config, KvCache, LayerAttention, LayerKind, Model, Sequences, Temperature, Weights,
};

const MAX_SEQ_LEN: usize = 10 << 20;
const CHUNK: usize = 8192;

/// A model of one head's width of 8 whose layers are chunked (true) or see all positions without rotation.
fn model(chunked: &[bool]) -> Model {
    let kind = |chunked: &bool| LayerKind { no_rope: !chunked, chunked: *chunked, experts: false };
    let config = Config {
        dim: 16,
        n_layers: chunked.len(),
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 8,
        ffn_dim: 24,
        vocab_size: 20,
        max_seq_len: MAX_SEQ_LEN,
        norm_eps: 1e-5,
        rope_theta: 500_000.0,
        tied: true,
        layer_kinds: chunked.iter().map(kind).collect(),
        attention_chunk: Some(CHUNK),
        qk_norm: true,
        attention_temperature: Some(Temperature { floor: CHUNK as f32, scale: 0.1 }),
        experts: Default::default(),
        ..Config::default()
    };
    let mut state = 5u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        let values = (0..rows * cols).map(|_| if rows == 1 { 1.0 } else { 0.7 * random() }).collect();
        Ok::<_, Infallible>(Weight::owned(id, rows, cols, values))
    });
    let Ok(weights) = weights;
    Model::new(config, weights)
}

/// A cache of the model after `len` synthetic positions.
fn synthetic(model: &Model, dtype: DType, len: usize) -> KvCache {
    let mut cache = model.new_cache(dtype);
    let cpu = Cpu::new(Isa::best(), 1);
    cache.fill_synthetic(&mut Graph::inference(&cpu, &Workspace::default()), len).unwrap();
    cache
}

/// The logits of all `tokens`, in one pass.
fn logits(model: &Model, cache: &mut KvCache, tokens: &[u32]) -> Vec<f32> {
    let cpu = Cpu::new(Isa::best(), 2);
    let mut graph = Graph::inference(&cpu, &Workspace::default());
    let mut cached = [CachedSequence { n_tokens: tokens.len(), cache }];
    let logits = model.forward(&mut graph, tokens, Sequences::Cached(&mut cached), None, None).unwrap();
    logits.values().to_vec()
}

/// `w x`, in f64.
fn times(w: &Weight, x: &[f64]) -> Vec<f64> {
    let rows = w.values().unwrap().chunks_exact(w.cols());
    rows.map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()).collect()
}

/// Divided by the root mean square; the gains are ones.
fn normed(x: &[f64], eps: f64) -> Vec<f64> {
    let r = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + eps).sqrt();
    x.iter().map(|x| x * r).collect()
}

/// What a type stores of rows of 8.
fn stored(dtype: DType, rows: Vec<f32>) -> Vec<f64> {
    let mut out = Vec::new();
    for row in rows.chunks_exact(8) {
        let mut whole = row.to_vec();
        whole.resize(dtype.block_len().max(8), 0.0);
        let mut bytes = vec![0; dtype.bytes_of(whole.len()).unwrap()];
        quant::encode(dtype, &whole, &mut bytes);
        quant::decode(dtype, &bytes, &mut whole);
        out.extend(whole[..8].iter().map(|x| f64::from(*x)));
    }
    out
}

/// The logits of a token after `len` synthetic ones, of a model with one layer, which sees all of them.
fn definition(model: &Model, dtype: DType, len: usize, token: u32) -> Vec<f64> {
    let (w, eps) = (&model.weights.layers[0], f64::from(model.config.norm_eps));
    let (qkv, mlp) = (w.qkv().unwrap(), w.mlp().unwrap());
    let gated = mlp.gated.as_ref().unwrap();
    let rows = model.weights.tok_embeddings.values().unwrap();
    let mut x: Vec<f64> = rows[16 * token as usize..][..16].iter().map(|x| f64::from(*x)).collect();
    let h = normed(&x, eps);
    let layout = KvLayout::new(dtype, 1, 8);
    let patterns: Vec<_> =
        (0..8).map(|i| pattern_rows(layout, 0, i).map(|rows| stored(dtype, rows))).collect();
    let own = [&qkv.wk, &qkv.wv].map(|w| stored(dtype, times(w, &h).iter().map(|x| *x as f32).collect()));
    // Key or value of a position.
    let row = |which: usize, position: usize| match position < len {
        true => &patterns[pattern_of(position / 64)][which][position % 64 * 8..][..8],
        false => &own[which],
    };
    let factor = (((len as f64 + 1.0) / CHUNK as f64).floor() + 1.0).ln() * 0.1 + 1.0;
    let mut attended = Vec::new();
    for q in times(&qkv.wq, &h).chunks_exact(8) {
        // Scores are small: no maximum is needed.
        let (mut sum, mut out) = (0.0, [0.0; 8]);
        for position in 0..=len {
            let score: f64 = q.iter().zip(row(0, position)).map(|(q, k)| q * k).sum();
            let weight = (score * factor / 8f64.sqrt()).exp();
            sum += weight;
            out.iter_mut().zip(row(1, position)).for_each(|(out, v)| *out += weight * v);
        }
        attended.extend(out.map(|x| x / sum));
    }
    x.iter_mut().zip(times(&w.attention.as_ref().unwrap().wo, &attended)).for_each(|(x, y)| *x += y);
    let h = normed(&x, eps);
    let up = times(&gated.w3, &h);
    let z: Vec<f64> = times(&gated.w1, &h).iter().zip(up).map(|(a, b)| a / (1.0 + (-a).exp()) * b).collect();
    x.iter_mut().zip(times(&mlp.w2, &z)).for_each(|(x, y)| *x += y);
    times(&model.weights.tok_embeddings, &normed(&x, eps))
}

/// The last position of Scout's context is reached. Rounding errors of a sum in f32 grow as the root of its
/// length, as steps of a random walk do.
#[test]
fn a_token_far_out_sees_all_positions() {
    let model = model(&[false]);
    for (dtype, len) in [(DType::F32, 200_001), (DType::Q8_0, 1_048_576), (DType::Q8_0, MAX_SEQ_LEN - 1)] {
        let mut cache = synthetic(&model, dtype, len);
        let got = logits(&model, &mut cache, &[7]);
        let want = definition(&model, dtype, len, 7);
        let largest = want.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        let bound = f64::from(f32::EPSILON) / 4.0 * (len as f64).sqrt() * largest;
        for (got, want) in got.iter().zip(&want) {
            assert!((f64::from(*got) - want).abs() < bound, "{dtype} at {len}: {got}, not {want}");
        }
        assert_eq!(cache.len(), len + 1);
    }
}

#[test]
fn the_temperature_of_the_last_position_of_ten_million() {
    let temperature = Temperature { floor: 8192.0, scale: 0.1 };
    assert!((temperature.factor(MAX_SEQ_LEN - 1) - 1.715_539_6).abs() < 2e-7);
}

/// Around a chunk's beginning near the end of the context, one pass gives the same bits as a pass for each
/// token, and the chunked layers hold a chunk at most.
#[test]
fn chunks_begin_where_they_should_after_ten_million_positions() {
    let model = model(&[true, true]);
    let len = MAX_SEQ_LEN - CHUNK - 10;
    let layout = model.kv_layout(DType::F32);
    let chunk_bytes = 2 * (CHUNK / KvLayout::BLOCK) * layout.block_bytes();
    let mut together = synthetic(&model, DType::F32, len);
    assert_eq!((together.len(), together.bytes()), (len, chunk_bytes));
    assert_eq!(KvCache::bytes_for(layout, model.config.layer_attention(), len), chunk_bytes);
    let mut apart = together.clone();
    let tokens: Vec<u32> = (0..20).collect();
    let of_all = logits(&model, &mut together, &tokens);
    let mut one_by_one = Vec::new();
    for token in &tokens {
        one_by_one.extend(logits(&model, &mut apart, &[*token]));
        assert!(apart.bytes() <= chunk_bytes);
    }
    assert_eq!(of_all, one_by_one);
    // Ten positions of the new chunk are left, in one block.
    assert_eq!(apart.bytes(), 2 * layout.block_bytes());
    // Those see nothing of what was before: the same tokens after other positions have the same keys in the
    // first layer.
    let mut other = synthetic(&model, DType::F32, len);
    logits(&model, &mut other, &tokens.iter().map(|t| if *t < 10 { 19 - t } else { *t }).collect::<Vec<_>>());
    let [a, b] = [&mut apart, &mut other].map(|cache| logits(&model, cache, &[3]));
    assert_eq!(a, b);
}

/// A file in place of memory changes no bit: in a fork, after a truncation, and where a block is copied.
#[test]
fn keys_and_values_in_a_file_have_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(&[true, false, false]);
    for dtype in KvLayout::DTYPES {
        let file = model.spill_file(dtype, dir.path()).unwrap().unwrap();
        let of_block = 2 * model.kv_layout(dtype).block_bytes();
        assert_eq!(file.piece_bytes(), of_block);
        let mut caches = [model.new_cache(dtype), model.new_cache(dtype).spilled_to(&file)];
        let tokens: Vec<u32> = (0..150).map(|i| i * i % 20).collect();
        let all: [Vec<f32>; 2] = [0, 1].map(|i| {
            let cache = &mut caches[i];
            let mut all = logits(&model, cache, &tokens);
            let mut fork = cache.clone();
            all.extend(logits(&model, &mut fork, &[1, 2, 3]));
            all.extend(logits(&model, cache, &[4]));
            assert_eq!(fork.truncate(70), 70);
            all.extend(logits(&model, &mut fork, &[5; 100]));
            all.extend(logits(&model, cache, &[6, 7]));
            all
        });
        assert_eq!(all[0], all[1], "{dtype}");
        assert!(file.file_bytes() >= 3 * of_block as u64);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

/// Where the disk has no room, a step fails and everything stays as it was.
#[test]
fn a_full_disk_is_an_error_of_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(&[true, false]);
    // No disk has room for a piece of this file.
    let file = puna_formats::SpillFile::create(dir.path(), 1 << 60).unwrap();
    let mut cache = model.new_cache(DType::F32);
    cache.spill_unchecked(&file);
    let cpu = Cpu::new(Isa::best(), 1);
    let mut beside = model.new_cache(DType::F32);
    let mut graph = Graph::inference(&cpu, &Workspace::default());
    let mut cached = [
        CachedSequence { n_tokens: 1, cache: &mut beside },
        CachedSequence { n_tokens: 1, cache: &mut cache },
    ];
    let error = model.forward(&mut graph, &[1, 2], Sequences::Cached(&mut cached), None, None).err().unwrap();
    let message = error.to_string();
    assert!(message.starts_with(&format!("cannot write `{}`", dir.path().display())), "{message}");
    assert_eq!([beside.bytes(), cache.bytes(), beside.len(), cache.len()], [0; 4]);
    assert!(cache.fill_synthetic(&mut graph, 1000).is_err());
    assert_eq!((cache.bytes(), cache.len()), (0, 0));
}

#[test]
fn only_layers_that_see_all_positions_grow() {
    let model = model(&[true, true, true, false]);
    let layout = model.kv_layout(DType::Q8_0);
    for len in [1, 1000, CHUNK, CHUNK + 1, 1 << 20] {
        let cache = synthetic(&model, DType::Q8_0, len);
        let blocks = |len: usize| len.div_ceil(KvLayout::BLOCK);
        let in_chunk = (len - 1) % CHUNK + 1;
        assert_eq!(cache.bytes(), (3 * blocks(in_chunk) + blocks(len)) * layout.block_bytes());
    }
    assert_eq!(
        model.config.layer_attention().filter(|attention| *attention == LayerAttention::Full).count(),
        1
    );
    // No layer sees all positions: there is nothing to put in a file.
    let dir = tempfile::tempdir().unwrap();
    assert!(self::model(&[true]).spill_file(DType::F32, dir.path()).unwrap().is_none());
}
