//! How fast a run is, and how much of what the machine could do.

use std::collections::VecDeque;
use std::time::Instant;

use puna_model::Config;
use puna_tensor::{Cpu, multiply_add_speed};

use super::log::Pace;
use crate::trainer::StepReport;

/// Steps that the speed is taken over.
const KEPT: usize = 20;

/// Measures while steps are made.
pub struct Clock {
    /// Seconds of earlier sittings.
    before_s: f64,
    start: Instant,
    last: Instant,
    /// Seconds, tokens and operations of the last steps.
    steps: VecDeque<(f64, f64, f64)>,
    /// Operations a second that the machine does at most.
    peak: f64,
}

impl Clock {
    /// Begins, after `before_s` seconds of earlier sittings.
    pub fn start(cpu: &Cpu, before_s: f64) -> Clock {
        let peak = multiply_add_speed(cpu);
        Clock { before_s, start: Instant::now(), last: Instant::now(), steps: VecDeque::new(), peak }
    }

    /// Seconds of the run so far.
    pub fn elapsed_s(&self) -> f64 {
        self.before_s + self.start.elapsed().as_secs_f64()
    }

    /// What is done besides steps does not count as their time.
    pub fn skip(&mut self) {
        self.last = Instant::now();
    }

    /// A step was made; `n_left` are to come.
    pub fn step(&mut self, config: &Config, report: &StepReport, n_left: u64) -> Pace {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        self.steps.push_back((seconds, report.n_tokens as f64, training_flops(config, report)));
        if self.steps.len() > KEPT {
            self.steps.pop_front();
        }
        let sum = |value: fn(&(f64, f64, f64)) -> f64| self.steps.iter().map(value).sum::<f64>().max(1e-9);
        let (seconds, tokens, flops) = (sum(|s| s.0), sum(|s| s.1), sum(|s| s.2));
        Pace {
            tokens_per_s: tokens / seconds,
            share_of_peak: Some(flops / seconds / self.peak),
            elapsed_s: self.elapsed_s(),
            left_s: Some(seconds / self.steps.len() as f64 * n_left as f64),
        }
    }
}

/// Multiplications and additions of a step: six for each weight of a matrix and token (two for the pass, four for both
/// gradients; Kaplan et al. 2020), and of attention six for each element of queries and key that is seen, twice.
pub fn training_flops(config: &Config, report: &StepReport) -> f64 {
    let looked_up = if config.tied { 0 } else { config.n_embeddings() * config.dim };
    let matrices = config.n_active_params().saturating_sub(looked_up as u64) as f64;
    let attention = (config.n_layers * config.q_dim()) as f64 * report.n_seen as f64;
    6.0 * matrices * report.n_tokens as f64 + 12.0 * attention
}
