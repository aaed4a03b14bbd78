//! Passes that are differentiated: what is left out of memory changes no gradient.

mod common;

use std::path::PathBuf;

use common::{assert_within, cpus, load};
use puna_model::{Model, Sequences};
use puna_tensor::{Cpu, Gradients, Graph, Isa, Workspace};

/// Models of every kind of layer, trained as f32.
fn models() -> Vec<(String, Model)> {
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/variants");
    let folders = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.collect();
    folders.sort();
    let trained = |folder: PathBuf| {
        let mut model = load(&folder);
        model.weights.all_mut().into_iter().for_each(|w| w.make_trainable());
        (folder.display().to_string(), model)
    };
    folders.into_iter().map(trained).collect()
}

/// Two sequences; of the second, some tokens have no target.
struct Batch {
    ids: Vec<u32>,
    targets: Vec<Option<u32>>,
}

fn batch(model: &Model, has_target: impl Fn(usize) -> bool) -> Batch {
    let vocab_size = model.config.vocab_size as u32;
    let ids: Vec<u32> = (0..40).map(|i| (i * 7 + i * i) % vocab_size).collect();
    let targets = (0..40).map(|i| (i % 20 != 19 && has_target(i)).then(|| ids[(i + 1) % 40])).collect();
    Batch { ids, targets }
}

const SEQUENCES: Sequences = Sequences::Whole(&[0..20, 20..40]);

fn lens(model: &Model) -> Vec<Option<usize>> {
    model.weights.all().iter().map(|w| Some(w.len())).collect()
}

/// The losses and gradients of a pass with a tape.
fn run<'m>(model: &'m Model, batch: &Batch, mut graph: Graph<'m>, gradients: &mut Gradients) -> Vec<f64> {
    let scale = 1.0 / 17.0;
    let (loss, losses) = model
        .loss(&mut graph, &batch.ids, SEQUENCES, &batch.targets, scale)
        .unwrap_or_else(|e| panic!("{e}"));
    graph.backward(&loss, gradients);
    losses
}

fn all_of(model: &Model, gradients: &Gradients) -> Vec<Option<Vec<f32>>> {
    model.weights.all().iter().map(|w| gradients.get(w.id()).map(<[f32]>::to_vec)).collect()
}

/// Without the whole logits, losses and gradients are those of the output matrix and the cross-entropy one after the
/// other, whether all tokens have a target or few.
#[test]
fn the_loss_is_that_of_whole_logits() {
    let cpu = cpus().last().unwrap();
    for (name, model) in models() {
        for batch in [batch(&model, |_| true), batch(&model, |i| i % 3 == 0), batch(&model, |_| false)] {
            let (mut got, mut want) = (Gradients::new(lens(&model)), Gradients::new(lens(&model)));
            let losses = run(&model, &batch, Graph::training(&cpu, &Workspace::default()), &mut got);
            let mut graph = Graph::training(&cpu, &Workspace::default());
            let logits = model.forward(&mut graph, &batch.ids, SEQUENCES, None, None).unwrap();
            let (loss, whole) = graph.cross_entropy(logits, &batch.targets, 1.0 / 17.0);
            graph.backward(&loss, &mut want);
            assert!(losses == whole, "{name}");
            for (got, want) in all_of(&model, &got).iter().zip(all_of(&model, &want)) {
                assert_within(got.as_ref().unwrap(), &want.unwrap(), 2e-6, &name);
            }
        }
    }
}

/// Layers that are computed again give the same bits, and so does another number of threads.
#[test]
fn recomputed_layers_give_the_same_bits() {
    let [one, three] = [1, 3].map(|n_threads| Cpu::new(Isa::best(), n_threads));
    for (name, model) in models() {
        let batch = batch(&model, |i| i % 5 != 0);
        let mut results = Vec::new();
        for (cpu, is_recomputing) in [(&one, false), (&three, false), (&three, true)] {
            let mut gradients = Gradients::new(lens(&model));
            let graph = Graph::training(cpu, &Workspace::default());
            let graph = if is_recomputing { graph.recomputing() } else { graph };
            let losses = run(&model, &batch, graph, &mut gradients);
            results.push((losses, all_of(&model, &gradients)));
        }
        assert!(results[0] == results[1] && results[0] == results[2], "{name}");
    }
}

/// Gradients of some parameters alone, kept or computed again, are those that all have; frozen ones get none.
#[test]
fn frozen_parameters_change_no_gradient() {
    let cpu = cpus().last().unwrap();
    for (name, model) in models() {
        let batch = batch(&model, |_| true);
        let mut all = Gradients::new(lens(&model));
        run(&model, &batch, Graph::training(&cpu, &Workspace::default()), &mut all);
        let n = lens(&model).len();
        for (first, step) in [(n / 2, 3), (n - 1, 1), (0, n)] {
            let lens = lens(&model).into_iter().enumerate();
            let some = lens.map(|(i, len)| len.filter(|_| i >= first && (i - first) % step == 0));
            let some: Vec<Option<usize>> = some.collect();
            for is_recomputing in [false, true] {
                let mut gradients = Gradients::new(some.clone());
                let graph = Graph::training_only(&cpu, &Workspace::default(), &gradients.trained());
                let graph = if is_recomputing { graph.recomputing() } else { graph };
                run(&model, &batch, graph, &mut gradients);
                for ((got, want), len) in
                    all_of(&model, &gradients).iter().zip(all_of(&model, &all)).zip(&some)
                {
                    assert!(got.is_some() == len.is_some() && (got.is_none() || *got == want), "{name}");
                }
            }
        }
    }
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let cpu = cpus().last().unwrap();
    let (_, model) = models().swap_remove(0);
    let mut batch = batch(&model, |_| true);
    let error = |batch: &Batch| {
        let mut graph = Graph::training(&cpu, &Workspace::default());
        let result = model.loss(&mut graph, &batch.ids, SEQUENCES, &batch.targets, 1.0);
        result.err().expect("refused").to_string()
    };
    batch.targets[3] = Some(model.config.vocab_size as u32);
    assert!(error(&batch).contains("the vocabulary has"), "{}", error(&batch));
    batch.targets.pop();
    assert!(error(&batch).contains("39 targets for 40 tokens"), "{}", error(&batch));
}
