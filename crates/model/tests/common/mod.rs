//! What the tests of the reference's values share.

#![allow(dead_code)] // Each test takes what it needs.

use std::path::Path;

use puna_formats::safetensors;
use puna_model::names::{Slice, Stored};
use puna_model::{LoadOptions, Model};
use puna_tensor::{Activations, Cpu, DType, Graph, Isa, RunOptions, Workspace};

/// Reference tensors.
pub struct Golden(pub safetensors::SafetensorsFile);

impl Golden {
    pub fn open(path: &Path) -> Golden {
        Golden(safetensors::open(path).unwrap())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.tensors.contains(name)
    }

    pub fn f32s(&self, name: &str) -> Vec<f32> {
        let tensor = self.0.tensors.get(name).unwrap_or_else(|| panic!("no golden tensor {name}"));
        assert_eq!(tensor.dtype, DType::F32);
        tensor.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub fn i64s(&self, name: &str) -> Vec<i64> {
        let tensor = self.0.tensors.get(name).unwrap_or_else(|| panic!("no golden tensor {name}"));
        assert_eq!(tensor.dtype, DType::I64);
        tensor.data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.i64s(name).into_iter().map(|id| id.try_into().unwrap()).collect()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.0.tensors.get(name).unwrap().shape.clone()
    }
}

pub fn largest_difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let differences = got.iter().zip(want).map(|(g, w)| (g - w).abs());
    differences.fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

#[track_caller]
pub fn assert_within(got: &[f32], want: &[f32], atol: f64, what: &str) {
    let difference = largest_difference(got, want);
    assert!(difference as f64 <= atol, "{what}: differs by {difference}, tolerance {atol}");
}

pub fn load(path: &Path) -> Model {
    Model::load(path, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

pub fn cpus() -> impl Iterator<Item = Cpu> {
    Isa::available().into_iter().map(|isa| Cpu::new(isa, 2))
}

/// The logits of every token where activations are rounded to eight bits.
pub fn rounded_logits(cpu: &Cpu, model: &Model, tokens: &[u32]) -> Vec<f32> {
    let options = RunOptions { activations: Activations::Int8, ..RunOptions::default() };
    let mut graph = Graph::inference(cpu, &Workspace::default()).with_options(&options);
    let whole = 0..tokens.len();
    model
        .forward(&mut graph, tokens, puna_model::Sequences::Whole(std::slice::from_ref(&whole)), None, None)
        .unwrap()
        .values()
        .to_vec()
}

pub fn argmax(logits: &[f32]) -> u32 {
    (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best }) as u32
}

/// A parameter's values `[rows, cols]` in the tensor `prefix` and its name.
pub fn values_of(golden: &Golden, prefix: &str, (stored, [rows, cols]): &(Stored, [usize; 2])) -> Vec<f32> {
    let all = golden.f32s(&format!("{prefix}{}", stored.name));
    let own = &all[stored.slice.unwrap_or(Slice::WHOLE).of_len(all.len()).unwrap()];
    let Some([first, row_len]) = stored.by_columns else { return own.to_vec() };
    (0..*rows).flat_map(|r| (0..*cols).map(move |c| own[c * row_len + first + r])).collect()
}
