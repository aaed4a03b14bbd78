//! The reference's logits, hidden states, continuations, gradients and optimizer steps, from the conformance
//! fixtures.
//!
//! Cases are discovered from the fixtures' manifests and run on every instruction set of this machine. What a
//! set of fixtures lacks is listed as skipped, with the reason.

mod common;

use std::ops::Range;
use std::path::{Path, PathBuf};

use puna_conformance::{Fixtures, fixtures, read_json};
use puna_model::names::{Naming, Stored};
use puna_model::rope::{RopeScaling, inv_freq};
use puna_model::{CachedSequence, LoadOptions, Model, Point, Sequences};
use puna_tensor::{AdamwStep, Cpu, DType, Gradients, Graph, Isa, RopeTable, Workspace};
use serde_json::Value;

use common::{Golden, argmax, assert_within, cpus, largest_difference, load, rounded_logits, values_of};

/// One case of the text manifest.
struct Case {
    name: String,
    entry: Value,
    dir: PathBuf,
    golden: Golden,
}

impl Case {
    fn tolerance(&self, key: &str) -> f64 {
        self.entry["recommended_tolerance"][key].as_f64().unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }
}

/// Every text model of the manifest whose architecture is supported.
fn text_cases(fixtures: &Fixtures) -> Vec<Case> {
    let Some(manifest) = fixtures.json("golden/manifest.text.json") else { return Vec::new() };
    let mut cases = Vec::new();
    for (name, entry) in manifest.as_object().unwrap() {
        let architecture = entry["architecture"].as_str().unwrap();
        assert!(matches!(architecture, "LlamaForCausalLM" | "Llama4ForCausalLM"), "{name}: {architecture}");
        let dir = fixtures.path(entry["model_dir"].as_str().unwrap());
        let golden = Golden::open(&fixtures.path(&format!("golden/{name}.safetensors")));
        cases.push(Case { name: name.clone(), entry: entry.clone(), dir, golden });
    }
    cases
}

fn check_sequences(cpu: &Cpu, model: &Model, golden: &Golden, prefix: &str, atol: f64, what: &str) -> usize {
    let mut n = 0;
    for i in 0.. {
        let key = format!("{prefix}seq{i}");
        if golden.has(&format!("{key}.input_ids")) {
            let got = model.logits_of(cpu, &golden.ids(&format!("{key}.input_ids"))).unwrap();
            let what = format!("{what} {key} on {}", cpu.isa.name());
            assert_within(&got, &golden.f32s(&format!("{key}.logits")), atol, &what);
            n += 1;
        } else if i > 8 {
            return n;
        }
    }
    unreachable!()
}

#[test]
fn conformance_logits_of_hugging_face_checkpoints() {
    for case in text_cases(&fixtures()) {
        let model = load(&case.dir);
        for cpu in cpus() {
            let n =
                check_sequences(&cpu, &model, &case.golden, "", case.tolerance("logits_atol"), &case.name);
            assert!(n > 0);
        }
        println!("ok {}", case.name);
    }
}

#[test]
fn conformance_new_style_configs_mean_the_same() {
    for case in text_cases(&fixtures()) {
        let v5 = read_json(&case.dir.join("config.v5.json"));
        let v5 = puna_model::Config::from_hf(&v5).unwrap();
        assert_eq!(v5, load(&case.dir).config, "{}", case.name);
    }
}

#[test]
fn conformance_hidden_states() {
    for case in text_cases(&fixtures()) {
        let model = load(&case.dir);
        let ids = case.golden.ids("hidden.input_ids");
        for cpu in cpus() {
            let mut graph = Graph::inference(&cpu, &Workspace::default());
            let mut seen = 0;
            let mut observe = |point, x: &puna_tensor::Var| {
                let key = match point {
                    Point::Embedded => "hidden.embed".to_owned(),
                    Point::Layer(i) => format!("hidden.layer{i}"),
                    Point::FinalNorm => "hidden.final_norm".to_owned(),
                };
                let what = format!("{} {key} on {}", case.name, cpu.isa.name());
                assert_within(x.values(), &case.golden.f32s(&key), case.tolerance("hidden_atol"), &what);
                seen += 1;
            };
            let whole = 0..ids.len();
            let logits = model
                .forward(&mut graph, &ids, Sequences::Whole(&[whole]), None, Some(&mut observe))
                .unwrap();
            let what = format!("{} hidden.logits on {}", case.name, cpu.isa.name());
            assert_within(
                logits.values(),
                &case.golden.f32s("hidden.logits"),
                case.tolerance("logits_atol"),
                &what,
            );
            assert_eq!(seen, model.config.n_layers + 2);
        }
    }
}

