//! Rotary position embedding of queries or keys.

use std::sync::Arc;

use puna_kernels::elementwise::add_assign;
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
        self.record(y, move |pass, dy| {
            let cpu = pass.cpu;
            let Some(dx) = pass.of(source) else { return };
            let mut turned = dy.to_vec();
            rope(cpu, &mut turned, n_heads, &table, layout, Turn::Back);
            add_assign(cpu, dx, &turned);
        })
    }
}
