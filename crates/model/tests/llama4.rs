//! Llama 4 against a plain definition: every expert computed for every token, every key scored and masked.

mod common;

use std::path::Path;

use puna_formats::gguf::Metadata;
use puna_formats::{TensorInfo, safetensors};
use puna_model::{
    CachedSequence, Config, Experts, LayerKind, LoadOptions, Model, Sequences, Temperature, Weights,
    rope::inv_freq,
};
use puna_tensor::{Cpu, DType, Graph, Isa, Weight, Workspace};

/// Numbers from -1 to 1, the same in every run.
fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn config(n_used: usize, qk_norm: bool, chunk: usize) -> Config {
    let kind = |i: usize| LayerKind { no_rope: i % 3 == 2, chunked: i % 3 != 2, experts: i % 2 == 1 };
    Config {
        dim: 24,
        n_layers: 4,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 6,
        ffn_dim: 40,
        vocab_size: 50,
        max_seq_len: 1000,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tied: false,
        layer_kinds: (0..4).map(kind).collect(),
        attention_chunk: Some(chunk),
        qk_norm,
        attention_temperature: Some(Temperature { floor: 20.0, scale: 0.5 }),
        experts: Experts { n: 5, n_used, ffn_dim: 16, ..Experts::default() },
        ..Config::default()
    }
}

fn model(config: Config) -> Model {
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        let size = if rows == 1 { 1.0 } else { 2.0 / (cols as f32).sqrt() };
        let values = random(rows * cols, id.0 as u64 + 1).into_iter().map(|x| size * x);
        let values = values.map(|x| if rows == 1 { 1.0 + 0.3 * x } else { x });
        Ok::<_, ()>(Weight::owned(id, rows, cols, values.collect()))
    });
    Model::new(config, weights.unwrap())
}

/// `w x`, in f64.
fn times(w: &Weight, x: &[f64]) -> Vec<f64> {
    let rows = w.values().unwrap().chunks_exact(w.cols());
    rows.map(|row| row.iter().zip(x).map(|(w, x)| *w as f64 * x).sum()).collect()
}

fn normed(x: &[f64], gain: Option<&Weight>, eps: f64) -> Vec<f64> {
    let r = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + eps).sqrt();
    let gain = |i: usize| gain.map_or(1.0, |gain| gain.values().unwrap()[i] as f64);
    x.iter().enumerate().map(|(i, x)| x * r * gain(i)).collect()
}

fn feed_forward(w1: &Weight, w3: &Weight, w2: &Weight, x: &[f64]) -> Vec<f64> {
    let (gate, up) = (times(w1, x), times(w3, x));
    let z: Vec<f64> = gate.iter().zip(up).map(|(a, b)| a / (1.0 + (-a).exp()) * b).collect();
    times(w2, &z)
}