/// Greedy continuation with a cache, the prompt fed in chunks of `chunk`.
fn greedy(cpu: &Cpu, model: &Model, prompt: &[u32], n: usize, kv: DType, chunk: usize) -> Vec<u32> {
    let mut cache = model.new_cache(kv);
    let workspace = Workspace::default();
    let mut step = |tokens: &[u32]| {
        let mut graph = Graph::inference(cpu, &workspace);
        let mut pieces = [CachedSequence { n_tokens: tokens.len(), cache: &mut cache }];
        let last = [tokens.len() - 1];
        let logits =
            model.forward(&mut graph, tokens, Sequences::Cached(&mut pieces), Some(&last), None).unwrap();
        argmax(logits.values())
    };
    let mut next = 0;
    for tokens in prompt.chunks(chunk) {
        next = step(tokens);
    }
    let mut out = vec![next];
    while out.len() < n {
        out.push(step(&[out[out.len() - 1]]));
    }
    out
}

#[test]
fn conformance_greedy_continuations() {
    for case in text_cases(&fixtures()) {
        let model = load(&case.dir);
        let prompt = case.golden.ids("greedy.prompt_ids");
        let want = case.golden.ids("greedy.continuation_ids");
        for cpu in cpus() {
            for (kv, chunk) in [(DType::F32, prompt.len()), (DType::F32, 3)] {
                let got = greedy(&cpu, &model, &prompt, want.len(), kv, chunk);
                assert_eq!(got, want, "{} on {}, chunks of {chunk}", case.name, cpu.isa.name());
            }
        }
    }
}

/// Cached in pieces, several sequences in one step, and uncached: the same bits with an f32 cache, since
/// every operation's result for a token is independent of what is computed with it.
#[test]
fn conformance_cached_batched_and_whole_passes_agree() {
    for case in text_cases(&fixtures()) {
        let model = load(&case.dir);
        let vocab_size = model.config.vocab_size;
        let sequences = [case.golden.ids("seq3.input_ids"), case.golden.ids("seq1.input_ids")];
        for cpu in cpus().filter(|cpu| !cpu.isa.is_scalar()) {
            let whole = sequences.each_ref().map(|ids| model.logits_of(&cpu, ids).unwrap());
            let workspace = Workspace::default();
            let mut caches = [(); 2].map(|_| model.new_cache(DType::F32));
            let mut done = [0, 0];
            let mut got = [vec![], vec![]];
            for chunk in [5, 1, 30, 64, 1, 2].into_iter().cycle() {
                let mut tokens = Vec::new();
                let mut rows: Vec<(usize, Range<usize>)> = Vec::new();
                for s in 0..2 {
                    let n = chunk.min(sequences[s].len() - done[s]);
                    rows.push((s, tokens.len()..tokens.len() + n));
                    tokens.extend(&sequences[s][done[s]..done[s] + n]);
                    done[s] += n;
                }
                if tokens.is_empty() {
                    break;
                }
                let mut pieces: Vec<CachedSequence> = caches
                    .iter_mut()
                    .zip(&rows)
                    .map(|(cache, (_, rows))| CachedSequence { n_tokens: rows.len(), cache })
                    .filter(|piece| piece.n_tokens > 0)
                    .collect();
                let mut graph = Graph::inference(&cpu, &workspace);
                let logits =
                    model.forward(&mut graph, &tokens, Sequences::Cached(&mut pieces), None, None).unwrap();
                for (s, rows) in rows {
                    got[s]
                        .extend_from_slice(&logits.values()[rows.start * vocab_size..rows.end * vocab_size]);
                }
            }
            assert!(got == whole, "{} on {}", case.name, cpu.isa.name());
        }
    }
}

