//! A step of training: a batch, its loss and gradients over as many passes as memory wants, clip, update.

use std::sync::Arc;

use puna_model::{Model, Sequences};
use puna_tensor::{Cpu, Gradients, Graph, Workspace};

use crate::data::{Batch, Cursor, Documents};
use crate::error::TrainError;
use crate::optimizer::{At, Moments, Optimizer};
use crate::schedule::Schedule;
use crate::spikes::{OnSpike, Usual};
use crate::trained::Trained;

/// The settings of a run, besides model and data.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The number of optimizer steps.
    pub n_steps: u64,
    /// About how many tokens the batch of a step has.
    pub batch_tokens: usize,
    /// The most tokens of a pass; a batch with more takes several, whose gradients add up. A longer document is a
    /// pass by itself.
    pub pass_tokens: usize,
    /// The learning rate of each step.
    pub schedule: Schedule,
    /// How weights follow their gradients.
    pub optimizer: Optimizer,
    /// What becomes of a step that is out of all proportion.
    pub on_spike: OnSpike,
    /// Seed of the order of documents.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe {
            n_steps: 1000,
            batch_tokens: 8192,
            pass_tokens: 8192,
            schedule: Schedule::default(),
            optimizer: Optimizer::default(),
            on_spike: OnSpike::default(),
            seed: 0,
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The step's number, from 1.
    pub step: u64,
    /// Mean cross-entropy of the batch before the step, in nats per token.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The learning rate used.
    pub lr: f64,
    /// Tokens of the batch.
    pub n_tokens: usize,
    /// Tokens that were predicted.
    pub n_targets: usize,
    /// Bytes of text that these stand for; 0 unless [`Trainer::token_bytes`] says.
    pub n_bytes: u64,
    /// Pairs of tokens of which one attends to the other: n (n + 1) / 2 for each document.
    pub n_seen: u64,
    /// Whether the batch was passed over as a spike.
    pub was_skipped: bool,
}

/// How well a model predicts documents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy in nats per token.
    pub loss: f64,
    /// The same sum in bits, per byte of the text: comparable between vocabularies. `None` where bytes are unknown.
    pub bits_per_byte: Option<f64>,
    /// Tokens that were predicted.
    pub n_targets: usize,
}

/// A run: the model being changed and all that a step depends on.
pub struct Trainer {
    /// The model. Whoever else holds it makes the next step an error.
    pub model: Arc<Model>,
    /// The plan.
    pub recipe: Recipe,
    /// Steps done.
    pub step: u64,
    /// Place in the data.
    pub cursor: Cursor,
    /// How usual steps were.
    pub usual: Usual,
    /// Bytes of text that each token stands for, by id; empty where that is unknown.
    pub token_bytes: Vec<u32>,
    pub(crate) trained: Trained,
    pub(crate) moments: Vec<Moments>,
    gradients: Gradients,
    workspace: Workspace,
}

impl Trainer {
    /// A run from its beginning. All of the model's parameters will be trained, as f32.
    pub fn new(model: Model, recipe: Recipe) -> Trainer {
        let trained = Trained::all(&model.config);
        Trainer::of(model, trained, recipe)
    }

    /// The same of some of its parameters; the others stay as they are stored.
    pub fn of(mut model: Model, trained: Trained, recipe: Recipe) -> Trainer {
        trained.weights_mut(&mut model).into_iter().for_each(|weight| weight.make_trainable());
        let lens: Vec<usize> = trained.weights(&model).iter().map(|weight| weight.len()).collect();
        let mut of_all = vec![None; model.weights.all().len()];
        for (parameter, len) in trained.0.iter().zip(&lens) {
            of_all[parameter.id.0] = Some(*len);
        }
        Trainer {
            moments: lens.into_iter().map(Moments::new).collect(),
            gradients: Gradients::new(of_all),
            workspace: Workspace::default(),
            model: Arc::new(model),
            trained,
            recipe,
            step: 0,
            cursor: Cursor::default(),
            usual: Usual::default(),
            token_bytes: Vec::new(),
        }
    }

    /// What is trained.
    pub fn trained(&self) -> &Trained {
        &self.trained
    }

    /// The gradients of the last step.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }

    /// Takes the next batch and makes one step. Where it fails, nothing has changed.
    pub fn step(&mut self, cpu: &Cpu, docs: &Documents) -> Result<StepReport, TrainError> {
        let mut cursor = self.cursor;
        let batch = docs.next_batch(self.recipe.seed, &mut cursor, self.recipe.batch_tokens);
        let (loss, grad_norm) = self.compute(cpu, &batch)?;
        let step = self.step + 1;
        let mut usual = self.usual;
        let is_spike = usual.is_spike(loss, grad_norm);
        let is_number = loss.is_finite() && grad_norm.is_finite();
        let was_skipped = match self.recipe.on_spike {
            OnSpike::Go if !is_number => return Err(TrainError::Diverged { step, loss, grad_norm }),
            OnSpike::Stop if is_spike => return Err(TrainError::Diverged { step, loss, grad_norm }),
            OnSpike::Go | OnSpike::Stop => false,
            OnSpike::Skip => is_spike,
        };
        if !was_skipped {
            self.update(cpu, At { step, n_steps: self.recipe.n_steps, grad_norm })?;
        }
        (self.step, self.cursor, self.usual) = (step, cursor, usual);
        Ok(StepReport {
            step,
            loss,
            grad_norm,
            lr: self.recipe.schedule.lr_at(step, self.recipe.n_steps),
            n_tokens: batch.tokens.len(),
            n_targets: batch.n_targets(),
            n_bytes: self.bytes_of(&batch),
            n_seen: batch.sequences.iter().map(|rows| (rows.len() * (rows.len() + 1) / 2) as u64).sum(),
            was_skipped,
        })
    }

