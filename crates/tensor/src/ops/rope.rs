//! Rotary position embedding of queries or keys.

use std::sync::Arc;

use puna_kernels::rope::{RopeLayout, RopeTable, Turn, rope};

use crate::{Graph, Var};

impl<'m> Graph<'m> {
    /// Rotates `x: [tokens, n_heads * head_dim]` by the table's positions, in place where nobody else holds
    /// it.
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn rope(&mut self, x: Var, n_heads: usize, table: &Arc<RopeTable>, layout: RopeLayout) -> Var {
        let (cpu, source, table) = (self.cpu, x.place(), table.clone());
        let y = self.change(x, |x| rope(cpu, x, n_heads, &table, layout, Turn::Forward));
        self.record_from(y, &[source], &[], move |pass, dy| {
            let mut turned = pass.buffer(dy.len());
            turned.values_mut().copy_from_slice(dy);
            rope(pass.cpu, turned.values_mut(), n_heads, &table, layout, Turn::Back);
            pass.give(source, turned);
        })
    }
}
