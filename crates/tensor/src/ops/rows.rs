//! Selections and arrangements of rows, and rows times constants.

use puna_kernels::elementwise::add_assign;
use puna_kernels::rows;

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// Rows `rows[i]` of `x`, in that order.
    ///
    /// # Panics
    /// If `x` has no such row.
    pub fn take_rows(&mut self, x: &Var, rows: &[usize]) -> Var {
        let (cpu, cols) = (self.cpu, x.cols());
        let taken = self.make(rows.len(), cols, |out| rows::gather_rows(cpu, x.values(), cols, rows, out));
        let (source, rows) = (x.place(), self.kept(rows));
        self.record_from(taken, &[source], &[], move |pass, dtaken| {
            let isa = pass.cpu.isa;
            if let Some(dx) = pass.of(source) {
                rows::add_rows(isa, dx, cols, &rows, dtaken);
            }
        })
    }

    /// `x` with row i of `y` in place of its row `rows[i]`; in place where nobody else holds it.
    ///
    /// # Panics
    /// If `x` has no such rows, `y` not as many, or a row is named twice.
    pub fn replace_rows(&mut self, x: Var, y: &Var, rows: &[usize]) -> Var {
        let cols = x.cols();
        assert!(y.cols() == cols && y.rows() == rows.len());
        let mut is_new = vec![false; x.rows()];
        assert!(rows.iter().all(|row| !std::mem::replace(&mut is_new[*row], true)), "each row once");
        let (source, new) = (x.place(), y.place());
        let replaced = self.change(x, |x| rows::replace_rows(x, cols, rows, y.values()));
        let rows = self.kept(rows);
        self.record_from(replaced, &[source, new], &[], move |pass, d| {
            let cpu = pass.cpu;
            if let Some(dx) = pass.of(source) {
                let kept: Vec<usize> = (0..is_new.len()).filter(|row| !is_new[*row]).collect();
                let mut of_kept = vec![0.0; kept.len() * cols];
                rows::gather_rows(cpu, d, cols, &kept, &mut of_kept);
                rows::add_rows(cpu.isa, dx, cols, &kept, &of_kept);
            }
            if let Some(dy) = pass.of(new) {
                rows::add_gathered_rows(cpu, d, cols, &rows, dy);
            }
        })
    }

    /// `x` with the rows of `y` added to its rows `rows`, in place where nobody else holds it.
    ///
    /// # Panics
    /// If `x` has no such rows, or `y` not as many.
    pub fn add_rows(&mut self, x: Var, y: &Var, rows: &[usize]) -> Var {
        let (isa, cols) = (self.cpu.isa, x.cols());
        assert!(y.cols() == cols && y.rows() == rows.len());
        let places = (x.place(), y.place());
        let sum = self.change(x, |x| rows::add_rows(isa, x, cols, rows, y.values()));
        let rows = self.kept(rows);
        self.record_from(sum, &[places.0, places.1], &[], move |pass, dsum| {
            let cpu = pass.cpu;
            pass.add(places.0, dsum);
            if let Some(dy) = pass.of(places.1) {
                rows::add_gathered_rows(cpu, dsum, cols, &rows, dy);
            }
        })
    }

    /// The rows of all `parts`, one after the other.
    ///
    /// # Panics
    /// If there are none, or their columns differ.
    pub fn stack_rows(&mut self, parts: &[Var]) -> Var {
        let cols = parts[0].cols();
        assert!(parts.iter().all(|part| part.cols() == cols));
        let n_rows = parts.iter().map(Var::rows).sum();
        let all = self.make(n_rows, cols, |out| {
            let mut rest = out;
            for part in parts {
                let (own, after) = rest.split_at_mut(part.values().len());
                own.copy_from_slice(part.values());
                rest = after;
            }
        });
        let places: Vec<_> = parts.iter().map(|part| (part.place(), part.values().len())).collect();
        let inputs: Vec<_> = parts.iter().map(Var::place).collect();
        self.record_from(all, &inputs, &[], move |pass, d| {
            let (cpu, mut at) = (pass.cpu, 0);
            for (place, len) in places {
                if let Some(dx) = pass.of(place) {
                    add_assign(cpu, dx, &d[at..at + len]);
                }
                at += len;
            }
        })
    }

    /// `x` with `n` rows of zeros after its own.
    pub fn with_zero_rows(&mut self, x: &Var, n: usize) -> Var {
        let len = x.values().len();
        let y = self.make(x.rows() + n, x.cols(), |y| {
            y[..len].copy_from_slice(x.values());
            y[len..].fill(0.0);
        });
        let source = x.place();
        self.record_from(y, &[source], &[], move |pass, dy| {
            let cpu = pass.cpu;
            if let Some(dx) = pass.of(source) {
                add_assign(cpu, dx, &dy[..len]);
            }
        })
    }

    /// Every `n` rows of `x` as one.
    ///
    /// # Panics
    /// If `n` does not divide the rows.
    pub fn join_rows(&mut self, x: &Var, n: usize) -> Var {
        assert!(n > 0 && x.rows().is_multiple_of(n));
        let y = self.make(x.rows() / n, x.cols() * n, |y| y.copy_from_slice(x.values()));
        let source = x.place();
        self.record_from(y, &[source], &[], move |pass, dy| {
            let cpu = pass.cpu;
            if let Some(dx) = pass.of(source) {
                add_assign(cpu, dx, dy);
            }
        })
    }

    /// The columns of `first`, and after them, for each column, that of each of `more`.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn interleave_columns(&mut self, first: &Var, more: &[Var]) -> Var {
        let (cpu, rows, cols) = (self.cpu, first.rows(), first.cols());
        assert!(more.iter().all(|x| (x.rows(), x.cols()) == (rows, cols)));
        let parts: Vec<&Var> = std::iter::once(first).chain(more).collect();
        let n_parts = parts.len();
        let all = self.make(rows, cols * n_parts, |out| {
            let values: Vec<&[f32]> = parts.iter().map(|part| part.values()).collect();
            rows::interleave_columns(cpu, cols, &values, out);
        });
        let places: Vec<_> = parts.iter().map(|part| part.place()).collect();
        let inputs = places.clone();
        self.record_from(all, &inputs, &[], move |pass, d| {
            let cpu = pass.cpu;
            for (part, place) in places.into_iter().enumerate() {
                if let Some(dx) = pass.of(place) {
                    rows::interleave_columns_backward(cpu, cols, n_parts, part, d, dx);
                }
            }
        })
    }

    /// Row i of `x` times `factors[i]`, in place where nobody else holds it.
    ///
    /// # Panics
    /// If there is not one factor for each row.
    pub fn scale_rows(&mut self, x: Var, factors: &[f32]) -> Var {
        assert_eq!(x.rows(), factors.len());
        let (cpu, source, cols) = (self.cpu, x.place(), x.cols());
        let scaled = self.change(x, |x| rows::scale_rows(cpu, x, cols, factors));
        let factors = if self.is_training() { factors.to_vec() } else { Vec::new() };
        self.record_from(scaled, &[source], &[], move |pass, dy| {
            let cpu = pass.cpu;
            if let Some(dx) = pass.of(source) {
                rows::add_scaled_rows(cpu, dy, cols, &factors, dx);
            }
        })
    }

    /// What a gradient needs of row numbers: a copy, if there is a tape.
    fn kept(&self, rows: &[usize]) -> Vec<usize> {
        if self.is_training() { rows.to_vec() } else { Vec::new() }
    }
}
