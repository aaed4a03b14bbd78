//! The reference's values of models that see images, from the conformance fixtures.
//!
//! Cases are discovered from the vision manifest and run on every instruction set of this machine. Pixels are
//! the fixtures' own; that ours are the same is tested beside the code that makes them.

mod common;

use std::collections::BTreeMap;

use puna_conformance::{fixtures, skip};
use puna_model::names::Naming;
use puna_model::{CachedSequence, ImageTiles, Input, Model, PlacedImage, Sequences, Tower};
use puna_tensor::{Cpu, DType, Gradients, Graph, Isa, Var, Workspace};
use serde_json::Value;

use common::{Golden, argmax, assert_within, cpus, load, values_of};

/// A model that sees, with its reference values.
struct Case {
    name: String,
    entry: Value,
    golden: Golden,
    model: Model,
    images: BTreeMap<String, Pixels>,
}

/// An image as the reference's processor makes it.
struct Pixels {
    grid: [usize; 2],
    n_tiles: usize,
    values: Vec<f32>,
}

impl Pixels {
    fn image(&self) -> ImageTiles<'_> {
        ImageTiles { grid: self.grid, n_tiles: self.n_tiles, pixels: &self.values }
    }
}

fn cases() -> Vec<Case> {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("golden/manifest.vision.json") else { return Vec::new() };
    let case = |(name, entry): (&String, &Value)| {
        let golden = Golden::open(&fixtures.path(&format!("golden/{name}.safetensors")));
        let model = load(&fixtures.path(entry["model_dir"].as_str().unwrap()));
        let tile = model.config.vision.as_ref().expect("a model that sees").tile;
        let of = |(key, about): (&String, &Value)| {
            let side = |i: usize| about["aspect_ratio_hw"][i].as_u64().unwrap() as usize;
            let grid = [side(0), side(1)];
            let n_tiles =
                about["num_tiles"].as_u64().or(about["num_tiles_incl_global"].as_u64()).unwrap() as usize;
            let mut values = golden.f32s(&format!("image.{key}.pixel_values"));
            values.truncate(n_tiles * 3 * tile * tile);
            (key.clone(), Pixels { grid, n_tiles, values })
        };
        let images = entry["image_processing"].as_object().unwrap().iter().map(of).collect();
        Case { name: name.clone(), entry: entry.clone(), golden, model, images }
    };
    manifest.as_object().unwrap().iter().map(case).collect()
}

impl Case {
    fn tolerance(&self, key: &str) -> f64 {
        self.entry["recommended_tolerance"][key].as_f64().unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    /// The cases of the manifest: key and images.
    fn prompts(&self) -> Vec<(String, Vec<&Pixels>)> {
        let of = |case: &Value| {
            let names = case["images"].as_array().unwrap().iter();
            let images = names.map(|name| &self.images[name.as_str().unwrap()]).collect();
            (case["key"].as_str().unwrap().to_owned(), images)
        };
        self.entry["cases"].as_array().unwrap().iter().map(of).collect()
    }
}

/// The images among tokens: their vectors and the tokens that stand for them, in order.
fn place<'m>(
    graph: &mut Graph<'m>,
    model: &'m Model,
    tokens: &[u32],
    images: &[&Pixels],
) -> Vec<PlacedImage> {
    let vision = model.config.vision.as_ref().unwrap();
    let mut at = (0..tokens.len()).filter(|i| tokens[*i] == vision.image_token);
    let placed = images
        .iter()
        .map(|pixels| {
            let vectors = model.encode_image(graph, &pixels.image(), None).unwrap();
            let n = match vision.tower {
                Tower::CrossAttention(_) => 1,
                Tower::EarlyFusion(_) => vectors.rows(),
            };
            PlacedImage { tokens: at.by_ref().take(n).collect(), vectors, first: 0 }
        })
        .collect();
    assert_eq!(at.next(), None, "every placeholder has its image");
    placed
}

fn vectors(cpu: &Cpu, model: &Model, image: &ImageTiles) -> Vec<f32> {
    let mut graph = Graph::inference(cpu, &Workspace::default());
    model.encode_image(&mut graph, image, None).unwrap().values().to_vec()
}

fn logits(cpu: &Cpu, model: &Model, tokens: &[u32], images: &[&Pixels]) -> Vec<f32> {
    let mut graph = Graph::inference(cpu, &Workspace::default());
    let images = place(&mut graph, model, tokens, images);
    let input = Input { tokens, images: &images };
    let whole = 0..tokens.len();
    model.forward(&mut graph, input, Sequences::Whole(&[whole]), None, None).unwrap().values().to_vec()
}