/// The logits of all tokens, token by token and layer by layer, in f64.
fn definition(model: &Model, tokens: &[u32]) -> Vec<f64> {
    let config = &model.config;
    let (d, eps) = (config.head_dim, config.norm_eps as f64);
    let freqs = inv_freq(d, config.rope_theta, &config.rope_scaling, 0);
    let embedding = model.weights.tok_embeddings.values().unwrap();
    let row = |token: &u32| &embedding[*token as usize * config.dim..][..config.dim];
    let mut xs: Vec<Vec<f64>> = tokens.iter().map(|t| row(t).iter().map(|x| *x as f64).collect()).collect();
    for (layer, w) in model.weights.layers.iter().enumerate() {
        let kind = config.layer_kind(layer);
        let (attention, block) = (w.attention.as_ref().unwrap(), w.feed_forward.as_ref().unwrap());
        let qkv = w.qkv().unwrap();
        let place = |mut x: Vec<f64>, position: usize, is_query: bool| {
            for head in x.chunks_exact_mut(d) {
                if kind.no_rope {
                    let t = config.attention_temperature.unwrap();
                    let grown = ((position as f64 + 1.0) / t.floor as f64).floor() + 1.0;
                    let factor = if is_query { grown.ln() * t.scale as f64 + 1.0 } else { 1.0 };
                    head.iter_mut().for_each(|x| *x *= factor);
                    continue;
                }
                for (pair, freq) in head.chunks_exact_mut(2).zip(&freqs) {
                    let (sin, cos) = (position as f64 * *freq as f64).sin_cos();
                    (pair[0], pair[1]) = (pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos);
                }
                if config.qk_norm {
                    let same = normed(head, None, eps);
                    head.copy_from_slice(&same);
                }
            }
            x
        };
        let hs: Vec<Vec<f64>> = xs.iter().map(|x| normed(x, Some(&attention.norm), eps)).collect();
        let all = |w: &Weight| -> Vec<Vec<f64>> { hs.iter().map(|h| times(w, h)).collect() };
        let placed = |rows: Vec<Vec<f64>>, is_query| -> Vec<Vec<f64>> {
            rows.into_iter().enumerate().map(|(p, x)| place(x, p, is_query)).collect()
        };
        let (qs, ks, vs) = (placed(all(&qkv.wq), true), placed(all(&qkv.wk), false), all(&qkv.wv));
        for (p, x) in xs.iter_mut().enumerate() {
            let mut out = vec![0.0; config.q_dim()];
            for head in 0..config.n_heads {
                let kv = head * config.n_kv_heads / config.n_heads;
                let sees = |m: usize| match config.attention_chunk.filter(|_| kind.chunked) {
                    Some(chunk) => m <= p && m / chunk == p / chunk,
                    None => m <= p,
                };
                let q = &qs[p][head * d..][..d];
                let score = |m: usize| -> f64 {
                    let k = &ks[m][kv * d..][..d];
                    q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (d as f64).sqrt()
                };
                let weights: Vec<(usize, f64)> =
                    (0..tokens.len()).filter(|m| sees(*m)).map(|m| (m, score(m).exp())).collect();
                let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
                for (m, weight) in weights {
                    for i in 0..d {
                        out[head * d + i] += weight / sum * vs[m][kv * d + i];
                    }
                }
            }
            x.iter_mut().zip(times(&attention.wo, &out)).for_each(|(x, y)| *x += y);
            let h = normed(x, Some(&block.norm), eps);
            let (mlp, gated) = (w.mlp().unwrap(), w.mlp().unwrap().gated.as_ref().unwrap());
            let mut y = feed_forward(&gated.w1, &gated.w3, &mlp.w2, &h);
            if let Some(experts) = &block.experts {
                let scores = times(&experts.router, &h);
                for (e, expert) in experts.experts.iter().enumerate() {
                    // All are computed; those that are not among the best get zeros, of which they make
                    // zeros.
                    let better = (0..scores.len()).filter(|i| scores[*i] > scores[e]).count();
                    let chosen = better < config.experts.n_used;
                    let factor = if chosen { 1.0 / (1.0 + (-scores[e]).exp()) } else { 0.0 };
                    let scaled: Vec<f64> = h.iter().map(|h| factor * h).collect();
                    let part = feed_forward(&expert.w1, &expert.w3, &expert.w2, &scaled);
                    y.iter_mut().zip(part).for_each(|(y, part)| *y += part);
                }
            }
            x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        }
    }
    let output = model.weights.output.as_ref().unwrap_or(&model.weights.tok_embeddings);
    xs.iter().flat_map(|x| times(output, &normed(x, Some(&model.weights.norm), eps))).collect()
}

/// The logits of all tokens through a cache, `step` at a time, and the most bytes that it held between steps.
fn cached(cpu: &Cpu, model: &Model, tokens: &[u32], step: usize) -> (Vec<f32>, usize) {
    let (mut cache, workspace) = (model.new_cache(DType::F32), Workspace::default());
    let (mut all, mut most) = (Vec::new(), 0);
    for tokens in tokens.chunks(step) {
        let mut graph = Graph::inference(cpu, &workspace);
        let mut pieces = [CachedSequence { n_tokens: tokens.len(), cache: &mut cache }];
        let logits = model.forward(&mut graph, tokens, Sequences::Cached(&mut pieces), None, None).unwrap();
        all.extend_from_slice(logits.values());
        most = most.max(cache.bytes());
    }
    (all, most)
}

