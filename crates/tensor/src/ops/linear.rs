//! Linear layers: y = x Wᵀ for one or several matrices that share their input.

use puna_kernels::matmul::{Activations, Left, Matrix, matmul_nn, matmul_nt, matmul_nt_add};

use crate::{Graph, Var, Weight};

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
        let rows = x.rows();
        let mut buffers = weights.map(|w| self.buffer(rows * w.rows()));
        // The gradient is that of the exact product.
        let activations = if self.is_training() { Activations::F32 } else { self.cpu.activations };
        let (mut matrices, mut outs) = (Vec::with_capacity(N), Vec::with_capacity(N));
        for (weight, buffer) in weights.iter().zip(&mut buffers) {
            let out = buffer.values_mut();
            if weight.is_by_columns() {
                let x = Left::new(rows, x.cols(), x.values());
                matmul_nn(self.cpu, x, weight.matrix(), out, false);
                continue;
            }
            let matrix = match self.is_training() {
                true => weight.matrix(),
                false => weight.matrix_for(self.cpu, rows),
            };
            if let Some(columns) = weight.columns() {
                let x = in_order(x, columns);
                matmul_nt(self.cpu, &x, columns.len(), activations, &[matrix], &mut [out]);
                continue;
            }
            matrices.push(matrix);
            outs.push(out);
        }
        if !matrices.is_empty() {
            matmul_nt(self.cpu, x.values(), x.cols(), activations, &matrices, &mut outs);
        }
        let mut weights = weights.into_iter();
        buffers.map(|buffer| {
            let weight = weights.next().expect("one weight per buffer");
            let y = buffer.into_var(rows, weight.rows());
            self.record_linear(x, weight, y)
        })
    }

    /// `x + y weightᵀ`, in place of `x` where nobody else holds it: the end of a residual block.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn add_linear(&mut self, x: Var, y: &Var, weight: &'m Weight) -> Var {
        if self.is_training() || !weight.is_plain() {
            let y = self.linear(y, weight);
            return self.add(x, &y);
        }
        assert_eq!((x.rows(), x.cols()), (y.rows(), weight.rows()));
        let cpu = self.cpu;
        let matrix = weight.matrix_for(cpu, y.rows());
        self.change(x, |x| matmul_nt_add(cpu, y.values(), y.cols(), cpu.activations, matrix, x))
    }

    fn record_linear(&mut self, x: &Var, weight: &'m Weight, y: Var) -> Var {
        let x = self.is_training().then(|| x.clone());
        self.record(y, move |pass, dy| {
            let Some(x) = x else { return };
            let (rows, cols) = (x.rows(), x.cols());
            let cpu = pass.cpu;
            if let Some(dx) = pass.of(x.place()) {
                let values = (!weight.is_plain()).then(|| weight.to_f32());
                let matrix = match &values {
                    Some(values) => Matrix::from_f32(weight.rows(), cols, values),
                    None => weight.matrix(),
                };
                matmul_nn(cpu, Left::new(rows, weight.rows(), dy), matrix, dx, true);
            }
            if let Some(dweight) = pass.params.get_mut(weight.id()) {
                let dy = Left::transposed(rows, weight.rows(), dy);
                matmul_nn(cpu, dy, Matrix::from_f32(rows, cols, x.values()), dweight, true);
            }
        })
    }
}

/// The rows of `x` with its columns in that order.
fn in_order(x: &Var, columns: &[u32]) -> Vec<f32> {
    assert_eq!(x.cols(), columns.len());
    let rows = x.values().chunks_exact(columns.len());
    rows.flat_map(|row| columns.iter().map(|col| row[*col as usize])).collect()
}