#[test]
fn conformance_logits_of_prompts_with_images() {
    for case in cases() {
        for cpu in cpus() {
            for (key, images) in case.prompts() {
                let ids = case.golden.ids(&format!("{key}.input_ids"));
                let want = case.golden.f32s(&format!("{key}.logits"));
                let what = format!("{} {key} on {}", case.name, cpu.isa.name());
                let got = logits(&cpu, &case.model, &ids, &images);
                assert_within(&got, &want, case.tolerance("logits_atol"), &what);
            }
        }
        println!("ok {}", case.name);
    }
}

/// What the encoder makes of an image, before and after it is projected. The reference keeps padding tiles,
/// we do not.
#[test]
fn conformance_vectors_of_images() {
    for case in cases() {
        let prompts = case.prompts();
        for (key, image) in &case.images {
            // Llama 3.2's are kept under prompts of one image, Llama 4's under images.
            let of_image = [format!("image.{key}.vision_features"), format!("image.{key}.projected")];
            let of_prompt = prompts
                .iter()
                .filter(|(_, images)| matches!(images[..], [only] if std::ptr::eq(only, image)))
                .map(|(prompt, _)| {
                    ["vision_hidden", "cross_attention_states"].map(|end| format!("{prompt}.{end}"))
                });
            let Some(names) = of_prompt.chain([of_image]).find(|names| case.golden.has(&names[0])) else {
                skip(
                    format!("the vectors of image {key} of {}", case.name),
                    "this set has no reference for them",
                );
                continue;
            };
            for cpu in cpus() {
                let mut graph = Graph::inference(&cpu, &Workspace::default());
                let features = case.model.image_features(&mut graph, &image.image(), None).unwrap();
                let projected = case.model.encode_image(&mut graph, &image.image(), None).unwrap();
                for (got, name) in [features, projected].iter().zip(&names) {
                    let want = &case.golden.f32s(name)[..got.values().len()];
                    let what = format!("{} {name} on {}", case.name, cpu.isa.name());
                    assert_within(got.values(), want, case.tolerance("vision_atol"), &what);
                }
            }
        }
    }
}

/// Fed in chunks with a cache, the greedy continuation is the reference's, and the logits have the bits of a
/// whole pass.
#[test]
fn conformance_greedy_continuations_of_prompts_with_images() {
    for case in cases() {
        let model = &case.model;
        let prompt = case.golden.ids("greedy.prompt_ids");
        let want = case.golden.ids("greedy.continuation_ids");
        let images = [&case.images[case.entry["greedy"]["image"].as_str().unwrap()]];
        for cpu in cpus() {
            let whole = logits(&cpu, model, &prompt, &images);
            for chunk in [prompt.len(), 5, 1] {
                let mut feed = Feed::new(&cpu, model, &prompt, &images);
                let mut rows = Vec::new();
                for tokens in prompt.chunks(chunk) {
                    rows.extend(feed.step(tokens));
                }
                let on = format!("{} on {} in chunks of {chunk}", case.name, cpu.isa.name());
                assert!(rows == whole, "{on}: cached and whole");
                let vocab_size = model.config.vocab_size;
                let mut got = vec![argmax(&rows[rows.len() - vocab_size..])];
                while got.len() < want.len() {
                    let last = [got[got.len() - 1]];
                    got.push(argmax(&feed.step(&last)));
                }
                assert_eq!(got, want, "{on}");
            }
        }
    }
}

/// A sequence with images that is fed a few tokens at a time.
struct Feed<'m> {
    cpu: &'m Cpu,
    model: &'m Model,
    images: Vec<PlacedImage>,
    cache: puna_model::KvCache,
}

impl<'m> Feed<'m> {
    fn new(cpu: &'m Cpu, model: &'m Model, prompt: &[u32], images: &[&Pixels]) -> Feed<'m> {
        let images = place(&mut Graph::inference(cpu, &Workspace::default()), model, prompt, images);
        Feed { cpu, model, images, cache: model.new_cache(DType::F32) }
    }

    /// The logits of the tokens, one row each.
    fn step(&mut self, tokens: &[u32]) -> Vec<f32> {
        let start = self.cache.len();
        let own = |image: &PlacedImage| {
            let first = image.tokens.iter().filter(|at| **at < start).count();
            let at = image.tokens.iter().filter(|at| (start..start + tokens.len()).contains(at));
            let tokens: Vec<usize> = at.map(|at| at - start).collect();
            let vectors = image.vectors.clone();
            (!tokens.is_empty()).then_some(PlacedImage { tokens, vectors, first })
        };
        let images: Vec<_> = self.images.iter().filter_map(own).collect();
        let mut graph = Graph::inference(self.cpu, &Workspace::default());
        let mut pieces = [CachedSequence { n_tokens: tokens.len(), cache: &mut self.cache }];
        let input = Input { tokens, images: &images };
        let logits = self.model.forward(&mut graph, input, Sequences::Cached(&mut pieces), None, None);
        logits.unwrap().values().to_vec()
    }
}

