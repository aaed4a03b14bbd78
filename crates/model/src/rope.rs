//! The rotary frequencies of a model, with the scalings that extend its context.

use std::f64::consts::PI;

/// How the base frequencies theta^(-2j/head_dim) are changed.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Llama 3.1 and later: long wavelengths are stretched, short ones kept, with a smooth transition.
    /// Source: Meta's `apply_scaling` (llama-models, models/llama3/model.py).
    Llama3 {
        /// Stretch of long wavelengths.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are stretched.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context before stretching.
        original: f64,
    },
    /// All positions divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// "Dynamic NTK": theta grows with the length of the sequence once it is longer than `original`.
    Dynamic {
        /// The factor.
        factor: f64,
        /// The context up to which nothing changes.
        original: f64,
    },
    /// YaRN (Peng et al. 2023): long wavelengths are stretched, short ones kept, and queries and keys grow.
    Yarn {
        /// Stretch of long wavelengths.
        factor: f64,
        /// The context before stretching.
        original: f64,
        /// Pairs that turn more often within the original context are kept.
        beta_fast: f64,
        /// Pairs that turn less often are stretched.
        beta_slow: f64,
        /// Whether the transition begins and ends at whole pairs.
        truncate: bool,
        /// What cosines and sines are multiplied with.
        attention_factor: f32,
    },
    /// LongRoPE (Ding et al. 2024): each frequency divided by its entry, of one list within the original
    /// context and of another one for longer sequences.
    LongRope {
        /// Divisors within the original context.
        short: Vec<f32>,
        /// Divisors beyond it.
        long: Vec<f32>,
        /// The context up to which the first list holds.
        original: f64,
        /// What cosines and sines are multiplied with.
        attention_factor: f32,
    },
    /// GGUF's `rope_freqs` tensor: each frequency divided by its entry.
    Divisors(Vec<f32>),
}

/// What YaRN multiplies cosines and sines with for a stretch by `factor`, unless a checkpoint says otherwise.
pub fn yarn_attention_factor(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

/// The same of LongRoPE, whose original context has `original` positions.
pub fn longrope_attention_factor(factor: f64, original: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() }
}

impl RopeScaling {
    /// `rotary_dim` are the elements of a head that rotate.
    pub(crate) fn check(&self, rotary_dim: usize) -> Result<(), String> {
        let positive = |name: &str, value: f64| {
            let fine = value.is_finite() && value > 0.0;
            if fine { Ok(()) } else { Err(format!("rope scaling: {name} is {value}")) }
        };
        match self {
            RopeScaling::None => Ok(()),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                positive("factor", *factor)?;
                positive("low_freq_factor", *low_freq_factor)?;
                positive("high_freq_factor", *high_freq_factor)?;
                positive("original context", *original)
            }
            RopeScaling::Linear { factor } => positive("factor", *factor),
            RopeScaling::Dynamic { factor, original } => {
                positive("factor", *factor)?;
                positive("original context", *original)
            }
            RopeScaling::Yarn { factor, original, beta_fast, beta_slow, attention_factor, truncate: _ } => {
                positive("factor", *factor)?;
                positive("original context", *original)?;
                positive("beta_fast", *beta_fast)?;
                positive("beta_slow", *beta_slow)?;
                positive("attention_factor", f64::from(*attention_factor))
            }
            RopeScaling::LongRope { short, long, original, attention_factor } => {
                positive("original context", *original)?;
                positive("attention_factor", f64::from(*attention_factor))?;
                [("short_factor", short), ("long_factor", long)]
                    .into_iter()
                    .try_for_each(|(name, divisors)| check_divisors(name, divisors, rotary_dim))
            }
            RopeScaling::Divisors(divisors) => check_divisors("rope_freqs", divisors, rotary_dim),
        }
    }

    /// What cosines and sines are multiplied with.
    pub fn attention_factor(&self) -> f32 {
        match self {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => {
                *attention_factor
            }
            _ => 1.0,
        }
    }

    /// Whether the frequencies depend on the length of the sequence.
    pub fn is_dynamic(&self) -> bool {
        matches!(self, RopeScaling::Dynamic { .. } | RopeScaling::LongRope { .. })
    }
}

fn check_divisors(name: &str, divisors: &[f32], rotary_dim: usize) -> Result<(), String> {
    let (n, expected) = (divisors.len(), rotary_dim / 2);
    if n != expected {
        return Err(format!(
            "{name} has {n} entries for {rotary_dim} rotating elements; expected {expected}"
        ));
    }
    match divisors.iter().find(|d| !(d.is_finite() && **d > 0.0)) {
        Some(d) => Err(format!("{name} has a divisor of {d}")),
        None => Ok(()),
    }
}

