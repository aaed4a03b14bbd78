//! The training loop: batch, loss, gradient, clip, step.

use puna_model::{Model, ModelError, Sequences};
use puna_tensor::{AdamwStep, Cpu, Gradients, Graph, Workspace};

use crate::data::{Batch, Cursor, Documents};

/// The settings of a run, besides model and data.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The number of optimizer steps.
    pub n_steps: u64,
    /// About how many tokens the batch of a step has.
    pub batch_tokens: usize,
    /// Highest learning rate, after the warm-up.
    pub lr: f64,
    /// The last learning rate, as a part of the highest.
    pub final_lr_ratio: f64,
    /// Steps of linear warm-up.
    pub n_warmup_steps: u64,
    /// Decoupled weight decay of matrices; vectors do not decay.
    pub weight_decay: f64,
    /// Adam's decay rates.
    pub betas: (f64, f64),
    /// Adam's epsilon.
    pub eps: f64,
    /// Largest norm of all gradients together.
    pub max_grad_norm: f64,
    /// Seed of the order of documents.
    pub seed: u64,
}

impl Default for Recipe {
    /// The figures reported for the Llama family: AdamW (0.9, 0.95), decay 0.1, clip 1, cosine to a tenth.
    fn default() -> Recipe {
        Recipe {
            n_steps: 1000,
            batch_tokens: 8192,
            lr: 2e-3,
            final_lr_ratio: 0.1,
            n_warmup_steps: 100,
            weight_decay: 0.1,
            betas: (0.9, 0.95),
            eps: 1e-8,
            max_grad_norm: 1.0,
            seed: 0,
        }
    }
}

impl Recipe {
    /// The learning rate of step `step`, counted from 1: linear warm-up, then a cosine.
    pub fn lr_at(&self, step: u64) -> f64 {
        if step <= self.n_warmup_steps {
            return self.lr * step as f64 / self.n_warmup_steps as f64;
        }
        let span = self.n_steps.saturating_sub(self.n_warmup_steps).max(1) as f64;
        let progress = ((step - self.n_warmup_steps) as f64 / span).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        self.lr * (self.final_lr_ratio + (1.0 - self.final_lr_ratio) * cosine)
    }
}

/// Adam's moments of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Mean of the gradient.
    pub m: Vec<f32>,
    /// Mean of its square.
    pub v: Vec<f32>,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
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
}

/// A run: the model being changed and all that a step depends on.
pub struct Trainer {
    /// The model.
    pub model: Model,
    /// The plan.
    pub recipe: Recipe,
    /// Steps done.
    pub step: u64,
    /// Place in the data.
    pub cursor: Cursor,
    pub(crate) moments: Vec<Moments>,
    gradients: Gradients,
    workspace: Workspace,
}

impl Trainer {
    /// A run from its beginning. All of the model's parameters will be trained, as f32.
    pub fn new(mut model: Model, recipe: Recipe) -> Trainer {
        model.weights.all_mut().into_iter().for_each(|weight| weight.make_trainable());
        let lens: Vec<usize> = model.weights.all().iter().map(|weight| weight.len()).collect();
        let moments = lens.iter().map(|&len| Moments { m: vec![0.0; len], v: vec![0.0; len] });
        Trainer {
            moments: moments.collect(),
            gradients: Gradients::new(lens.into_iter().map(Some)),
            workspace: Workspace::default(),
            model,
            recipe,
            step: 0,
            cursor: Cursor::default(),
        }
    }

    /// Takes the next batch and makes one step. Where it fails, nothing has changed.
    pub fn step(&mut self, cpu: &Cpu, docs: &Documents) -> Result<StepReport, TrainError> {
        let mut cursor = self.cursor;
        let batch = docs.next_batch(self.recipe.seed, &mut cursor, self.recipe.batch_tokens);
        self.gradients.clear();
        let loss = self.loss_and_gradients(cpu, &batch)?;
        let grad_norm = self.gradients.norm();
        if !(loss.is_finite() && grad_norm.is_finite()) {
            return Err(TrainError::Diverged { step: self.step + 1, loss, grad_norm });
        }
        (self.step, self.cursor) = (self.step + 1, cursor);
        let lr = self.recipe.lr_at(self.step);
        self.update(cpu, lr, grad_norm);
        Ok(StepReport { step: self.step, loss, grad_norm, lr, n_tokens: batch.tokens.len() })
    }

    fn loss_and_gradients(&mut self, cpu: &Cpu, batch: &Batch) -> Result<f64, TrainError> {
        let mut graph = Graph::training(cpu, &self.workspace);
        let sequences = Sequences::Whole(&batch.sequences);
        let n_targets = batch.n_targets();
        let scale = 1.0 / n_targets as f32;
        let (loss, losses) = self.model.loss(&mut graph, &batch.tokens, sequences, &batch.targets, scale)?;
        graph.backward(&loss, &mut self.gradients);
        Ok(losses.iter().sum::<f64>() / n_targets as f64)
    }

    fn update(&mut self, cpu: &Cpu, lr: f64, grad_norm: f64) {
        let recipe = &self.recipe;
        for (weight, moments) in self.model.weights.all_mut().into_iter().zip(&mut self.moments) {
            let step = AdamwStep {
                lr: lr as f32,
                beta1: recipe.betas.0 as f32,
                beta2: recipe.betas.1 as f32,
                eps: recipe.eps as f32,
                weight_decay: if weight.rows() > 1 { recipe.weight_decay as f32 } else { 0.0 },
                step: self.step.min(u32::MAX as u64) as u32,
                gradient_scale: (recipe.max_grad_norm / grad_norm.max(recipe.max_grad_norm)) as f32,
            };
            let gradient = self.gradients.get(weight.id()).expect("every parameter is trained");
            weight.adamw_step(cpu, &step, gradient, [&mut moments.m, &mut moments.v]);
        }
    }

    /// Mean cross-entropy over documents, in nats per token.
    pub fn evaluate(&self, cpu: &Cpu, docs: &Documents) -> Result<f64, TrainError> {
        let (mut sum, mut n) = (0.0, 0);
        for batch in docs.batches(self.recipe.batch_tokens) {
            let mut graph = Graph::inference(cpu, &self.workspace);
            let sequences = Sequences::Whole(&batch.sequences);
            let (_, losses) = self.model.loss(&mut graph, &batch.tokens, sequences, &batch.targets, 1.0)?;
            sum += losses.iter().sum::<f64>();
            n += batch.n_targets();
        }
        Ok(sum / n.max(1) as f64)
    }
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model refused the batch.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file could not be read or written.
    #[error(transparent)]
    Format(#[from] puna_formats::FormatError),
    /// A saved state does not belong to this run.
    #[error("cannot resume from `{path}`\n  {fact}")]
    State {
        /// The file.
        path: String,
        /// What was found.
        fact: String,
    },
    /// The loss or its gradient is not a number.
    #[error(
        "training diverged at step {step}: loss {loss}, gradient norm {grad_norm}\n  try a lower learning rate"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// Its loss.
        loss: f64,
        /// Its gradient's norm.
        grad_norm: f64,
    },
}
