//! Selections and arrangements of rows.

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// Rows `rows[i]` of `x`, in that order.
    ///
    /// # Panics
    /// If `x` has no such row.
    pub fn take_rows(&mut self, x: &Var, rows: &[usize]) -> Var {
        let cols = x.cols();
        let taken = self.make(rows.len(), cols, |out| {
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(cols)) {
                out.copy_from_slice(&x.values()[row * cols..(row + 1) * cols]);
            }
        });
        let (source, rows) = (x.place(), if self.is_training() { rows.to_vec() } else { Vec::new() });
        self.record(taken, move |pass, dtaken| {
            let Some(dx) = pass.of(source) else { return };
            for (row, d) in rows.iter().zip(dtaken.chunks_exact(cols)) {
                dx[row * cols..(row + 1) * cols].iter_mut().zip(d).for_each(|(dx, d)| *dx += d);
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
        let replaced = self.change(x, |x| {
            for (row, y) in rows.iter().zip(y.values().chunks_exact(cols)) {
                x[row * cols..(row + 1) * cols].copy_from_slice(y);
            }
        });
        let rows = if self.is_training() { rows.to_vec() } else { Vec::new() };
        self.record(replaced, move |pass, d| {
            if let Some(dx) = pass.of(source) {
                let kept = dx.chunks_exact_mut(cols).zip(d.chunks_exact(cols)).zip(&is_new);
                for ((dx, d), _) in kept.filter(|(_, is_new)| !**is_new) {
                    dx.iter_mut().zip(d).for_each(|(dx, d)| *dx += d);
                }
            }
            if let Some(dy) = pass.of(new) {
                for (row, dy) in rows.iter().zip(dy.chunks_exact_mut(cols)) {
                    dy.iter_mut().zip(&d[row * cols..(row + 1) * cols]).for_each(|(dy, d)| *dy += d);
                }
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
        self.record(all, move |pass, d| {
            let mut at = 0;
            for (place, len) in places {
                if let Some(dx) = pass.of(place) {
                    dx.iter_mut().zip(&d[at..at + len]).for_each(|(dx, d)| *dx += d);
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
        self.record(y, move |pass, dy| {
            if let Some(dx) = pass.of(source) {
                dx.iter_mut().zip(&dy[..len]).for_each(|(dx, d)| *dx += d);
            }
        })
    }

    /// Every `n` rows of `x` as one.
    ///
    /// # Panics
    /// If its rows are no multiple of that.
    pub fn join_rows(&mut self, x: &Var, n: usize) -> Var {
        assert!(n > 0 && x.rows().is_multiple_of(n));
        let y = self.make(x.rows() / n, x.cols() * n, |y| y.copy_from_slice(x.values()));
        let source = x.place();
        self.record(y, move |pass, dy| {
            if let Some(dx) = pass.of(source) {
                dx.iter_mut().zip(dy).for_each(|(dx, d)| *dx += d);
            }
        })
    }

    /// The columns of `first`, and after them, for each column, that of each of `more`.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn interleave_columns(&mut self, first: &Var, more: &[Var]) -> Var {
        let (rows, cols, n) = (first.rows(), first.cols(), more.len());
        assert!(more.iter().all(|x| (x.rows(), x.cols()) == (rows, cols)));
        let width = cols * (n + 1);
        let all = self.make(rows, width, |out| {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let own = row * cols..(row + 1) * cols;
                out[..cols].copy_from_slice(&first.values()[own.clone()]);
                for (i, x) in more.iter().enumerate() {
                    for (c, x) in x.values()[own.clone()].iter().enumerate() {
                        out[cols + c * n + i] = *x;
                    }
                }
            }
        });
        let (source, places) = (first.place(), more.iter().map(Var::place).collect::<Vec<_>>());
        self.record(all, move |pass, d| {
            if let Some(dx) = pass.of(source) {
                for (dx, d) in dx.chunks_exact_mut(cols).zip(d.chunks_exact(width)) {
                    dx.iter_mut().zip(&d[..cols]).for_each(|(dx, d)| *dx += d);
                }
            }
            for (i, place) in places.into_iter().enumerate() {
                let Some(dx) = pass.of(place) else { continue };
                for (dx, d) in dx.chunks_exact_mut(cols).zip(d.chunks_exact(width)) {
                    for (c, dx) in dx.iter_mut().enumerate() {
                        *dx += d[cols + c * n + i];
                    }
                }
            }
        })
    }
}
