//! The residual connection.

use puna_kernels::elementwise::add_assign;

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// `x + y`, in place of `x` where nobody else holds it.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn add(&mut self, x: Var, y: &Var) -> Var {
        assert_eq!((x.rows(), x.cols()), (y.rows(), y.cols()));
        let cpu = self.cpu;
        let places = [x.place(), y.place()];
        let sum = self.change(x, |x| add_assign(cpu, x, y.values()));
        self.record_from(sum, &places, &[], move |pass, dsum| {
            for place in places {
                pass.add(place, dsum);
            }
        })
    }
}
