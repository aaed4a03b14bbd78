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
    /// GGUF's `rope_freqs` tensor: each frequency divided by its entry.
    Divisors(Vec<f32>),
}

impl RopeScaling {
    pub(crate) fn check(&self, head_dim: usize) -> Result<(), String> {
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
            RopeScaling::Divisors(divisors) => {
                if divisors.len() != head_dim / 2 {
                    return Err(format!(
                        "rope_freqs has {} entries for a head of {head_dim} elements; expected {}",
                        divisors.len(),
                        head_dim / 2
                    ));
                }
                divisors.iter().try_for_each(|d| positive("a frequency divisor", *d as f64))
            }
        }
    }

    /// Whether the frequencies depend on the length of the sequence.
    pub fn is_dynamic(&self) -> bool {
        matches!(self, RopeScaling::Dynamic { .. })
    }
}

/// The frequency of each pair of a head for a sequence of `seq_len` positions (which matters to dynamic
/// scaling only).
///
/// Rounded to f32, as the reference implementations hold them.
pub fn inv_freq(head_dim: usize, theta: f64, scaling: &RopeScaling, seq_len: usize) -> Vec<f32> {
    let theta = match scaling {
        // Transformers' `_compute_dynamic_ntk_parameters`.
        RopeScaling::Dynamic { factor, original } if seq_len as f64 > *original && head_dim > 2 => {
            let stretch = factor * seq_len as f64 / original - (factor - 1.0);
            theta * stretch.powf(head_dim as f64 / (head_dim as f64 - 2.0))
        }
        _ => theta,
    };
    (0..head_dim / 2)
        .map(|j| {
            let freq = theta.powf(-2.0 * j as f64 / head_dim as f64);
            match scaling {
                RopeScaling::None | RopeScaling::Dynamic { .. } => freq as f32,
                RopeScaling::Linear { factor } => (freq / factor) as f32,
                RopeScaling::Divisors(divisors) => freq as f32 / divisors[j],
                RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                    llama3(freq, *factor, *low_freq_factor, *high_freq_factor, *original) as f32
                }
            }
        })
        .collect()
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