/// Half-precision and 8-bit caches stay near the exact one; the bound is the rounding of keys and values.
#[test]
fn conformance_small_caches_stay_near() {
    for case in text_cases(&fixtures()) {
        let model = load(&case.dir);
        let cpu = Cpu::new(Isa::best(), 2);
        let ids = case.golden.ids("seq1.input_ids");
        let want = case.golden.f32s("seq1.logits");
        let spread = case.entry["logits_std"].as_f64().unwrap();
        for (kv, relative) in [(DType::F16, 0.02), (DType::Q8_0, 0.3)] {
            let mut cache = model.new_cache(kv);
            let mut graph = Graph::inference(&cpu, &Workspace::default());
            let mut pieces = [CachedSequence { n_tokens: ids.len(), cache: &mut cache }];
            let logits = model.forward(&mut graph, &ids, Sequences::Cached(&mut pieces), None, None).unwrap();
            assert_within(logits.values(), &want, relative * spread, &format!("{} {kv} cache", case.name));
            assert!(largest_difference(logits.values(), &want) > 0.0);
        }
    }
}

/// Where the fixtures have values of each parameter: their names are Hugging Face's.
fn stored_parts(model: &Model) -> Vec<(Stored, [usize; 2])> {
    let config = &model.config;
    let stored = |part| (config.stored(part, Naming::HuggingFace), config.shape(part));
    config.parts().into_iter().map(stored).collect()
}

struct TrainBatch {
    ids: Vec<u32>,
    /// Of each token, the next one's label.
    targets: Vec<Option<u32>>,
    sequences: Vec<Range<usize>>,
}

/// `labels[t + 1]` is what `logits[t]` predicts; -100 is ignored.
fn train_batch(golden: &Golden) -> TrainBatch {
    let [n_rows, len] = golden.shape("train.input_ids")[..] else { panic!("two dimensions") };
    let labels = golden.i64s("train.labels");
    let targets = labels.chunks(len).flat_map(|row| {
        let next = row[1..].iter().map(|&label| u32::try_from(label).ok());
        next.chain([None]).collect::<Vec<_>>()
    });
    TrainBatch {
        ids: golden.ids("train.input_ids"),
        targets: targets.collect(),
        sequences: (0..n_rows).map(|r| r * len..(r + 1) * len).collect(),
    }
}

fn loss_and_gradients(cpu: &Cpu, model: &Model, batch: &TrainBatch, gradients: &mut Gradients) -> f32 {
    let mut graph = Graph::training(cpu, &Workspace::default());
    let logits =
        model.forward(&mut graph, &batch.ids, Sequences::Whole(&batch.sequences), None, None).unwrap();
    let n_targets = batch.targets.iter().flatten().count();
    let (loss, _) = graph.cross_entropy(logits, &batch.targets, 1.0 / n_targets as f32);
    let value = loss.values()[0];
    graph.backward(&loss, gradients);
    value
}

#[test]
fn conformance_loss_gradients_and_optimizer_steps() {
    for case in text_cases(&fixtures()) {
        let batch = train_batch(&case.golden);
        for cpu in cpus() {
            let on = format!("{} on {}", case.name, cpu.isa.name());
            let mut model = load(&case.dir);
            model.weights.all_mut().into_iter().for_each(|w| w.make_trainable());
            let names = stored_parts(&model);
            let mut gradients = Gradients::new(model.weights.all().iter().map(|w| Some(w.len())));
            let mut loss = loss_and_gradients(&cpu, &model, &batch, &mut gradients);
            let want = case.golden.f32s("train.loss");
            assert_within(&[loss], &want, case.tolerance("loss_atol"), &format!("{on}: loss"));
            for (name, weight) in names.iter().zip(model.weights.all()) {
                let got = gradients.get(weight.id()).unwrap();
                let want = values_of(&case.golden, "grad.", name);
                let (atol, rtol) = (case.tolerance("grad_atol"), case.tolerance("grad_rtol"));
                for (g, w) in got.iter().zip(&want) {
                    let bound = atol + rtol * w.abs() as f64;
                    assert!(((g - w).abs() as f64) <= bound, "{on}: gradient of {name:?}: {g}, expected {w}");
                }
            }
            check_adamw(&cpu, &case, &mut model, &names, &batch, &mut gradients, &mut loss, &on);
        }
        println!("ok {}", case.name);
    }
}

