//! Products of inputs with weights: linear layers, what is joined to them, and embeddings.
//!
//! All of them are `Graph::multiply`, the one place where an input meets a parameter. Whatever concerns a
//! parameter and not the layer it is in enters there, keyed by [`Weight::id`]: observers today, adapters and
//! sums over machines later. A sum over machines belongs between the product and what it is added to, so a
//! split product must leave the fused `AddedTo`.

use puna_kernels::hadamard::hadamard;
use puna_kernels::matmul::{
    Activations, Left, Matrix, matmul_nn, matmul_nt, matmul_nt_add, matmul_nt_swiglu,
};
use puna_kernels::rows::{add_rows, gather_columns};

use crate::weight::LowRank;
use crate::{Graph, Var, Weight, WeightInput};

/// What is made of the products of an input with weights.
enum Output {
    /// Each is a value.
    Each,
    /// Two become one value: `silu(first) ∘ second`.
    Swiglu,
    /// A single one is added to this value.
    AddedTo(Var),
}

impl<'m> Graph<'m> {
    /// `x weightᵀ`: `x` is `[rows, in]`, `weight` `[out, in]`.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn linear(&mut self, x: &Var, weight: &'m Weight) -> Var {
        let [y] = self.linears(x, [weight]);
        y
    }

    /// `x weightᵀ` for each of several matrices, in one parallel region.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn linears<const N: usize>(&mut self, x: &Var, weights: [&'m Weight; N]) -> [Var; N] {
        let mut products = self.multiply(WeightInput::Rows(x), &weights, Output::Each).into_iter();
        weights.map(|_| products.next().expect("one for each weight"))
    }

    /// `silu(x gateᵀ) ∘ (x upᵀ)`: what a feed-forward block does before its last matrix.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn gated(&mut self, x: &Var, gate: &'m Weight, up: &'m Weight) -> Var {
        self.multiply(WeightInput::Rows(x), &[gate, up], Output::Swiglu).remove(0)
    }

    /// `x + y weightᵀ`, in place of `x` where nobody else holds it: the end of a residual block.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn add_linear(&mut self, x: Var, y: &Var, weight: &'m Weight) -> Var {
        self.multiply(WeightInput::Rows(y), &[weight], Output::AddedTo(x)).remove(0)
    }

    /// Row `tokens[i]` of `weight: [vocab, dim]` for each i.
    ///
    /// # Panics
    /// If a token is outside the vocabulary.
    pub fn embed(&mut self, tokens: &[u32], weight: &'m Weight) -> Var {
        self.multiply(WeightInput::Tokens(tokens), &[weight], Output::Each).remove(0)
    }

    /// Multiplies an input with weights. Kernels that join a product with what follows give the bits of the
    /// steps one by one; where they do not apply, the steps are taken.
    fn multiply(&mut self, input: WeightInput, weights: &[&'m Weight], output: Output) -> Vec<Var> {
        if let Some(observer) = &mut self.observer {
            weights.iter().for_each(|weight| observer(weight.id(), input));
        }
        let x = match input {
            WeightInput::Rows(x) => x,
            WeightInput::Tokens(tokens) => return weights.iter().map(|w| self.rows_of(w, tokens)).collect(),
        };
        if self.counts_uses() {
            weights.iter().for_each(|weight| weight.count_use(self.cpu, &self.options, x.rows()));
        }
        let can_join = !self.is_training() && weights.iter().all(|weight| weight.is_plain());
        match output {
            Output::Each => self.products(x, weights),
            Output::Swiglu if can_join => vec![self.swiglu_of_products(x, weights)],
            Output::AddedTo(sum) if can_join => vec![self.add_product(sum, x, weights[0])],
            Output::Swiglu => {
                let both = self.products(x, weights);
                vec![self.swiglu(&both[0], &both[1])]
            }
            Output::AddedTo(sum) => {
                let y = self.products(x, weights).remove(0);
                vec![self.add(sum, &y)]
            }
        }
    }

    fn swiglu_of_products(&self, x: &Var, weights: &[&'m Weight]) -> Var {
        let (cpu, activations) = (self.cpu, self.options.activations);
        let copies = [weights[0], weights[1]].map(Weight::copy);
        let matrices = [0, 1].map(|i| weights[i].fastest_matrix(&copies[i]));
        self.make(x.rows(), weights[0].rows(), |z| {
            matmul_nt_swiglu(cpu, x.values(), x.cols(), activations, matrices, z);
        })
    }

    fn add_product(&self, sum: Var, y: &Var, weight: &'m Weight) -> Var {
        assert_eq!((sum.rows(), sum.cols()), (y.rows(), weight.rows()));
        let (cpu, activations) = (self.cpu, self.options.activations);
        let copy = weight.copy();
        let matrix = weight.fastest_matrix(&copy);
        self.change(sum, |sum| matmul_nt_add(cpu, y.values(), y.cols(), activations, matrix, sum))
    }

    /// Each product as a value, with its gradient.
    fn products(&mut self, x: &Var, weights: &[&'m Weight]) -> Vec<Var> {
        let rows = x.rows();
        let mut buffers: Vec<_> = weights.iter().map(|w| self.buffer(rows * w.rows())).collect();
        // The gradient is that of the exact product.
        let activations = if self.is_training() { Activations::F32 } else { self.options.activations };
        let copies: Vec<_> = weights.iter().map(|weight| weight.copy()).collect();
        let (mut matrices, mut outs) = (Vec::new(), Vec::new());
        for ((weight, copy), buffer) in weights.iter().zip(&copies).zip(&mut buffers) {
            let out = buffer.values_mut();
            if weight.is_by_columns() {
                let x = Left::new(rows, x.cols(), x.values());
                matmul_nn(self.cpu, x, weight.matrix(), out, false);
                continue;
            }
            if !weight.is_plain() {
                self.put_changed_product(x, weight, activations, out);
                continue;
            }
            let matrix = if self.is_training() { weight.matrix() } else { weight.fastest_matrix(copy) };
            matrices.push(matrix);
            outs.push(out);
        }
        if !matrices.is_empty() {
            matmul_nt(self.cpu, x.values(), x.cols(), activations, &matrices, &mut outs);
        }
        let products = buffers.into_iter().zip(weights);
        products.map(|(y, weight)| self.record_product(x, weight, y.into_var(rows, weight.rows()))).collect()
    }

    /// The product with a matrix that is not what is stored: it takes inputs in another order or multiplied
    /// with a Hadamard matrix, or a product of few dimensions is added to it.
    fn put_changed_product(&self, x: &Var, weight: &Weight, activations: Activations, out: &mut [f32]) {
        let (cpu, cols) = (self.cpu, x.cols());
        let copy = weight.copy();
        let matrix = if self.is_training() { weight.matrix() } else { weight.fastest_matrix(&copy) };
        let mut changed = self.buffer(x.values().len());
        // A matrix whose inputs are in another order is rotated as a whole.
        let mut input = x.values();
        if weight.is_rotated() {
            changed.values_mut().copy_from_slice(input);
            hadamard(cpu, changed.values_mut(), cols);
            input = changed.values_mut();
        }
        let mut in_order = self.buffer(if weight.columns().is_some() { input.len() } else { 0 });
        if let Some(columns) = weight.columns() {
            gather_columns(cpu, input, columns, in_order.values_mut());
            input = in_order.values_mut();
        }
        matmul_nt(cpu, input, cols, activations, &[matrix], &mut [&mut *out]);
        if let Some(LowRank { down, up, factor }) = weight.low_rank() {
            let mut inner = self.buffer(x.rows() * down.rows());
            let inner = inner.values_mut();
            matmul_nt(cpu, x.values(), cols, activations, &[down.matrix()], &mut [&mut *inner]);
            inner.iter_mut().for_each(|x| *x *= factor);
            matmul_nt_add(cpu, inner, down.rows(), activations, up.matrix(), out);
        }
    }

    fn record_product(&mut self, x: &Var, weight: &'m Weight, y: Var) -> Var {
        let (source, rows, cols) = (x.place(), x.rows(), x.cols());
        // The gradient by the input needs the weight alone.
        let x = self.trains(weight).then(|| x.clone());
        self.record_from(y, &[source], &[weight], move |pass, dy| {
            let cpu = pass.cpu;
            if let Some((dx, is_new)) = pass.of_or_new(source) {
                let values = (!weight.is_plain()).then(|| weight.to_f32());
                let matrix = match &values {
                    Some(values) => Matrix::from_f32(weight.rows(), cols, values),
                    None => weight.matrix(),
                };
                matmul_nn(cpu, Left::new(rows, weight.rows(), dy), matrix, dx, !is_new);
            }
            if let (Some(x), Some(dweight)) = (x, pass.params.get_mut(weight.id())) {
                let dy = Left::transposed(rows, weight.rows(), dy);
                matmul_nn(cpu, dy, Matrix::from_f32(rows, cols, x.values()), dweight, true);
            }
        })
    }

    /// The rows of a weight that tokens select.
    fn rows_of(&mut self, weight: &'m Weight, tokens: &[u32]) -> Var {
        let (isa, dim) = (self.cpu.isa, weight.cols());
        let rows = self.make(tokens.len(), dim, |out| {
            for (token, row) in tokens.iter().zip(out.chunks_exact_mut(dim)) {
                assert!((*token as usize) < weight.rows());
                weight.matrix().decode_row(isa, *token as usize, row);
            }
        });
        let tokens: Vec<usize> = match self.is_training() {
            true => tokens.iter().map(|token| *token as usize).collect(),
            false => Vec::new(),
        };
        self.record_from(rows, &[], &[weight], move |pass, drows| {
            let isa = pass.cpu.isa;
            if let Some(dweight) = pass.params.get_mut(weight.id()) {
                add_rows(isa, dweight, dim, &tokens, drows);
            }
        })
    }
}
