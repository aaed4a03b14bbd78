//! Batches whose loss or gradient is out of all proportion: a broken document, or a run that is about to diverge.
//!
//! What is usual is a running mean and variance of both, with a memory of about a hundred steps; a step beyond the
//! mean by several deviations is a spike. Its values do not enter the mean, so that one does not hide the next.

/// What becomes of a step whose loss or gradient is a spike or no number at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSpike {
    /// A spike is taken as any other step; what is no number ends the run.
    #[default]
    Go,
    /// The step is not made: its batch is passed over, and counted.
    Skip,
    /// The run ends before the step.
    Stop,
}

/// How usual steps were, to know unusual ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// Steps that entered.
    pub n: u64,
    /// Mean and variance of the loss, and of the gradient norm's logarithm.
    pub loss: [f64; 2],
    /// The same of the logarithm of the gradient's norm, which grows and shrinks by factors.
    pub log_norm: [f64; 2],
}

/// Steps before which nothing is a spike: the first ones change much.
const PATIENCE: u64 = 30;
/// Part of the mean that a step replaces, once there were many.
const RATE: f64 = 0.02;
/// Deviations beyond which a step is a spike.
const LIMIT: f64 = 6.0;
/// The least deviations that are reckoned with: losses of a run that has settled hardly vary.
const LEAST: [f64; 2] = [0.05, 0.15];

impl Default for Usual {
    fn default() -> Usual {
        Usual { n: 0, loss: [0.0; 2], log_norm: [0.0; 2] }
    }
}

impl Usual {
    /// Whether a step with this loss and gradient norm is a spike; if not, it becomes part of what is usual.
    pub fn is_spike(&mut self, loss: f64, grad_norm: f64) -> bool {
        if !(loss.is_finite() && grad_norm.is_finite()) {
            return true;
        }
        let log_norm = grad_norm.max(1e-12).ln();
        let beyond =
            |[mean, variance]: [f64; 2], x: f64, least: f64| (x - mean) / variance.sqrt().max(least) > LIMIT;
        if self.n >= PATIENCE
            && (beyond(self.loss, loss, LEAST[0]) || beyond(self.log_norm, log_norm, LEAST[1]))
        {
            return true;
        }
        self.n += 1;
        let rate = RATE.max(1.0 / self.n as f64);
        for ([mean, variance], x) in [(&mut self.loss, loss), (&mut self.log_norm, log_norm)] {
            let off = x - *mean;
            *mean += rate * off;
            *variance = (1.0 - rate) * (*variance + rate * off * off);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn what_is_far_beyond_the_usual_is_a_spike() {
        let mut usual = Usual::default();
        let mut rng = Rng::new(3);
        for step in 0..400 {
            let loss = 2.0 + 6.0 * (-(step as f64) / 50.0).exp() + 0.05 * rng.normal(3.0);
            let norm = (0.1 * rng.normal(3.0)).exp();
            assert!(!usual.is_spike(loss, norm), "{step}");
        }
        let before = usual;
        assert!(usual.is_spike(3.5, 1.0) && usual.is_spike(2.0, 9.0) && usual.is_spike(f64::NAN, 1.0));
        assert_eq!(usual, before);
        assert!(!usual.is_spike(1.0, 0.2), "a low loss is no spike");
    }
}