#[test]
fn passes_of_every_kind_equal_the_definition() {
    let tokens: Vec<u32> = (0..90).map(|i| (i * 37 + i * i) % 50).collect();
    for (n_used, qk_norm, chunk) in
        [(1, true, 16), (2, false, 64), (3, true, 7), (5, false, 1), (1, true, 1000)]
    {
        let model = model(config(n_used, qk_norm, chunk));
        let want = definition(&model, &tokens);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            let check = |got: &[f32], what: &str| {
                let differences = got.iter().zip(&want).map(|(got, want)| (*got as f64 - want).abs());
                let largest = differences.fold(0.0, f64::max);
                assert!(got.len() == want.len() && largest < 1e-3, "{n_used} {chunk} {what}: {largest}");
            };
            check(&model.logits_of(&cpu, &tokens).unwrap(), "whole");
            for step in [1, 5, 33, 90] {
                check(&cached(&cpu, &model, &tokens, step).0, &format!("{step} at a time"));
            }
        }
    }
}

/// Sizes that no release has: odd ones, one head of keys, one layer, as many heads of keys as of queries.
/// With experts and without, on every path, and written in every form and read back.
#[test]
fn models_of_any_size_equal_the_definition() {
    let sizes = [
        // dim, layers, heads, heads of keys, their size, widths of the feed-forward block and of experts,
        // vocabulary
        [21, 1, 3, 1, 6, 35, 9, 53],
        [40, 3, 5, 5, 10, 17, 33, 101],
        [33, 5, 6, 2, 14, 64, 1, 31],
        [64, 2, 4, 1, 18, 99, 7, 257],
    ];
    for [dim, n_layers, n_heads, n_kv_heads, head_dim, ffn_dim, expert_dim, vocab_size] in sizes {
        let tokens: Vec<u32> = (0..41).map(|i| (i * 37 + i * i) % vocab_size as u32).collect();
        let sizes = Config {
            dim,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            ffn_dim,
            vocab_size,
            ..config(2, true, 9)
        };
        let kind = |i| LayerKind { no_rope: i % 3 == 2, chunked: i % 3 != 2, experts: i % 2 == 1 };
        let routed = Config {
            layer_kinds: (0..n_layers).map(kind).collect(),
            experts: Experts { ffn_dim: expert_dim, ..sizes.experts },
            ..sizes.clone()
        };
        let plain = Config {
            layer_kinds: Vec::new(),
            attention_chunk: None,
            qk_norm: false,
            attention_temperature: None,
            experts: Experts::default(),
            ..sizes
        };
        for (config, tied) in [(routed, false), (plain.clone(), false), (plain, true)] {
            let is_llama4 = config.is_llama4();
            let model = model(Config { tied, ..config });
            let what = format!("{dim} {n_layers} {is_llama4} {tied}");
            let want = definition(&model, &tokens);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                let whole = model.logits_of(&cpu, &tokens).unwrap();
                let largest = whole.iter().zip(&want).map(|(got, want)| (*got as f64 - want).abs());
                assert!(largest.fold(0.0, f64::max) < 1e-3, "{what} on {}", isa.name());
                for step in [1, 7] {
                    assert!(cached(&cpu, &model, &tokens, step).0 == whole, "{what} by {step}");
                }
            }
            let cpu = Cpu::new(Isa::best(), 1);
            let whole = model.logits_of(&cpu, &tokens).unwrap();
            let check = |path: &Path| {
                let read = Model::load(path, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
                common::assert_within(&read.logits_of(&cpu, &tokens).unwrap(), &whole, 1e-4, &what);
            };
            let [hf, meta] = [(); 2].map(|()| tempfile::tempdir().unwrap());
            model.save_hf(hf.path(), DType::F32).unwrap();
            check(hf.path());
            model.save_meta(meta.path(), DType::F32).unwrap();
            check(meta.path());
            // A GGUF file cannot say which chunks and norms these layers have.
            if !is_llama4 {
                let path = hf.path().join("model.gguf");
                model.save_gguf(&path, Metadata::new(&path), DType::F32).unwrap();
                check(&path);
            }
        }
    }
}

