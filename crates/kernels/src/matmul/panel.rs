//! Panels of weight rows, as both kinds of product have them.

use super::tile::RowPtrMut;
use crate::isa::Kernel;
use crate::simd::Rows16;

/// As in products of codes, and as in those of floats.
pub(crate) struct PanelRows;

impl Kernel for PanelRows {
    type Output = [usize; 2];
    #[inline(always)]
    fn run<S: Rows16>(self, _: S) -> [usize; 2] {
        [S::PANELS, S::FLOAT_PANELS].map(|panels| 16 * panels)
    }
}

/// Writes the sums of a task, `[panels, m, panel_rows]`, to `n_rows` columns of its rows of the output. Row by row at the end,
/// since rows lie far apart: each costs a page to look up and cache lines to fetch.
///
/// # Safety
/// The rows and columns are the task's own.
#[inline(always)]
pub(crate) unsafe fn put_sums<S: Rows16>(
    s: S,
    sums: &[f32],
    m: usize,
    panel_rows: usize,
    n_rows: usize,
    out: RowPtrMut,
) {
    for r in 0..m {
        for (p, sums) in sums.chunks_exact(m * panel_rows).enumerate() {
            let (sums, first) = (&sums[r * panel_rows..(r + 1) * panel_rows], p * panel_rows);
            // SAFETY: the caller's promise.
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

/// The bytes of floats that hold no floats.
pub(crate) fn bytes_of(floats: &mut [f32]) -> &mut [u8] {
    // SAFETY: any bytes are floats and the other way round.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) }
}