#[allow(clippy::too_many_arguments)]
fn check_adamw(
    cpu: &Cpu,
    case: &Case,
    model: &mut Model,
    names: &[(Stored, [usize; 2])],
    batch: &TrainBatch,
    gradients: &mut Gradients,
    loss: &mut f32,
    on: &str,
) {
    let constants = &case.entry["adamw"];
    let number = |v: &Value| v.as_f64().unwrap() as f32;
    let losses = case.golden.f32s("adamw.losses");
    let mut moments: Vec<_> =
        model.weights.all().iter().map(|w| (vec![0.0; w.len()], vec![0.0; w.len()])).collect();
    for step in 1..=3u32 {
        assert_within(
            &[*loss],
            &losses[step as usize - 1..step as usize],
            1e-3,
            &format!("{on}: step {step}"),
        );
        let update = AdamwStep {
            lr: number(&constants["lr"]),
            beta1: number(&constants["betas"][0]),
            beta2: number(&constants["betas"][1]),
            eps: number(&constants["eps"]),
            weight_decay: number(&constants["weight_decay"]),
            step,
            gradient_scale: 1.0,
        };
        for (weight, (m, v)) in model.weights.all_mut().into_iter().zip(&mut moments) {
            let gradient = gradients.get(weight.id()).unwrap();
            weight.adamw_step(cpu, &update, gradient, [m, v]);
        }
        for (name, weight) in names.iter().zip(model.weights.all()) {
            let prefix = format!("adamw.step{step}.");
            let key = format!("{prefix}{}", name.0.name);
            if case.golden.has(&key) {
                let want = values_of(&case.golden, &prefix, name);
                let atol = case.tolerance("adamw_atol") as f32;
                let differences: Vec<f32> =
                    weight.values().unwrap().iter().zip(&want).map(|(g, w)| (g - w).abs()).collect();
                // Where the gradient is nearly zero the update is ill-conditioned: a few outliers, as the
                // manifest says.
                let n_outliers = differences.iter().filter(|d| **d > atol).count();
                let largest = differences.iter().copied().fold(0.0, f32::max);
                assert!(
                    n_outliers <= 3 + want.len() / 500 && largest <= 2e-3,
                    "{on}: {key}: {n_outliers}, {largest}"
                );
            }
        }
        gradients.clear();
        *loss = loss_and_gradients(cpu, model, batch, gradients);
    }
    assert_within(&[*loss], &losses[3..], 1e-3, &format!("{on}: after step 3"));
}

fn scaling_override(entry: &Value) -> Option<RopeScaling> {
    let number = |key: &str| entry.get(key)?.as_f64();
    Some(RopeScaling::Llama3 {
        factor: number("factor")?,
        low_freq_factor: number("low_freq_factor")?,
        high_freq_factor: number("high_freq_factor")?,
        original: number("original_max_position_embeddings")?,
    })
}

#[test]
fn conformance_meta_checkpoints() {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("meta/manifest.json") else { return };
    let text = read_json(&fixtures.path("golden/manifest.text.json"));
    for (name, entry) in manifest["models"].as_object().unwrap() {
        let golden = Golden::open(&fixtures.path(entry["golden"].as_str().unwrap()));
        let atol = text[name]["recommended_tolerance"]["logits_atol"].as_f64().unwrap();
        for dir in entry["dirs"].as_array().unwrap() {
            let dir = fixtures.path(dir.as_str().unwrap());
            let rope_scaling = scaling_override(&entry["rope_scaling_override"]);
            let options = LoadOptions { rope_scaling, ..LoadOptions::default() };
            let model = Model::load(&dir, &options).unwrap_or_else(|e| panic!("{e}"));
            for cpu in cpus() {
                assert!(check_sequences(&cpu, &model, &golden, "", atol, &dir.display().to_string()) > 0);
            }
            println!("ok {}", dir.display());
        }
    }
}

