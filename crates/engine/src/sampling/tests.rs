//! Sampling against the reference's vectors, against a naive implementation, and as a random process.

use super::*;

/// Logits as those of a large model: most near 0, a few far above.
fn random_logits(vocab_size: usize, spread: f32, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut uniform = || random.uniform() as f32;
    (0..vocab_size)
        .map(|_| {
            let normal: f32 = (0..12).map(|_| uniform()).sum::<f32>() - 6.0;
            let high = if uniform() < 0.001 { 4.0 * uniform() } else { 0.0 };
            spread * (normal + high)
        })
        .collect()
}

/// Each definition written down plainly: all tokens, full sorts, f64.
fn naive(params: &SamplingParams, logits: &[f32], history: &[u32]) -> Vec<f64> {
    let mut x: Vec<f64> = logits.iter().map(|&l| l as f64).collect();
    for &(id, bias) in &params.logit_bias {
        x[id as usize] = (x[id as usize] as f32 + bias) as f64;
    }
    for (id, x) in x.iter_mut().enumerate() {
        let count = history.iter().filter(|&&seen| seen as usize == id).count() as f64;
        if count > 0.0 {
            *x = if *x < 0.0 { *x * params.repeat_penalty } else { *x / params.repeat_penalty };
            *x -= params.frequency_penalty * count + params.presence_penalty;
            *x = *x as f32 as f64; // Logits are kept in f32.
        }
    }
    if params.temperature == 0.0 {
        let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = x.iter().position(|&x| x == largest).unwrap();
        return (0..x.len()).map(|id| if id == first { 1.0 } else { 0.0 }).collect();
    }
    x.iter_mut().for_each(|x| *x /= params.temperature);
    let forbid = |x: &mut [f64], keep: &dyn Fn(usize) -> bool| {
        for (id, x) in x.iter_mut().enumerate() {
            if !keep(id) {
                *x = f64::NEG_INFINITY;
            }
        }
    };
    let ranked = |x: &[f64]| {
        let mut ids: Vec<usize> = (0..x.len()).collect();
        ids.sort_by(|&a, &b| x[b].total_cmp(&x[a]));
        ids
    };
    if params.top_k > 0 {
        let least = x[ranked(&x)[params.top_k.min(x.len()) - 1]];
        let before = x.clone();
        forbid(&mut x, &|id| before[id] >= least);
    }
    if params.top_p < 1.0 {
        let p = softmax(&x);
        let mut kept = vec![false; x.len()];
        let mut mass = 0.0;
        for (rank, id) in ranked(&x).into_iter().enumerate() {
            kept[id] = rank == 0 || mass < params.top_p;
            mass += p[id];
        }
        forbid(&mut x, &|id| kept[id]);
    }
    if params.min_p > 0.0 {
        let p = softmax(&x);
        let max = p.iter().copied().fold(0.0, f64::max);
        forbid(&mut x, &|id| p[id] >= params.min_p * max);
    }
    if params.typical_p < 1.0 {
        let p = softmax(&x);
        let entropy: f64 = p.iter().filter(|&&p| p > 0.0).map(|&p| -p * p.ln()).sum();
        let distance: Vec<f64> = p.iter().map(|p| (-p.ln() - entropy).abs()).collect();
        let mut ids: Vec<usize> = (0..x.len()).collect();
        ids.sort_by(|&a, &b| distance[a].total_cmp(&distance[b]));
        let mut mass = 0.0;
        let last = ids.iter().find(|&&id| {
            mass += p[id];
            mass >= params.typical_p
        });
        if let Some(&last) = last {
            forbid(&mut x, &|id| distance[id] <= distance[last]);
        }
    }
    softmax(&x)
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = x.iter().map(|x| (x - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// The distribution as an array over the vocabulary.
fn dense(params: &SamplingParams, logits: &[f32], history: &[u32]) -> Vec<f64> {
    let mut p = vec![0.0; logits.len()];
    for (id, probability) in Sampler::new(params).unwrap().distribution(logits, history).unwrap() {
        p[id as usize] = probability;
    }
    p
}

#[track_caller]
fn assert_near(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (id, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance, "{what}: token {id} has {got}, expected {want}");
    }
}

/// Settings that use every part and several together.
fn settings() -> Vec<SamplingParams> {
    let base = SamplingParams { seed: Some(1), ..SamplingParams::default() };
    vec![
        base.clone(),
        SamplingParams { temperature: 0.6, ..base.clone() },
        SamplingParams { temperature: 3.0, ..base.clone() },
        SamplingParams { temperature: 1e-3, ..base.clone() },
        SamplingParams { temperature: 1e-300, ..base.clone() },
        SamplingParams { temperature: 1e10, top_p: 0.5, ..base.clone() },
        SamplingParams { top_k: 1, ..base.clone() },
        SamplingParams { top_k: 40, ..base.clone() },
        SamplingParams { top_k: 2000, temperature: 0.3, ..base.clone() },
        SamplingParams { top_k: usize::MAX, ..base.clone() },
        SamplingParams { top_p: 0.0, ..base.clone() },
        SamplingParams { top_p: 0.9, temperature: 0.6, ..base.clone() },
        SamplingParams { top_p: 0.95, temperature: 1.5, ..base.clone() },
        SamplingParams { top_p: 0.999_999, temperature: 0.8, ..base.clone() },
        SamplingParams { min_p: 0.05, ..base.clone() },
        SamplingParams { min_p: 1e-9, ..base.clone() },
        SamplingParams { min_p: 1.0, ..base.clone() },
        SamplingParams { typical_p: 0.3, ..base.clone() },
        SamplingParams { typical_p: 0.95, top_k: 50, ..base.clone() },
        SamplingParams {
            top_k: 100,
            top_p: 0.9,
            min_p: 0.02,
            typical_p: 0.9,
            temperature: 1.2,
            ..base.clone()
        },
        SamplingParams {
            repeat_penalty: 1.3,
            frequency_penalty: 0.5,
            presence_penalty: 0.2,
            top_p: 0.8,
            ..base.clone()
        },
        SamplingParams {
            repeat_penalty: 0.7,
            top_k: 20,
            logit_bias: vec![(5, 9.0), (7, f32::NEG_INFINITY)],
            ..base.clone()
        },
        SamplingParams { logit_bias: vec![(3, 30.0), (11, -4.0)], temperature: 0.9, ..base.clone() },
        SamplingParams { repeat_penalty: 1.1, ..SamplingParams::greedy() },
        SamplingParams::greedy(),
    ]
}

/// What sampling would draw from, whichever way it got there, is the naive distribution.
#[test]
fn all_ways_lead_to_the_naive_distribution() {
    for (seed, vocab_size) in [(1, 1), (2, 31), (3, 33), (4, 1000), (5, 40_000)] {
        for spread in [0.5, 2.5] {
            let logits = random_logits(vocab_size, spread, seed);
            let history: Vec<u32> = (0..100).map(|i| (i * i * 7919) % (vocab_size as u32 + 3)).collect();
            for mut params in settings() {
                params.logit_bias.retain(|&(id, _)| (id as usize) < vocab_size);
                if vocab_size == 1 {
                    params.logit_bias.clear();
                }
                let what = format!("{vocab_size} tokens, spread {spread}, {params:?}");
                let want = naive(&params, &logits, &history);
                assert_near(&dense(&params, &logits, &history), &want, 1e-12, &what);
                if params.temperature > 0.0 {
                    assert_near(&quick(&params, &logits, &history), &want, 1e-8, &what);
                }
            }
        }
    }
}

/// The distribution that `sample` draws from: of its listed tokens, and of the others all together, spread
/// over them.
fn quick(params: &SamplingParams, logits: &[f32], history: &[u32]) -> Vec<f64> {
    let (listed, others) = quick_shares(params, logits, history);
    let mut p = vec![0.0; logits.len()];
    let whole = naive(&SamplingParams { top_p: 1.0, ..params.clone() }, logits, history);
    listed.iter().for_each(|&(id, share)| p[id as usize] = share);
    let unlisted: f64 = (0..p.len()).filter(|&id| p[id] == 0.0).map(|id| whole[id]).sum();
    if others > 0.0 {
        (0..p.len()).filter(|&id| p[id] == 0.0).collect::<Vec<_>>().iter().for_each(|&id| {
            p[id] = others * whole[id] / unlisted;
        });
    }
    p
}

/// The probabilities of the tokens that `sample` lists, and that of all others together.
fn quick_shares(params: &SamplingParams, logits: &[f32], history: &[u32]) -> (Vec<(u32, f64)>, f64) {
    let mut sampler = Sampler::new(params).unwrap();
    let adjusted = sampler.penalties.apply(params, logits, history).unwrap();
    sampler.candidates.select(&adjusted, params);
    sampler.candidates.shares()
}

#[test]
fn greedy_takes_the_first_of_the_largest() {
    let mut sampler = Sampler::new(&SamplingParams::greedy()).unwrap();
    for len in 1..100 {
        for at in 0..len {
            let mut logits = vec![-1.0; len];
            logits[at] = 2.0;
            logits[len - 1] = 2.0;
            assert_eq!(sampler.sample(&logits, &[]), Ok(at as u32));
        }
    }
    // A penalty can make another token the largest, or an earlier one its equal.
    let params = SamplingParams { repeat_penalty: 2.0, ..SamplingParams::greedy() };
    let mut sampler = Sampler::new(&params).unwrap();
    assert_eq!(sampler.sample(&[1.0, 4.0, 3.0], &[1]), Ok(2));
    assert_eq!(sampler.sample(&[2.0, 4.0, 1.0], &[1]), Ok(0));
    assert_eq!(sampler.sample(&[1.0, 4.0, 2.0], &[1]), Ok(1));
}

#[test]
fn equal_logits_keep_the_lower_ids() {
    let params = SamplingParams { top_p: 0.5, ..SamplingParams::default() };
    assert_eq!(dense(&params, &[0.0; 4], &[]), [0.5, 0.5, 0.0, 0.0]);
    // Top-k and typical keep all equals.
    let params = SamplingParams { top_k: 2, ..SamplingParams::default() };
    assert_eq!(dense(&params, &[1.0, 1.0, 1.0, 1.0, 0.0], &[]), [0.25, 0.25, 0.25, 0.25, 0.0]);
    let params = SamplingParams { typical_p: 0.1, ..SamplingParams::default() };
    assert_eq!(dense(&params, &[1.0; 4], &[]), [0.25; 4]);
}

/// A history that grows, shrinks or changes is counted as one that is new.
#[test]
fn histories_are_counted_afresh_or_further_alike() {
    let params = SamplingParams { frequency_penalty: 0.7, repeat_penalty: 1.2, ..SamplingParams::default() };
    let logits = random_logits(50, 2.0, 9);
    let mut sampler = Sampler::new(&params).unwrap();
    let histories: [&[u32]; 7] = [&[], &[4], &[4, 9], &[4, 9, 9, 60], &[4], &[5, 9, 9], &[u32::MAX, 1]];
    for history in histories {
        let want = Sampler::new(&params).unwrap().distribution(&logits, history).unwrap();
        assert_eq!(sampler.distribution(&logits, history).unwrap(), want);
        assert_near(&dense(&params, &logits, history), &naive(&params, &logits, history), 1e-12, "history");
    }
    // A sampler may even be moved to another vocabulary.
    assert!(sampler.sample(&logits[..3], &[u32::MAX, 1]).unwrap() < 3);
}

/// Frequencies of many draws, by Pearson's chi-square: with a fixed seed this cannot fail by chance, and a
/// wrong distribution would exceed the bound many times over.
#[test]
fn draws_follow_the_distribution() {
    for (params, vocab_size, spread, n_draws) in [
        (SamplingParams::default(), 8, 1.0, 20_000),
        (SamplingParams { top_p: 0.9, temperature: 1.4, ..SamplingParams::default() }, 300, 1.5, 20_000),
        // One token far above many others, which are drawn now and then though they are not listed.
        (SamplingParams { temperature: 0.5, ..SamplingParams::default() }, 5_000, 0.01, 100_000),
    ] {
        let params = SamplingParams { seed: Some(42), ..params };
        let mut logits = random_logits(vocab_size, spread, 77);
        if vocab_size == 5_000 {
            logits[17] = 7.2;
            let unlisted = quick_shares(&params, &logits, &[]).1;
            assert!((0.001..0.01).contains(&unlisted), "{unlisted}");
        }
        let want = dense(&params, &logits, &[]);
        // Cells of about equal expectation, by token id: at least 50 draws each.
        let mut cells = vec![0];
        let mut cell_of = vec![0; vocab_size];
        let mut expected = vec![0.0];
        for id in 0..vocab_size {
            if *expected.last().unwrap() > 50.0 {
                expected.push(0.0);
                cells.push(0);
            }
            cell_of[id] = cells.len() - 1;
            *expected.last_mut().unwrap() += want[id] * n_draws as f64;
        }
        let mut sampler = Sampler::new(&params).unwrap();
        for _ in 0..n_draws {
            let id = sampler.sample(&logits, &[]).unwrap() as usize;
            assert!(want[id] > 0.0);
            cells[cell_of[id]] += 1;
        }
        let chi_square: f64 =
            cells.iter().zip(&expected).map(|(&n, e)| (n as f64 - e).powi(2) / e.max(1.0)).sum();
        let freedom = cells.len() as f64 - 1.0;
        let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
        assert!(chi_square < bound, "{params:?}: chi-square {chi_square} with {freedom} degrees of freedom");
    }
}

#[test]
fn a_seed_determines_the_tokens() {
    let logits = random_logits(500, 1.0, 3);
    let run = |seed| {
        let params = SamplingParams { seed, ..SamplingParams::default() };
        let mut sampler = Sampler::new(&params).unwrap();
        let tokens: Vec<u32> = (0..50).map(|_| sampler.sample(&logits, &[]).unwrap()).collect();
        (sampler.seed(), tokens)
    };
    assert_eq!(run(Some(7)), run(Some(7)));
    assert_ne!(run(Some(7)).1, run(Some(8)).1);
    let (seed, tokens) = run(None);
    assert_eq!(run(Some(seed)).1, tokens);
}

#[test]
fn damaged_logits_are_refused() {
    for params in settings() {
        let params = SamplingParams { logit_bias: Vec::new(), ..params };
        let mut sampler = Sampler::new(&params).unwrap();
        for len in [1, 7, 8, 40, 100] {
            for at in 0..len {
                for bad in [f32::NAN, f32::INFINITY] {
                    let mut logits = vec![0.5; len];
                    logits[at] = bad;
                    for history in [&[][..], &[at as u32]] {
                        let error = sampler.sample(&logits, history).unwrap_err();
                        let SamplingError::Logit { token, .. } = error else { panic!("{error}") };
                        assert_eq!(token as usize, at);
                    }
                }
            }
        }
        assert_eq!(sampler.sample(&[], &[]), Err(SamplingError::NothingAllowed { vocab_size: 0 }));
        let forbidden = [f32::NEG_INFINITY; 70];
        assert_eq!(sampler.sample(&forbidden, &[3]), Err(SamplingError::NothingAllowed { vocab_size: 70 }));
    }
}

#[test]
fn forbidden_tokens_are_never_drawn() {
    let logits: Vec<f32> = (0..200).map(|i| if i % 67 == 5 { 0.0 } else { f32::NEG_INFINITY }).collect();
    for params in settings() {
        let params = SamplingParams { logit_bias: vec![(5, f32::NEG_INFINITY)], ..params };
        let mut sampler = Sampler::new(&params).unwrap();
        for _ in 0..20 {
            let id = sampler.sample(&logits, &[]).unwrap();
            assert!(id == 72 || id == 139, "{id} with {params:?}");
        }
    }
}

#[test]
fn parameters_out_of_range_are_refused() {
    let default = SamplingParams::default;
    let wrong = [
        SamplingParams { temperature: -0.1, ..default() },
        SamplingParams { temperature: f64::NAN, ..default() },
        SamplingParams { temperature: f64::INFINITY, ..default() },
        SamplingParams { top_p: 1.01, ..default() },
        SamplingParams { top_p: f64::NAN, ..default() },
        SamplingParams { min_p: -1.0, ..default() },
        SamplingParams { typical_p: 0.0, ..default() },
        SamplingParams { repeat_penalty: 0.0, ..default() },
        SamplingParams { presence_penalty: f64::NAN, ..default() },
        SamplingParams { frequency_penalty: f64::INFINITY, ..default() },
        SamplingParams { logit_bias: vec![(1, f32::NAN)], ..default() },
        SamplingParams { logit_bias: vec![(1, f32::INFINITY)], ..default() },
        SamplingParams { logit_bias: vec![(1, 0.0), (2, 0.0), (1, 1.0)], ..default() },
    ];
    for params in wrong {
        assert!(Sampler::new(&params).is_err(), "{params:?}");
    }
    let error = SamplingParams { top_p: 1.5, ..default() }.validate().unwrap_err();
    assert_eq!(error.to_string(), "top_p is 1.5; it must be from 0 to 1");
    let mut sampler = Sampler::new(&SamplingParams { logit_bias: vec![(4, 1.0)], ..default() }).unwrap();
    let outside = SamplingError::BiasOutsideVocabulary { token: 4, vocab_size: 4 };
    assert_eq!(sampler.sample(&[0.0; 4], &[]), Err(outside));
}

/// The reference's vectors. Logits there are f64; ours come in f32, so first they are rounded.
#[test]
fn conformance_of_sampling() {
    let Some(vectors) = puna_conformance::fixtures().json("sampling/vectors.json") else { return };
    let tolerance = vectors["recommended_tolerance"].as_f64().expect("a tolerance");
    let cases = vectors["cases"].as_array().expect("cases");
    let mut n_checked = 0;
    for case in cases {
        let params = match parse_params(&case["params"]) {
            Ok(params) => params,
            Err(unknown) => {
                puna_conformance::skip(&case["params"], format!("the parameter {unknown} is not known here"));
                continue;
            }
        };
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number")).collect()
        };
        let name = case["logits_ref"].as_str().expect("the logits' name");
        let logits: Vec<f32> = numbers(&vectors["logits"][name]).iter().map(|&x| x as f32).collect();
        let history: Vec<u32> = numbers(&case["history"]).iter().map(|&x| x as u32).collect();
        let got = dense(&params, &logits, &history);
        let what = format!("{name} with {}", case["params"]);
        assert_near(&got, &numbers(&case["probs"]), tolerance, &what);
        let n_nonzero = got.iter().filter(|&&p| p > 0.0).count() as u64;
        assert_eq!(Some(n_nonzero), case["n_nonzero"].as_u64(), "{what}");
        n_checked += 1;
    }
    println!("{n_checked} of {} cases checked", cases.len());
    assert!(n_checked > 0);
}

/// Parameters by the names of the vectors, or the name that is not known here.
fn parse_params(value: &serde_json::Value) -> Result<SamplingParams, String> {
    let mut params = SamplingParams::default();
    for (name, value) in value.as_object().expect("a map of parameters") {
        let number = value.as_f64().ok_or_else(|| name.clone())?;
        match name.as_str() {
            "temperature" => params.temperature = number,
            "top_k" => params.top_k = number as usize,
            "top_p" => params.top_p = number,
            "min_p" => params.min_p = number,
            "typical_p" => params.typical_p = number,
            "repetition_penalty" => params.repeat_penalty = number,
            "presence_penalty" => params.presence_penalty = number,
            "frequency_penalty" => params.frequency_penalty = number,
            _ => return Err(name.clone()),
        }
    }
    Ok(params)
}