    /// The mean loss of a batch and the norm of its gradients, which are kept.
    ///
    /// Every token of the batch counts the same, in however many passes: each pass is divided by the targets of the
    /// whole batch.
    pub fn compute(&mut self, cpu: &Cpu, batch: &Batch) -> Result<(f64, f64), TrainError> {
        self.gradients.clear();
        let n_targets = batch.n_targets().max(1);
        let mut sum = 0.0;
        for part in passes(batch, self.recipe.pass_tokens) {
            sum += self.loss_and_gradients(cpu, &part, 1.0 / n_targets as f32)?;
        }
        Ok((sum / n_targets as f64, self.gradients.norm()))
    }

    /// Adds the gradients of a pass, times `scale`, to those before; returns the sum of its losses, in nats.
    fn loss_and_gradients(&mut self, cpu: &Cpu, batch: &Batch, scale: f32) -> Result<f64, TrainError> {
        let mut graph = Graph::training_only(cpu, &self.workspace, &self.gradients.trained());
        let sequences = Sequences::Whole(&batch.sequences);
        let (loss, losses) = self.model.loss(&mut graph, &batch.tokens, sequences, &batch.targets, scale)?;
        graph.backward(&loss, &mut self.gradients);
        Ok(losses.iter().sum::<f64>())
    }

    fn update(&mut self, cpu: &Cpu, at: At) -> Result<(), TrainError> {
        let model = Arc::get_mut(&mut self.model).ok_or(TrainError::InUse)?;
        let weights = self.trained.weights_mut(model);
        let of_each = self.trained.0.iter().zip(weights).zip(&mut self.moments);
        let of_each = of_each.map(|((parameter, weight), moments)| (parameter, weight, moments));
        self.recipe.optimizer.step(cpu, &self.recipe.schedule, at, of_each.collect(), &self.gradients);
        Ok(())
    }

    /// How well the model predicts documents.
    pub fn evaluate(&self, cpu: &Cpu, docs: &Documents) -> Result<Evaluation, TrainError> {
        self.evaluate_some(cpu, docs, u64::MAX)
    }

    /// The same of the first documents, until at least `max_tokens` tokens were predicted.
    pub fn evaluate_some(
        &self,
        cpu: &Cpu,
        docs: &Documents,
        max_tokens: u64,
    ) -> Result<Evaluation, TrainError> {
        let (mut sum, mut n_targets, mut n_bytes) = (0.0, 0, 0);
        for batch in docs.batches(self.recipe.pass_tokens) {
            let mut graph = Graph::inference(cpu, &self.workspace);
            let sequences = Sequences::Whole(&batch.sequences);
            let (_, losses) = self.model.loss(&mut graph, &batch.tokens, sequences, &batch.targets, 1.0)?;
            sum += losses.iter().sum::<f64>();
            n_targets += batch.n_targets();
            n_bytes += self.bytes_of(&batch);
            if n_targets as u64 >= max_tokens {
                break;
            }
        }
        let bits_per_byte = (n_bytes > 0).then(|| sum / std::f64::consts::LN_2 / n_bytes as f64);
        Ok(Evaluation { loss: sum / n_targets.max(1) as f64, bits_per_byte, n_targets })
    }

    /// Bytes of text that the predicted tokens of a batch stand for.
    fn bytes_of(&self, batch: &Batch) -> u64 {
        let bytes = |id: &u32| self.token_bytes.get(*id as usize).copied().unwrap_or(0);
        batch.targets.iter().flatten().map(|id| u64::from(bytes(id))).sum()
    }
}

/// A batch in passes of at most `n_tokens` tokens, cut between documents.
fn passes(batch: &Batch, n_tokens: usize) -> Vec<Batch> {
    let mut passes: Vec<Batch> = Vec::new();
    for rows in &batch.sequences {
        let fits = passes.last().is_some_and(|last| last.tokens.len() + rows.len() <= n_tokens);
        if !fits {
            passes.push(Batch::default());
        }
        let last = passes.last_mut().expect("one was pushed");
        let start = last.tokens.len();
        last.tokens.extend_from_slice(&batch.tokens[rows.clone()]);
        last.targets.extend_from_slice(&batch.targets[rows.clone()]);
        last.sequences.push(start..last.tokens.len());
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_hold_every_document_once() {
        let docs = Documents::new((0..9u32).map(|i| vec![i; 3 + i as usize]), 100);
        let whole = docs.batches(1000).next().unwrap();
        for n_tokens in [1, 5, 20, 1000] {
            let parts = passes(&whole, n_tokens);
            let tokens: Vec<u32> = parts.iter().flat_map(|part| part.tokens.clone()).collect();
            assert_eq!(tokens, whole.tokens);
            assert!(parts.iter().all(|part| part.tokens.len() <= n_tokens || part.sequences.len() == 1));
            assert_eq!(parts.iter().map(Batch::n_targets).sum::<usize>(), whole.n_targets());
        }
        assert_eq!(passes(&whole, 1000), [whole]);
    }
}