/// GPTQ's and AWQ's layers hold exactly the values of the reference, and give its logits; with rounded
/// activations too, within what rounding costs.
#[test]
fn conformance_gptq_and_awq_checkpoints() {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("gptq/manifest.json") else { return };
    for (name, entry) in manifest["models"].as_object().unwrap() {
        let dir = fixtures.path(&format!("gptq/{name}"));
        let golden = Golden::open(&dir.join("golden.safetensors"));
        let model = load(&dir);
        let mut n_exact = 0;
        for (part, weight) in model.config.parts().into_iter().zip(model.weights.all()) {
            let key = format!("dequant.{}", part.name(Naming::HuggingFace));
            if golden.has(&key) {
                assert!(weight.to_f32() == golden.f32s(&key), "{name}: {key}");
                n_exact += 1;
            }
        }
        assert!(n_exact > 0, "{name}: nothing to compare");
        let ids = golden.ids("input_ids");
        let want = golden.f32s("logits");
        let atol = entry["recommended_tolerance"]["logits_atol"].as_f64().unwrap();
        let spread =
            want.iter().map(|x| (*x as f64).powi(2)).sum::<f64>().sqrt() / (want.len() as f64).sqrt();
        for cpu in cpus() {
            let on = format!("{name} on {}", cpu.isa.name());
            assert_within(&model.logits_of(&cpu, &ids).unwrap(), &want, atol, &on);
            assert_within(&rounded_logits(&cpu, &model, &ids), &want, 0.3 * spread, &on);
        }
        println!("ok {name}");
    }
}

#[test]
fn conformance_gguf_conversions() {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("gguf/manifest.json") else { return };
    let text = read_json(&fixtures.path("golden/manifest.text.json"));
    let golden = Golden::open(&fixtures.path("gguf/golden.safetensors"));
    for (name, entry) in manifest["conversions"].as_object().unwrap() {
        let model = load(&fixtures.path(entry["file"].as_str().unwrap()));
        let atol = text[name]["recommended_tolerance"]["logits_atol"].as_f64().unwrap();
        for cpu in cpus() {
            assert!(check_sequences(&cpu, &model, &golden, &format!("{name}."), atol, name) > 0);
        }
        println!("ok {name}");
    }
}

#[test]
fn conformance_gguf_quantised_logits_equal_the_dequantised_models() {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("gguf/manifest.json") else { return };
    let golden = Golden::open(&fixtures.path("gguf/golden.safetensors"));
    for (name, entry) in manifest["quantised"].as_object().unwrap() {
        let file = entry["file"].as_str().unwrap();
        let family =
            Path::new(file).file_name().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
        let model = load(&fixtures.path(file));
        let ids = golden.ids(&format!("{family}.input_ids"));
        let want = golden.f32s(&format!("{family}.{name}.logits_dequant_f32"));
        for cpu in cpus() {
            let got = model.logits_of(&cpu, &ids).unwrap();
            assert_within(&got, &want, 5e-4, &format!("{name} on {}", cpu.isa.name()));
        }
        println!("ok {name}");
    }
}

/// Activations rounded to eight bits cost no more than llama.cpp's rounding does, whose size the manifest
/// tells: the root mean square of the differences from the dequantised model's logits, over all types of the
/// family.
#[test]
fn conformance_rounded_activations_are_as_near_as_llama_cpps() {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("gguf/manifest.json") else { return };
    let golden = Golden::open(&fixtures.path("gguf/golden.safetensors"));
    for cpu in cpus() {
        let (mut ours, mut theirs) = (0.0, 0.0);
        for (name, entry) in manifest["quantised"].as_object().unwrap() {
            let Some(rms) = entry["rms_logit_diff"].as_f64().filter(|_| name != "F32") else { continue };
            let file = entry["file"].as_str().unwrap();
            let family = Path::new(file).file_name().unwrap().to_str().unwrap().split('-').next().unwrap();
            let ids = golden.ids(&format!("{family}.input_ids"));
            let want = golden.f32s(&format!("{family}.{name}.logits_dequant_f32"));
            let got = rounded_logits(&cpu, &load(&fixtures.path(file)), &ids);
            let squares = got.iter().zip(&want).map(|(g, w)| ((g - w) as f64).powi(2));
            let mean = squares.sum::<f64>() / got.len() as f64;
            let on = format!("{name} on {}", cpu.isa.name());
            println!("{on}: {:.4}, llama.cpp {rms:.4}", mean.sqrt());
            assert!(mean.sqrt() <= 1.3 * rms, "{on}: {}, llama.cpp {rms}", mean.sqrt());
            (ours, theirs) = (ours + mean, theirs + rms * rms);
        }
        assert!(ours <= theirs, "{}: {ours}, llama.cpp {theirs}", cpu.isa.name());
    }
}