/// Every prompt with images in pieces and beside the others in one step gives the bits of the whole pass; cut
/// back to any length and fed again, too.
#[test]
fn conformance_images_in_any_pieces_give_the_same_bits() {
    for case in cases() {
        let cpu = Cpu::new(Isa::best(), 2);
        for (key, images) in case.prompts() {
            let ids = case.golden.ids(&format!("{key}.input_ids"));
            let whole = logits(&cpu, &case.model, &ids, &images);
            let vocab_size = case.model.config.vocab_size;
            let cuts = [1, 2, 3, 4, 6, 9, ids.len() - 1];
            for first in cuts.into_iter().filter(|first| (1..ids.len()).contains(first)) {
                let mut feed = Feed::new(&cpu, &case.model, &ids, &images);
                let mut rows = feed.step(&ids[..first]);
                rows.extend(feed.step(&ids[first..]));
                assert!(rows == whole, "{} {key} cut at {first}", case.name);
                // Back to some length: what is fed from there is as before.
                let left = feed.cache.truncate(first);
                let rows = feed.step(&ids[left..]);
                assert!(rows == whole[left * vocab_size..], "{} {key} cut back to {first}", case.name);
            }
        }
        let prompts = case.prompts();
        let ids: Vec<_> =
            prompts.iter().map(|(key, _)| case.golden.ids(&format!("{key}.input_ids"))).collect();
        let mut graph = Graph::inference(&cpu, &Workspace::default());
        let (mut tokens, mut placed, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
        for ((_, images), ids) in prompts.iter().zip(&ids) {
            let start = tokens.len();
            for mut image in place(&mut graph, &case.model, ids, images) {
                image.tokens.iter_mut().for_each(|at| *at += start);
                placed.push(image);
            }
            tokens.extend(ids);
            sequences.push(start..tokens.len());
        }
        let input = Input { tokens: &tokens, images: &placed };
        let all = case.model.forward(&mut graph, input, Sequences::Whole(&sequences), None, None).unwrap();
        let mut caches: Vec<_> = ids.iter().map(|_| case.model.new_cache(DType::F32)).collect();
        let n_tokens = ids.iter().map(Vec::len);
        let mut pieces: Vec<_> = caches
            .iter_mut()
            .zip(n_tokens)
            .map(|(cache, n_tokens)| CachedSequence { n_tokens, cache })
            .collect();
        let cached =
            case.model.forward(&mut graph, input, Sequences::Cached(&mut pieces), None, None).unwrap();
        assert!(all.values() == cached.values(), "{}: side by side", case.name);
        let alone: Vec<f32> = prompts
            .iter()
            .zip(&ids)
            .flat_map(|((_, images), ids)| logits(&cpu, &case.model, ids, images))
            .collect();
        assert!(all.values() == alone, "{}: beside others and alone", case.name);
    }
}

/// Without images a model that sees is its language model; layers that attend to images do nothing.
#[test]
fn conformance_text_alone_is_the_language_models() {
    for case in cases() {
        let cpu = Cpu::new(Isa::best(), 2);
        let ids = case.golden.ids("text_only.input_ids");
        let whole = logits(&cpu, &case.model, &ids, &[]);
        let mut text = case.model.clone();
        let is_text = |(i, _): &(usize, _)| !case.model.config.is_cross_layer(*i);
        text.weights.layers =
            text.weights.layers.into_iter().enumerate().filter(is_text).map(|(_, w)| w).collect();
        text.config.n_layers = text.weights.layers.len();
        (text.config.cross_layers, text.config.vision) = (Vec::new(), None);
        assert!(text.logits_of(&cpu, &ids).unwrap() == whole, "{}", case.name);
    }
}

/// Tiles of Llama 4 are encoded alone as they are together.
#[test]
fn conformance_tiles_alone_and_together() {
    for case in cases() {
        let vision = case.model.config.vision.as_ref().unwrap();
        let Tower::EarlyFusion(_) = vision.tower else { continue };
        let cpu = Cpu::new(Isa::best(), 2);
        let tile_len = 3 * vision.tile * vision.tile;
        for image in case.images.values() {
            let together = vectors(&cpu, &case.model, &image.image());
            let alone: Vec<f32> = image
                .values
                .chunks(tile_len)
                .flat_map(|pixels| {
                    let image = ImageTiles { grid: [1, 1], n_tiles: 1, pixels };
                    vectors(&cpu, &case.model, &image)
                })
                .collect();
            assert!(together == alone, "{}", case.name);
        }
    }
}

/// One padding tile is computed in place of several where their entries are alike, and all of them where they
/// are not: both have the bits of an encoder that computes all, as one that trains does.
#[test]
fn conformance_a_padding_tile_stands_for_others() {
    for case in cases() {
        let vision = case.model.config.vision.as_ref().unwrap();
        let Tower::CrossAttention(tower) = &vision.tower else { continue };
        let cpu = Cpu::new(Isa::best(), 2);
        let leaves_two = |grid: &&[usize; 2]| grid[0] * grid[1] + 2 <= tower.max_tiles;
        let mut grids = tower.grids.iter().filter(leaves_two).peekable();
        if grids.peek().is_none() {
            skip(format!("padding tiles of {}", case.name), "no arrangement of its images leaves two tiles");
        }
        for &grid in grids {
            let n_tiles = grid[0] * grid[1];
            let padding: Vec<usize> =
                (n_tiles..tower.max_tiles).map(|tile| tower.entry(grid, tile).unwrap()).collect();
            // The entries of padding tiles: those of the set, all alike, and each another.
            let with_padding = |value: Option<fn(usize) -> f32>| {
                let mut model = case.model.clone();
                let table = &mut model.weights.vision.as_mut().unwrap().tiles.as_mut().unwrap().post[0];
                table.make_trainable();
                let cols = table.cols();
                for (entry, value) in padding.iter().flat_map(|entry| value.map(|value| (entry, value))) {
                    let row = table.values_mut().unwrap()[entry * cols..].iter_mut().take(cols);
                    row.enumerate().for_each(|(i, x)| *x = (i as f32 * 0.7).sin() + value(*entry));
                }
                model
            };
            let pixels: Vec<f32> =
                (0..n_tiles * 3 * vision.tile * vision.tile).map(|i| (i as f32 * 0.37).sin()).collect();
            let image = ImageTiles { grid, n_tiles, pixels: &pixels };
            for model in
                [None, Some((|_| 0.5) as fn(usize) -> f32), Some(|entry| entry as f32)].map(with_padding)
            {
                let workspace = Workspace::default();
                let features = |graph: fn(_, _) -> _| {
                    let mut graph: Graph = graph(&cpu, &workspace);
                    model.image_features(&mut graph, &image, None).unwrap().values().to_vec()
                };
                let all = features(Graph::training);
                assert!(features(Graph::inference) == all, "{} {grid:?}", case.name);
            }
        }
    }
}

/// The gradient of every parameter, the encoder's included.
#[test]
fn conformance_loss_and_gradients_through_images() {
    for case in cases() {
        let train = case.entry["train"]["case"].as_str().unwrap();
        let (_, images) = case.prompts().into_iter().find(|(key, _)| key == train).unwrap();
        let ids = case.golden.ids(&format!("{train}.input_ids"));
        let labels = case.golden.i64s("train.labels");
        let next = labels[1..].iter().map(|label| u32::try_from(*label).ok());
        let targets: Vec<Option<u32>> = next.chain([None]).collect();
        let n_targets = targets.iter().flatten().count();
        let mut model = case.model.clone();
        model.weights.all_mut().into_iter().for_each(|w| w.make_trainable());
        for cpu in cpus() {
            let on = format!("{} on {}", case.name, cpu.isa.name());
            let mut graph = Graph::training(&cpu, &Workspace::default());
            let placed = place(&mut graph, &model, &ids, &images);
            let input = Input { tokens: &ids, images: &placed };
            let whole = 0..ids.len();
            let logits: Var =
                model.forward(&mut graph, input, Sequences::Whole(&[whole]), None, None).unwrap();
            let (loss, _) = graph.cross_entropy(logits, &targets, 1.0 / n_targets as f32);
            let want = case.golden.f32s("train.loss");
            assert_within(loss.values(), &want, case.tolerance("logits_atol"), &format!("{on}: loss"));
            let mut gradients = Gradients::new(model.weights.all().iter().map(|w| Some(w.len())));
            graph.backward(&loss, &mut gradients);
            let config = &model.config;
            for (part, weight) in config.parts().into_iter().zip(model.weights.all()) {
                let mut stored = config.stored(part, Naming::HuggingFace);
                if !matches!(part, puna_model::names::Part::Vision(_)) {
                    stored.name = format!("language_model.{}", stored.name);
                }
                if !case.golden.has(&format!("grad.{}", stored.name)) {
                    panic!("{on}: no reference for {}", stored.name);
                }
                let want = values_of(&case.golden, "grad.", &(stored.clone(), config.shape(part)));
                let (atol, rtol) = (case.tolerance("grad_atol"), case.tolerance("grad_rtol"));
                for (g, w) in gradients.get(weight.id()).unwrap().iter().zip(&want) {
                    let bound = atol + rtol * w.abs() as f64;
                    assert!(((g - w).abs() as f64) <= bound, "{on}: {}: {g}, expected {w}", stored.name);
                }
            }
        }
        println!("ok {}", case.name);
    }
}
