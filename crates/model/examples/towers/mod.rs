//! Vision encoders of the released models' shapes, with random numbers: shared by the examples that need no
//! real ones.

use std::convert::Infallible;

use puna_model::names::{Affine, LayerPart, Part, VisionLayerPart, VisionPart};
use puna_model::{Config, CrossAttentionTower, EarlyFusionTower, Model, TileTables, Tower, Vision, Weights};
use puna_tensor::{Bytes, DType, Weight, quant};

/// Scout's and Maverick's: each tile of 336 pixels by itself.
pub fn llama4() -> Vision {
    let tower = EarlyFusionTower { shuffle: 2, adapter: [4096, 4096], rope_theta: 10_000.0 };
    Vision {
        tile: 336,
        patch: 14,
        dim: 1408,
        n_heads: 16,
        ffn_dim: 5632,
        n_layers: 34,
        norm_eps: 1e-5,
        image_token: 200_092,
        tower: Tower::EarlyFusion(tower),
    }
}

/// That of Llama 3.2 11B and 90B: four tiles of 560 pixels that see each other.
#[allow(dead_code)] // Not every example needs it.
pub fn llama32() -> Vision {
    let tower = CrossAttentionTower {
        max_tiles: 4,
        grids: vec![[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
        n_global_layers: 8,
        intermediate: vec![3, 7, 15, 23, 30],
        tables: TileTables::ByPlace,
    };
    Vision {
        tile: 560,
        patch: 14,
        dim: 1280,
        n_heads: 16,
        ffn_dim: 5120,
        n_layers: 32,
        norm_eps: 1e-5,
        image_token: 128_256,
        tower: Tower::CrossAttention(tower),
    }
}

/// A decoder of one layer that is only as wide as the encoder needs.
pub fn small_decoder(dim: usize, vocab_size: usize, vision: Option<Vision>) -> Config {
    Config {
        dim,
        n_layers: 1,
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 64,
        ffn_dim: 256,
        vocab_size,
        max_seq_len: 8192,
        norm_eps: 1e-5,
        rope_theta: 500_000.0,
        tied: true,
        experts: Default::default(),
        vision,
        ..Config::default()
    }
}

/// A model in memory: this encoder with matrices in F16, and next to no decoder.
#[allow(dead_code)]
pub fn random_model(dim: usize, vision: Vision) -> Model {
    let config = small_decoder(dim, 16, Some(vision));
    let weights = Weights::bind(&config, |id, part, [rows, cols]| {
        if rows == 1 {
            return Ok::<_, Infallible>(Weight::owned(id, rows, cols, row(part, cols, 0)));
        }
        let bank: Vec<Vec<u8>> = (0..BANK).map(|i| encoded(part, DType::F16, cols, i)).collect();
        let bytes: Vec<u8> = (0..rows).flat_map(|row| &bank[row % BANK]).copied().collect();
        Ok(Weight::stored(id, DType::F16, rows, cols, Bytes::new(bytes)).expect("as many bytes as elements"))
    });
    Model::new(config, weights.expect("nothing fails"))
}

/// Rows that differ; after these they repeat, which neither speed nor memory notices.
pub const BANK: usize = 97;

/// A row of a tensor: ones where a norm multiplies, else uniform numbers of deviation 0.02.
pub fn row(part: Part, cols: usize, i: usize) -> Vec<f32> {
    use VisionLayerPart::{Norm1, Norm2};
    let is_norm = match part {
        Part::Norm | Part::Vision(VisionPart::Norm(_, Affine::Weight)) => true,
        Part::Vision(VisionPart::Layer(_, _, Norm1(affine) | Norm2(affine))) => affine == Affine::Weight,
        Part::Layer(_, LayerPart::AttentionNorm | LayerPart::FfnNorm) => true,
        _ => false,
    };
    let mut state = 0x1234_5678_9abc_def1u64.wrapping_mul(2 * i as u64 + 1);
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 0.035
    };
    (0..cols).map(|_| if is_norm { 1.0 } else { random() }).collect()
}

/// The same as it is stored.
pub fn encoded(part: Part, dtype: DType, cols: usize, i: usize) -> Vec<u8> {
    let mut bytes = vec![0; dtype.bytes_of(cols).expect("whole blocks")];
    quant::encode(dtype, &row(part, cols, i), &mut bytes);
    bytes
}