#[test]
fn conformance_real_model_perplexity_and_text() {
    let fixtures = fixtures();
    let dir = fixtures.path("stories260K");
    let Some(facts) = fixtures.json("stories260K/golden.json") else { return };
    let golden = Golden::open(&dir.join("golden.safetensors"));
    let ids = golden.ids("ppl.ids");
    let nll = golden.f32s("ppl.nll");
    for path in [dir.join("hf"), dir.join("stories260K-f32.gguf")] {
        let model = load(&path);
        for cpu in cpus() {
            let on = format!("{} on {}", path.display(), cpu.isa.name());
            let logits = model.logits_of(&cpu, &ids).unwrap();
            let first = golden.f32s("ppl.logits_first64");
            assert_within(&logits[..first.len()], &first, 1e-3, &on);
            let targets: Vec<_> = ids[1..].iter().map(|id| Some(*id)).chain([None]).collect();
            let workspace = Workspace::default();
            let mut graph = Graph::inference(&cpu, &workspace);
            let cols = logits.len() / ids.len();
            let logits = graph.constant(ids.len(), cols, |out| out.copy_from_slice(&logits));
            let (_, losses) = graph.cross_entropy(logits, &targets, 1.0);
            let got: Vec<f32> = losses[..nll.len()].iter().map(|l| *l as f32).collect();
            assert_within(&got, &nll, 1e-3, &on);
            for text in facts["greedy"].as_array().unwrap() {
                let ids = |key: &str| -> Vec<u32> {
                    text[key].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
                };
                let want = ids("continuation_ids");
                assert_eq!(
                    greedy(&cpu, &model, &ids("prompt_ids"), want.len(), DType::F32, 512),
                    want,
                    "{on}"
                );
            }
        }
    }
}

#[test]
fn conformance_rotary_frequencies_and_angles() {
    let fixtures = fixtures();
    let Some(vectors) = fixtures.json("rope/vectors.json") else { return };
    for (name, entry) in vectors["entries"].as_object().unwrap() {
        let numbers = |v: &Value| -> Vec<f32> {
            v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
        };
        let scaling = scaling_override(&entry["rope_scaling"]).unwrap_or(RopeScaling::None);
        let head_dim = entry["head_dim"].as_u64().unwrap() as usize;
        let freqs = inv_freq(head_dim, entry["theta"].as_f64().unwrap(), &scaling, 1);
        for (j, (got, want)) in freqs.iter().zip(numbers(&entry["inv_freq"])).enumerate() {
            assert!((got - want).abs() <= 4.0 * f32::EPSILON * want, "{name}: frequency {j}: {got}, {want}");
        }
        // Angles from the reference's own frequencies: its f32 rounding is not ours to repeat.
        let want_freqs = numbers(&entry["inv_freq"]);
        for (position, angles) in positions(entry) {
            let table = RopeTable::new([(position, want_freqs.as_slice())]);
            for (j, (cos, sin)) in angles.into_iter().enumerate() {
                let (c, s) = table.cos_sin(0, j);
                assert!(
                    (c - cos).abs() < 2e-6 && (s - sin).abs() < 2e-6,
                    "{name}: {position}, {j}: {c} {cos}"
                );
            }
        }
    }
}

/// Positions with their (cos, sin) per pair.
fn positions(entry: &Value) -> Vec<(usize, Vec<(f32, f32)>)> {
    let list = entry["positions"].as_array().expect("positions");
    let row = |v: &Value| -> Vec<f32> {
        v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    list.iter()
        .enumerate()
        .map(|(i, p)| {
            let (cos, sin) = (row(&entry["cos"][i]), row(&entry["sin"][i]));
            (p.as_u64().unwrap() as usize, cos.into_iter().zip(sin).collect())
        })
        .collect()
}
