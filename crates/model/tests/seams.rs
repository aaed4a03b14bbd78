//! Where other parts join the forward pass: stages of layers, hidden states, and the one place where inputs
//! meet parameters.

use std::collections::BTreeMap;

use puna_model::{
    CachedSequence, Config, Experts, KvCache, LayerKind, Model, Sequences, Stage, Temperature, Weights,
};
use puna_tensor::{
    Activations, Bytes, Cpu, DType, Graph, Isa, ParamId, RunOptions, Weight, WeightInput, Workspace, quant,
};

/// A model of four layers, whose matrices are in Q8_0: two plain ones, one with experts, and one that is
/// chunked and not rotated.
fn model() -> Model {
    let kind = |layer| LayerKind { no_rope: layer == 3, chunked: layer == 3, experts: layer == 2 };
    let config = Config {
        dim: 32,
        n_layers: 4,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 8,
        ffn_dim: 64,
        vocab_size: 51,
        max_seq_len: 500,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tied: true,
        layer_kinds: (0..4).map(kind).collect(),
        attention_chunk: Some(20),
        qk_norm: true,
        attention_temperature: Some(Temperature { floor: 20.0, scale: 0.5 }),
        experts: Experts { n: 3, n_used: 1, ffn_dim: 32, ..Experts::default() },
        ..Config::default()
    };
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let weights = Weights::bind(&config, |id, _, [rows, cols]| {
        if rows == 1 {
            return Ok(Weight::owned(id, rows, cols, vec![1.0; cols]));
        }
        let values: Vec<f32> = (0..rows * cols).map(|_| 0.4 * random()).collect();
        let mut bytes = vec![0; DType::Q8_0.bytes_of(values.len()).unwrap()];
        quant::encode(DType::Q8_0, &values, &mut bytes);
        Weight::stored(id, DType::Q8_0, rows, cols, Bytes::new(bytes)).ok_or(())
    });
    Model::new(config, weights.unwrap())
}

fn tokens(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * i * 7 + i) % 51).collect()
}

/// The logits of the last of `tokens`, which are computed in stages, each with a cache of its own.
fn staged(cpu: &Cpu, model: &Model, caches: &mut [KvCache], cuts: &[usize], tokens: &[u32]) -> Vec<f32> {
    let workspace = Workspace::default();
    let mut graph = Graph::inference(cpu, &workspace);
    let last = [tokens.len() - 1];
    let mut hidden = None;
    for (cache, ends) in caches.iter_mut().zip(cuts.windows(2)) {
        let stage = Stage { layers: ends[0]..ends[1], hidden };
        let mut pieces = [CachedSequence { n_tokens: tokens.len(), cache }];
        let sequences = Sequences::Cached(&mut pieces);
        hidden = Some(model.run_layers(&mut graph, stage, tokens, sequences, Some(&last), None).unwrap());
    }
    let x = graph.rms_norm(&hidden.unwrap(), &model.weights.norm, model.config.norm_eps);
    model.logits(&mut graph, &x).values().to_vec()
}

#[test]
fn stages_have_the_bits_of_a_whole_pass() {
    let model = model();
    let tokens = tokens(45);
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 2);
        let want = model.logits_of(&cpu, &tokens).unwrap();
        for cuts in [&[0, 4][..], &[0, 1, 4], &[0, 2, 3, 4], &[0, 1, 2, 3, 4]] {
            let cache = |ends: &[usize]| model.new_cache_of(DType::F32, ends[0]..ends[1]);
            let mut caches: Vec<KvCache> = cuts.windows(2).map(cache).collect();
            for (first, part) in [&tokens[..17], &tokens[17..]].into_iter().zip([0, 17]).map(|(t, f)| (f, t))
            {
                let got = staged(&cpu, &model, &mut caches, cuts, part);
                let row = (first + part.len() - 1) * model.config.vocab_size;
                assert!(got == want[row..row + model.config.vocab_size], "{cuts:?} on {}", isa.name());
            }
            // A cache holds the keys of its own layers alone.
            let bytes: usize = caches.iter().map(KvCache::bytes).sum();
            assert_eq!(
                bytes,
                KvCache::bytes_for(model.kv_layout(DType::F32), model.config.layer_attention(), 20)
            );
        }
    }
}