/// The frequency of each pair of a head, of which `rotary_dim` elements rotate, for a sequence of `seq_len`
/// positions (which matters to dynamic scaling and LongRoPE only).
///
/// Rounded to f32, as the reference implementations hold them.
pub fn inv_freq(rotary_dim: usize, theta: f64, scaling: &RopeScaling, seq_len: usize) -> Vec<f32> {
    let theta = match scaling {
        // Transformers' `_compute_dynamic_ntk_parameters`.
        RopeScaling::Dynamic { factor, original } if seq_len as f64 > *original && rotary_dim > 2 => {
            let stretch = factor * seq_len as f64 / original - (factor - 1.0);
            theta * stretch.powf(rotary_dim as f64 / (rotary_dim as f64 - 2.0))
        }
        _ => theta,
    };
    (0..rotary_dim / 2)
        .map(|j| {
            let freq = theta.powf(-2.0 * j as f64 / rotary_dim as f64);
            match scaling {
                RopeScaling::None | RopeScaling::Dynamic { .. } => freq as f32,
                RopeScaling::Linear { factor } => (freq / factor) as f32,
                RopeScaling::Divisors(divisors) => freq as f32 / divisors[j],
                RopeScaling::LongRope { short, long, original, .. } => {
                    let divisors = if seq_len as f64 > *original { long } else { short };
                    freq as f32 / divisors[j]
                }
                RopeScaling::Yarn { factor, original, beta_fast, beta_slow, truncate, .. } => {
                    let [low, high] =
                        yarn_range(rotary_dim, theta, *original, [*beta_fast, *beta_slow], *truncate);
                    let stretched = ((j as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    (freq / factor * stretched + freq * (1.0 - stretched)) as f32
                }
                RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                    llama3(freq, *factor, *low_freq_factor, *high_freq_factor, *original) as f32
                }
            }
        })
        .collect()
}

/// The pairs between which YaRN goes over from kept to stretched frequencies: those that turn `beta` times
/// within the original context. Source: the authors' code and transformers' `_compute_yarn_parameters`.
fn yarn_range(rotary_dim: usize, theta: f64, original: f64, beta: [f64; 2], truncate: bool) -> [f64; 2] {
    let pair_of = |turns: f64| rotary_dim as f64 * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let [mut low, mut high] = beta.map(pair_of);
    if truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    let (low, mut high) = (low.max(0.0), high.min(rotary_dim as f64 - 1.0));
    if low == high {
        high += 0.001;
    }
    [low, high]
}

fn llama3(freq: f64, factor: f64, low: f64, high: f64, original: f64) -> f64 {
    let wavelength = 2.0 * PI / freq;
    if wavelength < original / high {
        freq
    } else if wavelength > original / low {
        freq / factor
    } else {
        let t = (original / wavelength - low) / (high - low);
        (1.0 - t) * freq / factor + t * freq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked values of Llama 3.1 and 3.2 1B: f / f' of the interpolated pairs.
    #[test]
    fn llama3_scaling_interpolates_where_it_should() {
        let ratio = |head_dim, factor, j: usize| {
            let scaling =
                RopeScaling::Llama3 { factor, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 8192.0 };
            let plain = inv_freq(head_dim, 5e5, &RopeScaling::None, 1);
            plain[j] / inv_freq(head_dim, 5e5, &scaling, 1)[j]
        };
        for (j, want) in
            [(28, 1.0), (29, 1.207_484), (31, 2.026_313), (34, 5.257_326_6), (35, 8.0), (63, 8.0)]
        {
            assert!((ratio(128, 8.0, j) - want).abs() < 1e-5 * want, "128/8: {j}");
        }
        for (j, want) in [(14, 1.0), (15, 1.651_329_2), (16, 3.292_262_6), (17, 9.666_73), (18, 32.0)] {
            assert!((ratio(64, 32.0, j) - want).abs() < 1e-5 * want, "64/32: {j}");
        }
    }

    #[test]
    fn dynamic_scaling_begins_beyond_the_original_context() {
        let scaling = RopeScaling::Dynamic { factor: 2.0, original: 100.0 };
        let plain = inv_freq(8, 1e4, &RopeScaling::None, 1);
        assert_eq!(inv_freq(8, 1e4, &scaling, 100), plain);
        // theta (2 * 200 / 100 - 1)^(8/6)
        let grown = inv_freq(8, 1e4 * 3f64.powf(8.0 / 6.0), &RopeScaling::None, 1);
        assert_eq!(inv_freq(8, 1e4, &scaling, 200), grown);
    }
}
