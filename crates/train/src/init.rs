//! Random weights for a model that is to be trained from nothing.

use puna_model::names::{LayerPart, Part};
use puna_model::{Config, Model, Weights};
use puna_tensor::Weight;

use crate::random::Rng;

/// A model with random weights of the usual deviation, 0.02: [`random_model_with`].
pub fn random_model(config: Config, seed: u64) -> Model {
    random_model_with(config, seed, 0.02)
}

/// A model with random weights: normal with deviation `std`, cut at three deviations; the matrices that write
/// into the residual stream (wo, w2) are scaled by 1/sqrt(2 n_layers), as in GPT-2; norms are 1.
pub fn random_model_with(config: Config, seed: u64, std: f64) -> Model {
    let mut rng = Rng::new(seed);
    let residual = std / (2.0 * config.n_layers as f64).sqrt();
    let weights = Weights::bind(&config, |id, part, [rows, cols]| {
        let deviation = match part {
            Part::Norm | Part::Layer(_, LayerPart::AttentionNorm | LayerPart::FfnNorm) => {
                return Ok::<_, std::convert::Infallible>(Weight::owned(
                    id,
                    rows,
                    cols,
                    vec![1.0; rows * cols],
                ));
            }
            Part::Layer(_, LayerPart::Wo | LayerPart::W2 | LayerPart::ExpertW2(_)) => residual,
            _ => std,
        };
        let values = (0..rows * cols).map(|_| (deviation * rng.normal(3.0)) as f32).collect();
        Ok(Weight::owned(id, rows, cols, values))
    });
    let Ok(weights) = weights;
    Model::new(config, weights)
}