/// Three layers see chunks of 64 (a block), one sees all 300 (five blocks).
#[test]
fn local_layers_keep_their_last_chunk_alone() {
    let tokens: Vec<u32> = (0..300).map(|i| i % 50).collect();
    let model = model(config(1, true, 64));
    let (_, most) = cached(&Cpu::new(Isa::best(), 1), &model, &tokens, 50);
    assert_eq!(most, (3 + 5) * model.kv_layout(DType::F32).block_bytes());
    assert_eq!(
        most,
        puna_model::KvCache::bytes_for(model.kv_layout(DType::F32), model.config.layer_attention(), 300)
    );
}

/// A sequence that is taken back to a chunk that was dropped is computed again from that chunk's beginning.
#[test]
fn going_back_behind_a_chunk_gives_the_same_again() {
    let tokens: Vec<u32> = (0..200).map(|i| (i * 7) % 50).collect();
    let model = model(config(2, true, 64));
    let cpu = Cpu::new(Isa::best(), 1);
    let whole = model.logits_of(&cpu, &tokens).unwrap();
    let (mut cache, workspace) = (model.new_cache(DType::F32), Workspace::default());
    let extend = |cache: &mut puna_model::KvCache, tokens: &[u32]| {
        let mut graph = Graph::inference(&cpu, &workspace);
        let mut pieces = [CachedSequence { n_tokens: tokens.len(), cache }];
        let logits = model.forward(&mut graph, tokens, Sequences::Cached(&mut pieces), None, None).unwrap();
        logits.values().to_vec()
    };
    extend(&mut cache, &tokens);
    for (back, left) in [(150, 128), (195, 128 + 67), (128, 128), (70, 64), (64, 64), (3, 0)] {
        let n = cache.truncate(back);
        // What is kept depends on where the end was: all of it until a chunk was dropped.
        assert_eq!(n, left, "back to {back}");
        let got = extend(&mut cache, &tokens[n..]);
        assert!(got == whole[n * 50..], "back to {back}");
    }
}

/// Copies a Hugging Face folder with one row (a router's) or one expert less of the tensor `name`, or without
/// it.
fn damage(from: &Path, to: &Path, name: &str, is_missing: bool) {
    std::fs::copy(from.join("config.json"), to.join("config.json")).unwrap();
    let file = safetensors::open(&from.join("model.safetensors")).unwrap();
    let mut writer = safetensors::Writer::new(Default::default());
    for tensor in file.tensors.iter().filter(|tensor| !is_missing || tensor.name != name) {
        let mut shape = tensor.shape.clone();
        shape[0] -= usize::from(tensor.name == name);
        writer.declare(TensorInfo::new(tensor.name.clone(), tensor.dtype, shape));
    }
    let mut stream = writer.begin(&to.join("model.safetensors")).unwrap();
    while let Some(info) = stream.expected().cloned() {
        let data = &file.tensors.get(&info.name).unwrap().data;
        stream.write(&info.name, &data[..4 * info.shape.iter().product::<usize>()]).unwrap();
    }
    stream.finish().unwrap();
}

#[test]
fn routers_and_experts_that_do_not_fit_are_named() {
    let [whole, broken] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    model(config(1, true, 16)).save_hf(whole.path(), DType::F32).unwrap();
    Model::load(whole.path(), &LoadOptions::default()).unwrap();
    for (end, found) in [
        ("router.weight", "[4, 24]"),
        ("experts.gate_up_proj", "[4, 24, 32]"),
        ("experts.down_proj", "[4, 16, 24]"),
    ] {
        let name = format!("model.layers.1.feed_forward.{end}");
        for (is_missing, fact) in [(true, "missing"), (false, found)] {
            damage(whole.path(), broken.path(), &name, is_missing);
            let error =
                Model::load(broken.path(), &LoadOptions::default()).map(|_| ()).unwrap_err().to_string();
            for word in [&name, fact, broken.path().to_str().unwrap()] {
                assert!(error.contains(word), "`{word}` is not in: {error}");
            }
        }
    }
}
