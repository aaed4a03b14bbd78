//! Panels of weight rows, as both kinds of product have them.

use super::tile::RowPtrMut;
use crate::isa::{Isa, Kernel};
use crate::simd::Rows16;

/// Rows of a panel where weights are codes, and where they are floats.
pub(super) struct PanelRows;

impl Kernel for PanelRows {
    type Output = [usize; 2];
    #[inline(always)]
    fn run<S: Rows16>(self, _: S) -> [usize; 2] {
        [S::PANELS, S::FLOAT_PANELS].map(|panels| 16 * panels)
    }
}

/// Writes the sums of a task to its columns of the output. Row by row, at the end: rows of the output lie far
/// apart, so that each costs a page to look up and cache lines to fetch.
pub(super) struct PutSums<'a> {
    /// `[panels, m, panel_rows]`
    sums: &'a [f32],
    m: usize,
    panel_rows: usize,
    /// Columns of the output: a panel's last rows may not be there.
    n_rows: usize,
    out: RowPtrMut,
}

impl PutSums<'_> {
    /// Writes `sums: [panels, m, panel_rows]` to `m` rows and `n_rows` columns of `out`.
    ///
    /// # Safety
    /// `out` has those rows and columns, and they are the task's own.
    pub unsafe fn run(isa: Isa, sums: &[f32], m: usize, panel_rows: usize, n_rows: usize, out: RowPtrMut) {
        isa.run(PutSums { sums, m, panel_rows, n_rows, out });
    }
}

impl Kernel for PutSums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        let PutSums { sums, m, panel_rows, n_rows, out } = self;
        for r in 0..m {
            for (p, sums) in sums.chunks_exact(m * panel_rows).enumerate() {
                let (sums, first) = (&sums[r * panel_rows..(r + 1) * panel_rows], p * panel_rows);
                // SAFETY: `PutSums::run`, which alone makes one, was promised the rows and columns.
                unsafe {
                    let to = out.start.add(r * out.stride + first);
                    if n_rows - first < panel_rows {
                        std::ptr::copy_nonoverlapping(sums.as_ptr(), to, n_rows - first);
                        continue;
                    }
                    for (i, sixteen) in sums.chunks_exact(16).enumerate() {
                        s.store_floats(to.add(16 * i), s.load_floats(sixteen.as_ptr()));
                    }
                }
            }
        }
    }
}

/// The bytes of floats that hold no floats.
pub(super) fn bytes_of(floats: &mut [f32]) -> &mut [u8] {
    // SAFETY: any bytes are floats and the other way round.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) }
}
