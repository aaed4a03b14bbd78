//! Sums whose second part passes a learned gate, one number: how vision was added to a model of text.

use puna_kernels::elementwise::add_scaled;
use puna_kernels::rows;

use crate::{Graph, Pass, Var, Weight};

/// What a sum's second part is multiplied with.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'m> {
    /// Nothing.
    Open,
    /// tanh(g).
    Tanh(&'m Weight),
    /// 1 − tanh(g).
    OneMinusTanh(&'m Weight),
}

impl<'m> Gate<'m> {
    fn parameter(self) -> Option<&'m Weight> {
        match self {
            Gate::Open => None,
            Gate::Tanh(g) | Gate::OneMinusTanh(g) => Some(g),
        }
    }

    /// The factor and its derivative by g.
    fn factor(self) -> [f32; 2] {
        let tanh = |g: &Weight| g.values().expect("gates are held as f32")[0].tanh();
        match self {
            Gate::Open => [1.0, 0.0],
            Gate::Tanh(g) => [tanh(g), 1.0 - tanh(g) * tanh(g)],
            Gate::OneMinusTanh(g) => [1.0 - tanh(g), tanh(g) * tanh(g) - 1.0],
        }
    }

    /// Adds the gradient by g, where `d_factor` is that by the factor.
    fn add_gradient(self, pass: &mut Pass, d_factor: f64) {
        if let Some(d) = self.parameter().and_then(|g| pass.params.get_mut(g.id())) {
            d[0] += d_factor as f32 * self.factor()[1];
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum()
}

impl<'m> Graph<'m> {
    /// `x + gate y`, in place of `x` where nobody else holds it.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn add_gated(&mut self, x: Var, y: &Var, gate: Gate<'m>) -> Var {
        assert_eq!((x.rows(), x.cols()), (y.rows(), y.cols()));
        let (cpu, source, [factor, _]) = (self.cpu, x.place(), gate.factor());
        let sum = self.change(x, |x| add_scaled(cpu, x, factor, y.values()));
        let places = [source, y.place()];
        let y = self.is_training().then(|| y.clone());
        self.record_from(sum, &places, gate.parameter().as_slice(), move |pass, dsum| {
            let Some(y) = y else { return };
            let cpu = pass.cpu;
            pass.add(source, dsum);
            if let Some(dy) = pass.of(y.place()) {
                add_scaled(cpu, dy, factor, dsum);
            }
            gate.add_gradient(pass, dot(dsum, y.values()));
        })
    }

    /// `x` with row `entries[i]` of `table: [entries, cols]`, through the gate, added to its row i; nothing
    /// where there is none. In place where nobody else holds it.
    ///
    /// # Panics
    /// If the shapes disagree, or the table has no such row.
    pub fn add_entries(
        &mut self,
        x: Var,
        table: &'m Weight,
        entries: Vec<Option<usize>>,
        gate: Gate<'m>,
    ) -> Var {
        let (cpu, source, cols, [factor, _]) = (self.cpu, x.place(), x.cols(), gate.factor());
        assert!(entries.len() == x.rows() && table.cols() == cols && table.is_plain());
        let sum = self.change(x, |x| rows::add_entries(cpu, x, &table.matrix(), &entries, factor));
        let weights: Vec<_> = std::iter::once(table).chain(gate.parameter()).collect();
        self.record_from(sum, &[source], &weights, move |pass, dsum| {
            let cpu = pass.cpu;
            pass.add(source, dsum);
            let added =
                || dsum.chunks_exact(cols).zip(&entries).filter_map(|(d, entry)| Some((d, (*entry)?)));
            if let Some(dtable) = pass.params.get_mut(table.id()) {
                for (d, entry) in added() {
                    let dtable = &mut dtable[entry * cols..(entry + 1) * cols];
                    dtable.iter_mut().zip(d).for_each(|(dt, d)| *dt += factor * d);
                }
            }
            let mut row = vec![0.0; cols];
            let by_row = added().map(|(d, entry)| {
                table.matrix().decode_row(cpu.isa, entry, &mut row);
                dot(d, &row)
            });
            let d_factor = by_row.sum();
            gate.add_gradient(pass, d_factor);
        })
    }
}
