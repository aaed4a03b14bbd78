//! The learning rate over the steps of a run: a linear warm-up, then one of three shapes.

use std::f64::consts::PI;

/// What the learning rate does after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Shape {
    /// Falls along half a cosine to the last step (Loshchilov and Hutter 2017).
    #[default]
    Cosine,
    /// Stays, and falls linearly over the last part of the steps, from 0 to 1 of them: warm-up, stable, decay (Hu et
    /// al. 2024). How long the run will be need not be known before the fall begins.
    StableDecay {
        /// Which part of all steps the fall takes.
        decay_share: f64,
    },
    /// Stays.
    Constant,
}

/// The learning rate of every step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Highest learning rate, after the warm-up.
    pub lr: f64,
    /// The last learning rate, as a part of the highest.
    pub final_lr_ratio: f64,
    /// Steps of linear warm-up; `None`: a twentieth of all steps, from 1 to 200.
    pub n_warmup_steps: Option<u64>,
    /// What follows.
    pub shape: Shape,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { lr: 2e-3, final_lr_ratio: 0.1, n_warmup_steps: None, shape: Shape::Cosine }
    }
}

impl Schedule {
    /// The learning rate of step `step` of `n_steps`, counted from 1.
    pub fn lr_at(&self, step: u64, n_steps: u64) -> f64 {
        self.lr * self.factor_at(step, n_steps)
    }

    /// Steps of warm-up of a run of `n_steps`.
    pub fn warmup_of(&self, n_steps: u64) -> u64 {
        self.n_warmup_steps.unwrap_or((n_steps / 20).clamp(1, 200))
    }

    /// The same as a part of the highest: optimizers with several learning rates share it.
    pub fn factor_at(&self, step: u64, n_steps: u64) -> f64 {
        let n_warmup = self.warmup_of(n_steps);
        if step <= n_warmup {
            return step as f64 / n_warmup as f64;
        }
        let fall = |share: f64| self.final_lr_ratio + (1.0 - self.final_lr_ratio) * share;
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Cosine => {
                let span = n_steps.saturating_sub(n_warmup).max(1) as f64;
                let progress = ((step - n_warmup) as f64 / span).min(1.0);
                fall(0.5 * (1.0 + (PI * progress).cos()))
            }
            Shape::StableDecay { decay_share } => {
                let span = (n_steps as f64 * decay_share).max(1.0);
                let left = n_steps.saturating_sub(step) as f64;
                fall((left / span).min(1.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_begin_stay_and_end_where_they_should() {
        let schedule = |shape| Schedule { lr: 2.0, final_lr_ratio: 0.1, n_warmup_steps: Some(10), shape };
        let shapes = [Shape::Cosine, Shape::StableDecay { decay_share: 0.4 }, Shape::Constant];
        for shape in shapes {
            let schedule = schedule(shape);
            assert_eq!((schedule.lr_at(5, 110), schedule.lr_at(10, 110)), (1.0, 2.0), "{shape:?}");
            let last = if shape == Shape::Constant { 2.0 } else { 0.2 };
            assert!((schedule.lr_at(110, 110) - last).abs() < 1e-12, "{shape:?}");
            assert!((schedule.lr_at(500, 110) - last).abs() < 1e-12, "{shape:?}");
        }
        assert!((schedule(Shape::Cosine).lr_at(60, 110) - 2.0 * 0.55).abs() < 1e-12);
        let stable = schedule(Shape::StableDecay { decay_share: 0.4 });
        // 44 of 110 steps fall: 66 is the last at the top, 88 is half way down.
        assert_eq!((stable.lr_at(66, 110), stable.lr_at(88, 110)), (2.0, 2.0 * 0.55));
    }
}
