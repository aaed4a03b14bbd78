//! A head's keys or values in one cache block, as rows of vectors that are decoded when they are loaded.
//!
//! Loading a vector gives the same bits whether it happens in the middle of a product or on the way to a
//! decoded copy, because every decoding is exact: halves are floats, and a code of eight bits times a scale
//! of eleven has nineteen.

use crate::isa::Kernel;
use crate::kv::{CODE_OFFSET, SCALED};
use crate::simd::{Simd, vectors};

/// Rows of vectors in one of the cache's forms.
pub(super) trait Panel: Copy {
    /// What vectors need besides their codes, loaded once for several of them.
    type Scale<S: Simd>: Copy;
    /// Bytes of an element.
    const BYTES: usize;
    /// Whether each row has scales of its own. If not, those of 16 rows from a multiple of 16 on are the
    /// same.
    const SCALES_ROWS: bool = false;

    /// Does what is done once before vectors are loaded.
    ///
    /// # Safety
    /// The panel's rows are there, and what it refers to for them may be written.
    #[inline(always)]
    unsafe fn prepare<S: Simd>(self, _: S, _n_rows: usize) {}

    /// The scale of the vector at `row` and `col`.
    ///
    /// # Safety
    /// The panel has that row, and `LANES` elements from `col` on.
    unsafe fn scale<S: Simd>(self, s: S, row: usize, col: usize) -> Self::Scale<S>;

    /// Elements from one row to the next.
    fn stride(self) -> usize;

    /// The vector at `at`, which is `row * stride + col`.
    ///
    /// # Safety
    /// As for [`Panel::scale`].
    unsafe fn load<S: Simd>(self, s: S, at: usize, scale: Self::Scale<S>) -> S::V;
}

/// f32: a cache's, or a decoded copy.
#[derive(Clone, Copy)]
pub(super) struct Floats {
    pub start: *const f32,
    pub stride: usize,
}

impl Panel for Floats {
    type Scale<S: Simd> = ();
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn scale<S: Simd>(self, _: S, _: usize, _: usize) {}

    #[inline(always)]
    fn stride(self) -> usize {
        self.stride
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, at: usize, _: ()) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { s.load(self.start.add(at)) }
    }
}

/// IEEE halves.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    pub start: *const u16,
    pub stride: usize,
}

impl Panel for Halves {
    type Scale<S: Simd> = ();
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn scale<S: Simd>(self, _: S, _: usize, _: usize) {}

    #[inline(always)]
    fn stride(self) -> usize {
        self.stride
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, at: usize, _: ()) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { s.load_halves(self.start.add(at)) }
    }
}

/// What a byte that stands for zero decodes to, negative: an element is `byte * scale + scale * zero`,
/// rounded once, and exact, as a product of eight and eleven bits plus one of nine and eleven bits at most
/// is.
#[inline(always)]
fn zero<S: Simd>(s: S) -> S::V {
    s.splat(-(S::BYTE_OFFSET + CODE_OFFSET as f32))
}

/// Codes of transposed keys; a scale belongs to a column, for 32 rows.
#[derive(Clone, Copy)]
pub(super) struct KeyCodes {
    pub start: *const u8,
    pub stride: usize,
    /// `[rows / 32, stride]`, halves.
    pub scales: *const u16,
}

impl Panel for KeyCodes {
    type Scale<S: Simd> = (S::V, S::V);
    const BYTES: usize = 1;

    #[inline(always)]
    unsafe fn scale<S: Simd>(self, s: S, row: usize, col: usize) -> (S::V, S::V) {
        // SAFETY: the caller's promise.
        let scale = unsafe { s.load_halves(self.scales.add(row / SCALED * self.stride + col)) };
        (scale, s.mul(scale, zero(s)))
    }

    #[inline(always)]
    fn stride(self) -> usize {
        self.stride
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, at: usize, (scale, zero): (S::V, S::V)) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { s.fma(s.load_i8s(self.start.add(at)), scale, zero) }
    }
}

/// Codes of values; a scale belongs to a row, for 32 columns.
#[derive(Clone, Copy)]
pub(super) struct ValueCodes {
    pub start: *const u8,
    pub stride: usize,
    /// `[rows, n_scales]`, halves.
    pub scales: *const u16,
    pub n_scales: usize,
    /// The same as floats, from which splatting one is a load; made by [`Panel::prepare`].
    pub floats: *mut f32,
    /// The scales times what the bytes are too high by.
    pub zeros: *mut f32,
}

impl Panel for ValueCodes {
    type Scale<S: Simd> = (S::V, S::V);
    const BYTES: usize = 1;
    const SCALES_ROWS: bool = true;

    #[inline(always)]
    unsafe fn prepare<S: Simd>(self, s: S, n_rows: usize) {
        for (i, _) in vectors(s, n_rows * self.n_scales) {
            // SAFETY: the caller's promise; a block's scales are whole vectors.
            unsafe {
                let scale = s.load_halves(self.scales.add(i));
                s.store(self.floats.add(i), scale);
                s.store(self.zeros.add(i), s.mul(scale, zero(s)));
            }
        }
    }

    #[inline(always)]
    unsafe fn scale<S: Simd>(self, s: S, row: usize, col: usize) -> (S::V, S::V) {
        let at = row * self.n_scales + col / SCALED;
        // SAFETY: the caller's promise.
        unsafe { (s.splat(*self.floats.add(at)), s.splat(*self.zeros.add(at))) }
    }

    #[inline(always)]
    fn stride(self) -> usize {
        self.stride
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, at: usize, (scale, zero): (S::V, S::V)) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { s.fma(s.load_i8s(self.start.add(at)), scale, zero) }
    }
}

/// Copies `n_rows` rows of `n_cols` elements to `out`, row after row.
pub(super) struct DecodePanel<'a, P> {
    panel: P,
    n_rows: usize,
    n_cols: usize,
    out: &'a mut [f32],
}

impl<'a, P> DecodePanel<'a, P> {
    /// # Safety
    /// The panel has the rows and columns.
    pub unsafe fn new(panel: P, n_rows: usize, n_cols: usize, out: &'a mut [f32]) -> Self {
        assert!(n_cols.is_multiple_of(16) && out.len() >= n_rows * n_cols);
        DecodePanel { panel, n_rows, n_cols, out }
    }
}

impl<P: Panel> Kernel for DecodePanel<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let out = self.out.as_mut_ptr();
        // SAFETY: `new` was promised the rows.
        unsafe { self.panel.prepare(s, self.n_rows) };
        for row in 0..self.n_rows {
            for (col, _) in vectors(s, self.n_cols) {
                // SAFETY: `new` was promised the rows and columns, and checked `out`; 16 is a multiple of all
                // LANES.
                unsafe {
                    let scale = self.panel.scale(s, row, col);
                    s.store(
                        out.add(row * self.n_cols + col),
                        self.panel.load(s, row * self.panel.stride() + col, scale),
                    );
                }
            }
        }
    }
}