#[test]
fn stages_that_do_not_fit_are_refused() {
    let (model, cpu, workspace) = (model(), Cpu::new(Isa::best(), 1), Workspace::default());
    let mut graph = Graph::inference(&cpu, &workspace);
    let hidden = |rows: usize, cols: usize| Some(graph.constant(rows, cols, |x| x.fill(0.5)));
    let stages = [
        (Stage { layers: 2..2, hidden: None }, "layers 2..2 are not layers of 4"),
        (Stage { layers: 3..5, hidden: hidden(2, 32) }, "layers 3..5 are not layers of 4"),
        (Stage { layers: 1..4, hidden: None }, "layers after the first need hidden states"),
        (
            Stage { layers: 1..4, hidden: hidden(3, 32) },
            "hidden states [3, 32] do not fit 2 tokens of width 32",
        ),
        (
            Stage { layers: 1..4, hidden: hidden(2, 31) },
            "hidden states [2, 31] do not fit 2 tokens of width 32",
        ),
    ];
    for (stage, fact) in stages {
        let whole = 0..2;
        let error = model.run_layers(
            &mut graph,
            stage,
            &[1, 2],
            Sequences::Whole(std::slice::from_ref(&whole)),
            None,
            None,
        );
        assert_eq!(error.err().unwrap().to_string(), fact);
    }
    // The cache of another stage.
    let (mut cache, hidden) = (model.new_cache_of(DType::F32, 0..2), graph.constant(1, 32, |x| x.fill(0.5)));
    let mut pieces = [CachedSequence { n_tokens: 1, cache: &mut cache }];
    let (stage, sequences) = (Stage { layers: 1..3, hidden: Some(hidden) }, Sequences::Cached(&mut pieces));
    let error = model.run_layers(&mut graph, stage, &[1], sequences, None, None).err().unwrap();
    assert_eq!(error.to_string(), "a sequence's cache and its 1 new tokens do not fit these layers");
}

#[test]
fn logits_are_made_of_hidden_states() {
    let (model, cpu, workspace) = (model(), Cpu::new(Isa::best(), 2), Workspace::default());
    let (tokens, rows) = (tokens(30), [3, 29, 4]);
    let mut graph = Graph::inference(&cpu, &workspace);
    let whole = 0..30;
    let hidden = model
        .hidden(&mut graph, &tokens, Sequences::Whole(std::slice::from_ref(&whole)), Some(&rows), None)
        .unwrap();
    assert_eq!((hidden.rows(), hidden.cols()), (3, 32));
    let logits = model.logits(&mut graph, &hidden).values().to_vec();
    let all = model.logits_of(&cpu, &tokens).unwrap();
    let want: Vec<f32> = rows.iter().flat_map(|row| all[row * 51..][..51].to_vec()).collect();
    assert!(logits == want);
}

/// Each matrix meets an input exactly once a pass, the embedding the tokens, and an expert the rows that are
/// routed to it. Looking changes no bit, with and without gradients, whether products are joined or not.
#[test]
fn every_parameter_meets_its_input_in_one_place() {
    let (model, cpu, workspace) = (model(), Cpu::new(Isa::best(), 2), Workspace::default());
    let tokens = tokens(30);
    let whole = 0..30;
    let rounded = RunOptions { activations: Activations::Int8, ..RunOptions::default() };
    let mut results = Vec::new();
    for options in [RunOptions::default(), rounded] {
        for graph in [Graph::inference, Graph::training] {
            let run = |graph: Graph| -> Vec<f32> {
                let mut graph = graph.with_options(&options);
                let sequences = Sequences::Whole(std::slice::from_ref(&whole));
                model.forward(&mut graph, &tokens, sequences, None, None).unwrap().values().to_vec()
            };
            let (mut met, mut embedded) = (BTreeMap::<ParamId, (usize, Vec<f32>)>::new(), Vec::new());
            let got = run(graph(&cpu, &workspace).with_observer(|id, input| match input {
                WeightInput::Rows(x) => {
                    // What an importance matrix sums up.
                    let (n_rows, squares) = met.entry(id).or_insert_with(|| (0, vec![0.0; x.cols()]));
                    *n_rows += x.rows();
                    for row in x.values().chunks_exact(x.cols()) {
                        squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x);
                    }
                }
                WeightInput::Tokens(tokens) => embedded.push((id, tokens.to_vec())),
            }));
            assert!(got == run(graph(&cpu, &workspace)), "looking changes nothing");
            results.push(got);
            let embedding = model.weights.tok_embeddings.id();
            assert_eq!(embedded, [(embedding, tokens.clone())]);
            let mut n_routed = 0;
            for weight in model.weights.matrices() {
                let is_expert = |layer: &puna_model::LayerWeights| {
                    layer
                        .experts()
                        .iter()
                        .flat_map(puna_model::Expert::matrices)
                        .any(|w| w.id() == weight.id())
                };
                let (n_rows, squares) =
                    match (met.get(&weight.id()), model.weights.layers.iter().any(is_expert)) {
                        (Some(found), false) => found,
                        (found, true) => {
                            n_routed += found.map_or(0, |(n_rows, _)| *n_rows);
                            continue;
                        }
                        (None, false) => panic!("{:?} met nothing", weight.id()),
                    };
                assert_eq!((*n_rows, squares.len()), (30, weight.cols()));
                assert!(squares.iter().any(|sum| *sum > 0.0));
            }
            assert_eq!(n_routed, 3 * 30, "one expert of three matrices a token");
        }
    }
    // Rounding shows where nothing is differentiated, and only there.
    let [exact, exact_training, rounded, rounded_training] = &results[..] else { panic!("four runs") };
    assert!(exact == exact_training && exact == rounded_training && exact != rounded);
}
