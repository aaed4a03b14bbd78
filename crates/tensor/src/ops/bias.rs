//! A vector added to every row.

use puna_kernels::elementwise::{add_row, add_sum_of_rows};

use crate::{Graph, Var, Weight};

impl<'m> Graph<'m> {
    /// `x` with `bias: [cols]` added to each row, in place where nobody else holds it.
    ///
    /// # Panics
    /// If the shapes disagree or the bias is not f32.
    pub fn add_bias(&mut self, x: Var, bias: &'m Weight) -> Var {
        let (cpu, source, cols) = (self.cpu, x.place(), x.cols());
        let values = bias.values().expect("biases are held as f32");
        assert_eq!(values.len(), cols);
        let y = self.change(x, |x| add_row(cpu, x, values));
        self.record_from(y, &[source], &[bias], move |pass, dy| {
            let cpu = pass.cpu;
            pass.add(source, dy);
            if let Some(dbias) = pass.params.get_mut(bias.id()) {
                add_sum_of_rows(cpu.isa, dbias, dy);
            }
        })
    }
}
